"""The learning-rate range test: raise the rate from step to step, watch the loss, and leave no trace in the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean

from torch import nn

from .._validation import number, seed_number, whole
from ..formulas import cross_entropy
from .control import Control
from .loop import steps as train
from .protocols import Batch, Batches, Loss
from .records import Step
from .reproducibility import restored
from .settings import Settings

TELLING_FALL = 0.05  # of the first loss: a curve that falls less than this has taught nothing about the rate
AGREEMENT = 5.0  # stretches whose rates lie further apart than this factor have not found one rate


@dataclass(frozen=True)
class RangeTest:
    """What a range test saw.

    Args:
        learning_rates: η of each step of a stretch, each larger than the last by the same factor.
        losses: of each stretch the training losses that its steps met, before their own update (nats for
            cross-entropy); fewer than there are rates where it ended early.
        blew_up: of each stretch, whether its loss ended it early. A step whose loss or gradient was not finite is not
            kept.
    """

    learning_rates: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    blew_up: tuple[bool, ...]

    @property
    def fitted(self) -> tuple[tuple[float, ...], ...]:
        """Of each stretch a curve that never rises, up to the step at which the loss was lowest.

        The losses are averaged over a tenth of the rates, equally many steps to either side, for an average of the
        past alone would lag behind and name too high a rate. Up to the lowest of these means comes the least-squares
        fit among all sequences that never rise.
        """
        window = max(3, len(self.learning_rates) // 10)
        return tuple(_never_rising(_until_lowest(_smoothed(losses, window))) for losses in self.losses)

    @property
    def rates(self) -> tuple[float | None, ...]:
        """Of each stretch the rate at which half of the fall was done; None where it fell by less than 5 %."""
        return tuple(_half_of_the_fall(self.learning_rates, fit) for fit in self.fitted)

    @property
    def spread(self) -> float | None:
        """The largest of ``rates`` over the smallest: how far the stretches disagree; None where one has none."""
        found = [rate for rate in self.rates if rate is not None]
        return max(found) / min(found) if found and len(found) == len(self.rates) else None

    @property
    def suggestion(self) -> float | None:
        """The geometric mean of ``rates``: a place to start from, not the last word; None as ``message`` explains.

        The steepest place of one noisy curve jumps with its rounding errors. The middle of the whole fall, over several
        orders of the batches, does not.

        Source: a reading of the test of Smith 2017, "Cyclical learning rates for training neural networks",
        Section 3.3, where two rates are read off by eye: where the score begins to improve, and where it falters.
        """
        if self.spread is None or self.spread > AGREEMENT:
            return None
        return geometric_mean(rate for rate in self.rates if rate is not None)

    @property
    def message(self) -> str:
        """One line: the suggestion with its spread, or why there is none."""
        missing, spread = self.rates.count(None), self.spread
        if spread is None:
            return (
                f"no suggestion: in {missing} of {len(self.losses)} stretches the loss never fell by "
                f"{TELLING_FALL:.0%}; test higher rates, or with larger batches"
            )
        low, high = (pick(rate for rate in self.rates if rate is not None) for pick in (min, max))
        found = f"between {low:.2g} and {high:.2g}, a factor of {spread:.1f}"
        if self.suggestion is None:
            return f"no suggestion: the stretches say rates {found}; test with larger batches, or more steps"
        return f"learning rate {self.suggestion:.2g}; {len(self.losses)} stretches, {found}"


def range_test(
    model: nn.Module,
    batches: Batches,
    loss: Loss = cross_entropy,
    settings: Settings | None = None,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    stretches: int = 3,
    seed: int = 0,
    blow_up: float = 4.0,
) -> RangeTest:
    """Train for a moment with a learning rate that grows from ``low`` to ``high``, then put everything back.

    Step k, from 0, trains at the rate low · (high / low)^(k / (steps - 1)), by the very loop that a run drains. Several
    stretches of such steps, each from the same weights on batches of its own, show how much one of them can be trusted.
    A stretch ends early at the first loss that is not finite, or above ``blow_up`` times the mean of those before it.
    Afterwards weights, buffers, modes, gradients and random states are as before, bit for bit; see ``restored``.

    Args:
        model: any classifier with something to train, wherever it is.
        batches: batch k as a pure function of k: ``run.batches`` or ``task.batches(seed, batch_size)``. Stretch j, from
            0, takes the batches from j · steps on.
        loss: mean loss of (logits (B, C), targets (B,)).
        settings: optimizer, decay and clipping; their learning rate, schedule and warm-up do not count.
        low: the first rate, > 0.
        high: the last rate, above ``low``.
        steps: how many rates, 2 or more; twenty for each factor of ten give a curve that can be read.
        stretches: how many times, 3 or more.
        seed: of the randomness inside a step, ≥ 0.
        blow_up: above 1.

    Returns:
        The rates, the losses, a suggestion and its spread. The same arguments give the same numbers.

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
    stretches = whole("stretches", stretches, at_least=3, of=" of stretches")
    seed = seed_number("seed", seed)
    rates = [low * (high / low) ** (k / (steps - 1)) for k in range(steps)]
    settings = (settings or Settings()).replace(learning_rate=low, schedule="constant", warmup_steps=0)
    losses, blew_up = [], []
    for stretch in range(stretches):
        control = Control(settings)
        own = _From(batches, stretch * steps)
        with restored(model):
            loop = train(model, own, loss, control, total_steps=steps, seed=seed + stretch)
            seen, ended = _climb(loop, control, rates, blow_up)
        losses.append(tuple(seen))
        blew_up.append(ended)
    return RangeTest(tuple(rates), tuple(losses), tuple(blew_up))


class _From:
    """The batches from number ``first`` on."""

    def __init__(self, batches: Batches, first: int) -> None:
        self._batches, self._first = batches, first

    @property
    def per_epoch(self) -> int:
        return self._batches.per_epoch

    def __call__(self, k: int) -> Batch:
        return self._batches(self._first + k)


def _smoothed(losses: Sequence[float], window: int) -> list[float]:
    """The mean of ``window`` losses around each step, of fewer near the ends."""
    last = len(losses) - 1
    reach = [min(window // 2, k, last - k) for k in range(last + 1)]
    return [fmean(losses[k - r : k + r + 1]) for k, r in enumerate(reach)]


def _until_lowest(losses: Sequence[float]) -> Sequence[float]:
    return losses[: losses.index(min(losses)) + 1] if losses else losses


def _never_rising(values: Sequence[float]) -> tuple[float, ...]:
    """The sequence that never rises and lies closest to these values, by least squares."""
    from scipy.optimize import isotonic_regression

    return tuple(isotonic_regression(values, increasing=False).x.tolist()) if values else ()


def _half_of_the_fall(rates: Sequence[float], fit: Sequence[float]) -> float | None:
    """The rate at which a curve that never rises is half way down, between two of its points on a line against ln η."""
    if not fit or fit[-1] > (1 - TELLING_FALL) * fit[0]:
        return None
    half = (fit[0] + fit[-1]) / 2
    k = next(k for k, value in enumerate(fit) if value <= half)  # not 0: there the whole fall is still to come
    share = (fit[k - 1] - half) / (fit[k - 1] - fit[k])
    return rates[k - 1] * (rates[k] / rates[k - 1]) ** share


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
