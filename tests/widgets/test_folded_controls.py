"""The folded controls: each publishes its own setting, and only those are there that can act on the run."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import until

from stablelab.training import Control, Run, Settings
from stablelab.training.precision import slower_here
from stablelab.training.settings import AUGMENTATIONS
from stablelab.widgets import Dashboard
from stablelab.widgets.controls import Controls

LAYERS = (("2",), ("0",))
MANY = (("fc",), ("layer2",), ("layer1",), ("conv1", "bn1"))


class Named(tuple):
    names = ("head", "block 2", "block 1", "embeddings")


def same(inputs, settings):
    return inputs


class Desk:
    """Controls of a run that can do all of it, what they publish, and what they say."""

    def __init__(self, layers=MANY, augment=same, evaluate_every: int = 5, **settings: object) -> None:
        self.control = Control(Settings(**settings))
        self.published: list[dict[str, object]] = []
        change = self.control.change
        self.control.change = lambda **changes: (change(**changes), self.published.append(changes))[0]
        self.state = "ready"
        self.model = self.trains = torch.nn.Linear(2, 2)
        self.trained_parameters = lambda: list(self.model.parameters())
        self.layers, self.augment, self.evaluate_every = layers, augment, evaluate_every
        self.notes: list[str] = []
        self.controls = Controls(self, lambda: self.control, self.notes.append)
        self.inputs = self.controls.inputs

    def type(self, name: str, text: str) -> None:
        self.inputs[name].field.value = text

    def choose(self, text: str) -> None:
        self.inputs["unfrozen"].dropdown.label = text


def test_every_control_publishes_its_setting_and_no_other() -> None:
    desk = Desk()
    desk.choose("down to layer2")
    desk.type("unfreeze_every", "20")
    desk.inputs["precision"].dropdown.value = "bf16"  # noted where the processor only imitates it: see below
    desk.type("accumulation", "4")
    desk.type("layer_decay", "0.83")
    desk.inputs["noise"].slider.value = 0.12
    desk.type("crop", "0,25")
    desk.inputs["rotation"].slider.value = 15.0
    desk.type("flip", "0.5")
    desk.type("early_stopping", "3")
    assert desk.published == [
        {"unfrozen": 2},
        {"unfreeze_every": 20},
        {"precision": "bf16"},
        {"accumulation": 4},
        {"layer_decay": 0.83},
        {"noise": 0.12},
        {"crop": 0.25},
        {"rotation": 15.0},
        {"flip": 0.5},
        {"early_stopping": 3},
    ]
    assert set(desk.notes) <= {"", slower_here("bf16", torch.device("cpu"))}
    assert {name: entry.value for name, entry in desk.inputs.items() if name != "rotation"} == {
        name: getattr(desk.control.settings, name) for name in desk.inputs if name != "rotation"
    }


def test_all_the_settings_of_layers_pictures_and_stopping_have_a_control() -> None:
    assert set(Desk().controls.folded) == {
        "clip",
        "warmup_steps",
        "implementation",
        "precision",
        "accumulation",
        "unfrozen",
        "unfreeze_every",
        "layer_decay",
        "early_stopping",
        *AUGMENTATIONS,
    }


def test_the_precisions_are_those_of_the_device_and_a_slow_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    assert [value for _, value in desk.inputs["precision"].dropdown.options] == ["fp32", "bf16"]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    desk.inputs["precision"].dropdown.value = "bf16"
    assert desk.notes[-1].startswith("bf16 is slower than fp32 here")
    desk.inputs["precision"].dropdown.value = "fp32"
    assert desk.notes[-1] == ""
    desk.type("accumulation", "0")
    assert "accumulation" in desk.notes[-1] and desk.control.settings.accumulation == 1


def test_layers_are_called_by_their_names() -> None:
    box = Desk(layers=Named(MANY)).inputs["unfrozen"].dropdown
    assert [label for label, _ in box.options] == ["all layers", "head only", "down to block 2", "down to block 1"]
    box = Desk().inputs["unfrozen"].dropdown
    assert [label for label, _ in box.options] == ["all layers", "fc only", "down to layer2", "down to layer1"]


def test_all_layers_is_none_however_it_is_asked_for() -> None:
    for unfrozen in (None, 4, 9):
        desk = Desk(unfrozen=unfrozen)
        assert desk.inputs["unfrozen"].dropdown.label == "all layers"
        desk.choose("fc only")
        desk.choose("all layers")
        assert desk.published == [{"unfrozen": 1}, {"unfrozen": None}]


def test_unfreezing_can_be_asked_for_where_something_is_frozen() -> None:
    desk = Desk()
    field = desk.inputs["unfreeze_every"].field
    assert field.disabled
    desk.choose("fc only")
    assert not field.disabled
    desk.choose("all layers")
    assert field.disabled
    desk.controls.show(Settings(unfrozen=2))
    assert not field.disabled


def test_show_shows_everything_and_publishes_nothing() -> None:
    desk = Desk()
    settings = Settings(
        learning_rate=3e-4,
        weight_decay=0.02,
        optimizer="sgd",
        implementation="workbook",
        clip="value",
        max_norm=0.5,
        schedule="cosine",
        warmup_steps=7,
        layer_decay=0.7,
        unfrozen=2,
        unfreeze_every=9,
        early_stopping=4,
        noise=0.1,
        crop=0.2,
        rotation=30.0,
        flip=0.5,
    )
    for shown in (settings, Settings(), settings):
        desk.controls.show(shown)
        each = desk.inputs
        values = {name: entry.value for name, entry in each.items() if name != "unfrozen"}
        assert values == {name: getattr(shown, name) for name in values}
        assert each["unfrozen"].value == (shown.unfrozen or len(MANY))
    assert desk.published == [] and desk.control.settings == Settings()
    fields = [each[name].field.value for name in ("learning_rate", "max_norm", "noise", "early_stopping")]
    assert fields == ["3e-4", "0.5", "0.1", "4"]
    assert (each["weight_decay"].switch.value, each["max_norm"].slider.disabled) == (True, False)
    desk.controls.show(Settings())
    assert (each["weight_decay"].switch.value, each["max_norm"].slider.disabled) == (False, True)


def test_every_setting_with_a_control_is_one_of_settings() -> None:
    assert set(Desk().inputs) < {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("layer_decay", "0", "above 0 and at most 1"),
        ("layer_decay", "1.5", "at most 1"),
        ("layer_decay", "steep", "not a number"),
        ("noise", "-1", "at least 0"),
        ("noise", "nan", "not a number"),
        ("crop", "0.6", "at most 0.5"),
        ("rotation", "181", "at most 180"),
        ("flip", "", "not a number"),
        ("flip", "2", "at most 1"),
        ("early_stopping", "-1", "not a whole number"),
        ("early_stopping", "1.5", "not a whole number"),
        ("unfreeze_every", "often", "not a whole number"),
        ("unfreeze_every", "9" * 5000, "not a whole number"),
    ],
)
def test_nonsense_is_answered_in_one_line_and_changes_nothing(name: str, text: str, said: str) -> None:
    desk = Desk(layer_decay=0.9, unfrozen=1)
    entry = desk.inputs[name].field
    before, shown = desk.control.settings, entry.value
    desk.type(name, text)
    assert desk.control.settings == before and desk.published == []
    assert entry.value == shown
    assert said in desk.notes[-1] and desk.notes[-1].replace("_", " ").startswith(desk.inputs[name].label)
    assert f"stays at {shown}" in desk.notes[-1] and "\n" not in desk.notes[-1]


def test_a_slider_keeps_what_was_typed_between_two_of_its_stops_and_beyond_its_end() -> None:
    desk = Desk()
    decay = desk.inputs["layer_decay"]
    desk.type("layer_decay", "0.83")
    assert decay.slider.value == pytest.approx(0.85)
    decay.slider.set_state({"value": 0.85})  # the page reports where the slider stands: not a move
    assert desk.control.settings.layer_decay == 0.83
    desk.type("layer_decay", "0.1")
    assert (desk.control.settings.layer_decay, decay.slider.value, decay.field.value) == (0.1, 0.3, "0.1")
    decay.slider.set_state({"value": 0.3 + 3 * 0.05})  # 0.45000000000000001 or so in the page
    assert desk.control.settings.layer_decay == 0.45


@pytest.mark.parametrize(
    ("arguments", "named", "there"),
    [
        ({}, "layers, augmentation, early stopping", 8),
        ({"augment": None}, "layers, early stopping", 4),
        ({"layers": None}, "augmentation, early stopping", 5),
        ({"layers": (("0",),), "augment": None}, "early stopping", 1),
        ({"evaluate_every": 0}, "layers, augmentation", 7),
        ({"layers": None, "augment": None, "evaluate_every": 0}, "clipping, warm-up, arithmetic", 0),
    ],
)
def test_what_cannot_act_is_not_there(arguments: dict[str, object], named: str, there: int) -> None:
    desk = Desk(**arguments)
    assert desk.controls.fold.description == "more" and f"{named}." in desk.controls.fold.tooltip
    assert len(desk.controls.folded) == there + 5
    assert all(widget.tooltip for widget in desk.controls.widgets)
    in_box, queue = [], [desk.controls.box]
    while queue:
        in_box.append(queue.pop())
        queue += getattr(in_box[-1], "children", ())
    assert set(desk.controls.widgets) <= set(in_box)


def test_the_fold_is_closed_unless_something_in_it_is_set() -> None:
    desk = Desk(learning_rate=0.1, optimizer="sgd")
    assert desk.controls.fold.value is False
    desk.controls.show(Settings(noise=0.1))
    assert desk.controls.fold.value is True
    desk.controls.show(Settings())
    assert desk.controls.fold.value is True, "what the learner may have opened is not closed again"
    assert Desk(early_stopping=2).controls.fold.value is True
    assert Desk(layers=None, unfrozen=1).controls.fold.value is False, "what has no control opens nothing"


def noisy(inputs, settings):
    return inputs + settings.noise * torch.randn_like(inputs)


def layered(make_run, steps: int = 30, **settings: object) -> Run:
    """A run of two layers whose batches can be changed."""
    given = make_run(steps)
    settings = Settings(**{"learning_rate": 1e-2, **settings})
    return Run(given.model, given.task, settings=settings, steps=steps, layers=LAYERS, augment=noisy)


@pytest.mark.slow
def test_a_dashboard_nobody_looks_at_trains_the_same_numbers(make_run) -> None:
    changed = {"unfrozen": 1, "unfreeze_every": 8, "layer_decay": 0.5, "noise": 0.3, "early_stopping": 2}
    alone, shown = layered(make_run, **changed), layered(make_run, **changed)
    alone.start().wait()
    board = Dashboard(shown).show()
    shown.start()
    board.wait()
    assert shown.history.interventions() == ()
    assert [step.loss for step in shown.history] == [step.loss for step in alone.history]
    assert all(a.equal(b) for a, b in zip(alone.model.parameters(), shown.model.parameters(), strict=True))


def test_a_layer_frozen_by_hand_stands_still_and_thawed_moves_again(make_run) -> None:
    run = layered(make_run, steps=30)
    board = Dashboard(run)
    box = board.controls.inputs["unfrozen"].dropdown

    def moved(steps: int) -> tuple[bool, bool]:
        """Whether the head and the body are other than before, after so many steps more."""
        weights = (run.model[2].weight, run.model[0].weight)
        before = [p.detach().clone() for p in weights]
        done = len(run.history)
        run.step(steps)
        until(lambda: run.state in ("paused", "finished") and len(run.history) == done + steps)
        return tuple(not p.equal(old) for p, old in zip(weights, before, strict=True))

    assert moved(3) == (True, True)
    box.label = "2 only"
    assert moved(6) == (True, False)
    box.label = "all layers"
    assert moved(3) == (True, True)
    said = [str(each) for each in run.history.interventions()]
    assert said == ["step 4: trained layers all → 1", "step 10: trained layers 1 → all"]
    run.stop()
    board.close()
