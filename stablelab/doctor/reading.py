"""Whatever a run was recorded in, read as a ``TrainingLog``: our runs, watched loops, Trainers, tables, TensorBoard."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import reason_of
from .._formatting import one_line
from ..formulas import cross_entropy
from ..training.background import Driver
from ..training.history import History
from ..training.records import FINAL
from ..training.run import Run
from ..training.watched import Watched
from .column_names import find_columns
from .step_columns import StepColumns, per_epoch
from .training_log import Column, TrainingLog

if TYPE_CHECKING:
    import pandas

TAKES = (
    "lab.examine takes a run, a history, a transformers.Trainer, a pandas.DataFrame, or the path of a table (.csv, "
    ".tsv), of a trainer_state.json, of a saved watched run or of a folder of TensorBoard"
)


def read(what: Any, loss: str | None = None) -> TrainingLog:
    """The log of a run, wherever it is.

    Args:
        what: see ``lab.examine``.
        loss: the column or tag of the training loss, where it cannot be told.

    Raises:
        ValueError: in one line, where there is no log in it.
    """
    if isinstance(what, Driver):
        return _of_run(what)
    if isinstance(what, History):
        return StepColumns(what.since(0)).log("this history")
    if isinstance(what, str | os.PathLike):
        return _of_path(Path(what).expanduser(), loss)
    kinds = {(kind.__module__.split(".")[0], kind.__name__) for kind in type(what).__mro__}
    if ("pandas", "DataFrame") in kinds:
        return _of_frame(what, "this table", loss)
    if ("transformers", "Trainer") in kinds:
        return of_trainer(what.args, what.state, what.model)
    raise ValueError(f"{TAKES}; this is {type(what).__name__}")


# -- ours --------------------------------------------------------------------------------------------------------------


def _of_run(run: Driver) -> TrainingLog:
    return replace(StepColumns(run.history.since(0)).log(name_of(run)), **about(run))


def name_of(run: Driver) -> str:
    """What a run is called in a report."""
    return f"run {run.name!r}"


def about(run: Driver) -> dict[str, Any]:
    """What is known of a run beside its steps, by the names of ``TrainingLog``."""
    known: dict[str, Any] = {"over": run.state in FINAL, "settings": run.control.settings.to_dict()}
    if isinstance(run, Run):
        return known | _about_task(run)
    trainer = getattr(run, "trainer", None)
    return known | {"total_steps": run.total_steps} | _about_model(getattr(trainer, "model", None))


def _about_task(run: Run) -> dict[str, Any]:
    targets = np.asarray(run.task.train.targets)
    shares = np.bincount(targets.reshape(-1).astype(np.int64)) / max(1, targets.size)
    shares = shares[shares > 0]
    plain = run.loss is cross_entropy
    name = getattr(run.loss, "__name__", type(run.loss).__name__)
    return {
        "total_steps": run.total_steps,
        "classes": len(run.task.classes) if plain else None,
        "label_entropy": float(-(shares * np.log(shares)).sum()) if plain else None,
        "why_no_classes": f"its loss is {name}, not plain cross-entropy, so that nothing can be held against ln C",
        "batch_size": run.batch_size,
        "steps_per_epoch": run.batches.per_epoch,
        "parameters": sum(p.numel() for p in run.trained_parameters()),
        "bias_correction": run.settings.bias_correction if run.settings.optimizer in ("adam", "adamw") else True,
        "warmup_steps": run.settings.warmup_steps,
    }


# -- Hugging Face ------------------------------------------------------------------------------------------------------

_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification", "ForMultipleChoice")


def _about_model(model: Any) -> dict[str, Any]:
    """What a model of Hugging Face says of its task."""
    config, name = getattr(model, "config", None), type(model).__name__
    if config is None:
        return {}
    if not name.endswith(_CLASSIFIERS) or name.endswith("ForMultipleChoice"):
        return {"why_no_classes": f"{name} does not sort examples into classes: nothing can be held against ln C"}
    classes, kind = int(getattr(config, "num_labels", 0)), getattr(config, "problem_type", None)
    if classes < 2 or kind in ("regression", "multi_label_classification"):
        return {"why_no_classes": "the loss of this model is not cross-entropy over classes"}
    return {"classes": classes}


def of_trainer(args: Any, state: Any, model: Any) -> TrainingLog:
    """What a Trainer has logged so far, from its arguments, its state and its model."""
    if not state.log_history:
        raise ValueError("this Trainer has logged nothing yet: examine it after train(), with logging_steps=1 or 10")
    log = _of_log_history(state.log_history, "this Trainer", vars(state))
    remarks = log.remarks
    if args.logging_nan_inf_filter:
        remarks += ("losses that are not finite are left out of its log (logging_nan_inf_filter=True)",)
    threshold = float(args.max_grad_norm or 0)
    return replace(
        log,
        max_norms=np.full(len(log), threshold) if threshold > 0 and len(log.norms) else np.empty(0),
        optimizer=str(getattr(args.optim, "value", args.optim)),
        batch_size=int(args.train_batch_size),
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        over=state.global_step >= state.max_steps if state.max_steps else None,
        remarks=remarks,
        settings={
            "learning_rate": float(args.learning_rate),
            "max_norm": threshold or None,
            "weight_decay": float(args.weight_decay),
        },
        **_about_model(model),
    )


def _of_log_history(entries: Iterable[Mapping[str, Any]], source: str, state: Mapping[str, Any]) -> TrainingLog:
    """The ``log_history`` of a Trainer; each of its losses is the mean since the one before."""
    rows = [each for each in entries if "loss" in each and "step" in each]
    scored = [each for each in entries if "eval_loss" in each and "step" in each]
    if not rows:
        raise ValueError(f"{source} has no training loss in its log: logging_steps may be larger than the run was long")

    def column(name: str, among: list[Mapping[str, Any]] = rows) -> Column:
        found = np.array([_number(each.get(name)) for each in among], dtype=float)
        return found if np.isfinite(found).any() else np.empty(0)

    steps, losses = column("step"), np.array([_number(each["loss"]) for each in rows], dtype=float)
    norms = np.array([_number(each.get("grad_norm", 0.0)) for each in rows])
    wrong = ~np.isfinite(losses) | ~np.isfinite(norms)
    epochs, total = column("epoch"), int(state.get("max_steps") or 0)
    accuracy = next((name for each in scored for name in each if "acc" in name.lower()), "eval_accuracy")
    apart = float(np.median(np.diff(steps, prepend=0)))
    done = int(state.get("global_step") or steps[-1])
    return TrainingLog(
        source=source,
        steps=steps,
        losses=losses,
        learning_rates=column("learning_rate"),
        norms=column("grad_norm"),
        validation_steps=np.array([_number(each["step"]) for each in scored]),
        validation_losses=np.array([_number(each["eval_loss"]) for each in scored]),
        accuracies=np.array([_number(each.get(accuracy)) for each in scored]),
        averaged=max(1.0, apart),
        not_finite=int(steps[wrong][0]) if wrong.any() else None,
        batch_size=state.get("train_batch_size"),
        steps_per_epoch=per_epoch(steps, epochs),
        total_steps=total or None,
        over=done >= total if total else None,
    )


def _of_json(path: Path) -> TrainingLog:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {reason_of(error)}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{str(path)!r} is not JSON; a Trainer's log is in its trainer_state.json") from None
    if isinstance(held, dict) and isinstance(held.get("log_history"), list):
        entries = [each for each in held["log_history"] if isinstance(each, dict)]
        return _of_log_history(entries, path.name, held)
    try:
        return _of_run(Watched.load(path))
    except ValueError:
        raise ValueError(
            f"{str(path)!r} is neither a trainer_state.json (it has no log_history) nor a watched run that was saved"
        ) from None


# -- tables ------------------------------------------------------------------------------------------------------------


def _of_path(path: Path, loss: str | None) -> TrainingLog:
    if path.is_dir():
        state = path / "trainer_state.json"
        return _of_json(state) if state.exists() else _of_tensorboard(path, loss)
    if not path.exists():
        raise ValueError(f"there is no file {str(path)!r}")
    if path.suffix.lower() == ".json":
        return _of_json(path)
    if ".tfevents." in path.name:
        return _of_tensorboard(path, loss)
    return _of_csv(path, loss)


def _of_csv(path: Path, loss: str | None) -> TrainingLog:
    import pandas

    try:
        with path.open(encoding="utf-8-sig") as lines:
            head = lines.readline()
        if not head.strip():
            raise ValueError("it is empty")
        separator = max(",;\t", key=head.count)
        names = next(csv.reader([head], delimiter=separator))
        if all(_is_number(each) for each in names):
            raise ValueError("its first line has no names of columns, such as step,loss")
        frame = pandas.read_csv(
            path,
            sep=separator,
            encoding="utf-8-sig",
            skipinitialspace=True,
            low_memory=False,
            keep_default_na=False,  # so that a loss of "nan" is not taken for a blank
            na_values=["", "NA", "N/A", "None", "null", "-"],
        )
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {reason_of(error)}") from None
    except ValueError as error:  # of pandas, too, and of text that is not UTF-8
        reason = "it is not a table of text" if isinstance(error, UnicodeDecodeError) else one_line(str(error), 160)
        raise ValueError(f"{str(path)!r} cannot be read as a table: {reason}") from None
    return _of_frame(frame, path.name, loss)


def _of_frame(frame: pandas.DataFrame, source: str, loss: str | None) -> TrainingLog:
    """A table with a row per step, or per epoch, whatever its columns are called."""
    names = find_columns([str(name) for name in frame.columns], source, loss)
    if not len(frame):
        raise ValueError(f"{source} is empty: it has columns, but no line of numbers")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    column = partial(_numbers, frame)
    losses, validated, accurate = column(names.loss), column(names.validation_loss), column(names.accuracy)
    scored = np.zeros(len(frame), bool)
    for scores in (validated, accurate):
        if len(scores):
            scored |= np.isfinite(scores)
    wrong = _lost(frame, names.loss, losses, scored) | _truths(frame, "diverged")
    trains = np.isfinite(losses)
    if not trains.any():
        raise ValueError(f"{source} has no finite number in the column {names.loss!r}, in none of {len(frame)} lines")
    step, epoch = column(names.step), column(names.epoch)
    unit, numbers = "step", step
    if not np.isfinite(step).any():
        numbers = np.arange(1.0, len(frame) + 1)
        unit = "epoch" if np.isfinite(epoch).any() and len(epoch) == len(np.unique(epoch)) else "row"
    elif not np.isfinite(step).all():
        numbers = np.where(np.isfinite(step), step, np.arange(len(frame)) + 1.0)
    numbers = numbers + (1 if numbers[trains][0] == 0 else 0)  # counted from 0: a row's number is of the steps done
    kept = trains | wrong
    cut = lambda values: values[kept] if len(values) and np.isfinite(values[kept]).any() else np.empty(0)  # noqa: E731
    nan = np.full(int(scored.sum()), math.nan)
    optimizer = str(frame["optimizer"].iloc[0]) if "optimizer" in frame else ""
    apart = np.median(np.diff(numbers[kept])) if kept.sum() > 1 else 1.0
    return TrainingLog(
        source=source,
        steps=numbers[kept],
        losses=losses[kept],
        learning_rates=cut(column(names.learning_rate)),
        norms=cut(column(names.norm)),
        max_norms=cut(column(names.max_norm)),
        validation_steps=numbers[scored],
        validation_losses=validated[scored] if len(validated) else nan,
        accuracies=accurate[scored] if len(accurate) else nan,
        unit=unit,
        averaged=max(1.0, float(apart)) if unit == "step" else math.inf,
        not_finite=int(numbers[wrong][0]) if wrong.any() else None,
        steps_per_epoch=per_epoch(numbers, epoch) if unit == "step" else None,
        optimizer=optimizer,
        why_no_classes=names.other_kind or TrainingLog.why_no_classes,
    )


def _numbers(frame: pandas.DataFrame, name: str | None) -> Column:
    import pandas

    if name is None:
        return np.empty(0)
    return np.asarray(pandas.to_numeric(frame[name], errors="coerce"), dtype=float)


def _lost(frame: pandas.DataFrame, name: str, losses: Column, scored: np.ndarray) -> np.ndarray:
    """Which rows had a loss that was not finite; a blank is none, but for those at the end of a table in memory."""
    import pandas

    lost = np.isinf(losses)
    if not pandas.api.types.is_numeric_dtype(frame[name]):
        return lost | np.asarray(frame[name].astype(str).str.strip().str.lower().isin(("nan", "+nan", "-nan")))
    blank = ~np.isfinite(losses) & ~scored
    after = len(losses) - np.argmax(np.isfinite(losses)[::-1]) if np.isfinite(losses).any() else 0
    if "diverged" not in frame and blank[after:].sum() > 1:
        lost[after:] |= blank[after:]
    return lost


def _truths(frame: pandas.DataFrame, name: str) -> np.ndarray:
    if name not in frame:
        return np.zeros(len(frame), bool)
    return np.asarray(frame[name].astype(str).str.lower().isin(("true", "1", "1.0")))


# -- TensorBoard -------------------------------------------------------------------------------------------------------


def _of_tensorboard(path: Path, loss: str | None) -> TrainingLog:
    """Scalars of an event file, or of a folder of them, by tensorboard's own reader."""
    files = [path] if path.is_file() else sorted(path.rglob("*.tfevents.*"))
    if not files:
        raise ValueError(f"the folder {str(path)!r} holds neither a trainer_state.json nor a file of TensorBoard")
    folders = sorted({each.parent for each in files})
    if len(folders) > 1 and path.is_dir() and any(each.parent == path for each in files):
        folders = [path]  # what add_scalars puts into folders of its own is a curve in many colours, not another run
    if len(folders) > 1:
        listed = ", ".join(each.name for each in folders[:5])
        raise ValueError(
            f"the folder {str(path)!r} holds {len(folders)} runs of TensorBoard ({listed}): give one of them"
        )
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        raise ValueError("to read a folder of TensorBoard: python -m pip install tensorboard") from None
    reader = EventAccumulator(str(path if path.is_file() else folders[0]), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    found: dict[str, list[tuple[int, float]]] = {
        tag: [(event.step, float(event.value)) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]
    }
    from tensorboard.util.tensor_util import make_ndarray

    for tag in reader.Tags()["tensors"]:  # what TensorFlow 2 writes scalars as
        values = [(event.step, make_ndarray(event.tensor_proto)) for event in reader.Tensors(tag)]
        if values and all(value.ndim == 0 and value.dtype.kind == "f" for _, value in values):
            found[tag] = [(step, float(value)) for step, value in values]
    if not found:
        raise ValueError(f"{str(path)!r} holds no scalar of TensorBoard")
    names = find_columns(list(found), path.name, loss)
    steps = np.array([step for step, _ in found[names.loss]], dtype=float)
    losses = np.array([value for _, value in found[names.loss]], dtype=float)
    shift = 1 if len(steps) and steps[0] == 0 else 0

    def at_steps(name: str | None) -> Column:
        if name is None:
            return np.empty(0)
        values = dict(found[name])
        column = np.array([values.get(int(step), math.nan) for step in steps])
        return column if np.isfinite(column).any() else np.empty(0)

    validated = dict(found[names.validation_loss]) if names.validation_loss else {}
    accurate = dict(found[names.accuracy]) if names.accuracy else {}
    when = sorted({*validated, *accurate})
    norms = at_steps(names.norm)
    wrong = ~np.isfinite(losses)
    return TrainingLog(
        source=path.name,
        steps=steps + shift,
        losses=losses,
        learning_rates=at_steps(names.learning_rate),
        norms=norms,
        max_norms=at_steps(names.max_norm),
        validation_steps=np.array(when, dtype=float) + shift,
        validation_losses=np.array([validated.get(step, math.nan) for step in when]),
        accuracies=np.array([accurate.get(step, math.nan) for step in when]),
        averaged=max(1.0, float(np.median(np.diff(steps)))) if len(steps) > 1 else 1,
        not_finite=int(steps[wrong][0]) + shift if wrong.any() else None,
        steps_per_epoch=per_epoch(steps + shift, at_steps(names.epoch)),
        why_no_classes=names.other_kind or TrainingLog.why_no_classes,
    )


# -- numbers -----------------------------------------------------------------------------------------------------------


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _is_number(text: str) -> bool:
    return math.isfinite(_number(text))
