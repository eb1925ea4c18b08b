"""Probes of what an answer depends on beside its example: the mode, the batch, the padding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..training.evaluation import forward, mode
from .findings import Cause, Finding
from .judging import UnknownError, made, write
from .probing import Numbers, Probe, batch, guessing_of, in_turns, logits_of, need, padding_of, restoring
from .setup import Examples, TrainingSetup

JUDGED, LEARNT = 256, 128  # examples of validation and of training that are looked at
LEAKING = 1e-6
PADDING = 4  # tokens that are appended

_Norm = nn.modules.batchnorm._BatchNorm


# -- training and evaluation mode --------------------------------------------------------------------------------------


def measure_modes(setup: TrainingSetup) -> dict[str, float]:
    """The loss in evaluation and in training mode, of training and validation, beside what the log says of both."""
    norms = [m for m in setup.model.modules() if isinstance(m, _Norm) and m.track_running_stats]
    numbers: dict[str, float] = {
        "batch_size": setup.batch_size,
        "norms": len(norms),
        "never_updated": sum(_never_updated(m) for m in norms),
        "guessing": guessing_of(setup),
    }
    with restoring(setup, weights=False):
        parts = [("train", setup.train, LEARNT), ("validation", setup.validation, JUDGED)]
        chosen = {name: (examples, in_turns(examples, most)) for name, examples, most in parts}
        for name, (examples, positions) in chosen.items():
            losses = _losses(setup, examples, positions, False)
            left_out = 1 - len(losses) / len(examples)
            error = float(losses.std()) * math.sqrt(left_out / len(losses)) if len(losses) > 1 else math.nan
            numbers |= {f"{name}_in_eval": float(losses.mean()), f"{name}_error": error}
        for name, (examples, positions) in chosen.items():  # only now, as training mode moves batch norm's statistics
            numbers[f"{name}_in_train"] = float(_losses(setup, examples, positions, True).mean())
        small = _losses(replace(setup, batch_size=8), *chosen["validation"], True)
        numbers["validation_in_small"] = float(small.mean())
    log = setup.log
    judged = log is not None and len(log.validation_losses) > 0 and len(log) > 0
    at_the_end = judged and log is not None and log.validation_steps[-1] >= log.steps[-1]
    by_step = log is not None and log.unit == "step" and len(log) >= 10
    return numbers | {
        "logged_validation": float(log.validation_losses[-1]) if at_the_end and log is not None else math.nan,
        "logged_train": log.end if by_step and log is not None else math.nan,
        "logged_error": log.noise / math.sqrt(log.window) if by_step and log is not None else math.nan,
    }


def _never_updated(norm: Any) -> float:
    fresh = norm.running_mean is not None and not bool(norm.running_mean.any())
    return float(fresh and bool((norm.running_var == 1).all()))


def _losses(setup: TrainingSetup, examples: Examples, positions: Tensor, training: bool) -> Tensor:
    """(N,) the loss of each example, as the loop computes it for a batch of one."""
    logits = logits_of(setup, examples, positions, training)
    targets = examples.targets[positions[: len(logits)]].cpu()
    return torch.stack(
        [setup.loss(row[None], target[None]).detach() for row, target in zip(logits, targets, strict=True)]
    )


def validation_mode(numbers: Numbers) -> Finding | None:
    """The last validation loss of the log against our own on the same examples, in evaluation and in training mode.

    Ours in evaluation mode is the same to rounding where the log's was. A fault where they are more than 0.2 % and four
    standard errors (of the examples that were left out) apart, and no farther than three times as far as training mode,
    in batches of the loop's size or of 8, is from evaluation mode. Certain where training mode is three times as near.

    Source: torch.nn.Module.eval; both losses are measured on the model as it stands, so that only the mode differs.
    0.2 % is far above rounding; the factors leave room for dropout's randomness and for other sizes of batches.
    """
    logged = need(numbers, "logged_validation", "the log has no validation of the model as it stands")
    right = numbers["validation_in_eval"]
    wrong = (numbers["validation_in_train"], numbers["validation_in_small"])
    if not all(map(math.isfinite, (logged, right, *wrong))):
        raise UnknownError("a loss is not finite")
    off, gap = abs(logged - right), max(abs(each - right) for each in wrong)
    if off <= 0.002 * abs(right) + 4 * numbers["validation_error"] or off > 3 * gap:
        return None
    nearest = min(wrong, key=lambda each: abs(each - logged))
    return made(
        validation_mode,
        "validation runs in training mode",
        f"The log says {write(logged)}; the same examples have {write(nearest)} in training mode and {write(right)} in "
        f"evaluation mode.",
        (Cause.MODES,),
        numbers=numbers,
        cure="call model.eval() before every validation and model.train() after it",
        confidence="certain" if 3 * abs(logged - nearest) < off else "likely",
    )


def training_mode(numbers: Numbers) -> Finding | None:
    """The training loss at the end of the log against our own on training examples, in both modes.

    A fault where evaluation mode is three times as near to it as training mode, and the two are more than four standard
    errors (of the examples and of the log's last mean) and 5 % apart. Without dropout and batch norm they are the same.

    Source: torch.nn.Module.train; four standard errors are passed by chance in one of 15,000 runs. The factor and the
    5 % are choices.
    """
    logged = need(numbers, "logged_train", "there is no log of each training step")
    right, wrong = numbers["train_in_train"], numbers["train_in_eval"]
    if not all(map(math.isfinite, (logged, right, wrong))):
        raise UnknownError("a loss is not finite")
    error = math.hypot(numbers["train_error"], numbers["logged_error"])
    if abs(right - wrong) <= max(4 * error, 0.05 * abs(right)) or 3 * abs(logged - wrong) >= abs(logged - right):
        return None
    return made(
        training_mode,
        "training runs in evaluation mode",
        f"The log ends at {write(logged)}; training examples have {write(wrong)} in evaluation mode and {write(right)} "
        f"in training mode.",
        (Cause.MODES, Cause.OVERFITTING),
        numbers=numbers,
        cure="call model.train() before the first step and after every validation",
        confidence="likely",
    )


def running_statistics(numbers: Numbers) -> Finding | None:
    """Batch norm's running statistics: never updated, or such that evaluation mode does not know the training examples.

    A layer whose running mean is 0 and variance 1 throughout has seen no batch in training mode: certain. Else a fault
    where the loss of training examples is higher in evaluation mode than in training mode by more than a quarter of
    what guessing costs, and by half of itself: dropout works the other way.

    Source: Ioffe & Szegedy 2015, "Batch normalization", Algorithm 2; torch.nn.BatchNorm2d, ``track_running_stats``. The
    quarter is a choice, that of ``overfitting``.
    """
    if not numbers["norms"]:
        raise UnknownError("the model has no batch norm that keeps statistics")
    never = numbers["never_updated"] >= 0.5 * numbers["norms"]
    gap = numbers["train_in_eval"] - numbers["train_in_train"]
    guessing = numbers["guessing"] if numbers["guessing"] > 0 else numbers["train_in_eval"]
    worse = gap > 0.25 * guessing and gap > 0.5 * numbers["train_in_train"]
    if not never and not worse:
        return None
    causes = [Cause.MODES, Cause.SMALL_BATCHES, Cause.RATE_TOO_HIGH]
    if not never and numbers["batch_size"] < 4:
        causes = [Cause.SMALL_BATCHES, Cause.MODES, Cause.RATE_TOO_HIGH]
    return made(
        running_statistics,
        "batch norm's running statistics were never updated" if never else "batch norm's running statistics do not fit",
        f"Training examples have loss {write(numbers['train_in_eval'])} in evaluation mode, "
        f"{write(numbers['train_in_train'])} in training mode; {numbers['never_updated']:.0f} of "
        f"{numbers['norms']:.0f} layers still have mean 0 and variance 1.",
        tuple(causes),
        numbers=numbers,
        cure="train in training mode, with batches of 16 or more; torch.optim.swa_utils.update_bn takes them anew",
        confidence="certain" if never else "likely",
    )


def small_batches(numbers: Numbers) -> Finding | None:
    """Batch norm over B examples: the mean that it takes off errs by 1/√B of a standard deviation between examples.

    A fault for B < 4, where that is more than a half.

    Source: Ioffe & Szegedy 2015, Algorithm 1; Wu & He 2018, "Group normalization", Figure 1 (the error of batch norm
    doubles its excess at 2 examples). 1/√B is the standard error of a mean; the half is a choice.
    """
    if not numbers["norms"]:
        raise UnknownError("the model has no batch norm that keeps statistics")
    B = numbers["batch_size"]
    if B >= 4:
        return None
    return made(
        small_batches,
        "batch norm takes its statistics over very few examples",
        f"{numbers['norms']:.0f} layers of batch norm see {B:.0f} examples at a time.",
        (Cause.SMALL_BATCHES,),
        numbers=numbers,
        cure="larger batches, or group norm in place of batch norm, or batch norm in evaluation mode throughout",
        confidence="likely",
    )


# -- the batch ---------------------------------------------------------------------------------------------------------


def measure_leak(setup: TrainingSetup) -> dict[str, float]:
    """The gradient of the logits of example 0 with respect to the inputs of each example, in evaluation mode.

    Of tokens, with respect to what the embeddings return.
    """
    with restoring(setup, weights=False):
        inputs, _ = batch(setup, setup.train, 6)
        found = {}
        for training in (False, True):
            with mode(setup.model, training):
                found[training] = _reach(setup.model, inputs)
    own, others = found[False]
    return {"own": own, "others": others, "own_in_training": found[True][0], "others_in_training": found[True][1]}


def _reach(model: nn.Module, inputs: Any) -> tuple[float, float]:
    columns = dict(inputs) if isinstance(inputs, Mapping) else {"": inputs}
    B = len(next(iter(columns.values())))
    if B < 2:
        raise UnknownError("there is only one example")
    leaves: list[Tensor] = []

    def leaf(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        leaves.append(x)
        return x

    def hook(module: nn.Module, arguments: Any, output: Tensor) -> Tensor | None:
        return leaf(output) if len(output) == B and output.dim() > 1 else None

    columns = {name: leaf(x) if x.is_floating_point() else x for name, x in columns.items()}
    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.Embedding) and not leaves]
    try:
        with torch.enable_grad():
            logits = forward(model, columns if isinstance(inputs, Mapping) else columns[""])
    finally:
        for handle in handles:
            handle.remove()
    if not leaves:
        raise UnknownError("the inputs are neither floating point nor embedded")
    weights = torch.arange(1, logits.shape[-1] + 1, device=logits.device).float().cos()  # so that no sum is constant
    if not logits.requires_grad:
        raise UnknownError("the logits do not depend on the inputs in a way that gradients can follow")
    gradients = torch.autograd.grad((logits[0].float() * weights).sum(), leaves, allow_unused=True)
    reached = torch.zeros(B, dtype=torch.float64)
    for gradient in gradients:
        if gradient is not None:
            reached += gradient.reshape(B, -1).double().square().sum(dim=1).cpu()
    reached = reached.sqrt()
    return float(reached[0]), float(reached[1:].max())


def batch_leak(numbers: Numbers) -> Finding | None:
    """∂ logits of example i / ∂ input of example j, for j ≠ i: exactly 0 where examples are kept apart.

    Measured in evaluation mode, as batch norm in training mode mixes the examples of a batch by design; there it is a
    number for information. A fault above 10⁻⁶ of the gradient with respect to the example's own input.

    Source: Karpathy 2019, "A recipe for training neural networks" ("use backprop to chart dependencies"). 0 follows
    from the definition; 10⁻⁶ is rounding in float32.
    """
    own, others = numbers["own"], numbers["others"]
    if not (math.isfinite(own) and own > 0):
        raise UnknownError("the logits do not depend on the example's own input")
    if others <= LEAKING * own:
        return None
    return made(
        batch_leak,
        "an example's answer depends on the other examples of its batch",
        f"In evaluation mode the logits of one example have gradient {write(others)} with respect to another example, "
        f"{write(own)} with respect to its own.",
        (Cause.BATCH_LEAK,),
        numbers=numbers,
        cure="look for view, reshape, transpose, softmax or mean over dimension 0 in forward",
        confidence="certain",
    )


# -- the padding -------------------------------------------------------------------------------------------------------


def measure_mask(setup: TrainingSetup) -> dict[str, float]:
    """How far the logits move when padding is appended, when masked tokens are changed, and when real ones are."""
    with restoring(setup, weights=False), torch.no_grad(), mode(setup.model, False):
        inputs, _ = batch(setup, setup.train, 32)
        if not isinstance(inputs, Mapping) or "input_ids" not in inputs:
            raise UnknownError("the inputs are no tokens")
        if "attention_mask" not in inputs:
            raise UnknownError("there is no attention_mask among the inputs")
        ids, mask = inputs["input_ids"], inputs["attention_mask"] > 0  # (B, T)
        pad = padding_of(setup)
        pads = ids == pad if pad is not None else torch.zeros_like(mask)
        plain = forward(setup.model, inputs).float()
        side = (PADDING, 0) if getattr(setup.tokenizer, "padding_side", "right") == "left" else (0, PADDING)
        columns = {
            name: nn.functional.pad(x, side, value=pad or 0 if name == "input_ids" else 0)
            if x.shape == ids.shape
            else x
            for name, x in inputs.items()
        }
        try:
            padded = forward(setup.model, columns).float()
        except (RuntimeError, IndexError, ValueError):  # it takes no more tokens
            columns, padded = dict(inputs), plain
        there = columns["attention_mask"] > 0
        others = columns["input_ids"].roll(1, 0).flip(1)  # tokens of another example, in another order

        def changed(where: Tensor) -> float:
            swapped = {**columns, "input_ids": torch.where(where, others, columns["input_ids"])}
            return float((forward(setup.model, swapped).float() - padded).abs().mean())

        first = torch.zeros_like(there)
        first[:, 0] = True  # a model that reads [CLS] keeps it
        return {
            "masked": float((~mask).float().mean()),
            "pads": float(pads.float().mean()) if pad is not None else math.nan,
            "pads_unmasked": float((pads & mask).sum() / pads.sum()) if bool(pads.any()) else math.nan,
            "words_masked": float((~pads & ~mask).sum() / (~pads).sum()) if pad is not None else math.nan,
            "spread": float(plain.std(dim=0).mean()),
            "by_padding": float((padded - plain).abs().mean()),
            "by_masked": changed(~there) if bool((~there).any()) else math.nan,
            "by_real": changed(there & ~first),
        }


def mask(numbers: Numbers) -> Finding | None:
    """Tokens whose attention mask is 0 must not move the answer, those whose mask is 1 must.

    A fault where changing the masked tokens moves the logits by more than 10⁻³ of their standard deviation between
    examples (rounding moves them by 10⁻⁶), or where more than half of the padding has mask 1, or more than half of what
    is no padding has mask 0. Appended padding alone may move the answer of a recurrent net that reads it; from a tenth
    of the standard deviation on that is said.

    Source: Vaswani et al. 2017, "Attention is all you need", Section 3.2.3; torch.nn.MultiheadAttention,
    ``key_padding_mask``. The answer without padding is the definition; 10⁻³ lies between rounding and effects.
    """
    spread = numbers["spread"]
    if not spread > 0:
        raise UnknownError("the model gives all examples the same answer")
    moved, padded = numbers["by_masked"] / spread, numbers["by_padding"] / spread
    ignored = moved > 1e-3
    unmasked = numbers["pads_unmasked"] > 0.5 and numbers["pads"] > 0.02
    inverted = numbers["words_masked"] > 0.5
    alarm = ignored or unmasked or inverted
    if not alarm and not padded > 0.1:
        return None
    if inverted:
        evidence = f"{100 * numbers['words_masked']:.0f} % of the tokens that are no padding have attention mask 0."
    elif unmasked:
        evidence = f"{100 * numbers['pads_unmasked']:.0f} % of the padding has attention mask 1."
    else:
        evidence = (
            f"Changing tokens whose attention mask is 0 moves the logits by {write(moved)} of their standard "
            f"deviation, changing the others by {write(numbers['by_real'] / spread)}; {PADDING} tokens of padding by "
            f"{write(padded)}."
        )
    return made(
        mask,
        "the answer depends on the padding",
        evidence,
        (Cause.MASK,),
        numbers=numbers,
        cure="hand attention_mask to the model, 1 for tokens and 0 for padding, and leave masked places out of means",
        confidence="certain" if alarm else "possible",
        alarm=alarm,
    )


PROBES = (
    Probe(measure_leak, batch_leak, "answers that depend on the rest of the batch"),
    Probe(measure_mask, mask, "answers that depend on the padding"),
    Probe(measure_modes, validation_mode, "validation in training mode"),
    Probe(measure_modes, training_mode, "training in evaluation mode"),
    Probe(measure_modes, running_statistics, "batch norm's running statistics that do not fit"),
    Probe(measure_modes, small_batches, "batch norm over too few examples"),
)
