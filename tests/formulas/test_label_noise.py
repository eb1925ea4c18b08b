"""Wrong labels: what they do to an accuracy, and confident learning beside cleanlab's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cleanlab.count import compute_confident_joint, estimate_joint
from cleanlab.filter import find_label_issues
from torch import Tensor

from stablelab.formulas import (
    confident_joint,
    confidently_wrong,
    estimated_joint,
    measured_accuracy,
    precision_and_recall,
    symmetric_noise,
)


def drawn(trial: int) -> tuple[Tensor, Tensor]:
    """Labels, some wrong, and the probabilities of a model that is more or less sure of the true ones."""
    generator, draw = torch.Generator().manual_seed(trial), np.random.default_rng(trial)
    C, N = int(draw.integers(2, 6)), int(draw.integers(20, 200))
    true = torch.arange(N) % C
    logits = torch.randn(N, C, generator=generator, dtype=torch.float64)
    logits += float(draw.uniform(0, 4)) * torch.nn.functional.one_hot(true, C)
    return symmetric_noise(true, float(draw.uniform(0, 0.5)), C, generator), logits.softmax(1)


@pytest.mark.parametrize("trial", range(40))
def test_confident_learning_is_cleanlabs(trial: int) -> None:
    labels, p = drawn(trial)
    theirs = compute_confident_joint(labels.numpy(), p.numpy(), calibrate=False)
    joint = confident_joint(labels, p)
    assert (joint + torch.diag((joint.diagonal() == 0).long())).tolist() == theirs.tolist()
    flagged = find_label_issues(labels.numpy(), p.numpy(), filter_by="confident_learning", n_jobs=1)
    assert confidently_wrong(labels, p).tolist() == flagged.tolist()
    whole = estimate_joint(labels.numpy(), p.numpy(), confident_joint=theirs)  # rounded to whole examples
    assert abs(estimated_joint(labels, p).numpy() - whole).max() * len(labels) < 1
    assert float(estimated_joint(labels, p).sum()) == pytest.approx(1)


def test_the_joint_finds_the_noise_of_a_model_that_knows_the_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(3000) % 3
    given = true.clone()
    given[(true == 0) & (torch.rand(3000, generator=generator) < 0.3)] = 2  # p(ỹ = 2 | y* = 0) = 0.3, nothing else
    p = (4.0 * torch.nn.functional.one_hot(true, 3)).double().softmax(1)  # equal in each class: all reach the mean
    joint = estimated_joint(given, p)
    assert joint[2, 0] == pytest.approx(0.1, abs=0.02)  # 0.3 of a third
    off = joint - torch.diag(joint.diagonal())
    assert float(off.sum() - off[2, 0]) < 0.005
    assert precision_and_recall(confidently_wrong(given, p), given != true) == (pytest.approx(1), pytest.approx(1))


def test_a_class_without_a_label_is_never_found() -> None:
    p = torch.tensor([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.3, 0.6, 0.1]], dtype=torch.float64)
    assert confident_joint(torch.tensor([0, 0, 1]), p).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_noise_is_of_the_rate_asked_for_and_always_another_class() -> None:
    true = torch.arange(500) % 5
    for rate, wrong in ((0.0, 0), (0.1, 50), (0.333, 166), (1.0, 500)):
        given = symmetric_noise(true, rate, 5, torch.Generator().manual_seed(1))
        assert int((given != true).sum()) == wrong and given.min() >= 0 and given.max() <= 4
    given = symmetric_noise(torch.zeros(4000, dtype=torch.long), 1.0, 5, torch.Generator().manual_seed(2))
    assert torch.bincount(given)[1:].float().sub(1000).abs().max() < 120  # each other class about as often


@pytest.mark.parametrize(("accuracy", "rate", "classes"), [(0.9, 0.1, 2), (0.8, 0.4, 10), (0.3, 0.5, 3)])
def test_the_measured_accuracy_is_what_is_counted(accuracy: float, rate: float, classes: int) -> None:
    n, generator = 200_000, torch.Generator().manual_seed(3)
    true = torch.randint(classes, (n,), generator=generator)
    answers = symmetric_noise(true, 1 - accuracy, classes, generator)
    given = symmetric_noise(true, rate, classes, generator)
    counted = float((answers == given).double().mean())
    assert counted == pytest.approx(measured_accuracy(accuracy, rate, classes), abs=0.006)


def test_precision_and_recall_by_hand() -> None:
    flagged = torch.tensor([True, True, False, False, True])
    wrong = torch.tensor([True, False, True, False, True])
    assert precision_and_recall(flagged, wrong) == (2 / 3, 2 / 3)
    nothing = torch.zeros(5, dtype=torch.bool)
    assert np.isnan(precision_and_recall(nothing, wrong)[0]) and np.isnan(precision_and_recall(flagged, nothing)[1])


def test_what_cannot_be_is_said_in_a_line() -> None:
    generator = torch.Generator()
    with pytest.raises(ValueError, match="^rate is 1.2; the share of wrong labels must be from 0 to 1$"):
        symmetric_noise(torch.tensor([0, 1]), 1.2, 2, generator)
    with pytest.raises(ValueError, match="^classes is 1; a label can be wrong where there are at least 2$"):
        symmetric_noise(torch.tensor([0, 0]), 0.5, 1, generator)
    with pytest.raises(ValueError, match=r"^labels \(3,\) and probabilities \(2, 2\) do not fit: \(N,\) and \(N, C\)$"):
        confident_joint(torch.tensor([0, 1, 0]), torch.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="^labels must be class numbers from 0 to 1, at least one$"):
        confident_joint(torch.tensor([0, 2]), torch.full((2, 2), 0.5))
