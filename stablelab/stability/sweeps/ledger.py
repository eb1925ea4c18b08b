"""The file of a sweep: which runs there are, who is at work on which, and what each came to.

One SQLite file in write-ahead mode: a process that is killed loses the runs it was at, nothing else. Several processes
of one machine may work on one file; on a network file system write-ahead mode does not work.

Each row carries a checksum. One that is damaged is named and counts as not done. Where SQLite finds that the file as a
whole is damaged, the rows that can still be read are taken out of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ..._files import damaged_name, reason_of, write_atomically
from .trial import Outcome, Trial

APPLICATION = 0x57AB1E  # SQLite's mark of whose file it is
VERSION = 2  # 1 had no checksums
PATIENCE = 3600.0  # seconds after which a process of another machine that gave no sign counts as gone
SCHEMA = """
CREATE TABLE descriptions (id TEXT PRIMARY KEY, json TEXT NOT NULL, checksum TEXT);
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
    error TEXT,
    checksum TEXT                            -- of what the row is and came to: see SEALED
);
"""
SEALED = "key, description, point, numbers, arrays"
STATES = ("open", "claimed", "done", "failed")
# What comes of a damaged file: SQLite's own word, or Python's where a length or a name in it makes no sense.
UNUSABLE = (sqlite3.Error, MemoryError, UnicodeDecodeError)
OUTSIDE = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")  # no fault of the file's


class Ledger:
    """The runs of one file.

    Args:
        file: where it is, made if it is not there; None keeps everything in memory.
        read_only: look at a file that must not change.

    Attributes:
        damaged: the keys of the rows that were found to be damaged and are left out.

    Raises:
        FileNotFoundError, ValueError: in one line, where there is none to read, or it is no sweep of this version; and
            by all methods a ValueError where the file cannot be read or written.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None, read_only: bool = False) -> None:
        if file is not None and os.fspath(file) in ("", ":memory:"):
            raise ValueError(f"file is {file!r}; leave it out to keep the results in memory")
        self.file = None if file is None else Path(file).expanduser()
        self.damaged: set[str] = set()
        self._lock = threading.RLock()  # joblib asks for the next run from threads of its own
        with self._access():
            self._open(read_only)

    def _open(self, read_only: bool) -> None:
        if self.file is not None and not (self.file.exists() if read_only else self.file.parent.is_dir()):
            raise FileNotFoundError(f"there is no {'file' if read_only else 'folder'} for the sweep {self.file}")
        where = ":memory:" if self.file is None else self.file.resolve().as_uri()
        # A finished file may lie where nothing can be written, and then SQLite must be told that nobody else writes.
        at_work = self.file is not None and Path(f"{self.file.resolve()}-wal").exists()
        options = ("?mode=ro" if at_work else "?immutable=1") if read_only else ""
        self._base = _connected(where + options)
        version = self._version()
        if not _is_sound(self._base):
            rescued = self._rescued()
            self._base.close()
            self._base = rescued if read_only else self._put_aside_for(rescued)
        elif read_only and version == 1:
            copy = _connected(":memory:")
            self._base.backup(copy)
            self._base = copy
        if not read_only:
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
        if not read_only or version == 1:
            with self._transaction():
                self._made()
                self._add_checksums()
                self._base.execute("CREATE INDEX IF NOT EXISTS busy ON runs(owner) WHERE owner IS NOT NULL")
                self._base.execute("CREATE INDEX IF NOT EXISTS standing ON runs(key, state)")

    def _version(self) -> int:
        # The tables first: another process may be making the file, and writes its marks together with them.
        tables = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        (mark,), (version,) = (self._base.execute(f"PRAGMA {p}").fetchone() for p in ("application_id", "user_version"))
        if tables and mark != APPLICATION:
            raise ValueError(f"{self.file} is a database, but not of a sweep; give the sweep another file")
        if tables and version not in (1, VERSION):
            raise ValueError(
                f"{self.file} is a sweep of version {version}, and this stablelab reads version {VERSION}; "
                "use the stablelab that wrote it, or give another file"
            )
        return int(version)

    def _made(self) -> None:
        if self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return
        for statement in SCHEMA.split(";"):
            self._base.execute(statement)
        self._base.execute(f"PRAGMA application_id={APPLICATION}")
        self._base.execute(f"PRAGMA user_version={VERSION}")

    def _add_checksums(self) -> None:
        """Bring a file of version 1 to this one: what can be read gets the checksum that it never had."""
        if any(column[1] == "checksum" for column in self._base.execute("PRAGMA table_info(runs)")):
            return
        for table in ("descriptions", "runs"):
            self._base.execute(f"ALTER TABLE {table} ADD COLUMN checksum TEXT")
        for row in self._base.execute("SELECT id, json FROM descriptions").fetchall():
            self._base.execute("UPDATE descriptions SET checksum=? WHERE id=?", (_checksum(*row), row[0]))
        for rowid, state, *row in self._base.execute(f"SELECT rowid, state, {SEALED} FROM runs").fetchall():
            with suppress(ValueError):
                if state == "done":
                    _outcome(*row[3:])
                self._base.execute("UPDATE runs SET checksum=? WHERE rowid=?", (_checksum(*row), rowid))
        self._base.execute(f"PRAGMA user_version={VERSION}")

    def _rescued(self) -> sqlite3.Connection:
        """What can be read of a file that is damaged, in memory."""
        base, whole = self._base, _connected(":memory:")
        query = "SELECT sql FROM sqlite_master WHERE type='table' AND name IN ('descriptions', 'runs')"
        for (statement,) in base.execute(query):
            whole.execute(statement)
        for pragma in ("application_id", "user_version"):
            whole.execute(f"PRAGMA {pragma}={base.execute(f'PRAGMA {pragma}').fetchone()[0]}")
        for table, key in (("descriptions", "id"), ("runs", "key")):
            numbers: set[int] = set()
            for order in ("rowid", "rowid DESC", key):  # a damaged page hides what lies behind it, but not to an index
                with suppress(*UNUSABLE):
                    for (number,) in base.execute(f"SELECT rowid FROM {table} ORDER BY {order}"):
                        numbers.add(number)
            for number in sorted(numbers):
                with suppress(*UNUSABLE):
                    for row in base.execute(f"SELECT * FROM {table} WHERE rowid=?", (number,)):
                        marks = ", ".join("?" * len(row))
                        whole.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
        count = whole.execute("SELECT count(*) FROM runs").fetchone()[0]
        print(f"{self.file} is damaged; {count} runs can still be read", file=sys.stderr)
        return whole

    def _put_aside_for(self, rescued: sqlite3.Connection) -> sqlite3.Connection:
        """Give the damaged file another name, and its own to what is left of it."""
        assert self.file is not None
        file = self.file.resolve()
        aside = damaged_name(file, file.name)
        try:
            for end in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.replace(f"{file}{end}", f"{aside}{end}")
            write_atomically(file, rescued.serialize())
        except OSError as error:
            raise ValueError(f"{file} is damaged, and cannot be replaced: {reason_of(error)}") from error
        print(f"the damaged file is {aside} from now on", file=sys.stderr)
        return _connected(file.as_uri())

    @contextmanager
    def _access(self) -> Iterator[None]:
        """Use the file, alone among the threads of this process; what SQLite says against it is said in one line."""
        with self._lock:
            try:
                yield
            except UNUSABLE as error:
                outside = str(getattr(error, "sqlite_errorname", "")).startswith(OUTSIDE)
                cure = "; what was done before is kept: run the sweep again once that is mended" if outside else ""
                why = reason_of(error) if isinstance(error, sqlite3.Error) else "it is damaged"
                raise ValueError(f"{self.file} cannot be used as the file of a sweep: {why}{cure}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._access():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            finally:
                if self._base.in_transaction:  # a full disk has rolled it back already
                    self._base.execute("ROLLBACK")

    def _rows(self) -> Iterator[tuple[str, tuple[Any, ...] | None]]:
        """The key of each row, in the order in which they were noted, and what is SEALED; None where it is damaged."""
        query = f"SELECT state, checksum, {SEALED} FROM runs ORDER BY rowid"
        for state, checksum, *row in self._base.execute(query):
            whole = checksum == _checksum(*row) and state in STATES and (state == "done") == (row[-1] is not None)
            yield row[0], tuple(row) if whole else None

    def add(self, keys: Sequence[str], trials: Sequence[Trial], description: dict[str, Any], name: str) -> set[str]:
        """Note the runs that are not there yet, and anew those whose row is damaged; returns the keys of these."""
        noted = (name, json.dumps(description))
        rows = [(key, name, json.dumps(trial.to_dict())) for key, trial in zip(keys, trials, strict=True)]
        wanted = set(keys)
        with self._transaction():
            damaged = {key for key, row in self._rows() if row is None and key in wanted}
            self._base.executemany("DELETE FROM runs WHERE key=?", [(key,) for key in damaged])
            if name not in self.descriptions():
                change = "INSERT OR REPLACE INTO descriptions (id, json, checksum) VALUES (?, ?, ?)"
                self._base.execute(change, (*noted, _checksum(*noted)))
            # State and tries are said: the defaults stand in the file, and may be damaged.
            columns = "key, description, point, checksum, state, tries"
            change = f"INSERT OR IGNORE INTO runs ({columns}) VALUES (?, ?, ?, ?, 'open', 0)"
            self._base.executemany(change, [(*row, _checksum(*row, None, None)) for row in rows])
        self.damaged -= wanted
        return damaged

    def claim(self, key: str, most_tries: int) -> bool:
        """Claim a run for this process; False where it is done, or another process is at work on it.

        A run whose process is gone is free again; after ``most_tries`` it counts as failed.
        """
        with self._transaction():
            now = time.time()
            self._base.execute("UPDATE runs SET sign=? WHERE owner=?", (now, this_process()))
            query = "SELECT state, owner, sign, CAST(tries AS INTEGER) FROM runs WHERE key=?"
            row = self._base.execute(query, (key,)).fetchone()
            if row is None:
                return False
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
        values = (json.dumps(outcome.numbers()), outcome.arrays())
        with self._transaction():
            query = "SELECT key, description, point FROM runs WHERE key=? AND state!='done'"
            row = self._base.execute(query, (key,)).fetchone()
            if row is None:
                return False
            change = "UPDATE runs SET state='done', numbers=?, arrays=?, checksum=?, owner=NULL, error=NULL WHERE key=?"
            self._base.execute(change, (*values, _checksum(*row, *values), key))
        return True

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
        with self._access():
            known = dict(self._base.execute("SELECT key, state FROM runs"))
        return Counter(known.get(key, "open") for key in keys)

    def errors(self, keys: Iterable[str]) -> list[str]:
        """Why runs failed, one line for each."""
        with self._access():
            known = dict(self._base.execute("SELECT key, error FROM runs WHERE state='failed'"))
        return [known[key] for key in keys if key in known]

    def outcome(self, key: str) -> Outcome | None:
        """What a run came to; None where it is not done, or damaged."""
        query = f"SELECT checksum, {SEALED} FROM runs WHERE key=? AND state='done'"
        with self._access():
            row = self._base.execute(query, (key,)).fetchone()
        if row is None:
            return None
        try:
            if row[0] != _checksum(*row[1:]):
                raise ValueError("it is not what was written")
            return _outcome(*row[4:])
        except ValueError:
            self.damaged.add(key)
            return None

    def descriptions(self) -> dict[str, dict[str, Any]]:
        """What was trained, by name; without those that are damaged."""
        with self._access():
            rows = self._base.execute("SELECT checksum, id, json FROM descriptions").fetchall()
        return {row[0]: json.loads(row[1]) for checksum, *row in rows if checksum == _checksum(*row)}

    def runs(self, description: str) -> list[tuple[str, Trial]]:
        """Key and trial of each run with this description that is whole, in the order in which they were noted."""
        with self._access():
            rows = [(key, row and row[1:3]) for key, row in self._rows()]
        self.damaged |= {key for key, row in rows if row is None}
        return [(key, Trial.from_dict(json.loads(row[1]))) for key, row in rows if row and row[0] == description]

    def copy_to(self, file: Path, description: str) -> None:
        """Write the runs with this description to a file of their own, as small as it can be, whole or not at all."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / file.name
            with self._access():
                self._base.execute("VACUUM INTO ?", (str(copy),))
            with closing(sqlite3.connect(copy, isolation_level=None)) as base:
                base.execute("DELETE FROM runs WHERE description != ?", (description,))
                base.execute("DELETE FROM descriptions WHERE id != ?", (description,))
                base.execute("VACUUM")
            write_atomically(file, copy.read_bytes())


def _connected(where: str) -> sqlite3.Connection:
    base = sqlite3.connect(where, uri=True, timeout=60, isolation_level=None, check_same_thread=False)
    base.text_factory = lambda text: text.decode(errors="replace")  # what is damaged may be no text
    return base


def _is_sound(base: sqlite3.Connection) -> bool:
    try:
        return bool(base.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except UNUSABLE:
        return False


def _checksum(*columns: str | bytes | None) -> str:
    return hashlib.sha256(ascii(columns).encode()).hexdigest()[:32]


def _outcome(numbers: str, arrays: bytes) -> Outcome:
    """What a run came to; raises ValueError where that cannot be read."""
    try:
        return Outcome.of(json.loads(numbers), arrays)
    except (TypeError, RecursionError) as error:
        raise ValueError("the outcome of a run cannot be read") from error


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

    try:
        host, process, began = owner.split()
        if host != socket.gethostname():
            return time.time() - sign > PATIENCE
        there = psutil.Process(int(process))
        # A killed process that nobody has asked for its end, as in a container without an init, is no worker any more.
        return there.status() == psutil.STATUS_ZOMBIE or abs(there.create_time() - float(began)) > 1
    except (psutil.NoSuchProcess, ValueError, TypeError, AttributeError):  # or a damaged note of who that is
        return True


@cache
def _began(process: int) -> float:
    import psutil

    return float(psutil.Process(process).create_time())
