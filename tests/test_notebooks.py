"""Stored notebooks are complete, honest about what is checked, and small; and nbval does notice an altered number."""

from __future__ import annotations

import base64
import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from stablelab.cli import validate_notebook

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST_IMAGE = 300_000  # bytes
PICTURES = {"image/png", "image/svg+xml", "application/vnd.jupyter.widget-view+json"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> NotebookNode:
    return nbformat.read(request.param, as_version=4)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _ignored(cell: NotebookNode) -> bool:
    return "NBVAL_IGNORE_OUTPUT" in cell.source


def test_there_are_notebooks_in_reading_order() -> None:
    assert NOTEBOOKS[0].name == "00_start_here.ipynb"
    assert all(re.match(r"\d\d[a-z]?_[a-z0-9_]+\.ipynb$", path.name) for path in NOTEBOOKS)


def test_nothing_is_skipped(notebook: NotebookNode) -> None:
    marks = [cell.source + " ".join(cell.metadata.get("tags", ())) for cell in _code(notebook)]
    assert not [mark for mark in marks if re.search("nbval[-_](skip|raises|test)", mark, re.IGNORECASE)]


def test_every_cell_was_run_from_the_first_to_the_last_without_an_error(notebook: NotebookNode) -> None:
    cells = _code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


def test_only_pictures_and_tables_go_unchecked_and_each_such_notebook_checks_something(notebook: NotebookNode) -> None:
    for cell in _code(notebook):
        shown = {kind for output in cell.outputs for kind in output.get("data", ())}
        assert not shown & PICTURES or _ignored(cell), cell.source
        assert not _ignored(cell) or shown & (PICTURES | {"text/html"}), cell.source
    assert [cell for cell in _code(notebook) if cell.outputs and not _ignored(cell)]


def test_each_exercise_is_set_in_words_before_it_is_checked(notebook: NotebookNode) -> None:
    open_exercises = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            open_exercises += len(re.findall(r"\*\*Exercise|^#+ Exercise", cell.source, re.MULTILINE))
        else:
            open_exercises -= len(re.findall(r"^check\(\"", cell.source, re.MULTILINE))
            assert open_exercises >= 0, cell.source


def test_no_figure_is_one_of_pyplots(notebook: NotebookNode) -> None:
    """Before a view of ours is shown, a widget's message closes pyplot's figures from another thread, half drawn."""
    assert not [cell.source for cell in _code(notebook) if "pyplot" in cell.source]


def test_images_are_small_and_the_kernel_is_the_environments_own(notebook: NotebookNode) -> None:
    images = [
        output.data["image/png"]
        for cell in _code(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", ())
    ]
    assert all(len(base64.b64decode(image)) <= LARGEST_IMAGE for image in images)
    assert notebook.metadata.kernelspec.name == "python3"


def _altered(notebook: NotebookNode) -> NotebookNode:
    """A copy that ends with the first checked output that holds a digit, with that digit another one."""
    short = copy.deepcopy(notebook)
    for index, cell in enumerate(short.cells):
        for output in cell.outputs if cell.cell_type == "code" and not _ignored(cell) else ():
            holder, key = (output, "text") if "text" in output else (output.get("data", {}), "text/plain")
            if re.search(r"\d", holder.get(key, "")):
                holder[key] = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), holder[key], count=1)
                short.cells = short.cells[: index + 1]
                return short
    raise AssertionError("no checked output with a number")


@pytest.mark.slow
def test_an_altered_number_is_noticed(tmp_path: Path) -> None:
    output = new_output("execute_result", data={"text/plain": "0.25"}, execution_count=1)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    tiny = new_notebook(cells=[new_code_cell("1 / 4", execution_count=1, outputs=[output])], metadata=kernel)
    nbformat.write(tiny, tmp_path / "as_stored.ipynb")
    nbformat.write(_altered(tiny), tmp_path / "altered.ipynb")
    assert validate_notebook(tmp_path / "as_stored.ipynb").passed
    verdict = validate_notebook(tmp_path / "altered.ipynb")
    assert not verdict.passed
    assert "'1.25' == '0.25'" in verdict.report


@pytest.mark.slow
def test_an_altered_number_in_a_real_notebook_is_noticed(tmp_path: Path) -> None:
    real = nbformat.read(next(FOLDER.glob("01_*.ipynb")), as_version=4)
    nbformat.write(_altered(real), tmp_path / "altered.ipynb")
    verdict = validate_notebook(tmp_path / "altered.ipynb")
    assert not verdict.passed
    assert verdict.report.count("Cell outputs differ") == 1
