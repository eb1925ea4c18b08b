"""The controls of a loop that is not the workbook's: an input of its own for each kind of knob; what it publishes."""

from __future__ import annotations

import pytest

from stablelab.training.knobs import choice, slider
from stablelab.training.own_loop import OwnLoop
from stablelab.widgets.inputs import ChoiceInput, LinearNumberInput, LogNumberInput, SwitchInput, WholeNumberInput
from stablelab.widgets.knob_controls import KnobControls

KNOBS = {
    "learning_rate": 1e-3,
    "max_norm": None,
    "dropout": slider(0.1, 0, 0.5, label="dropout p"),
    "noise": slider(None, 0, 1),
    "accumulate": 2,
    "nesterov": True,
    "kind": choice(["adam", "sgd"]),
}
KINDS = (
    LogNumberInput,
    LogNumberInput,
    LinearNumberInput,
    LinearNumberInput,
    WholeNumberInput,
    SwitchInput,
    ChoiceInput,
)


@pytest.fixture
def run():
    return OwnLoop(lambda live: live.record(loss=1.0), (), KNOBS)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def controls(run, said):
    made = KnobControls(run, lambda: run.control, said.append)
    yield made
    for widget in (*made.widgets, made.box):
        widget.close()


def test_each_kind_of_knob_has_its_input_and_shows_where_it_starts(controls) -> None:
    assert tuple(type(each) for each in controls.inputs.values()) == KINDS
    inputs = controls.inputs
    assert (inputs["learning_rate"].slider.min, inputs["learning_rate"].slider.max) == (-6, 0)
    assert inputs["learning_rate"].slider.value == pytest.approx(1e-3)
    assert (inputs["max_norm"].switch.value, inputs["max_norm"].slider.disabled) == (False, True)
    assert (inputs["dropout"].slider.max, inputs["dropout"].slider.value) == (0.5, 0.1)
    assert (
        inputs["dropout"].slider.description == "dropout p"
        and inputs["max_norm"].slider.description == "clip threshold"
    )
    assert not inputs["noise"].switch.value and inputs["learning_rate"].switch is None
    assert inputs["nesterov"].tick.value is True and inputs["kind"].dropdown.value == "adam"


def test_what_is_moved_is_published(run, controls, said) -> None:
    inputs = controls.inputs
    inputs["learning_rate"].slider.value = 1e-2
    inputs["max_norm"].switch.value = True
    inputs["max_norm"].field.value = "0.25"
    inputs["dropout"].slider.value = 0.3
    inputs["noise"].switch.value = True
    inputs["accumulate"].field.value = "8"
    inputs["nesterov"].tick.value = False
    inputs["kind"].dropdown.value = "sgd"
    assert run.control.settings.to_dict() == {
        "learning_rate": pytest.approx(1e-2),
        "max_norm": 0.25,
        "dropout": 0.3,
        "noise": 0.0,
        "accumulate": 8,
        "nesterov": False,
        "kind": "sgd",
    }
    assert set(said) == {""}
    inputs["max_norm"].switch.value = False
    assert run.control.settings.max_norm is None


def test_nonsense_is_refused_in_one_line_and_changes_nothing(run, controls, said) -> None:
    before = run.control.settings
    controls.inputs["learning_rate"].field.value = "-1"
    controls.inputs["dropout"].field.value = "much"
    controls.inputs["accumulate"].field.value = "2.5"
    assert len(said) == 3 and all("it stays at" in each for each in said)
    assert run.control.settings is before


def test_other_values_are_shown_without_being_published(run, controls, said) -> None:
    other = run.control.settings.replace(learning_rate=1e-2, max_norm=2.0, nesterov=False, kind="sgd", accumulate=3)
    controls.show(other)
    inputs = controls.inputs
    assert inputs["learning_rate"].field.value == "0.01"
    assert (inputs["max_norm"].switch.value, inputs["max_norm"].field.value) == (True, "2")
    assert (inputs["nesterov"].tick.value, inputs["kind"].dropdown.value) == (False, "sgd")
    assert inputs["accumulate"].field.value == "3"
    assert run.control.settings.learning_rate == 1e-3 and said == []
