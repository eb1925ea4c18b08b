"""Whether tests and notebooks hold on other processors, and how far their numbers are apart there.

``python tests/portable.py check ARGUMENTS`` runs pytest once under each of two settings of the processor, ``python
tests/portable.py tolerances NOTEBOOKS`` compares what cells print under them, and here as it is, with the tolerances
that the cells state. `make portable` and `make tolerances` call these. Seeds are not varied: no notebook takes one yet.

Each library reads a variable of its own: torch's own kernels ATEN_CPU_CAPABILITY, oneDNN (convolutions)
ONEDNN_MAX_CPU_ISA, MKL (torch's matrix products; it listens on Intel only) MKL_ENABLE_INSTRUCTIONS, OpenBLAS (those of
numpy and scipy) OPENBLAS_CORETYPE. More threads than cores are had with MKL_DYNAMIC=FALSE: torch takes as many as MKL
says, whatever OMP_NUM_THREADS says.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from stablelab.tolerances import PROPERTY

NBVAL = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout=1200")
SETTINGS = {
    "SSE, one thread": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    },
    "AVX2, four threads": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "4",
        "MKL_NUM_THREADS": "4",  # where it is set, as by a cluster of dask, MKL listens to it alone
        "MKL_DYNAMIC": "FALSE",
        "OMP_WAIT_POLICY": "passive",  # where there are fewer cores, threads that wait leave them to the others
    },
}
AS_IT_IS = {"this machine": dict[str, str]()}


@dataclass(frozen=True)
class Cell:
    """What became of one cell of a notebook under one setting.

    Attributes:
        name: as nbval counts, Cell 0 being the first that holds code.
        failure: what nbval says; empty if the cell passed.
        numbers: how many numbers its stored output has; 0 where it is not compared.
        absolute: the largest difference seen, infinite for nan or infinity against another number.
        relative: the largest difference as a share of the stored number.
        asked: the tolerance that the cell states; empty if none.
        outside: a line for each number outside it, or for other words.
    """

    name: str
    failure: str
    numbers: int = 0
    absolute: float = 0.0
    relative: float = 0.0
    asked: str = ""
    outside: tuple[str, ...] = ()


def run_notebook(notebook: Path, setting: Mapping[str, str]) -> list[Cell]:
    """Run a notebook under nbval, with these variables in the environment.

    Raises:
        ValueError: it could not be collected; with what pytest said.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        arguments = [
            *NBVAL,
            "-q",
            "--color=no",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            "--override-ini=addopts=",
        ]
        command = [sys.executable, "-m", "pytest", *arguments, f"--rootdir={notebook.parent}", notebook.name]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | setting
        done = subprocess.run(
            command, cwd=notebook.parent, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode not in (0, 1):
            raise ValueError(done.stdout)
        return [_cell(case) for case in ElementTree.parse(report).iter("testcase")]


def _cell(case: ElementTree.Element) -> Cell:
    failures = [found.text or "" for kind in ("failure", "error") for found in case.iter(kind)]
    seen = [found.attrib["value"] for found in case.iter("property") if found.attrib["name"] == PROPERTY]
    record = json.loads(seen[0]) if seen else {}
    return Cell(case.attrib["name"], "\n".join(failures), **record | {"outside": tuple(record.get("outside", ()))})


def table(runs: Mapping[str, Sequence[Cell]]) -> str:
    """What was seen and what is asked, for each cell that has a tolerance, has numbers or failed.

    Args:
        runs: the cells of one notebook, by the name of the setting they ran under.

    Returns:
        A line for each cell.
    """
    lines = [("cell", "numbers", "absolute", "relative", "asked", "")]
    for cells in zip(*runs.values(), strict=True):
        failed = [name for name, cell in zip(runs, cells, strict=True) if cell.failure]
        numbers, asked = max(cell.numbers for cell in cells), max(cell.asked for cell in cells)
        if numbers or asked or failed:
            seen = [_size(max(getattr(cell, what) for cell in cells)) for what in ("absolute", "relative")]
            remark = f"fails under {'; '.join(failed)}" if failed else ""
            lines.append((cells[0].name, str(numbers), *seen, asked or "exact", remark))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _size(difference: float) -> str:
    return "∞" if math.isinf(difference) else f"{difference:.2g}"


def tolerances(notebooks: Iterable[Path]) -> bool:
    """Print the table of each notebook, and each line that is outside; return whether all passed."""
    passed = True
    for notebook in notebooks:
        runs = {name: run_notebook(notebook.resolve(), setting) for name, setting in (AS_IT_IS | SETTINGS).items()}
        print(f"\n{notebook.name} ({' | '.join(runs)}), seeds not varied:\n{table(runs)}", flush=True)
        for name, cells in runs.items():
            for cell in cells:
                passed = passed and not cell.failure
                for line in cell.outside or cell.failure.splitlines()[:1]:
                    print(f"  {name}: {line}", flush=True)
    return passed


def check(arguments: Sequence[str]) -> bool:
    """Run pytest under each setting; return whether all passed."""
    said = "import torch; print('torch', torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), 'threads')"
    codes = []
    for name, setting in SETTINGS.items():
        environment = os.environ | setting
        print(f"\n== {name}: {' '.join(f'{key}={value}' for key, value in setting.items())}", flush=True)
        subprocess.run([sys.executable, "-c", said], env=environment, check=True)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--numprocesses=2",
            "--dist=loadfile",
            "--no-loadscope-reorder",
            *NBVAL,
            *arguments,
        ]
        codes.append(subprocess.run(command, env=environment, check=False).returncode)
    print("", *(f"{name}: pytest's exit code {code}" for name, code in zip(SETTINGS, codes, strict=True)), sep="\n")
    return not any(codes)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        print(f"the instruction set can be held down on Intel and AMD only; this is {platform.machine()}")
        return 1
    do, *rest = arguments
    return 0 if (check(rest) if do == "check" else tolerances(map(Path, rest))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
