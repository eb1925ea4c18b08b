"""What a model gives away: scores of membership, exposure of a secret, and the Gaussian mechanism of DP-SGD."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .._validation import number, plain_number, whole


def log_odds(logits: Tensor, targets: Tensor) -> Tensor:
    """φ = ln(p / (1 - p)) of the probability p that a model gives the right class, from its logits z.

    p/(1 - p) is exp(z_y) over the sum of exp(z_c) of the other classes, so φ = z_y - ln Σ_{c≠y} exp(z_c): no
    difference 1 - p is taken, and a p next to 1 loses no digits.

    Args:
        logits: z, (…, C), C of 2 or more.
        targets: y, (…,) class numbers.

    Returns:
        (…,), in nats, from -inf to inf.

    Raises:
        ValueError: shapes that do not fit, or fewer than two classes.

    Source:
        Carlini et al. 2022, "Membership inference attacks from first principles", on logit scaling of confidences.
    """
    if logits.dim() == 0 or logits.shape[-1] < 2 or logits.shape[:-1] != targets.shape:
        shapes = f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"logits must be (…, C) with C of 2 or more, and targets (…,), not {shapes}")
    y = targets[..., None]
    return logits.gather(-1, y)[..., 0] - logits.scatter(-1, y, -torch.inf).logsumexp(-1)


def log_likelihood_ratio(phi: Tensor, mean_in: Tensor, var_in: Tensor, mean_out: Tensor, var_out: Tensor) -> Tensor:
    """Λ = ln N(φ; μ_in, σ_in²) - ln N(φ; μ_out, σ_out²): how much more likely φ is of a member than of another.

    Args:
        phi: φ of the model that is attacked, any shape.
        mean_in: of φ over models that were trained on the example, broadcast with phi.
        var_in: their variance, above 0.
        mean_out: of φ over models that were not.
        var_out: their variance, above 0.

    Source:
        Carlini et al. 2022, the online attack (LiRA).
    """
    inside = (phi - mean_in).square() / var_in + var_in.log()
    outside = (phi - mean_out).square() / var_out + var_out.log()
    return (outside - inside) / 2


def exposure(secret: Tensor, others: Tensor) -> Tensor:
    """log₂ |R| - log₂ rank of a secret among all it could have been, in bits.

    The rank of the secret is 1 + the number of other candidates that the model finds likelier; of those it finds
    equally likely half count, so that a model that has learned nothing does not rank the secret first.

    Args:
        secret: (…,) negative log-likelihood of the secret, in any unit.
        others: (…, |R| - 1) of all other candidates; the secret is not among them.

    Returns:
        (…,) from 0 to log₂ |R|. Of a secret that the model has never seen 1/ln 2 = 1.44 are to be expected for large
        |R|, since its rank is uniform.

    Raises:
        ValueError: shapes that do not fit, or no other candidate.

    Source:
        Carlini, Liu, Erlingsson, Kos and Song 2019, "The Secret Sharer", the definitions of rank and exposure.
    """
    if others.dim() == 0 or others.shape[:-1] != secret.shape or others.shape[-1] == 0:
        shapes = f"{tuple(secret.shape)} and {tuple(others.shape)}"
        raise ValueError(f"exposure needs a secret (…,) and other candidates (…, |R| - 1), at least one, not {shapes}")
    likelier = (others < secret[..., None]).sum(-1) + (others == secret[..., None]).sum(-1) / 2
    return math.log2(others.shape[-1] + 1) - (1 + likelier).log2()


def private_gradient(
    per_example: Sequence[Tensor],
    max_norm: float,
    noise_multiplier: float,
    batch_size: float,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """(Σ_i g_i min(1, C/‖g_i‖) + σ C ξ) / B: the gradient of DP-SGD, with ξ standard normal.

    The norm is that of all tensors of an example together. One example moves the sum by C at most, whoever it is; the
    noise is measured by that, and not by how many examples there are.

    Args:
        per_example: g, one tensor (B', …) for each parameter: its gradient for each of the B' examples, B' ≥ 0.
        max_norm: C, above 0.
        noise_multiplier: σ ≥ 0, of the noise in units of C.
        batch_size: B, above 0: what the sum is divided by. Under Poisson sampling the *expected* size, since the true
            one would give away how many were drawn.
        generator: of the noise.

    Returns:
        A tensor for each parameter, without the dimension of examples.

    Raises:
        ValueError: a bound, a noise or a batch size out of its range, or tensors of different numbers of examples.

    Source:
        Abadi et al. 2016, "Deep learning with differential privacy", the algorithm of DP-SGD.
    """
    number("max_norm", max_norm, above=0)
    number("noise_multiplier", noise_multiplier, at_least=0)
    number("batch_size", batch_size, above=0)
    counts = {len(g) for g in per_example}
    if len(counts) != 1:
        raise ValueError(f"every tensor needs the gradients of the same examples, not of {sorted(counts)} of them")
    norms = sum(g.flatten(1).square().sum(1) for g in per_example)
    scale = (max_norm / torch.as_tensor(norms).sqrt().clamp(min=1e-300)).clamp(max=1)  # (B',)
    found = []
    for g in per_example:
        total = torch.tensordot(scale.to(g.dtype), g, dims=1)
        noise = torch.randn(total.shape, dtype=g.dtype, device=g.device, generator=generator)
        found.append((total + noise_multiplier * max_norm * noise) / batch_size)
    return found


# -- the Gaussian mechanism --------------------------------------------------------------------------------------------


def gaussian_mu(noise_multiplier: float, steps: int = 1) -> float:
    """μ = √T / σ: how many standard deviations of the noise one example can move T full-batch steps, all together.

    Args:
        noise_multiplier: σ, above 0.
        steps: T, 1 or more, each on all the data.

    Source:
        Dong, Roth and Su 2022, "Gaussian differential privacy", on the Gaussian mechanism and composition.
    """
    return math.sqrt(whole("steps", steps, 1)) / number("noise_multiplier", noise_multiplier, above=0)


def gaussian_delta(epsilon: float, mu: float) -> float:
    """δ(ε) = Φ(μ/2 - ε/μ) - e^ε Φ(-μ/2 - ε/μ) of a Gaussian mechanism: the smallest δ for this ε.

    Args:
        epsilon: ε ≥ 0.
        mu: μ above 0, sensitivity over standard deviation of the noise.

    Source:
        Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy", on analytical calibration.
    """
    number("epsilon", epsilon, at_least=0)
    number("mu", mu, above=0)
    ends = torch.tensor([mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu], dtype=torch.float64)
    log_phi = torch.special.log_ndtr(ends).tolist()
    # e^a - e^(a + d) as -e^a (e^d - 1): two numbers that are nearly the same lose no digits.
    return -math.exp(log_phi[0]) * math.expm1(min(epsilon + log_phi[1] - log_phi[0], 0.0))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest ε ≥ 0 for which a Gaussian mechanism of this μ is (ε, δ)-differentially private.

    Args:
        mu: μ above 0.
        delta: δ in (0, 1).

    Source:
        ``gaussian_delta``, which falls with ε, solved by bisection.
    """
    number("mu", mu, above=0)
    number("delta", delta, above=0, below=1)
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(high, mu) > delta:
        low, high = high, 2 * high
    return _bisect(lambda epsilon: gaussian_delta(epsilon, mu) > delta, low, high)


def gaussian_noise_multiplier(epsilon: float, delta: float, steps: int = 1) -> float:
    """The smallest σ with which T full-batch steps of DP-SGD are (ε, δ)-differentially private.

    Args:
        epsilon: ε, above 0: with a budget of 0 the output may not depend on the data at all. inf needs no noise.
        delta: δ in (0, 1).
        steps: T, 1 or more.

    Raises:
        ValueError: a budget of 0 or less, or a δ or T out of its range, in one line.
    """
    epsilon = privacy_budget(epsilon)
    number("delta", delta, above=0, below=1)
    root = math.sqrt(whole("steps", steps, 1))
    if epsilon == math.inf:
        return 0.0
    low = high = 1.0
    while gaussian_delta(epsilon, high) < delta:
        high *= 2
    while gaussian_delta(epsilon, low) > delta:
        low /= 2
    return root / _bisect(lambda mu: gaussian_delta(epsilon, mu) < delta, low, high)


def privacy_budget(epsilon: float) -> float:
    """ε, if it is a budget with which anything can be learned; inf is no privacy."""
    if epsilon == math.inf:
        return math.inf
    try:
        return float(plain_number("epsilon", epsilon, above=0))
    except ValueError as reason:
        raise ValueError(f"{reason}; with a privacy budget of 0 nothing of the data may be used") from None


def gaussian_trade_off(false_positive_rate: Tensor, mu: float) -> Tensor:
    """Φ(Φ⁻¹(FPR) + μ): the highest true positive rate any test of membership can have, at each false positive rate.

    Args:
        false_positive_rate: any shape, 0 to 1.
        mu: μ ≥ 0.

    Source:
        Dong, Roth and Su 2022, the trade-off function G_μ (there as 1 - TPR, of the FPR α).
    """
    x = torch.as_tensor(false_positive_rate, dtype=torch.float64)
    return torch.special.ndtr(torch.special.ndtri(x) + number("mu", mu, at_least=0))


def _bisect(too_low: Callable[[float], bool], low: float, high: float) -> float:
    """Where ``too_low`` turns from true to false, from above, to a relative 1e-12."""
    for _ in range(200):
        middle = (low + high) / 2
        if high - low <= 1e-12 * high or middle in (low, high):
            break
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return high
