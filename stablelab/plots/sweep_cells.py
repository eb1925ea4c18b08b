"""A score of a sweep over two settings: a table of its mean and of its spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .sweep_tables import Grid, Row, checked_score, finite, groups, say, spaced, varied


@dataclass(frozen=True, eq=False)
class Cells:
    """A table of two settings: a row for each value of one, a column for each of the other.

    Arguments:
        x, y: names of the settings, of columns and rows; y is empty where there is one row only.
        columns, rows: their values.
        mean, std: (rows, columns), of the runs that did not diverge; NaN where there are too few (1, and 2).
        runs, diverged: (rows, columns) int64, how many there are, and how many of them diverged.
        label: what the numbers are, with the unit.
        falls: whether less is better.
        over: other settings of the grid that the numbers are averages over.
    """

    x: str
    y: str
    columns: tuple[Any, ...]
    rows: tuple[Any, ...]
    mean: np.ndarray
    std: np.ndarray
    runs: np.ndarray
    diverged: np.ndarray
    label: str
    falls: bool = True
    over: tuple[str, ...] = ()

    def where(self, row: int, column: int) -> str:
        """The settings of a cell, as they are read."""
        said = f"{spaced(self.x)} {say(self.columns[column])}"
        return said + (f", {spaced(self.y)} {say(self.rows[row])}" if self.y else "")


def cells(rows: Sequence[Row], grid: Grid, x: str, y: str, score: str) -> Cells:
    """The score's mean and spread for each pair of values of two settings.

    Where the grid has other settings, the mean is that of their means, and the variance that of their variances, so
    that the spread stays that over seeds.

    Arguments:
        rows: the runs that are done.
        grid: of the sweep.
        x, y: settings of the grid; y may be empty for one row.
        score: one of ``SCORES``.
    """
    chosen = checked_score(score)
    columns, lines = grid[x], grid[y] if y else (None,)
    shape = (len(lines), len(columns))
    runs, diverged = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    means: list[list[list[float]]] = [[[] for _ in columns] for _ in lines]
    variances: list[list[list[float]]] = [[[] for _ in columns] for _ in lines]
    for group in groups([row.point for row in rows], grid):
        column = columns.index(group.values.get(x, columns[0]))
        line = lines.index(group.values.get(y, lines[0])) if y else 0
        here = [rows[i] for i in group.positions]
        runs[line, column] += len(here)
        diverged[line, column] += sum(row.diverged for row in here)
        values = finite(here, score)
        means[line][column] += [values.mean()] if len(values) else []
        variances[line][column] += [values.var(ddof=1)] if len(values) > 1 else []
    over = tuple(name for name in varied(grid) if name not in (x, y))
    mean, std = _averages(means), np.sqrt(_averages(variances))
    return Cells(x, y, columns, lines, mean, std, runs, diverged, chosen.label, chosen.falls, over)


def _averages(found: Sequence[Sequence[Sequence[float]]]) -> np.ndarray:
    return np.array([[np.mean(each) if len(each) else np.nan for each in row] for row in found], dtype=np.float64)
