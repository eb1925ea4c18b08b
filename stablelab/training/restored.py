"""Leave a model as it was found: what a probe that moves weights stands on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .reproducibility import one_step_at_a_time


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Whatever happens to the model inside, after it everything is as before, bit for bit; also after an exception.

    Put back are parameters, buffers (batch-norm statistics), the mode and the gradients of every part, and the states
    of torch's generators. The tensors stay the same objects, so an optimizer that holds them goes on as if nothing had
    been. Runs of this process wait at their next step meanwhile: one may be training this very model.

    Arguments:
        model: any; it may be on a GPU.
    """
    with one_step_at_a_time:
        modules = [(module, module.training) for module in model.modules()]
        parameters = [(p, p.detach().clone(), p.grad, _copy(p.grad)) for p in model.parameters()]
        buffers = [
            (module, name, buffer, buffer.clone())
            for module, _ in modules
            for name, buffer in module.named_buffers(recurse=False)
        ]
        generators = _generators(model)
        try:
            yield
        finally:
            for module, training in modules:
                module.training = training  # not train(), which a frozen model has replaced by its own
            with torch.no_grad():
                for parameter, value, gradient, gradient_value in parameters:
                    parameter.copy_(value)
                    parameter.grad = gradient
                    if gradient is not None:
                        gradient.copy_(gradient_value)
                for module, name, buffer, value in buffers:
                    setattr(module, name, buffer.copy_(value))  # some layers replace a buffer instead of filling it
            for generator, state in generators:
                generator.set_state(state)


def _copy(tensor: torch.Tensor | None) -> torch.Tensor:
    return torch.empty(0) if tensor is None else tensor.detach().clone()


def _generators(model: nn.Module) -> list[tuple[torch.Generator, torch.Tensor]]:
    """The generators that a step on this model may draw from, and their states."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    found = [torch.default_generator, *(torch.cuda.default_generators[device.index] for device in devices)]
    return [(generator, generator.get_state()) for generator in found]
