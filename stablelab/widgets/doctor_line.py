"""What the doctor says of the run that is shown: a line, unfolding into findings, with what can be done about each."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w

from .._formatting import one_line
from ..doctor.cures import setting_of, why_not_applied
from ..doctor.live import Alarm, LiveDoctor, doctor_of
from ..doctor.proof import Cancelled, prove, why_not_proved
from ..training.background import BackgroundThread, Driver
from ..training.records import change_in_words
from ..training.run import Run

LONGEST = 900  # characters of a line
ROWS = 3  # alarms with buttons; of more, the most telling ones
_MARKS = {"ill": "✕", "look": "▲", "treated": "◐", "silenced": "○", "too early": "○", "no answer": "?"}
_APPLY = "Change this setting from the next step on, as its slider does; the log of changes undoes it."
_PROVE = "Train pairs of short branches from before the trouble, with the cure and without, and compare their losses."
_SILENCE = "Say this alarm no more for this run."


class DoctorLine:
    """How a run is: a word, a line, and unfolded the findings. Only the refresher calls ``show``.

    A line is written only when it says something else, and stands in a place that does not change its height.

    Args:
        run: called for the run that is shown.
        apply: called with the changes that are a cure, by the names of settings.
        done: called with an empty line or what went wrong, when something was pressed that the refresher has to show.

    Attributes:
        line: the word and the line; fold: what unfolds the findings; proof: how the proof of a cure stands.
        rows: one for each alarm that has buttons; rest: all else there is to say.
        silence_all, speak: the buttons for all alarms; box: all.
    """

    def __init__(
        self,
        run: Callable[[], Driver],
        apply: Callable[[Mapping[str, Any]], object],
        done: Callable[[str], object],
    ) -> None:
        self._run, self._apply, self._done = run, apply, done
        self._shown: tuple[Any, ...] = ()
        self._proving: Proving | None = None
        self.line, self.proof, self.rest = w.HTML(), w.HTML(), w.HTML()
        self.fold = w.ToggleButton(value=False, description="findings", icon="chevron-right")
        self.fold.tooltip = "what was found, its cause and cure, and what could not be checked"
        self.fold.add_class("lab-more")
        self.rows = [AlarmRow(self._cure, self._prove, self._silence) for _ in range(ROWS)]
        self.silence_all = _button("silence all alarms", "say no alarm any more for this run", self._silence)
        self.speak = _button("hear all alarms again", "say the alarms that were silenced", self._speak)
        self.silence_all.add_class("lab-silence-all")
        self.speak.add_class("lab-speak")
        self.silence_all.layout.display = self.speak.layout.display = "none"
        head = w.HBox([self.line, self.fold]).add_class("stablelab-doctor-line")
        buttons = w.HBox([self.silence_all, self.speak])
        panel = w.VBox([self.proof, *(row.box for row in self.rows), self.rest, buttons])
        self.box = w.VBox([head, panel.add_class("stablelab-doctor-panel")]).add_class("stablelab-doctor")

    @property
    def busy(self) -> bool:
        """Whether a cure is being proved."""
        return self._proving is not None and self._proving.thread.alive

    def close(self) -> None:
        """End what is being proved."""
        if self._proving is not None:
            self._proving.stop()
            self._proving.thread.join(10.0)

    def show(self, run: Driver, state: str) -> None:
        """Examine the run, which is in this state, as far as it is time for that, and show how it is."""
        doctor = doctor_of(run)
        doctor.look(run, state)
        proving = self._proving
        if proving is not None and proving.doctor is not doctor:  # another run is shown
            proving.stop()
            proving = self._proving = None
        said = (doctor, doctor.version, state == "running", "" if proving is None else proving.said, self.busy)
        if said == self._shown:
            return
        _write(self.line, _line(doctor))
        _write(self.proof, "" if proving is None else f"<div class='stablelab-proof'>{_text(proving.said)}</div>")
        cured = tuple(Alarm(e.finding, e.since, e.treated) for e in doctor.gone if e.treated is not None)
        alarms = (*doctor.said, *doctor.treated, *cured)
        rules = [each.finding.rule for each in alarms[:ROWS]]
        free = [row for row in self.rows if row.rule not in rules]
        known = {row.rule: row for row in self.rows}
        for each in alarms[:ROWS]:  # an alarm keeps its row, so that a press is on what the learner read beside it
            (known.get(each.finding.rule) or free.pop(0)).show(run, each, proving, self.busy)
        for row in free:
            row.show(run, None, None, False)
        quiet = [each for each in doctor.alarms if each not in alarms]
        _write(self.rest, _rest(doctor, alarms[ROWS:], quiet))
        self.silence_all.layout.display = None if not doctor.silent and doctor.report is not None else "none"
        self.speak.layout.display = None if doctor.silent or doctor.silenced else "none"
        self._shown = said

    # -- called on whatever thread a press arrives ------------------------------------------------------------------

    def _cure(self, alarm: Alarm) -> None:
        run = self._run()
        changes = doctor_of(run).treat(alarm.finding.rule, run)
        if changes:
            self._apply(changes)
        self._done("press resume to go on with it" if changes and run.state == "diverged" else "")

    def _prove(self, alarm: Alarm) -> None:
        run = self._run()
        if self._proving is not None and self.busy:
            self._proving.stop()
            self._proving = None
        elif isinstance(run, Run):
            self._proving = Proving(run, alarm, self._done)
        self._done("")

    def _silence(self, alarm: Alarm | None = None) -> None:
        doctor_of(self._run()).silence(None if alarm is None else alarm.finding.rule)
        self._done("")

    def _speak(self) -> None:
        doctor_of(self._run()).speak()
        self._done("")


class AlarmRow:
    """An alarm with its evidence, and the buttons that apply its cure, prove it, or silence the alarm.

    Args:
        cure, prove, silence: called with the alarm when its button is pressed.

    Attributes:
        rule: whose alarm it is; empty without one.
        text, cure_button, prove_button, silence_button, box: the widgets.
    """

    def __init__(
        self,
        cure: Callable[[Alarm], object],
        prove: Callable[[Alarm], object],
        silence: Callable[[Alarm], object],
    ) -> None:
        self.rule = ""
        self._alarm: Alarm | None = None
        self.text = w.HTML()
        self.cure_button = _button("apply the cure", _APPLY, lambda: self._press(cure)).add_class("lab-cure")
        self.prove_button = _button("prove it", _PROVE, lambda: self._press(prove)).add_class("lab-prove")
        self.silence_button = _button("silence", _SILENCE, lambda: self._press(silence)).add_class("lab-silence")
        buttons = w.HBox([self.cure_button, self.prove_button, self.silence_button])
        self.box = w.VBox([self.text, buttons]).add_class("stablelab-finding")
        self.box.layout.display = "none"

    def show(self, run: Driver, alarm: Alarm | None, proving: Proving | None, busy: bool) -> None:
        """Show this alarm from now on; None for none. Refresher only.

        Args:
            run: whose alarm it is.
            alarm: that stands, or whose cure is in force.
            proving: the proof that there is.
            busy: whether that is under way.
        """
        self._alarm, self.rule = alarm, "" if alarm is None else alarm.finding.rule
        self.box.layout.display = "none" if alarm is None else None
        if alarm is None:
            return
        _write(self.text, _finding(alarm, run))
        written = setting_of(alarm.finding) is None  # by the learner, in the code: there is nothing to press
        self.cure_button.layout.display = "none" if written else None
        treated = alarm.treated is not None
        why = "its cure is in force" if treated else why_not_applied(alarm.finding)
        self.cure_button.disabled, self.cure_button.tooltip = bool(why), why or _APPLY
        here = busy and proving is not None and proving.rule == self.rule
        self.prove_button.description = "stop proving" if here else "prove it"
        why = "" if here else "another cure is being proved" if busy else why_not_proved(run, alarm.finding)
        self.prove_button.disabled, self.prove_button.tooltip = bool(why), why or _PROVE

    def _press(self, action: Callable[[Alarm], object]) -> None:
        if self._alarm is not None:
            action(self._alarm)


class Proving:
    """The proof of a cure, under way in a thread of its own or over.

    Args:
        run: whose alarm it is.
        alarm: whose cure it is.
        done: called with an empty line when there is a result.

    Attributes:
        said: how it stands, in a line.
        thread: that it runs in; rule: whose cure it is; doctor: that of the run.
    """

    def __init__(self, run: Run, alarm: Alarm, done: Callable[[str], object]) -> None:
        self.rule, self.doctor, self._done = alarm.finding.rule, doctor_of(run), done
        self.said, self._stopped = f"proving the cure of “{alarm.finding.symptom}”: begins", False
        self.thread = BackgroundThread(lambda: self._work(run, alarm), "stablelab proof").start()

    def stop(self) -> None:
        """End it after the step under way."""
        self._stopped = True

    def _work(self, run: Run, alarm: Alarm) -> None:
        before = self.said.removesuffix("begins")

        def progress(done: int, of: int) -> None:
            self.said = f"{before}branch {done + 1} of {of}"

        try:
            found = prove(run, alarm.finding, at=alarm.since, progress=progress, cancelled=lambda: self._stopped)
            self.said = f"{alarm.finding.symptom}: {found}"
        except Cancelled:
            return
        except Exception as error:  # whatever it is, the learner has to read it
            self.said = f"the proof failed: {error}"
        self._done("")


def _button(description: str, tooltip: str, press: Callable[[], object]) -> Any:
    button = w.Button(description=description, tooltip=tooltip, layout={"width": "auto", "height": "24px"})
    button.on_click(lambda _: press())
    return button


def _write(widget: w.HTML, text: str) -> None:
    if widget.value != text:
        widget.value = text


def _line(doctor: LiveDoctor) -> str:
    """The word first, for whoever hears it or sees no colours."""
    verdict = doctor.verdict
    return (
        f"<div role='status' class='stablelab-verdict stablelab-verdict-{verdict.word.split()[0]}'>"
        f"<span aria-hidden='true'>{_MARKS.get(verdict.word, '✓')}</span> "
        f"<b>{verdict.word}</b>: {_text(verdict.text)}</div>"
    )


def _finding(alarm: Alarm, run: Driver) -> str:
    """An alarm with all that belongs to it."""
    finding, settings = alarm.finding, run.control.settings.to_dict()
    causes = "; ".join(f"{i}. {each}" for i, each in enumerate(finding.causes, 1))
    cure = f"Cure: {finding.cure}"
    if alarm.treated is not None:
        cure += f" (in force since step {alarm.treated})" if alarm.treated else " (waits for the next step)"
    elif finding.changes:
        made = (change_in_words(name, settings.get(name), value) for name, value in finding.changes.items())
        cure += f" ({', '.join(made)})"
    lines = [_text(finding.evidence), _text(f"Likely: {causes}"), _text(cure) if finding.cure else ""]
    lines.append(f"<small>{_text(f'Source: {finding.source}')}</small>")
    head = f"<div><b>{_text(finding.symptom)}</b> ({finding.confidence})</div>"
    return head + "".join(f"<div>{each}</div>" for each in lines if each)


def _rest(doctor: LiveDoctor, more: tuple[Alarm, ...], quiet: list[Alarm]) -> str:
    """What there is to say beside the alarms that have buttons."""
    report = doctor.report
    if report is None:
        return ""
    lines = [f"Alarm: {each.finding.symptom} ({each.finding.confidence}). {each.finding.evidence}" for each in more]
    lines += [f"For information: {e.symptom} ({e.confidence}). {e.evidence}" for e in report.findings if not e.alarm]
    lines += [f"Silenced: {each.finding.symptom}." for each in quiet]
    lines += [f"{each}." for each in doctor.gone]
    if report.passed:
        lines.append(f"No sign of: {', '.join(report.passed)}.")
    if report.not_checked:
        lines.append("Could not be checked: " + "; ".join(map(str, report.not_checked)) + ".")
    return "".join(f"<div>{_text(line)}</div>" for line in lines)


def _text(text: str) -> str:
    return html.escape(one_line(text.replace("``", ""), LONGEST))
