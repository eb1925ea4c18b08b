"""Controls publish settings; nonsense leaves the old value and says so."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from torch import nn

from stablelab.training import Control, Gesture, Settings
from stablelab.widgets.controls import Controls


class Desk:
    """Controls, what they publish to, and what they say."""

    def __init__(self, **settings: object) -> None:
        self.control = Control(Settings(**{"learning_rate": 1e-2, **settings}))
        self.notes: list[str] = []
        model = nn.Linear(2, 2)
        run = SimpleNamespace(control=self.control, layers=None, augment=None, evaluate_every=0, state="ready")
        run.model, run.trains, run.trained_parameters = model, model, lambda: list(model.parameters())
        self.controls = Controls(run, lambda: self.control, self.notes.append)

    @property
    def settings(self) -> Settings:
        return self.control.settings


def test_every_control_publishes_its_setting() -> None:
    desk = Desk()
    desk.controls.inputs["learning_rate"].slider.value = 1e-3
    desk.controls.inputs["max_norm"].switch.value = True
    desk.controls.inputs["max_norm"].field.value = "0.25"
    desk.controls.inputs["weight_decay"].switch.value = True
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
        desk.controls.inputs["max_norm"].switch.value is True
        and desk.controls.inputs["weight_decay"].switch.value is False
    )


def test_off_and_on_again() -> None:
    desk = Desk(max_norm=0.5, weight_decay=0.01)
    desk.controls.inputs["max_norm"].switch.value = False
    desk.controls.inputs["weight_decay"].switch.value = False
    assert (desk.settings.max_norm, desk.settings.weight_decay) == (None, 0.0)
    assert desk.controls.inputs["max_norm"].slider.disabled
    desk.controls.inputs["max_norm"].switch.value = True
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


@pytest.mark.parametrize("text", ["-1", "-0.0001", "nan", "inf", "fast", "", "1e999"])
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


@pytest.mark.parametrize("text", ["-3", "1.5", "many", "nan", "inf", "²", "1e999", "1,000"])
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


def enter(field) -> None:
    """As the page does for the Enter key, before it reports what was typed."""
    field._handle_msg({"content": {"data": {"method": "custom", "content": {"event": "submit"}}}, "buffers": []})


@pytest.mark.parametrize(("text", "number"), [("1e5", 100_000), ("20.0", 20), (" 12 ", 12), ("0", 0)])
def test_what_is_whole_is_a_whole_number_however_it_is_written(text: str, number: int) -> None:
    desk = Desk(warmup_steps=7)
    desk.controls.inputs["warmup_steps"].field.value = text
    assert desk.settings.warmup_steps == number and isinstance(desk.settings.warmup_steps, int)
    assert desk.controls.inputs["warmup_steps"].field.value == str(number) and desk.notes[-1] == ""


@pytest.mark.parametrize("text", ["0", "0.0", "off"])
def test_no_weight_decay_is_off(text: str) -> None:
    desk = Desk(weight_decay=0.1, max_norm=1.0)
    decay = desk.controls.inputs["weight_decay"]
    decay.field.value = text
    assert desk.settings.weight_decay == 0.0 and desk.notes[-1] == ""
    assert (decay.switch.value, decay.switch.description, decay.slider.disabled) == (False, "off", True)
    decay.switch.value = True
    assert desk.settings.weight_decay == 0.1 and (decay.field.value, decay.switch.description) == ("0.1", "on")
    desk.controls.inputs["max_norm"].field.value = "0"
    assert "max_norm" in desk.notes[-1] or "clip threshold" in desk.notes[-1], "a threshold of 0 is not off"
    assert desk.settings.max_norm == 1.0


@pytest.mark.parametrize("name", ["learning_rate", "warmup_steps"])
def test_enter_takes_the_error_back_even_where_the_value_is_the_old_one(name: str) -> None:
    desk = Desk(warmup_steps=7)
    field = desk.controls.inputs[name].field
    shown = field.value
    enter(field)
    field.value = "x"
    assert "“x” is not" in desk.notes[-1] and field.value == shown
    enter(field)  # typed again what it was: the page reports no change
    assert desk.notes[-1] == ""


def test_a_choice_that_cannot_be_is_refused_and_the_list_shows_what_it_was() -> None:
    desk = Desk()
    desk.control._check = lambda settings: settings.schedule == "cosine" and 1 / 0
    desk.control.change = lambda **changes: (_ for _ in ()).throw(ValueError("this run has no end"))
    desk.controls.inputs["schedule"].dropdown.value = "cosine"
    assert desk.controls.inputs["schedule"].dropdown.value == desk.controls.inputs["schedule"].value == "constant"
    assert desk.notes[-1] == "this run has no end; it stays as it was"


def marks(desk: Desk, state: str = "running") -> dict[str, str]:
    desk.controls.look(state)
    return {name: each.mark.value for name, each in desk.controls.inputs.items() if each.mark.value}


def test_a_moved_slider_says_that_it_waits_until_a_step_takes_its_value() -> None:
    desk = Desk()
    desk.controls.inputs["learning_rate"].slider.value = 1e-3
    assert marks(desk, "ready") == {}, "before the first step nothing waits"
    desk.control.turn()
    desk.controls.inputs["learning_rate"].slider.value = 1e-4
    desk.controls.inputs["optimizer"].dropdown.value = "sgd"
    said = marks(desk)
    assert set(said) == {"learning_rate", "optimizer"}
    assert all(">waits<" in each and "waits for the next step" in each for each in said.values())
    desk.control.turn()
    assert marks(desk) == {}


def test_a_run_that_is_over_says_what_a_slider_would_act_on() -> None:
    desk = Desk()
    desk.control.turn()
    assert marks(desk, "finished") == {}
    desk.controls.inputs["learning_rate"].slider.value = 1e-4
    assert desk.notes[-1] == "the run is over: branch or reset to use this"
    assert ">unused<" in marks(desk, "finished")["learning_rate"]
    desk.controls.preset.dropdown.label = "too slow"
    assert desk.notes[-1] == "the run is over: branch or reset to use this"
    marks(desk, "ready")
    desk.controls.inputs["learning_rate"].slider.value = 1e-3
    assert desk.notes[-1] == ""


def test_a_preset_is_one_gesture_and_is_in_force_only_while_the_settings_equal_it() -> None:
    desk = Desk(momentum=0.5, learning_rate=0.3)
    preset, inputs = desk.controls.preset.dropdown, desk.controls.inputs
    assert preset.label == "settings of your own"
    desk.control.turn()
    preset.label = "clipped to a standstill"
    assert (desk.settings.optimizer, desk.settings.max_norm, desk.settings.momentum) == ("sgd", 1e-3, 0.5)
    assert (inputs["optimizer"].dropdown.label, inputs["max_norm"].field.value) == ("SGD", "1e-3")
    assert inputs["max_norm"].switch.value is True and "clipped to a standstill: SGD" in desk.notes[-1]
    desk.control.turn()
    assert len({desk.control.gesture_of(name) for name in ("optimizer", "max_norm", "learning_rate")}) == 1
    inputs["learning_rate"].slider.value = 0.1
    assert preset.label == "settings of your own"
    inputs["learning_rate"].field.value = "0.01"
    assert preset.label == "clipped to a standstill"
    preset.label = "settings of your own"
    assert preset.label == "clipped to a standstill", "that is not to be chosen: it says that no preset is in force"
    preset.label = "known to be good"
    assert desk.settings == Settings(learning_rate=1e-3, momentum=0.5) and inputs["max_norm"].switch.value is False


def test_undo_sets_back_all_that_a_gesture_changed_as_a_gesture_of_its_own() -> None:
    desk = Desk()
    before, control = desk.settings, desk.control
    control.turn()
    desk.controls.preset.dropdown.label = "known to diverge"
    changed = tuple(before.differences(control.turn()))
    desk.controls.undo(Gesture(control.gesture_of("learning_rate"), 1, 1, changed))
    assert desk.settings == before and desk.controls.inputs["learning_rate"].field.value == "0.01"
    undone = control.gesture_of("learning_rate")
    control.turn()
    assert control.gesture_of("learning_rate") > undone
    assert desk.controls.preset.dropdown.label == "settings of your own"


def test_every_field_has_a_name_of_its_own() -> None:
    for name, each in Desk().controls.inputs.items():
        for widget in each.widgets:
            named = widget.description in (each.label, "on", "off")
            assert named and (each.label in widget.tooltip or widget.description == each.label), name


def test_a_drag_that_arrives_while_other_settings_are_being_shown_is_not_lost() -> None:
    desk = Desk()
    rate = desk.controls.inputs["learning_rate"]
    drags: list[threading.Thread] = []

    def drag(_change: object) -> None:  # on the thread that messages arrive on, while the refresher shows
        if drags:
            return
        thread = threading.Thread(target=rate.slider.set_state, args=({"value": 1e-4},))
        thread.start()
        thread.join(0.2)
        drags.append(thread)

    rate.field.observe(drag, "value")
    desk.control.publish(desk.settings.replace(learning_rate=1e-3))
    desk.controls.show(desk.settings)
    drags[0].join()
    assert desk.settings.learning_rate == pytest.approx(1e-4)
    assert (rate.value, rate.slider.value, rate.field.value) == (pytest.approx(1e-4), pytest.approx(1e-4), "1e-4")


@pytest.mark.parametrize("touch", ["slider", "field"])
def test_what_is_moved_just_as_it_is_switched_off_from_elsewhere_is_on(touch: str) -> None:
    desk = Desk(weight_decay=0.01)
    decay = desk.controls.inputs["weight_decay"]
    desk.controls.show(desk.control.change(weight_decay=0.0))  # a preset, or another run; the page has not heard of it
    getattr(decay, touch).set_state({"value": 0.1 if touch == "slider" else "0.1"})
    assert desk.settings.weight_decay == decay.value == pytest.approx(0.1)
    assert (decay.switch.value, decay.switch.description, decay.slider.disabled) == (True, "on", False)
