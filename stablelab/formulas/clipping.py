"""Three ways to keep a gradient from being too large, each as a formula and, for the training loop, in place.

A gradient that is not finite is passed on as torch passes it on: its norm comes back as nan or inf, nothing is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .._validation import number

# Keeps the division finite when the gradient is zero; the same as torch's, so that the results are the same.
SAFETY = 1e-6

Clipped = tuple[list[Tensor], Tensor, Tensor]


def global_norm(gradients: Sequence[Tensor], batch_dims: int = 0) -> Tensor:
    """‖g‖: the Euclidean norm of all gradients laid end to end.

    Args:
        gradients: tensors of any shapes; of none the norm is 0.
        batch_dims: how many leading dimensions number models that are trained side by side, each with its own norm.

    Returns:
        The norm, a 0-dim tensor; with ``batch_dims`` one for each model, of the shape of these dimensions.
    """
    if len(gradients) == 0:
        return torch.zeros(())
    return torch.stack([_norm(g, batch_dims) for g in gradients]).norm(dim=0)


def clip_coefficient(norm: Tensor, max_norm: float | Tensor) -> Tensor:
    """What to multiply a gradient of this norm with so that its norm becomes at most `max_norm`: 1 if it already is.

    Args:
        norm: ‖g‖, any shape.
        max_norm: the threshold, above 0; a tensor that broadcasts against norm, inf where nothing is clipped.

    Returns:
        min(1, max_norm / (‖g‖ + 10⁻⁶)), the shape that both broadcast to.

    Source:
        Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", Algorithm 1.
    """
    return (max_norm / (norm + SAFETY)).clamp(max=1)


def clip_by_global_norm(gradients: Sequence[Tensor], max_norm: float | Tensor, batch_dims: int = 0) -> Clipped:
    """Shrink all gradients by one factor so that together their norm is at most `max_norm`; the direction stays.

    Args:
        gradients: tensors of any shapes; not changed.
        max_norm: the threshold, above 0; with ``batch_dims`` a tensor may hold one for each model.
        batch_dims: how many leading dimensions number models that are trained side by side, each clipped by itself.

    Returns:
        The clipped gradients, and the global norm before and after.

    Raises:
        ValueError: max_norm is not a number above 0.

    Source:
        Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", Algorithm 1.
    """
    _check_threshold("max_norm", max_norm, batch_dims)
    before = global_norm(gradients, batch_dims)
    coefficient = clip_coefficient(before, max_norm)
    clipped = [_spread(coefficient, g) * g for g in gradients]
    return clipped, before, global_norm(clipped, batch_dims)


def clip_by_tensor_norm(gradients: Sequence[Tensor], max_norm: float | Tensor, batch_dims: int = 0) -> Clipped:
    """Shrink each gradient by its own factor so that its own norm is at most `max_norm`.

    One layer that explodes no longer silences the others, but the direction of the whole changes.

    Args:
        gradients: tensors of any shapes; not changed.
        max_norm: the threshold for each tensor, above 0; with ``batch_dims`` a tensor may hold one for each model.
        batch_dims: how many leading dimensions number models that are trained side by side, each clipped by itself.

    Returns:
        The clipped gradients, and the global norm before and after (after is at most √n · max_norm for n tensors).

    Raises:
        ValueError: max_norm is not a number above 0.

    Source:
        Algorithm 1 of Pascanu et al. 2013, applied to one tensor at a time.
    """
    _check_threshold("max_norm", max_norm, batch_dims)
    clipped = [_spread(clip_coefficient(_norm(g, batch_dims), max_norm), g) * g for g in gradients]
    return clipped, global_norm(gradients, batch_dims), global_norm(clipped, batch_dims)


def clip_by_value(gradients: Sequence[Tensor], max_value: float | Tensor, batch_dims: int = 0) -> Clipped:
    """Cut every element to the range from -max_value to max_value; the direction changes.

    Args:
        gradients: tensors of any shapes; not changed.
        max_value: the threshold for each element, above 0; with ``batch_dims`` a tensor may hold one for each model.
        batch_dims: how many leading dimensions number models that are trained side by side, each clipped by itself.

    Returns:
        The clipped gradients, and the global norm before and after.

    Raises:
        ValueError: max_value is not a number above 0.

    Source:
        Mikolov 2012, "Statistical language models based on neural networks" (thesis); named in Section 3.2 of Pascanu
        et al. 2013.
    """
    _check_threshold("max_value", max_value, batch_dims)
    bounds = [_spread(max_value, g) for g in gradients]
    clipped = [g.clamp(-bound, bound) for g, bound in zip(gradients, bounds, strict=True)]
    return clipped, global_norm(gradients, batch_dims), global_norm(clipped, batch_dims)


def clip_(gradients: Sequence[Tensor], kind: str, max_norm: float | None) -> tuple[float, float, bool]:
    """Clip in place, with the fewest passes over memory, and say what happened.

    Args:
        gradients: tensors of any shapes, on one device; they are changed only if something is clipped.
        kind: "norm" (all together), "tensor" (each by its own norm) or "value" (each element).
        max_norm: the threshold, above 0 (for "value" the largest element); None measures only.

    Returns:
        The global norm before, the global norm after, and whether anything was clipped. A norm that is nan counts as
        clipped under "norm" and "tensor": as in torch, the gradients become nan.

    Raises:
        ValueError: an unknown kind, or a max_norm that is neither None nor a finite number above 0.
    """
    before, after, clipped = clip_unread_(gradients, kind, max_norm).tolist()
    return before, after, bool(clipped)


@torch.no_grad()
def clip_unread_(gradients: Sequence[Tensor], kind: str, max_norm: float | None) -> Tensor:
    """As ``clip_``, but what happened is left on the device: on a GPU, to read a number waits for all that is queued.

    Args:
        gradients: tensors of any shapes, on one device.
        kind: "norm", "tensor" or "value".
        max_norm: the threshold, above 0; None measures only.

    Returns:
        The global norm before, the global norm after, and 1 if anything was clipped, else 0; shape (3,).

    Raises:
        ValueError: as ``clip_``.
    """
    if kind not in _IN_PLACE:
        raise ValueError(f"kind of clipping must be one of {', '.join(CLIPS)}, not {kind!r}")
    if max_norm is not None:
        number("max_norm", max_norm, above=0)
    gradients = [g for g in gradients if g.numel() > 0]  # a tensor of no elements has no largest one
    if not gradients:
        return torch.zeros(3)
    norms = torch.stack(torch._foreach_norm(gradients))  # (number of tensors,)
    if max_norm is None:
        before = norms.norm()
        return torch.stack([before, before, torch.zeros_like(before)])
    before, after, clipped = _IN_PLACE[kind](gradients, norms, max_norm)
    return torch.stack([before, after, clipped.to(before.dtype)])


# Each scales gradients in place and returns the norm before, the norm after and whether anything was clipped, of shape
# (). Where reading costs nothing, what would be multiplied by 1 is left alone: a pass over memory is saved.


def _clip_norm_(gradients: list[Tensor], norms: Tensor, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    total = norms.norm()
    coefficient = clip_coefficient(total, max_norm)
    clipped = coefficient != 1
    if total.device.type != "cpu" or clipped:
        torch._foreach_mul_(gradients, coefficient)
    return total, total * coefficient, clipped


def _clip_tensor_(gradients: list[Tensor], norms: Tensor, max_norm: float) -> tuple[Tensor, Tensor, Tensor]:
    coefficients = clip_coefficient(norms, max_norm)
    clipped = coefficients != 1  # (number of tensors,)
    on_cpu = norms.device.type == "cpu"
    chosen = clipped.nonzero().flatten().tolist() if on_cpu else range(len(gradients))
    if chosen:
        torch._foreach_mul_([gradients[i] for i in chosen], [coefficients[i] for i in chosen])
    return norms.norm(), (norms * coefficients).norm(), clipped.any()


def _clip_value_(gradients: list[Tensor], norms: Tensor, max_value: float) -> tuple[Tensor, Tensor, Tensor]:
    before, largest = norms.norm(), torch.stack(torch._foreach_norm(gradients, torch.inf)).max()
    clipped = ~(largest <= max_value)
    if largest.device.type == "cpu" and not clipped:
        return before, before, clipped
    torch._foreach_clamp_max_(gradients, max_value)
    torch._foreach_clamp_min_(gradients, -max_value)
    return before, torch.stack(torch._foreach_norm(gradients)).norm(), clipped


def _norm(g: Tensor, batch_dims: int) -> Tensor:
    """The norm of one gradient; of each model's share of it where leading dimensions number models."""
    return g.norm() if batch_dims == 0 else g.reshape(*g.shape[:batch_dims], -1).norm(dim=-1)


def _spread(value: float | Tensor, g: Tensor) -> Any:
    """A number for each model, such as (R,), so that it broadcasts against a gradient (R, ...)."""
    return value.reshape((*value.shape, *[1] * (g.dim() - value.dim()))) if isinstance(value, Tensor) else value


def _check_threshold(name: str, value: float | Tensor, batch_dims: int) -> None:
    if batch_dims == 0 or not isinstance(value, Tensor):
        number(name, value, above=0)
    elif not bool((value > 0).all()):
        raise ValueError(f"{name} has entries that are not above 0; each must be a number above 0, or inf for no limit")


_IN_PLACE: dict[str, Callable[[list[Tensor], Tensor, float], tuple[Tensor, Tensor, Tensor]]] = {
    "norm": _clip_norm_,
    "tensor": _clip_tensor_,
    "value": _clip_value_,
}
CLIPS = tuple(_IN_PLACE)
