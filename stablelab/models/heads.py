"""The head of a model (what is new for a task) and its body (what came pre-trained)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from .._validation import shown
from ..data.tasks import Task

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def class_names(task_or_classes: Task | int | Sequence[str]) -> tuple[str, ...]:
    """The names of the classes of a task, or as given, or "0", "1", … for a number.

    Raises:
        ValueError: fewer than two classes, or two of one name.
    """
    given: Any = getattr(task_or_classes, "classes", task_or_classes)
    if isinstance(given, Integral):
        given = range(int(given))
    names = tuple(map(str, given)) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    if len(names) < 2:
        raise ValueError(f"{shown(task_or_classes)} is not a task, nor names or a number of at least 2 classes")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"there are two classes of the name {twice!r}; give each a name of its own")
    return names


def model_name(model: nn.Module) -> str:
    """What a message calls the model: the name that it was loaded by, or its class."""
    return str(getattr(model, "stablelab_source", type(model).__name__)).split(" · ")[0]


def logits_of(output: Any) -> Tensor:
    """(B, C) from what a classifier returns: torchvision's return them, Hugging Face's an object that holds them."""
    return getattr(output, "logits", output)


def new_modules(model: nn.Module) -> tuple[tuple[str, nn.Module], ...]:
    """The modules (dotted name, module) that are new for a task, in order.

    For a Hugging Face model: all with parameters that stand beside its pre-trained base model. For any other: the
    last linear layer (or convolution, in the one family that ends in one). In a model of peft, those of the model that
    it wraps.
    """
    wrapped_by_peft: Any = getattr(model, "get_base_model", None)
    if wrapped_by_peft is not None:
        wrapped = wrapped_by_peft()
        prefix = next(name for name, module in model.named_modules() if module is wrapped)
        return tuple((f"{prefix}.{name}", module) for name, module in new_modules(wrapped))
    body = getattr(model, getattr(model, "base_model_prefix", ""), None)
    if isinstance(body, nn.Module) and body is not model:
        return tuple((n, m) for n, m in model.named_children() if m is not body and any(True for _ in m.parameters()))
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LAYERS)]
    return tuple(layers[-1:])


def head_of(model: nn.Module) -> tuple[str, nn.Module]:
    """The head: the module whose output is the logits (or becomes them), and its dotted name.

    Raises:
        ValueError: the model has no linear layer.
    """
    new = new_modules(model)
    if not new:
        raise ValueError(f"{type(model).__name__} has no linear layer that could be its head")
    return new[-1]


def freeze(model: nn.Module) -> ExitStack:
    """Hold the body still: no gradients, and evaluation mode even after ``model.train()``.

    So batch-norm statistics stay as they are and no dropout acts, neither in the body nor between body and head.

    Args:
        model: its head stays trainable.

    Returns:
        A context: ``with freeze(model): ...`` releases the body at the end. Without ``with`` it stays frozen.

    Raises:
        ValueError: the model has no head.
    """
    unfreeze(model)
    head_of(model)
    kept = {id(parameter) for _, module in new_modules(model) for parameter in module.parameters()}
    held = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in kept]
    for name in held:
        model.get_parameter(name).requires_grad_(False)
    mode = model.training
    # On this object alone, so that its class stays torchvision's.
    vars(model)["train"] = partial(_train_head_only, model, tuple(held))
    model.train(mode)
    context = ExitStack()
    context.callback(unfreeze, model)
    return context


def _train_head_only(model: nn.Module, held: tuple[str, ...], mode: bool = True) -> nn.Module:
    type(model).train(model, False)
    model.training = mode
    for _, module in new_modules(model):
        module.train(mode)
    return model


def unfreeze(model: nn.Module) -> nn.Module:
    """Undo ``freeze``: the parameters that it held are trainable again. Returns the model."""
    frozen = model.__dict__.pop("train", None)
    if frozen is not None:
        for name in frozen.args[1]:
            model.get_parameter(name).requires_grad_(True)
        model.train(model.training)
    return model
