"""Contrast pairs: two examples that differ in little but their label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from .._validation import number
from ..training.error_analysis import diagnose
from ..training.protocols import Split
from .estimates import Estimate


@dataclass(frozen=True, eq=False, repr=False)
class Contrast:
    """What a model made of P pairs.

    Attributes:
        right: (P, 2) bool, whether it is right on the first and on the second example of each pair.
        flipped: (P,) bool, whether it gave the two examples different answers; since the labels differ, it should.
        level: of the intervals, between 0 and 1.
    """

    right: np.ndarray
    flipped: np.ndarray
    level: float = 0.95

    @property
    def accuracy(self) -> tuple[float, float]:
        """The share of right answers on the first examples, and on the second."""
        first, second = self.right.mean(axis=0).tolist()
        return first, second

    @property
    def consistency(self) -> Estimate:
        """Contrast consistency: the share of pairs with both examples right, and Wilson's interval."""
        return self._share(self.right[:, 0] & self.right[:, 1])

    @property
    def flips(self) -> Estimate:
        """The share of pairs whose two answers differ, and Wilson's interval."""
        return self._share(self.flipped)

    def _share(self, found: np.ndarray) -> Estimate:
        from scipy.stats import binomtest

        interval = binomtest(int(found.sum()), len(found)).proportion_ci(self.level, method="wilson")
        return Estimate(
            float(found.mean()), float(interval.low), float(interval.high), self.level, len(found), "Wilson", of="pair"
        )

    def __repr__(self) -> str:
        first, second = self.accuracy
        return (
            f"{len(self.right)} pairs: both right {self.consistency.value:.3f}, answer flips "
            f"{self.flipped.mean():.3f}; accuracy {first:.3f} on the first, {second:.3f} on the second"
        )


def contrast(model: nn.Module, pairs: Split, level: float = 0.95) -> Contrast:
    """How a model answers pairs of examples that differ in little but their label, such as by a "not".

    Args:
        model: any classifier; its weights and mode stay as they are.
        pairs: pair p is examples 2p and 2p + 1.
        level: of the intervals, between 0 and 1.

    Raises:
        ValueError: in one line: no pairs, an odd number of examples, or a pair with one label; or as ``diagnose``.

    Source:
        Contrast consistency: Gardner et al. 2020, "Evaluating models' local decision boundaries via contrast sets",
        Section 2. Flips as a test of their own: Ribeiro et al. 2020, "Beyond accuracy: behavioral testing of NLP models
        with CheckList", Section 2.
    """
    number("level", level, above=0, below=1)
    if not len(pairs) or len(pairs) % 2:
        raise ValueError(f"there are {len(pairs)} examples; pairs are examples 2p and 2p + 1, an even number of them")
    same = (pairs.targets[::2] == pairs.targets[1::2]).nonzero().flatten().tolist()
    if same:
        i = 2 * same[0]
        raise ValueError(f"examples {i} and {i + 1} have the same label; the labels of a pair must differ")
    found = diagnose(model, pairs)
    answers = found.predicted.view(-1, 2).numpy()  # (P, 2)
    return Contrast(answers == found.targets.view(-1, 2).numpy(), answers[:, 0] != answers[:, 1], level)
