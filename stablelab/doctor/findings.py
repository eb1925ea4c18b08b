"""What the doctor says: findings with their evidence, what could not be checked, and the report that holds both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from .._formatting import html_from


class Cause(StrEnum):
    """What may be wrong with a run; the value is how a reader is told."""

    RATE_TOO_HIGH = "the learning rate is too high"
    RATE_TOO_LOW = "the learning rate is too low"
    NO_WARMUP = "Adam begins without bias correction and without warm-up"
    SCHEDULE_OVER = "the schedule is over before the run is"
    SCHEDULE_TOO_LONG = "the schedule was made for a longer run"
    NO_ZERO_GRAD = "the gradients are not set to zero between steps: optimizer.zero_grad() is missing"
    CLIPPED_AWAY = "the clip threshold is far below the norm of the gradients"
    SUMMED_LOSS = "the loss is summed over the batch, not averaged"
    SOFTMAX_TWICE = "softmax is applied twice: the model returns probabilities, and the loss takes them for logits"
    BROKEN_HEAD = "the head's first weights are far too large, or its inputs are not normalized"
    KNOWS_ALREADY = "the model knew the task already: it was trained before, or the run was resumed"
    NOT_SHUFFLED = "the data are not shuffled: each epoch shows the batches in the same order"
    NO_GRADIENT = "no gradient reaches the weights: they are frozen, or the graph is cut"
    SATURATED = "units are dead or saturated, so that the gradient is lost on its way back"
    WRONG_LABELS = "inputs and labels do not belong together"
    FROZEN = "what should train is frozen, or missing from the optimizer"
    BAD_BATCH = "a few examples are corrupt, or labelled wrong"
    OVERFITTING = "the model learns its training examples by heart"
    NOT_LONG_ENOUGH = "it has not trained for long enough"
    OVERFLOW = "numbers overflow: half precision without a loss scale, a logarithm of 0, or a division by 0"
    DATA_WITHOUT_INFORMATION = "the inputs say nothing on the labels: wrong columns, wrong tokenizer, all cut away"
    CONFIDENCE = "the model grows more certain, of its few mistakes too"
    LABEL_NOISE = "part of the labels are wrong"
    MISSING_FROM_OPTIMIZER = "parameters are missing from the optimizer: it was built before the model was changed"
    MODES = "training and evaluation mode are mixed up: model.train() or model.eval() is missing"
    IMBALANCE = "the classes are far from balanced, and the model gives the frequent one"
    SCALE = "the inputs are not normalized"
    TOKENIZER = "the tokenizer is not that of the model, or the texts are cut off"
    MASK = "the attention mask is ignored, or inverted"
    DUPLICATES = "the same examples are in the training and in the validation data"
    BATCH_LEAK = "an example's output depends on the other examples of its batch"
    WEIGHT_DECAY = "the weight decay pulls the weights to zero"
    UNDERFLOW = "gradients are too small for half precision: a loss scale is missing"
    SMALL_BATCHES = "batch norm takes its statistics over too few examples"
    RESUMED = "the run was resumed without the state of its optimizer"
    LABEL_SMOOTHING = "the targets are smoothed, or the loss has a term that does not fall to zero"


CONFIDENCES = ("certain", "likely", "possible")


@dataclass(frozen=True)
class Finding:
    """One thing that was seen.

    Args:
        rule: the function that saw it.
        symptom: in a few words.
        evidence: the numbers and steps that it was seen in, in a sentence.
        numbers: the same by name.
        steps: the first and the last step that it concerns.
        causes: the likely ones, the likeliest first.
        cure: what to do about the first of them.
        confidence: ``certain`` (it follows from the numbers), ``likely`` or ``possible``.
        source: of the rule, and of its threshold.
        alarm: whether something is wrong; else it is said for information.
        changes: where the cure is a setting, the new values by name, computed from those of the run; see ``cures``.
            Empty where it is in the code, or the settings are not known.
    """

    rule: str
    symptom: str
    evidence: str
    numbers: Mapping[str, float]
    steps: tuple[int, int]
    causes: tuple[Cause, ...]
    cure: str
    confidence: str
    source: str
    alarm: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "causes": [str(cause) for cause in self.causes]}

    def __str__(self) -> str:
        mark = "!" if self.alarm else "·"
        lines = [f"{mark} {self.symptom} ({self.confidence})", f"    {self.evidence}"]
        if self.causes:
            lines.append(f"    likely: {'; '.join(f'{i}. {cause}' for i, cause in enumerate(self.causes, 1))}")
        if self.cure:
            lines.append(f"    cure: {self.cure}")
        return "\n".join([*lines, f"    source: {self.source}"])


@dataclass(frozen=True)
class NotChecked:
    """A question that what was examined does not answer.

    Args:
        rule: that it would take.
        question: what was to be found out.
        reason: why it could not be.
    """

    rule: str
    question: str
    reason: str

    def __str__(self) -> str:
        return f"{self.question}: {self.reason}"


@dataclass(frozen=True)
class Report:
    """What ``lab.examine`` found, alarms first; it prints as text and shows as HTML.

    Args:
        source: what was examined, in a few words.
        findings: alarms, the most telling first, then what is said for information.
        not_checked: the questions that what was examined does not answer.
        passed: the questions that it answers with no.
    """

    source: str
    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    passed: tuple[str, ...] = field(default=())

    @cached_property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that say that something is wrong."""
        return tuple(each for each in self.findings if each.alarm)

    @cached_property
    def unknown(self) -> dict[str, list[str]]:
        """The questions of each reason why they could not be answered."""
        found: dict[str, list[str]] = {}
        for each in self.not_checked:
            found.setdefault(each.reason, []).append(each.question)
        return found

    @cached_property
    def headline(self) -> str:
        """How the run is, in one line."""
        questions = len(self.passed) + len({each.rule for each in self.findings})
        if self.alarms:
            more = len(self.alarms) - 1
            return f"{self.source}: {self.alarms[0].symptom}" + (f", and {more} more" if more else "")
        if not questions:
            return f"{self.source}: nothing could be checked"
        return f"{self.source}: nothing wrong was found by {questions} rule{'s' if questions > 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "source": self.source,
            "findings": [each.to_dict() for each in self.findings],
            "not_checked": [asdict(each) for each in self.not_checked],
            "passed": list(self.passed),
        }

    def __str__(self) -> str:
        parts = [self.headline, *map(str, self.findings)]
        if self.passed:
            parts.append("no sign of: " + ", ".join(self.passed))
        if self.unknown:
            lines = (f"  - {', '.join(questions)}: {reason}" for reason, questions in self.unknown.items())
            parts.append("\n".join(["could not be checked:", *lines]))
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_from(Path(__file__).with_name("report.html.j2"), report=self)
