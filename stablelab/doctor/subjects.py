"""What probes look at, put together from whatever is at hand: a run of ours, a Trainer, or a model and its data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from .._formatting import one_line
from ..formulas import cross_entropy
from ..training.protocols import Inputs, Loss
from ..training.records import FINAL
from ..training.run import Run
from .judging import UnknownError
from .setup import Examples, TensorExamples, TrainingSetup
from .training_log import TrainingLog

MOST = 2048  # examples of a data set that are read
RUN = 64  # neighbours that are read together, where not all are
LABELS = ("labels", "label", "target", "targets")

TRAINING = "the run is training: pause it, and examine it again"
TASK = (
    "task is {}; it must be a task (lab.digits(), lab.reviews(...)) or a pair (training set, validation set) of data "
    "sets with a length, whose items are (inputs, label) or dicts with 'labels'"
)


def setup_of_run(run: Run, log: TrainingLog | None) -> TrainingSetup:
    """Of a run of ours that stands still.

    Raises:
        UnknownError: it trains at this moment.
    """
    if run.state not in (*FINAL, "paused", "ready", "diverged"):
        raise UnknownError(TRAINING)
    last = run.history[-1] if len(run.history) else None
    if last is not None and last.kept is not None:
        log = _without_validations(log)
    return TrainingSetup(
        model=run.trains,
        train=examples_of(run.task.train, "task.train"),
        validation=examples_of(run.task.validation, "task.validation"),
        optimizer=run.optimizer,
        loss=run.loss,
        batch_size=run.batch_size,
        classes=len(run.task.classes),
        tokenizer=_tokenizer_of(run.task),
        log=log,
    )


def _without_validations(log: TrainingLog | None) -> TrainingLog | None:
    """For weights that are not those of the last validation: the best ones were put back."""
    none = np.empty(0)
    return log and replace(log, validation_steps=none, validation_losses=none, accuracies=none)


def setup_of_trainer(trainer: Any, log: TrainingLog | None) -> TrainingSetup:
    """Of a Hugging Face Trainer: its model, data sets, collator and optimizer.

    Raises:
        UnknownError: there is no such data, or its model does not sort examples into classes.
    """
    model, evaluation = trainer.model, trainer.eval_dataset
    if isinstance(evaluation, Mapping):
        evaluation = next(iter(evaluation.values()), None)
    if trainer.train_dataset is None or evaluation is None:
        which = "eval_dataset" if trainer.train_dataset is not None else "train_dataset"
        raise UnknownError(f"this Trainer has no {which}")
    if not hasattr(trainer.train_dataset, "__len__") or not hasattr(evaluation, "__len__"):
        raise UnknownError("the data of this Trainer are streamed, and have no length")
    if trainer.args.load_best_model_at_end:
        log = _without_validations(log)
    classes = getattr(getattr(model, "config", None), "num_labels", None)
    tokenizer = getattr(trainer, "processing_class", None)
    known = set(inspect.signature(model.forward).parameters) | set(LABELS)

    def collate(items: list[Any]) -> Any:
        return trainer.data_collator([{k: v for k, v in item.items() if k in known} for item in items])

    return TrainingSetup(
        model=model,
        train=read_examples(trainer.train_dataset, "train_dataset", collate),
        validation=read_examples(evaluation, "eval_dataset", collate),
        optimizer=getattr(trainer.optimizer, "optimizer", trainer.optimizer),
        batch_size=int(trainer.args.train_batch_size),
        classes=classes if isinstance(classes, int) and classes > 1 else None,
        tokenizer=tokenizer if hasattr(tokenizer, "get_vocab") else None,
        log=log,
    )


def setup_of(
    model: Any,
    task: Any,
    optimizer: Any = None,
    *,
    loss_function: Loss | None = None,
    batch_size: int | None = None,
    classes: int | None = None,
    tokenizer: Any = None,
    log: TrainingLog | None = None,
) -> TrainingSetup:
    """Of what a loop used, handed over.

    Raises:
        ValueError: in one line, where these are no model, data and optimizer.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {_shown(model)}; it must be a torch.nn.Module")
    if not any(True for _ in model.parameters()):
        raise ValueError("model has no parameters: there is nothing to examine")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(f"optimizer is {_shown(optimizer)}; it must be a torch.optim.Optimizer, as the loop used it")
    if loss_function is not None and not callable(loss_function):
        raise ValueError(f"loss_function is {_shown(loss_function)}; it must be a function of (logits, targets)")
    if isinstance(task, tuple | list) and len(task) == 2:
        train, validation = examples_of(task[0], "the training set"), examples_of(task[1], "the validation set")
    elif hasattr(task, "train") and hasattr(task, "validation"):
        train = examples_of(task.train, "task.train")
        validation = examples_of(task.validation, "task.validation")
        tokenizer = _tokenizer_of(task) if tokenizer is None else tokenizer
        classes = len(task.classes) if classes is None and hasattr(task, "classes") else classes
    else:
        raise ValueError(TASK.format(_shown(task)))
    if classes is None:
        classes = (log.classes if log is not None else None) or getattr(
            getattr(model, "config", None), "num_labels", None
        )
    if classes is None:
        classes = max(2, int(max(train.targets.max(), validation.targets.max())) + 1)
    known = log.batch_size if log is not None else None
    return TrainingSetup(
        model=model,
        train=train,
        validation=validation,
        optimizer=optimizer,
        loss=loss_function or cross_entropy,
        batch_size=min(batch_size or known or 32, len(train)),
        classes=classes,
        tokenizer=tokenizer,
        log=log,
    )


def _tokenizer_of(task: Any) -> Any:
    store = getattr(task.train, "store", None)
    return getattr(getattr(store, "store", store), "tokenizer", None)  # a part of a store holds the whole one


def _shown(value: object) -> str:
    return one_line(f"{type(value).__name__} {value!r}", 60)


# -- examples ----------------------------------------------------------------------------------------------------------


def examples_of(data: Any, what: str) -> Examples:
    """Examples of a split of ours, of ``TensorExamples``, or of a map-style data set.

    Args:
        data: with a length.
        what: it is, for the message.

    Raises:
        ValueError: in one line, where it is none of these, or empty.
    """
    if not hasattr(data, "__len__"):
        raise ValueError(f"{what} has no length; a map-style data set has (a stream can be read into a list first)")
    if not len(data):
        raise ValueError(f"{what} is empty")
    if hasattr(data, "collate") and hasattr(data, "targets"):
        found: Examples = data
        return found
    if hasattr(data, "batches") and hasattr(data, "targets"):
        return _of_batches(data)
    return read_examples(data, what)


def _of_batches(split: Any) -> Examples:
    """A split that can only be walked through."""
    inputs, targets = [], []
    for x, y in split.batches(64):
        inputs.append(x)
        targets.append(y)
        if sum(map(len, targets)) >= MOST:
            break
    return TensorExamples(_joined(inputs), torch.cat(targets))


def _joined(parts: Sequence[Inputs]) -> Inputs:
    if not isinstance(parts[0], Mapping):
        return torch.cat([part for part in parts if isinstance(part, Tensor)])
    joined = {}
    for name in parts[0]:
        columns = [part[name] for part in parts if isinstance(part, Mapping)]
        longest = max(x.shape[1] if x.dim() > 1 else 0 for x in columns)
        joined[name] = torch.cat(
            [nn.functional.pad(x, (0, longest - x.shape[1])) if x.dim() == 2 else x for x in columns]
        )
    return joined


def read_examples(data: Any, what: str, collate: Callable[[list[Any]], Any] | None = None) -> TensorExamples:
    """The items of a map-style data set as tensors: all, or 2048 of them in runs of neighbours.

    Args:
        data: items are (inputs, label), or dicts with ``labels`` or ``label``.
        what: it is, for the message.
        collate: makes a batch of items; torch's ``default_collate``, with sequences padded to one length, if not given.

    Raises:
        ValueError: in one line, where items are of another kind.
    """
    n = len(data)
    positions: Iterable[int] = range(n)
    if n > MOST:
        starts = torch.linspace(0, n - RUN, MOST // RUN).long()
        positions = (starts[:, None] + torch.arange(RUN)).flatten().unique().tolist()
    items = [data[i] for i in positions]
    try:
        inputs, targets = _taken_apart((collate or _collate)(items))
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        reason = one_line(f"{type(error).__name__}: {error}", 120)
        raise ValueError(f"the items of {what} make no batch of (inputs, label): {reason}") from None
    if targets.dim() != 1 or targets.is_floating_point():
        kind = f"shape {tuple(targets.shape)} {str(targets.dtype).removeprefix('torch.')}"
        raise ValueError(f"the labels of {what} have {kind}; they must be one class number per example")
    return TensorExamples(inputs, targets.long())


def _collate(items: list[Any]) -> Any:
    if not isinstance(items[0], Mapping):
        return default_collate(items)
    names = [name for name in items[0] if not isinstance(items[0][name], str)]
    return {name: _column([item[name] for item in items]) for name in names}


def _column(values: list[Any]) -> Tensor:
    tensors = [torch.as_tensor(value) for value in values]
    if tensors[0].dim() == 1 and len({len(each) for each in tensors}) > 1:
        return nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    return torch.stack(tensors)


def _taken_apart(batch: Any) -> tuple[Inputs, Tensor]:
    if isinstance(batch, Mapping):
        name = next((each for each in LABELS if each in batch), None)
        if name is None:
            raise ValueError(f"an item has {', '.join(map(str, batch))}, and none of {', '.join(LABELS)}")
        inputs = {k: v for k, v in batch.items() if k != name and isinstance(v, Tensor)}
        if not inputs:
            raise ValueError("an item has labels only")
        return inputs, batch[name]
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError("an item is neither a pair nor a dict")
    inputs, targets = batch
    return inputs, targets
