"""``lab.examine``: read what a run left behind, let every rule look at it, and say what was found."""

# No `from __future__ import annotations` here: Shift-Tab would show every type in quotes.

from dataclasses import replace
from typing import Any

from .._validation import whole
from .cures import changes_for
from .data_rules import not_shuffled, overfitting
from .findings import CONFIDENCES, Finding, NotChecked, Report
from .gradient_rules import clipped_away, growing_gradient, schedule, vanishing_gradient, warm_up
from .judging import Rule, UnknownError
from .progress_rules import diverged, failed_run, no_progress, not_finite, runaway, spikes
from .reading import read
from .start_rules import first_loss, softmax_twice, summed_loss
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
    Rule(growing_gradient, "a gradient that grows"),
    Rule(warm_up, "Adam without bias correction and warm-up"),
    Rule(runaway, "a loss thrown far above its start"),
    Rule(diverged, "a loss that comes up again"),
    Rule(failed_run, "a loss that stays at guessing"),
    Rule(no_progress, "a loss that hardly falls"),
    Rule(overfitting, "overfitting"),
    Rule(spikes, "jumps of the loss"),
)


def examine(
    what: Any,
    *,
    classes: int | None = None,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    loss: str | None = None,
) -> Report:
    """What is wrong with this run? Looks at its log, and says with numbers and steps what it saw and what that means.

    Such as ``print(lab.examine(run))``; in a notebook the report shows itself. Cross-entropy over classes is assumed
    where C is known; every report ends with what could not be checked, and why.

    Args:
        what: a run or a watched run, live or over; its history; a ``transformers.Trainer`` that has trained; a
            ``pandas.DataFrame``; or a path: a table with a line per step (.csv, .tsv), a ``trainer_state.json`` or the
            folder of a checkpoint, a watched run that was saved, a folder of TensorBoard.
        classes: the number of classes C, where the log does not hold it: what guessing costs is ln C.
        batch_size: examples per step, where the log does not hold it.
        steps_per_epoch: steps of one pass over the data, where the log does not hold it.
        loss: the column or tag of the training loss, where that cannot be told by its name.

    Returns:
        A report: ``.findings`` with symptom, evidence, likely causes, cure, confidence and source of each; ``.alarms``,
        those of them that say that something is wrong; ``.not_checked``.

    Raises:
        ValueError: in one line, where there is no log in it.
    """
    log = read(what, loss)
    given: dict[str, Any] = {}
    if classes is not None:
        given["classes"] = whole("classes", classes, at_least=2)
        if log.classes != given["classes"]:
            given["label_entropy"] = None
    if batch_size is not None:
        given["batch_size"] = whole("batch_size", batch_size, at_least=1)
    if steps_per_epoch is not None:
        given["steps_per_epoch"] = whole("steps_per_epoch", steps_per_epoch, at_least=1)
    return examine_log(replace(log, **given))


def examine_log(log: TrainingLog) -> Report:
    """Let every rule look at a log."""
    if not len(log):
        raise ValueError(f"{log.source} is empty: it holds no step yet")
    log = log.thinned()
    findings: list[Finding] = []
    not_checked = [NotChecked("reading", "the log itself", remark) for remark in log.remarks]
    passed = []
    for rule in RULES:
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
    return Report(log.source, tuple(sorted(findings, key=_urgency)), tuple(not_checked), tuple(passed))


def _urgency(finding: Finding) -> tuple[bool, int]:
    return not finding.alarm, CONFIDENCES.index(finding.confidence) // 2 if finding.alarm else 0
