"""The first loss, and losses that cannot be: against ln C, B · ln C and the floor of a softmax applied twice."""

from __future__ import annotations

import math

import numpy as np

from .findings import Cause, Finding
from .judging import UnknownError, made, need_beginning, need_classes, need_rows, write
from .training_log import TrainingLog

SPREAD = math.sqrt(2)  # standard deviation of a fresh head's logits, at most: He's, the widest of the usual ones
SIGMAS = 3  # a mean of examples lies further off once in 740 runs


def first_loss_range(classes: int, guessing: float, batch_size: int | None) -> tuple[float, float]:
    """What the first loss of a fresh head may be, in nats.

    With C independent logits of mean 0 and standard deviation s, E[logsumexp(z) − z_y] ≈ ln C + (s²/2)(1 − 1/C), and to
    first order one example's loss scatters by s·√(1 − 1/C). The range is wider, for examples that share the offsets of
    one net: from H − 3 s √(1 + 1/C) / √B, as no guess beats the entropy H of the label shares, to ln C + s²/2 +
    3 s √(1 + 1/C) / √B, with s = √2; B = 1 where B is not known. The benchmark has judged the doctor with this range.
    LeCun's and Glorot's weights on inputs of variance 1 give s = 1, He's give s = √2, torch's ``nn.Linear`` s = 0.58.
    """
    scatter = SIGMAS * SPREAD * math.sqrt(1 + 1 / classes) / math.sqrt(batch_size or 1)
    return guessing - scatter, math.log(classes) + SPREAD**2 / 2 + scatter


def first_loss(log: TrainingLog) -> Finding | None:
    """The first loss against ln C, what guessing costs: above or below ``first_loss_range``.

    Below is no fault: the model knew something. It is said.

    Source: Karpathy, "A recipe for training neural networks", 2019 ("verify loss @ init"); He et al. 2015, "Delving
    deep into rectifiers", eq. 10, for the widest logits. The range is derived in ``first_loss_range``.
    """
    classes, guessing = need_classes(log)
    first = need_beginning(log)
    low, high = first_loss_range(classes, guessing, log.batch_size)
    numbers = {"first_loss": first, "ln_C": math.log(classes), "lowest": low, "highest": high}
    if first > high:
        causes = [Cause.BROKEN_HEAD]
        if log.batch_size is None:
            causes.append(Cause.SUMMED_LOSS)
        return made(
            first_loss,
            "the first loss is far above that of guessing",
            f"It is {write(first)} at step 1, where guessing among {classes} classes costs ln {classes} = "
            f"{write(math.log(classes))} and a fresh head at most {write(high)}.",
            (*causes, Cause.WRONG_LABELS),
            steps=(1, 1),
            numbers=numbers,
            cure="make the head anew with small weights (nn.Linear as torch makes it), and normalize what comes in",
            confidence="certain",
        )
    if first < low:
        return made(
            first_loss,
            "the first loss is below that of guessing",
            f"It is {write(first)} at step 1, where guessing costs {write(guessing)}.",
            (Cause.KNOWS_ALREADY, Cause.NOT_SHUFFLED),
            steps=(1, 1),
            numbers=numbers,
            alarm=False,
        )
    return None


def summed_loss(log: TrainingLog) -> Finding | None:
    """A first loss of B · ln C: ``reduction="sum"``, or a sum by hand.

    Divided by B it lies in the range of ``first_loss_range`` for B examples, from 0.9 ln C on; undivided it is above.
    For B < 4 the two ranges run into each other, and nothing is said.

    Source: torch.nn.CrossEntropyLoss, ``reduction``; the range as of ``first_loss``.
    """
    classes, guessing = need_classes(log)
    first = need_beginning(log)
    B = log.batch_size
    if B is None:
        raise UnknownError("the batch size is not in the log: lab.examine(log, batch_size=...) says it")
    if B < 4:
        raise UnknownError(f"with batches of {B} the two cannot be told apart")
    high = first_loss_range(classes, guessing, B)[1]
    if not (first > high and 0.9 * math.log(classes) <= first / B <= high):
        return None
    return made(
        summed_loss,
        "the first loss is that of guessing, times the batch size",
        f"It is {write(first)} at step 1; {B} examples × ln {classes} = {write(B * math.log(classes))}.",
        (Cause.SUMMED_LOSS, Cause.BROKEN_HEAD),
        steps=(1, 1),
        numbers={"first_loss": first, "B_ln_C": B * math.log(classes)},
        cure='average it: F.cross_entropy(logits, targets), whose reduction is "mean", and set the learning rate anew',
        confidence="certain" if abs(first / B / math.log(classes) - 1) < 0.25 else "likely",
    )


def softmax_floor(classes: int) -> float:
    """ln(1 + (C − 1)/e), the lowest cross-entropy where probabilities are taken for logits.

    They lie in [0, 1], so the best are 1 for the true class and 0 for the others: −ln(e / (e + C − 1)). It is 0.313 for
    2 classes and 1.461 for 10. The worst is 1 more: 0 for the true class and 1 for another.
    """
    return math.log(1 + (classes - 1) / math.e)


def softmax_twice(log: TrainingLog) -> Finding | None:
    """A loss that ends on the floor ln(1 + (C − 1)/e) and was never below it.

    With g = ln C − floor, what there is to gain: no loss is below the floor or more than 1 above it. In the second half
    of the log at least ten losses lie between the floor and g/10 above it, and three within g/50: they pile up at a
    wall, where a loss that scatters about that height would cross it. The last two quarters are less than g/10 apart,
    so that it is not just passing. A model that is not sure of its answers yet stays away from the floor, and is not
    found so: ``second_softmax`` asks the model.

    Source: derived in ``softmax_floor``. Ten, three and the shares of g are choices that development runs bear out.
    """
    classes, _ = need_classes(log)
    need_rows(log, 40)
    floor = softmax_floor(classes)
    gain = math.log(classes) - floor
    losses = log.losses[np.isfinite(log.losses)]
    half, third, last = losses[len(losses) // 2 :], *np.array_split(losses, 4)[2:]
    slack = 1e-3
    if losses.min() < floor - slack or np.max(losses) > floor + 1 + slack:
        return None
    moved = abs(float(np.mean(third)) - float(np.mean(last)))
    near = int(np.sum(half <= floor + gain / 10))
    if near < 10 or np.sum(half <= floor + gain / 50) < 3 or moved >= gain / 10:
        return None
    return made(
        softmax_twice,
        "the loss stands on the floor of a softmax applied twice",
        f"From step {log.steps[len(log) // 2]:g} on it is {write(float(half.min()))} to {write(float(half.max()))}, "
        f"and never below ln(1 + {classes - 1}/e) = {write(floor)}.",
        (Cause.SOFTMAX_TWICE, Cause.LABEL_SMOOTHING),
        steps=(log.steps[len(log) // 2], log.steps[-1]),
        numbers={"floor": floor, "lowest": float(losses.min()), "near_the_floor": near},
        cure="take the softmax out of the model: cross-entropy wants logits",
        confidence="likely",
    )
