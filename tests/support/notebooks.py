"""Small notebooks with stored outputs, for what runs notebooks."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def stored_cell(source: str, printed: str = "", **shown: str) -> NotebookNode:
    """A cell with what is stored in the notebook: a text that was printed, and a result as ``plain``, ``html``, …"""
    outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
    if shown:
        data = {f"text/{kind}": text for kind, text in shown.items()}
        outputs.append(new_output("execute_result", data=data, execution_count=1))
    return new_code_cell(source, execution_count=1, outputs=outputs)


def write_cells(path: Path, *cells: NotebookNode) -> Path:
    """Write a notebook of these cells; return its path."""
    nbformat.write(new_notebook(cells=list(cells), metadata=KERNEL), path)
    return path
