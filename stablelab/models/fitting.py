"""Whether a model and a task fit each other: said in one line before training begins, not in the middle of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..data.tasks import Task
from .heads import logits_of, model_name, new_modules

NEEDED = ("name", "classes", "fingerprint", "train", "batches")  # of a task of one's own; see training/protocols.py
USUAL_SIZES = (32, 48, 64, 75, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)  # pixels


def check_fits(model: nn.Module, task: Any, training: bool = True, validates: bool = True) -> None:
    """Raise a ``ValueError`` unless the model can take the task's inputs and has a logit for each class.

    A model or a task of the learner's own is tried on two examples. Nothing of the model is changed.

    Args:
        model: any classifier.
        task: from this package, or an object that fits the protocol.
        training: whether the whole model is trained: some families need larger pictures for that.
        validates: whether the validation split will be looked at.
    """
    lacking = [name for name in (*NEEDED, *["validation"] * validates) if not hasattr(task, name)]
    if lacking:
        raise ValueError(f"the task, a {type(task).__name__}, has no {' and no '.join(lacking)}; a task of your own "
                         "needs what the class Task in stablelab/training/protocols.py lists")  # fmt: skip
    _check_logits(model, task)
    takes = _takes(model)
    if takes is not None and takes != getattr(task, "kind", takes):
        raise ValueError(f"{model_name(model)} takes {takes}s, but {task.name} holds {task.kind}s")
    _check_tokens(model, task)
    _check_pixels(model, task, training)
    _check_rate(model, task)
    if takes is None or not isinstance(task, Task):
        _try_out(model, task, validates)


def _check_logits(model: nn.Module, task: Any) -> None:
    last = [module for _, module in new_modules(model)[-1:]]
    logits = getattr(getattr(model, "config", None), "num_labels", None) or (_width(last[0]) if last else None)
    if logits is not None and logits < len(task.classes):
        name = model_name(model)
        raise ValueError(f"{task.name} has {len(task.classes)} classes, but the head of {name} has {logits} outputs")


def _check_tokens(model: nn.Module, task: Any) -> None:
    ids, config = getattr(getattr(task.train, "store", None), "ids", None), getattr(model, "config", None)
    if ids is None or config is None:
        return
    name = model_name(model)
    if int(ids.max()) >= config.vocab_size:
        raise ValueError(f"{task.name} was tokenized for another model than {name}; make it with tokenizer={name!r}")
    room, longest = _room(model), ids.shape[1]
    if room is not None and longest > room:
        raise ValueError(f"{task.name} has sentences of {longest} tokens; make it with max_tokens={room} for {name}")


def _room(model: Any) -> int | None:
    """How many tokens a sentence may have; None where nothing limits them."""
    positions = getattr(model.config, "max_position_embeddings", None) or -1
    for name, module in model.named_modules():
        if name.endswith(".position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions -= module.padding_idx + 1  # RoBERTa and its kin count positions from there
    return positions if positions > 0 else None  # XLNet and others without a limit say -1


def _width(head: nn.Module) -> int | None:
    return getattr(head, "out_features", None) or getattr(head, "out_channels", None)


def _takes(model: nn.Module) -> str | None:
    if type(model).__module__.startswith("torchvision."):
        return "image"
    return {"input_ids": "text", "pixel_values": "image", "input_values": "sound"}.get(
        getattr(model, "main_input_name", "")
    )


# -- pictures ----------------------------------------------------------------------------------------------------------


def _check_pixels(model: nn.Module, task: Any, training: bool) -> None:
    """One of torchvision's models must be able to take pictures of the task's size."""
    pixels = getattr(getattr(task.train, "store", None), "pixels", None)
    if pixels is None or not type(model).__module__.startswith("torchvision."):
        return
    # A twin without numbers: shapes are all that matters, and neither weights, statistics nor random numbers are used.
    tensors = (*model.parameters(), *model.buffers())
    twin = copy.deepcopy(model, {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors})
    twin.train(training)
    size = int(pixels.shape[-1])
    if _goes_through(twin, size):
        return
    right = [each for each in USUAL_SIZES if _goes_through(twin, each)]
    if right:
        least = f"{'at least ' if len(right) > 1 else ''}{right[0]} × {right[0]}"
        raise ValueError(f"{model_name(model)} takes pictures of {least} pixels, but {task.name} has {size} × {size}; "
                         f"make it with size={right[0]}")  # fmt: skip


def _goes_through(twin: nn.Module, size: int) -> bool:
    try:
        with torch.no_grad():
            twin(torch.empty(2, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError):  # as layers and families put it
        return False
    return True


# -- sounds ------------------------------------------------------------------------------------------------------------


def _check_rate(model: nn.Module, task: Any) -> None:
    """A model that says at how many samples per second it was trained must be given as many."""
    has = getattr(getattr(task.train, "store", None), "rate", None)
    wants = getattr(getattr(model, "config", None), "sampling_rate", has)
    if has is not None and wants != has:
        raise ValueError(f"{model_name(model)} was trained at {wants} Hz, but {task.name} has {has} Hz; "
                         f"make it with rate={wants}")  # fmt: skip


# -- of one's own ------------------------------------------------------------------------------------------------------


def _try_out(model: nn.Module, task: Any, validates: bool) -> None:
    """Two examples to train on and two to judge by, through the model in evaluation mode."""
    batches = {"batches(seed, batch_size)(k)": task.batches(0, min(2, len(task.train)))(0)}
    if validates:
        batches["validation.batches(batch_size)"] = next(iter(task.validation.batches(2)), None)
    for where, batch in batches.items():
        where = f"{task.name}.{where}"
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise ValueError(f"{where} gives {_called(batch)}; it must be a pair (inputs, targets)")
        inputs, targets = batch
        for name, tensor in {"inputs": inputs, "targets": targets}.items():
            parts = tensor.values() if name == "inputs" and isinstance(tensor, Mapping) else [tensor]
            strange = [part for part in parts if not isinstance(part, Tensor)]
            if strange:
                raise ValueError(f"the {name} of {where} are {_called(strange[0])}; they must be a torch tensor")
        last, largest = len(task.classes) - 1, targets.max().item()
        if not targets.is_floating_point() and (targets.dtype != torch.int64 or largest > last):
            raise ValueError(f"the targets of {where} are {targets.dtype} up to {largest}; they must be int64 from 0 "
                             f"to {last}, one number for each class")  # fmt: skip
        _check_output(model, inputs, len(targets), task)


def _check_output(model: nn.Module, inputs: Any, n: int, task: Any) -> None:
    logits = logits_of(_evaluated(model, inputs, task))
    name = model_name(model)
    if not isinstance(logits, Tensor):
        raise ValueError(f"{name} returns {_called(logits)}; it must return the logits (B, C) alone, or an object with "
                         "the attribute logits")  # fmt: skip
    if logits.dim() < 2 or len(logits) != n or (logits.dim() == 2 and logits.shape[1] < len(task.classes)):
        raise ValueError(f"{name} returns {tuple(logits.shape)} for {n} examples; for the {len(task.classes)} classes "
                         f"of {task.name} it must be ({n}, {len(task.classes)})")  # fmt: skip


def _evaluated(model: nn.Module, inputs: Any, task: Any) -> Any:
    """What the model returns in evaluation mode; its mode and torch's random numbers are put back."""
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            if isinstance(inputs, Mapping):
                return model(**{name: tensor.to(device) for name, tensor in inputs.items()})
            return model(inputs.to(device))
    except Exception as error:  # a model of one's own fails in ways of its own
        shape = {k: tuple(v.shape) for k, v in inputs.items()} if isinstance(inputs, Mapping) else tuple(inputs.shape)
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(f"{model_name(model)} cannot take the inputs of {task.name}, {shape}: {reason}") from error
    finally:
        for module, mode in modes:
            module.training = mode


def _called(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
