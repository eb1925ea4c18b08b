"""The file of a sweep: which runs there are, who is at work on which, and what each came to.

One SQLite file in write-ahead mode: a process that is killed loses the runs it was at, nothing else. Several processes
of one machine may work on one file; on a network file system write-ahead mode does not work.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ..._files import write_atomically
from .trial import Outcome, Trial

APPLICATION = 0x57AB1E  # SQLite's mark of whose file it is
VERSION = 1
PATIENCE = 3600.0  # seconds after which a process of another machine that gave no sign counts as gone
SCHEMA = """
CREATE TABLE descriptions (id TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE runs (
    key TEXT PRIMARY KEY,
    description TEXT NOT NULL REFERENCES descriptions(id),
    point TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',      -- open, claimed, done, failed
    owner TEXT,                              -- of a claimed run: host, process, when the process began
    sign REAL,                               -- when its owner last gave a sign
    tries INTEGER NOT NULL DEFAULT 0,
    numbers TEXT,
    arrays BLOB,
    error TEXT
);
"""


class Ledger:
    """The runs of one file.

    Args:
        file: where it is, made if it is not there; None keeps everything in memory.
        read_only: look at a file that must not change.

    Raises:
        FileNotFoundError, ValueError: in one line, where there is none to read, or it is no sweep of this version.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None, read_only: bool = False) -> None:
        self.file = None if file is None else Path(file).expanduser()
        self._lock = threading.RLock()  # joblib asks for the next run from threads of its own
        try:
            self._open(read_only)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.file} cannot be used as the file of a sweep: {error}") from None

    def _open(self, read_only: bool) -> None:
        if self.file is not None and not (self.file.exists() if read_only else self.file.parent.is_dir()):
            raise FileNotFoundError(f"there is no {'file' if read_only else 'folder'} for the sweep {self.file}")
        where = ":memory:" if self.file is None else self.file.resolve().as_uri()
        # A finished file may lie where nothing can be written, and then SQLite must be told that nobody else writes.
        at_work = self.file is not None and Path(f"{self.file.resolve()}-wal").exists()
        options = ("?mode=ro" if at_work else "?immutable=1") if read_only else ""
        self._base = sqlite3.connect(
            where + options, uri=True, timeout=60, isolation_level=None, check_same_thread=False
        )
        self._checked()
        if not read_only:
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            with self._transaction():
                self._made()
                self._base.execute("CREATE INDEX IF NOT EXISTS busy ON runs(owner) WHERE owner IS NOT NULL")
                self._base.execute("CREATE INDEX IF NOT EXISTS standing ON runs(key, state)")

    def _checked(self) -> None:
        # The tables first: another process may be making the file, and writes its marks together with them.
        tables = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        (mark,), (version,) = (self._base.execute(f"PRAGMA {p}").fetchone() for p in ("application_id", "user_version"))
        if tables and mark != APPLICATION:
            raise ValueError(f"{self.file} is a database, but not of a sweep; give the sweep another file")
        if tables and version != VERSION:
            raise ValueError(
                f"{self.file} is a sweep of version {version}, and this stablelab reads version {VERSION}; "
                "use the stablelab that wrote it, or give another file"
            )

    def _made(self) -> None:
        if self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return
        for statement in SCHEMA.split(";"):
            self._base.execute(statement)
        self._base.execute(f"PRAGMA application_id={APPLICATION}")
        self._base.execute(f"PRAGMA user_version={VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def add(self, keys: Sequence[str], trials: Sequence[Trial], description: dict[str, Any], name: str) -> None:
        """Note the runs that are not there yet."""
        rows = [(key, name, json.dumps(trial.to_dict())) for key, trial in zip(keys, trials, strict=True)]
        with self._transaction():
            self._base.execute("INSERT OR IGNORE INTO descriptions VALUES (?, ?)", (name, json.dumps(description)))
            self._base.executemany("INSERT OR IGNORE INTO runs (key, description, point) VALUES (?, ?, ?)", rows)

    def claim(self, key: str, most_tries: int) -> bool:
        """Claim a run for this process; False where it is done, or another process is at work on it.

        A run whose process is gone is free again; after ``most_tries`` it counts as failed.
        """
        with self._transaction():
            now = time.time()
            self._base.execute("UPDATE runs SET sign=? WHERE owner=?", (now, this_process()))
            row = self._base.execute("SELECT state, owner, sign, tries FROM runs WHERE key=?", (key,)).fetchone()
            state, owner, sign, tries = row
            if state != "open" and not (state == "claimed" and is_gone(owner, sign)):
                return False
            if tries >= most_tries:
                why = f"whoever was at work on it died, {tries} times"
                self._base.execute("UPDATE runs SET state='failed', owner=NULL, error=? WHERE key=?", (why, key))
                return False
            change = "UPDATE runs SET state='claimed', owner=?, sign=?, tries=tries+1 WHERE key=?"
            self._base.execute(change, (this_process(), now, key))
            return True

    def finish(self, key: str, outcome: Outcome) -> bool:
        """Keep what a run came to; False where another process has meanwhile finished it, with the same numbers."""
        values = (json.dumps(outcome.numbers()), outcome.arrays(), key)
        with self._transaction():
            change = "UPDATE runs SET state='done', numbers=?, arrays=?, owner=NULL, error=NULL"
            return self._base.execute(f"{change} WHERE key=? AND state!='done'", values).rowcount == 1

    def fail(self, key: str, error: str) -> None:
        """Keep why a run could not be run."""
        with self._transaction():
            self._base.execute(
                "UPDATE runs SET state='failed', error=?, owner=NULL WHERE key=? AND state!='done'", (error, key)
            )

    def release(self, keys: Iterable[str], died: bool = False) -> int:
        """Give back the claims that this process has on these runs; returns how many it had.

        Args:
            keys: of the runs.
            died: they did not come to an end because a worker died; that counts as a try.
        """
        back = 0 if died else 1
        change = "UPDATE runs SET state='open', owner=NULL, tries=tries-? WHERE key=? AND state='claimed' AND owner=?"
        with self._transaction():
            return self._base.executemany(change, [(back, key, this_process()) for key in keys]).rowcount

    def reopen(self, keys: Iterable[str]) -> None:
        """Let runs be tried again that failed, or whose process is gone."""
        change = "UPDATE runs SET state='open', owner=NULL, error=NULL, tries=0 WHERE key=?"
        wanted = set(keys)
        with self._transaction():
            query = "SELECT key, owner, sign FROM runs WHERE state='failed' OR state='claimed'"
            rows = [row for row in self._base.execute(query).fetchall() if row[0] in wanted]
            self._base.executemany(
                change, [(key,) for key, owner, sign in rows if owner is None or is_gone(owner, sign)]
            )

    def states(self, keys: Iterable[str]) -> Counter[str]:
        """How many of these runs are open, claimed, done, failed."""
        with self._lock:
            known = dict(self._base.execute("SELECT key, state FROM runs"))
        return Counter(known.get(key, "open") for key in keys)

    def errors(self, keys: Iterable[str]) -> list[str]:
        """Why runs failed, one line for each."""
        with self._lock:
            known = dict(self._base.execute("SELECT key, error FROM runs WHERE state='failed'"))
        return [known[key] for key in keys if key in known]

    def outcome(self, key: str) -> Outcome | None:
        """What a run came to; None where it is not done."""
        with self._lock:
            row = self._base.execute("SELECT numbers, arrays FROM runs WHERE key=? AND state='done'", (key,)).fetchone()
        return None if row is None else Outcome.of(json.loads(row[0]), row[1])

    def descriptions(self) -> dict[str, dict[str, Any]]:
        """What was trained, by name."""
        with self._lock:
            return {name: json.loads(text) for name, text in self._base.execute("SELECT id, json FROM descriptions")}

    def runs(self, description: str) -> list[tuple[str, Trial]]:
        """Key and trial of each run with this description, in the order in which they were noted."""
        query = "SELECT key, point FROM runs WHERE description=? ORDER BY rowid"
        with self._lock:
            rows = self._base.execute(query, (description,)).fetchall()
        return [(key, Trial.from_dict(json.loads(text))) for key, text in rows]

    def copy_to(self, file: Path, description: str) -> None:
        """Write the runs with this description to a file of their own, as small as it can be, whole or not at all."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file.name
            with self._lock:
                self._base.execute("VACUUM INTO ?", (str(copy),))
            with closing(sqlite3.connect(copy, isolation_level=None)) as base:
                base.execute("DELETE FROM runs WHERE description != ?", (description,))
                base.execute("DELETE FROM descriptions WHERE id != ?", (description,))
                base.execute("VACUUM")
            write_atomically(file, copy.read_bytes())


def this_process() -> str:
    """The owner of what this process claims: host, process number, and when it began (numbers are given again)."""
    return f"{socket.gethostname()} {os.getpid()} {_began(os.getpid()):.2f}"


def is_gone(owner: str, sign: float) -> bool:
    """Whether a process is no longer there.

    Args:
        owner: what ``this_process`` returned there.
        sign: when it last gave a sign, in seconds since 1970.
    """
    import psutil

    host, process, began = owner.split()
    if host != socket.gethostname():
        return time.time() - sign > PATIENCE
    try:
        there = psutil.Process(int(process))
        # A killed process that nobody has asked for its end, as in a container without an init, is no worker any more.
        return there.status() == psutil.STATUS_ZOMBIE or abs(there.create_time() - float(began)) > 1
    except psutil.NoSuchProcess:
        return True


@cache
def _began(process: int) -> float:
    import psutil

    return float(psutil.Process(process).create_time())
