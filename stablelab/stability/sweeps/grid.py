"""What the trials of a sweep come from: a grid of settings, seeds, and training subsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ..._validation import plain, seed_number, shown, whole
from ...training.settings import NAMES, Settings
from .trial import Trial

Grid = dict[str, tuple[Any, ...]]
KINDS = ("bootstrap", "disjoint")
_LARGEST_SEED = 2**43  # times a million it still seeds a generator


def checked_grid(grid: Mapping[str, Sequence[Any]], base: Settings) -> Grid:
    """The grid as tuples.

    Args:
        grid: name of a setting -> the values it takes.
        base: all other settings; a value must be possible with each combination of the others.

    Raises:
        ValueError: in one line, for a name that is no setting, no values, a value given twice or one that cannot be.
    """
    checked: Grid = {}
    if not isinstance(grid, Mapping):
        raise ValueError(f"grid is {shown(grid)}; it must be settings with values, such as {{'max_norm': [None, 1.0]}}")
    for name, values in grid.items():
        if name not in NAMES:
            raise ValueError(f"grid: there is no setting {name!r}; there are {', '.join(sorted(NAMES))}")
        each = () if isinstance(values, str) or not isinstance(values, Iterable) else tuple(map(plain, values))
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
    found = tuple(seed_number(f"{name}: a seed", seed) for seed in seeds)
    if not found:
        raise ValueError(f"{name} is empty; give at least one seed, such as range(5)")
    _once(name, found)
    return found


def trials_of(
    grid: Grid, base: Settings, pairs: Sequence[tuple[int, int]], subsets: Sequence[int | None]
) -> tuple[Trial, ...]:
    """Every combination: of the grid (the last name changes fastest), of (init, order) and of subsets."""
    settings = [base.replace(**dict(zip(grid, values, strict=True))) for values in product(*grid.values())]
    return tuple(Trial(each, init, order, subset) for each, (init, order), subset in product(settings, pairs, subsets))


@dataclass(frozen=True)
class Subsets:
    """``count`` subsets of a training split.

    Args:
        kind: ``bootstrap`` draws as many examples as there are, with replacement; ``disjoint`` deals them out, so that
            no example is in two subsets.
        count: how many subsets, at least 1 (at least 2 disjoint ones).
        seed: of the draw, ≥ 0.

    Raises:
        ValueError: in one line.

    Source:
        Efron 1979, "Bootstrap methods: another look at the jackknife", Section 2.
    """

    kind: str
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"subsets: the kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        whole("subsets: the count", self.count, at_least=2 if self.kind == "disjoint" else 1, of=" of subsets")
        whole("subsets: the seed", self.seed, at_most=_LARGEST_SEED)

    @classmethod
    def of(cls, given: Any) -> Subsets | None:
        """From what a learner writes: ``("bootstrap", 5)``, such an object, or None.

        Raises:
            ValueError: in one line.
        """
        if given is None or isinstance(given, cls):
            return given
        if not (isinstance(given, tuple | list) and len(given) in (2, 3)):
            raise ValueError(f'subsets is {given!r}; it must be a pair such as ("bootstrap", 5) or ("disjoint", 4)')
        return cls(*given)

    def positions(self, n: int, number: int) -> Tensor:
        """(M,) int64: the positions, among ``n`` training examples, of subset ``number``, in ascending order.

        Raises:
            ValueError: there are fewer examples than disjoint subsets.
        """
        if self.kind == "disjoint":
            if n < self.count:
                raise ValueError(f"subsets: {n} training examples cannot be dealt out to {self.count} disjoint subsets")
            generator = torch.Generator().manual_seed(self.seed)
            return torch.randperm(n, generator=generator)[number :: self.count].sort().values
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        return torch.randint(n, (n,), generator=generator).sort().values


def _once(name: str, values: Sequence[Any]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{name} has {value!r} twice; each would be the same run again, so give it once")


def _example(base: Settings, name: str) -> str:
    return repr(getattr(base, name))
