"""What is done against overfitting: penalties, soft thresholding, dropout, mixout, smoothed labels, early stopping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from .._validation import number, same_shape, whole


def l1(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """The L1 penalty Σ |θ_i| over every element of every parameter.

    Its gradient, sign(θ), pulls equally hard however small the weight is, until it is exactly zero; there the
    gradient is taken as 0.

    Args:
        parameters: a tensor, or any number of them, of any shapes (`model.parameters()`).

    Returns:
        The penalty, a 0-dim tensor.

    Raises:
        ValueError: there are no parameters.

    Source:
        Tibshirani 1996, "Regression shrinkage and selection via the lasso"; Goodfellow, Bengio & Courville 2016,
        "Deep learning", Section 7.1.2.
    """
    return torch.stack([theta.abs().sum() for theta in _listed(parameters)]).sum()


def l2(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """The L2 penalty ½ Σ θ_i² over every element of every parameter.

    Convention: with the ½ the gradient is θ itself, so that λ · l2 in the loss is a `weight_decay` of λ in gradient
    descent. (In Adam, too, it is; in AdamW it is not: that is AdamW's point.)

    Args:
        parameters: a tensor, or any number of them, of any shapes (`model.parameters()`).

    Returns:
        The penalty, a 0-dim tensor.

    Raises:
        ValueError: there are no parameters.

    Source:
        Goodfellow, Bengio & Courville 2016, "Deep learning", Section 7.1.1.
    """
    return 0.5 * torch.stack([(theta**2).sum() for theta in _listed(parameters)]).sum()


def l2_sp(parameters: Tensor | Iterable[Tensor], pretrained: Tensor | Iterable[Tensor]) -> Tensor:
    """The penalty ½ Σ (θ_i - θ⁰_i)² of the distance from the weights that training began with ("starting point").

    Its gradient is θ - θ⁰, so a step of gradient descent pulls each weight back to where pre-training had left it, and
    not to zero as `l2` does. With θ⁰ = 0 it is `l2`. A new head has no pre-trained weights: the paper gives it `l2`.

    Args:
        parameters: a tensor, or any number of them, of any shapes.
        pretrained: θ⁰, one for each parameter, of its shape; they are not trained.

    Returns:
        The penalty, a 0-dim tensor.

    Raises:
        ValueError: there are no parameters, or those before and after do not match.

    Source:
        Li, Grandvalet & Davoine 2018, "Explicit inductive bias for transfer learning with convolutional networks".
    """
    thetas, starts = _listed(parameters), _listed(pretrained)
    if len(thetas) != len(starts):
        raise ValueError(f"each parameter needs its pre-trained weights: there are {len(thetas)} and {len(starts)}")
    for theta, start in zip(thetas, starts, strict=True):
        same_shape("a parameter", theta, "its pre-trained weights", start)
    return l2(theta - start for theta, start in zip(thetas, starts, strict=True))


def soft_threshold(theta: Tensor, threshold: float | Tensor) -> Tensor:
    """sign(θ) · max(|θ| - threshold, 0): every weight comes closer to 0, and those within the threshold are exactly 0.

    It minimizes ½ (z - θ)² + threshold · |z| over z. After a step of gradient descent with learning rate η on a loss,
    a threshold of η λ makes the step one on the loss plus λ times the L1 penalty (ISTA).

    Args:
        theta: weights, any shape.
        threshold: 0 or more; as a tensor, one for each weight (any shape that broadcasts to theta's).

    Returns:
        The shrunken weights, same shape.

    Raises:
        ValueError: the threshold is not a finite number (or numbers), 0 or more.

    Source:
        Tibshirani 1996, "Regression shrinkage and selection via the lasso", Section 2.2; Beck & Teboulle 2009, "A fast
        iterative shrinkage-thresholding algorithm for linear inverse problems", Section 3 (ISTA).
    """
    if not isinstance(threshold, Tensor):
        number("threshold", threshold, at_least=0)
    elif not bool(((threshold >= 0) & threshold.isfinite()).all()):
        raise ValueError("threshold has entries that are negative or not finite; each must be a number at least 0")
    return torch.sign(theta) * (theta.abs() - threshold).clamp(min=0)


def dropout(x: Tensor, keep: Tensor, p: float) -> Tensor:
    """Inverted dropout: x / (1 - p) where a unit is kept, 0 where it is dropped.

    Where each unit is kept with probability 1 - p, the mean of the result is x and its variance x² p / (1 - p). So
    nothing has to be scaled when the network is used.

    Convention, as in torch: p is the probability of being dropped. (In the paper p is that of being kept.)

    Args:
        x: activations, any shape.
        keep: which of them stay, bool, same shape: `torch.rand(x.shape, generator=generator) >= p`.
        p: probability of being dropped, in [0, 1).

    Returns:
        The activations that go on, same shape.

    Raises:
        ValueError: the shapes differ, keep is not bool, or p is outside its range.

    Source:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", Section 4; scaling
        in training instead of in use: Section 10.
    """
    same_shape("x", x, "keep", keep)
    if keep.dtype != torch.bool:
        raise ValueError(f"keep must say True or False for each unit (torch.bool), not {keep.dtype}")
    p = number("p, the probability of being dropped,", p, at_least=0, below=1)
    return x * keep / (1 - p)


def mixout(theta: Tensor, pretrained: Tensor, keep: Tensor, p: float) -> Tensor:
    """θ⁰ + (θ - θ⁰) / (1 - p) where a weight is kept, its pre-trained θ⁰ where it is not.

    It is dropout of the difference θ - θ⁰: where each weight is kept with probability 1 - p, the mean of the result is
    θ and its variance (θ - θ⁰)² p / (1 - p). With θ⁰ = 0 it is dropout of weights.

    Args:
        theta: the weights that are trained, any shape.
        pretrained: θ⁰, same shape.
        keep: which of them stay, bool, same shape. (The authors' code draws one row of it and takes it for all rows,
            so that a neuron's outgoing weights go together.)
        p: probability of being put back, in [0, 1).

    Returns:
        The weights that the network is to use in this step, same shape.

    Raises:
        ValueError: the shapes differ, keep is not bool, or p is outside its range.

    Source:
        Lee, Cho & Kang 2020, "Mixout: effective regularization to finetune large-scale pretrained language models";
        ((1 - keep) θ⁰ + keep θ - p θ⁰) / (1 - p) in the authors' code, which is the same.
    """
    same_shape("theta", theta, "pretrained", pretrained)
    return pretrained + dropout(theta - pretrained, keep, p)


def smoothed_targets(targets: Tensor, classes: int, epsilon: float) -> Tensor:
    """(1 - ε) onehot(target) + ε / C: the distribution that label smoothing has a model aim at.

    Args:
        targets: (N,), the class of each example, integers in 0..C-1.
        classes: C.
        epsilon: ε, the share that is spread evenly over all classes, the right one included; in [0, 1].

    Returns:
        (N, C), rows that sum to 1, in torch's default dtype.

    Raises:
        ValueError: targets that are not integers (N,) or not a class, or ε outside its range.

    Source:
        Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", Section 7.
    """
    whole("classes", classes, at_least=1)
    epsilon = number("epsilon, the share that is spread,", epsilon, at_least=0, at_most=1)
    if targets.dim() != 1 or targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be integers (N,), not {targets.dtype} of shape {tuple(targets.shape)}")
    if len(targets) and (targets.min() < 0 or targets.max() >= classes):
        raise ValueError(f"targets must lie in 0..{classes - 1} for {classes} classes")
    onehot = torch.nn.functional.one_hot(targets.long(), classes).to(torch.get_default_dtype())  # (N, C)
    return (1 - epsilon) * onehot + epsilon / classes


def early_stopping(losses: Sequence[float], patience: int) -> tuple[int, int]:
    """Which evaluation to keep the weights of, and after which one to stop.

    Training stops once `patience` evaluations in a row were not below the best before them; the weights to keep are
    those of the best. A loss that is nan never counts as better.

    Args:
        losses: validation losses, oldest first, at least one.
        patience: evaluations in a row without improvement until training stops, 1 or more.

    Returns:
        The positions in `losses`, from 0, of the best evaluation and of the last one: of the end of the list where
        patience never ran out.

    Raises:
        ValueError: there are no losses, or patience is not a whole number of at least 1.

    Source:
        Goodfellow, Bengio & Courville 2016, "Deep learning", Algorithm 7.1.
    """
    whole("patience", patience, at_least=1, of=" of evaluations")
    if len(losses) == 0:
        raise ValueError("early stopping needs at least one validation loss; there is none")
    best, lowest = 0, math.inf
    for i, loss in enumerate(losses):
        if loss < lowest:
            best, lowest = i, loss
        elif i - best >= patience:
            return best, i
    return best, len(losses) - 1


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not listed:
        raise ValueError("a penalty needs at least one parameter (model.parameters() can be used up only once)")
    return listed
