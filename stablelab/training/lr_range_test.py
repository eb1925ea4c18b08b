"""The learning-rate range test: raise the rate from step to step, watch the loss, and leave no trace in the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import nn

from .._validation import number, seed_number, whole
from ..formulas import cross_entropy
from .control import Control
from .loop import steps as train
from .protocols import Batches, Loss
from .records import Step
from .reproducibility import restored
from .settings import Settings

TELLING_FALL = 0.05  # of the first loss: a curve that falls less than this has taught nothing about the rate


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Args:
        learning_rates: η of each step, each larger than the last by the same factor.
        losses: the training loss that each step met, before its own update (nats for cross-entropy).
        window: how many neighbouring steps ``smoothed`` and ``suggestion`` look at together.
        blew_up: whether the loss ended the test early. A step whose loss or gradient was not finite is not kept.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    window: int
    blew_up: bool = False

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The mean of the losses around each step: of ``window`` steps, of fewer near the ends.

        Equally many to either side: an average of the past alone would lag behind, and name too high a rate.
        """
        last = len(self.losses) - 1
        reach = [min(self.window // 2, k, last - k) for k in range(last + 1)]
        return tuple(fmean(self.losses[k - r : k + r + 1]) for k, r in enumerate(reach))

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss falls fastest per factor of the rate: a place to start from, not the last word.

        A straight line through the losses of ``window`` steps against ln η has a slope; the suggestion is the
        (geometric) middle of the window with the steepest fall. None where the smoothed loss never gets five per cent
        below its first value, for then no rate did anything worth reading, and where there are fewer steps than that.

        Source: a common reading of the test of Smith 2017, "Cyclical learning rates for training neural networks",
        Section 3.3, where two rates are read off by eye: where the score begins to improve, and where it falters.
        """
        starts = range(len(self.losses) - self.window + 1)
        if not starts or min(self.smoothed) > (1 - TELLING_FALL) * self.smoothed[0]:
            return None
        first = min(starts, key=lambda k: _slope(self.losses[k : k + self.window]))
        return math.sqrt(self.learning_rates[first] * self.learning_rates[first + self.window - 1])


def range_test(
    model: nn.Module,
    batches: Batches,
    loss: Loss = cross_entropy,
    settings: Settings | None = None,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    seed: int = 0,
    window: int | None = None,
    blow_up: float = 4.0,
) -> RangeTest:
    """Train for a moment with a learning rate that grows from ``low`` to ``high``, then put everything back.

    Step k, from 0, trains batch k at the rate low · (high / low)^(k / (steps - 1)), by the very loop that a run drains.
    The test ends early at the first loss that is not finite, or above ``blow_up`` times the mean of those before it.
    Afterwards weights, buffers, modes, gradients and random states are as before, bit for bit; see ``restored``.

    Args:
        model: any classifier with something to train, wherever it is.
        batches: batch k as a pure function of k: ``run.batches`` or ``task.batches(seed, batch_size)``.
        loss: mean loss of (logits (B, C), targets (B,)).
        settings: optimizer, decay and clipping; their learning rate, schedule and warm-up do not count.
        low: the first rate, > 0.
        high: the last rate, above ``low``.
        steps: how many rates, 2 or more; a hundred or so for a smooth curve.
        seed: of the randomness inside a step, ≥ 0.
        window: steps that are looked at together, from 2 to ``steps``; an eighth of them if not given.
        blow_up: above 1.

    Returns:
        The rates, the losses, and a suggestion. The same arguments give the same numbers.

    Raises:
        ValueError: in one line, for an argument that cannot be, or a model with nothing to train.

    Source:
        Smith 2017, "Cyclical learning rates for training neural networks", Section 3.3, with rates that grow by a
        factor instead of a summand, so that all orders of magnitude get their share of steps.
    """
    low = number("low", low, above=0)
    high = number("high", high, above=low)
    blow_up = number("blow_up", blow_up, above=1)
    steps = whole("steps", steps, at_least=2, of=" of steps")
    seed = seed_number("seed", seed)
    window = max(2, steps // 8) if window is None else whole("window", window, at_least=2, of=" of steps")
    if window > steps:
        raise ValueError(f"window is {window}; it must be at most the number of steps, {steps}")
    rates = [low * (high / low) ** (k / (steps - 1)) for k in range(steps)]
    control = Control((settings or Settings()).replace(learning_rate=low, schedule="constant", warmup_steps=0))
    loop = train(model, batches, loss, control, total_steps=steps, seed=seed)
    with restored(model):
        losses, blew_up = _climb(loop, control, rates, blow_up)
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), window, blew_up)


def _slope(losses: Sequence[float]) -> float:
    """Slope of the least-squares line through equally spaced losses, up to a factor that is the same for all windows.

    The rates grow by one factor, so the losses are equally spaced against ln η.
    """
    middle = (len(losses) - 1) / 2
    return sum((k - middle) * loss for k, loss in enumerate(losses))


def _climb(
    loop: Iterator[Step], control: Control[Settings], rates: Sequence[float], blow_up: float
) -> tuple[list[float], bool]:
    """The losses on the way up, and whether they blew up before its end."""
    losses: list[float] = []
    for step in loop:
        if step.diverged:
            return losses, True
        usual = fmean(map(abs, losses)) if losses else math.inf
        losses.append(step.loss)
        if step.loss > blow_up * usual:
            return losses, True
        if len(losses) < len(rates):
            control.change(learning_rate=rates[len(losses)])
    return losses, False
