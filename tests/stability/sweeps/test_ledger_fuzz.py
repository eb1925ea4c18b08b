"""A damaged file of a sweep: a run comes to what it came to, or is done again; or the file is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from support.damage import Damage, damaged, damages
from support.fuzz import refused, search

from stablelab.stability import Outcome, Results, Trial
from stablelab.stability.sweeps.ledger import Ledger
from stablelab.training import Settings

Report = Callable[[str, object], None]
KEYS = tuple(f"{n:032x}" for n in range(12))
TRIALS = tuple(Trial(Settings(learning_rate=10.0 ** -(1 + n % 3)), n, n) for n in range(12))
DESCRIPTION = {"task": "clouds", "classes": ["a", "b"]}


def outcome(n: int) -> Outcome:
    random = np.random.default_rng(n)
    return Outcome(
        losses=random.random(30, dtype=np.float32),
        norms=random.random(30, dtype=np.float32),
        clipped=random.random(30) < 0.5,
        start_loss=0.7,
        validation_loss=float(random.random()),
        logits=random.random((40, 2), dtype=np.float32),
        targets=random.integers(0, 2, 40),
        diverged=None,
        sharpness=None,
        seconds=float(n),
    )


OUTCOMES = {key: outcome(n) for n, key in enumerate(KEYS)}


def same(a: Outcome, b: Outcome) -> bool:
    return a.numbers() == b.numbers() and a.arrays() == b.arrays()


def do_all(file: Path) -> None:
    """Open the file as a sweep does, look at what is done, and do what is not."""
    ledger = Ledger(file)
    try:
        ledger.add(KEYS, TRIALS, DESCRIPTION, "sweep")
        ledger.reopen(KEYS)
        for key, right in OUTCOMES.items():
            done = ledger.outcome(key)
            assert done is None or same(done, right)
            if done is None:
                assert ledger.claim(key, 3) and ledger.finish(key, right)
        assert ledger.states(KEYS) == {"done": len(KEYS)} and not ledger.damaged
        assert all(same(ledger.outcome(key), right) for key, right in OUTCOMES.items())
    finally:
        ledger._base.close()


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, bytes]:
    """The file, and what is not yet in it but beside it, of a sweep that is half done when the machine goes down."""
    file = tmp_path / "made.sqlite"
    do_all(file)
    ledger = Ledger(file)
    ledger._base.execute("UPDATE runs SET state='open', numbers=NULL, arrays=NULL WHERE rowid > 9")
    parts = {end: Path(f"{file}{end}").read_bytes() for end in ("", "-wal")}
    ledger._base.close()
    return parts


@pytest.mark.slow
def test_a_damaged_sweep_is_never_read_as_something_else(
    parts: dict[str, bytes], tmp_path: Path, record_property: Report
) -> None:
    folder = tmp_path / "fuzz"
    folder.mkdir()
    file = folder / "sweep.sqlite"

    def attempt(given: tuple[str, list[Damage]]) -> bool:
        where, what = given
        for each in folder.iterdir():
            each.unlink()
        for end, content in parts.items():
            Path(f"{file}{end}").write_bytes(damaged(content, what) if end == where else content)

        def look() -> None:
            results = Results.read(file)
            for trial, found in zip(results.trials, results.outcomes, strict=True):
                assert same(found, OUTCOMES[KEYS[TRIALS.index(trial)]])

        return [refused(look), refused(lambda: do_all(file))][1]

    search("sweeps", st.tuples(st.sampled_from(["", "", "-wal"]), damages), attempt, 150, record_property)


def test_a_damaged_default_leaves_no_run_undone(parts: dict[str, bytes], tmp_path: Path) -> None:
    file = tmp_path / "sweep.sqlite"
    for default, broken in ((b"DEFAULT 'open'", b"DEFAULT 'npen'"), (b"DEFAULT 0", b"DEFAULT 9")):
        assert default in parts[""]
        file.write_bytes(parts[""].replace(default, broken))
        Path(f"{file}-wal").write_bytes(parts["-wal"])
        do_all(file)
        for each in tmp_path.glob("sweep.sqlite*"):
            each.unlink()
