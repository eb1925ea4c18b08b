"""The doctor as a callback of Hugging Face's Trainer: its findings in the log, and an end to a run that is lost."""

# No `from __future__ import annotations` here: Shift-Tab would show every type in quotes.

from dataclasses import replace
from typing import Any

from transformers import TrainerCallback

from .doctor.examination import examine_log
from .doctor.findings import Finding
from .doctor.live import Budget, Course, is_lost
from .doctor.reading import of_trainer
from .doctor.training_log import FEWEST


class DoctorCallback(TrainerCallback):
    """Examines a Hugging Face ``Trainer`` as it trains, and says what is wrong in its log.

    Such as::

        trainer = Trainer(model, args, train_dataset=data, callbacks=[lab.DoctorCallback(stop_when_lost=True)])
        trainer.train()

    It looks at what the Trainer logs (``logging_steps=1`` shows most), and spends at most a hundredth of the training
    time. An alarm is printed once, and stands in ``trainer.state.log_history``, and so in ``trainer_state.json``, as an
    entry with ``doctor``, the symptom, and its evidence, causes and cure; one that vanishes again is said as well. The
    numbers are those of the Trainer without it.

    Args:
        stop_when_lost: whether to end a run from which nothing is to be expected: its loss or gradient is not finite,
            or its loss was never below that of guessing by the half of the run.

    Attributes:
        report: the latest; what ``lab.examine(trainer)`` says in the end. None before the first ten entries.
    """

    def __init__(self, stop_when_lost: bool = False) -> None:
        self.stop_when_lost = stop_when_lost
        self._forget()

    @property
    def report(self) -> Any:
        return self._course.report

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._forget()
        self._budget.passes(True)

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        entries = len(state.log_history)
        self._budget.passes(True)
        if entries >= FEWEST and entries > self._entries and self._budget.due:
            self._look(args, state, control, given.get("model"), over=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._budget.passes(False)
        self._look(args, state, control, given.get("model"), over=True)

    def _forget(self) -> None:
        self._course, self._budget = Course(), Budget()
        self._entries = 0  # of the log, as of the last examination
        self._said: set[str] = set()

    def _look(self, args: Any, state: Any, control: Any, model: Any, over: bool) -> None:
        try:
            self._budget.measure(lambda: self._examine(args, state, control, model, over))
        except Exception as error:  # it must never end somebody's training
            if "" not in self._said:
                self._said.add("")
                self._say(state, f"the examination failed: {type(error).__name__}: {error}", {})
        self._entries = len(state.log_history)

    def _examine(self, args: Any, state: Any, control: Any, model: Any, over: bool) -> None:
        if not any("loss" in entry for entry in state.log_history):
            return
        log = of_trainer(args, state, model)
        gone = self._course.gone
        self._course.add(examine_log(log if over else replace(log, over=False)), state.global_step)
        for each in self._course.gone:
            if each not in gone and each.finding.rule in self._said:
                self._say(state, str(each), {})
        for alarm in self._course.alarms:
            finding = alarm.finding
            if finding.rule not in self._said:
                self._said.add(finding.rule)
                self._say(state, finding.symptom, _entry(finding), str(finding))
            if self.stop_when_lost and not over and is_lost(finding, log):
                self._say(state, f"the run is stopped at step {state.global_step}: {finding.symptom}", {})
                control.should_training_stop = True
                return

    def _say(self, state: Any, line: str, entry: dict[str, Any], printed: str = "") -> None:
        state.log_history.append({"doctor": line, **entry, "step": state.global_step})
        if state.is_world_process_zero:
            print(f"doctor, step {state.global_step}: {printed or line}", flush=True)


def _entry(finding: Finding) -> dict[str, Any]:
    """What a log keeps of a finding: plain values, and none by the names of a loss."""
    kept = ("rule", "evidence", "causes", "cure", "confidence", "changes")
    return {f"doctor_{name}": value for name, value in finding.to_dict().items() if name in kept}
