"""One class's logit, shared out over the numbers of one input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_AT_ONCE = 200_000  # numbers of the inputs in one pass: 65 pictures of 32 × 32, one of 224 × 224


class Look:
    """One input of a function of the model, and the class whose logit is shared out.

    Args:
        logits: takes (B, ...) inputs and gives (B, C).
        x: (1, ...) the input; empty: the same shape.
        target: as for ``attributions``; names: of the classes, or none.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        x: Tensor,
        empty: Tensor,
        target: int | str | None,
        names: Sequence[str],
    ) -> None:
        self.logits, self.x, self.empty = logits, x, empty
        with torch.no_grad():
            # One by one, as they would be asked for.
            self.full, self.none = logits(x)[0].float().cpu(), logits(empty)[0].float().cpu()  # (C,)
        self.names = tuple(names)[: len(self.full)] or tuple(map(str, range(len(self.full))))
        self.target = self._number(target)

    def integrated(self, steps: int) -> Tensor:
        """Integrated gradients, of the shape of one input."""
        from captum.attr import IntegratedGradients

        with torch.enable_grad():
            shared = IntegratedGradients(self.logits, multiply_by_inputs=True).attribute(
                self.x,
                baselines=self.empty,
                target=self.target,
                n_steps=steps,
                internal_batch_size=max(1, min(steps, _AT_ONCE // self.x.numel())),
            )
        return shared[0].detach().float().cpu()

    def occluded(self) -> Tensor:
        """By how much the logit falls where a patch of an eighth of the side is covered; (C, H, W)."""
        from captum.attr import Occlusion

        channels, height, width = self.x.shape[1:]
        patch = (channels, max(1, height // 8), max(1, width // 8))
        step = (channels, max(1, height // 16), max(1, width // 16))
        with torch.no_grad():
            fallen = Occlusion(self.logits).attribute(
                self.x,
                sliding_window_shapes=patch,
                strides=step,
                baselines=self.empty,
                target=self.target,
                perturbations_per_eval=max(1, min(32, _AT_ONCE // self.x.numel())),
            )
        return fallen[0].float().cpu() / channels

    def _number(self, target: int | str | None) -> int:
        if target is None:
            return int(self.full.argmax())
        C = len(self.full)
        if isinstance(target, str) and target in self.names:
            return self.names.index(target)
        if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < C:
            return target
        raise ValueError(
            f"target is {target!r}; it must be a class from 0 to {C - 1}, or one of {', '.join(self.names[:12])}"
        )
