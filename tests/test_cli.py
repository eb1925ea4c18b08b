"""The ``stablelab`` command: what it starts, what it says, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import stablelab
import stablelab.data
import stablelab.models
from stablelab import cli, environment

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a notebook of one cell, ``print(6 * 7)``, with a stored output."""

    def write(name: str, stored: str) -> Path:
        output = new_output("stream", name="stdout", text=stored)
        cell = new_code_cell("print(6 * 7)", execution_count=1, outputs=[output])
        nbformat.write(new_notebook(cells=[cell], metadata=KERNEL), tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What ``stablelab lab`` would have started, with nothing fetched."""
    commands: list[list[str]] = []
    monkeypatch.setattr(cli, "launch", lambda command, environment: commands.append(command) or 0)
    monkeypatch.setattr(stablelab.data, "fetch_corpora", lambda: None, raising=False)
    monkeypatch.setattr(stablelab.data, "fetch_chinese_reviews", lambda: None, raising=False)
    monkeypatch.setattr(stablelab.models, "fetch_efficientnet", lambda: None, raising=False)
    return commands


def test_lab_opens_the_first_notebook_and_hands_other_arguments_on(launched: list[list[str]]) -> None:
    assert cli.main(["lab", "--no-browser", "--port=9999"]) == 0
    command = launched[0]
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    assert command[3:5] == [f"--ServerApp.root_dir={FOLDER}", "--LabApp.default_url=/lab/tree/00_start_here.ipynb"]
    assert command[-2:] == ["--no-browser", "--port=9999"]
    assert ("--allow-root" in command) == (hasattr(os, "geteuid") and os.geteuid() == 0)


def test_lab_opens_another_notebook_by_how_its_name_begins(launched: list[list[str]]) -> None:
    assert cli.main(["lab", "--notebook", "01"]) == 0
    assert "/lab/tree/01_" in launched[0][4]


def test_lab_without_network_says_so_and_opens_all_the_same(
    launched: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline() -> None:
        raise OSError("the review corpora could not be fetched")

    monkeypatch.setattr(stablelab.data, "fetch_corpora", offline)
    assert cli.main(["lab"]) == 0
    assert capsys.readouterr().err == "stablelab: the review corpora could not be fetched\n"
    assert launched
    assert cli.main(["fetch"]) == 1


def test_fetch_fetches_the_corpora_and_then_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(stablelab.data, "fetch_corpora", lambda: fetched.append("corpora"))
    monkeypatch.setattr(stablelab.models, "fetch_efficientnet", lambda: fetched.append("weights"))
    monkeypatch.setattr(stablelab.data, "fetch_chinese_reviews", lambda: fetched.append("chinese"))
    assert cli.main(["fetch"]) == 0
    assert fetched == ["corpora", "weights", "chinese"]


def test_a_number_means_the_notebook_that_has_it_and_not_one_with_a_letter_behind_it() -> None:
    assert cli.find_notebook("09").name.startswith("09_")
    assert cli.find_notebook("09b").name.startswith("09b_")


@pytest.mark.parametrize("arguments", [["lab", "--notebook", "99"], ["validate", "99"], ["validate", "no/such.ipynb"]])
def test_an_unknown_notebook_is_one_line_that_says_which_there_are(
    arguments: list[str], launched: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"stablelab: unknown notebook '{arguments[-1]}': there are 00_start_here, ")
    assert said.count("\n") == 1
    assert not launched


@pytest.mark.parametrize(
    ("command", "module", "name"), [("lab", "jupyterlab", "JupyterLab"), ("validate", "nbval", "nbval")]
)
def test_what_the_extra_lab_would_bring_is_named_in_one_line_where_it_is_missing(
    command: str,
    module: str,
    name: str,
    launched: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda wanted: None if wanted == module else object())
    assert cli.main([command]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"stablelab: {name} is not installed here; run: ")
    assert said.endswith(' -m pip install "stablelab[lab]"\n') and said.count("\n") == 1
    assert not launched


def test_an_installed_package_works_on_copies_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "share"
    installed.mkdir()
    (installed / "00_start.ipynb").write_text("shipped", encoding="utf-8")
    monkeypatch.setattr(cli, "CHECKOUT", tmp_path / "none")
    monkeypatch.setattr(cli, "INSTALLED", installed)
    monkeypatch.chdir(tmp_path)
    copy = cli.find_notebook("00")
    assert copy.read_text(encoding="utf-8") == "shipped"
    copy.write_text("a learner's work", encoding="utf-8")
    assert cli.all_notebooks()[0].read_text(encoding="utf-8") == "a learner's work"
    monkeypatch.setattr(cli, "INSTALLED", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="clone the repository, or reinstall stablelab"):
        cli.notebooks_folder()


@pytest.mark.slow
def test_validate_shows_progress_and_for_a_failure_what_was_stored_and_what_came(
    write_notebook: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = write_notebook("a.ipynb", "42\n"), write_notebook("b.ipynb", "43\n")
    assert cli.main(["validate", str(right), str(wrong)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[1/2] a.ipynb ✓ ")
    assert lines[1].startswith("[2/2] b.ipynb ✗ ")
    assert "    print(6 * 7)" in lines
    assert any("'43\\n' == '42\\n'" in line for line in lines)
    assert "stored in the notebook" in lines[-2]
    assert lines[-1] == "1 passed, 1 failed"


@pytest.mark.slow
def test_validate_calls_a_cell_that_takes_too_long_failed(tmp_path: Path) -> None:
    cell = new_code_cell("import time; time.sleep(60)", execution_count=1)
    nbformat.write(new_notebook(cells=[cell], metadata=KERNEL), tmp_path / "slow.ipynb")
    verdict = cli.validate_notebook(tmp_path / "slow.ipynb", cell_timeout=1)
    assert not verdict.passed
    assert verdict.seconds < 50
    assert "time.sleep(60)" in verdict.report


@pytest.mark.slow
def test_beside_other_programs_threads_that_wait_leave_their_core_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = new_output("stream", name="stdout", text="passive\n")
    cell = new_code_cell('import os; print(os.environ["OMP_WAIT_POLICY"])', execution_count=1, outputs=[output])
    nbformat.write(new_notebook(cells=[cell], metadata=KERNEL), tmp_path / "waits.ipynb")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert cli.validate_notebook(tmp_path / "waits.ipynb").passed
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert not cli.validate_notebook(tmp_path / "waits.ipynb").passed, "what the user has set wins"


def test_version_help_and_unknown_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--version"], 0), (["--help"], 0), (["validate", "--wrong"], 2), ([], 2)):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == code
    assert f"stablelab {stablelab.__version__}" in capsys.readouterr().out


def test_python_m_stablelab_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "stablelab", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"stablelab {stablelab.__version__}\n"


@pytest.mark.slow
def test_info_says_versions_device_and_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["info"])
    said = capsys.readouterr().out
    for line in (
        f"torch +{metadata.version('torch')}",
        "device +(CPU|GPU)",
        "threads +[0-9]",
        "precision +bf16 (by|is imitated by) ",
        "digits ",
        "reviews ",
        "BERT ",
    ):
        assert re.search(line, said), line
    assert code == int("cure:" in said)


def test_info_says_what_the_processor_computes_in_bf16_with() -> None:
    assert environment.precision_fact(["avx2", "avx512_bf16", "amx_bf16"]) == "bf16 by avx512_bf16, amx_bf16"
    assert environment.precision_fact(["avx2"]) == "bf16 is imitated by this processor, and slower than fp32"


@pytest.mark.slow
def test_a_torchvision_built_for_another_torch_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said, problems = environment.start_torch()
    assert said["threads"] >= 1
    assert "was built for another PyTorch" in problems[0].what
    assert problems[0].cure.startswith("python -m pip install --force-reinstall torch torchvision")


def test_a_torch_that_does_not_start_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said, problems = environment.start_torch()
    assert said == {}
    assert "torch does not start: OSError: libcudart.so.13" in problems[0].what


def test_packages_that_are_old_or_missing_are_named_with_what_they_break() -> None:
    def installed(name: str) -> str:
        if name in ("anywidget", "jupyterlab"):  # without JupyterLab the package is used in a script
            raise metadata.PackageNotFoundError(name)
        return "7.3.0"

    extras = ['jupyterlab>=99; extra == "lab"', 'ruff>=99; extra == "test"']
    requires = ['ipykernel>=7.4; extra == "lab"', "anywidget>=0.11", "torch>=2.11", *extras]
    kernel, widget = environment.requirement_problems(requires, installed)
    assert kernel.what == "ipykernel is 7.3.0, needed is >=7.4: a slider dragged while a cell runs hangs the kernel"
    assert kernel.cure == 'python -m pip install "ipykernel>=7.4", then restart JupyterLab'
    assert widget.what.startswith("anywidget is missing")


def test_a_missing_front_end_extension_and_too_little_memory_are_problems(tmp_path: Path) -> None:
    (tmp_path / "anywidget").mkdir()
    (problem,) = environment.extension_problems([tmp_path])
    assert "@jupyter-widgets/jupyterlab-manager" in problem.what
    assert "jupyterlab_widgets" in problem.cure
    assert environment.memory_problems(8.0) == []
    assert "only 1.0 GB of memory are free" in environment.memory_problems(1.0)[0].what
