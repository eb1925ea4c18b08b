"""Probes of the loss, the parameters and the optimizer: what a step does, whom it reaches, and whom it leaves out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..training.evaluation import forward, mode
from .findings import Cause, Finding
from .judging import UnknownError, made, write
from .probing import Numbers, Probe, batch, guessing_of, logits_of, need, on_device, restoring, spread
from .setup import TrainingSetup
from .start_rules import softmax_floor

SURE = 30.0  # a logit that leaves e⁻³⁰ ≈ 10⁻¹³ for the other classes
SMALLEST_HALF = 2.0**-24  # the smallest positive number of half precision
BATCHES = 3  # whose gradients are compared


# -- the loss ----------------------------------------------------------------------------------------------------------


def measure_loss(setup: TrainingSetup) -> dict[str, float]:
    """The loss of made-up logits: of one sure right answer, of two; and whether the model returns probabilities."""
    with restoring(setup, weights=False), torch.no_grad(), mode(setup.model, False):
        inputs, _ = batch(setup, setup.train)
        logits = forward(setup.model, inputs).float()
        if logits.dim() != 2:
            raise UnknownError(f"the model returns shape {tuple(logits.shape)}, not a row of logits per example")
        C = logits.shape[1]
        made_up = torch.arange(min(C, 4), device=logits.device) % C
        sure = SURE * F.one_hot(made_up, C).float()
        unsure = 0.1 * sure
        once = float(setup.loss(unsure, made_up))
        twice = float(setup.loss(torch.cat([unsure, unsure]), torch.cat([made_up, made_up])))
        return {
            "classes": C,
            "sure_loss": float(setup.loss(sure, made_up)),
            "even_loss": float(setup.loss(torch.zeros_like(sure), made_up))
            / (len(made_up) if twice > 1.5 * once else 1),
            "twice_over_once": twice / once if once > 0 else math.nan,
            "farthest_from_1": float((logits.sum(dim=1) - 1).abs().max()),
            "lowest_output": float(logits.min()),
            "outputs_differ": float(logits.std()),
        }


def sum_of_losses(numbers: Numbers) -> Finding | None:
    """The loss of a batch taken twice, over that of the batch: 1 for a mean, 2 for a sum.

    A fault from 1.5 on, half way between the two.

    Source: torch.nn.CrossEntropyLoss, ``reduction``; the ratio follows from the definition of mean and sum.
    """
    ratio = need(numbers, "twice_over_once", "the loss of made-up logits is 0, or no number")
    if ratio < 1.5:
        return None
    return made(
        sum_of_losses,
        "the loss is summed over the batch",
        f"The loss of a batch with every example twice is {write(ratio)} times that of the batch.",
        (Cause.SUMMED_LOSS,),
        numbers=numbers,
        cure='average it: F.cross_entropy(logits, targets), whose reduction is "mean", and set the learning rate anew',
        confidence="certain",
    )


def second_softmax(numbers: Numbers) -> Finding | None:
    """Probabilities where logits should be: by the model, or in the loss.

    Outputs that are nowhere below 0 and sum to 1 within 10⁻³ in every row are probabilities; logits do so by chance
    never. A loss that is ln(1 + (C − 1)/e) (± 1 %), not 0, for a right answer whose logit is 30 above the others has
    taken a softmax of its own.

    Source: derived in ``start_rules.softmax_floor``; UMLAUT's check of the last layer, Schoop et al. 2021, CHI, is the
    same question asked of the code.
    """
    C = round(numbers["classes"])
    floor = softmax_floor(C)
    outputs = numbers["farthest_from_1"] < 1e-3 and numbers["lowest_output"] >= 0
    in_loss = abs(numbers["sure_loss"] - floor) < 0.01 * floor
    if not outputs and not in_loss:
        return None
    evidence = (
        f"The model's outputs are ≥ 0 and sum to 1 within {write(numbers['farthest_from_1'])} for every example."
        if outputs
        else f"The loss of a right answer that is sure is {write(numbers['sure_loss'])}: ln(1 + {C - 1}/e), not 0."
    )
    return made(
        second_softmax,
        "the model returns probabilities" if outputs else "the loss takes a softmax of its own before cross-entropy",
        evidence,
        (Cause.SOFTMAX_TWICE,),
        numbers=numbers,
        cure="take the softmax out: cross-entropy wants logits",
        confidence="certain",
    )


# -- parameters and optimizer ------------------------------------------------------------------------------------------


def measure_parameters(setup: TrainingSetup) -> dict[str, float]:
    """Counts of numbers: trained, frozen, held by the optimizer or not; and how many steps its state has seen."""
    parameters = list(setup.model.parameters())
    if setup.optimizer is None:
        raise UnknownError("the optimizer is not at hand: lab.examine(..., optimizer=...)")
    held = {id(p): p for group in setup.optimizer.param_groups for p in group["params"]}
    own = {id(p) for p in parameters}
    head = [p for p in parameters if p.dim() > 1][-1:]
    ages = [float(state["step"]) for state in setup.optimizer.state.values() if "step" in state]
    known = setup.log is not None and setup.log.unit == "step" and len(setup.log) > 0
    return {
        "all": sum(p.numel() for p in parameters),
        "frozen": sum(p.numel() for p in parameters if not p.requires_grad),
        "frozen_in_optimizer": sum(p.numel() for p in parameters if not p.requires_grad and id(p) in held),
        "missing": sum(p.numel() for p in parameters if p.requires_grad and id(p) not in held),
        "strangers": sum(p.numel() for key, p in held.items() if key not in own),
        "head_missing": float(any(p.requires_grad and id(p) not in held for p in head)),
        "age": max(ages, default=math.nan),
        "steps": float(setup.log.steps[-1]) if known and setup.log is not None else math.nan,
        "changed_by_hand": float(len(setup.log.changes)) if setup.log is not None else 0.0,
        "train_loss": _training_loss(setup),
        "guessing": guessing_of(setup),
        "not_finite": float(setup.log is not None and setup.log.not_finite is not None),
    }


def _training_loss(setup: TrainingSetup) -> float:
    with restoring(setup, weights=False):
        logits = logits_of(setup, setup.train, positions := spread(setup.train, 128))
    return float(F.cross_entropy(logits, setup.train.targets[positions]))


def missing_from_optimizer(numbers: Numbers) -> Finding | None:
    """Parameters that want a gradient and that no group of the optimizer holds.

    An alarm where the optimizer holds parameters that are not the model's (it was built for another head), or where
    the last weight matrix, the head, is missing. A body that is left out while the head is in may be meant: it is said.

    Source: torch.optim, "Constructing it"; counted, so that there is no threshold.
    """
    missing, strangers = numbers["missing"], numbers["strangers"]
    if not missing and not strangers:
        return None
    alarm = bool(strangers or numbers["head_missing"])
    return made(
        missing_from_optimizer,
        "parameters are missing from the optimizer",
        f"{missing:,.0f} of {numbers['all']:,.0f} numbers of the model want a gradient and are in no parameter group"
        + (f"; {strangers:,.0f} numbers in the groups are not the model's." if strangers else "."),
        (Cause.MISSING_FROM_OPTIMIZER,),
        numbers=numbers,
        cure="build the optimizer after the last change to the model: AdamW(model.parameters(), ...)",
        confidence="certain" if alarm else "possible",
        alarm=alarm,
    )


def frozen(numbers: Numbers) -> Finding | None:
    """Parameters with ``requires_grad=False``.

    An alarm where the optimizer holds more than half of the model's numbers that are frozen: they were meant to train.
    Where they were left out of it freezing may be meant; then it is an alarm only if more than half are frozen and the
    training loss is above 0.85 of what guessing costs, so that what trains has hardly learnt; else said, from 1 % on.

    Source: torch.Tensor.requires_grad; Yosinski et al. 2014, "How transferable are features in deep neural networks?",
    Figure 2, for what freezing costs. The half and 0.85 are choices.
    """
    inside, share = numbers["frozen_in_optimizer"] / numbers["all"], numbers["frozen"] / numbers["all"]
    if share < 0.01:
        return None
    meant = inside <= 0.5
    short = share > 0.5 and numbers["train_loss"] > 0.85 * numbers["guessing"]
    alarm = not meant or short
    what = "most of the model" if share > 0.5 else "part of the model"
    return made(
        frozen,
        f"{what} is frozen, though the optimizer holds it" if not meant else f"{what} is frozen",
        f"{numbers['frozen']:,.0f} of {numbers['all']:,.0f} numbers have requires_grad=False, "
        f"{numbers['frozen_in_optimizer']:,.0f} of them in the optimizer; the training loss is "
        f"{write(numbers['train_loss'])}.",
        (Cause.FROZEN,),
        numbers=numbers,
        cure="for p in model.parameters(): p.requires_grad_(True), before the optimizer is built" if alarm else "",
        confidence="certain" if alarm else "possible",
        alarm=alarm,
    )


def young_optimizer(numbers: Numbers) -> Finding | None:
    """The steps that the optimizer's state has counted, against those of the log.

    A fault where the state has seen fewer than 95 % of them, as after a resumption without it; where settings were
    changed by hand, or a loss was not finite, the state may have been made anew on purpose: nothing is said.

    Source: torch.optim.Adam, ``state["step"]``; the counts follow from the definition, 5 % allows for a late log.
    """
    age = need(numbers, "age", "the state of this optimizer counts no steps")
    steps = need(numbers, "steps", "the number of steps done is not known without a log of each step")
    if numbers["changed_by_hand"] or numbers["not_finite"]:
        raise UnknownError("settings were changed meanwhile, which may make the optimizer's state anew")
    if age >= 0.95 * steps or steps - age < 2:
        return None
    return made(
        young_optimizer,
        "the optimizer's state is younger than the run",
        f"Its state has seen {age:.0f} steps, the log {steps:.0f}.",
        (Cause.RESUMED,),
        numbers=numbers,
        cure="save optimizer.state_dict() beside the model's, and load both when going on",
        confidence="certain",
    )


# -- gradients ---------------------------------------------------------------------------------------------------------


def measure_gradients(setup: TrainingSetup) -> dict[str, float]:
    """Of a fresh batch, as in training: who gets a gradient and how small it is; against what the loop left in grad."""
    with restoring(setup, weights=False):
        named = [p for p in setup.model.parameters() if p.requires_grad]
        if not named:
            raise UnknownError("no parameter of the model wants a gradient: all are frozen")
        setup.model.train()
        norms: list[float] = []
        fresh: list[Tensor | None] = []
        for k in range(BATCHES):
            gradients = _gradients(setup, named, k)
            fresh = gradients if k == 0 else fresh
            norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in gradients if g is not None)))
    there = [g for g in fresh if g is not None]
    flat = torch.cat([g.flatten() for g in there]).float().abs() if there else torch.zeros(1)
    nonzero = flat[flat > 0]
    trained = sum(p.numel() for p in named)
    groups = setup.optimizer.param_groups if setup.optimizer is not None else [{"params": named}]
    held = {id(p) for group in groups for p in group["params"]}  # the gradients of others may never be set to zero
    both = [(p.grad, g) for p, g in zip(named, fresh, strict=True) if id(p) in held and p.grad is not None]
    left = [old for old, _ in both if old is not None]
    pairs = [(old.float(), new) for old, new in both if old is not None and new is not None]
    log_norms = setup.log.norms[np.isfinite(setup.log.norms)] if setup.log is not None else np.empty(0)
    kept = torch.cat([g.flatten() for g in left]).float() if left else torch.empty(0)
    written = kept[kept != 0]
    dense = [old.flatten() for old, new in pairs if float((new == 0).float().mean()) < 0.01]
    sums = torch.cat([old.flatten() for old, new in pairs if new.dim() == 1] or [torch.empty(0)])
    small = sums[(sums != 0) & (sums.abs() < 2.0**-8)]
    return {
        "trained": trained,
        "without": sum(p.numel() for p, g in zip(named, fresh, strict=True) if g is None),
        "zero": sum(g.numel() for g in there if not bool(g.any())),
        "largest_norm": max(norms),
        "smallest_norm": min(norms),
        "left_norm": float(kept.double().norm()) if len(kept) else math.nan,
        "logged_norm": float(log_norms[-1]) if len(log_norms) else math.nan,
        "scale": _scale(setup),
        "left_half": float((written.half().float() == written).float().mean()) if len(written) else math.nan,
        "left_grid": float((small / SMALLEST_HALF % 1 == 0).float().mean()) if len(small) >= 8 else math.nan,
        "left_zero": float((torch.cat(dense) == 0).float().mean()) if dense else math.nan,
        "lost": float((nonzero < SMALLEST_HALF).float().mean()) if len(nonzero) else math.nan,
        "half": float(any(p.dtype == torch.float16 for p in named)),
    }


def _gradients(setup: TrainingSetup, parameters: list[nn.Parameter], k: int) -> list[Tensor | None]:
    n, B = len(setup.train), min(setup.batch_size, len(setup.train))
    positions = (torch.linspace(0, n - 1, B).long() + k) % n
    inputs, targets = setup.train.collate(positions)
    device = parameters[0].device
    inputs, targets = on_device(setup, (inputs, targets))
    with torch.enable_grad():
        loss = setup.loss(forward(setup.model, inputs), targets.to(device))
        if not loss.requires_grad:
            return [None] * len(parameters)
        return list(torch.autograd.grad(loss, parameters, allow_unused=True))


def _scale(setup: TrainingSetup) -> float:
    """By what the loss is multiplied: that of even logits over ln C, such as a loss scale; 1 where C is not known."""
    C = setup.classes or 0
    if C < 2:
        return 1.0
    device = next(setup.model.parameters()).device
    targets = torch.zeros(setup.batch_size, dtype=torch.long, device=device)
    even = float(setup.loss(torch.zeros(setup.batch_size, C, device=device), targets))
    return even / math.log(C) if even > 0 else 1.0


def no_gradient(numbers: Numbers) -> Finding | None:
    """Parameters that want a gradient and get none (the graph is cut before them), or only zeros.

    An alarm from half of the trained numbers on; less is said from 1 % on: a layer that the model does not use, such
    as BERT's pooler under mean pooling, gets none either.

    Source: torch.autograd.grad, ``allow_unused``; a half is a choice.
    """
    share = (numbers["without"] + numbers["zero"]) / numbers["trained"]
    if share < 0.01:
        return None
    alarm, cut = share > 0.5, numbers["without"] >= numbers["zero"]
    return made(
        no_gradient,
        "no gradient reaches most of the model" if alarm else "part of the model gets no gradient",
        f"Of {numbers['trained']:,.0f} numbers that want one, {numbers['without']:,.0f} are not in the graph of the "
        f"loss and {numbers['zero']:,.0f} get exactly 0.",
        (Cause.NO_GRADIENT, Cause.SATURATED) if cut else (Cause.SATURATED, Cause.NO_GRADIENT),
        numbers=numbers,
        cure="look for .detach(), torch.no_grad() or .item() between these layers and the loss",
        confidence=("certain" if cut else "likely") if alarm else "possible",
        alarm=alarm,
    )


def left_over_gradient(numbers: Numbers) -> Finding | None:
    """What the loop left in ``p.grad``, against the gradients of three fresh batches.

    Without ``zero_grad`` it is the sum over all T steps: between √T times (no direction kept) and T times as long as
    one. A fault above ten times the longest of three, 100 steps without a direction; "likely" where the three
    themselves are not ten times apart, else only "possible".

    Source: torch.optim.Optimizer.zero_grad; the sum of T random directions as of a random walk. Ten is a choice.
    """
    left = need(numbers, "left_norm", "the loop has left no gradient in p.grad")
    longest = numbers["largest_norm"]
    unscaled = longest / numbers["scale"]  # the loop may have divided by the loss scale before its step
    if not (math.isfinite(left) and longest > 0) or left <= 10 * max(longest, unscaled):
        return None
    steady = longest < 10 * numbers["smallest_norm"]
    return made(
        left_over_gradient,
        "the gradients of many steps have been added up",
        f"What the loop left in p.grad has norm {write(left)}; fresh batches have {write(numbers['smallest_norm'])} to "
        f"{write(longest)}.",
        (Cause.NO_ZERO_GRAD, Cause.BAD_BATCH),
        numbers=numbers,
        cure="call optimizer.zero_grad() in every step, before loss.backward()",
        confidence="likely" if steady else "possible",
    )


def underflow(numbers: Numbers) -> Finding | None:
    """Entries of the gradient that half precision has rounded to 0.

    The loop computes in half precision where the parameters are float16, or where what it left in ``p.grad`` is: at
    least 99 % of the entries are numbers of half precision (a float32 number is one by chance in 2⁻¹³, as 13 of its 23
    bits have to be 0), or at least 90 % of the small entries (below 2⁻⁸) of biases, sums of such numbers, are multiples
    of 2⁻²⁴, its smallest positive number (by chance in 2⁻⁸). Lost are the entries of a fresh gradient below 2⁻²⁴, or
    the exact zeros that the loop left in tensors whose fresh gradient has less than 1 % of them. A fault from 5 % on
    where half precision was seen; from 20 % zeros on they alone are one, as clipping hides the grid. Zeros everywhere
    count where the log says that the norm was 0, as ``zero_grad`` after the step may have left them.

    Source: Micikevicius et al. 2018, "Mixed precision training", Section 3.2 and Figure 3 (there 31 % of the entries
    become 0, and training fails). 5 % and 20 % are choices.
    """
    lost = need(numbers, "lost", "the gradient is 0 everywhere")
    nothing = numbers["left_norm"] == 0
    if (math.isnan(numbers["left_zero"]) or (nothing and numbers["logged_norm"] != 0)) and not numbers["half"]:
        raise UnknownError("the loop has left nothing in p.grad: whether it computes in half precision is not known")
    zeros = 0.0 if math.isnan(numbers["left_zero"]) else numbers["left_zero"]
    half = numbers["half"] > 0 or numbers["left_half"] >= 0.99 or numbers["left_grid"] >= 0.9
    if not ((half and max(lost, zeros) >= 0.05) or zeros >= 0.2):
        return None
    return made(
        underflow,
        "gradients are lost in half precision" if half else "much of the gradient was exactly 0",
        f"{100 * lost:.0f} % of the entries of a fresh gradient are below 2⁻²⁴ = {write(SMALLEST_HALF)}, which half "
        f"precision rounds to 0; of what the loop left in p.grad {100 * zeros:.0f} % are 0 where a fresh one is not.",
        (Cause.UNDERFLOW, Cause.SATURATED),
        numbers=numbers,
        cure="scale the loss: torch.amp.GradScaler; or compute in bfloat16, which has the range of float32",
        confidence="certain" if half or min(lost, zeros) >= 0.9 else "possible",
    )


PROBES = (
    Probe(measure_loss, sum_of_losses, "a loss function that sums over the batch"),
    Probe(measure_loss, second_softmax, "probabilities where logits should be"),
    Probe(measure_parameters, missing_from_optimizer, "parameters missing from the optimizer"),
    Probe(measure_parameters, frozen, "frozen parameters"),
    Probe(measure_parameters, young_optimizer, "an optimizer whose state is younger than the run"),
    Probe(measure_gradients, no_gradient, "parameters without gradient"),
    Probe(measure_gradients, left_over_gradient, "gradients that add up over the steps"),
    Probe(measure_gradients, underflow, "gradients lost in half precision"),
)
