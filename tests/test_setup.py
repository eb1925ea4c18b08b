"""Set-up: one list of dependencies, pinned; and for all that can go wrong one line with a cure."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import namedtuple
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from support.notebooks import stored_cell, write_cells

import setup_venv
import stablelab

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
OWN = RUNTIME + [
    own for extra in EXTRAS.values() for own in extra if own.name != PROJECT["name"]
]  # an extra may name others
CUDA = re.compile(r"nvidia-|cuda-|triton$")  # torch pins these itself, and only on Linux
Usage = namedtuple("Usage", "total used free")


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def _installed_dependencies(wanted: Iterable[Requirement]) -> set[str]:
    """Names of all that is asked for here, directly or not, and that is installed."""
    here = {canonicalize_name(found.name) for found in metadata.distributions()}
    todo, seen = [(each.name, each.extras) for each in wanted], set()
    while todo:
        name, extras = todo.pop()
        if canonicalize_name(name) in seen or canonicalize_name(name) not in here:
            continue
        seen.add(canonicalize_name(name))
        for needed in map(Requirement, metadata.requires(name) or ()):
            environments = [{"extra": extra} for extra in ("", *extras)]
            if needed.marker is None or any(needed.marker.evaluate(environment) for environment in environments):
                todo.append((needed.name, needed.extras))
    return seen


def test_constraints_are_exact_and_within_the_ranges_of_pyproject() -> None:
    pins = {canonicalize_name(name): version for name, version in _pins().items()}
    for own in OWN:
        assert own.specifier.contains(pins[canonicalize_name(own.name)]), own


@pytest.mark.slow
def test_constraints_cover_everything_that_gets_installed() -> None:
    pins = {canonicalize_name(name) for name in _pins()}
    assert not {name for name in _installed_dependencies(OWN) - pins if not CUDA.match(name)}


def test_environment_yml_lists_python_pip_and_the_package_itself() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    items = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("- ")]
    python = next(item for item in items if item.startswith("python "))
    assert items == ["conda-forge", "nodefaults", python, "pip", "pip:", "-c constraints.txt", "-e .[lab]"]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])


def test_one_range_of_pythons_and_one_version() -> None:
    range_ = SpecifierSet(PROJECT["requires-python"])
    minors = [minor for minor in range(30) if range_.contains(f"3.{minor}.5")]
    assert [(3, minors[0]), (3, minors[-1])] == [setup_venv.OLDEST, setup_venv.NEWEST]
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]


def test_the_tests_extra_brings_all_others() -> None:
    own = [requirement for requirement in EXTRAS["test"] if requirement.name == PROJECT["name"]]
    assert [requirement.extras for requirement in own] == [{"lab", "cluster", "lightning", "privacy", "tensorboard"}]


def test_an_old_python_can_read_the_set_up_far_enough_to_be_told() -> None:
    ast.parse(Path(setup_venv.__file__).read_text(encoding="utf-8"), feature_version=(3, 6))


def _fake_python(folder: Path, answer: str) -> str:
    """A program that answers like an interpreter when probed and fails at anything else."""
    fake = folder / "python-fake"
    fake.write_text(f'#!/bin/sh\n[ "$2" = -c ] && echo "{answer}" || exit 1\n', encoding="utf-8")
    fake.chmod(0o755)
    return str(fake)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("3 6 True Linux x86_64", r"Python 3\.6 found .*3\.11 to 3\.13 needed: install one .*PYTHON=python3\.12"),
        ("3 14 True Linux x86_64", r"Python 3\.14 found .*3\.11 to 3\.13 needed"),
        ("3 12 False Linux x86_64", r"venv module is missing: .*sudo apt install python3\.12-venv"),
        ("3 12 True Darwin x86_64", r"Intel Macs.*native Python on Apple silicon"),
        ("what?", r"does not run: choose a Python 3\.11 to 3\.13"),
    ],
)
def test_a_python_that_will_not_do_is_refused_in_one_line(tmp_path: Path, answer: str, message: str) -> None:
    with pytest.raises(setup_venv.SetupError, match=message) as caught:
        setup_venv.choose(_fake_python(tmp_path, answer))
    assert "\n" not in str(caught.value)


def test_the_first_python_that_will_do_is_taken_and_else_the_closest_is_named(tmp_path: Path) -> None:
    old = _fake_python(tmp_path, "3 9 True Linux x86_64")
    assert setup_venv.choose(candidates=("no-such-python", old, sys.executable)) == sys.executable
    with pytest.raises(setup_venv.SetupError, match=r"Python 3\.9 found"):
        setup_venv.choose(candidates=("no-such-python", old))
    with pytest.raises(setup_venv.SetupError, match="no Python 3 found: install"):
        setup_venv.choose(candidates=("no-such-python",))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a fresh clone as set-up reads."""
    root = tmp_path / "checkout"
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "setup_venv.py",
        "README.md",
        "LICENSE",
        "stablelab/__init__.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    return root


def _make(root: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    foreign = ("PIP_", "PYTEST_", "MAKE", "MFLAGS", "STABLELAB_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    command = ["make", *arguments, f"PYTHON={changes.pop('PYTHON', sys.executable)}"]
    return subprocess.run(command, cwd=root, env=clean | changes, capture_output=True, text=True, check=False)


def _said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said on stderr, but for make's own note that a recipe failed."""
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


def test_make_without_a_usable_python_says_one_line_and_leaves_nothing(checkout: Path) -> None:
    done = _make(checkout, "lab", PYTHON=_fake_python(checkout, "3 12 False Linux x86_64"))
    assert done.returncode != 0
    assert len(_said(done)) == 1
    assert "sudo apt install python3.12-venv" in _said(done)[0]
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
def test_make_without_network_says_one_line_and_the_next_call_goes_on(checkout: Path) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://localhost:9/simple", "PIP_RETRIES": "1"}
    unreachable = _make(checkout, "lab", **nowhere)
    assert unreachable.returncode != 0
    assert len(_said(unreachable)) == 1
    assert "no way to the package index: connect to the network" in _said(unreachable)[0]
    assert "making .venv" in unreachable.stdout

    switched_off = _make(checkout, "test", PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1")
    assert switched_off.returncode != 0
    assert len(_said(switched_off)) == 1
    assert "is pip's index switched off (PIP_NO_INDEX)" in _said(switched_off)[0]
    assert "making .venv" not in switched_off.stdout


def test_too_small_a_disk_is_refused_before_anything_is_written(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(50e9, 47e9, 3e9))
    monkeypatch.setattr(setup_venv, "__file__", str(checkout / "setup_venv.py"))
    assert setup_venv.main(["--python", sys.executable]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"stablelab: only 3\.0 GB free in .*, set-up needs \d+: free some .*\n", said)
    assert not (checkout / ".venv").exists()


def test_a_folder_that_is_no_environment_is_not_touched(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(setup_venv.SetupError, match="no virtual environment: move it away"):
        setup_venv.set_up(checkout, sys.executable)
    assert (checkout / ".venv" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "set PIP_CERT"),
        ("WARNING: Retrying ... NameResolutionError: Temporary failure in name resolution", "connect to the network"),
        ("ReadTimeoutError: Read timed out.", "connect to the network"),
        ("ERROR: No matching distribution found for torch==2.15.0", "older than glibc 2.28 or macOS 14?"),
        ("ERROR: something new\nhint: none", r"pip failed: ERROR: something new .*setup\.log"),
    ],
)
def test_what_pip_says_becomes_one_line_with_a_cure(log: str, line: str) -> None:
    said = setup_venv.diagnose(log)
    assert re.search(line, said)
    assert "\n" not in said


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Set-up with the two slow steps replaced by notes of them; a venv is then a link to this interpreter."""
    noted: list[str] = []

    def make_venv(root: Path, venv: Path, python: str) -> None:
        noted.append("venv")
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin" / "python").unlink(missing_ok=True)
        (venv / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(setup_venv, "make_venv", make_venv)
    monkeypatch.setattr(setup_venv, "install", lambda root, venv, python, tests: noted.append(f"install tests={tests}"))
    return noted


@pytest.mark.slow
def test_a_second_call_does_nothing_until_the_dependencies_change(checkout: Path, calls: list[str]) -> None:
    setup_venv.set_up(checkout)
    setup_venv.set_up(checkout)
    assert calls == ["venv", "install tests=False"]
    setup_venv.set_up(checkout, tests=True)
    setup_venv.set_up(checkout)  # what the tests need stays
    assert calls[2:] == ["install tests=True"]
    with (checkout / "constraints.txt").open("a", encoding="utf-8") as constraints:
        constraints.write("six==1.17.0\n")
    setup_venv.set_up(checkout)
    assert calls[3:] == ["install tests=True"]


@pytest.mark.slow
def test_an_interrupted_installation_is_gone_on_with(
    checkout: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(setup_venv, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            setup_venv.set_up(checkout)
    setup_venv.set_up(checkout)
    assert calls == ["venv", "install tests=False"]


@pytest.mark.slow
def test_a_moved_checkout_and_a_broken_interpreter_are_set_up_anew(checkout: Path, calls: list[str]) -> None:
    setup_venv.set_up(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    setup_venv.set_up(moved)
    (moved / ".venv" / "bin" / "python").unlink()
    setup_venv.set_up(moved)
    assert calls == ["venv", "install tests=False"] * 3


WITHOUT_THE_LAB = """
import importlib, pkgutil, sys
from importlib.machinery import PathFinder

import torch  # what other packages import where it is there, before the extra goes missing

class Without(PathFinder):
    missing = set(sys.argv[1:])

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in cls.missing else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]

import stablelab as lab
for module in pkgutil.walk_packages(lab.__path__, "stablelab."):
    if not module.name.endswith(("__main__", "integrations.lightning")):  # the one module that is for another extra
        importlib.import_module(module.name)
for name in lab.__all__:
    getattr(lab, name)

task = lab.digits(train=32, validation=16, test=16)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
run = lab.fine_tune(model, task, steps=4, batch_size=8)
dashboard = lab.Dashboard(run)
run.start().wait(60)
dashboard.close()
print(run.state, *(name for name in Without.missing if name in sys.modules))

from stablelab.cli import main
print(main(["lab"]), main(["validate"]))
"""


@pytest.mark.slow
def test_a_plain_script_needs_nothing_of_the_extra_lab(tmp_path: Path) -> None:
    needed = _installed_dependencies(RUNTIME)
    imports = metadata.packages_distributions()
    missing = [name for name, owners in imports.items() if not {canonicalize_name(owner) for owner in owners} & needed]
    theirs = {"setuptools", "pkg_resources", "_distutils_hack", "pip", "opt_einsum"}  # torch takes the last where it is
    missing = sorted({*missing} - {"stablelab"} - theirs)
    assert {"jupyterlab", "ipykernel", "jupyter_core", "nbformat", "nbval", "pytest"} <= {*missing}
    command = [sys.executable, "-c", WITHOUT_THE_LAB, *missing]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["finished", "1 1"], done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("stablelab: ")]
    assert [line.split(" is not installed here")[0] for line in said] == ["stablelab: JupyterLab", "stablelab: nbval"]


@pytest.mark.slow
def test_a_wheel_has_the_notebooks_and_all_that_the_package_reads(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    wheel = tmp_path / f"stablelab-{stablelab.__version__}-py3-none-any.whl"
    site = tmp_path / "site-packages"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
        installed = set(packed.namelist())
    files = [path for path in (ROOT / "stablelab").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert installed >= {path.relative_to(ROOT).as_posix() for path in files}
    assert installed >= {f"stablelab/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert not [name for name in installed if not name.startswith(("stablelab/", "stablelab-"))]

    started = "from stablelab import cli; cli.launch = lambda command, _: print(*command); cli.main(['lab'])"
    learner = tmp_path / "learner"
    learner.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", started]
    done = subprocess.run(command, cwd=learner, env=environment, capture_output=True, text=True, check=False)
    assert f"--ServerApp.root_dir={learner}/stablelab-notebooks" in done.stdout, done.stderr
    assert (learner / "stablelab-notebooks" / "00_start_here.ipynb").exists()
    command = [sys.executable, "-m", "stablelab", "validate", "99"]
    done = subprocess.run(command, cwd=learner, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("stablelab: unknown notebook '99': there are 00_start_here, "), done.stderr

    # Numbers are checked with their cells' tolerances, by pytest without a flag and by `stablelab validate`.
    write_cells(learner / "within.ipynb", stored_cell("# NBVAL_TOLERANCE 0.03\nprint(0.52)", "0.50\n"))
    write_cells(learner / "outside.ipynb", stored_cell("# NBVAL_TOLERANCE 0.03\nprint(0.54)", "0.50\n"))
    for program in (["pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider"], ["stablelab", "validate"]):
        command = [sys.executable, "-m", *program, "within.ipynb", "outside.ipynb"]
        done = subprocess.run(command, cwd=learner, env=environment, capture_output=True, text=True, check=False)
        assert "1 passed" in done.stdout and "1 failed" in done.stdout, done.stdout
        assert "cell 0, stdout, number 1 of 1: stored 0.50, came 0.54, allowed ± 0.03" in done.stdout


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
@pytest.mark.slow
def test_a_skipped_test_is_a_failure_where_a_browser_is_required(tmp_path: Path, required: str, code: int) -> None:
    shutil.copyfile(ROOT / "tests" / "support" / "summary.py", tmp_path / "conftest.py")
    skipping = "import pytest\ndef test_a(): pass\n@pytest.mark.skipif(True, reason='no browser')\ndef test_b(): pass\n"
    (tmp_path / "test_two.py").write_text(skipping, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={tmp_path}", "."]
    environment = os.environ | {"STABLELAB_REQUIRE_BROWSER": required}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("1 skipped, which counts as failed" in done.stdout) == bool(required)
    assert "1 passed, 1 skipped" in done.stdout
