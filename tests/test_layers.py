"""The house keeps its rooms apart: who imports whom, who draws, who starts threads, and how light the front door is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "stablelab"
MAY_IMPORT: dict[str, set[str]] = {
    "formulas": set(),
    "training": {"formulas"},
    "data": set(),
    "models": {"data"},
    "stability": {"formulas", "training"},
    "plots": {"formulas", "training", "stability"},
    "reports": {"formulas", "training", "stability", "plots"},
    "widgets": {"formulas", "training", "stability", "plots"},
    "exercises": {"formulas", "training"},
}
SHARED = {"_validation", "_formatting", "_files"}  # small helpers that every room may use
ROOMS = [room for room in MAY_IMPORT if (PACKAGE / room / "__init__.py").exists()]
DRAWING = {"ipywidgets", "anywidget", "matplotlib"}
HEAVY = {*DRAWING, "transformers", "torchvision", "sklearn", "pandas", "scipy", "IPython"}
STARTS_THREADS = {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread", "to_thread", "run_in_executor"}


def _modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def _imports(source: str, package: str) -> Iterator[str]:
    """Full names of what a module of ``package`` imports, in any function and for type checking too, and of modules of
    this package that it names in a string, as for importing them later."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.match(r"stablelab\.[\w.]+$", str(node.value)):
            yield str(node.value)


def _imported_by(path: Path) -> set[str]:
    package = ".".join(path.relative_to(PACKAGE.parent).parent.parts)
    return set(_imports(path.read_text(encoding="utf-8"), package))


def _other_rooms(names: set[str], room: str) -> set[str]:
    parts = [name.split(".") for name in names]
    return {part[1] if part[1:] else "the front desk" for part in parts if part[0] == "stablelab"} - {room, *SHARED}


def _loaded_after(statement: str) -> set[str]:
    """Names in ``sys.modules`` of a fresh process that ran ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_imports_are_read_from_every_form_they_take() -> None:
    source = """
import torch.nn
from ..training.run import Run
from .. import data
from . import feed
def later():
    from stablelab.widgets import dashboard
    import_module("stablelab.exercises")
"""
    assert set(_imports(source, "stablelab.stability")) == {
        "torch.nn",
        "stablelab.training.run.Run",
        "stablelab.data",
        "stablelab.stability.feed",
        "stablelab.widgets.dashboard",
        "stablelab.exercises",
    }


def test_every_room_has_its_arrows() -> None:
    found = {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_leads_upward(room: str) -> None:
    wrong = {path.name: _other_rooms(_imported_by(path), room) - MAY_IMPORT[room] for path in _modules(room)}
    assert not {name: rooms for name, rooms in wrong.items() if rooms}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_opened_in_a_fresh_process_opens_only_the_rooms_below(room: str) -> None:
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in _modules(room)]
    loaded = _loaded_after("; ".join(f"import {module.removesuffix('.__init__')}" for module in modules))
    opened = {name.split(".")[1] for name in loaded if name.startswith("stablelab.")} - SHARED
    assert opened - {room} <= MAY_IMPORT[room]
    if room not in ("plots", "reports", "widgets"):
        assert not loaded & DRAWING


def test_formulas_know_nothing_but_torch() -> None:
    imported = {name.split(".")[0] for path in _modules("formulas") for name in _imported_by(path)}
    assert imported - set(sys.stdlib_module_names) <= {"torch", "stablelab"}


def test_only_plots_reports_and_widgets_draw() -> None:
    drawing = [path for path in PACKAGE.rglob("*.py") if {name.split(".")[0] for name in _imported_by(path)} & DRAWING]
    assert drawing
    assert {path.parent.name for path in drawing} <= {"plots", "reports", "widgets"}


def test_only_background_and_widgets_start_threads() -> None:
    starting = set()
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        used |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        if used & STARTS_THREADS and path.parent.name not in ("plots", "reports", "widgets"):
            starting.add(path.relative_to(PACKAGE).as_posix())
    assert starting == {"training/background.py"}


def test_set_up_needs_nothing_but_the_standard_library() -> None:
    imported = _imported_by(PACKAGE / "bootstrap.py") - {"stablelab.json"}  # the name of its stamp
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_import_stablelab_is_light() -> None:
    assert not _loaded_after("import stablelab") & HEAVY
