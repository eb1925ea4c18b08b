"""Training subsets: how much of the spread comes from which examples happened to be there to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._validation import whole

KINDS = ("bootstrap", "disjoint")


@dataclass(frozen=True)
class Subsets:
    """``count`` subsets of a training split.

    Arguments:
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
        whole("subsets: the seed", self.seed)

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
