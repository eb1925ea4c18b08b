"""Presets do what they say, on real models, all of each or its head alone."""

from __future__ import annotations

import math
import statistics

import pytest

import stablelab as lab
from stablelab.training.presets import Preset, presets

STEPS = 32


def chosen(model, task, train: str, name: str, seed: int = 0) -> tuple[lab.Run, Preset]:
    run = lab.fine_tune(model, task, train, steps=STEPS, batch_size=8, evaluate_every=0, seed=seed)
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


@pytest.fixture(params=["ResNet, all", "ResNet, head", "BERT, all", "BERT, head"])
def real(request, digits, movies):
    """A function that makes a real model afresh, its task, what of it trains."""
    kind, _, train = request.param.partition(", ")
    if kind == "ResNet":
        return lambda: lab.resnet(digits.classes), digits, train
    return lambda: lab.bert(movies.classes), movies, train


@pytest.mark.slow
def test_known_to_be_good_learns(real) -> None:
    make, task, train = real
    run, _ = chosen(make(), task, train, "known to be good")
    first, last = losses(run)
    assert run.state == "finished" and last < 0.9 * first and "diverges" not in run.message


@pytest.mark.slow
def test_known_to_diverge_diverges_and_the_run_says_so(real) -> None:
    make, task, train = real
    run, _ = chosen(make(), task, train, "known to diverge")
    assert "diverge" in run.message
    assert run.state == "diverged" or losses(run)[1] > 1e3
    run.stop()


@pytest.mark.slow
def test_too_slow_barely_moves_and_the_good_one_moves_far(real) -> None:
    make, task, train = real
    run, preset = chosen(make(), task, train, "too slow")
    first, last = losses(run)
    assert run.state == "finished" and last > 0.9 * first
    good, good_preset = chosen(make(), task, train, "known to be good")
    assert preset.changes["learning_rate"] == pytest.approx(good_preset.changes["learning_rate"] / 1000)
    assert moved(run) < moved(good) / 100


@pytest.mark.slow
def test_clipped_to_a_standstill_stands_still_at_a_rate_at_which_sgd_learns(real) -> None:
    make, task, train = real
    run, preset = chosen(make(), task, train, "clipped to a standstill")
    first, last = losses(run)
    assert all(step.clipped for step in run.history) and last > 0.9 * first
    rate, limit = preset.changes["learning_rate"], preset.changes["max_norm"]
    assert moved(run) <= 1.001 * STEPS * rate * limit
    unclipped = lab.fine_tune(make(), task, train, steps=STEPS, batch_size=8, evaluate_every=0, seed=0)
    unclipped.control.change(**{**preset.changes, "max_norm": None})
    assert moved(unclipped.start().wait(300)) > 20 * moved(run)
