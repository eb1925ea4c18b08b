"""How good the doctor and its peers are on kept runs: all rules and probes judge anew, nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..examination import examine_log, joined, judge_measured
from ..findings import Cause, Report
from ..training_log import TrainingLog
from .faults import FAULTS, fault
from .healthy import HEALTHY
from .peers import PEERS
from .record import RunRecord

if TYPE_CHECKING:
    import pandas

SIGNIFICANT = 0.05
LEARNT = 0.85  # of what the clean runs are above guessing, for a healthy variant to count as healthy
PREFIXES = 30  # lengths of a log at which the doctor is asked, to see when it first says something
DOCTOR, BY_LOG = "doctor", "doctor, log only"
_FAULTS = {each.name for each in FAULTS}


@dataclass(frozen=True)
class Opinion:
    """What an examiner says of a run.

    Args:
        causes: the causes it names in its alarms, the likeliest first, each once; empty where it is not alarmed.
        alarms: the rules that are alarmed.
        step: the first at which it says so, as far as the log tells; NaN where it does not.
        unanswered: share of its questions that it does not answer.
    """

    causes: tuple[Cause, ...] = ()
    alarms: tuple[str, ...] = ()
    step: float = math.nan
    unanswered: float = 0.0


Examiner: TypeAlias = Callable[[RunRecord], Opinion]


# -- who is asked ------------------------------------------------------------------------------------------------------


def examined(record: RunRecord, probes: bool = True) -> Report:
    """The doctor's report on a record: its log, and with ``probes`` what was measured at its end."""
    if not probes:
        return examine_log(record.log)
    return joined(record.log, judge_measured(record.probes, record.log.source, int(record.log.steps[-1])))


def prefix(log: TrainingLog, n: int) -> TrainingLog:
    """A log as it was after n steps."""
    last = log.steps[n - 1]
    judged = log.validation_steps <= last
    return replace(
        log,
        over=n == len(log),
        not_finite=log.not_finite if log.not_finite is not None and log.not_finite <= last else None,
        **{name: getattr(log, name)[:n] for name in ("steps", "losses", "learning_rates", "norms", "max_norms")},
        **{name: getattr(log, name)[judged] for name in ("validation_steps", "validation_losses", "accuracies")},
    )


@lru_cache(maxsize=1)  # asked for twice in a row: with and without what the probes measured
def first_alarm(log: TrainingLog) -> float:
    """The first of some thirty lengths of the log at which a rule is alarmed, as a step; NaN where none is."""
    lengths = np.unique(np.linspace(0, len(log), PREFIXES + 1).round().astype(int))[1:]
    for n in lengths.tolist():
        if examine_log(prefix(log, n)).alarms:
            return float(log.steps[n - 1])
    return math.nan


def _doctor(record: RunRecord, probes: bool, delays: bool) -> Opinion:
    report = examined(record, probes)
    alarms = report.alarms
    questions = len(report.passed) + len({each.rule for each in report.findings}) + len(report.not_checked)
    return Opinion(
        _each_once(cause for alarm in alarms for cause in alarm.causes),
        tuple(alarm.rule for alarm in alarms),
        first_alarm(record.log) if delays and alarms else math.nan,
        len(report.not_checked) / max(1, questions),
    )


def _peer(name: str, record: RunRecord) -> Opinion:
    verdicts = PEERS[name](record)
    return Opinion(
        _each_once(cause for verdict in verdicts for cause in verdict.causes),
        tuple(verdict.rule for verdict in verdicts),
        float(min((verdict.step for verdict in verdicts), default=math.nan)),
    )


def examiners(delays: bool = True) -> dict[str, Examiner]:
    """The doctor with its probes, the doctor with a log alone, and the peers.

    Args:
        delays: whether the doctor is asked for parts of the log too, to see when it is first alarmed.
    """

    def peer(name: str) -> Examiner:
        return lambda record: _peer(name, record)

    return {
        DOCTOR: lambda record: _doctor(record, True, delays),
        BY_LOG: lambda record: _doctor(record, False, delays),
        **{name: peer(name) for name in PEERS},
    }


def _each_once(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    return tuple(dict.fromkeys(causes))


# -- what counts -------------------------------------------------------------------------------------------------------


@cache
def _signs(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array(list(product((1.0, -1.0), repeat=n)))


def sign_flip_test(differences: Sequence[float]) -> float:
    """One-sided p of a mean above 0, exact: the share of all 2ⁿ choices of signs that give as large a mean or larger.

    Source: Fisher 1935, "The design of experiments", Section 21.
    """
    values = np.clip(np.asarray(differences, dtype=float), -1e6, 1e6)  # a harm without bound counts as a large one
    means = _signs(len(values)) @ values / max(1, len(values))
    return float(np.mean(means >= values.mean() - 1e-12))


def interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's for a share of n."""
    from scipy.stats import beta

    half = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(half, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - half, hits + 1, n - hits))
    return low, high


def harms(records: Sequence[RunRecord]) -> pandas.DataFrame:
    """Of each task and fault what it costs against the clean runs of the same seeds, and whether it counts.

    Columns ``task``, ``fault``, ``seeds``, ``harm`` (mean of the paired differences), ``p``, ``hurts``.
    """
    import pandas

    runs = {(each.task, each.kind, each.seed): each for each in records}
    rows = []
    for task, kind in dict.fromkeys((each.task, each.kind) for each in records if each.kind in _FAULTS):
        measure = fault(kind).harm
        seeds = sorted(seed for t, k, seed in runs if (t, k) == (task, kind) and (task, "clean", seed) in runs)
        apart = [measure(runs[task, kind, seed]) - measure(runs[task, "clean", seed]) for seed in seeds]
        p = sign_flip_test(apart) if apart else math.nan
        rows.append((task, kind, len(seeds), float(np.mean(apart)) if apart else math.nan, p, p < SIGNIFICANT))
    return pandas.DataFrame(rows, columns=["task", "fault", "seeds", "harm", "p", "hurts"])


def health(records: Sequence[RunRecord]) -> pandas.DataFrame:
    """Of each task and healthy variant its accuracy beside that of the clean runs, and whether it counts as healthy.

    It does where its mean accuracy is above guessing by 85 % of what that of the clean runs is.
    """
    import pandas

    rows = []
    names = {each.name for each in HEALTHY}
    for task, kind in dict.fromkeys((each.task, each.kind) for each in records if each.kind in {*names, "clean"}):
        its = [each for each in records if (each.task, each.kind) == (task, kind)]
        clean = [each.outcome["true_accuracy"] for each in records if (each.task, each.kind) == (task, "clean")]
        accuracy = float(np.mean([each.outcome["true_accuracy"] for each in its]))
        chance = 1 / (its[0].log.classes or 2)
        usual = float(np.mean(clean)) if clean else math.nan
        healthy = kind == "clean" or accuracy - chance >= LEARNT * (usual - chance)
        rows.append((task, kind, len(its), accuracy, usual, healthy))
    return pandas.DataFrame(rows, columns=["task", "variant", "seeds", "accuracy", "clean", "healthy"])


# -- scores ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Scores:
    """Tables of one half of the benchmark.

    Attributes:
        harms: of each task and fault whether it counts, see ``harms``.
        health: of each task and healthy variant, see ``health``.
        opinions: a row for each run that counts and each examiner: ``examiner``, ``task``, ``kind``, ``seed``,
            ``sick``, ``alarm``, ``first`` and ``three`` (the right cause is the first, or among the first three),
            ``cause`` (the first), ``rules``, ``delay`` (steps from the onset to the first alarm), ``unanswered``.
        overall: a row for each examiner: ``recall`` and ``false_alarms`` (share of the healthy runs with an alarm),
            each with its interval, ``precision``, ``f1``, ``worst`` (the lowest recall of a fault), ``first``,
            ``three``, ``delay`` (median), ``unanswered``.
    """

    harms: pandas.DataFrame
    health: pandas.DataFrame
    opinions: pandas.DataFrame
    overall: pandas.DataFrame

    def of_faults(self, examiner: str = DOCTOR) -> pandas.DataFrame:
        """A row for each fault: runs, recall with its interval, right causes, median delay."""
        import pandas

        rows = []
        for kind, its in self._asked(examiner, sick=True).groupby("kind", sort=False):
            hits, n = int(its.alarm.sum()), len(its)
            ends = interval(hits, n)
            tasks = ", ".join(sorted(its.task.unique()))
            shares = its["first"].mean(), its.three.mean(), its.delay.median()
            rows.append((kind, tasks, n, hits / n, *ends, *shares))
        columns = ["fault", "tasks", "runs", "recall", "low", "high", "first", "three", "delay"]
        return pandas.DataFrame(rows, columns=columns)

    def of_healthy(self, examiner: str = DOCTOR) -> pandas.DataFrame:
        """A row for each healthy variant: runs, runs with a false alarm, and the rules that gave it."""
        import pandas

        rows = []
        for kind, its in self._asked(examiner, sick=False).groupby("kind", sort=False):
            rules = sorted({rule for said in its.rules for rule in said.split(", ") if rule})
            rows.append((kind, len(its), int(its.alarm.sum()), ", ".join(rules)))
        return pandas.DataFrame(rows, columns=["variant", "runs", "false_alarms", "rules"])

    def confusion(self, examiner: str = DOCTOR) -> pandas.DataFrame:
        """How often each cause came first, by fault; healthy runs are the last row."""
        import pandas

        its = self._asked(examiner)
        kinds = its.kind.where(its.sick, "healthy")
        table = pandas.crosstab(kinds, its.cause.replace("", "no alarm"))
        order = [kind for kind in dict.fromkeys(kinds) if kind != "healthy"]
        return table.reindex([*order, *(["healthy"] if "healthy" in table.index else [])])

    def missed(self, examiner: str = DOCTOR) -> pandas.DataFrame:
        """The sick runs without an alarm, by task and fault."""
        its = self._asked(examiner, sick=True)
        return its[~its.alarm.astype(bool)].groupby(["task", "kind"], sort=False).size().reset_index(name="missed")

    def _asked(self, examiner: str, sick: bool | None = None) -> pandas.DataFrame:
        its = self.opinions[self.opinions.examiner == examiner]
        return its if sick is None else its[its.sick.astype(bool) == sick]

    def __str__(self) -> str:
        import pandas

        with pandas.option_context("display.width", 220, "display.max_columns", 40, "display.max_rows", 400):
            show = "{:.3f}".format
            harmless = self.harms[~self.harms.hurts.astype(bool)]
            ill = self.health[~self.health.healthy.astype(bool)]
            parts = {
                "all examiners": self.overall,
                "the doctor, by fault": self.of_faults(),
                "the doctor on healthy runs": self.of_healthy(),
                "first causes": self.confusion().rename(columns=lambda text: text[:24]).T,
                "missed": self.missed(),
                "not counted, since it does not hurt": harmless,
                "not counted, since it is not healthy": ill,
            }
            tables = (f"{title}\n{table.to_string(float_format=show)}" for title, table in parts.items() if len(table))
            return "\n\n".join(tables)


def score(records: Sequence[RunRecord], delays: bool = True, which: Iterable[str] | None = None) -> Scores:
    """Ask the doctor and its peers for all runs that count, and compare with what was wrong.

    Args:
        records: of one half, clean runs included.
        delays: see ``examiners``.
        which: names of examiners; all where it is None.
    """
    import pandas

    harm, healthy = harms(records), health(records)
    counted = {(row.task, row.fault) for row in harm.itertuples() if row.hurts}
    counted |= {(row.task, row.variant) for row in healthy.itertuples() if row.healthy}
    asked = examiners(delays)
    rows = []
    for record in records:
        if (record.task, record.kind) not in counted:
            continue
        sick = record.kind in _FAULTS
        right = set(fault(record.kind).causes) if sick else set()
        for name in asked if which is None else which:
            said = asked[name](record)
            rows.append(
                {
                    "examiner": name,
                    "task": record.task,
                    "kind": record.kind,
                    "seed": record.seed,
                    "sick": sick,
                    "alarm": bool(said.alarms),
                    "first": bool(right & set(said.causes[:1])),
                    "three": bool(right & set(said.causes[:3])),
                    "cause": str(said.causes[0]) if said.causes else "",
                    "rules": ", ".join(said.alarms),
                    "delay": max(0.0, said.step - record.onset) if sick and math.isfinite(said.step) else math.nan,
                    "unanswered": said.unanswered,
                }
            )
    opinions = pandas.DataFrame(rows)
    overall = pandas.DataFrame([_overall(name, its) for name, its in opinions.groupby("examiner", sort=False)])
    return Scores(harm, healthy, opinions, overall)


def _overall(name: str, its: pandas.DataFrame) -> dict[str, float | str]:
    sick, healthy = its[its.sick.astype(bool)], its[~its.sick.astype(bool)]
    found, wrong = int(sick.alarm.sum()), int(healthy.alarm.sum())
    recall = found / len(sick) if len(sick) else math.nan
    precision = found / (found + wrong) if found + wrong else math.nan
    low, high = interval(found, len(sick)) if len(sick) else (math.nan, math.nan)
    false_low, false_high = interval(wrong, len(healthy)) if len(healthy) else (math.nan, math.nan)
    both = precision + recall
    return {
        "examiner": name,
        "sick": len(sick),
        "recall": recall,
        "recall_low": low,
        "recall_high": high,
        "worst": float(sick.groupby("kind").alarm.mean().min()) if len(sick) else math.nan,
        "healthy": len(healthy),
        "false_alarms": wrong / len(healthy) if len(healthy) else math.nan,
        "false_low": false_low,
        "false_high": false_high,
        "precision": precision,
        "f1": 2 * precision * recall / both if both else 0.0 if both == 0 else math.nan,
        "first": float(sick["first"].mean()) if len(sick) else math.nan,
        "three": float(sick.three.mean()) if len(sick) else math.nan,
        "delay": float(sick.delay.median()) if len(sick) else math.nan,
        "unanswered": float(its.unanswered.mean()),
    }
