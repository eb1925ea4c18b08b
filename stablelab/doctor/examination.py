"""``lab.examine``: let every rule look at what a run left behind, every probe at model and data; say what was found."""

# No `from __future__ import annotations` here: Shift-Tab would show every type in quotes.

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from .._validation import whole
from ..training.protocols import Loss
from ..training.records import FINAL
from ..training.run import Run
from .cures import changes_for
from .data_rules import not_shuffled, odd_batch, overfitting
from .findings import CONFIDENCES, Finding, NotChecked, Report
from .gradient_rules import clipped_away, growing_gradient, schedule, vanishing_gradient, warm_up
from .judging import Rule, UnknownError
from .probes import PROBES, measure_all
from .progress_rules import diverged, failed_run, no_progress, not_finite, runaway, spikes
from .reading import TAKES, read
from .setup import TrainingSetup
from .start_rules import first_loss, softmax_twice, summed_loss
from .subjects import TRAINING, setup_of, setup_of_run, setup_of_trainer
from .training_log import TrainingLog

# What says most of the cause comes first: the same run may show several symptoms.
RULES = (
    Rule(not_finite, "numbers that are not finite"),
    Rule(summed_loss, "a loss that is summed over the batch"),
    Rule(first_loss, "a first loss that is not that of guessing"),
    Rule(softmax_twice, "a softmax applied twice"),
    Rule(clipped_away, "clipping that leaves nothing of a step"),
    Rule(schedule, "a learning rate off its plan"),
    Rule(vanishing_gradient, "a gradient that falls to nothing"),
    Rule(not_shuffled, "data that are not shuffled"),
    Rule(odd_batch, "a single batch that stands out"),
    Rule(growing_gradient, "a gradient that grows"),
    Rule(warm_up, "Adam without bias correction and warm-up"),
    Rule(runaway, "a loss thrown far above its start"),
    Rule(diverged, "a loss that comes up again"),
    Rule(failed_run, "a loss that stays at guessing"),
    Rule(no_progress, "a loss that hardly falls"),
    Rule(overfitting, "overfitting"),
    Rule(spikes, "jumps of the loss"),
)


NO_LOG = "there is no log: lab.examine(log, model=..., task=...) examines both"
NO_MODEL = "model and data are not at hand: lab.examine(..., model=..., task=..., optimizer=...) hands them over"


def examine(
    what: Any = None,
    *,
    model: torch.nn.Module | None = None,
    task: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss_function: Loss | None = None,
    tokenizer: Any = None,
    classes: int | None = None,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    loss: str | None = None,
) -> Report:
    """What is wrong with this run? Looks at its log, at its model and its data; says what it saw and what that means.

    Such as ``print(lab.examine(run))``; in a notebook the report shows itself. Cross-entropy over classes is assumed
    where C is known; every report ends with what could not be checked, and why. Model, optimizer, data and random
    numbers are left as they were, bit for bit; it takes some tens of training steps' time.

    Args:
        what: a run or a watched run, live or over; its history; a ``transformers.Trainer`` that has trained; a
            ``pandas.DataFrame``; or a path: a table with a line per step (.csv, .tsv), a ``trainer_state.json`` or the
            folder of a checkpoint, a watched run that was saved, a folder of TensorBoard. None for no log. Of a run of
            ours that is paused or over, and of a Trainer, model and data are examined too.
        model: of any other loop, as it left it.
        task: what it learns from: a task such as ``lab.digits()``, or a pair (training set, validation set) of data
            sets with a length, whose items are (inputs, label) or dicts with ``labels``.
        optimizer: as the loop used it; without it nothing is said of its steps.
        loss_function: mean loss of (logits, targets); cross-entropy if not given.
        tokenizer: of the texts, where there is one.
        classes: the number of classes C, where the log does not hold it: what guessing costs is ln C.
        batch_size: examples per step, where the log does not hold it.
        steps_per_epoch: steps of one pass over the data, where the log does not hold it.
        loss: the column or tag of the training loss, where that cannot be told by its name.

    Returns:
        A report: ``.findings`` with symptom, evidence, likely causes, cure, confidence and source of each; ``.alarms``,
        those of them that say that something is wrong; ``.not_checked``.

    Raises:
        ValueError: in one line, where there is no log in it, or no model and data in what was handed over.
    """
    if (model is None) != (task is None):
        one, other = ("model", "task") if task is None else ("task", "model")
        raise ValueError(f"{one} is given without {other}: a model is examined on its data, so that it takes both")
    if what is None and model is None:
        raise ValueError(f"{TAKES}; or model=... and task=... without a log")
    if model is None and (optimizer is not None or loss_function is not None):
        raise ValueError("optimizer and loss_function belong to a model: give model=... and task=... with them")
    given: dict[str, Any] = {}
    if classes is not None:
        given["classes"] = whole("classes", classes, at_least=2)
    if batch_size is not None:
        given["batch_size"] = whole("batch_size", batch_size, at_least=1)
    if steps_per_epoch is not None:
        given["steps_per_epoch"] = whole("steps_per_epoch", steps_per_epoch, at_least=1)
    log = None if what is None else read(what, loss)
    if log is not None:
        known = log.classes == given.get("classes", log.classes)
        log = replace(log, **given, label_entropy=log.label_entropy if known else None)
    if model is not None:
        setup = setup_of(
            model,
            task,
            optimizer,
            loss_function=loss_function,
            batch_size=given.get("batch_size"),
            classes=given.get("classes"),
            tokenizer=tokenizer,
            log=log,
        )
        if log is not None and log.classes is None and loss_function is None:
            log = replace(log, classes=setup.classes)
        return _both(log, lambda: setup)
    return _both(log, lambda: _at_hand(what, log))


def examine_log(log: TrainingLog, settled: Collection[str] = ()) -> Report:
    """Let every rule look at a log, but for those that are ``settled`` by a probe."""
    if not len(log):
        raise ValueError(f"{log.source} is empty: it holds no step yet")
    log = log.thinned()
    findings: list[Finding] = []
    not_checked = [NotChecked("reading", "the log itself", remark) for remark in log.remarks]
    passed = []
    for rule in RULES:
        if rule.name in settled:
            continue
        try:
            found = rule.function(log)
        except UnknownError as reason:
            not_checked.append(NotChecked(rule.name, rule.looks_for, str(reason)))
            continue
        if found is None:
            passed.append(rule.looks_for)
        else:
            findings.append(replace(found, changes=changes_for(found, log.settings)))
            if rule.function is summed_loss and log.batch_size:
                log = replace(log, losses=log.losses / log.batch_size)  # what it would be for the rules that follow
    return Report(log.source, _in_order(findings), tuple(not_checked), tuple(passed))


def examine_setup(setup: TrainingSetup) -> Report:
    """Let every probe look at a model and its data."""
    step = int(setup.log.steps[-1]) if setup.log is not None and len(setup.log) else 0
    return judge_measured(measure_all(setup), f"{type(setup.model).__name__} on {len(setup.train)} examples", step)


def judge_measured(measured: Mapping[str, Mapping[str, float] | str], source: str, step: int) -> Report:
    """Let every probe judge what was measured for it.

    Args:
        measured: numbers by the name of the probe, or the reason why there are none, as ``measure_all`` returns them.
        source: what was measured, in a few words.
        step: of the run.
    """
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    passed = []
    for probe in PROBES:
        try:
            numbers = measured.get(probe.name, "it was not measured")
            if isinstance(numbers, str):
                raise UnknownError(numbers)
            found = probe.judge(numbers)
        except UnknownError as reason:
            not_checked.append(NotChecked(probe.name, probe.looks_for, str(reason)))
            continue
        if found is None:
            passed.append(probe.looks_for)
        else:
            findings.append(replace(found, steps=(step, step)))
    return Report(source, _in_order(findings), tuple(not_checked), tuple(passed))


def _both(log: TrainingLog | None, setup: Callable[[], TrainingSetup]) -> Report:
    """The report on a log and the one on model and data as one, the likeliest first."""
    try:
        by_probes = examine_setup(setup())
    except UnknownError as reason:
        unknown = tuple(NotChecked(each.name, each.looks_for, str(reason)) for each in PROBES)
        by_probes = Report("", (), unknown, ())
    return joined(log, by_probes)


SETTLES = {  # rule -> the probe that knows better
    "softmax_twice": "second_softmax",
    "summed_loss": "sum_of_losses",
    "overfitting": "by_heart",
}


def joined(log: TrainingLog | None, by_probes: Report) -> Report:
    """What rules say of a log and probes of model and data as one report, the likeliest first.

    Where a probe has measured what a rule only infers, and found nothing, the rule is not asked.
    """
    cleared = {probe.name for probe in PROBES if probe.looks_for in by_probes.passed}
    if log is None:
        by_rules = Report("", (), tuple(NotChecked(each.name, each.looks_for, NO_LOG) for each in RULES), ())
    else:
        by_rules = examine_log(log, [rule for rule, probe in SETTLES.items() if probe in cleared])
    return Report(
        by_rules.source or by_probes.source,
        _in_order((*by_probes.findings, *by_rules.findings)),
        (*by_rules.not_checked, *by_probes.not_checked),
        (*by_rules.passed, *by_probes.passed),
    )


def _at_hand(what: Any, log: TrainingLog | None) -> TrainingSetup:
    """Model and data of a run of ours, or of a Trainer; raises UnknownError where there are none."""
    if isinstance(what, Run):
        return setup_of_run(what, log)
    trainer = getattr(what, "trainer", what)
    if ("transformers", "Trainer") in {
        (kind.__module__.split(".")[0], kind.__name__) for kind in type(trainer).__mro__
    }:
        if trainer is not what and what.state not in FINAL and what.state != "paused":
            raise UnknownError(TRAINING)
        return setup_of_trainer(trainer, log)
    raise UnknownError(NO_MODEL)


_PROBES = {each.name for each in PROBES}


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Alarms first. What a probe has seen for certain names its cause; then what the log shows; then what is likely."""

    def urgency(finding: Finding) -> tuple[bool, int]:
        doubt = CONFIDENCES.index(finding.confidence)
        if not finding.alarm:
            return True, 0
        if finding.rule in _PROBES:
            return False, (0, 2, 3)[doubt]
        return False, (1, 1, 3)[doubt]

    return tuple(sorted(findings, key=urgency))
