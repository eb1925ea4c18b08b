"""One step downhill: gradient descent, momentum, Nesterov's momentum, Adam, AdamW and LAMB.

Every function takes the weights θ_{t-1} and their gradient g_t and returns the weights θ_t, followed by what the
rule remembers for the next step. Only the functions whose name ends in an underscore change anything in place.

    theta          θ    the weights, any shape
    g              g    the gradient of the loss at theta, same shape
    b, m, v             what is remembered, same shape
    t              t    the number of this step, counted from 1
    learning_rate  α    (η, ε or lr elsewhere)
    weight_decay   λ

Every number may also be a tensor that broadcasts to the shape of the weights: α of shape (R, 1, 1) steps R models at
once, whose weights (R, ..., ...) lie one after another.

`weight_decay` adds λθ to the gradient (an L2 penalty ½λ‖θ‖²) everywhere except in `adamw` and `lamb`, where it acts
beside m and v.

Each rule is written once, as a function whose name ends in an underscore, as in torch: it writes the new θ, b, m and v
over the old ones, only reads g, and checks nothing. The function of the same name without the underscore makes copies
first; the optimizers of `stablelab.training` walk over a model with the former, and exported scripts quote it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._validation import number, same_shape


def gradient_descent(
    theta: Tensor, g: Tensor, learning_rate: float | Tensor, weight_decay: float | Tensor = 0.0
) -> Tensor:
    """Gradient descent: θ_t = θ_{t-1} - α (g_t + λ θ_{t-1}).

    Args:
        theta: weights, any shape.
        g: gradient of the loss at theta, same shape.
        learning_rate: α, 0 or more.
        weight_decay: λ, 0 or more.

    Returns:
        The new weights.

    Raises:
        ValueError: theta and g differ in shape.

    Source:
        Cauchy 1847, "Méthode générale pour la résolution des systèmes d'équations simultanées".
    """
    same_shape("theta", theta, "g", g)
    theta = theta.clone()
    gradient_descent_(theta, g, learning_rate, weight_decay)
    return theta


def gradient_descent_(
    theta: Tensor, g: Tensor, learning_rate: float | Tensor, weight_decay: float | Tensor = 0.0
) -> None:
    """A step of gradient descent, in place: θ becomes that of the next step."""
    theta.sub_(learning_rate * plus_decay(g, theta, weight_decay))


def momentum(
    theta: Tensor,
    g: Tensor,
    b: Tensor | None,
    t: int,
    learning_rate: float | Tensor,
    beta: float | Tensor = 0.9,
    nesterov: bool = False,
    weight_decay: float | Tensor = 0.0,
) -> tuple[Tensor, Tensor]:
    """Momentum (the heavy ball): b_t = β b_{t-1} + g_t, then θ_t = θ_{t-1} - α b_t.

    With `nesterov` the step is α (g_t + β b_t): the next step's share of momentum is taken before the next gradient is
    measured, so the weights kept here are already Nesterov's look-ahead point and no gradient is needed anywhere else.

    Convention, as in torch: the buffer starts at b_1 = g_1, no dampening, and the learning rate stands outside of b. In
    the papers it stands inside, v_t = -α b_t; both are the same while α stays the same.

    Args:
        theta: weights, any shape.
        g: gradient of the loss at theta, same shape.
        b: buffer of the step before, same shape; not looked at when t is 1, and may be None there.
        t: number of this step, from 1.
        learning_rate: α, 0 or more.
        beta: β, the share of the buffer that is kept, in [0, 1). (μ in Sutskever et al.)
        nesterov: look ahead.
        weight_decay: λ, 0 or more.

    Returns:
        The new weights and the new buffer.

    Raises:
        ValueError: t is below 1, theta and g differ in shape, or b is missing after the first step.

    Source:
        Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; Nesterov 1983; both as
        Equations 1-2 and 3-4 of Sutskever et al. 2013, "On the importance of initialization and momentum in deep
        learning". The look-ahead as the point that is kept: Bengio et al. 2013, "Advances in optimizing recurrent
        networks", Section 3.5.
    """
    same_shape("theta", theta, "g", g)
    _check_step(t)
    if b is None and t > 1:
        raise ValueError(f"momentum needs the buffer b of the step before at t = {t}; only at t = 1 may it be None")
    theta, b = theta.clone(), torch.zeros_like(theta) if t == 1 or b is None else b.clone()
    momentum_(theta, g, b, learning_rate, beta, nesterov, weight_decay)
    return theta, b


def momentum_(
    theta: Tensor,
    g: Tensor,
    b: Tensor,
    learning_rate: float | Tensor,
    beta: float | Tensor = 0.9,
    nesterov: bool = False,
    weight_decay: float | Tensor = 0.0,
) -> None:
    """A step of momentum, in place: θ and b become those of this step. Before the first, b is zero."""
    g = plus_decay(g, theta, weight_decay)
    b.mul_(beta).add_(g)  # b_t = β b_{t-1} + g_t
    theta.sub_(learning_rate * (g + beta * b if nesterov else b))


def adam(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float | Tensor,
    beta1: float | Tensor = 0.9,
    beta2: float | Tensor = 0.999,
    eps: float | Tensor = 1e-8,
    weight_decay: float | Tensor = 0.0,
    bias_correction: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam: a step of about α per weight, along the mean of the gradient over the root of its mean square.

    Args:
        theta: weights, any shape.
        g: gradient of the loss at theta, same shape.
        m: running mean of g, same shape; zeros before the first step.
        v: running mean of g², same shape; zeros before the first step.
        t: number of this step, from 1.
        learning_rate: α, 0 or more.
        beta1: β₁, the share of m that is kept, in [0, 1).
        beta2: β₂, the share of v that is kept, in [0, 1).
        eps: ε, keeps the division finite; outside the root.
        weight_decay: λ, 0 or more; inside the gradient, so it passes through m and v (Algorithm 2, line 6, of
            Loshchilov & Hutter 2019, in pink).
        bias_correction: undo the pull of m and v towards their start at zero.

    Returns:
        The new weights, m and v.

    Raises:
        ValueError: t is below 1, or the shapes differ.

    Source:
        Kingma & Ba 2015, "Adam: a method for stochastic optimization", Algorithm 1; bias correction in Section 3.
    """
    _check(theta, g, m, v, t)
    theta, m, v = theta.clone(), m.clone(), v.clone()
    adam_(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay, bias_correction)
    return theta, m, v


def adam_(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float | Tensor,
    beta1: float | Tensor = 0.9,
    beta2: float | Tensor = 0.999,
    eps: float | Tensor = 1e-8,
    weight_decay: float | Tensor = 0.0,
    bias_correction: bool = True,
) -> None:
    """A step of Adam, in place: θ, m and v become those of step t."""
    g = plus_decay(g, theta, weight_decay)
    theta.sub_(learning_rate * adam_direction_(g, m, v, t, beta1, beta2, eps, bias_correction))


def adamw(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float | Tensor,
    beta1: float | Tensor = 0.9,
    beta2: float | Tensor = 0.999,
    eps: float | Tensor = 1e-8,
    weight_decay: float | Tensor = 0.0,
    bias_correction: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """AdamW: Adam whose weight decay bypasses m and v, so that every weight decays at the same rate.

    Convention, as in torch: the decay is α λ θ, so a schedule of α is a schedule of the decay too. The paper writes
    η_t λ θ, with the schedule's multiplier η_t apart from α.

    Args, returns, raises: as `adam`; weight_decay acts on theta itself instead of on g.

    Source:
        Loshchilov & Hutter 2019, "Decoupled weight decay regularization", Algorithm 2, line 12 (in green).
    """
    _check(theta, g, m, v, t)
    theta, m, v = theta.clone(), m.clone(), v.clone()
    adamw_(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay, bias_correction)
    return theta, m, v


def adamw_(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float | Tensor,
    beta1: float | Tensor = 0.9,
    beta2: float | Tensor = 0.999,
    eps: float | Tensor = 1e-8,
    weight_decay: float | Tensor = 0.0,
    bias_correction: bool = True,
) -> None:
    """A step of AdamW, in place: θ, m and v become those of step t."""
    direction = adam_direction_(g, m, v, t, beta1, beta2, eps, bias_correction)
    theta.sub_(learning_rate * plus_decay(direction, theta, weight_decay))


def lamb(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float | Tensor,
    beta1: float | Tensor = 0.9,
    beta2: float | Tensor = 0.999,
    eps: float | Tensor = 1e-6,
    weight_decay: float | Tensor = 0.0,
    bias_correction: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """LAMB: AdamW whose step, in each layer, is α times as long as that layer's weights.

    Args:
        theta: weights of one layer (one tensor), any shape.
        g: gradient of the loss at theta, same shape.
        m: running mean of g, same shape; zeros before the first step.
        v: running mean of g², same shape; zeros before the first step.
        t: number of this step, from 1.
        learning_rate: α, 0 or more: the step's length as a share of ‖θ‖.
        beta1: β₁, the share of m that is kept, in [0, 1).
        beta2: β₂, the share of v that is kept, in [0, 1).
        eps: ε, outside the root.
        weight_decay: λ, 0 or more; λθ is part of the update that is rescaled.
        bias_correction: undo the pull of m and v towards their start at zero.

    Returns:
        The new weights, m and v.

    Raises:
        ValueError: t is below 1, or the shapes differ.

    Source:
        You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes", Algorithm 2, with
        φ(z) = z.
    """
    _check(theta, g, m, v, t)
    theta, m, v = theta.clone(), m.clone(), v.clone()
    lamb_(theta, g, m, v, t, learning_rate, beta1, beta2, eps, weight_decay, bias_correction)
    return theta, m, v


def lamb_(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    learning_rate: float | Tensor,
    beta1: float | Tensor = 0.9,
    beta2: float | Tensor = 0.999,
    eps: float | Tensor = 1e-6,
    weight_decay: float | Tensor = 0.0,
    bias_correction: bool = True,
) -> None:
    """A step of LAMB, in place: θ, m and v become those of step t."""
    direction = adam_direction_(g, m, v, t, beta1, beta2, eps, bias_correction)
    update = plus_decay(direction, theta, weight_decay)
    theta.sub_(learning_rate * trust_ratio(theta, update) * update)


def trust_ratio(theta: Tensor, update: Tensor) -> Tensor:
    """‖θ‖ / ‖u‖, by which LAMB multiplies the update u of one layer.

    Convention, as in the authors' code: 1 where one of the norms is 0, so that a layer that starts at 0 can leave it.

    Args:
        theta: weights of one layer, any shape.
        update: Adam's direction plus λθ, same shape.

    Returns:
        One number, ().

    Raises:
        ValueError: the shapes differ.

    Source:
        You et al. 2020, Algorithm 2, with φ(z) = z.
    """
    same_shape("theta", theta, "update", update)
    of_theta, of_update = torch.linalg.vector_norm(theta), torch.linalg.vector_norm(update)
    ratio = of_theta / of_update
    return torch.where((of_theta > 0) & (of_update > 0), ratio, torch.ones_like(ratio))


def adam_direction_(
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    beta1: float | Tensor,
    beta2: float | Tensor,
    eps: float | Tensor,
    bias_correction: bool,
) -> Tensor:
    """The body of Kingma & Ba's Algorithm 1: the direction m̂ / (√v̂ + ε). m and v become those of this step."""
    m.lerp_(g, 1 - beta1)  # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    v.mul_(beta2).addcmul_(g, (1 - beta2) * g)  # v_t = β₂ v_{t-1} + (1 - β₂) g_t²
    m_hat = m / (1 - beta1**t) if bias_correction else m
    v_hat = v / (1 - beta2**t) if bias_correction else v
    return m_hat / (v_hat.sqrt() + eps)


def plus_decay(direction: Tensor, theta: Tensor, weight_decay: float | Tensor) -> Tensor:
    """direction + λθ; where λ is the number 0, direction itself, which saves two passes over the memory."""
    none = not isinstance(weight_decay, Tensor) and weight_decay == 0
    return direction if none else direction + weight_decay * theta


def _check(theta: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int) -> None:
    _check_step(t)
    same_shape("theta", theta, "g", g)
    same_shape("g", g, "m", m)
    same_shape("g", g, "v", v)


def _check_step(t: int) -> None:
    number("t, the number of the step,", t, at_least=1)
