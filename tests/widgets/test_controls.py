"""Controls publish settings; nonsense leaves the old value and says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stablelab.training import Control, Settings
from stablelab.widgets.controls import Controls


class Desk:
    """Controls, what they publish to, and what they say."""

    def __init__(self, **settings: object) -> None:
        self.control = Control(Settings(**{"learning_rate": 1e-2, **settings}))
        self.notes: list[str] = []
        run = SimpleNamespace(control=self.control, layers=None, augment=None, evaluate_every=0)
        self.controls = Controls(run, lambda: self.control, self.notes.append)

    @property
    def settings(self) -> Settings:
        return self.control.settings


def test_every_control_publishes_its_setting() -> None:
    desk = Desk()
    desk.controls.inputs["learning_rate"].slider.value = 1e-3
    desk.controls.inputs["max_norm"].off.value = False
    desk.controls.inputs["max_norm"].field.value = "0.25"
    desk.controls.inputs["weight_decay"].off.value = False
    desk.controls.inputs["weight_decay"].slider.value = 0.1
    desk.controls.inputs["clip"].dropdown.value = "tensor"
    desk.controls.inputs["optimizer"].dropdown.value = "nesterov"
    desk.controls.inputs["implementation"].dropdown.value = "workbook"
    desk.controls.inputs["schedule"].dropdown.value = "cosine"
    desk.controls.inputs["warmup_steps"].field.value = "12"
    wanted = {
        "learning_rate": 1e-3,
        "max_norm": 0.25,
        "weight_decay": 0.1,
        "clip": "tensor",
        "optimizer": "nesterov",
        "implementation": "workbook",
        "schedule": "cosine",
        "warmup_steps": 12,
    }
    assert {name: getattr(desk.settings, name) for name in wanted} == pytest.approx(wanted)


def test_they_start_at_the_settings_and_publish_nothing() -> None:
    desk = Desk(learning_rate=3e-4, max_norm=0.7, schedule="plateau")
    assert desk.settings == Settings(learning_rate=3e-4, max_norm=0.7, schedule="plateau")
    assert desk.controls.inputs["learning_rate"].field.value == "3e-4"
    assert (
        desk.controls.inputs["max_norm"].off.value is False and desk.controls.inputs["weight_decay"].off.value is True
    )


def test_off_and_on_again() -> None:
    desk = Desk(max_norm=0.5, weight_decay=0.01)
    desk.controls.inputs["max_norm"].off.value = True
    desk.controls.inputs["weight_decay"].off.value = True
    assert (desk.settings.max_norm, desk.settings.weight_decay) == (None, 0.0)
    assert desk.controls.inputs["max_norm"].slider.disabled
    desk.controls.inputs["max_norm"].off.value = False
    assert desk.settings.max_norm == 0.5


def test_typed_number_is_taken_as_it_is() -> None:
    desk = Desk()
    desk.controls.inputs["learning_rate"].field.value = "3.3e-4"
    assert desk.settings.learning_rate == 3.3e-4
    # A page moves the slider to its nearest stop and reports that: not a change by the learner.
    desk.controls.inputs["learning_rate"].slider.value = 10**-3.5
    assert desk.settings.learning_rate == 3.3e-4
    desk.controls.inputs["learning_rate"].slider.value = 10**-3.45
    assert desk.settings.learning_rate == pytest.approx(10**-3.45)


def test_typed_number_beyond_the_slider() -> None:
    desk = Desk()
    desk.controls.inputs["learning_rate"].field.value = "5"
    assert desk.settings.learning_rate == 5.0
    assert desk.controls.inputs["learning_rate"].slider.value == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "fast", "", "1e999"])
@pytest.mark.parametrize("which", ["learning_rate", "max_norm", "weight_decay"])
def test_nonsense_leaves_the_number(which: str, text: str) -> None:
    desk = Desk(max_norm=1.0, weight_decay=0.1)
    before = desk.settings
    number = desk.controls.inputs[which]
    shown = number.field.value
    number.field.value = text
    assert desk.settings == before
    assert number.field.value == shown
    assert len(desk.notes[-1].splitlines()) == 1 and number.label in desk.notes[-1] and shown in desk.notes[-1]


@pytest.mark.parametrize("text", ["-3", "1.5", "many", "nan", "²"])
def test_nonsense_leaves_the_warm_up(text: str) -> None:
    desk = Desk(warmup_steps=7)
    desk.controls.inputs["warmup_steps"].field.value = text
    assert desk.settings.warmup_steps == 7
    assert desk.controls.inputs["warmup_steps"].field.value == "7"
    assert "whole number" in desk.notes[-1]


def test_a_good_number_takes_the_note_back() -> None:
    desk = Desk()
    desk.controls.inputs["learning_rate"].field.value = "x"
    desk.controls.inputs["learning_rate"].field.value = "0.1"
    assert desk.notes[-1] == ""


@pytest.mark.parametrize(("name", "value"), [("optimizer", "sgd"), ("implementation", "workbook")])
def test_fresh_state_is_announced(name: str, value: str) -> None:
    desk = Desk()
    desk.controls.inputs[name].dropdown.value = value
    assert "fresh optimizer state" in desk.notes[-1]


def test_every_control_says_what_it_is() -> None:
    for widget in Desk().controls.widgets:
        assert widget.tooltip


def test_a_slider_being_dragged_is_never_pulled_back() -> None:
    # The page rounds differently in the last digit; answering with our own rounding would undo the next arrow key.
    desk = Desk()
    as_the_page_has_it = 10**-2.05 * (1 + 1e-12)
    desk.controls.inputs["learning_rate"].slider.set_state({"value": as_the_page_has_it})
    assert desk.controls.inputs["learning_rate"].slider.value == as_the_page_has_it
    assert desk.controls.inputs["learning_rate"].field.value == "8.91e-3"
    assert desk.settings.learning_rate == as_the_page_has_it
