"""A copy of the last weights known to give a finite loss, kept cheap."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Copying costs about as much as reading the weights twice. One copy per step is nothing for a small model and a third
# of a step for BERT, so the interval grows with the model and the cost stays under one per cent of training.
PARAMETERS_PER_STEP = 500_000
LONGEST_INTERVAL = 50


class LastGood:
    """Keeps, every few steps, a copy of what training changes: trainable parameters and buffers."""

    def __init__(self, model: nn.Module) -> None:
        self._live: list[Tensor] = [p for p in model.parameters() if p.requires_grad] + list(model.buffers())
        count = sum(t.numel() for t in self._live)
        self.interval = min(max(1, count // PARAMETERS_PER_STEP), LONGEST_INTERVAL)
        self._copies: list[Tensor] = []
        self.step = 0

    @torch.no_grad()
    def offer(self, steps_done: int) -> None:
        """The weights after ``steps_done`` steps gave a finite loss and gradient: copy them if it is time."""
        if self._copies and steps_done - self.step < self.interval:
            return
        if not self._copies:
            self._copies = [torch.empty_like(t) for t in self._live]
        for copy, live in zip(self._copies, self._live, strict=True):
            copy.copy_(live)
        self.step = steps_done

    @torch.no_grad()
    def restore(self) -> int:
        """Put the kept weights back; returns the number of steps they are from."""
        for copy, live in zip(self._copies, self._live[: len(self._copies)], strict=True):
            live.copy_(copy)
        return self.step  # with no copy there never was a finite loss, hence no update: the weights are the first ones
