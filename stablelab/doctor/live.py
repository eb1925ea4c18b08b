"""A run examined while it trains: new steps only, at most one hundredth of its time, and what was seen and has gone."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..training.background import Driver
from ..training.records import FINAL
from .cures import changes_for, setting_of
from .examination import RULES, examine_log
from .findings import Finding, Report
from .judging import UnknownError
from .reading import about, name_of
from .step_columns import StepColumns
from .training_log import FEWEST, TrainingLog

SHARE = 0.01  # of the training time that may be spent
FIRST = 0.5  # seconds of training before the first examination, whose cost is not known yet
MORE = 0.05  # share of the steps by which a log has grown before another look can tell something new
LEARNT = 0.9  # of the loss of guessing: a run that was below it once may come back

Clock = Callable[[], float]


class Budget:
    """Allows examinations as long as they cost at most a hundredth of the training time.

    After one that took t seconds the next one is not due before 100 · t seconds of training.

    Args:
        clock: in seconds.

    Attributes:
        spent: seconds, in all.
        trained: seconds of training, in all.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self.spent = self.trained = 0.0
        self._due = FIRST
        self._running: float | None = None  # since when, as far as it is not counted yet

    def passes(self, running: bool) -> None:
        """To be called time and again: whether the run is training."""
        now = self._clock()
        if self._running is not None:
            self.trained += now - self._running
        self._running = now if running else None

    @property
    def due(self) -> bool:
        """Whether there may be another one."""
        return self.trained >= self._due

    def measure(self, work: Callable[[], None]) -> None:
        """Do the work, and count what it took."""
        began = self._clock()
        try:
            work()
        finally:
            took = self._clock() - began
            self.spent += took
            self.passes(self._running is not None)
            self._due = self.trained + took / SHARE


@dataclass(frozen=True)
class Alarm:
    """An alarm that stands.

    Args:
        finding: as it was seen last.
        since: how many steps were done when it was first seen.
        treated: the first step that used its cure, set by a press or by hand; 0 where that step is still to come, None
            where it is not treated.
    """

    finding: Finding
    since: int
    treated: int | None = None


@dataclass(frozen=True)
class Gone:
    """An alarm that stood for a while.

    Args:
        finding: as it was seen last.
        since, until: how many steps were done when it was first seen, and when it was not any more.
        treated: as of ``Alarm``.
    """

    finding: Finding
    since: int
    until: int
    treated: int | None = None

    def __str__(self) -> str:
        return f"no longer: {self.finding.symptom} (seen after {self.since} steps, gone after {self.until})"


class Course:
    """Which alarms came and went, over the reports on a run, in order.

    Attributes:
        report: the latest; None before the first.
        alarms: those of it, the most telling first.
        gone: those that stood and do not stand any more.
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self.alarms: tuple[Alarm, ...] = ()
        self.gone: tuple[Gone, ...] = ()

    def add(self, report: Report, step: int) -> None:
        """Take in a report on so many steps."""
        before = {each.finding.rule: each for each in self.alarms}
        standing = {each.rule for each in report.alarms}
        left = [Gone(e.finding, e.since, step, e.treated) for rule, e in before.items() if rule not in standing]
        kept = [each for each in self.gone if each.finding.rule not in standing]
        self.report, self.gone = report, (*kept, *left)
        self.alarms = tuple(
            replace(before[each.rule], finding=each) if each.rule in before else Alarm(each, step)
            for each in report.alarms
        )


@dataclass(frozen=True)
class Verdict:
    """How a run is, in one line that stays the same for as long as there is nothing new to say.

    Args:
        word: ``too early``, ``healthy so far``, ``healthy``, ``look``, ``ill``, ``treated``, ``silenced`` or
            ``no answer``.
        text: what there is to see.
    """

    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"


class LiveDoctor(Course):
    """Examines one run again and again, on whatever thread ``look`` is called, which must not be the one that trains.

    It holds numbers of the run, never the run itself. What it says in the end is what ``lab.examine(run)`` finds.

    Args:
        clock: in seconds.

    Attributes:
        budget: what it may spend, and has spent.
        silenced: the rules whose alarms are not to be said.
        silent: whether no alarm is to be said.
        version: grows with everything that is new.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        super().__init__()
        self.budget = Budget(clock)
        self.silenced: set[str] = set()
        self.silent = False
        self.version = 0
        self._lock = threading.RLock()
        self._clock = clock
        self._trouble = ""
        self._of: tuple[Any, int] | None = None  # the history that was read, and the version of its run
        self._columns = StepColumns()
        self._seen: tuple[Any, ...] = ()
        self._pressed: dict[str, int] = {}  # settings that a press has changed as a cure, and after how many steps
        self._over = False

    def look(self, run: Driver, state: str) -> None:
        """Examine the run, which is in this state, if it is time for it; a run that stands still costs nothing."""
        with self._lock:
            if self._of is None or self._of[0]() is not run.history or self._of[1] != run.version:
                self._renew(run)
            steps, known = len(run.history), len(self._columns)
            running = state == "running" and steps > 0  # before the first step it gets ready, which is no training
            self.budget.passes(running)
            grown = steps >= FEWEST and steps - known >= max(5, MORE * known)
            if (running and self.budget.due and grown) or (not running and steps):
                self.budget.measure(lambda: self._examine(run, state))

    def silence(self, rule: str | None = None) -> None:
        """Say this alarm no more for this run, or none at all."""
        with self._lock:
            if rule is None:
                self.silent = True
            else:
                self.silenced.add(rule)
            self.version += 1

    def speak(self) -> None:
        """Say all alarms again."""
        with self._lock:
            self.silent = False
            self.silenced.clear()
            self.version += 1

    def treat(self, rule: str, run: Driver) -> dict[str, Any]:
        """Note that the cure of an alarm is being applied; returns the changes, from the settings as they are now.

        It treats all alarms that the same setting cures.
        """
        with self._lock:
            open_ones = (each.finding for each in self.alarms if each.treated is None)
            finding = next((each for each in open_ones if each.rule == rule), None)
            name = None if finding is None else setting_of(finding)
            if finding is None or name is None:
                return {}
            changes = changes_for(finding, run.control.settings.to_dict())
            if changes:
                self._pressed[name] = len(run.history)
                self.alarms = tuple(
                    replace(each, finding=replace(each.finding, changes=changes), treated=0)
                    if setting_of(each.finding) == name
                    else each
                    for each in self.alarms
                )
                self.version += 1
            return changes

    @property
    def said(self) -> tuple[Alarm, ...]:
        """The alarms that are neither silenced nor treated, those that are certain first."""
        there = [each for each in self.alarms if self._speaks(each) and each.treated is None]
        return tuple(sorted(there, key=lambda each: each.finding.confidence != "certain"))

    @property
    def treated(self) -> tuple[Alarm, ...]:
        """The alarms whose cure is in force."""
        return tuple(each for each in self.alarms if self._speaks(each) and each.treated is not None)

    @property
    def verdict(self) -> Verdict:
        """How the run is."""
        with self._lock:
            if self._trouble:
                return Verdict("no answer", self._trouble)
            if self.report is None:
                return Verdict("too early", f"nothing is said of fewer than {FEWEST} steps")
            said, treated = self.said, self.treated
            if said:
                first = said[0].finding
                more = f", and {len(said) - 1} more" if len(said) > 1 else ""
                return Verdict("ill" if first.confidence == "certain" else "look", first.symptom + more)
            if treated:
                at = treated[0].treated
                return Verdict("treated", f"{treated[0].finding.symptom}; " + _since(at))
            if len(self.alarms):
                many = f"{len(self.alarms)} alarms are" if len(self.alarms) > 1 else "1 alarm is"
                return Verdict("silenced", f"{many} silenced")
            if not self.report.passed and not self.report.findings:
                return Verdict("too early", "nothing could be checked yet")
            gone = f"; {self.gone[-1]}" if self.gone else ""
            silent = "; alarms are silenced" if self.silent else ""
            return Verdict("healthy" if self._over else "healthy so far", f"nothing wrong is found{gone}{silent}")

    def _speaks(self, alarm: Alarm) -> bool:
        return not self.silent and alarm.finding.rule not in self.silenced

    def _renew(self, run: Driver) -> None:
        """The run was put back to its start, or is another one: nothing is known of it."""
        self._of = (weakref.ref(run.history), run.version)
        self._columns, self._seen, self._pressed = StepColumns(), (), {}
        self.report, self.alarms, self.gone, self._trouble = None, (), (), ""
        self.version += 1

    def _examine(self, run: Driver, state: str) -> None:
        self._columns.read(run.history)
        seen = (len(self._columns), self._columns.validations, state in FINAL, run.control.settings)
        if seen == self._seen:
            return
        self._seen, self._over = seen, state in FINAL
        try:
            known = about(run)
            self.add(examine_log(replace(self._columns.log(name_of(run)), **known)), self._columns.last)
            self.alarms = tuple(self._with_treatment(each, known) for each in self.alarms)
            self.gone = tuple(self._with_cure(each, known["settings"]) for each in self.gone)
            self._trouble = ""
        except Exception as error:  # it must never take the display down, nor the run
            self._trouble = f"the examination failed: {type(error).__name__}: {error}"
        self.version += 1

    def _with_treatment(self, alarm: Alarm, known: dict[str, Any]) -> Alarm:
        """The alarm, with the first step that used its cure; anew where the steps since then raise it again."""
        name, used = setting_of(alarm.finding), self._used(alarm)
        if name is None or (used is None and name not in self._pressed):
            return alarm
        if used is not None:
            again = _alarm_of(alarm.finding.rule, replace(self._columns.log("", after=used - 1), **known))
            if again is not None:
                self._pressed.pop(name, None)
                return Alarm(replace(again, changes=changes_for(again, known["settings"])), self._columns.last)
        return replace(alarm, finding=_as_set(alarm.finding, known["settings"]), treated=used or 0)

    def _with_cure(self, gone: Gone, settings: Mapping[str, Any]) -> Gone:
        """An alarm that has gone, with the first step that used its cure, if it was before that."""
        used = self._used(gone)
        if used is None or used > gone.until or gone.treated:
            return gone
        return replace(gone, finding=_as_set(gone.finding, settings), treated=used)

    def _used(self, alarm: Alarm | Gone) -> int | None:
        """The first step that used the last change of the setting that cures an alarm, if that came after the alarm."""
        name = setting_of(alarm.finding)
        if name is None:
            return None
        used = self._columns.changed(name)
        return used if used > max(alarm.since, self._pressed.get(name, 0)) else None


def _as_set(finding: Finding, settings: Mapping[str, Any]) -> Finding:
    """The finding, with the value of its setting that is in force as the cure."""
    name = setting_of(finding)
    return replace(finding, changes={name: settings[name]}) if name in settings and name is not None else finding


def is_lost(finding: Finding, log: TrainingLog) -> bool:
    """Whether nothing is to be expected of a run as it is: not finite, or never come away from guessing."""
    if finding.rule != "failed_run" or log.guessing is None or not len(log.smoothed):
        return finding.rule == "not_finite"
    return float(np.nanmin(log.smoothed)) > LEARNT * log.guessing


def _since(step: int | None) -> str:
    return f"cure in force since step {step}" if step else "its cure waits for the next step"


def _alarm_of(rule: str, log: TrainingLog) -> Finding | None:
    """What a rule says of a log, where that is an alarm."""
    function = next(each.function for each in RULES if each.name == rule)
    try:
        found = function(log.thinned()) if len(log) else None
    except UnknownError:
        return None
    return found if found is not None and found.alarm else None


_doctors: weakref.WeakKeyDictionary[Driver, LiveDoctor] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def doctor_of(run: Driver) -> LiveDoctor:
    """The one that examines this run: all that show it share it, and what is silenced, as long as the run lives."""
    with _lock:
        return _doctors.setdefault(run, LiveDoctor())
