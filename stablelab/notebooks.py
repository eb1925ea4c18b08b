"""Where the workbook's notebooks are, and which one a name means."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent / "notebooks"
INSTALLED = Path(sys.prefix) / "share" / "stablelab" / "notebooks"  # where a wheel puts them
COPIES = "stablelab-notebooks"


def notebooks_folder() -> Path:
    """The folder of the notebooks: the checkout's own, else copies in the current folder, made on the first call.

    Raises:
        FileNotFoundError: neither a checkout nor an installed package has them.
    """
    if CHECKOUT.is_dir():
        return CHECKOUT
    if not INSTALLED.is_dir():
        raise FileNotFoundError(
            f"no notebooks in {CHECKOUT} or {INSTALLED}: clone the repository, or reinstall stablelab"
        )
    copies = Path.cwd() / COPIES
    copies.mkdir(exist_ok=True)
    for notebook in INSTALLED.glob("*.ipynb"):
        if not (copies / notebook.name).exists():  # what the learner wrote stays
            shutil.copyfile(notebook, copies / notebook.name)
    return copies


def all_notebooks() -> list[Path]:
    """Every notebook of the workbook, in reading order."""
    return sorted(notebooks_folder().glob("*.ipynb"))


def find_notebook(name: str) -> Path:
    """The notebook that ``name`` means: a path, a file name, or how a file name begins (``"01"``).

    Raises:
        FileNotFoundError: no such notebook; says which there are.
    """
    path = Path(name)
    if path.is_file():
        return path.resolve()
    known = all_notebooks()
    found = [notebook for notebook in known if notebook.name.startswith(path.name)]
    if len(found) != 1 or path.parent != Path("."):
        names = ", ".join(notebook.stem for notebook in known) or "none"
        raise FileNotFoundError(f"unknown notebook {name!r}: there are {names}")
    return found[0]
