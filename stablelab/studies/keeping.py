"""What the studies share: a file of what is done, so that a stopped study goes on, and the columns of its results."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import write_atomically

if TYPE_CHECKING:
    import pandas

KEPT = Path(__file__).parent / "kept"


class Done(Mapping[Any, Any]):
    """What a study has done, by key, in the order in which it was done: a line of JSON for each, written at once.

    A key is a string or a tuple of JSON values. Values are what JSON makes of them, so that it makes no difference
    whether they were computed now or before the study was stopped.

    Args:
        file: of the lines; what it holds is not done again. A last line that was cut off counts as not written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._values: dict[str, Any] = {}
        text = file.read_text() if file.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            write_atomically(file, whole)
        for line in whole.splitlines():
            self._take(line)

    def once(self, key: Any, do: Callable[..., Any], *arguments: Any) -> Any:
        """The value of the key; if there is none yet, what ``do(*arguments)`` comes to, an iterator as a list."""
        if key not in self:
            value = do(*arguments)
            self.add(key, list(value) if isinstance(value, Iterator) else value)
        return self[key]

    def add(self, key: Any, value: Any) -> None:
        """Write down what was done."""
        line = json.dumps({"key": key, "value": value})
        with self._file.open("a") as file:
            file.write(line + "\n")
        self._take(line)

    def _take(self, line: str) -> None:
        read = json.loads(line)
        self._values[json.dumps(read["key"])] = read["value"]

    def __getitem__(self, key: Any) -> Any:
        return self._values[json.dumps(key)]

    def __iter__(self) -> Iterator[Any]:
        keys = map(json.loads, self._values)
        return (tuple(key) if isinstance(key, list) else key for key in keys)

    def __len__(self) -> int:
        return len(self._values)


def parser_of(study: str, about: str | None) -> argparse.ArgumentParser:
    """The command line of a study, which says what it is about: ``--out``, a folder for the results."""
    parser = argparse.ArgumentParser(prog=f"python -m stablelab.studies.{study}", description=about)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the results (default: here)")
    return parser


def write_columns(file: Path, by: str, **columns: Any) -> None:
    """Keep arrays by name, compressed; ``by`` says what computed them."""
    content = io.BytesIO()
    np.savez_compressed(content, by=np.array(by), **columns)
    write_atomically(file, content.getvalue())


def read_column(file: Path, name: str) -> np.ndarray:
    """One of the arrays that ``write_columns`` has kept."""
    with np.load(file) as kept:
        column: np.ndarray = kept[name]
    return column


def read_table(file: Path, *names: str, prefix: str = "") -> pandas.DataFrame:
    """These of the arrays that ``write_columns`` has kept, as columns.

    Args:
        file: where they are kept.
        names: as the columns are called; all that have one dimension if none are given.
        prefix: what their names begin with in the file.
    """
    import pandas

    with np.load(file) as kept:
        there = [name for name in kept.files if name.startswith(prefix)]
        names = names or tuple(name.removeprefix(prefix) for name in there if kept[name].ndim == 1)
        return pandas.DataFrame({name: kept[prefix + name] for name in names})


def provenance_of(file: Path) -> str:
    """What computed the kept results."""
    return str(read_column(file, "by"))
