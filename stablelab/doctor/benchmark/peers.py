"""The peers that the doctor is measured against: which rules each has, where they stand, and which causes they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..findings import Cause
from . import peer_rules_of_epochs as epochs
from . import peer_rules_of_steps as steps
from .peer_rules_of_epochs import Look, Series
from .record import RunRecord


@dataclass(frozen=True)
class Verdict:
    """What a peer said of a run.

    Args:
        rule: that said it, by the peer's own name.
        step: the first at which it did.
        causes: what is then wrong, in the peer's favour, the likeliest first.
    """

    rule: str
    step: int
    causes: tuple[Cause, ...]


@dataclass(frozen=True)
class PeerRule:
    """A published rule.

    Args:
        name: the peer's own.
        look: the steps at which it looks, and how far past its threshold the run is there.
        causes: of ours that its name, its message or its repairs may be taken to say, the likeliest first.
        source: where its formula and its threshold stand.
    """

    name: str
    look: Look
    causes: tuple[Cause, ...]
    source: str


@lru_cache(maxsize=64)  # all peers are asked for one record after the other, and share rules
def _seen(look: Look, record: RunRecord) -> Series:
    return look(record)


@dataclass(frozen=True)
class Peer:
    """A tool with its rules; called with a record, it says what they say of the run, in order of time.

    Args:
        name: of the tool.
        rules: in the tool's own order of importance, which decides within a step.
        source: what its rules were taken from.
        stops: whether it ends the run with its first verdict.
        scale: its rules fire this many times beyond their published thresholds: 1 for the tool as it is.
    """

    name: str
    rules: tuple[PeerRule, ...]
    source: str
    stops: bool = False
    scale: float = 1.0

    def __call__(self, record: RunRecord) -> tuple[Verdict, ...]:
        found = []
        for rule in self.rules:
            when, excess = _seen(rule.look, record)
            fired = np.flatnonzero(excess > self.scale)
            if len(fired):
                found.append(Verdict(rule.name, int(when[fired[0]]), rule.causes))
        found.sort(key=lambda verdict: verdict.step)
        return tuple(found[:1] if self.stops else found)


def _rules(source: str, *rows: tuple[str, Look, tuple[Cause, ...], str]) -> tuple[PeerRule, ...]:
    return tuple(PeerRule(name, look, causes, f"{source}: {where}") for name, look, causes, where in rows)


_MONITOR = "github.com/shiningrain/AUTOTRAINER, AutoTrainer/utils/monitor.py, and default_param of utils.py"
AUTO_TRAINER = Peer(
    "AutoTrainer",
    _rules(
        _MONITOR,
        (
            "explode",
            epochs.exploding,
            (Cause.RATE_TOO_HIGH, Cause.OVERFLOW, Cause.BROKEN_HEAD, Cause.SUMMED_LOSS, Cause.SCALE),
            "loss_issue, not finite or a validation loss of 1e5",
        ),
        (
            "dying ReLU",
            epochs.dying_relu,
            (Cause.SATURATED, Cause.RATE_TOO_HIGH, Cause.NO_GRADIENT),
            "gradient_issue, gamma = 0.7",
        ),
        (
            "exploding gradient",
            epochs.exploding_gradient,
            (Cause.RATE_TOO_HIGH, Cause.BROKEN_HEAD, Cause.SUMMED_LOSS, Cause.SCALE),
            "gradient_issue, beta_3 = 70",
        ),
        (
            "vanishing gradient",
            epochs.vanishing,
            (Cause.SATURATED, Cause.NO_GRADIENT, Cause.UNDERFLOW),
            "gradient_issue, beta_1 = 1e-3, beta_2 = 1e-4",
        ),
        (
            "slow convergence",
            epochs.slow_convergence,
            (Cause.RATE_TOO_LOW, Cause.SCHEDULE_OVER, Cause.CLIPPED_AWAY, Cause.FROZEN),
            "loss_issue, delta = 0.01",
        ),
        (
            "oscillating loss",
            epochs.oscillating,
            (Cause.RATE_TOO_HIGH, Cause.SMALL_BATCHES, Cause.BAD_BATCH),
            "ol_judge, zeta = 0.03, eta = 0.2",
        ),
    ),
    "Zhang, Zhai, Ma & Shen 2021, AUTOTRAINER: an automatic DNN training problem detection and repair system, ICSE",
    stops=True,
)

_MANUAL = "Amazon SageMaker developer guide, List of Debugger built-in rules"
_SIMPLE = _rules(
    _MANUAL,
    (
        "VanishingGradient",
        steps.vanishing_gradient,
        (Cause.SATURATED, Cause.NO_GRADIENT, Cause.UNDERFLOW),
        "threshold 1e-7",
    ),
    (
        "LossNotDecreasing",
        steps.loss_not_decreasing,
        (Cause.RATE_TOO_HIGH, Cause.RATE_TOO_LOW, Cause.SCHEDULE_OVER, Cause.WRONG_LABELS),
        "num_steps 10",
    ),
    (
        "WeightUpdateRatio, too large",
        steps.large_update_ratio,
        (Cause.RATE_TOO_HIGH, Cause.NO_WARMUP, Cause.NO_ZERO_GRAD),
        "large_threshold 10",
    ),
    (
        "WeightUpdateRatio, too small",
        steps.small_update_ratio,
        (Cause.FROZEN, Cause.MISSING_FROM_OPTIMIZER, Cause.RATE_TOO_LOW, Cause.SCHEDULE_OVER),
        "small_threshold 1e-8",
    ),
)
SAGEMAKER = Peer(
    "SageMaker Debugger",
    _SIMPLE
    + _rules(
        _MANUAL,
        (
            "ExplodingTensor",
            steps.exploding_tensor,
            (Cause.OVERFLOW, Cause.RATE_TOO_HIGH, Cause.BROKEN_HEAD),
            "not finite",
        ),
        ("Overfit", steps.overfit, (Cause.OVERFITTING, Cause.LABEL_NOISE), "ratio_threshold 0.1, patience 1"),
        (
            "Overtraining",
            steps.overtraining,
            (Cause.OVERFITTING, Cause.SCHEDULE_OVER),
            "patience_train 5, patience_validation 10, delta 0.1",
        ),
        (
            "ClassImbalance",
            steps.class_imbalance,
            (Cause.IMBALANCE,),
            "threshold_imbalance 10, threshold_misprediction 0.7, samples 500",
        ),
        (
            "DeadRelu",
            steps.dead_relu,
            (Cause.SATURATED, Cause.RATE_TOO_HIGH),
            "threshold_inactivity 1, threshold_layer 50",
        ),
        (
            "PoorWeightInitialization",
            steps.poor_weight_initialization,
            (Cause.BROKEN_HEAD, Cause.SCALE, Cause.SATURATED),
            "threshold 10, distribution_range 0.001, steps 10",
        ),
        (
            "AllZero",
            steps.all_zero,
            (Cause.NO_GRADIENT, Cause.FROZEN, Cause.WEIGHT_DECAY, Cause.SATURATED),
            "threshold 100, of weights and gradients",
        ),
        (
            "UnchangedTensor",
            steps.unchanged_tensor,
            (Cause.FROZEN, Cause.MISSING_FROM_OPTIMIZER, Cause.NO_GRADIENT, Cause.SCHEDULE_OVER),
            "num_steps 3, rtol 1e-5, of weights",
        ),
        ("CheckInputImages", steps.check_input_images, (Cause.SCALE,), "threshold_mean 0.2"),
        (
            "NLPSequenceRatio",
            steps.nlp_sequence_ratio,
            (Cause.TOKENIZER, Cause.MASK, Cause.DATA_WITHOUT_INFORMATION),
            "token_values 0, token_thresholds_percent 50",
        ),
    ),
    _MANUAL,
)
SAGEMAKER_SIMPLE = Peer(
    "SageMaker Debugger, its simple group",
    _SIMPLE,
    "github.com/awslabs/sagemaker-debugger-rulesconfig, rule_config_jsons/ruleGroups.json: PYTORCH, SIMPLE",
)

_HEURISTICS = "github.com/BerkeleyHCI/umlaut, umlaut/heuristics.py at e9d9998"
UMLAUT = Peer(
    "UMLAUT",
    _rules(
        _HEURISTICS,
        (
            "Last model layer has nonlinear activation",
            epochs.final_layer_activation,
            (Cause.SOFTMAX_TWICE, Cause.BROKEN_HEAD),
            "check_no_activation_last_layer",
        ),
        ("Input data exceeds typical limits", epochs.input_not_normalized, (Cause.SCALE,), "-1 to 1"),
        (
            "NaN in loss",
            epochs.nan_loss,
            (Cause.RATE_TOO_HIGH, Cause.OVERFLOW),
            "check_nan_in_loss, as at 0773367, with the message of umserver/errors.py",
        ),
        ("Learning Rate is high", epochs.learning_rate_high, (Cause.RATE_TOO_HIGH,), "above 0.01"),
        ("Learning Rate is low", epochs.learning_rate_low, (Cause.RATE_TOO_LOW, Cause.SCHEDULE_OVER), "below 1e-7"),
        (
            "Possible overfitting",
            epochs.possible_overfitting,
            (Cause.OVERFITTING, Cause.LABEL_NOISE),
            "check_overfitting",
        ),
        (
            "Check validation accuracy",
            epochs.high_validation_accuracy,
            (Cause.DUPLICATES, Cause.WRONG_LABELS, Cause.MODES),
            "check_high_validation_acc, 0.95, or 0.05 above that of training, from epoch 3 on",
        ),
        ("High dropout rate", epochs.high_dropout, (), "check_dropout_p_less_than_half, above 0.5"),
    ),
    "Schoop, Huang & Hartmann 2021, UMLAUT: debugging deep learning programs using program structure and model "
    "behavior, CHI, doi 10.1145/3411764.3445538",
)

_EPOCH = "trainproof 0.22.0 of PyPI, trainproof/epoch.py, thresholds of rules.py"
TRAINPROOF = Peer(
    "trainproof",
    _rules(
        _EPOCH,
        (
            "TP-NAN",
            steps.nan_in_loss,
            (Cause.OVERFLOW, Cause.RATE_TOO_HIGH, Cause.BAD_BATCH),
            "check_nan",
        ),
        ("TP-NAN-GRAD", steps.nan_in_gradient, (Cause.OVERFLOW, Cause.RATE_TOO_HIGH), "check_nan_grad"),
        (
            "TP-ZERO-LOSS",
            steps.zero_loss,
            (Cause.OVERFLOW, Cause.DATA_WITHOUT_INFORMATION),
            "check_zero_loss, MIN_ZERO_TAIL_FOR_ONSET = 5",
        ),
        (
            "TP-FLAT",
            steps.flat,
            (Cause.NO_GRADIENT, Cause.FROZEN, Cause.RATE_TOO_LOW),
            "check_flat_loss, MIN_LOSS_VARIATION = 0.001",
        ),
        (
            "TP-DIVERGE",
            steps.diverging,
            (Cause.RATE_TOO_HIGH, Cause.NO_ZERO_GRAD, Cause.NO_WARMUP),
            "check_divergence, MAX_LOSS_DIVERGENCE_RATIO = 1.5",
        ),
        (
            "TP-DEAD-RUN",
            steps.dead_run,
            (Cause.WRONG_LABELS, Cause.RATE_TOO_LOW, Cause.DATA_WITHOUT_INFORMATION, Cause.SCHEDULE_OVER),
            "check_dead_run, MIN_LOSS_IMPROVEMENT = 0.05, LOSS_IMPROVEMENT_WINDOW = 5",
        ),
        ("TP-ZERO-GRAD", steps.zero_gradient, (Cause.NO_GRADIENT, Cause.FROZEN), "check_zero_grad"),
        (
            "TP-ZERO-LR",
            steps.zero_learning_rate,
            (Cause.SCHEDULE_OVER, Cause.RATE_TOO_LOW),
            "check_lr, MAX_ZERO_LR_FRACTION = 0.1",
        ),
        (
            "TP-GRAD-SPIKE",
            steps.gradient_spike,
            (Cause.BAD_BATCH, Cause.RATE_TOO_HIGH),
            "check_grad_spike, MAX_GRAD_NORM_SPIKE_RATIO = 10",
        ),
        (
            "TP-OVERFIT",
            steps.overfitting,
            (Cause.OVERFITTING, Cause.LABEL_NOISE),
            "check_overfit, OVERFIT_RATIO = 1.2, OVERFIT_MIN_EVALS = 4",
        ),
    ),
    "github.com/Mormolykos/trainproof; the rules of its command `epoch`, MIT",
)

PUBLISHED: tuple[Peer, ...] = (AUTO_TRAINER, SAGEMAKER, SAGEMAKER_SIMPLE, UMLAUT, TRAINPROOF)
TUNED: tuple[float, ...] = (2**-4, 2**0.5, 2**-3.5, 2**-0.5, 2**-0.5)  # what `tuned` finds on the kept development runs
PEERS: dict[str, Callable[[RunRecord], tuple[Verdict, ...]]] = {
    peer.name: peer
    for each, scale in zip(PUBLISHED, TUNED, strict=True)
    for peer in (each, replace(each, name=f"{each.name}, tuned", scale=scale))
}
LEFT_OUT: dict[str, str] = {  # what of the peers is not run, and why
    "AutoTrainer, improper data, activation and loss of its later version": (
        "they look at the outputs of every layer, which the records do not hold, and at the names of Keras's "
        "losses and activations"
    ),
    "SageMaker Debugger, SaturatedActivation": (
        "no model has a tanh or a sigmoid as a module: those in a GRU cannot be seen"
    ),
    "SageMaker Debugger, TensorVariance": "it has no thresholds but those that its user sets",
    "SageMaker Debugger, Confusion": "as documented, each class has to hold 0.9 of all right answers: always broken",
    "SageMaker Debugger, SimilarAcrossRuns and StalledTrainingRule": "they look at other runs, and at the clock",
    "SageMaker Debugger, TreeDepth and FeatureImportanceOverweight": "they are for XGBoost",
    "UMLAUT, input shape, input type, missing activation, missing softmax": "they are checks of Keras's layers",
    "trainproof, step time, data loader and GPU": "the records hold no times",
    "trainproof, preflight and objective": (
        "they are about texts to be generated: a tokenizer of BERT, which has no end of sequence, always fails them"
    ),
    "DEFault++ (defaultplusplus 0.4.1 of PyPI)": (
        "it is for transformers of Hugging Face: one of four tasks, none of the test half. On that one its "
        "extractor stops with an error at BERT's layers unless its capture of them is taken off; 706 of the 2108 "
        "features that its model wants are there then, and it called a clean run and one with a frozen body "
        "faulty alike, with a probability of 1.00 and the same cause (variant, wrong_variant)"
    ),
}
SCALES = tuple(2.0 ** (k / 2) for k in range(-8, 21))  # 1/16 to 1024


def tuned(peer: Peer, records: Sequence[RunRecord], sick: Sequence[bool]) -> Peer:
    """The same tool with all its thresholds moved by the one factor that gives the highest F1 on these runs.

    What knows no degree (not finite, exactly 0) cannot be moved. To be called with the development tasks only.

    Args:
        peer: as published.
        records: of the development tasks.
        sick: which of them have a fault that hurts.

    Returns:
        The peer with ``scale`` set, and with a name that says so; of scales that do alike that nearest to 1.
    """

    def furthest(record: RunRecord) -> float:
        return max(float(np.nanmax(_seen(rule.look, record)[1], initial=-np.inf)) for rule in peer.rules)

    most = [furthest(record) for record in records]

    def f1(scale: float) -> float:
        said = [each > scale for each in most]
        right = sum(a and b for a, b in zip(said, sick, strict=True))
        return 2 * right / max(1, sum(said) + sum(sick))

    best = max(SCALES, key=lambda scale: (f1(scale), -abs(np.log(scale))))
    return replace(peer, name=f"{peer.name}, tuned", scale=best)
