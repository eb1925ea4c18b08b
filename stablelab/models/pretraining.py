"""What pre-training needs beside a model and a loss: words to hide, and a measure of what was learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

IGNORED = -100  # the label that torch's and Hugging Face's losses leave out
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # per training example: what a probe may add to the features' correlations
PROBE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # the same, where validation examples choose


def mask_tokens(
    ids: Tensor,
    may_hide: Tensor,
    mask_id: int,
    replacements: Tensor,
    generator: torch.Generator,
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Hide some tokens, as BERT was taught: of those chosen, 80 % become [MASK], 10 % another token, 10 % stay.

    Args:
        ids: token ids, (B, T) int64.
        may_hide: (B, T) boolean, False for padding and special tokens.
        mask_id: the id of [MASK].
        replacements: (R,) ids that a random token is drawn from.
        generator: all randomness comes from here, on the CPU.
        share: each token that may be hidden is chosen with this probability, in (0, 1].

    Returns:
        The input, and the labels: the true id where a token was chosen, -100 elsewhere. Both (B, T).

    Raises:
        ValueError: shapes that differ, no replacements, or a share outside (0, 1].

    Source:
        Devlin, Chang, Lee and Toutanova, "BERT", 2019, Section 3.1 (Task #1).
    """
    if ids.shape != may_hide.shape or may_hide.dtype != torch.bool:
        raise ValueError(f"may_hide must be boolean of shape {tuple(ids.shape)}, like ids, not {_described(may_hide)}")
    if not len(replacements):
        raise ValueError("replacements is empty; give at least one token id")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share!r}; it must lie above 0 and be at most 1")
    chosen = may_hide & (torch.rand(ids.shape, generator=generator) < share)
    fate = torch.rand(ids.shape, generator=generator)
    others = replacements[torch.randint(len(replacements), ids.shape, generator=generator)]
    inputs = ids.masked_fill(chosen & (fate < 0.8), mask_id)
    inputs = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, inputs)
    return inputs, ids.masked_fill(~chosen, IGNORED)


def linear_probe(features: Tensor, targets: Tensor, test_features: Tensor, test_targets: Tensor) -> float:
    """How well the classes can be read off frozen features by a linear map: its accuracy on other examples.

    The map is the ridge regression of the classes on the features, brought to mean 0 and variance 1. It has a closed
    form, so there is no learning rate to choose; its penalty is the one of ``PENALTIES`` with the least error when
    each training example is left out in turn. So every network gets the penalty that suits it best.

    Args:
        features: (N, D), of the examples the map is fitted to.
        targets: (N,) int64, their classes, at least two different ones.
        test_features: (M, D).
        test_targets: (M,) int64.

    Returns:
        The share of the M examples whose class is found.

    Raises:
        ValueError: shapes that do not fit, nothing to fit or to test on, or one class only.

    Source:
        Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2017; ridge regression:
        Hoerl and Kennard, 1970.
    """
    return float(probe_hits(features, targets, test_features, test_targets).double().mean())


def probe_hits(
    features: Tensor,
    targets: Tensor,
    test_features: Tensor,
    test_targets: Tensor,
    validation: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Which of the other examples a linear map finds the class of: (M,) boolean.

    Without ``validation`` it is the map of ``linear_probe``. With it, two ways of scaling are tried for every kind of
    features: each column to variance 1, which makes columns that hardly vary as large as the others, and all columns
    by one common number, which leaves their proportions as they are. The one of the two, with the penalty out of
    ``PROBE_PENALTIES``, that finds most classes of the validation examples is taken (of equals the largest penalty).

    Args:
        features: (N, D), of the examples the map is fitted to.
        targets: (N,) int64, their classes, at least two different ones.
        test_features: (M, D).
        test_targets: (M,) int64.
        validation: features (V, D) and targets (V,) by which scaling and penalty are chosen.

    Returns:
        (M,) boolean, True where the class is found.

    Raises:
        ValueError: shapes that do not fit, nothing to fit or to test on, or one class only.
    """
    import numpy as np
    from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV
    from sklearn.preprocessing import StandardScaler

    _check_probe(features, targets, test_features, test_targets)
    x, test_x = (each.detach().double().numpy() for each in (features, test_features))
    scaler = StandardScaler().fit(x)
    if validation is None:
        probe = RidgeClassifierCV([len(x) * each for each in PENALTIES]).fit(scaler.transform(x), targets.numpy())
        return torch.from_numpy(probe.predict(scaler.transform(test_x))) == test_targets
    _check_probe(features, targets, *validation)
    asked, best, found = validation[0].detach().double().numpy(), (-1.0, 0.0), test_targets
    common = np.full_like(scaler.scale_, math.sqrt(scaler.var_.mean()) or 1.0)
    for scale in (scaler.scale_, common):
        scaled, scaled_asked, scaled_test = ((each - scaler.mean_) / scale for each in (x, asked, test_x))
        for penalty in PROBE_PENALTIES:
            probe = RidgeClassifier(len(x) * penalty).fit(scaled, targets.numpy())
            merit = float(probe.score(scaled_asked, validation[1].numpy())), penalty
            if merit > best:
                best, found = merit, torch.from_numpy(probe.predict(scaled_test))
    return found == test_targets


def _check_probe(features: Tensor, targets: Tensor, test_features: Tensor, test_targets: Tensor) -> None:
    for name, x, y in (("", features, targets), ("test_", test_features, test_targets)):
        if x.dim() != 2 or y.dim() != 1 or len(x) != len(y) or not x.numel():
            raise ValueError(
                f"a probe needs {name}features (N, D) and {name}targets (N,), not {tuple(x.shape)} and {tuple(y.shape)}"
            )
    if features.shape[1] != test_features.shape[1]:
        raise ValueError(f"test_features have {test_features.shape[1]} columns, but features {features.shape[1]}")
    if len(targets.unique()) < 2:
        raise ValueError(f"all targets are {int(targets[0])}; a probe needs at least two classes to tell apart")


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
