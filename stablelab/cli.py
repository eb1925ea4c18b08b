"""The ``stablelab`` command: open the notebooks, validate them, say what is here.

What a subcommand needs is imported when it runs, so that ``--help`` answers at once. JupyterLab and nbval come with the
extra ``lab``; where they are missing, the commands that need them say so in one line.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent / "notebooks"
INSTALLED = PACKAGE / "notebooks"  # where a wheel has them; pyproject.toml puts them there
COPIES = "stablelab-notebooks"
CELL_TIMEOUT = 300  # seconds; a notebook takes at most 60 on two cores
LEGEND = "(left of == and marked +: stored in the notebook; right of == and marked -: what came now)"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; by default this process's own.

    Returns:
        The exit code: 0 if all went well, 1 if not.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that has no ✓ shows ? instead of stopping
    parser = _parser()
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.command != "lab":
        parser.error(f"unknown argument {rest[0]}")
    try:
        return {"lab": _lab, "validate": _validate, "info": _info, "fetch": _fetch}[chosen.command](chosen, rest)
    except (OSError, ValueError) as problem:
        print(f"stablelab: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstablelab: stopped", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = argparse.ArgumentParser(prog="stablelab", description="An interactive workbook on training stability.")
    parser.add_argument("--version", action="version", version=f"stablelab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    lab = commands.add_parser("lab", help="open the workbook in JupyterLab; other arguments are handed on to it")
    lab.add_argument("--notebook", default="00", help="which one to open: a path, or how its name begins (default: 00)")
    validate = commands.add_parser("validate", help="run notebooks and compare every output with the stored one")
    validate.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="as for lab --notebook; by default all")
    commands.add_parser("info", help="versions, device, data and weights that are here; known problems and their cure")
    commands.add_parser(
        "fetch", help="fetch English and Chinese reviews, and the weights of efficientnet-lite0 (60 MB)"
    )
    return parser


def _lab(chosen: argparse.Namespace, rest: list[str]) -> int:
    _require("jupyterlab", "JupyterLab")
    notebook = find_notebook(chosen.notebook)
    try:
        _fetch(chosen, rest)
    except (OSError, ValueError) as problem:  # only some notebooks need them, and say so themselves
        print(f"stablelab: {problem}", file=sys.stderr)
    return launch(lab_command(notebook, rest), lab_environment(os.environ))


def _validate(chosen: argparse.Namespace, rest: list[str]) -> int:
    _require("nbval", "nbval")
    notebooks = [find_notebook(name) for name in chosen.notebooks] or all_notebooks()
    return 0 if validate(notebooks) else 1


def _info(chosen: argparse.Namespace, rest: list[str]) -> int:
    from .environment import survey

    found = survey()
    print(found)
    return 1 if found.problems else 0


def _fetch(chosen: argparse.Namespace, rest: list[str]) -> int:
    from .data import fetch_chinese_reviews, fetch_corpora
    from .models import fetch_efficientnet

    fetch_corpora()
    fetch_efficientnet()
    fetch_chinese_reviews()
    return 0


def _require(module: str, name: str) -> None:
    """Raise a one-line ValueError where a package of the extra ``lab`` is missing."""
    if find_spec(module) is None:
        raise ValueError(f'{name} is not installed here; run: {sys.executable} -m pip install "stablelab[lab]"')


# -- the notebooks -----------------------------------------------------------------------------------------------------


def notebooks_folder() -> Path:
    """The folder of the notebooks: the checkout's own, else copies in the current folder, made on the first call.

    Raises:
        FileNotFoundError: neither a checkout nor an installed package has them.
    """
    if not INSTALLED.is_dir():
        if not CHECKOUT.is_dir():
            raise FileNotFoundError(
                f"no notebooks in {CHECKOUT} or {INSTALLED}: clone the repository, or reinstall stablelab"
            )
        return CHECKOUT
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
    found = [notebook for notebook in found if notebook.name.startswith(f"{path.name}_")] or found  # "09" is not 09b
    if len(found) != 1 or path.parent != Path("."):
        names = ", ".join(notebook.stem for notebook in known) or "none"
        raise FileNotFoundError(f"unknown notebook {name!r}: there are {names}")
    return found[0]


# -- JupyterLab --------------------------------------------------------------------------------------------------------


def lab_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment that JupyterLab starts in.

    This environment's kernel comes before one of the user's, and no question about news stands in front of the first
    page (JupyterLab takes that setting from a file alone; the user's own settings still win).
    """
    config = [str(PACKAGE / "lab_config"), base.get("JUPYTER_CONFIG_PATH", "")]
    programs = [str(Path(sys.executable).parent), base.get("PATH", "")]
    changed = {"JUPYTER_CONFIG_PATH": config, "PATH": programs}
    joined = {name: os.pathsep.join(filter(None, folders)) for name, folders in changed.items()}
    return {**base, "JUPYTER_PREFER_ENV_PATH": "1", **joined}


def lab_command(notebook: Path, extra: Sequence[str] = ()) -> list[str]:
    """The command that opens ``notebook`` in JupyterLab, with ``extra`` arguments for it."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={notebook.parent}"]
    command.append(f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}")  # in the printed address too
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # as in a container; JupyterLab refuses otherwise
    return [*command, *extra]


def launch(command: Sequence[str], environment: dict[str, str]) -> int:
    """Become ``command``, so that Ctrl-C reaches it alone; on Windows, wait for it."""
    if os.name == "nt":
        return subprocess.call(command, env=environment)
    sys.stdout.flush()
    os.execve(command[0], list(command), environment)


# -- validation --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What became of one notebook.

    Attributes:
        notebook: its path.
        passed: whether all outputs came again.
        seconds: how long it took.
        report: the cells that differ: input, what was stored, what came. Empty if all agree.
    """

    notebook: Path
    passed: bool
    seconds: float
    report: str


def validate_notebook(notebook: Path, cell_timeout: int = CELL_TIMEOUT) -> Verdict:
    """Run one notebook in a fresh kernel of this environment and compare all outputs: nbval, in its strict mode.

    A number may differ by the tolerance that its cell states; see ``tolerances.py``.

    Args:
        notebook: its path.
        cell_timeout: seconds that one cell may take.

    Returns:
        The verdict.
    """
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", f"--nbval-cell-timeout={cell_timeout}"]
    command += ["-p", "stablelab.tolerances"]  # where an earlier set-up has not named it to pytest
    command += ["-q", "--color=no", "--no-header", "-p", "no:cacheprovider", "--override-ini=addopts="]
    command += [f"--rootdir={notebook.parent}", notebook.name]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # torch's threads spin while they wait for each other; beside other programs that takes eight times as long.
    environment.setdefault("OMP_WAIT_POLICY", "passive")
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


def validate(notebooks: Sequence[Path]) -> bool:
    """Validate notebooks one after the other, with a line of progress for each.

    Args:
        notebooks: their paths.

    Returns:
        Whether all passed.
    """
    failed = 0
    for number, notebook in enumerate(notebooks, 1):
        print(f"[{number}/{len(notebooks)}] {notebook.name} ", end="", flush=True)
        verdict = validate_notebook(notebook)
        failed += not verdict.passed
        print(f"{'✓' if verdict.passed else '✗'} {verdict.seconds:.0f} s", flush=True)
        if verdict.report:
            print("\n".join(f"    {line}".rstrip() for line in verdict.report.splitlines()), flush=True)
    print(f"{len(notebooks) - failed} passed, {failed} failed", flush=True)
    return failed == 0
