"""Labels of which some are wrong: how they come about, what they do to an accuracy, and how they are found.

A given label is written ỹ, the true one, which nobody sees, y*. Class-conditional noise: ỹ depends on y* alone, by a
matrix T of probabilities T[j, i] = p(ỹ = i | y* = j), and not on the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 1e-6  # how far below its threshold a probability still counts: rounding must not decide


def symmetric_noise(targets: Tensor, rate: float, classes: int, generator: torch.Generator) -> Tensor:
    """Class numbers of which exactly round(rate · N) are wrong, each by any other class with equal chances.

    Args:
        targets: (N,) class numbers.
        rate: share that becomes wrong, 0 to 1.
        classes: C, 2 or more.
        generator: of the draw.

    Returns:
        (N,) class numbers; ``targets`` is not changed.

    Raises:
        ValueError: a rate outside of 0 to 1, or fewer than two classes.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate is {rate}; the share of wrong labels must be from 0 to 1")
    if classes < 2:
        raise ValueError(f"classes is {classes}; a label can be wrong where there are at least 2")
    wrong = torch.randperm(len(targets), generator=generator)[: round(rate * len(targets))]
    given = targets.clone()
    given[wrong] = (given[wrong] + torch.randint(1, classes, wrong.shape, generator=generator)) % classes
    return given


def measured_accuracy(accuracy: float, rate: float, classes: int) -> float:
    """The accuracy that is measured by labels of which some are wrong by chance.

    Args:
        accuracy: share of true labels that the model finds, 0 to 1.
        rate: ρ, share of the labels that are wrong, by any other class with equal chances and independently of the
            model's errors.
        classes: C.

    Returns:
        a (1 - ρ) + (1 - a) ρ / (C - 1).
    """
    return accuracy * (1 - rate) + (1 - accuracy) * rate / (classes - 1)


def _checked(labels: Tensor, probabilities: Tensor) -> None:
    if labels.shape != probabilities.shape[:1] or probabilities.dim() != 2:
        raise ValueError(
            f"labels {tuple(labels.shape)} and probabilities {tuple(probabilities.shape)} do not fit: (N,) and (N, C)"
        )
    if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= probabilities.shape[1]:
        raise ValueError(f"labels must be class numbers from 0 to {probabilities.shape[1] - 1}, at least one")


def confident_classes(labels: Tensor, probabilities: Tensor) -> Tensor:
    """For each example the class that it confidently belongs to, or -1 where there is none.

    An example counts for class j if its probability of j reaches t_j, the mean probability of j over those that are
    labelled j; if several do, the most probable of all classes is taken.

    Args:
        labels: (N,) given class numbers ỹ.
        probabilities: (N, C), of a model that has not learned from the example.

    Returns:
        (N,) class numbers, -1 where no class reaches its threshold. A class with no label is never reached.

    Raises:
        ValueError: shapes that do not fit, or labels that are no classes.

    Source:
        Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021: the
        thresholds t_j of the confident joint. Of several classes cleanlab 2.9, like this, takes the most probable class
        of all.
    """
    _checked(labels, probabilities)
    C = probabilities.shape[1]
    given = torch.nn.functional.one_hot(labels.long(), C).to(probabilities)  # (N, C)
    counts = given.sum(dim=0)
    t = torch.where(counts > 0, (given * probabilities).sum(dim=0) / counts.clamp(min=1), 2.0)  # (C,)
    reached = probabilities >= t - NEAR  # (N, C)
    several = reached.sum(dim=1) > 1
    found = torch.where(several, probabilities.argmax(dim=1), reached.long().argmax(dim=1))
    return torch.where(reached.any(dim=1), found, -1)


def confident_joint(labels: Tensor, probabilities: Tensor) -> Tensor:
    """(C, C): how many examples with label i (row) confidently belong to class j (column).

    Args:
        labels: (N,) given class numbers.
        probabilities: (N, C), of a model that has not learned from the example.

    Raises:
        ValueError: shapes that do not fit, or labels that are no classes.

    Source:
        Northcutt et al. 2021: the confident joint.
    """
    j, C = confident_classes(labels, probabilities), probabilities.shape[1]
    counted = j >= 0
    return torch.bincount(labels[counted].long() * C + j[counted], minlength=C * C).view(C, C)


def estimated_joint(labels: Tensor, probabilities: Tensor) -> Tensor:
    """(C, C) float64: the estimate Q of p(ỹ = i, y* = j), its rows scaled to the shares that the labels have.

    Args:
        labels: (N,) given class numbers.
        probabilities: (N, C), of a model that has not learned from the example.

    Returns:
        Probabilities that sum to 1; what stands off the diagonal sums to the estimated share of wrong labels. A row in
        which nothing is counted puts all of its share on the diagonal.

    Raises:
        ValueError: shapes that do not fit, or labels that are no classes.

    Source:
        Northcutt et al. 2021: the estimate of the joint distribution, calibrated by the counts of the given labels.
    """
    C = confident_joint(labels, probabilities).double()
    C = C + torch.diag((C.diagonal() == 0).double())  # as cleanlab: no class has lost all of its examples
    shares = torch.bincount(labels.long(), minlength=len(C)).double() / len(labels)
    return C / C.sum(dim=1, keepdim=True) * shares[:, None]


def confidently_wrong(labels: Tensor, probabilities: Tensor) -> Tensor:
    """(N,) bool: examples that confidently belong to a class that is not their label, off the diagonal of the joint.

    As in cleanlab, an example whose own label is the most probable class is never among them.

    Args:
        labels: (N,) given class numbers.
        probabilities: (N, C), of a model that has not learned from the example.

    Raises:
        ValueError: shapes that do not fit, or labels that are no classes.

    Source:
        Northcutt et al. 2021: what stands off the diagonal; ``filter_by="confident_learning"`` of cleanlab 2.9.
    """
    j = confident_classes(labels, probabilities)
    return (j >= 0) & (j != labels) & (probabilities.argmax(dim=1) != labels)


def precision_and_recall(flagged: Tensor, wrong: Tensor) -> tuple[float, float]:
    """Which share of what was flagged is wrong, and which share of what is wrong was flagged.

    Args:
        flagged: (N,) bool.
        wrong: (N,) bool.

    Returns:
        Precision and recall, 0 to 1; nan where nothing was flagged, or nothing is wrong.
    """
    both = float((flagged & wrong).sum())
    n, m = float(flagged.sum()), float(wrong.sum())
    return both / n if n else float("nan"), both / m if m else float("nan")
