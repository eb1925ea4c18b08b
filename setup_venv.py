"""Make ``.venv`` and install the package in it: what ``make`` runs first, with whatever Python 3 is there.

Only the standard library, and only what Python 3.6 can read (no ``from __future__ import annotations``): an old Python
must come as far as saying that it is too old. What goes wrong ends in one line that names the cure.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

OLDEST, NEWEST = (3, 11), (3, 13)
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3")
GIGABYTES = 10 if sys.platform.startswith("linux") else 4  # on Linux, PyTorch brings 5 GB of CUDA libraries
LOG = "setup.log"  # in .venv: all that pip wrote
STATE = "stablelab.json"  # in .venv: what was installed there, and for which checkout
NAME_ONE = "then name it, as in: make lab PYTHON=python3.12"
PIP_OPTIONS = (
    "--progress-bar=off",
    "--no-compile",  # done afterwards, on all cores
    "--no-input",
    "--disable-pip-version-check",
    "--retries=2",
    "--constraint=constraints.txt",
)
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET")  # would install elsewhere or see foreign packages
NO_NETWORK = (
    "NewConnectionError",
    "new connection",
    "name resolution",
    "getaddrinfo",
    "ConnectTimeout",
    "timed out",
    "ProxyError",
    "Connection refused",
    "ConnectionReset",
    "Connection broken",
    "RemoteDisconnected",
)


class SetupError(Exception):
    """What went wrong and its cure, in one line."""


# -- which Python ------------------------------------------------------------------------------------------------------


class Interpreter(NamedTuple):
    """What an interpreter says of itself."""

    version: Tuple[int, int]
    has_venv: bool
    platform: str  # such as Linux-x86_64


PROBE = """import sys, platform, importlib.util
print(*sys.version_info[:2], importlib.util.find_spec("ensurepip") is not None, platform.system(), platform.machine())
"""


def probe(python: str) -> Optional[Interpreter]:
    """Ask the interpreter called ``python`` what it is; None if it does not run."""
    code, output = run([python, "-I", "-c", PROBE])
    words = output.split()
    if code != 0 or len(words) != 5:
        return None
    major, minor, has_venv, system, machine = words
    return Interpreter((int(major), int(minor)), has_venv == "True", system + "-" + machine)


def complaint(python: str, found: Optional[Interpreter]) -> str:
    """Why the interpreter called ``python``, which ``probe`` found, cannot be used; empty if it can."""
    if found is None:
        return f"{python} does not run: choose a Python 3.11 to 3.13, {NAME_ONE}"
    version = "{}.{}".format(*found.version)
    if not OLDEST <= found.version <= NEWEST:
        return f"Python {version} found ({python}), 3.11 to 3.13 needed: install one (python.org), {NAME_ONE}"
    if found.platform == "Darwin-x86_64":
        return f"{python} is for Intel Macs, which PyTorch has left: use Linux, or a native Python on Apple silicon"
    if not found.has_venv:
        cure = f"on Debian and Ubuntu run: sudo apt install python{version}-venv"
        return f"{python} cannot make virtual environments, its venv module is missing: {cure}"
    return ""


def choose(asked: str = "", candidates: Sequence[str] = CANDIDATES) -> str:
    """The interpreter that makes ``.venv``: the one asked for, else the first candidate that will do.

    Raises:
        SetupError: none will do; says what is wrong with the one that comes closest.
    """
    problem = f"no Python 3 found: install Python 3.12 (python.org), {NAME_ONE}"
    closeness = 0  # 1: it runs; 2: its version is right, too
    for python in (asked,) if asked else candidates:
        found = probe(python)
        wrong = complaint(python, found)
        if not wrong:
            return python
        close = 0 if found is None else 2 if OLDEST <= found.version <= NEWEST else 1
        if asked or close > closeness:
            problem, closeness = wrong, close
    raise SetupError(problem)


# -- the steps of the set-up -------------------------------------------------------------------------------------------


def set_up(root: Path, asked: str = "", tests: bool = False) -> None:
    """Bring ``.venv`` to what pyproject.toml and constraints.txt say; at once if it is there already.

    Args:
        root: the checkout.
        asked: the interpreter to use; by default the newest that will do.
        tests: also install what the tests need.
    """
    venv = root / ".venv"
    python = str(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    before = read_state(venv)
    tests = tests or before.get("tests", False)  # what the tests need stays
    wanted = {"key": key_of(root), "root": str(root), "tests": tests}

    found = probe(python)
    usable = not complaint(".venv", found) and before.get("root", str(root)) == str(root)  # moved, it does not work
    if asked:
        other = probe(choose(asked))
        usable = usable and found is not None and other is not None and found.version == other.version
    if usable and before == wanted:
        return
    if not usable:
        make_venv(root, venv, choose(asked))
    elif run([python, "-c", "import pip"])[0] != 0:  # as `uv venv` leaves it
        run([python, "-m", "ensurepip"])
    write_state(venv, dict(wanted, key=""))  # whatever interrupts the installation, the next call goes on with it
    install(root, venv, python, tests)
    write_state(venv, wanted)


def key_of(root: Path) -> str:
    """A digest of what says which packages are installed."""
    return hashlib.sha256((root / "pyproject.toml").read_bytes() + (root / "constraints.txt").read_bytes()).hexdigest()


def read_state(venv: Path) -> Dict[str, Any]:
    """What the last set-up wrote down; empty if there was none."""
    try:
        return dict(json.loads((venv / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def write_state(venv: Path, state: Dict[str, Any]) -> None:
    """Write down what is installed, for the next call."""
    (venv / STATE).write_text(json.dumps(state), encoding="utf-8")


def make_venv(root: Path, venv: Path, python: str) -> None:
    """Make an empty ``.venv``, in place of one that does not work; leaves nothing half-made."""
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        raise SetupError(f"{venv} is there but is no virtual environment: move it away, then run make again")
    free = shutil.disk_usage(str(root)).free / 1e9
    if free < GIGABYTES:
        raise SetupError(f"only {free:.1f} GB free in {root}, set-up needs {GIGABYTES}: free some or use a larger disk")
    print(f"making {venv.name} with {python}", flush=True)
    shutil.rmtree(str(venv), ignore_errors=True)
    code, output = run([python, "-I", "-m", "venv", str(venv)])
    if code != 0:
        shutil.rmtree(str(venv), ignore_errors=True)
        raise SetupError(f"{python} -m venv failed: {last_message(output)}")


def install(root: Path, venv: Path, python: str, tests: bool) -> None:
    """Install the package, editable, with the pinned versions; pip's output goes to a log, its gist to the screen."""
    print("installing stablelab and what it needs: a few minutes the first time", flush=True)
    pip = subprocess.Popen(
        [python, "-m", "pip", "install", *PIP_OPTIONS, "--editable", ".[test]" if tests else ".[lab]"],
        cwd=str(root),
        env={name: value for name, value in os.environ.items() if name not in FOREIGN},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    output = ""
    for line in pip.stdout or ():
        output += line
        show(line.strip())
    show("")
    (venv / LOG).write_text(output, encoding="utf-8")
    if pip.wait() != 0:
        raise SetupError(diagnose(output))
    # on all cores, where pip uses one; left out, every later start is slow under PYTHONDONTWRITEBYTECODE. Of the
    # hundreds of models in transformers a few are used
    run([python, "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/|/transformers/models/", str(venv)])


def diagnose(output: str) -> str:
    """One line with a cure for what pip wrote before it failed."""
    if "No space left on device" in output:
        return f"the disk is full: set-up needs {GIGABYTES} GB; free some, then run make again"
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return "the package index's certificate is not trusted: set PIP_CERT to your network's certificate file"
    if any(sign in output for sign in NO_NETWORK):
        return "no way to the package index: connect to the network (or set HTTPS_PROXY), then run make again to go on"
    if "No matching distribution" in output:
        why = "is pip's index switched off (PIP_NO_INDEX), or the system older than glibc 2.28 or macOS 14?"
        return f"{last_message(output)}: {why}"
    return f"pip failed: {last_message(output)} (the whole story is in .venv/{LOG})"


# -- small helpers -----------------------------------------------------------------------------------------------------


def run(command: List[str]) -> Tuple[int, str]:
    """(exit code, everything it wrote); what does not start has exit code 127."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as problem:
        return 127, str(problem)
    return done.returncode, done.stdout


def last_message(output: str) -> str:
    """The last line that says something, pip's errors before others."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1]


def show(line: str) -> None:
    """Pip's last line, written over the one before; only where somebody looks."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="" if line else "\r", flush=True)


def main(arguments: List[str]) -> int:
    """The command line; the exit code is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default="", help="the Python to use, from 3.11 to 3.13")
    parser.add_argument("--tests", action="store_true", help="also install what the tests need")
    chosen = parser.parse_args(arguments)
    try:
        set_up(Path(__file__).resolve().parent, chosen.python, chosen.tests)
        return 0
    except SetupError as problem:
        print(f"stablelab: {problem}", file=sys.stderr)
    except OSError as problem:
        print(f"stablelab: {problem}; make room there or allow writing, then run make again", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstablelab: stopped; run make again to go on", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
