"""Probes of what training does to the weights: one update undone, one batch overfitted, dead units, decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..training.evaluation import forward
from .findings import Cause, Finding
from .judging import UnknownError, made, write
from .probing import Numbers, Probe, batch, guessing_of, need, restoring
from .setup import TrainingSetup

ADAM_STEPS = 10
RELATIVE_RATE = 0.01  # of the Adam that overfits one batch, in root mean squares of each weight matrix
DEAD_GELU = 0.01


# -- one update --------------------------------------------------------------------------------------------------------


def measure_update(setup: TrainingSetup) -> dict[str, float]:
    """One step of the loop's own optimizer on one batch, at the highest learning rate of the log, then undone."""
    if setup.optimizer is None:
        raise UnknownError("the optimizer is not at hand: lab.examine(..., optimizer=...)")
    now = float(setup.optimizer.param_groups[0]["lr"])
    log = setup.log
    rates = log.learning_rates[np.isfinite(log.learning_rates)] if log is not None else np.empty(0)
    highest = float(rates.max()) if len(rates) else now
    if highest <= 0:
        raise UnknownError("the learning rate is 0")
    with restoring(setup):
        setup.model.train()
        held = [p for group in setup.optimizer.param_groups for p in group["params"]]
        for p in held:
            p.grad = None
        inputs, targets = batch(setup, setup.train)
        with torch.enable_grad():
            loss = setup.loss(forward(setup.model, inputs), targets)
        if not loss.requires_grad:
            raise UnknownError("the loss has no gradient: all that it depends on is frozen, or the graph is cut")
        loss.backward()
        limits = log.max_norms[np.isfinite(log.max_norms)] if log is not None else np.empty(0)
        if len(limits):
            nn.utils.clip_grad_norm_(held, float(limits[-1]))
        before = {p: p.detach().clone() for p in held if p.dim() > 1 and p.grad is not None}
        first = setup.optimizer.param_groups[0]["lr"]
        for group in setup.optimizer.param_groups:
            group["lr"] = group["lr"] * (highest / now) if first > 0 else highest
        setup.optimizer.step()
        ratios = []
        for p, old in before.items():
            change, size = (p.detach() - old).double(), float(old.double().norm())
            if size > 0:
                ratios.append(float(change.norm()) / size)
    if not ratios:
        raise UnknownError("the optimizer holds no weight matrix that gets a gradient")
    steps = float("nan") if log is None or log.unit != "step" else float(log.at_full_rate) * max(1.0, log.averaged)
    decay = max(float(group.get("weight_decay", 0.0)) for group in setup.optimizer.param_groups)
    return {
        "median": float(np.median(ratios)),
        "smallest": min(ratios),
        "largest": max(ratios),
        "loss": float(loss.detach()),
        "guessing": guessing_of(setup),
        "rate": highest,
        "steps_at_full_rate": steps,
        "weight_decay": decay,
        "shrinks": float(np.nansum(rates)) * (log.averaged if log is not None else 1) * decay
        if len(rates)
        else math.nan,
    }


def update_ratio(numbers: Numbers) -> Finding | None:
    """‖Δw‖ / ‖w‖ of one step, per weight matrix, at the highest learning rate of the log; the median r over them.

    Too small: in T steps at that rate the weights move at most by T · r of their size, even if all steps agree. Where
    that is below 1 %, and the loss is still above half of what guessing costs, they cannot have learnt. Without a log
    r < 10⁻⁵ stands for it. Too large: r > 0.1, a tenth of every matrix replaced by a single step, and the loss above
    half of guessing.

    Source: Karpathy 2016, CS231n, "Ratio of weights:updates" (around 10⁻³); the bound follows from the triangle
    inequality. 1 %, 0.1 and the half are choices; the development runs bear them out.
    """
    r, loss = numbers["median"], numbers["loss"]
    guessing = need(numbers, "guessing", "the number of classes is not known: lab.examine(..., classes=...)")
    steps = numbers["steps_at_full_rate"]
    learnt = loss < 0.5 * guessing
    slow = r * steps < 0.01 if steps > 0 else r < 1e-5
    if learnt or not (slow or r > 0.1):
        return None
    return made(
        update_ratio,
        "a step hardly moves the weights" if slow else "a step replaces a large part of the weights",
        f"One step at learning rate {write(numbers['rate'])} changes a weight matrix by {write(r)} of its size "
        f"({write(numbers['smallest'])} to {write(numbers['largest'])}); the loss is {write(loss)}.",
        _why(slow, numbers),
        numbers=numbers,
        cure=f"{'raise' if slow else 'lower'} the learning rate: about {write(numbers['rate'] * 1e-3 / max(r, 1e-12))} "
        "would change a thousandth per step",
        confidence="likely",
    )


def _why(slow: bool, numbers: Numbers) -> tuple[Cause, ...]:
    if slow:
        return Cause.RATE_TOO_LOW, Cause.CLIPPED_AWAY, Cause.SATURATED
    decay = _decay_per_step(numbers) >= 0.5 * numbers["median"]
    return (Cause.WEIGHT_DECAY, Cause.RATE_TOO_HIGH) if decay else (Cause.RATE_TOO_HIGH, Cause.WEIGHT_DECAY)


def _decay_per_step(numbers: Numbers) -> float:
    return numbers["rate"] * numbers["weight_decay"]


def decayed_weights(numbers: Numbers) -> Finding | None:
    """Weight decay over the whole run: λ · Σ η, by which weights that nothing else moves shrink to e to the minus it.

    An alarm where it is above 0.5 in fewer than 10⁴ steps at full rate, so that weights lose 40 % of their size, and
    what decay alone takes in a step, η λ, is at least half of r, what a step changes in all, or at least 0.02: half of
    a weight is gone in 35 steps then, before a gradient could say what it is for.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", eq. 7; the sum follows from
    (1 − ηλ)ᵀ ≈ e^(−λ Σ η). The numbers are choices, set on development runs.
    """
    shrinks = need(numbers, "shrinks", "the learning rates are not in the log")
    steps = numbers["steps_at_full_rate"]
    takes = _decay_per_step(numbers)
    if shrinks < 0.5 or not steps < 1e4 or takes < min(0.5 * numbers["median"], 0.02):
        return None
    return made(
        decayed_weights,
        "the weight decay moves the weights more than the gradient does",
        f"Weight decay {write(numbers['weight_decay'])} shrinks what the gradient leaves alone to "
        f"{write(math.exp(-shrinks))} of its size over the run: {write(takes)} of it "
        f"with each step at the full rate, where a step changes {write(numbers['median'])} in all.",
        (Cause.WEIGHT_DECAY,),
        numbers=numbers,
        cure="lower weight_decay: 0.01 to 0.1 for AdamW, 1e-4 for SGD",
        confidence="certain" if takes >= 0.02 else "likely",
    )


# -- one batch overfitted ----------------------------------------------------------------------------------------------


def measure_overfitting(setup: TrainingSetup) -> dict[str, float]:
    """Ten steps of Adam on one batch, in evaluation mode, then undone: the loss before and after."""
    with restoring(setup):
        setup.model.eval()
        trained = [p for p in setup.model.parameters() if p.requires_grad]
        if not trained:
            raise UnknownError("no parameter of the model wants a gradient: all are frozen")
        inputs, targets = batch(setup, setup.train, min(setup.batch_size, 32))
        groups: list[dict[str, Any]] = [
            {"params": [p], "lr": RELATIVE_RATE * max(1e-3, float(p.detach().float().square().mean().sqrt()))}
            for p in trained
        ]
        adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
        losses = []
        for k in range(ADAM_STEPS + 1):
            with torch.enable_grad():
                loss = setup.loss(forward(setup.model, inputs), targets)
            losses.append(float(loss.detach()))
            if k == ADAM_STEPS or not loss.requires_grad:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
        even = float(setup.loss(torch.zeros_like(forward(setup.model, inputs)), targets))
    return {"before": losses[0], "after": losses[-1], "lowest": min(losses), "guessing": even}


def one_batch(numbers: Numbers) -> Finding | None:
    """Whether ten steps of Adam, each of 1 % of every weight's size, make the loss of one batch smaller.

    The gradient points downhill, and Adam's steps of a hundredth of the weights are small: a model that can learn at
    all loses a part. A fault where less than 3 % go although the loss is above half of that of even logits.

    Source: Karpathy 2019, "A recipe for training neural networks" ("overfit one batch"). 3 % is a choice, set on
    development runs: 30 % and more go there.
    """
    before, guessing = numbers["before"], numbers["guessing"]
    if not math.isfinite(before):
        raise UnknownError("the loss of a batch is not finite")
    if not before > 0.5 * guessing or numbers["lowest"] < 0.97 * before:
        return None
    return made(
        one_batch,
        "a single batch cannot be learnt",
        f"Ten steps of Adam on one batch bring its loss from {write(before)} to {write(numbers['after'])}; even logits "
        f"have {write(guessing)}.",
        (Cause.NO_GRADIENT, Cause.SATURATED, Cause.DATA_WITHOUT_INFORMATION, Cause.SOFTMAX_TWICE),
        numbers=numbers,
        cure="make one batch work before anything else: print the inputs, the logits and each layer's gradient",
        confidence="likely",
    )


# -- weights and units -------------------------------------------------------------------------------------------------


def measure_units(setup: TrainingSetup) -> dict[str, float]:
    """Size of the weights against their first one, and the units of ReLU and GELU that give nothing for any example."""
    with restoring(setup, weights=False), torch.no_grad():
        setup.model.eval()
        inputs, _ = batch(setup, setup.train, 128)
        with _activations() as seen:
            forward(setup.model, inputs)
    sizes = [
        float(m.weight.detach().float().square().mean().sqrt()) * math.sqrt(m.weight[0].numel())
        for m in setup.model.modules()
        if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    ]
    scales = [
        float(m.weight.detach().abs().mean())
        for m in setup.model.modules()
        if isinstance(m, nn.LayerNorm | nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm) and m.weight is not None
    ]
    dead = [float(each.float().mean()) for each in seen]
    count = sum(len(each) for each in seen)
    return {
        "gain": float(np.median(sizes)) if sizes else math.nan,
        "smallest_gain": min(sizes) if sizes else math.nan,
        "norm_scale": float(np.median(scales)) if scales else math.nan,
        "units": count,
        "dead": sum(float(each.sum()) for each in seen) / count if count else math.nan,
        "worst_layer": max(dead) if dead else math.nan,
    }


class _Activations(TorchFunctionMode):
    """Notes, of each ReLU and GELU that is called, which of its units are 0 for all examples and places."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("relu", "relu_", "gelu", "silu") and isinstance(output, Tensor) and output.dim() > 1:
            units = output.transpose(0, 1) if output.dim() > 3 else output.movedim(-1, 0)
            size = units.reshape(len(units), -1).abs().amax(dim=1)
            self.seen.append(size <= (0.0 if "relu" in name else DEAD_GELU))
        return output


@contextmanager
def _activations() -> Iterator[list[Tensor]]:
    with _Activations() as mode:
        yield mode.seen


def dead_units(numbers: Numbers) -> Finding | None:
    """Units of ReLU that are 0, of GELU below 0.01 in size, for all of up to 128 training examples.

    A unit of ReLU that is 0 for all examples gets no gradient and stays so. An alarm where more than half of all units
    are, or more than nine tenths of those of one layer.

    Source: Lu et al. 2019, "Dying ReLU and initialization"; TensorFlow's and UMLAUT's checks use the same count. The
    shares are choices: the development runs stay below.
    """
    dead = need(numbers, "dead", "the model calls no ReLU, GELU or SiLU that can be seen")
    if dead <= 0.5 and numbers["worst_layer"] <= 0.9:
        return None
    return made(
        dead_units,
        "many units are dead",
        f"{100 * dead:.0f} % of {numbers['units']:.0f} units give 0 for all examples, in the worst layer "
        f"{100 * numbers['worst_layer']:.0f} %.",
        (Cause.SATURATED, Cause.RATE_TOO_HIGH, Cause.SCALE),
        numbers=numbers,
        cure="lower the learning rate, warm up, normalize the inputs; begin anew, as dead units do not come back",
        confidence="likely",
    )


def collapsed_weights(numbers: Numbers) -> Finding | None:
    """Root mean square of each weight matrix times √fan-in: the factor by which a layer enlarges what comes in.

    He's weights have √2, Glorot's 1, torch's own 0.58. A fault where the median is below 0.1, a sixth of the least of
    these: two such layers leave a hundredth.

    Source: He et al. 2015, "Delving deep into rectifiers", eq. 10. 0.1 is derived from torch's 1/√3 with room.
    """
    gain = need(numbers, "gain", "the model has no linear or convolutional layer")
    if gain >= 0.1:
        return None
    return made(
        collapsed_weights,
        "the weights have collapsed to almost nothing",
        f"The median layer enlarges its input {write(gain)} times; fresh layers have 0.58 to 1.4.",
        (Cause.WEIGHT_DECAY, Cause.BROKEN_HEAD),
        numbers=numbers,
        cure="lower weight_decay, and begin anew",
        confidence="likely",
    )


PROBES = (
    Probe(measure_update, decayed_weights, "a weight decay that moves more than the gradient"),
    Probe(measure_update, update_ratio, "steps far too small or too large for the weights"),
    Probe(measure_units, collapsed_weights, "weights that have collapsed"),
    Probe(measure_units, dead_units, "dead units"),
    Probe(measure_overfitting, one_batch, "a single batch that cannot be learnt"),
)
