"""What makes kept results valid: a change of the numbers is noticed, and a change of words is not one.

After a change that is meant to alter numbers, raise ``NUMERICS_VERSION`` and write the new ones with
``python tests/test_sweeping.py``.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny import make_sweep, tiny_task
from torch import nn

import stablelab as lab
from stablelab import formulas
from stablelab.models.rng import seeded_rng
from stablelab.stability import Outcome, Trial, TrialSetup
from stablelab.stability.sweeps import batched_heads, execution
from stablelab.stability.sweeps.ledger import Ledger
from stablelab.stability.sweeps.sweep import key_of
from stablelab.studies import papers
from stablelab.sweeping import NUMERICS_VERSION, weights_digest
from stablelab.training import Settings

__all__ = ["make_sweep", "tiny_task"]  # fixtures
FILE = Path(__file__).with_name("numerics.json")
STEPS = 10
TOLERANCE = 1e-3  # relative; other instruction sets of a processor change these numbers by less than 2e-4
SGD = {"optimizer": "sgd", "learning_rate": 0.3}
ADAM = {"learning_rate": 0.02}

RUNS: dict[str, dict[str, Any]] = {
    "sgd": SGD,
    "sgd, decaying": SGD | {"weight_decay": 0.1},
    "momentum": SGD | {"optimizer": "momentum", "momentum": 0.8},
    "nesterov": SGD | {"optimizer": "nesterov", "momentum": 0.8},
    "adam": ADAM | {"optimizer": "adam", "weight_decay": 0.1},
    "adamw": ADAM | {"weight_decay": 1.0, "beta1": 0.8, "beta2": 0.9},
    "adamw of the workbook": ADAM | {"weight_decay": 1.0, "implementation": "workbook", "eps": 1e-2},
    "adamw, not corrected": ADAM | {"bias_correction": False},
    "lamb": ADAM | {"optimizer": "lamb", "weight_decay": 0.1},
    "clip by norm": SGD | {"max_norm": 0.5},
    "clip by tensor": SGD | {"max_norm": 0.3, "clip": "tensor"},
    "clip by value": SGD | {"max_norm": 0.02, "clip": "value"},
    "exponential": SGD | {"schedule": "exponential", "gamma": 0.7},
    "cosine": SGD | {"schedule": "cosine", "warmup_steps": 3},
    "linear": SGD | {"schedule": "linear", "warmup_steps": 3},
    "plateau": SGD | {"learning_rate": 3.0, "schedule": "plateau", "patience": 0, "factor": 0.3, "evaluate_every": 1},
    "early stopping": SGD | {"learning_rate": 3.0, "early_stopping": 1, "evaluate_every": 1},
    "layers": SGD | {"layer_decay": 0.5, "unfrozen": 1, "unfreeze_every": 3},
    "augmented": SGD | {"noise": 0.1, "crop": 0.1, "rotation": 20, "flip": 0.5},
    "bootstrap": SGD | {"subsets": ("bootstrap", 1)},
    "disjoint": SGD | {"subsets": ("disjoint", 2)},
    "sharpness": SGD | {"sharpness": 20},
    "heads": {
        "grid": {"optimizer": ["sgd", "adamw"], "max_norm": [None, 0.5]},
        "train": "head",
        "learning_rate": 0.01,
        "weight_decay": 0.1,
    },
}


def model(task: lab.data.Task, seed: int) -> nn.Module:
    """Two layers of 16 smooth units, drawn from the seed."""
    with seeded_rng(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, len(task.classes)))


def numbers_of(outcome: Outcome) -> list[float]:
    """Loss and gradient norm of the last step, validation loss at the end, and λ_max where it was asked for."""
    measured = [outcome.losses[-1], outcome.norms[-1], outcome.validation_loss, outcome.sharpness]
    return [round(float(value), 6) for value in measured if value is not None]


def run(name: str) -> list[list[float]]:
    """The numbers of each run of this name."""
    arguments = {"seeds": [1], "steps": STEPS, "batch_size": 10} | RUNS[name]
    size, made = (16, lab.resnet) if "train" in arguments else (8, model)
    task = lab.digits(train=60, validation=40, test=40, size=size)
    return [numbers_of(outcome) for outcome in lab.sweep(made, task, **arguments).run(bar=False).outcomes]


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_are_those_of_this_version(name: str) -> None:
    """If this fails, kept results no longer are what the code computes: see the top of this file."""
    stored = json.loads(FILE.read_text())
    assert stored["version"] == NUMERICS_VERSION
    np.testing.assert_allclose(run(name), stored["runs"][name], rtol=TOLERANCE)


def test_every_setting_shows_in_the_numbers() -> None:
    """No two runs that differ in their settings have the same numbers: each would notice what the others do not."""
    stored = {name: np.array(numbers[0]) for name, numbers in json.loads(FILE.read_text())["runs"].items()}
    for one, other in itertools.combinations(sorted(stored.keys() - {"sharpness"}), 2):
        assert np.abs(stored[one] / stored[other] - 1).max() > 5 * TOLERANCE, f"{one} and {other}"


def _another_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "cross_entropy", lambda *given: 1.01 * formulas.cross_entropy(*given))


def _another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = execution.training_steps
    monkeypatch.setattr(execution, "training_steps", lambda setup, trial: loop(setup, replace(trial, order=2)))


def _another_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        batched_heads, "adamw_", lambda *given: formulas.optimizers.adamw_(*given[:8], 1e-3, *given[9:])
    )  # ε


@pytest.mark.parametrize(
    ("change", "name"), [(_another_loss, "sgd"), (_another_order, "adamw"), (_another_adam, "heads")]
)
@pytest.mark.slow
def test_a_change_of_arithmetic_is_noticed(
    change: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_the_numbers_are_those_of_this_version(name)


SCRIPT = """
import stablelab as lab
from torch import nn
task = lab.digits(train=30, validation=20, test=20, size=8)
model = lambda task, seed: nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
keys = lab.sweep(model, task, {"learning_rate": [0.1, 0.2]}, steps=3, batch_size=10, subsets=("disjoint", 2)).keys
"""


@pytest.mark.slow
def test_other_comments_and_docstrings_change_nothing(tmp_path: Path) -> None:
    """The runs of a package without a single comment, and with other docstrings, are the same runs."""

    def reword(source: str, target: str) -> None:
        if not source.endswith(".py"):
            os.symlink(source, target)
            return
        tree = ast.parse(Path(source).read_text())
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if documented and ast.get_docstring(node) is not None:
                node.body[0] = ast.Expr(ast.Constant("Other words."))
        Path(target).write_text(ast.unparse(ast.fix_missing_locations(tree)))

    package = Path(lab.__file__).parent
    shutil.copytree(package, tmp_path / "stablelab", copy_function=reword, ignore=shutil.ignore_patterns("__pycache__"))
    here: dict[str, Any] = {}
    exec(SCRIPT, here)
    there = subprocess.run(
        [sys.executable, "-c", f"{SCRIPT}\nprint(lab.__file__, *keys)"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    file, *keys = there.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert tuple(keys) == here["keys"]


@pytest.fixture(scope="module")
def short() -> lab.Sweep:
    """The sweep that made the kept results of short runs."""
    return papers.bias_correction(papers.SHORT)


@pytest.mark.slow
def test_the_kept_results_are_what_the_code_computes(short: lab.Sweep) -> None:
    """The first steps of two of the runs that lie in the package, with and without bias correction."""
    kept, trainable = papers.kept("bert_short"), short.trainable
    for i in (5, 45):
        trial: Trial = kept.trials[i]
        setup: TrialSetup = trainable.prepare(trial)
        with execution.one_thread():
            losses = [step.loss for step in itertools.islice(execution.training_steps(setup, trial), 3)]
        np.testing.assert_allclose(losses, kept.outcomes[i].losses[:3], rtol=TOLERANCE)


@pytest.mark.parametrize(("factor", "same"), [(1 + 2e-7, True), (1.01, False)])
def test_weights_drawn_by_another_processor_are_the_same_and_other_weights_are_not(factor: float, same: bool) -> None:
    with seeded_rng(0):
        one = nn.Linear(384, 2)
    other = nn.Linear(384, 2)
    other.load_state_dict({name: tensor * factor for name, tensor in one.state_dict().items()})
    assert (weights_digest(one) == weights_digest(other)) == same


def test_the_missing_correction_as_a_schedule_makes_the_runs_without_it(make_sweep: Callable[..., lab.Sweep]) -> None:
    """And is part of what a sweep is: with it the same trials are other runs."""
    without = make_sweep(bias_correction=False, learning_rate=1e-3)
    plain = make_sweep(learning_rate=1e-3)
    shaped = lab.Sweep(replace(plain.trainable, rate_factor=formulas.missing_correction), plain.trials)
    assert set(shaped.keys).isdisjoint(plain.keys)
    assert shaped.description["rate_factor"] == "missing_correction" and "rate_factor" not in plain.description
    pairs = [sweep.run(bar=False).losses for sweep in (without, shaped, plain)]
    for expected, found, other in zip(*pairs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=5e-4)
        assert abs(other[-1] / expected[-1] - 1) > 5e-3


@pytest.mark.parametrize("name", ["bert_map", "study_40", "study_40_new_layer_schedule"])
@pytest.mark.slow
def test_results_of_another_machine_are_found_as_done(name: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.sqlite"
    file.write_bytes((papers.KEPT / f"{name}.sqlite").read_bytes())
    again = papers.EXPERIMENTS[name](file=file)
    assert again.trials == papers.kept(name).trials
    assert again.done == (again.total if papers.kept(name).description["torch"] == again.description["torch"] else 0)


@pytest.mark.slow
def test_kept_results_are_found_as_done(short: lab.Sweep, tmp_path: Path) -> None:
    """All but the versions of stablelab and torch is what the sweep that made them looks for."""
    kept, now = papers.kept("bert_short").description, short.description
    versions = dict.fromkeys(("stablelab", "torch"))
    assert kept | versions == now | versions
    file = tmp_path / "kept.sqlite"
    file.write_bytes((papers.KEPT / "bert_short.sqlite").read_bytes())
    again = lab.Sweep(short.trainable, short.trials, file)
    assert again.done == (again.total if kept["torch"] == now["torch"] else 0)


def test_runs_that_other_arithmetic_made_are_told_and_run_anew(
    make_sweep: Callable[..., lab.Sweep],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "sweep.sqlite"
    make_sweep(file=file).run(bar=False)
    assert make_sweep(file=file).done == 2 and not capsys.readouterr().err
    monkeypatch.setattr("stablelab.sweeping.NUMERICS_VERSION", NUMERICS_VERSION + 1)
    again = make_sweep(file=file)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"2 runs in {file} were made by numerics {NUMERICS_VERSION}, torch ")
    assert f"here it is numerics {NUMERICS_VERSION + 1}, torch " in said and said.endswith("run anew beside them\n")
    assert again.done == 0 and len(again.run(bar=False)) == 2


def test_runs_kept_before_there_was_a_precision_keep_their_keys(make_sweep: Callable[..., lab.Sweep]) -> None:
    for experiment in ("bert_short", "study_120"):
        ledger = Ledger(papers.KEPT / f"{experiment}.sqlite", read_only=True)
        for name in ledger.descriptions():
            assert all(key == key_of(name, trial) for key, trial in ledger.runs(name))
    (trial,) = make_sweep(seeds=[0]).trials
    assert not {"precision", "accumulation"} & trial.to_dict()["settings"].keys()
    for change in ({"precision": "bf16"}, {"accumulation": 2}):
        other = replace(trial, settings=trial.settings.replace(**change))
        assert other.to_dict() != trial.to_dict() and Trial.from_dict(other.to_dict()) == other


def test_a_sweep_over_precision_and_accumulation(make_sweep: Callable[..., lab.Sweep]) -> None:
    found = make_sweep({"precision": ["fp32", "bf16"], "accumulation": [1, 5]}, seeds=[0]).run(bar=False)
    losses = [outcome.losses for outcome in found.outcomes]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-6)
    np.testing.assert_allclose(losses[2], losses[3], atol=1e-2)
    assert 0 < np.abs(losses[0] - losses[2]).max() < 0.05
    with pytest.raises(ValueError, match="accumulation is 3, which does not divide the batch of 10"):
        make_sweep({"accumulation": [1, 3]})


def test_the_arguments_are_those_of_settings_with_their_defaults() -> None:
    arguments = inspect.signature(lab.sweep).parameters
    for setting in fields(Settings):
        assert arguments[setting.name].default == setting.default
    documented = inspect.getdoc(lab.sweep) or ""
    assert all(f"\n    {name}: " in documented for name in arguments)


def write() -> None:
    """Write the numbers of this version; numbers of the same version that differ are not overwritten."""
    found = {"version": NUMERICS_VERSION, "runs": {name: run(name) for name in RUNS}}
    stored = json.loads(FILE.read_text()) if FILE.exists() else {"version": 0, "runs": {}}
    if stored["version"] == NUMERICS_VERSION:
        for name in stored["runs"].keys() & RUNS.keys():
            np.testing.assert_allclose(
                found["runs"][name], stored["runs"][name], rtol=TOLERANCE, err_msg=f"{name}: raise NUMERICS_VERSION"
            )
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    write()
