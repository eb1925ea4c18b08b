"""What is on this machine: versions, device, data and weights, and known-bad combinations with their cure."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import __version__

SHOWN = ("torch", "torchvision", "transformers", "jupyterlab", "ipykernel", "ipywidgets", "anywidget", "numpy")
LEAST_MEMORY = 2.0  # GB free: notebook 08 with JupyterLab and its kernel takes 1.5
EXTENSIONS = {"anywidget": "anywidget", "@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets"}
WITHOUT = {
    "anywidget": "the live chart shows 'javascript error'",
    "ipykernel": "a slider dragged while a cell runs hangs the kernel",
    "ipywidgets": "the controls do not show",
}
INSTALL = "python -m pip install"
PROBE = """
import json, torch
gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
units = [n for n, there in getattr(torch.cpu, "get_capabilities", dict)().items() if there is True]
said = {"threads": torch.get_num_threads(), "gpu": gpu, "torchvision": "", "processor": units}
try:
    import torchvision
except Exception as error:
    said["torchvision"] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Problem:
    """Something known not to work, and what to do about it.

    Attributes:
        what: does not work.
        cure: what to do.
    """

    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.what}\n    cure: {self.cure}"


@dataclass(frozen=True)
class Survey:
    """What was found; printed, it is what ``stablelab info`` shows.

    Attributes:
        facts: name -> value, in the order in which they are shown.
        problems: what is known not to work here.
    """

    facts: Mapping[str, str]
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        width = max(map(len, self.facts), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        verdict = [f"✗ {problem}" for problem in self.problems] or ["✓ no known problem"]
        return "\n".join([*lines, "", *verdict])


def survey() -> Survey:
    """Look at this machine (about five seconds: PyTorch is started in a process of its own)."""
    said, broken = start_torch()
    facts = {"stablelab": __version__, "python": f"{platform.python_version()} on {platform.platform()}"}
    facts |= {name: _version(name) for name in SHOWN}
    facts["device"] = f"GPU {said['gpu']}" if said.get("gpu") else "CPU"
    facts["threads"] = str(said.get("threads", "unknown"))
    facts["precision"] = precision_fact(said.get("processor", ()))
    problems = [*_own_requirements(), *broken, *_extension_problems(), *_memory_problems(facts)]
    if not said.get("gpu") and _has_nvidia_gpu():
        cure = "update the NVIDIA driver to one for CUDA 13; until then training runs on the CPU"
        problems.append(Problem("there is an NVIDIA GPU, but PyTorch cannot use it", cure))
    if said:
        from .models import inventory

        facts |= inventory()
    return Survey(facts, tuple(problems))


def precision_fact(units: Iterable[str]) -> str:
    """What a processor with these instructions computes in bf16 with.

    Args:
        units: names of torch's ``torch.cpu.get_capabilities``.
    """
    from .training.precision import bf16_units

    found = bf16_units(dict.fromkeys(units, True))
    return f"bf16 by {', '.join(found)}" if found else "bf16 is imitated by this processor, and slower than fp32"


def start_torch() -> tuple[dict[str, Any], list[Problem]]:
    """Start torch and torchvision in a fresh process, where a broken one harms nothing.

    Returns:
        What torch said of the machine (empty if it did not start), and what is wrong with the two.
    """
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {}, [Problem(f"torch does not start: {reason}", f"{INSTALL} --force-reinstall torch torchvision")]
    said = json.loads(done.stdout.splitlines()[-1])
    return said, torchvision_problems(said["torchvision"], _version("torch"), _version("torchvision"))


def torchvision_problems(error: str, torch: str, torchvision: str) -> list[Problem]:
    """What is wrong when importing torchvision ended in ``error`` (empty: nothing).

    Args:
        error: the type and the text of the exception.
        torch: its version.
        torchvision: its version.
    """
    if not error:
        return []
    if "torchvision::nms" in error:
        what = f"torchvision {torchvision} was built for another PyTorch than {torch} ({error})"
        cure = f"{INSTALL} --force-reinstall torch torchvision, both in one call and from the same index"
        return [Problem(what, cure)]
    return [Problem(f"torchvision does not start: {error.splitlines()[0]}", f"{INSTALL} --force-reinstall torchvision")]


def requirement_problems(requires: Iterable[str], installed: Callable[[str], str]) -> list[Problem]:
    """Packages that are missing, or other than the workbook needs.

    Args:
        requires: requirements as in a package's metadata. One of the extra ``lab`` may be missing, but not too old;
            those of other extras are left out.
        installed: the version of a package by name; raises ``PackageNotFoundError`` if it is missing.
    """
    from packaging.requirements import Requirement

    problems = []
    for requirement in map(Requirement, requires):
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if marker and not always and not marker.evaluate({"extra": "lab"}):
            continue
        try:
            version = installed(requirement.name)
        except metadata.PackageNotFoundError:
            if not always:
                continue
            version = "missing"
        if version == "missing" or not requirement.specifier.contains(version, prereleases=True):
            harm = f": {WITHOUT[requirement.name]}" if requirement.name in WITHOUT else ""
            what = f"{requirement.name} is {version}, needed is {requirement.specifier or 'any version'}{harm}"
            problems.append(
                Problem(what, f'{INSTALL} "{requirement.name}{requirement.specifier}", then restart JupyterLab')
            )
    return problems


def _own_requirements() -> list[Problem]:
    try:
        return requirement_problems(metadata.requires("stablelab") or (), metadata.version)
    except metadata.PackageNotFoundError:
        return [
            Problem("stablelab itself is not installed", f'in its folder: {INSTALL} -c constraints.txt -e ".[lab]"')
        ]


def extension_problems(folders: Iterable[Path]) -> list[Problem]:
    """JupyterLab extensions that are in none of the folders JupyterLab looks in."""
    folders = list(folders)
    missing = [name for name in EXTENSIONS if not any((folder / name).is_dir() for folder in folders)]
    cure = f"start JupyterLab with `stablelab lab`; if that does not help: {INSTALL} --force-reinstall --no-deps"
    return [Problem(f"JupyterLab does not see the extension {name}", f"{cure} {EXTENSIONS[name]}") for name in missing]


def memory_problems(available: float) -> list[Problem]:
    """Too little memory, if ``available`` (GB) is less than the notebooks need."""
    if available >= LEAST_MEMORY:
        return []
    cure = "close other programs and kernels; train with a smaller batch_size, or train='head'"
    return [Problem(f"only {available:.1f} GB of memory are free, {LEAST_MEMORY:.0f} GB are needed", cure)]


def _memory_problems(facts: dict[str, str]) -> list[Problem]:
    import psutil

    memory = psutil.virtual_memory()
    facts["memory"] = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    return memory_problems(memory.available / 1e9)


def _extension_problems() -> list[Problem]:
    if find_spec("jupyterlab") is None:  # the package is used without it
        return []
    from jupyter_core.paths import jupyter_path

    return extension_problems(Path(folder) for folder in jupyter_path("labextensions"))


def _has_nvidia_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
