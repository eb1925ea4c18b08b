"""The ``stablelab`` command. What a subcommand needs is imported when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Arguments:
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
    commands.add_parser("fetch", help="fetch the review corpora (once, 2.5 MB)")
    return parser


def _lab(chosen: argparse.Namespace, rest: list[str]) -> int:
    from .notebooks import find_notebook

    notebook = find_notebook(chosen.notebook)
    try:
        _fetch(chosen, rest)
    except (OSError, ValueError) as problem:  # only the notebooks on reviews need them, and say so themselves
        print(f"stablelab: {problem}", file=sys.stderr)
    return launch(lab_command(notebook, rest), lab_environment(os.environ))


def lab_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment that JupyterLab starts in.

    This environment's kernel comes before one of the user's, and no question about news stands in front of the first
    page (JupyterLab takes that setting from a file alone; the user's own settings still win).
    """
    config = [str(Path(__file__).parent / "lab_config"), base.get("JUPYTER_CONFIG_PATH", "")]
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


def _validate(chosen: argparse.Namespace, rest: list[str]) -> int:
    from .notebooks import all_notebooks, find_notebook
    from .validate import validate

    notebooks = [find_notebook(name) for name in chosen.notebooks] or all_notebooks()
    return 0 if validate(notebooks) else 1


def _info(chosen: argparse.Namespace, rest: list[str]) -> int:
    from .environment import survey

    found = survey()
    print(found)
    return 1 if found.problems else 0


def _fetch(chosen: argparse.Namespace, rest: list[str]) -> int:
    from .data import fetch_corpora

    fetch_corpora()
    return 0
