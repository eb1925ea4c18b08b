"""`make portable` and `make tolerances`: a setting of the processor reaches the libraries, and what is seen is said."""

from __future__ import annotations

import platform
from pathlib import Path

import portable
import pytest
from support.notebooks import stored_cell, write_cells

INTEL = platform.machine().lower() in ("x86_64", "amd64")
REFUSED = f"the instruction set can be held down on Intel and AMD only; this is {platform.machine()}\n"


@pytest.mark.slow
def test_each_setting_reaches_torch_and_it_is_said_which_one_turns_red(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    test = tmp_path / "test_threads.py"
    test.write_text("import torch\n\ndef test_threads():\n    assert torch.get_num_threads() == 1\n", encoding="utf-8")
    assert portable.main(["check", "-n0", "-p", "no:cacheprovider", str(test)]) == 1
    said = capfd.readouterr().out
    if INTEL:
        assert "torch DEFAULT 1 threads" in said and "torch AVX2 4 threads" in said
        assert said.endswith("SSE, one thread: pytest's exit code 0\nAVX2, four threads: pytest's exit code 1\n")
    else:
        assert said == REFUSED


@pytest.mark.slow
def test_tolerances_are_compared_with_what_is_seen_under_three_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = "print('threads', torch.get_num_threads())"
    notebook = write_cells(
        tmp_path / "threads.ipynb",
        stored_cell("import torch; print('words')", "words\n"),
        stored_cell(f"# NBVAL_TOLERANCE 3\n{threads}", "threads 1\n"),
        stored_cell(threads, "threads 1\n"),
    )
    assert portable.main(["tolerances", str(notebook)]) == 1
    said = capsys.readouterr().out
    if INTEL:
        title, head, asked, exact = said.splitlines()[1:5]
        assert title.startswith("threads.ipynb (this machine | SSE, one thread | AVX2, four threads)")
        assert head.split() == ["cell", "numbers", "absolute", "relative", "asked"]
        assert asked.split() == ["Cell", "1", "1", "3", "3", "3"]
        assert exact.split()[:6] == ["Cell", "2", "1", "3", "3", "exact"] and exact.endswith("AVX2, four threads")
        assert "\n  AVX2, four threads: cell 2, stdout, number 1 of 1: stored 1, came 4, allowed exactly this" in said
    else:
        assert said == REFUSED
