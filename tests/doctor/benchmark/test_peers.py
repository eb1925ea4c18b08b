"""The peers' published rules on constructed numbers, on either side of each threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stablelab.doctor.benchmark.peers import PEERS, PUBLISHED, SCALES, Peer, Verdict, tuned
from stablelab.doctor.benchmark.recipe import Recipe, train
from stablelab.doctor.benchmark.record import Observed, RunRecord
from stablelab.doctor.findings import Cause
from stablelab.doctor.setup import TensorExamples
from stablelab.doctor.training_log import TrainingLog

N, M, WEIGHTS = 120, 12, ("embeddings.word_embeddings.weight", "layer.weight", "head.weight")
AUTO, SAGEMAKER, SIMPLE, UMLAUT, TRAINPROOF = (peer.name for peer in PUBLISHED)
LATE = np.arange(10, 121, 10)  # the steps of the validations
LOSSES, RATES = np.linspace(2.0, 1.0, N), np.full(N, 1e-3)


def table(value: float, columns: int = 3) -> np.ndarray:
    return np.full((10, columns), value)


def record(**changes: Any) -> RunRecord:
    """A run that no peer has a word against, with some of its numbers changed."""
    log: dict[str, Any] = {
        "losses": LOSSES,
        "learning_rates": RATES,
        "norms": np.ones(N),
        "validation_steps": LATE.astype(float),
        "validation_losses": LOSSES[LATE - 1] + 0.01,
        "accuracies": np.linspace(0.7, 0.94, M),
        "batch_size": 16,
    }
    seen: dict[str, Any] = {
        "steps": np.array([1.0, *np.linspace(13, 120, 9).round()]),
        "weights": WEIGHTS,
        "sizes": np.array([1e6, 100.0, 10.0]),
        "gradient_mean": table(1e-3),
        "gradient_max": table(1e-2),
        "gradient_zeros": np.tile([0.99, 0.1, 0.0], (10, 1)),
        "gradient_norm": table(1.0),
        "gradient_spread": table(0.01),
        "weight_mean": table(0.1),
        "update_ratio": table(1e-3),
        "activations": ("relu1", "relu2"),
        "zeros": table(0.5, 2),
        "dead": table(0.0, 2),
        "input_variance": table(1.0, 2),
        "batch_accuracies": np.repeat(np.linspace(0.7, 0.94, M), 10),
        "class_errors": table(0.3, 2),
        "class_shares": np.array([0.5, 0.5]),
        "inputs": {"min": -1.0, "max": 1.0, "mean": 0.1, "std": 1.0, "zeros": 0.4},
        "dropout": 0.5,
        "output_is_probability": False,
    }
    for name, value in changes.items():
        (log if name in log else seen)[name] = value
    return RunRecord("task", "clean", 0.0, 0, TrainingLog("a run", np.arange(1.0, N + 1), **log), Observed(**seen), {})


def said(peer: str, **changes: Any) -> dict[str, int]:
    """The rules of a peer that fire, each with its step."""
    return {verdict.rule: verdict.step for verdict in PEERS[peer](record(**changes))}


def at(column: np.ndarray, place: Any, value: float) -> np.ndarray:
    changed = np.array(column, dtype=float)
    changed[place] = value
    return changed


@pytest.mark.parametrize("peer", [peer.name for peer in PUBLISHED])
def test_a_run_within_all_thresholds_is_called_healthy(peer: str) -> None:
    assert said(peer) == {}


# -- AutoTrainer -------------------------------------------------------------------------------------------------------

POOR = {"accuracies": np.linspace(0.4, 0.69, M), "batch_accuracies": np.repeat(np.linspace(0.4, 0.69, M), 10)}


def test_autotrainer_judges_gradients_only_of_a_run_below_its_accuracy() -> None:
    zeros = np.tile([0.0, 0.78, 0.0], (10, 1))  # 0.709 of the weights that are no embeddings
    assert said(AUTO, gradient_zeros=zeros) == {}
    assert said(AUTO, gradient_zeros=zeros, **POOR) == {"dying ReLU": 40}  # the second check, after 30 % of the epochs
    assert said(AUTO, gradient_zeros=np.tile([0.99, 0.76, 0.0], (10, 1)), **POOR) == {}  # 0.691
    assert said(AUTO, gradient_zeros=zeros, accuracies=POOR["accuracies"]) != {}  # one of the two is enough


@pytest.mark.parametrize(
    ("norm", "rule"),
    [
        ([1, 70.1, 1], "exploding gradient"),
        ([1, 69.9, 1], None),
        ([1, 0.99e-4, 0.1], "vanishing gradient"),
        ([1, 1.01e-4, 1], None),  # not below 1e-4
        ([1, 0.99e-4, 0.098], None),  # not below 1e-3 of the last
    ],
)
def test_autotrainer_compares_the_first_layer_with_the_last(norm: list[float], rule: str | None) -> None:
    assert list(said(AUTO, gradient_norm=np.tile(norm, (10, 1)), **POOR)) == ([rule] if rule else [])


def test_autotrainer_stops_at_its_first_verdict_the_gravest_of_a_check() -> None:
    both = {"gradient_zeros": table(0.8), "gradient_norm": np.tile([1, 71.0, 1], (10, 1))}
    assert said(AUTO, **both, **POOR) == {"dying ReLU": 40}
    assert said(AUTO, validation_losses=at(np.ones(M), 3, 1e5), **both, **POOR) == {"explode": 40}
    assert said(AUTO, validation_losses=at(np.ones(M), 0, np.nan), **both, **POOR) == {"explode": 10}
    assert said(AUTO, validation_losses=at(np.ones(M), 3, 0.9e5)) == {}
    assert said(AUTO, validation_losses=at(np.ones(M), 2, 1e5)) == {}  # between two checks
    assert said(AUTO, validation_losses=at(np.ones(M), 2, np.inf)) == {"explode": 40}  # stays in its history


@pytest.mark.parametrize(("rise", "expected"), [(0.0099, {"slow convergence": 40}), (0.0101, {})])
def test_autotrainer_slow_convergence(rise: float, expected: dict[str, int]) -> None:
    accuracies = 0.8 + rise * np.arange(M)
    assert said(AUTO, accuracies=accuracies, batch_accuracies=np.repeat(accuracies, 10)) == expected


@pytest.mark.parametrize(("swing", "expected"), [(0.0301, {"oscillating loss": 40}), (0.0299, {})])
def test_autotrainer_oscillation(swing: float, expected: dict[str, int]) -> None:
    accuracies = 0.8 + swing * (np.arange(M) % 2)
    found = said(AUTO, batch_accuracies=np.repeat(accuracies, 10), accuracies=np.linspace(0.72, 0.94, M))
    assert found == expected
    assert said(AUTO, batch_accuracies=np.repeat(accuracies - 0.4, 10)) == {}  # it does poorly: another branch


# -- SageMaker Debugger ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "beyond", "within"),
    [
        ("VanishingGradient", {"gradient_mean": at(table(1e-3), (4, 1), 0.9e-7)}, {"gradient_mean": table(1.1e-7)}),
        ("WeightUpdateRatio, too large", {"update_ratio": at(table(1e-3), (4, 1), 10.1)}, {"update_ratio": table(9.9)}),
        (
            "WeightUpdateRatio, too small",
            {"update_ratio": at(table(1e-3), (4, 1), 0.0)},
            {"update_ratio": at(table(1e-3), (4, 1), 1.1e-8)},
        ),
        ("DeadRelu", {"dead": at(table(0.0, 2), (4, 1), 0.51)}, {"dead": table(0.49, 2)}),
        ("AllZero", {"weight_mean": at(table(0.1), (4, 1), 0.0)}, {"weight_mean": table(1e-9)}),
        ("AllZero", {"gradient_max": at(table(0.1), (4, 1), 0.0)}, {"gradient_max": table(1e-9)}),
        ("ExplodingTensor", {"gradient_max": at(table(0.1), (4, 1), np.inf)}, {"gradient_max": table(1e30)}),
    ],
)
def test_sagemaker_at_the_step_that_is_beyond(rule: str, beyond: dict[str, Any], within: dict[str, Any]) -> None:
    assert said(SAGEMAKER, **beyond) == {rule: record().observed.steps[4]}
    assert said(SAGEMAKER, **within) == {}


@pytest.mark.parametrize(
    ("rule", "beyond", "within"),
    [
        (
            "PoorWeightInitialization",
            {"input_variance": np.tile([1, 10.1], (10, 1))},
            {"input_variance": np.tile([1, 9.9], (10, 1))},
        ),
        (
            "PoorWeightInitialization",
            {"gradient_spread": table(0.9e-3)},
            {"gradient_spread": at(table(0.9e-3), 0, 1.1e-3)},
        ),
        ("CheckInputImages", {"inputs": {"mean": -0.21}}, {"inputs": {"mean": 0.19}}),
        ("NLPSequenceRatio", {"inputs": {"zeros": 0.51}}, {"inputs": {"zeros": 0.49}}),
    ],
)
def test_sagemaker_at_the_start(rule: str, beyond: dict[str, Any], within: dict[str, Any]) -> None:
    assert said(SAGEMAKER, **beyond) == {rule: 1}
    assert said(SAGEMAKER, **within) == {}


def test_sagemaker_losses() -> None:
    losses = LOSSES
    judged = losses[LATE - 1] + 0.01
    assert said(SAGEMAKER, validation_losses=at(judged, 5, judged[4])) == {"LossNotDecreasing": 60}
    assert said(SAGEMAKER, validation_losses=at(judged, 5, judged[4] - 1e-6)) == {}
    means = losses.reshape(M, 10).mean(axis=1)
    assert said(SAGEMAKER, validation_losses=means * 1.101) == {"Overfit": 10}
    assert said(SAGEMAKER, validation_losses=means * 1.099) == {}
    assert said(SAGEMAKER, losses=at(losses, 20, np.nan)).items() >= {"ExplodingTensor": 21}.items()
    slow = 1.0 - 0.0099 * np.arange(M)  # never 0.1 below the first of the last ten
    assert said(SAGEMAKER, losses=np.repeat(slow, 10), validation_losses=slow) == {"Overtraining": 110}
    fast = 1.0 - 0.0101 * np.arange(M)
    assert said(SAGEMAKER, losses=np.repeat(fast, 10), validation_losses=fast) == {}


def test_sagemaker_class_imbalance_waits_for_500_examples() -> None:
    assert said(SAGEMAKER, class_shares=np.array([0.911, 0.089])) == {"ClassImbalance": 40}
    assert said(SAGEMAKER, class_shares=np.array([0.909, 0.091])) == {}
    assert said(SAGEMAKER, class_errors=at(table(0.3, 2), (7, 1), 0.71)) == {"ClassImbalance": 93}
    assert said(SAGEMAKER, class_errors=table(0.69, 2)) == {}


def test_sagemaker_unchanged_tensor_wants_three_saved_steps() -> None:
    still = at(table(1e-3), (slice(4, 6), 1), 0.7e-6)  # over 13 or 14 steps 0.98e-5
    assert said(SAGEMAKER, update_ratio=still) == {"UnchangedTensor": record().observed.steps[5]}
    assert said(SAGEMAKER, update_ratio=at(still, (4, 1), 0.8e-6)) == {}


def test_the_simple_group_of_sagemaker_has_three_of_its_rules() -> None:
    assert said(SIMPLE, gradient_mean=table(1e-8)) and not said(SIMPLE, dead=table(1.0, 2))


# -- UMLAUT ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "step", "beyond", "within"),
    [
        ("Last model layer has nonlinear activation", 1, {"output_is_probability": True}, {}),
        ("Input data exceeds typical limits", 1, {"inputs": {"min": -1.01, "max": 1.0}}, {}),
        ("Input data exceeds typical limits", 1, {"inputs": {"min": 0.0, "max": 1.01}}, {}),
        ("High dropout rate", 1, {"dropout": 0.51}, {}),
        ("Learning Rate is high", 10, {"learning_rates": np.full(N, 0.011)}, {"learning_rates": np.full(N, 0.0099)}),
        ("Learning Rate is low", 10, {"learning_rates": np.full(N, 0.9e-7)}, {"learning_rates": np.full(N, 1.1e-7)}),
        (
            "Learning Rate is low",
            60,
            {"learning_rates": at(RATES, slice(59, N), 0.0)},
            {"learning_rates": at(RATES, N - 1, 0.0)},
        ),
        ("NaN in loss", 30, {"losses": at(LOSSES, 25, np.nan)}, {"losses": at(LOSSES, 25, np.inf)}),
        (
            "Check validation accuracy",
            40,
            {"accuracies": np.full(M, 0.951), "batch_accuracies": np.full(N, 0.94)},
            {"accuracies": at(np.full(M, 0.949), 0, 1.0), "batch_accuracies": np.full(N, 0.94)},
        ),
        (
            "Check validation accuracy",
            40,
            {"accuracies": np.full(M, 0.751), "batch_accuracies": np.full(N, 0.7)},
            {"accuracies": np.full(M, 0.749), "batch_accuracies": np.full(N, 0.7)},
        ),
    ],
)
def test_umlaut(rule: str, step: int, beyond: dict[str, Any], within: dict[str, Any]) -> None:
    found = said(UMLAUT, **beyond)
    assert found[rule] == step and set(found) <= {rule, "Possible overfitting"}
    assert rule not in said(UMLAUT, **within)


def test_umlaut_overfitting() -> None:
    judged = record().log.validation_losses
    assert said(UMLAUT, validation_losses=at(judged, 5, judged[4] + 1e-6)) == {"Possible overfitting": 60}
    assert said(UMLAUT, validation_losses=at(judged, 5, judged[4])) == {}
    rising = np.linspace(1, 2, N)  # with the training loss: no overfitting
    assert said(UMLAUT, losses=rising, validation_losses=rising[LATE - 1]) == {}


# -- trainproof --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "step", "beyond", "within"),
    [
        ("TP-NAN", 30, {"losses": at(LOSSES, 25, np.nan)}, {}),
        ("TP-NAN-GRAD", 30, {"norms": at(np.ones(N), 29, np.inf)}, {"norms": at(np.ones(N), 28, np.inf)}),
        ("TP-ZERO-LOSS", N, {"losses": at(LOSSES, slice(70, N), 0.0)}, {"losses": at(LOSSES, slice(80, N), 0.0)}),
        (
            "TP-FLAT",
            N,
            {"losses": np.repeat(1 + 0.0009 * (-1.0) ** np.arange(M), 10)},
            {"losses": np.repeat(1 + 0.0011 * (-1.0) ** np.arange(M), 10)},
        ),
        (
            "TP-DIVERGE",
            N,
            {"losses": np.repeat([2.0] * 6 + [1.0] * 5 + [1.51], 10)},
            {"losses": np.repeat([2.0] * 6 + [1.0] * 5 + [1.49], 10)},
        ),
        (
            "TP-DEAD-RUN",
            N,
            {"losses": np.repeat([1.0] * 6 + [0.951] * 6, 10)},
            {"losses": np.repeat([1.0] * 6 + [0.949] * 6, 10)},
        ),
        (
            "TP-ZERO-GRAD",
            N,
            {"norms": np.zeros(N), "losses": np.repeat([1.0, 0.951] * 6, 10)},
            {"norms": np.zeros(N), "losses": np.repeat([1.0, 0.949] * 6, 10)},
        ),
        ("TP-GRAD-SPIKE", 50, {"norms": at(np.ones(N), 49, 10.1)}, {"norms": at(np.ones(N), 49, 9.9)}),
        ("TP-ZERO-LR", N, {"learning_rates": at(RATES, slice(99, N), 0.0)}, {"learning_rates": at(RATES, N - 1, 0.0)}),
        (
            "TP-OVERFIT",
            N,
            {"validation_losses": np.array([1.0] * 9 + [1.21] * 3)},
            {"validation_losses": np.array([1.0] * 9 + [1.19] * 3)},
        ),
        (
            "TP-OVERFIT",
            N,
            {"validation_losses": np.array([1.0] * 9 + [1.21] * 3)},
            {"validation_losses": np.array([1.01] * 9 + [1.0] + [1.21] * 2)},
        ),
    ],
)
def test_trainproof(rule: str, step: int, beyond: dict[str, Any], within: dict[str, Any]) -> None:
    assert said(TRAINPROOF, **beyond)[rule] == step
    assert rule not in said(TRAINPROOF, **within)


# -- the peers as such -------------------------------------------------------------------------------------------------


def test_verdicts_come_in_order_of_time_with_causes_and_every_rule_says_where_it_stands() -> None:
    verdicts = PEERS[SAGEMAKER](record(dead=table(1.0, 2), gradient_mean=at(table(1e-3), 4, 1e-9)))
    assert [verdict.rule for verdict in verdicts] == ["DeadRelu", "VanishingGradient"]
    assert verdicts[0] == Verdict("DeadRelu", 1, (Cause.SATURATED, Cause.RATE_TOO_HIGH))
    for peer in PEERS.values():
        assert isinstance(peer, Peer) and peer.source and all(": " in rule.source for rule in peer.rules)


def test_tuning_moves_all_thresholds_of_a_peer_to_where_they_tell_best() -> None:
    spikes = [12, 15, 18, 90, 100, 120]
    records = [record(norms=at(np.ones(N), 49, spike)) for spike in spikes]
    sick = [False] * 3 + [True] * 3
    peer = PEERS[TRAINPROOF]
    assert isinstance(peer, Peer)
    assert [bool(peer(each)) for each in records] == [True] * 6
    better = tuned(peer, records, sick)
    assert [bool(better(each)) for each in records] == sick and better.scale in SCALES and better.scale > 1
    assert "tuned" in better.name and replace(better, name=peer.name, scale=1.0) == peer


def test_a_run_that_broke_off_at_once_is_no_error_for_a_peer() -> None:
    nothing = TrainingLog(
        "a run", np.arange(1.0, 4.0), np.full(3, np.nan), np.ones(3), np.full(3, np.nan), batch_size=4
    )
    seen = replace(record().observed, batch_accuracies=np.zeros(3))
    for peer in PEERS.values():
        peer(RunRecord("task", "clean", 0.0, 0, nothing, seen, {}))


def test_a_trained_run_holds_what_peers_look_at_and_they_say_the_same_of_it_when_it_was_kept(tmp_path: Path) -> None:
    def make() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Dropout(0.6), nn.Linear(8, 2))
        nn.init.constant_(model[0].bias, -100.0)
        return model

    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    parts = [TensorExamples(x[i : i + 20], (x[i : i + 20, 0] > 0).long()) for i in (0, 20, 40)]
    run = train(Recipe("toy", make, *parts, classes=2, learning_rate=1e-3, steps=24, batch_size=10), 0)
    seen = run.observed
    assert (seen.dead == 1).all() and seen.dropout == 0.6 and (seen.input_variance > 0).all()
    assert not seen.gradient_norm[:, 0].any() and (seen.gradient_norm[:, 1] == 0).all()  # nothing comes through
    errors = seen.class_errors[np.isfinite(seen.class_errors).all(axis=1)]
    assert len(errors) and (errors.sum(axis=1) == 1).all()  # without inputs one class is right, the other wrong
    run.save(tmp_path / "run.npz")
    kept = RunRecord.load(tmp_path / "run.npz")
    said = {name: peer(run) for name, peer in PEERS.items()}
    assert {name: peer(kept) for name, peer in PEERS.items()} == said
    assert {verdict.rule for verdict in said[SAGEMAKER]} >= {"DeadRelu", "AllZero", "VanishingGradient"}
    assert "High dropout rate" in [verdict.rule for verdict in said[UMLAUT]]
