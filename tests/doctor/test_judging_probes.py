"""What a probe says of numbers on either side of each threshold, without a model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support.constructed import falling, log_of

from stablelab.doctor.examination import joined
from stablelab.doctor.findings import Cause, Report
from stablelab.doctor.judging import UnknownError
from stablelab.doctor.probes import PROBES
from stablelab.doctor.start_rules import softmax_floor

BY_NAME = {probe.name: probe for probe in PROBES}

LOSS = {
    "classes": 10,
    "sure_loss": 0.0,
    "even_loss": math.log(10),
    "twice_over_once": 1.0,
    "farthest_from_1": 2.0,
    "lowest_output": -3.0,
    "outputs_differ": 1.0,
}
PARAMETERS = {
    "all": 1000,
    "frozen": 0,
    "frozen_in_optimizer": 0,
    "missing": 0,
    "strangers": 0,
    "head_missing": 0.0,
    "age": 100.0,
    "steps": 100.0,
    "changed_by_hand": 0.0,
    "train_loss": 0.3,
    "guessing": math.log(10),
    "not_finite": 0.0,
}
GRADIENTS = {
    "trained": 1000,
    "without": 0,
    "zero": 0,
    "largest_norm": 2.0,
    "smallest_norm": 1.0,
    "left_norm": 1.5,
    "logged_norm": 1.5,
    "scale": 1.0,
    "left_half": 0.0,
    "left_grid": 0.0,
    "left_zero": 0.0,
    "lost": 0.0,
    "half": 0.0,
}
MODES = {
    "batch_size": 32,
    "norms": 3,
    "never_updated": 0,
    "guessing": math.log(10),
    "train_in_eval": 0.30,
    "train_in_train": 0.40,
    "train_error": 0.01,
    "validation_in_eval": 0.50,
    "validation_in_train": 0.60,
    "validation_in_small": 0.70,
    "validation_error": 0.0,
    "logged_validation": 0.50,
    "logged_train": 0.41,
    "logged_error": 0.01,
}
MASK = {
    "masked": 0.3,
    "pads": 0.3,
    "pads_unmasked": 0.0,
    "words_masked": 0.0,
    "spread": 1.0,
    "by_padding": 1e-6,
    "by_masked": 1e-6,
    "by_real": 0.5,
}
UPDATE = {
    "median": 1e-3,
    "smallest": 1e-4,
    "largest": 1e-2,
    "loss": 2.0,
    "guessing": math.log(10),
    "rate": 1e-3,
    "steps_at_full_rate": 100.0,
    "weight_decay": 0.01,
    "shrinks": 0.01,
}
UNITS = {"gain": 0.58, "smallest_gain": 0.5, "norm_scale": 1.0, "units": 100, "dead": 0.1, "worst_layer": 0.4}
BATCH = {"before": 2.3, "after": 1.0, "lowest": 1.0, "guessing": 2.3}
MOMENTS = {"mean": 0.1, "std": 1.0, "lowest": -2.0, "highest": 2.0, "not_finite": 0.0}
TOKENS = {
    "longest": 20,
    "median_length": 12.0,
    "at_longest": 0.1,
    "unknown": 0.01,
    "without_first": 0.0,
    "vocabulary": 100.0,
    "embeddings": 100.0,
    "distinct": 80.0,
    "rarity": math.nan,
}
DUPLICATES = {"validation": 200, "exact": 0.0, "near": 0.0, "looked_at": 1.0}
OUTLIERS = {"examples": 500, "odd": 0, "farthest": 3.0}
ANSWERS = {
    "classes": 2,
    "train": 192,
    "validation": 200,
    "train_loss": 0.3,
    "train_accuracy": 0.9,
    "loss": 0.4,
    "accuracy": 0.8,
    "gain": 0.8,
    "gain_error": 0.05,
    "above_chance": 8.0,
    "train_above_chance": 9.0,
    "empty_loss": 0.7,
    "entropy": math.log(2),
    "frequent": 0.5,
    "frequent_in_validation": 0.5,
    "frequent_answers": 0.5,
    "most_answered": 0.5,
    "rare": 0,
    "rare_accuracy": math.nan,
    "common_accuracy": 0.8,
    "train_sure_errors": 0.02,
    "sure_errors": 0.08,
    "frozen": 0.0,
    "text": 0.0,
    "control_accuracy": 0.7,
    "control_train_accuracy": 0.7,
    "control_train": 8.0,
    "control_validation": 6.0,
    "control_before": 0.0,
    "control_after": 0.0,
}
KNOWN = ANSWERS | {"train_accuracy": 1.0, "train_loss": 0.01}
NOTHING = {"gain": 0.05, "gain_error": 0.05, "above_chance": 1.0}

# probe, healthy numbers, just short of the threshold, just past it, the first cause
CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], Cause]] = [
    ("sum_of_losses", LOSS, {"twice_over_once": 1.4}, {"twice_over_once": 1.6}, Cause.SUMMED_LOSS),
    (
        "second_softmax",
        LOSS,
        {"sure_loss": 1.1 * softmax_floor(10)},
        {"sure_loss": 1.005 * softmax_floor(10)},
        Cause.SOFTMAX_TWICE,
    ),
    (
        "second_softmax",
        LOSS,
        {"farthest_from_1": 0.01, "lowest_output": 0.0},
        {"farthest_from_1": 1e-6, "lowest_output": 0.0},
        Cause.SOFTMAX_TWICE,
    ),
    ("missing_from_optimizer", PARAMETERS, {}, {"missing": 10, "head_missing": 1.0}, Cause.MISSING_FROM_OPTIMIZER),
    (
        "frozen",
        PARAMETERS,
        {"frozen": 900, "frozen_in_optimizer": 490},
        {"frozen": 900, "frozen_in_optimizer": 510},
        Cause.FROZEN,
    ),
    (
        "frozen",
        PARAMETERS,
        {"frozen": 900, "train_loss": 0.8 * math.log(10)},
        {"frozen": 900, "train_loss": 0.9 * math.log(10)},
        Cause.FROZEN,
    ),
    ("young_optimizer", PARAMETERS, {"age": 96.0}, {"age": 94.0}, Cause.RESUMED),
    ("no_gradient", GRADIENTS, {"without": 490}, {"without": 510}, Cause.NO_GRADIENT),
    ("no_gradient", GRADIENTS, {"zero": 490}, {"zero": 510}, Cause.SATURATED),
    ("left_over_gradient", GRADIENTS, {"left_norm": 19.0}, {"left_norm": 21.0}, Cause.NO_ZERO_GRAD),
    ("underflow", GRADIENTS, {"left_half": 1.0, "lost": 0.04}, {"left_half": 1.0, "lost": 0.06}, Cause.UNDERFLOW),
    ("underflow", GRADIENTS, {"lost": 0.9, "left_grid": 0.8}, {"lost": 0.9, "left_grid": 0.95}, Cause.UNDERFLOW),
    ("underflow", GRADIENTS, {"left_zero": 0.19}, {"left_zero": 0.21}, Cause.UNDERFLOW),
    ("validation_mode", MODES, {"logged_validation": 0.5005}, {"logged_validation": 0.6}, Cause.MODES),
    ("validation_mode", MODES, {"logged_validation": 1.2}, {"logged_validation": 1.0}, Cause.MODES),
    ("training_mode", MODES, {"logged_train": 0.34}, {"logged_train": 0.31}, Cause.MODES),
    ("running_statistics", MODES, {"train_in_eval": 0.9}, {"train_in_eval": 1.1}, Cause.MODES),
    ("running_statistics", MODES, {"never_updated": 1}, {"never_updated": 2}, Cause.MODES),
    ("small_batches", MODES, {"batch_size": 4}, {"batch_size": 3}, Cause.SMALL_BATCHES),
    ("batch_leak", {"own": 1.0, "others": 0.0}, {"others": 1e-7}, {"others": 1e-5}, Cause.BATCH_LEAK),
    ("mask", MASK, {"by_masked": 5e-4}, {"by_masked": 2e-3}, Cause.MASK),
    ("mask", MASK, {"pads_unmasked": 0.4}, {"pads_unmasked": 0.6}, Cause.MASK),
    ("mask", MASK, {"words_masked": 0.4}, {"words_masked": 0.6}, Cause.MASK),
    ("update_ratio", UPDATE, {"median": 1.1e-4}, {"median": 0.9e-4}, Cause.RATE_TOO_LOW),
    ("update_ratio", UPDATE, {"median": 0.09}, {"median": 0.11}, Cause.RATE_TOO_HIGH),
    (
        "decayed_weights",
        UPDATE,
        {"shrinks": 0.4, "weight_decay": 1.0},
        {"shrinks": 0.6, "weight_decay": 1.0},
        Cause.WEIGHT_DECAY,
    ),
    (
        "decayed_weights",
        UPDATE,
        {"shrinks": 2.0, "weight_decay": 0.4},
        {"shrinks": 2.0, "weight_decay": 0.6},
        Cause.WEIGHT_DECAY,
    ),
    ("collapsed_weights", UNITS, {"gain": 0.11}, {"gain": 0.09}, Cause.WEIGHT_DECAY),
    (
        "decayed_weights",
        UPDATE,
        {"shrinks": 2.0, "weight_decay": 19.0, "median": 1.0},
        {"shrinks": 2.0, "weight_decay": 21.0, "median": 1.0},
        Cause.WEIGHT_DECAY,
    ),
    ("by_heart", KNOWN, {"accuracy": 0.79}, {"accuracy": 0.76}, Cause.OVERFITTING),
    (
        "by_heart",
        ANSWERS | {"train_accuracy": 1.0, "accuracy": 0.7},
        {"train_loss": 0.14},
        {"train_loss": 0.12},
        Cause.OVERFITTING,
    ),
    ("dead_units", UNITS, {"dead": 0.49}, {"dead": 0.51}, Cause.SATURATED),
    ("dead_units", UNITS, {"worst_layer": 0.89}, {"worst_layer": 0.91}, Cause.SATURATED),
    ("one_batch", BATCH, {"lowest": 2.2}, {"lowest": 2.25}, Cause.NO_GRADIENT),
    ("scale_of_inputs", MOMENTS, {"std": 9.0}, {"std": 11.0}, Cause.SCALE),
    ("scale_of_inputs", MOMENTS, {"mean": -9.0}, {"mean": -11.0}, Cause.SCALE),
    ("scale_of_inputs", MOMENTS, {"std": 1e-3}, {"std": 0.0}, Cause.DATA_WITHOUT_INFORMATION),
    ("scale_of_inputs", MOMENTS, {}, {"not_finite": 0.001}, Cause.BAD_BATCH),
    ("cut_off", TOKENS, {"at_longest": 0.49}, {"at_longest": 0.51}, Cause.TOKENIZER),
    ("unknown_tokens", TOKENS, {"unknown": 0.04}, {"unknown": 0.06}, Cause.TOKENIZER),
    ("unknown_tokens", TOKENS, {"embeddings": 101.0}, {"embeddings": 99.0}, Cause.TOKENIZER),
    ("unknown_tokens", TOKENS, {"without_first": 0.4}, {"without_first": 0.6}, Cause.TOKENIZER),
    ("duplicates", DUPLICATES, {"exact": 0.045}, {"exact": 0.055}, Cause.DUPLICATES),
    ("duplicates", DUPLICATES, {"near": 0.02}, {"near": 0.02, "looked_at": 0.3}, Cause.DUPLICATES),
    ("odd_examples", OUTLIERS, {"odd": 2}, {"odd": 3}, Cause.BAD_BATCH),
    ("odd_examples", OUTLIERS, {"odd": 101}, {"odd": 99}, Cause.BAD_BATCH),
    (
        "unrelated_labels",
        ANSWERS,
        {"control_train": 3.1, "control_before": 5.0},
        {"control_train": 2.9, "control_before": 5.0},
        Cause.WRONG_LABELS,
    ),
    ("unrelated_labels", ANSWERS, {"control_validation": 2.1}, {"control_validation": 1.9}, Cause.WRONG_LABELS),
    ("no_information", ANSWERS, NOTHING | {"gain": 0.16}, NOTHING, Cause.SATURATED),
    ("no_information", ANSWERS, NOTHING | {"above_chance": 3.1}, NOTHING | {"text": 1.0}, Cause.TOKENIZER),
    ("no_information", ANSWERS, {}, NOTHING | {"control_train": 1.0}, Cause.LABEL_NOISE),
    ("no_information", ANSWERS, {}, NOTHING | {"frequent": 0.9}, Cause.IMBALANCE),
    ("worse_than_control", ANSWERS, {"control_accuracy": 0.91}, {"control_accuracy": 0.93}, Cause.SATURATED),
    (
        "frequent_class",
        ANSWERS,
        {"rare": 40, "rare_accuracy": 0.6},
        {"rare": 40, "rare_accuracy": 0.5},
        Cause.IMBALANCE,
    ),
    ("wrong_labels", ANSWERS, {"sure_errors": 0.24}, {"sure_errors": 0.26, "accuracy": 0.7}, Cause.LABEL_NOISE),
    (
        "wrong_labels",
        ANSWERS,
        {"train_sure_errors": 0.27, "train_accuracy": 0.6},
        {"train_sure_errors": 0.29, "train_accuracy": 0.6},
        Cause.LABEL_NOISE,
    ),
]


@pytest.mark.parametrize(("name", "healthy", "below", "above", "cause"), CASES)
def test_an_alarm_begins_at_the_threshold(
    name: str, healthy: dict[str, Any], below: dict[str, Any], above: dict[str, Any], cause: Cause
) -> None:
    judge = BY_NAME[name].judge
    assert judge(healthy) is None
    quiet, found = judge(healthy | below), judge(healthy | above)
    assert quiet is None or not quiet.alarm, quiet
    assert found is not None and found.alarm and found.causes[0] == cause, found
    assert found.rule == name and found.cure and found.evidence.endswith(".") and "nan" not in found.evidence


def test_every_judge_was_asked() -> None:
    assert {name for name, *_ in CASES} == set(BY_NAME)


def test_on_few_validation_examples_a_gap_may_be_chance() -> None:
    judge = BY_NAME["by_heart"].judge
    assert judge(KNOWN | {"accuracy": 0.7}) is not None
    assert judge(KNOWN | {"accuracy": 0.7, "validation": 16.0}) is None
    causes = [judge(KNOWN | {"accuracy": 0.7, "text": text}).causes for text in (0.0, 1.0)]
    assert Cause.TOKENIZER in causes[1] and Cause.TOKENIZER not in causes[0]


def passed_by(name: str) -> Report:
    """What probes say of a run in which this one has found nothing, and no other was asked."""
    return Report("a run", (), (), tuple(probe.looks_for for probe in PROBES if probe.name == name))


def test_what_overfitting_is_by_the_curves_is_dropped_where_the_gap_is_small() -> None:
    rises = np.concatenate([np.linspace(1.5, 0.3, 5), np.linspace(0.3, 0.9, 5)])
    scores = {"validation_steps": np.linspace(20, 200, 10), "validation_losses": rises, "accuracies": np.full(10, 0.8)}
    log = log_of(falling(end=0.05), classes=10, **scores)
    assert [each.rule for each in joined(log, Report("a run", (), (), ())).alarms] == ["overfitting"]
    assert joined(log, passed_by("by_heart")).alarms == ()


def test_where_a_loss_is_no_sum_its_start_is_judged_as_it_is() -> None:
    log = log_of([2.3 * 32, *falling(start=2.3)], classes=10, batch_size=32)
    assert [each.rule for each in joined(log, Report("a run", (), (), ())).alarms] == ["summed_loss"]
    (alarm,) = joined(log, passed_by("sum_of_losses")).alarms
    assert alarm.rule == "first_loss" and alarm.causes[0] == Cause.BROKEN_HEAD


@pytest.mark.parametrize(
    ("name", "numbers", "reason"),
    [
        ("young_optimizer", PARAMETERS | {"age": math.nan}, "counts no steps"),
        ("young_optimizer", PARAMETERS | {"changed_by_hand": 1.0}, "were changed meanwhile"),
        ("left_over_gradient", GRADIENTS | {"left_norm": math.nan}, "left no gradient"),
        ("underflow", GRADIENTS | {"left_zero": math.nan}, "left nothing in p.grad"),
        ("underflow", GRADIENTS | {"left_norm": 0.0, "left_zero": 1.0}, "left nothing in p.grad"),
        ("validation_mode", MODES | {"logged_validation": math.nan}, "no validation of the model as it stands"),
        ("training_mode", MODES | {"logged_train": math.nan}, "no log of each training step"),
        ("running_statistics", MODES | {"norms": 0}, "no batch norm"),
        ("decayed_weights", UPDATE | {"shrinks": math.nan}, "learning rates are not in the log"),
        ("dead_units", UNITS | {"dead": math.nan}, "calls no ReLU"),
        ("unknown_tokens", TOKENS | {"unknown": math.nan, "vocabulary": math.nan}, "tokenizer is not at hand"),
        ("mask", MASK | {"spread": 0.0}, "the same answer"),
        ("unrelated_labels", ANSWERS | {"control_train": 1.0}, "quick control"),
        ("frequent_class", ANSWERS | {"rare": 5, "rare_accuracy": 0.0}, "it takes 8"),
        ("wrong_labels", ANSWERS | {"above_chance": 2.0, "train_above_chance": 2.0}, "not learnt enough"),
    ],
)
def test_what_numbers_do_not_say_is_not_guessed(name: str, numbers: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnknownError, match=reason):
        BY_NAME[name].judge(numbers)
