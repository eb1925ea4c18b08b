"""Scores of constructed records, whose right answers are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from stablelab.doctor.benchmark import scoring
from stablelab.doctor.benchmark.record import Observed, RunRecord
from stablelab.doctor.benchmark.scoring import Opinion, first_alarm, harms, health, interval, score, sign_flip_test
from stablelab.doctor.findings import Cause
from stablelab.doctor.training_log import TrainingLog

N = 90


def seen() -> Observed:
    table, row = np.zeros((1, 1)), np.zeros(1)
    tables = dict.fromkeys(
        ("gradient_mean", "gradient_max", "gradient_zeros", "gradient_norm", "gradient_spread", "weight_mean"), table
    )
    return Observed(
        **tables,
        update_ratio=table,
        steps=row,
        weights=("w",),
        sizes=row,
        activations=(),
        zeros=table,
        dead=table,
        input_variance=table,
        batch_accuracies=row,
        class_errors=table,
        class_shares=np.ones(2) / 2,
        inputs={},
        dropout=0.0,
        output_is_probability=False,
    )


def record(kind: str, seed: int, accuracy: float, onset: int = 0, losses: np.ndarray | None = None) -> RunRecord:
    steps = np.arange(1, N + 1, dtype=float)
    usual = 0.7 * np.exp(-steps / 30) + 0.05 * np.random.default_rng(seed).random(N)
    log = TrainingLog("a test", steps, usual if losses is None else losses, classes=2, batch_size=16, over=True)
    outcome = {"reported_accuracy": accuracy, "true_accuracy": accuracy, "reported_loss": 0.5, "right_loss": 0.5}
    return RunRecord("digits", kind, 1.0, seed, log, seen(), outcome, onset)


def records() -> list[RunRecord]:
    """One fault that hurts, one that does not, a healthy variant, and one that is not healthy."""
    made = []
    for seed in range(8):
        made += [
            record("clean", seed, 0.9 + 0.001 * seed),
            record("rate_too_high", seed, 0.5 + 0.001 * seed, onset=10),
            record("dead_units", seed, 0.9 + 0.002 * seed * (-1) ** seed),
            record("wsd_drop", seed, 0.89),
            record("head_only", seed, 0.6),
        ]
    return made


def test_sign_flips_are_counted_exactly() -> None:
    values = [0.3, 0.1, -0.05, 0.2, 0.15, 0.0, 0.12, -0.02]
    every = [np.dot(signs, values) for signs in itertools.product((1, -1), repeat=8)]
    assert sign_flip_test(values) == pytest.approx(np.mean(np.array(every) >= sum(values) - 1e-12))
    theirs = permutation_test((np.array(values),), np.mean, permutation_type="samples", alternative="greater")
    assert sign_flip_test(values) == pytest.approx(theirs.pvalue)
    assert sign_flip_test([0.1] * 8) == 1 / 256 and sign_flip_test([0.0] * 8) == 1
    assert sign_flip_test([math.inf] * 8) == 1 / 256


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    for hits, n in ((0, 8), (3, 8), (8, 8), (57, 60)):
        theirs = binomtest(hits, n).proportion_ci(method="exact")
        assert interval(hits, n) == pytest.approx((theirs.low, theirs.high))


def test_a_fault_counts_only_if_it_hurts_and_a_variant_only_if_it_is_healthy() -> None:
    harm = harms(records()).set_index("fault")
    assert harm.hurts.to_dict() == {"rate_too_high": True, "dead_units": False}
    assert harm.harm["rate_too_high"] == pytest.approx(0.4) and harm.p["rate_too_high"] == 1 / 256
    assert health(records()).set_index("variant").healthy.to_dict() == {
        "clean": True,
        "wsd_drop": True,
        "head_only": False,
    }


def test_scores_are_those_of_the_opinions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An examiner that finds six of eight, four with the right cause first, and is wrong on one of sixteen healthy."""

    def examiner(each: RunRecord) -> Opinion:
        if each.kind == "rate_too_high" and each.seed < 6:
            first = (Cause.RATE_TOO_HIGH,) if each.seed < 4 else (Cause.OVERFLOW, Cause.BAD_BATCH, Cause.RATE_TOO_HIGH)
            return Opinion(first, ("rule",), step=20.0, unanswered=0.25)
        if each.kind == "wsd_drop" and each.seed == 3:
            return Opinion((Cause.MODES,), ("other",), unanswered=0.25)
        return Opinion(unanswered=0.25)

    monkeypatch.setattr(scoring, "examiners", lambda delays: {"doctor": examiner})
    scores = score(records())
    (row,) = scores.overall.to_dict("records")
    assert row["recall"] == row["worst"] == 6 / 8 and row["false_alarms"] == 1 / 16 and row["precision"] == 6 / 7
    assert row["f1"] == pytest.approx(2 * 6 / (2 * 6 + 1 + 2))
    assert row["first"] == 4 / 8 and row["three"] == 6 / 8 and row["delay"] == 10 and row["unanswered"] == 0.25
    assert (row["recall_low"], row["recall_high"]) == interval(6, 8)
    (fault,) = scores.of_faults().to_dict("records")
    assert (fault["fault"], fault["runs"], fault["recall"], fault["delay"]) == ("rate_too_high", 8, 6 / 8, 10)
    assert scores.of_healthy().set_index("variant").false_alarms.to_dict() == {"clean": 0, "wsd_drop": 1}
    confusion = scores.confusion()
    assert confusion.loc["rate_too_high", str(Cause.RATE_TOO_HIGH)] == 4
    assert confusion.loc["rate_too_high", "no alarm"] == 2 and confusion.loc["healthy", "no alarm"] == 15
    assert scores.missed().to_dict("records") == [{"task": "digits", "kind": "rate_too_high", "missed": 2}]
    assert "dead_units" in str(scores) and "head_only" in str(scores)  # said that they do not count


def test_rules_judge_growing_parts_of_the_log_and_probes_judge_kept_numbers() -> None:
    losses = np.concatenate([np.linspace(0.7, 0.3, 45), np.full(45, math.nan)])
    log = record("rate_too_high", 0, 0.5, losses=losses).log
    broken = RunRecord("digits", "rate_too_high", 1.0, 0, log, seen(), {})
    assert math.isnan(first_alarm(record("clean", 0, 0.9).log))
    assert first_alarm(replace(log, not_finite=46)) == 48  # the log is looked at every third step
    broken.probes = {"frozen": "there is no optimizer"}
    report = scoring.examined(broken)
    reasons = {each.rule: each.reason for each in report.not_checked}
    assert reasons["frozen"] == "there is no optimizer" and reasons["duplicates"] == "it was not measured"
    assert "frozen" not in {each.rule for each in scoring.examined(broken, probes=False).not_checked}
