"""Who was in the training data: membership inference by likelihood ratios over many models trained alike."""

from __future__ import annotations

import torch
from torch import Tensor

from .._validation import number, switch
from ..formulas.privacy import log_likelihood_ratio

FEWEST = 2  # models on either side of an example, without the one that is attacked: a variance needs two


def memberships(models: int, examples: int, seed: int) -> Tensor:
    """(R, N) which examples each of R models is trained on: each example in exactly half of the models, at random.

    Args:
        models: R, an even number.
        examples: N.
        seed: of the draw.

    Raises:
        ValueError: an odd number of models.

    Source:
        Carlini et al. 2022, "Membership inference attacks from first principles": models on random halves of the data,
        so that each example is in half of them.
    """
    if models < 2 or models % 2:
        raise ValueError(f"models is {models}; it must be an even number, 2 or more: half of them for each example")
    order = torch.rand(models, examples, generator=torch.Generator().manual_seed(seed)).argsort(dim=0)
    return order < models // 2


def lira_scores(phi: Tensor, members: Tensor, shared_variance: bool = False) -> Tensor:
    """Scores of the likelihood-ratio attack (LiRA, online) on every model in turn, the others being its shadow models.

    For model r and example i two normal distributions are fitted to φ of the example: over the other models that were
    trained on it, and over the other models that were not. The score is the log-likelihood ratio of model r's φ.

    Args:
        phi: (R, N) ln(p/(1 - p)) of the right class, of each example by each model (``formulas.log_odds``).
        members: (R, N) bool, which examples each model was trained on; every example in and out of at least three
            models, so that two are left on either side of each.
        shared_variance: one variance for all examples on either side, the mean of theirs, which is steadier where there
            are few models.

    Returns:
        (R, N) float64, high where the example was probably a member.

    Raises:
        ValueError: shapes that do not fit, φ that is not finite, or an example with too few models on one side.

    Source:
        Carlini et al. 2022, the online attack, with a variance for each example or one for all. Their code (in the
        repository tensorflow/privacy, research/mi_lira_2021) takes medians in place of means.
    """
    switch("shared_variance", shared_variance)
    _check(phi, members)
    x = phi.double()
    if not x.isfinite().all():
        raise ValueError("phi holds nan or inf; leave out models that diverged")
    x = x - x.mean(0)  # so that sums of squares lose no digits
    sides = []
    for side in (members, ~members):
        counts = side.sum(0)
        if int(counts.min()) <= FEWEST:
            i, said = int(counts.argmin()), "in" if side is members else "out of"
            raise ValueError(
                f"example {i} is {said} {int(counts[i])} models; LiRA needs {FEWEST + 1} or more on either side"
            )
        own = side.double()
        n = counts - own  # (R, N): without the model that is attacked
        mean = ((x * own).sum(0) - x * own) / n
        square = ((x.square() * own).sum(0) - x.square() * own) / n
        variance = (square - mean.square()).clamp(min=1e-12)
        sides += [mean, variance.mean(1, keepdim=True).expand_as(variance) if shared_variance else variance]
    return log_likelihood_ratio(x, *sides)


def true_positive_rates(scores: Tensor, members: Tensor, false_positive_rates: Tensor) -> Tensor:
    """(…, F) the share of members that are found at each false positive rate, with one threshold for all examples.

    An example is called a member if its score is above a threshold. For each rate the threshold is the lowest that no
    more than that share of the non-members exceed; where several have the same score, none of them is called.

    Args:
        scores: (…, N) high for members; rows are pooled to set the threshold, and each row is judged by it.
        members: (…, N) bool.
        false_positive_rates: (F,), from 0 to 1.

    Returns:
        (…, F) in float64; nan for a row without members.

    Raises:
        ValueError: shapes that do not fit, rates out of their range, or no non-member at all.

    Source:
        Carlini et al. 2022, on true positive rates at low false positive rates.
    """
    _check(scores, members)
    for rate in torch.as_tensor(false_positive_rates).tolist():
        number("false_positive_rates", rate, at_least=0, at_most=1)
    outside = scores[~members].double().sort(descending=True).values
    if not len(outside):
        raise ValueError("there is no non-member, so there is no false positive rate")
    allowed = (torch.as_tensor(false_positive_rates).double() * len(outside) + 1e-9).floor().long()
    thresholds = torch.cat([outside, outside.new_tensor([-torch.inf])])[allowed]  # (F,): this one is not exceeded
    found = torch.stack([((scores > t) & members).sum(-1) for t in thresholds], -1)
    return found.double() / members.sum(-1)[..., None]


def _check(values: Tensor, members: Tensor) -> None:
    if values.shape != members.shape or members.dtype != torch.bool or values.dim() == 0:
        shapes = f"{tuple(values.shape)} and {tuple(members.shape)} {members.dtype}"
        raise ValueError(f"scores and members must have the same shape, members as bool, not {shapes}")
