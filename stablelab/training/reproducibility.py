"""What makes a step a pure function of (seed, k) and a probe leave no trace: nothing global is left changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# torch's default generators belong to the whole process: while one step has them set, no other step may begin.
one_step_at_a_time = threading.RLock()


@contextmanager
def step_randomness(seed: int, k: int, device: torch.device) -> Iterator[None]:
    """Dropout and the like draw from (seed, k) inside; the generators' states of before are put back after.

    Args:
        seed: the run's seed, a whole number ≥ 0.
        k: the step's index, from 0.
        device: where the model is; its generator is set as well as the CPU's.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + k) % 2**63  # odd multiplier: two seeds never share a stretch of steps
    with one_step_at_a_time:
        before = torch.get_rng_state()
        on_gpu = device.type == "cuda"
        before_gpu = torch.cuda.get_rng_state(device) if on_gpu else None
        try:
            torch.default_generator.manual_seed(mixed)
            if on_gpu:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(mixed)
            yield
        finally:
            torch.set_rng_state(before)
            if before_gpu is not None:
                torch.cuda.set_rng_state(before_gpu, device)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Whatever happens to the model inside, after it everything is as before, bit for bit; also after an exception.

    Put back are parameters, buffers (batch-norm statistics), the mode and the gradients of every part, and the states
    of torch's generators. The tensors stay the same objects, so an optimizer that holds them goes on as if nothing had
    been. Runs of this process wait at their next step meanwhile: one may be training this very model.

    Args:
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
