"""What a sweep is made of: one point for each run, and the grid that they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from ..._validation import whole
from ...training.settings import NAMES, Settings

Grid = dict[str, tuple[Any, ...]]
FLOATS = frozenset(f.name for f in fields(Settings) if str(f.type).startswith("float"))


@dataclass(frozen=True)
class Point:
    """One run of a sweep, before it is run.

    Arguments:
        settings: what it is trained with.
        init: seed of the new weights, ≥ 0.
        order: seed of the order of the data and of the randomness inside each step, ≥ 0.
        subset: number of the training subset; None for the whole training split.
    """

    settings: Settings
    init: int
    order: int
    subset: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; equal points have equal ones, whether a rate was written 1 or 1.0."""
        settings = {n: float(v) if n in FLOATS and v is not None else v for n, v in self.settings.to_dict().items()}
        return {"settings": settings, "init": self.init, "order": self.order, "subset": self.subset}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Point:
        """The point that ``to_dict`` wrote."""
        return cls(Settings.from_dict(values["settings"]), values["init"], values["order"], values["subset"])


def checked_grid(grid: Mapping[str, Sequence[Any]], base: Settings) -> Grid:
    """The grid as tuples.

    Arguments:
        grid: name of a setting -> the values it takes.
        base: all other settings; a value must be possible with each combination of the others.

    Raises:
        ValueError: in one line, for a name that is no setting, no values, a value given twice or one that cannot be.
    """
    checked: Grid = {}
    for name, values in grid.items():
        if name not in NAMES:
            raise ValueError(f"grid: there is no setting {name!r}; there are {', '.join(sorted(NAMES))}")
        each = () if isinstance(values, str) or not isinstance(values, Iterable) else tuple(values)
        if not each:
            raise ValueError(
                f"grid: {name} is {values!r}; it must be a list of values, such as [{_example(base, name)}]"
            )
        checked[name] = each
    for name, values in checked.items():
        _once(f"grid: {name}", values)
        for value in values:
            try:
                base.replace(**{name: value})
            except ValueError as reason:
                raise ValueError(f"grid: {reason}") from None
    return checked


def checked_seeds(name: str, seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds as a tuple.

    Raises:
        ValueError: in one line, for none, a seed given twice, or one that is no whole number of at least 0.
    """
    if isinstance(seeds, int | str) or not isinstance(seeds, Iterable):
        raise ValueError(f"{name} is {seeds!r}; it must be a list of seeds, such as range(5)")
    found = tuple(whole(f"{name}: a seed", seed) for seed in seeds)
    if not found:
        raise ValueError(f"{name} is empty; give at least one seed, such as range(5)")
    _once(name, found)
    return found


def points_of(
    grid: Grid, base: Settings, pairs: Sequence[tuple[int, int]], subsets: Sequence[int | None]
) -> tuple[Point, ...]:
    """Every combination: of the grid (the last name changes fastest), of (init, order) and of subsets."""
    settings = [base.replace(**dict(zip(grid, values, strict=True))) for values in product(*grid.values())]
    return tuple(Point(each, init, order, subset) for each, (init, order), subset in product(settings, pairs, subsets))


def _once(name: str, values: Sequence[Any]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{name} has {value!r} twice; each would be the same run again, so give it once")


def _example(base: Settings, name: str) -> str:
    return repr(getattr(base, name))
