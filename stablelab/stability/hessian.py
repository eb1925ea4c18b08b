"""Sharpness: the largest eigenvalue of the loss's Hessian, without ever forming the Hessian."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._validation import number, whole
from ..formulas import cross_entropy
from ..training.evaluation import forward, mode, to_device
from ..training.param_groups import trainable_parameters
from ..training.protocols import Inputs, Loss
from ..training.reproducibility import one_step_at_a_time, step_randomness


def hessian_vector_product(loss: Tensor, parameters: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
    """Hv, where H holds the second derivatives of the loss: the gradient of g·v with v held fixed.

    Args:
        loss: (), with its graph, which is kept.
        parameters: what to differentiate by, each a leaf that requires a gradient.
        vector: one tensor for each parameter, of its shape.

    Returns:
        One tensor for each parameter, of its shape. `p.grad` is not touched.

    Raises:
        ValueError: the loss is not one number with a graph, or a shape does not fit.

    Source:
        Pearlmutter 1994, "Fast exact multiplication by the Hessian", here with two passes backward.
    """
    shapes = [tuple(v.shape) for v in vector], [tuple(p.shape) for p in parameters]
    if shapes[0] != shapes[1]:
        raise ValueError(f"vector must have the shapes of the parameters, {shapes[1]}, not {shapes[0]}")
    flat = torch.cat([v.flatten() for v in vector])
    product = _products(loss, parameters)(flat)
    pieces = product.split([p.numel() for p in parameters])
    return [piece.view_as(p) for piece, p in zip(pieces, parameters, strict=True)]


def sharpness(
    model: nn.Module,
    inputs: Inputs,
    targets: Tensor,
    loss: Loss = cross_entropy,
    *,
    iterations: int = 30,
    tolerance: float = 5e-2,
    seed: int = 0,
    training: bool = True,
) -> float:
    """λ_max of the Hessian of the loss on these examples, by the weights that are trained.

    It may be called while a run trains the model: it waits for the step under way, and the next one waits for it.

    Args:
        model: any classifier. Its weights, `p.grad`, buffers (batch norm's statistics) and mode, and the state of
            torch's generators, are afterwards what they were before.
        inputs, targets: a batch as the model takes it; all examples for the sharpness of full-batch descent.
        loss: mean loss of (logits (B, C), targets (B,)).
        iterations: Hessian-vector products at most; each costs about two gradients.
        tolerance: relative residual at which to stop, see `largest_eigenvalue`.
        seed: of the random start, and of dropout.
        training: measure the loss that descent sees, with dropout on and batch norm by the batch; else in eval mode.

    Returns:
        λ_max. It is negative where the loss curves downwards in every direction.

    Raises:
        ValueError: nothing is trained, the loss is not finite, or an argument is out of its range.

    Source:
        Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of stability", Section 2.
    """
    whole("iterations", iterations, at_least=1)
    number("tolerance", tolerance, above=0)
    whole("seed", seed)
    parameters = trainable_parameters(model)
    device = parameters[0].device
    with one_step_at_a_time, mode(model, training), step_randomness(seed, 0, device), torch.enable_grad():
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
            logits = _forward(model, to_device(inputs, device))
        value = loss(logits, targets.to(device))
        if not math.isfinite(value.item()):
            raise ValueError(f"the loss is {value.item()}; sharpness needs weights at which it is finite")
        start = torch.randn(sum(p.numel() for p in parameters), generator=torch.Generator().manual_seed(seed))
        start = start.to(device, parameters[0].dtype)
        return largest_eigenvalue(_products(value, parameters), start, iterations, tolerance)


def _products(loss: Tensor, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """v -> Hv on flat vectors (D,), each product in the place of the one before. The gradient keeps its graph, so a
    product is one pass backward through that."""
    if loss.dim() or not loss.requires_grad:
        raise ValueError("loss must be one number with its graph: the mean loss, not detached")
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    curved = [i for i, g in enumerate(gradients) if g.requires_grad]  # the others do not depend on any weight
    sizes = [p.numel() for p in parameters]
    result = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
    places = [part.view_as(p) for part, p in zip(result.split(sizes), parameters, strict=True)]

    def product(flat: Tensor) -> Tensor:
        if not curved:
            return result
        v = flat.split(sizes)
        outputs, directions = [gradients[i] for i in curved], [v[i].view_as(gradients[i]) for i in curved]
        Hv = torch.autograd.grad(outputs, parameters, directions, retain_graph=True, materialize_grads=True)
        # Into memory that is there: at millions of weights half the price of cat.
        torch._foreach_copy_(places, list(Hv))
        return result

    return product


def _forward(model: nn.Module, inputs: Inputs) -> Tensor:
    """Logits, with copies of the buffers in place of the model's own."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return forward(lambda *by_position, **by_name: functional_call(model, buffers, by_position, by_name), inputs)


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int = 30, tolerance: float = 5e-2
) -> float:
    """λ_max by Lanczos' method.

    Power iteration would find the eigenvalue that is largest in size, a negative one where that is the largest, and
    creep where several are close. Lanczos finds the largest one itself, in far fewer products. The directions are made
    orthogonal to the last two only, so three vectors are all that is kept: what rounding then brings back are further
    copies of eigenvalues already found, which do no harm to the largest one (Paige 1980).

    Args:
        product: the matrix times a vector (D,); what it returns is changed in place.
        start: (D,) not zero; best at random, since a direction it lacks is not found. It is changed in place.
        iterations: products at most.
        tolerance: stop when the residual r = ‖Hx - λx‖ of the estimate is below this share of the largest eigenvalue
            in size. There is an eigenvalue within r of the estimate; where it stands apart from the others by a gap,
            within r² / gap, so the default finds λ_max to about 1 % as a rule.

    Returns:
        λ_max; where the iterations did not suffice, a number below it.

    Source:
        Lanczos 1950, "An iteration method for the solution of the eigenvalue problem of linear differential and
        integral operators"; Paige 1980, "Accuracy and effectiveness of the Lanczos algorithm for the symmetric
        eigenproblem"; the two bounds: Parlett 1998, "The symmetric eigenvalue problem", Chapters 11 and 13.
    """
    q = start.div_(torch.linalg.vector_norm(start))
    before = torch.zeros_like(q)
    diagonal: list[float] = []
    beside: list[float] = []
    value = length = 0.0
    for _ in range(iterations):
        w = product(q).sub_(before, alpha=length)
        diagonal.append(torch.dot(q, w).item())
        w.sub_(q, alpha=diagonal[-1])
        length = torch.linalg.vector_norm(w).item()
        value, size, last = _top(diagonal, beside)
        if length * last <= tolerance * size:
            break
        beside.append(length)
        before, q = q, torch.div(w, length, out=before)
    return value


def _top(diagonal: list[float], beside: list[float]) -> tuple[float, float, float]:
    """Of the tridiagonal matrix: largest eigenvalue, largest one in size, last entry of the first one's eigenvector."""
    T = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for sign in (1, -1):
        T = T + torch.diag(torch.tensor(beside, dtype=torch.float64), sign)
    values, vectors = torch.linalg.eigh(T)
    return values[-1].item(), values.abs().max().item(), abs(vectors[-1, -1].item())
