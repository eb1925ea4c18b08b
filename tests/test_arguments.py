"""What is put into the front desk by mistake: refused in one line before anything is read, moved or trained."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.clouds import Clouds, network
from support.tiny import tiny_model, tiny_task

import stablelab as lab
from stablelab._validation import checked_arguments
from stablelab.training import Run, Settings
from stablelab.training.knobs import Knobs

__all__ = ["tiny_task"]

SCALARS: tuple[tuple[str, Any, Any], ...] = (
    ("learning_rate", np.float32(0.25), 0.25),
    ("learning_rate", np.float64(0.25), 0.25),
    ("learning_rate", Fraction(1, 4), 0.25),
    ("learning_rate", torch.tensor(0.25), 0.25),
    ("max_norm", np.int64(3), 3),
    ("rotation", np.float32(15), 15.0),
    ("warmup_steps", np.int64(3), 3),
    ("unfrozen", torch.tensor(1), 1),
    ("bias_correction", np.bool_(False), False),
    ("optimizer", np.str_("sgd"), "sgd"),
)


@pytest.mark.parametrize(("name", "given", "kept"), SCALARS)
def test_scalars_of_numpy_and_torch_become_plain_numbers(name: str, given: Any, kept: Any) -> None:
    settings = Settings(**{name: given})
    value = getattr(settings, name)
    assert type(value) is type(kept) and value == kept
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_a_run_with_scalars_of_numpy_keeps_checkpoints_and_is_saved(tmp_path: Path) -> None:
    settings = Settings(learning_rate=np.float32(0.02), patience=np.int64(3), gamma=Fraction(1, 2))
    sizes = {"seed": np.int64(1), "steps": np.int64(4), "batch_size": torch.tensor(20), "evaluate_every": np.int32(2)}
    run = Run(network(), Clouds(), settings=settings, folder=tmp_path / "kept", **sizes)
    run.control.change(max_norm=np.float64(1.0))
    run.start().wait(60)
    assert not run.trouble and list((tmp_path / "kept").iterdir())
    run.save(tmp_path / "saved")
    assert lab.training.load(tmp_path / "saved", network(), Clouds()).log() == run.log()


def test_pictures_are_turned_by_an_angle_of_numpy(tiny_task: lab.data.Task) -> None:
    runs = []
    for angle in (15.0, np.float32(15.0)):
        model = tiny_model()(tiny_task, 0)
        run = lab.fine_tune(model, tiny_task, rotation=angle, steps=2, batch_size=10, evaluate_every=0)
        runs.append([step.loss for step in run.start().wait(60).history])
    assert runs[0] == runs[1]


def test_knobs_of_a_watched_loop_are_plain_numbers_too() -> None:
    knobs = Knobs.of({"learning_rate": np.float32(0.5), "k": np.int64(2)})
    assert json.loads(json.dumps(knobs.replace(k=np.int64(3)).to_dict())) == {"learning_rate": 0.5, "k": 3}


@pytest.fixture
def model(tiny_task: lab.data.Task) -> torch.nn.Module:
    return tiny_model()(tiny_task, 0)


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"learning_rate": 10**400}, "learning_rate is 1000.*it must be a finite number above 0"),
    ({"learning_rate": 10**5000}, "learning_rate is something of type int"),
    ({"optimizer": ["adamw"]}, "optimizer is .'adamw'.; it must be a text"),
    ({"device": "gpu"}, "device is 'gpu', which is not here; there is cpu"),
    ({"device": ""}, "device is '', which is not here"),
    ({"device": "cuda:99"}, "device is 'cuda:99', which is not here"),
    ({"device": "meta"}, "device is 'meta', which is not here"),
    ({"device": 3}, "device is 3; it must be a text, a device or None"),
    ({"loss": "cross_entropy"}, "loss is 'cross_entropy'; it must be a function"),
    ({"name": 3}, "name is 3; it must be a text or None"),
    ({"folder": 3}, "folder is 3; it must be a text, a path or None"),
    ({"train": None}, "train is None; it must be a text"),
    ({"epochs": 1e300}, "epochs is 1e.300, which are more than 1,000,000,000 steps; with epochs=math.inf"),
    ({"epochs": True}, "epochs is True; it must be a finite number above 0"),
    ({"steps": 10**12}, "steps is 1000000000000; it must be a whole number, at most 1000000000"),
    ({"seed": 2**64}, "seed is 18446744073709551616; it must be a whole number, at most"),
    ({"seed": 0.5}, "seed is 0.5; it must be a whole number, 0 or more"),
    ({"seed": math.inf}, "seed is inf; it must be a whole number, 0 or more"),
    ({"seed": True}, "seed is True; it must be a whole number, 0 or more"),
    ({"seed": None}, "seed is None; it must be a whole number, 0 or more"),
    ({"batch_size": 2.0}, "batch_size is 2.0; it must be a whole number of examples, 1 or more"),
)


@pytest.mark.parametrize(("arguments", "complaint"), REFUSED)
def test_what_cannot_be_is_refused_before_training(
    model: torch.nn.Module, tiny_task: lab.data.Task, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        lab.fine_tune(model, tiny_task, **arguments)
    assert "\n" not in str(refused.value)


def test_a_gpu_that_is_not_there_is_refused(
    model: torch.nn.Module, tiny_task: lab.data.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="device is 'cuda', which is not here; there is cpu"):
        lab.fine_tune(model, tiny_task, device="cuda")


def test_a_model_and_a_task_are_told_apart(model: torch.nn.Module, tiny_task: lab.data.Task) -> None:
    desk: Any = lab
    with pytest.raises(ValueError, match="model is digits: .*; are model and task swapped?"):
        desk.fine_tune(tiny_task, model)
    with pytest.raises(ValueError, match="task is None; it must be a Task"):
        desk.fine_tune(model, None)
    with pytest.raises(ValueError, match="model is None; it must be a torch.nn.Module"):
        desk.fine_tune(None, tiny_task)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'task'"):
        desk.fine_tune(model)
    for reads in (desk.load, desk.reopen):
        with pytest.raises(ValueError, match="are model and task swapped?"):
            reads("nowhere", tiny_task, model)
    with pytest.raises(ValueError, match="log is None; it must be a Log"):
        desk.replay(None, model, tiny_task)
    with pytest.raises(ValueError, match="model is digits: .*; are model and task swapped?"):
        desk.sweep(tiny_task, lab.resnet)


def test_what_is_shown_must_be_what_is_shown(tiny_task: lab.data.Task) -> None:
    desk: Any = lab
    with pytest.raises(ValueError, match="run is None; a dashboard shows what lab.fine_tune or lab.watch made"):
        desk.dashboard(None)
    with pytest.raises(ValueError, match="sweep is digits: .*; it must be a Sweep"):
        desk.show_sweep(tiny_task)


@pytest.mark.parametrize("seed", [0.5, "3", True, math.inf, None, -1, 2**64])
def test_a_seed_is_a_whole_number_everywhere(
    tiny_task: lab.data.Task, model: torch.nn.Module, tmp_path: Path, seed: Any
) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: lab.digits(seed=seed),
        lambda: lab.reviews(seed=seed),
        lambda: lab.texts(tmp_path / "none.csv", seed=seed),
        lambda: lab.images(tmp_path, seed=seed),
        lambda: lab.resnet(2, seed=seed),
        lambda: lab.bert(2, seed=seed),
        lambda: lab.fine_tune(model, tiny_task, seed=seed),
        lambda: lab.range_test(model, tiny_task.batches(0, 10), seed=seed),
        lambda: lab.sweep(tiny_model(), tiny_task, seeds=[seed]),
    )
    for call in calls:
        with pytest.raises(ValueError, match="seed is .*; it must be a whole number, "):
            call()


def test_other_arguments_of_data_and_models(tiny_task: lab.data.Task, tmp_path: Path) -> None:
    desk: Any = lab
    with pytest.raises(ValueError, match="balanced is 'no'; it must be True or False"):
        desk.digits(balanced="no")
    with pytest.raises(ValueError, match="two classes of the name 'a'"):
        desk.resnet(["a", "a"])
    with pytest.raises(ValueError, match="digits has no argument 'sed'; did you mean seed?"):
        desk.digits(sed=3)
    with pytest.raises(ValueError, match="file is ':memory:'; leave it out to keep the results in memory"):
        desk.sweep(tiny_model(), tiny_task, steps=2, batch_size=10, file=":memory:")
    with pytest.raises(ValueError, match="grid is 3; it must be settings with values"):
        desk.sweep(tiny_model(), tiny_task, 3)
    assert len(lab.digits(train=np.int64(40), validation=np.float32(0.01), test=10, size=np.int64(8)).train) == 40


def test_only_wrong_types_are_refused_and_the_signature_stays() -> None:
    @checked_arguments
    def desk(path: str | Path, share: float = 0.5, on: bool = False, *, then: Callable[[], int] | None = None) -> Any:
        return path, share, on, then

    assert desk("a", np.float64(0.25), np.True_) == ("a", 0.25, True, None)
    assert desk(path=Path("a"), then=int)[3] is int
    for arguments, complaint in (
        ({"path": 3}, "path is 3; it must be a text or a Path"),
        ({"path": "a", "on": 1}, "on is 1; it must be True or False"),
        ({"path": "a", "then": 1}, "then is 1; it must be a function or None"),
        ({"path": "a", "shares": 1}, "desk has no argument 'shares'; did you mean share?"),
    ):
        with pytest.raises(ValueError, match=complaint.replace("?", r"\?")):
            desk(**arguments)
