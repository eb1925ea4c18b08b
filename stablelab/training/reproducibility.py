"""What makes a step a pure function of (seed, k) and a probe leave no trace: nothing global is left changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# torch's default generators belong to the whole process: while one step has them set, no other step may begin.
one_step_at_a_time = threading.RLock()


def _mixed(seed: int, k: int) -> int:
    """What torch's generators are seeded with for step k; the odd multiplier keeps the steps of two seeds apart."""
    return (seed * 0x9E3779B97F4A7C15 + k) % 2**63


@contextmanager
def step_randomness(seed: int, k: int, device: torch.device) -> Iterator[None]:
    """Dropout and the like draw from (seed, k) inside; the generators' states of before are put back after.

    Args:
        seed: the run's seed, a whole number ≥ 0.
        k: the step's index, from 0.
        device: where the model is; its generator is set as well as the CPU's.
    """
    mixed = _mixed(seed, k)
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


class SharedGenerator:
    """Notices what other cells do with torch's random numbers while a step uses them, and keeps the two apart.

    Dropout takes no generator of its own: on a CPU it draws from the one that the whole process shares. So before each
    operation that draws, its state is compared with the one that the step's last draw left. Where another cell has
    drawn or seeded meanwhile, the step's state is put back first: the run comes to the same numbers. What the other
    cell has seeded is put back after the step. What it drew in between were the run's numbers: that cannot be mended.

    The first step is only looked at: a model that seeds or draws unseen by itself does so there too, and is then left
    alone. Steps without a draw are not slowed down: operations are looked at until a step has passed without one, and
    again once a step has left the generator in another state. Nothing is looked at on a GPU, which has a generator of
    its own, nor in a compiled model, whose operations cannot be seen.

    Args:
        model: that trains.
        seed: of the run.

    Attributes:
        disturbed: whether another cell has used the generator during the latest step.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        self._seed, self._device = seed, next(model.parameters()).device
        compiled = any(getattr(m, "_compiled_call_impl", None) or hasattr(m, "_orig_mod") for m in model.modules())
        self._looks = self._device.type == "cpu" and not compiled
        self._drew, self._first, self.disturbed = True, True, False

    @contextmanager
    def step(self, k: int) -> Iterator[AbstractContextManager[object]]:
        """Step k's randomness inside, as in ``step_randomness``; yields what its forward pass has to run under."""
        self.disturbed, theirs = False, None
        with one_step_at_a_time:
            with step_randomness(self._seed, k, self._device):
                draws = _Draws(_mixed(self._seed, k), repairs=not self._first)
                yield draws if self._looks and self._drew else nullcontext()
                moved = self._looks and not draws.is_left()
                if moved and draws.is_seeded():
                    draws.theirs = torch.get_rng_state()
            if not self._looks:
                return
            if self._first:
                self._looks = not (moved or draws.disturbed)
            elif self._drew:
                self.disturbed, theirs = moved or draws.disturbed, draws.theirs
            self._first, self._drew = False, draws.drew or moved
            if theirs is not None:
                torch.set_rng_state(theirs)


class _Draws(TorchFunctionMode):
    """Looks at each function of torch that this thread calls and that draws from the default generator."""

    def __init__(self, seed: int, repairs: bool) -> None:
        super().__init__()
        self._seed, self._repairs, self._left = seed, repairs, torch.get_rng_state()
        self.drew = self.disturbed = False
        self.theirs: torch.Tensor | None = None  # the state of a generator that another cell has seeded

    def is_left(self) -> bool:
        """Whether the generator is in the state that the last draw left it in."""
        return torch.equal(torch.get_rng_state(), self._left)

    def is_seeded(self) -> bool:
        """Whether it was seeded anew since the step began."""
        return torch.default_generator.initial_seed() != self._seed

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch in place of each of its functions."""
        kwargs = kwargs or {}
        if not _draws(func) or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self.drew = True
        if not self.is_left():
            self.disturbed = True
            if self._repairs:
                self.theirs = torch.get_rng_state() if self.is_seeded() else self.theirs
                torch.set_rng_state(self._left)
        result = func(*args, **kwargs)
        self._left = torch.get_rng_state()
        return result


_DRAWING = (  # in the names of torch's functions
    "dropout", "attention", "rand", "bernoulli", "normal", "uniform", "multinomial", "poisson", "exponential", "cauchy",
    "geometric", "gumbel", "rrelu", "fractional",
)  # fmt: skip


@cache
def _draws(func: Callable[..., Any]) -> bool:
    """Whether it may draw, by its name; looking in vain costs a comparison of two states."""
    name = getattr(func, "__name__", "")
    return any(each in name for each in _DRAWING)


@contextmanager
def restored(model: nn.Module, weights: bool = True) -> Iterator[None]:
    """Whatever happens to the model inside, after it everything is as before, bit for bit; also after an exception.

    Put back are parameters, buffers (batch-norm statistics), the mode and the gradients of every part, and the states
    of torch's generators. The tensors stay the same objects, so an optimizer that holds them goes on as if nothing had
    been. Runs of this process wait at their next step meanwhile: one may be training this very model.

    Args:
        model: any; it may be on a GPU.
        weights: whether parameters and gradients are kept; not needed where nothing inside writes to them.
    """
    with one_step_at_a_time:
        modules = [(module, module.training) for module in model.modules()]
        parameters = [(p, p.detach().clone(), p.grad, _copy(p.grad)) for p in (model.parameters() if weights else ())]
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
