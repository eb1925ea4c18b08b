"""Run notebooks and compare every output with the one that is stored in them: nbval, in its strict mode."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CELL_TIMEOUT = 300  # seconds; a notebook takes at most 60 on two cores
LEGEND = "(left of == and marked +: stored in the notebook; right of == and marked -: what came now)"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Verdict:
    """What became of one notebook."""

    notebook: Path
    passed: bool
    seconds: float
    report: str
    """The cells that differ: input, what was stored, what came. Empty if all agree."""


def validate_notebook(notebook: Path, cell_timeout: int = CELL_TIMEOUT) -> Verdict:
    """Run one notebook in a fresh kernel of this environment and compare all outputs.

    Arguments:
        notebook: its path.
        cell_timeout: seconds that one cell may take.

    Returns:
        The verdict.
    """
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", f"--nbval-cell-timeout={cell_timeout}"]
    command += ["-q", "--color=no", "--no-header", "-p", "no:cacheprovider", "--override-ini=addopts="]
    command += [f"--rootdir={notebook.parent}", notebook.name]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    start = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=notebook.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    passed = done.returncode == 0
    return Verdict(notebook, passed, time.perf_counter() - start, "" if passed else failures(done.stdout))


def failures(output: str) -> str:
    """The part of pytest's output that shows which cells failed and how; all of it if there is no such part."""
    plain = _COLOURS.sub("", output)
    found = re.search(
        r"^=+ (?:FAILURES|ERRORS) =+\n(.*?)(?=^=+ short test summary|\Z)", plain, re.DOTALL | re.MULTILINE
    )
    if not found:
        return plain.strip()
    report = re.sub(r"\n{3,}", "\n\n", found[1].strip())
    return f"{report}\n{LEGEND}" if "==" in report else report


def validate(notebooks: Sequence[Path], say: Callable[[str], object] | None = None) -> bool:
    """Validate notebooks one after the other, with a line of progress for each.

    Arguments:
        notebooks: their paths.
        say: called with pieces of text as they come; by default they are printed at once.

    Returns:
        Whether all passed.
    """
    say = say or (lambda text: print(text, end="", flush=True))
    failed = 0
    for number, notebook in enumerate(notebooks, 1):
        say(f"[{number}/{len(notebooks)}] {notebook.name} ")
        verdict = validate_notebook(notebook)
        failed += not verdict.passed
        say(f"{'✓' if verdict.passed else '✗'} {verdict.seconds:.0f} s\n")
        if verdict.report:
            say("\n".join(f"    {line}".rstrip() for line in verdict.report.splitlines()) + "\n")
    say(f"{len(notebooks) - failed} passed, {failed} failed\n")
    return failed == 0
