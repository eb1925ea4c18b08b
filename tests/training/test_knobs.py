"""Knobs: a sensible input for every kind of value, and one line for what cannot be one."""

from __future__ import annotations

import pytest

from stablelab.training.knobs import Choice, Knobs, Slider, Switch, Whole, choice, knob, slider


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", 1e-3, Slider(1e-3, 1e-6, 1.0, log=True)),
        ("temperature", 2.0, Slider(2.0, 1e-3, 1e3, log=True)),
        ("dropout", 0.1, Slider(0.1, 0.0, 1.0)),
        ("shift", -2.0, Slider(-2.0, -4.0, 4.0)),
        ("shift", 0.0, Slider(0.0, 0.0, 1.0)),
        ("max_norm", 1.0, Slider(1.0, 1e-3, 1e3, log=True, off=(None,))),
        ("max_norm", None, Slider(None, 1e-3, 1e3, log=True, off=(None,))),
        ("weight_decay", 0.0, Slider(0.0, 1e-5, 10.0, log=True, off=(0.0,))),
        ("accumulate", 4, Whole(4)),
        ("nesterov", True, Switch(True)),
        ("kind", choice(["adam", "sgd"]), Choice(("adam", "sgd"), "adam")),
        ("noise", slider(0.1, 0, 0.5), Slider(0.1, 0, 0.5)),
    ],
)
def test_each_kind_of_value_gets_its_input(name, value, expected) -> None:
    assert knob(name, value) == expected


@pytest.mark.parametrize("value", ["adam", [1, 2], float("nan"), object])
def test_a_value_that_nothing_can_steer_is_refused_with_what_would_be_right(value) -> None:
    with pytest.raises(ValueError, match=r"^knob 'x' is .*a number, None for off, .* lab.slider.* lab.choice[^\n]*$"):
        knob("x", value)


def test_values_are_checked_and_handed_over_whole() -> None:
    first = Knobs.of({"learning_rate": 1e-3, "max_norm": None, "kind": choice(["adam", "sgd"]), "k": 2, "on": False})
    second = first.replace(learning_rate=1e-2, max_norm=1.0)
    assert (first.learning_rate, second.learning_rate, second.kind) == (1e-3, 1e-2, "adam")
    assert first.differences(second) == (("learning_rate", 1e-3, 1e-2), ("max_norm", None, 1.0))
    assert second.to_dict() == {"learning_rate": 1e-2, "max_norm": 1.0, "kind": "adam", "k": 2, "on": False}
    for wrong in ({"learning_rate": -1}, {"max_norm": 0.0}, {"kind": "lamb"}, {"k": 0.5}, {"on": 1}, {"lr": 1.0}):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            first.replace(**wrong)
    with pytest.raises(ValueError, match="there is no knob 'lr'; did you mean learning_rate"):
        first.replace(lr=1e-2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: slider(2.0, 0, 1), "needs low < high and a value between them; got 2.0, 0, 1"),
        (lambda: slider(0.5, 0, 1, log=True, label="η"), "slider 'η' needs low < high .*, above 0"),
        (lambda: slider("fast", 0, 1), "needs three numbers"),
        (lambda: slider(0.5, 0, 1, steps=0), "steps is 0"),
        (lambda: choice([]), "needs a list of what can be chosen"),
        (lambda: choice("adam"), "needs a list of what can be chosen"),
        (lambda: choice(["adam", "sgd"], "lamb"), "unknown value 'lamb'"),
    ],
)
def test_a_slider_or_a_list_that_cannot_be_is_refused_in_one_line(make, said) -> None:
    with pytest.raises(ValueError, match=said):
        make()
