"""Runs that are really trained, sick and healthy, on other data and another model than the rules were set on."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas
import pytest
import torch
from support.troubled_runs import (
    cosine_restarts,
    over_early,
    perceptron,
    table,
    thrown_off,
    train,
    warmup_stable_decay,
)

import stablelab as lab
from stablelab.doctor import Cause, Report

MAKE = perceptron(48)

HEALTHY: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("digits", {}),
    "three classes, full batches": ("wine", {"batch_size": 500, "steps": 120}),
    "two classes": ("breast_cancer", {"learning_rate": 1e-3}),
    "SGD at 0.1": ("digits", {"optimizer": "SGD", "learning_rate": 0.1, "momentum": 0.0, "steps": 300}),
    "99 % accuracy": ("digits", {"steps": 600}),
    "cosine restart": ("digits", {"schedule": cosine_restarts, "steps": 210}),
    "WSD drop": ("digits", {"schedule": warmup_stable_decay}),
    "a spike that recovers": ("digits", {"meddle": thrown_off(150, 3.0), "steps": 300}),
    "a plateau at the floor": ("digits", {"warm": 300, "steps": 150}),
    "a floor of wrong labels": ("digits", {"label_noise": 0.3, "steps": 300, "learning_rate": 1e-3}),
    "every Adam step clipped": ("digits", {"max_norm": 0.01, "steps": 250}),
    "batches of 4": ("digits", {"batch_size": 4, "steps": 400, "learning_rate": 1e-3}),
    "head only": ("digits", {"freeze_body": True, "learning_rate": 1e-2, "steps": 300}),
    "a rate that falls to 0": ("digits", {"schedule": partial(over_early, total=200)}),
}

SICK: dict[str, tuple[str, Cause, dict[str, Any]]] = {
    "rate too high": ("digits", Cause.RATE_TOO_HIGH, {"optimizer": "SGD", "learning_rate": 10.0}),
    "Adam's rate too high": ("wine", Cause.RATE_TOO_HIGH, {"learning_rate": 10.0}),
    "rate too low": ("digits", Cause.RATE_TOO_LOW, {"learning_rate": 1e-6}),
    "SGD's rate too low": ("wine", Cause.RATE_TOO_LOW, {"optimizer": "SGD", "learning_rate": 1e-6}),
    "no zero_grad": ("digits", Cause.NO_ZERO_GRAD, {"optimizer": "SGD", "learning_rate": 0.03, "zero_grad": False}),
    "no zero_grad, Adam": ("digits", Cause.NO_ZERO_GRAD, {"zero_grad": False}),
    "softmax twice": ("digits", Cause.SOFTMAX_TWICE, {"softmax_twice": True, "steps": 400}),
    "softmax twice, two classes": ("breast_cancer", Cause.SOFTMAX_TWICE, {"softmax_twice": True, "steps": 300}),
    "summed loss": ("digits", Cause.SUMMED_LOSS, {"reduction": "sum", "learning_rate": 3e-4}),
    "summed loss, two classes": ("breast_cancer", Cause.SUMMED_LOSS, {"reduction": "sum", "learning_rate": 3e-4}),
    "frozen body, broken head": ("digits", Cause.BROKEN_HEAD, {"head_scale": 60.0, "freeze_body": True}),
    "sorted, not shuffled": ("digits", Cause.NOT_SHUFFLED, {"sort_by_class": True, "shuffled": False, "steps": 300}),
    "one order for all epochs": ("digits", Cause.NOT_SHUFFLED, {"shuffled": False, "steps": 300}),
    "clipped at 1e-3": ("digits", Cause.CLIPPED_AWAY, {"optimizer": "SGD", "learning_rate": 0.01, "max_norm": 1e-3}),
    "schedule over": ("digits", Cause.SCHEDULE_OVER, {"schedule": over_early}),
    "wrong labels by heart": ("digits", Cause.OVERFITTING, {"examples": 320, "label_noise": 0.4, "steps": 300}),
}


def examined(data: str, changes: dict[str, Any], seed: int = 11) -> tuple[Report, pandas.DataFrame]:
    frame = train(table(data), MAKE, seed, **changes)
    return lab.examine(frame, **frame.attrs), frame


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.slow
def test_a_healthy_run_raises_no_alarm(kind: str) -> None:
    report, frame = examined(*HEALTHY[kind])
    accuracy = frame.val_accuracy.dropna().iloc[-1]
    assert accuracy > 0.8, f"it is not healthy: {accuracy}"
    assert report.alarms == (), str(report)


@pytest.mark.parametrize("kind", SICK)
@pytest.mark.slow
def test_a_sick_run_is_found_with_its_cause_first(kind: str) -> None:
    data, cause, changes = SICK[kind]
    report, _ = examined(data, changes)
    assert report.alarms, str(report)
    assert report.alarms[0].causes[0] == cause, str(report)
    assert report.findings[0].alarm


@pytest.mark.slow
def test_a_validation_loss_that_rises_with_the_accuracy_is_said_and_no_alarm() -> None:
    report, frame = examined("digits", {"examples": 64, "steps": 500, "learning_rate": 1e-2})
    validations = frame.dropna(subset=["val_loss"])
    assert validations.val_loss.iloc[-1] > 1.03 * validations.val_loss.min()
    assert [each.rule for each in report.findings] == ["overfitting"]
    assert report.alarms == () and report.findings[0].causes == (Cause.CONFIDENCE, Cause.OVERFITTING)
