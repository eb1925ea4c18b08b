"""Make ``.venv`` and install the package in it: what ``make`` runs first, by path, with whatever Python 3 is there.

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

OLDEST, NEWEST = (3, 11), (3, 13)
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3")
GIGABYTES = 10 if sys.platform.startswith("linux") else 4  # on Linux, PyTorch brings 5 GB of CUDA libraries
LOG, STAMP = "setup.log", "stablelab.json"
PROBE = """import sys, platform as p, importlib.util as u
print(*sys.version_info[:2], u.find_spec("ensurepip") is not None, p.system(), p.machine())"""
TEXT: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
NO_NETWORK = "NewConnectionError|new connection|name resolution|getaddrinfo|ConnectTimeout|timed out|ProxyError"
NO_NETWORK += "|Connection refused|ConnectionReset|Connection broken|RemoteDisconnected"
NAME_ONE = "then name it, as in: make lab PYTHON=python3.12"


class SetupError(Exception):
    """What went wrong and its cure, in one line."""


def run(command: list) -> tuple:
    """(exit code, everything it wrote); what does not start has exit code 127."""
    try:
        done = subprocess.run(command, check=False, **TEXT)
    except OSError as problem:
        return 127, str(problem)
    return done.returncode, done.stdout


def probe(python: str) -> tuple:
    """((major, minor), whether it can make environments, its platform) of an interpreter; () if it does not run."""
    code, text = run([python, "-I", "-c", PROBE])
    said = text.split()
    return ((int(said[0]), int(said[1])), said[2] == "True", "-".join(said[3:])) if code == 0 and len(said) == 5 else ()


def complaint(python: str, found: tuple) -> str:
    """Why the interpreter called ``python``, of which ``probe`` said ``found``, cannot be used; empty if it can."""
    if not found:
        return f"{python} does not run: choose a Python 3.11 to 3.13, {NAME_ONE}"
    (major, minor), complete, platform = found
    if not OLDEST <= (major, minor) <= NEWEST:
        return f"Python {major}.{minor} found ({python}), 3.11 to 3.13 needed: install one (python.org), {NAME_ONE}"
    if platform == "Darwin-x86_64":
        return f"{python} is for Intel Macs, which PyTorch has left: use Linux, or a native Python on Apple silicon"
    if not complete:
        cure = f"on Debian and Ubuntu run: sudo apt install python{major}.{minor}-venv"
        return f"{python} cannot make virtual environments, its venv module is missing: {cure}"
    return ""


def choose(asked: str = "", candidates: tuple = CANDIDATES) -> str:
    """The interpreter that makes ``.venv``: the one asked for, else the first candidate that will do.

    Raises:
        SetupError: none will do; says what is wrong with the one that comes closest.
    """
    complaints = []
    for python in (asked,) if asked else candidates:
        found = probe(python)
        problem = complaint(python, found)
        if not problem:
            return python
        complaints.append((2 if found and OLDEST <= found[0] <= NEWEST else len(found[:1]), problem))
    closeness, problem = max(complaints, key=lambda entry: entry[0])
    none = f"no Python 3 found: install Python 3.12 (python.org), {NAME_ONE}"
    raise SetupError(problem if closeness or asked else none)


def read_stamp(venv: Path) -> dict:
    """What the last set-up wrote down; empty if there was none."""
    try:
        return dict(json.loads((venv / STAMP).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def make_venv(root: Path, venv: Path, python: str) -> None:
    """Make an empty ``.venv``, in place of one that does not work; leaves nothing half-made."""
    if venv.exists() and not (venv / "pyvenv.cfg").exists():
        raise SetupError(f"{venv} is there but is no virtual environment: move it away, then run make again")
    free = shutil.disk_usage(str(root)).free / 1e9
    if free < GIGABYTES:
        raise SetupError(f"only {free:.1f} GB free in {root}, set-up needs {GIGABYTES}: free some or use a larger disk")
    print(f"making {venv.name} with {python}", flush=True)
    shutil.rmtree(str(venv), ignore_errors=True)
    code, text = run([python, "-I", "-m", "venv", str(venv)])
    if code != 0:
        shutil.rmtree(str(venv), ignore_errors=True)
        raise SetupError(f"{python} -m venv failed: {gist(text)}")


def gist(text: str) -> str:
    """The last line that says something, pip's errors before others."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ([line for line in lines if line.startswith("ERROR")] or lines or ["no message"])[-1]


def diagnose(log: str) -> str:
    """One line with a cure for what pip wrote before it failed."""
    if "No space left on device" in log:
        return f"the disk is full: set-up needs {GIGABYTES} GB; free some, then run make again"
    if "CERTIFICATE_VERIFY_FAILED" in log:
        return "the package index's certificate is not trusted: set PIP_CERT to your network's certificate file"
    if any(sign in log for sign in NO_NETWORK.split("|")):
        return "no way to the package index: connect to the network (or set HTTPS_PROXY), then run make again to go on"
    if "No matching distribution" in log:
        why = "is pip's index switched off (PIP_NO_INDEX), or the system older than glibc 2.28 or macOS 14?"
        return f"{gist(log)}: {why}"
    return f"pip failed: {gist(log)} (the whole story is in .venv/{LOG})"


def install(root: Path, venv: Path, python: str, tests: bool) -> None:
    """Install the package, editable, with the pinned versions; pip's output goes to a log, its gist to the screen."""
    options = "--progress-bar=off --no-compile --no-input --disable-pip-version-check --retries=2 -c constraints.txt"
    command = [python, "-m", "pip", "install", *options.split(), "-e", ".[test]" if tests else "."]
    unwanted = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET")  # would install elsewhere or see foreign packages
    clean = {name: value for name, value in os.environ.items() if name not in unwanted}
    print("installing stablelab and what it needs: a few minutes the first time", flush=True)
    pip = subprocess.Popen(command, cwd=str(root), env=clean, stdin=subprocess.DEVNULL, **TEXT)
    text = ""
    for line in pip.stdout or ():
        text += line
        show(line.strip())
    show("")
    (venv / LOG).write_text(text, encoding="utf-8")
    if pip.wait() != 0:
        raise SetupError(diagnose(text))
    # on all cores, where pip uses one; left out, every later start is slow under PYTHONDONTWRITEBYTECODE
    run([python, "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/", str(venv)])


def show(line: str) -> None:
    """Pip's last line, written over the one before; only where somebody looks."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="" if line else "\r", flush=True)


def set_up(root: Path, asked: str = "", tests: bool = False) -> None:
    """Bring ``.venv`` to what pyproject.toml and constraints.txt say; at once if it is there already.

    Arguments:
        root: the checkout.
        asked: the interpreter to use; by default the newest that will do.
        tests: also install what the tests need.
    """
    venv = root / ".venv"
    python = str(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    wanted = (root / "pyproject.toml").read_bytes() + (root / "constraints.txt").read_bytes()
    stamp, found = read_stamp(venv), probe(python)
    usable = not complaint(".venv", found) and stamp.get("root", str(root)) == str(root)
    if asked and probe(choose(asked))[0] != (found or [()])[0]:
        usable = False
    tests = tests or stamp.get("tests", False)
    done = {"key": hashlib.sha256(wanted).hexdigest(), "root": str(root), "tests": tests}
    if usable and stamp == done:
        return
    if not usable:
        make_venv(root, venv, choose(asked))
    elif run([python, "-c", "import pip"])[0] != 0:  # as `uv venv` leaves it
        run([python, "-m", "ensurepip"])
    # no key yet: whatever interrupts the installation, the next call goes on with it
    (venv / STAMP).write_text(json.dumps({**done, "key": ""}), encoding="utf-8")
    install(root, venv, python, tests)
    (venv / STAMP).write_text(json.dumps(done), encoding="utf-8")


def main(arguments: list) -> int:
    """The command line; the exit code is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default="", help="the Python to use, from 3.11 to 3.13")
    parser.add_argument("--tests", action="store_true", help="also install what the tests need")
    chosen = parser.parse_args(arguments)
    try:
        set_up(Path(__file__).resolve().parent.parent, chosen.python, chosen.tests)
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
