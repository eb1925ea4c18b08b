"""A notebook executed with no front end carries plain pictures."""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TESTS = Path(__file__).parents[1]
SETUP = """
import runpy, sys
sys.path.insert(0, {tests!r})
make_run = runpy.run_path({toy!r})["small_run"]
from stablelab.widgets import dashboard
"""
CELLS = (
    "run = make_run(30, pause=0.01); board = dashboard(run); run.start();",
    "import asyncio; await asyncio.to_thread(run.wait); print(run.state)",
    "again = make_run(10); board = dashboard(again); again.start(); await board.finished(); print(again.state)",
)


def _outputs() -> list[list[dict]]:
    sources = (SETUP.format(tests=str(TESTS), toy=str(TESTS / "support" / "views.py")), *CELLS)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    work = {"metadata": {"path": str(Path(__file__).resolve().parents[2])}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=work).execute()
    return [cell.outputs for cell in notebook.cells[1:]]


@pytest.mark.slow
def test_the_stored_output_is_the_picture() -> None:
    shown_first, waited, shown_second = _outputs()
    assert waited[0]["text"] == "finished\n"
    for outputs in (shown_first, shown_second):
        live, still = outputs[0]["data"], outputs[1]["data"]
        assert base64.b64decode(live["image/png"])[:4] == b"\x89PNG"
        assert "application/vnd.jupyter.widget-view+json" not in live
        assert live["text/plain"].startswith("training curves: ")
        assert still == {"text/plain": ""}
    assert "30 steps" in shown_first[0]["data"]["text/plain"], "the picture shows the whole run"
