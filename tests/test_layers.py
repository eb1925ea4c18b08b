"""The test that holds the house: who imports whom, who draws, who starts threads, and how light the front desk is."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

import stablelab

PACKAGE = Path(__file__).resolve().parent.parent / "stablelab"
MAY_IMPORT: dict[str, set[str]] = {
    "formulas": set(),
    "training": {"formulas"},
    "data": set(),
    "models": {"data"},
    "stability": {"formulas", "training"},
    "plots": {"formulas", "training", "stability"},
    "reports": {"formulas", "training", "stability", "plots"},
    "widgets": {"formulas", "training", "stability", "plots", "doctor"},
    "doctor": {"formulas", "training"},
    "exercises": {"formulas", "training"},
    "studies": {"formulas", "training", "data", "models", "stability", "sweeping"},
}
# The doctor's benchmark trains what it examines: it needs data and models, which the doctor itself does without.
BENCHMARK = {"formulas", "training", "data", "models", "studies"}
SHARED = {
    "_validation",
    "_formatting",
    "_files",
    "_logging",
    "_notebook_cells",
}  # that every room may use
WIDGETS = {"ipywidgets", "anywidget"}
HEAVY = {*WIDGETS, "matplotlib", "transformers", "torchvision", "sklearn", "pandas", "scipy", "captum", "IPython"}
STARTS_THREADS = {"Thread", "Timer", "ThreadPoolExecutor", "ThreadPool", "start_new_thread", "run_in_executor"}


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _room(module: str) -> str:
    """``training`` of ``stablelab.training.run``, a module's own name where it is in no room."""
    return module.split(".")[1] if "." in module else "__init__"


def _of_the_benchmark(module: str) -> bool:
    return f"{module}.".startswith("stablelab.doctor.benchmark.")


def _in_room(room: str) -> list[str]:
    return [module for module in MODULES if _room(module) == room]


def _imports(source: str, package: str) -> Iterator[str]:
    """Full names of what a module of ``package`` imports.

    In any function and for type checking too, and modules of this package that it names in a string, as for importing
    them later.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value in MODULES
            and "." in node.value
        ):
            yield node.value


@functools.cache
def _imported_by(module: str) -> frozenset[str]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return frozenset(_imports(path.read_text(encoding="utf-8"), package))


def _modules_imported_by(module: str) -> set[str]:
    """Those of this package: of ``from .run import Run`` the module ``run``, of ``from . import run`` too."""
    names = _imported_by(module)
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} & set(MODULES)


def _packages_imported_by(module: str) -> set[str]:
    """Those of others, by the name that is imported first: ``torch`` of ``torch.nn``."""
    return {name.split(".")[0] for name in _imported_by(module)} - {"stablelab"}


def _loaded_after(statement: str) -> set[str]:
    """Names in ``sys.modules`` of a fresh process that ran ``statement``."""
    return _loaded_after_each(statement)[statement]


def _loaded_after_each(*statements: str) -> dict[str, set[str]]:
    """The same for several, each in a fork of one process that has torch already if there are several: it is slow."""
    code = (
        "import json, os, sys\n"
        + ("import torch\n" if len(statements) > 1 else "")
        + (
            "for statement in json.loads(sys.argv[1]):\n"
            "    if os.fork() == 0:\n"
            "        exec(statement)\n"
            "        print(*sys.modules, flush=True)\n"
            "        os._exit(0)\n"
            "    if os.wait()[1]:\n"
            "        sys.exit(statement)\n"
        )
    )
    command = [sys.executable, "-c", code, json.dumps(statements)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0, done.stderr
    return {each: set(line.split()) for each, line in zip(statements, done.stdout.splitlines(), strict=True)}


@functools.cache
def _loaded_by_rooms() -> dict[str, set[str]]:
    """What each room loads that is opened in a fresh process, with all its modules.

    What lightning loads is its own; the benchmark has its own arrows.
    """
    modules = {
        room: [each for each in _in_room(room) if ".integrations." not in each and not _of_the_benchmark(each)]
        for room in MAY_IMPORT
    }
    statements = {room: "; ".join(f"import {module}" for module in modules[room]) for room in MAY_IMPORT}
    loaded = _loaded_after_each(*statements.values())
    return {room: loaded[statement] for room, statement in statements.items()}


def test_imports_are_read_from_every_form_they_take() -> None:
    source = """
import torch.nn
from ..training.run import Run
from .. import data
from . import feed
if TYPE_CHECKING:
    from .sweeps.sweep import Sweep
def later():
    from stablelab.widgets import dashboard
    import_module("stablelab.exercises")
"""
    assert set(_imports(source, "stablelab.stability")) == {
        "torch.nn",
        "stablelab.training.run.Run",
        "stablelab.data",
        "stablelab.stability.feed",
        "stablelab.stability.sweeps.sweep.Sweep",
        "stablelab.widgets.dashboard",
        "stablelab.exercises",
    }


# -- arrows ------------------------------------------------------------------------------------------------------------


def test_every_room_has_its_arrows() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_import_leads_upward(room: str) -> None:
    wrong = {}
    for module in _in_room(room):
        allowed = (BENCHMARK if _of_the_benchmark(module) else MAY_IMPORT[room]) | SHARED | {room}
        wrong[module] = {_room(each) for each in _modules_imported_by(module)} - allowed
    assert not {module: rooms for module, rooms in wrong.items() if rooms}


def test_the_doctor_does_without_its_benchmark_and_that_needs_few_of_the_studies() -> None:
    used = {each for module in MODULES if not _of_the_benchmark(module) for each in _modules_imported_by(module)}
    assert not {module for module in used if _of_the_benchmark(module)}
    taken = {each for module in MODULES if _of_the_benchmark(module) for each in _modules_imported_by(module)}
    assert {module for module in taken if _room(module) == "studies"} == {"stablelab.studies.keeping"}


@pytest.mark.parametrize("helper", sorted(SHARED))
def test_shared_helpers_know_no_room(helper: str) -> None:
    assert {_room(each) for each in _modules_imported_by(f"stablelab.{helper}")} <= SHARED


def test_no_imports_go_round_in_a_circle() -> None:
    graph = networkx.DiGraph((module, each) for module in MODULES for each in _modules_imported_by(module))
    circles = [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    assert circles == []
    assert list(networkx.nodes_with_selfloops(graph)) == []


@pytest.mark.parametrize("room", MAY_IMPORT)
@pytest.mark.slow
def test_a_room_opened_in_a_fresh_process_opens_only_the_rooms_below(room: str) -> None:
    loaded = _loaded_by_rooms()[room]
    opened = {_room(name) for name in loaded if name.startswith("stablelab.")}
    assert opened <= MAY_IMPORT[room] | SHARED | {room}
    if room not in ("plots", "reports", "widgets"):
        assert not loaded & {*WIDGETS, "matplotlib"}


# -- who may do what ---------------------------------------------------------------------------------------------------


def test_formulas_know_nothing_but_torch() -> None:
    imported = set().union(*map(_packages_imported_by, _in_room("formulas")))
    assert imported - set(sys.stdlib_module_names) <= {"torch"}


def test_only_widgets_import_widgets_and_only_three_rooms_draw() -> None:
    with_widgets = {_room(module) for module in MODULES if _packages_imported_by(module) & WIDGETS}
    drawing = {_room(module) for module in MODULES if "matplotlib" in _packages_imported_by(module)}
    assert with_widgets == {"widgets"}
    assert "plots" in drawing and drawing <= {"plots", "reports", "widgets"}


@pytest.mark.slow
def test_only_the_background_thread_starts_threads() -> None:
    """But for ``asyncio.to_thread``, which waits in a thread of the event loop's own."""
    starting = set()
    for module, path in MODULES.items():
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        used |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        if used & STARTS_THREADS:
            starting.add(module)
    assert starting == {"stablelab.training.background"}


def test_set_up_needs_nothing_but_the_standard_library() -> None:
    source = (PACKAGE.parent / "setup_venv.py").read_text(encoding="utf-8")
    assert {name.split(".")[0] for name in _imports(source, "")} - {"stablelab"} <= sys.stdlib_module_names
    assert "import stablelab" not in source


# -- the front desk ----------------------------------------------------------------------------------------------------


def _offered() -> list[tuple[str, str]]:
    """(module, name) for each name that the stub of the front desk imports."""
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    froms = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return [(node.module or "", alias.name) for node in froms for alias in node.names]


def test_import_stablelab_is_light() -> None:
    assert not _loaded_after("import stablelab") & {*HEAVY, "torch"}


@pytest.mark.slow
def test_rooms_without_pictures_are_light_until_something_in_them_is_used() -> None:
    rooms = set(MAY_IMPORT) - {"plots", "reports", "widgets"}
    assert not _loaded_after("; ".join(f"import stablelab.{room}" for room in sorted(rooms))) & HEAVY


@pytest.mark.parametrize(("module", "name"), _offered(), ids=lambda value: value)
def test_what_the_front_desk_offers_is_there_and_explains_itself(module: str, name: str) -> None:
    found = getattr(stablelab, name)
    defined_in = importlib.import_module(f"stablelab.{module or name}")
    assert found is (getattr(defined_in, name) if module else defined_in)
    assert found.__doc__ and not found.__doc__.startswith(f"{name}(")  # as a dataclass without a docstring has it


def test_tab_lists_what_the_front_desk_offers_and_nothing_else() -> None:
    offered = sorted(name for _, name in _offered())
    assert sorted(dir(stablelab)) == sorted(stablelab.__all__) == offered
    assert re.fullmatch(r"\d+\.\d+\.\d+", stablelab.__version__)
    with pytest.raises(AttributeError, match="stablelab has no 'fine_tunes'; it has .*fine_tune"):
        _ = stablelab.fine_tunes  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_live_chart_does_without_matplotlib() -> None:
    loaded = _loaded_after("import stablelab.plots, stablelab.widgets")
    assert "stablelab.plots.curve_data" in loaded and "matplotlib" not in loaded
