"""What a model gets wrong: which classes it mistakes for which, and the examples it is furthest off on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .._validation import whole
from ..formulas.losses import log_softmax
from .evaluation import predict
from .protocols import Ordered, Split
from .reproducibility import step_randomness

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """The answers of a model on a split, example by example. Example i is the split's own: `split.raw(i)`.

    Attributes:
        classes: C names.
        logits: (N, C), float32, on the CPU.
        targets: (N,) int64, the true class numbers.
    """

    classes: tuple[str, ...]
    logits: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def probabilities(self) -> Tensor:
        """(N, C): the softmax of the logits."""
        return torch.softmax(self.logits, dim=1)

    @cached_property
    def predicted(self) -> Tensor:
        """(N,) int64: the class with the largest logit."""
        return self.logits.argmax(dim=1)

    @cached_property
    def losses(self) -> Tensor:
        """(N,): the cross-entropy of each example, -log p of its true class, in nats."""
        return -log_softmax(self.logits).gather(1, self.targets.unsqueeze(1)).squeeze(1)

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0 to 1."""
        return float((self.predicted == self.targets).double().mean())

    @cached_property
    def confusion(self) -> Tensor:
        """(C, C) int64: how many examples of the row's class were taken for the column's class."""
        C = len(self.classes)
        return torch.bincount(self.targets * C + self.predicted, minlength=C * C).view(C, C)

    def per_class(self) -> DataFrame:
        """Precision, recall, F1 and support (how many there are) of each class; one row per class.

        Precision is the share of right ones among those taken for the class, recall among those of the class, F1 their
        harmonic mean; 0 where there is nothing to divide by (scikit-learn's definitions).
        """
        from pandas import DataFrame
        from sklearn.metrics import precision_recall_fscore_support

        scores = precision_recall_fscore_support(
            self.targets.numpy(), self.predicted.numpy(), labels=range(len(self.classes)), zero_division=0.0
        )
        columns = dict(zip(("precision", "recall", "f1", "support"), scores, strict=True))
        return DataFrame(columns, index=list(self.classes)).rename_axis("class")

    def most_wrong(self, n: int = 8) -> list[int]:
        """Positions of the wrong answers, the one with the largest cross-entropy first.

        Args:
            n: how many at most, 1 or more; fewer come back where fewer are wrong.

        Raises:
            ValueError: `n` is no such number.
        """
        whole("n", n, at_least=1, of=" of examples")
        by_loss = self.losses.argsort(descending=True, stable=True)
        return by_loss[(self.predicted != self.targets)[by_loss]][:n].tolist()

    def confused(self, n: int = 3) -> list[tuple[str, str, int]]:
        """The most frequent mistakes as (true class, taken for, how often), the most frequent first.

        Args:
            n: how many at most, 1 or more; fewer come back where there are fewer kinds of mistake.

        Raises:
            ValueError: `n` is no such number.
        """
        whole("n", n, at_least=1, of=" of mistakes")
        wrong = self.confusion - self.confusion.diag().diag()  # (C, C)
        largest = wrong.flatten().argsort(descending=True, stable=True)[:n].tolist()
        cells = [divmod(cell, len(self.classes)) for cell in largest]
        return [(self.classes[i], self.classes[j], int(wrong[i, j])) for i, j in cells if wrong[i, j]]

    def __repr__(self) -> str:
        wrong = len(self) - int(self.confusion.trace())
        mistakes = "; ".join(f"{true} taken for {said}: {count}" for true, said, count in self.confused())
        return f"{wrong} of {len(self)} wrong (accuracy {self.accuracy:.3f})" + (f"; {mistakes}" if mistakes else "")


def diagnose(
    model: nn.Module, split: Split, classes: Sequence[str] | None = None, *, batch_size: int = 64
) -> Diagnosis:
    """Ask a model for its answer on every example of a split, in evaluation mode.

    It may be called while a run trains the model: it waits for the step under way, and the next one waits for it.

    Args:
        model: any classifier. Its weights and mode, and the state of torch's generators, stay as they are.
        split: of a task; the validation split while choices are still open.
        classes: names of the classes; the split's own where it has them, else "0", "1", …
        batch_size: examples per forward pass.

    Raises:
        ValueError: in one line: the split is empty, its classes do not fit the model's logits or the names, a logit is
            not finite, or its batches come in another order than it says.
    """
    batch_size = whole("batch_size", batch_size, at_least=1, of=" of examples")
    if not len(split):
        raise ValueError("the split is empty; a diagnosis needs at least one example")
    with step_randomness(0, 0, next(model.parameters()).device):
        answers, asked = predict(model, split, batch_size)
    order = split.order() if isinstance(split, Ordered) else torch.arange(len(split))
    targets = split.targets.cpu()
    if not torch.equal(targets[order], asked.cpu()):
        raise ValueError(
            "the split's batches come in another order than its targets; give it order(), as stablelab.data.Split"
        )
    logits = torch.empty_like(answers)
    logits[order] = answers
    _check(logits, targets)
    return Diagnosis(_names(classes, split, logits.shape[1], int(targets.max())), logits, targets)


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.dim() != 2:
        raise ValueError(f"the model answers with shape {tuple(logits.shape)}; a classifier's logits are (N, C)")
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(f"the model's logits are not finite on {broken} of {len(logits)} examples; did it diverge?")
    if int(targets.min()) < 0 or int(targets.max()) >= logits.shape[1]:
        low, high = int(targets.min()), int(targets.max())
        raise ValueError(f"the classes are {low} to {high}, but the model has {logits.shape[1]} logits, from class 0")


def _names(classes: Sequence[str] | None, split: Split, C: int, largest: int) -> tuple[str, ...]:
    """A name for each logit. A head may have more than there are classes; those are called by their number."""
    given = tuple(map(str, getattr(split, "classes", ()) if classes is None else classes))
    if classes is not None and not largest < len(given) <= C:
        raise ValueError(f"classes has {len(given)} names; the split needs {largest + 1} and the model has {C} logits")
    return given[:C] + tuple(str(c) for c in range(len(given), C))
