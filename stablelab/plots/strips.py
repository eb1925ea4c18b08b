"""The runs of a sweep as dots, in the cell that asks for them."""

from __future__ import annotations

from ..stability.sweeps.results import Results
from .display import show
from .sweep_tables import groups, rows_of
from .sweep_words import in_words
from .sweeps import strip
from .training_curves import to_png


def show_strip(results: Results, score: str = "accuracy", by: str | None = None) -> None:
    """Show a dot for each run and a line for each setting; its words say mean, spread and failures.

    Arguments:
        results, score, by: as of ``strip``.

    Raises:
        ValueError: in one line, as ``strip``.
    """
    picture = to_png(strip(results, score, by))
    rows = rows_of(results)
    grid = results.grid if by is None else {by: results.grid[by]}
    lines = [(group, [rows[i] for i in group.positions]) for group in groups(results.trials, grid)]
    show("; ".join(f"{group.label}: {in_words(own)[:-1]}" for group, own in lines if own) + ".", png=picture)
