from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.helpers import normal
from torch import Tensor

from stablelab.formulas import cross_entropy, distillation_loss, soft_loss

STUDENT, TEACHER, TARGETS = 3 * normal(20, 5), 3 * normal(20, 5, seed=1), torch.arange(20) % 5


def gradient(loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    z = STUDENT.clone().requires_grad_()
    value = loss(z)
    value.backward()
    return value.detach(), z.grad


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 100.0])
def test_the_soft_loss_and_its_gradient_are_torchs(temperature: float) -> None:
    def theirs(z: Tensor) -> Tensor:
        log_q, log_p = (F.log_softmax(each / temperature, dim=1) for each in (z, TEACHER))
        return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)

    for our, their in zip(gradient(lambda z: soft_loss(z, TEACHER, temperature)), gradient(theirs), strict=True):
        torch.testing.assert_close(our, their, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_its_gradient_is_t_times_the_difference_of_the_probabilities(temperature: float) -> None:
    q, p = ((each / temperature).softmax(dim=1) for each in (STUDENT, TEACHER))
    _, found = gradient(lambda z: soft_loss(z, TEACHER, temperature))
    torch.testing.assert_close(found, temperature * (q - p) / 20, rtol=1e-9, atol=1e-15)


def test_hot_it_matches_logits_and_without_t_squared_it_would_vanish() -> None:
    centred = [each - each.mean(dim=1, keepdim=True) for each in (STUDENT, TEACHER)]
    limit = (centred[0] - centred[1]) / (5 * 20)
    _, at_1e4 = gradient(lambda z: soft_loss(z, TEACHER, 1e4))
    torch.testing.assert_close(at_1e4, limit, rtol=1e-2, atol=1e-5)
    norms = [gradient(lambda z, t=t: soft_loss(z, TEACHER, t))[1].norm().item() / t**2 for t in (1e3, 1e4)]
    assert norms[0] / norms[1] == pytest.approx(100, rel=0.02)


def test_nothing_flows_into_the_teacher_and_agreement_costs_nothing() -> None:
    teacher = TEACHER.clone().requires_grad_()
    soft_loss(STUDENT.clone().requires_grad_(), teacher).backward()
    assert teacher.grad is None
    assert soft_loss(STUDENT, STUDENT + 7, 3.0).item() == pytest.approx(0, abs=1e-12)


def test_the_weight_goes_from_labels_alone_to_the_teacher_alone() -> None:
    hard, soft = cross_entropy(STUDENT, TARGETS), soft_loss(STUDENT, TEACHER, 3.0)
    for weight in (0.0, 0.3, 1.0):
        there = distillation_loss(STUDENT, TEACHER, TARGETS, 3.0, weight)
        torch.testing.assert_close(there, weight * soft + (1 - weight) * hard, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: soft_loss(STUDENT, TEACHER[:3]), "same shape, not (20, 5) and (3, 5)"),
        (lambda: soft_loss(normal(3), normal(3)), "logits (N, C)"),
        (lambda: soft_loss(normal(0, 3), normal(0, 3)), "at least one example"),
        (lambda: soft_loss(STUDENT, TEACHER, 0.0), "temperature is 0.0"),
        (lambda: distillation_loss(STUDENT, TEACHER, TARGETS, weight=1.5), "weight is 1.5"),
        (lambda: distillation_loss(STUDENT, TEACHER, TARGETS + 1), "targets must lie in 0..4"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
