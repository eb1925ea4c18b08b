"""What probes look at: a model with the data it learns from, the optimizer and the loss, whoever's loop trained it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..formulas import cross_entropy
from ..training.protocols import Inputs, Loss
from .training_log import TrainingLog


class Examples(Protocol):
    """A part of the data; ``Split`` of our tasks is one, ``TensorExamples`` makes one of tensors."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> Tensor:
        """(N,) class numbers."""

    def collate(self, positions: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets of the examples at ``positions`` ((B,) int64)."""


@dataclass(frozen=True, eq=False)
class TensorExamples:
    """Examples held in tensors.

    Args:
        inputs: (N, ...), or a mapping of tensors (N, T), padded.
        targets: (N,) class numbers.
    """

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def collate(self, positions: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets of the examples at ``positions`` ((B,) int64)."""
        if isinstance(self.inputs, Mapping):
            return {name: column[positions] for name, column in self.inputs.items()}, self.targets[positions]
        return self.inputs[positions], self.targets[positions]

    def batches(self, batch_size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Every example once, in order."""
        for positions in torch.arange(len(self)).split(batch_size):
            yield self.collate(positions)


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """A training as it stands: what the loop used, for probes to look at.

    Args:
        model: as the loop left it, in the mode that it left it in.
        train: the examples it learns from, as the loop sees them.
        validation: those it is judged by.
        optimizer: the one of the loop; None where it is not at hand.
        loss: of logits (B, C) and targets (B,), as the loop computes it.
        batch_size: of the loop.
        classes: C.
        tokenizer: of texts, where there is one.
        log: of the same run, where there is one: what it says is compared with what the probes find.
    """

    model: nn.Module
    train: Examples
    validation: Examples
    optimizer: torch.optim.Optimizer | None = None
    loss: Loss = cross_entropy
    batch_size: int = 32
    classes: int | None = None
    tokenizer: Any = None
    log: TrainingLog | None = None
