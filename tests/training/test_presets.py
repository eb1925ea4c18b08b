"""Presets do what they say, on real models, all of each or its head alone."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

import stablelab as lab
from stablelab.training.presets import Preset, presets

STEPS = 32


def chosen(model, task, settings: dict[str, Any], name: str) -> tuple[lab.Run, Preset]:
    run = lab.fine_tune(model, task, **settings)
    preset = next(each for each in presets(run) if each.name == name)
    run.control.change(**preset.changes)
    return run.start().wait(300), preset


def moved(run: lab.Run) -> float:
    """How far the weights are from where they began."""
    start = run.first_weights("look at it")
    pairs = ((p.detach(), start[name]) for name, p in run.model.named_parameters())
    return math.sqrt(sum(float((a - b).square().sum()) for a, b in pairs))


def losses(run: lab.Run) -> tuple[float, float]:
    every = [step.loss for step in run.history]
    return statistics.mean(every[:8]), statistics.mean(every[-8:])


@pytest.fixture(scope="module", params=["ResNet, all", "ResNet, head", "BERT, all", "BERT, head"])
def real(request, digits, movies):
    """A function that makes a real model afresh, its task, the settings of its run."""
    kind, _, train = request.param.partition(", ")
    batch_size = 4 if request.param == "BERT, all" else 8  # by far the slowest, and it learns from four as well
    settings = {"train": train, "steps": STEPS, "batch_size": batch_size, "evaluate_every": 0, "seed": 0}
    if kind == "ResNet":
        return lambda: lab.resnet(digits.classes), digits, settings
    return lambda: lab.bert(movies.classes), movies, settings


@pytest.fixture(scope="module")
def good(real) -> tuple[lab.Run, Preset]:
    """A run that was known to be good; two tests look at it."""
    make, task, settings = real
    return chosen(make(), task, settings, "known to be good")


@pytest.mark.slow
def test_known_to_be_good_learns(good) -> None:
    run, _ = good
    first, last = losses(run)
    assert run.state == "finished" and last < 0.9 * first and "diverges" not in run.message


@pytest.mark.slow
def test_known_to_diverge_diverges_and_the_run_says_so(real) -> None:
    make, task, settings = real
    run, _ = chosen(make(), task, settings, "known to diverge")
    assert "diverge" in run.message
    assert run.state == "diverged" or losses(run)[1] > 1e3
    run.stop()


@pytest.mark.slow
def test_too_slow_barely_moves_and_the_good_one_moves_far(real, good) -> None:
    make, task, settings = real
    run, preset = chosen(make(), task, settings, "too slow")
    first, last = losses(run)
    assert run.state == "finished" and last > 0.9 * first
    good_run, good_preset = good
    assert preset.changes["learning_rate"] == pytest.approx(good_preset.changes["learning_rate"] / 1000)
    assert moved(run) < moved(good_run) / 100


@pytest.mark.slow
def test_clipped_to_a_standstill_stands_still_at_a_rate_at_which_sgd_learns(real) -> None:
    make, task, settings = real
    run, preset = chosen(make(), task, settings, "clipped to a standstill")
    first, last = losses(run)
    assert all(step.clipped for step in run.history) and last > 0.9 * first
    rate, limit = preset.changes["learning_rate"], preset.changes["max_norm"]
    assert moved(run) <= 1.001 * STEPS * rate * limit
    unclipped = lab.fine_tune(make(), task, **settings)
    unclipped.control.change(**{**preset.changes, "max_norm": None})
    assert moved(unclipped.start().wait(300)) > 20 * moved(run)
