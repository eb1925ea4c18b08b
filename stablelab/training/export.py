"""A run as a folder with a short plain training script, which needs PyTorch and nothing of the workbook."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..formulas import cross_entropy
from ..formulas.schedules import plateau
from .history import History, settings_at
from .plan import Plan
from .script import written
from .settings import AUGMENTATIONS, Settings

if TYPE_CHECKING:
    from .run import Run

FILES = ("train.py", "start.safetensors", "data.safetensors")


def export(run: Run, folder: str | os.PathLike[str], build: str, files: Mapping[str, str] | None = None) -> Path:
    """Write a plain script that trains the same model on the same batches with the same changes by hand.

    On one machine and with as many threads it comes to the same losses, bit for bit on a CPU; it writes them to
    ``losses.json`` and the weights to ``trained.safetensors``.

    Args:
        run: what it has done so far is exported.
        folder: new or empty, or with an earlier export, which is replaced.
        build: lines of Python that make ``model``, with any weights; they run in the folder.
        files: other files that these lines need, by name.

    Returns:
        The script's path.

    Raises:
        ValueError: in one line, where there is nothing to export, the folder holds something else, the lines make
            another model, or the run did what a few plain lines cannot say (LAMB, augmentation, a divergence).
    """
    target = Path(folder).expanduser()
    first_weights = run.first_weights("export it")
    history = History(run.history.since(0))  # a run that trains on meanwhile is exported as it stands now
    changes = history.interventions()
    at = {step: settings_at(run.settings, changes, step) for step in sorted({1, *(each.step for each in changes)})}
    _check(run, history, at.values())
    first, order, sizes = _data(run, len(history))
    other = {each.name for each in target.iterdir()} - {*FILES, *(files or ()), *_RESULTS} if target.is_dir() else set()
    visible = sorted(name for name in other if not name.startswith("."))
    if visible:
        raise ValueError(f"{target} holds something else ({visible[0]}); give a folder that is new")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (target / name).write_text(text, encoding="utf-8")
    start = _start(run, first_weights)
    _check_build(build, start, target)
    save_file(start, target / "start.safetensors")
    save_file({**first, "rows": order, "sizes": sizes}, target / "data.safetensors")
    text = written(_plan(run, history, at, build, [name for name in first if name != "targets"]))
    (target / "train.py").write_text(text, encoding="utf-8")
    return target / "train.py"


_RESULTS = ("losses.json", "trained.safetensors", "__pycache__")


def _plan(run: Run, history: History, at: dict[int, Settings], build: str, inputs: list[str]) -> Plan:
    kept = history[len(history) - 1].kept
    return Plan(
        title=f"{run.name}: {len(history)} steps, seed {run.seed}",
        build=build,
        inputs=inputs,
        logits="logits" if inputs != ["inputs"] or getattr(run.trains, "aux_logits", False) else "",
        settings=at,
        steps=len(history),
        total_steps=run.total_steps,
        seed=run.seed,
        layers=None if run.layers is None else [list(each) for each in run.layers],
        plateau=_drops(history, at),
        kept=kept,
    )


def _drops(history: History, at: dict[int, Settings]) -> list[tuple[int, float]]:
    """From which step on the plateau schedule multiplied the learning rate by what; it needs the validation losses."""
    drops: list[tuple[int, float]] = []
    losses: list[float] = []
    for step in history:
        settings = at[max(first for first in at if first <= step.step)]
        if settings.schedule == "plateau":
            factor = plateau(losses, settings.factor, settings.patience)
            if not drops or drops[-1][1] != factor:
                drops.append((step.step, factor))
        if step.evaluation is not None:
            losses.append(step.evaluation.loss)
    return drops


def _data(run: Run, steps: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The examples that were used, by name; of all batches one after another the rows; and how many each has."""
    batches: Any = run.batches
    if not hasattr(batches, "positions"):  # a task of the learner's own: its batches as they come
        pairs = [batches(k) for k in range(steps)]
        if any(isinstance(inputs, Mapping) for inputs, _ in pairs):
            raise ValueError(
                f"to export {run.task.name!r}, its batches need positions(k) and a split with collate(rows)"
            )
        sizes = torch.tensor([len(targets) for _, targets in pairs])
        inputs, targets = (torch.cat(column) for column in zip(*pairs, strict=True))
        return {"inputs": inputs, "targets": targets}, torch.arange(len(targets)), sizes
    positions = [batches.positions(k) for k in range(steps)]
    used, rows = torch.cat(positions).unique(return_inverse=True)
    inputs, targets = batches.split.collate(used)
    examples = {"inputs": inputs} if isinstance(inputs, Tensor) else _narrow(inputs)
    return {**examples, "targets": targets}, rows, torch.tensor([len(each) for each in positions])


def _narrow(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Token ids in half the space; the script widens them again."""
    if "attention_mask" not in inputs:
        raise ValueError("to export sentences, their inputs need an attention_mask")
    return {name: tensor.int() for name, tensor in inputs.items()}


def _start(run: Run, first_weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that training began with, of the part that is trained, on the CPU."""
    prefix = next(name for name, module in run.model.named_modules() if module is run.trains)
    prefix = f"{prefix}." if prefix else ""
    found = {name.removeprefix(prefix): t for name, t in first_weights.items() if name.startswith(prefix)}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}


def _check(run: Run, history: History, settings: Collection[Settings]) -> None:
    augmented = sorted({name for each in settings for name in AUGMENTATIONS if getattr(each, name)})
    why = ""
    if not len(history):
        why = "it has not done a step yet"
    elif any(step.diverged for step in history):
        why = "it diverged, and plain training would end there"
    elif any(each.optimizer == "lamb" for each in settings):
        why = "torch has no LAMB; switch to another optimizer"
    elif augmented:
        why = f"its pictures were changed at random ({', '.join(augmented)}); set that to 0"
    elif run.loss is not cross_entropy:
        why = "its loss is not the workbook's cross-entropy"
    elif len(run.trained_parameters()) < len(list(run.trains.parameters())):
        why = "part of its weights is frozen, so it trains another part of the model than the whole"
    if why:
        raise ValueError(f"this run cannot be exported as a few plain lines: {why}")


def _check_build(build: str, start: dict[str, Tensor], folder: Path) -> None:
    """That these lines make a model that the weights fit."""
    names: dict[str, Any] = {"torch": torch}
    before = Path.cwd()
    try:
        os.chdir(folder)
        with torch.random.fork_rng(devices=[]):
            exec(build, names)
        made = names["model"]
        there = {name: t.shape for name, t in made.state_dict().items()} if isinstance(made, nn.Module) else {}
    except Exception as error:
        raise ValueError(f"the lines in build= fail: {type(error).__name__}: {error}".splitlines()[0]) from error
    finally:
        os.chdir(before)
    here = {name: t.shape for name, t in start.items()}
    odd = sorted(there.keys() ^ here.keys()) or sorted(name for name in here if there[name] != here[name])
    if odd:
        raise ValueError(f"the lines in build= make another model than the one that was trained: {odd[0]!r} differs")
