"""Faults to be found: each turns a healthy recipe into a sick one, as far as a severity says.

Severity 1 is what the benchmark trains; less of it is for looking. What hurts is measured, not assumed: a fault counts
on a task if its runs are worse than the clean ones of the same seeds (see ``scoring``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..._validation import number
from ...training.optimizers import AdamW
from ...training.protocols import Inputs
from ..findings import Cause
from ..setup import TensorExamples
from .recipe import Recipe, constant
from .record import RunRecord

NOTICED = 0.05  # of a loss
Harm: TypeAlias = Callable[[RunRecord], float]


def lost_accuracy(record: RunRecord) -> float:
    """Errors on clean examples that nothing was chosen by, judged in evaluation mode; a share."""
    return 1 - record.outcome["true_accuracy"]


def flattery(record: RunRecord) -> float:
    """By how much the reported accuracy is above the true one."""
    return record.outcome["reported_accuracy"] - record.outcome["true_accuracy"]


def misreported(record: RunRecord) -> float:
    """How far the reported validation loss is from that of the same examples, judged in evaluation mode.

    Less than 0.05 is none: a reader would not notice.
    """
    apart = abs(record.outcome["reported_loss"] - record.outcome["right_loss"])
    return math.inf if math.isnan(apart) else apart if apart >= NOTICED else 0.0


@dataclass(frozen=True)
class Fault:
    """One thing that can be wrong.

    Args:
        name: of the fault.
        causes: what counts as having found it; the first is what it is.
        inject: (healthy recipe, severity) -> sick recipe.
        says: what is wrong, in a sentence.
        applies_to: whether a recipe can have it.
        harm: of a record; larger is worse.
    """

    name: str
    causes: tuple[Cause, ...]
    inject: Callable[[Recipe, float], Recipe]
    says: str
    applies_to: Callable[[Recipe], bool] = lambda recipe: True
    harm: Harm = lost_accuracy

    def __call__(self, recipe: Recipe, severity: float = 1.0) -> Recipe:
        """The sick recipe.

        Raises:
            ValueError: a severity outside (0, 1], or a recipe that cannot have this fault.
        """
        number("severity", severity, above=0, at_most=1)
        if not self.applies_to(recipe):
            raise ValueError(f"{recipe.name} cannot have the fault {self.name}")
        return self.inject(recipe, severity)


# -- what a fault applies to -------------------------------------------------------------------------------------------


def is_text(recipe: Recipe) -> bool:
    """Whether inputs are tokens."""
    return isinstance(recipe.train.inputs, Mapping)


def is_picture(recipe: Recipe) -> bool:
    """Whether inputs are pixels."""
    return not is_text(recipe)


def uses_adam(recipe: Recipe) -> bool:
    """Whether its optimizer is one of Adam's family."""
    return "betas" in recipe.make_optimizer([nn.Parameter(torch.zeros(1))], 1.0, 0.0).defaults


def has_batch_norm(recipe: Recipe) -> bool:
    """Whether its model has batch norm."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in recipe.make_model().modules())


def has_modes(recipe: Recipe) -> bool:
    """Whether training and evaluation mode differ: the model has batch norm or dropout."""
    modes = (nn.modules.batchnorm._BatchNorm, nn.Dropout)
    return any(isinstance(module, modes) for module in recipe.make_model().modules())


# -- learning rate, schedule, optimizer --------------------------------------------------------------------------------


def rate_too_high(recipe: Recipe, severity: float) -> Recipe:
    """Up to 100 times the tuned rate."""
    return replace(recipe, learning_rate=recipe.learning_rate * 100**severity)


def rate_too_low(recipe: Recipe, severity: float) -> Recipe:
    """Down to a thousandth of the tuned rate."""
    return replace(recipe, learning_rate=recipe.learning_rate / 1000**severity)


def _uncorrected(parameters: Any, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, bias_correction=False)


def no_bias_correction(recipe: Recipe, severity: float) -> Recipe:
    """Adam without bias correction and without warm-up, at up to four times the tuned rate."""
    return replace(
        recipe, make_optimizer=_uncorrected, warmup=0, max_norm=None, learning_rate=recipe.learning_rate * 4**severity
    )


def schedule_over(recipe: Recipe, severity: float) -> Recipe:
    """A schedule that was made for a tenth of the steps, or for more of them."""
    share = 1 - 0.9 * severity

    def schedule(k: int, steps: int) -> float:
        made_for = max(1, round(share * steps))
        return recipe.schedule(k, made_for) if k < made_for else 0.0

    return replace(recipe, schedule=schedule, warmup=min(recipe.warmup, round(share * recipe.steps / 4)))


def no_zero_grad(recipe: Recipe, severity: float) -> Recipe:
    """Gradients are set to zero only now and then, or never."""
    return replace(recipe, zero_every=0 if severity == 1 else max(2, math.ceil(1 / (1 - severity))))


def clipped_away(recipe: Recipe, severity: float) -> Recipe:
    """A clip threshold of down to a thousandth."""
    return replace(recipe, max_norm=10 ** (-3 * severity))


def weight_decay(recipe: Recipe, severity: float) -> Recipe:
    """Weight decay that takes up to a tenth of the weights with each step at the full rate."""
    return replace(recipe, weight_decay=max(1.0, 0.1 / recipe.learning_rate) * severity)


def resumed(recipe: Recipe, severity: float) -> Recipe:
    """Stopped after up to nine tenths and resumed from the weights alone: no moments, the plan anew."""
    at = round(recipe.steps * (0.5 + 0.4 * severity))
    return replace(recipe, resume_at=at, onset=at)


def half_precision(recipe: Recipe, severity: float) -> Recipe:
    """fp16 without a loss scale, emulated: what layers return and the gradients that come back are rounded to fp16.

    The gradients of nets as small as these are large enough for fp16. Those of large ones, or of a loss that is
    averaged over many more numbers, are smaller; so the loss is multiplied by down to 2⁻²⁰ before ``backward`` and the
    gradients divided by it after, which changes nothing but what is rounded to zero.
    """
    return replace(recipe, half=True, loss_scale=2.0 ** round(-20 * severity))


# -- the model ---------------------------------------------------------------------------------------------------------


def _head(model: nn.Module) -> tuple[str, nn.Linear]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def _replace_head(model: nn.Module, severity: float) -> None:
    name, old = _head(model)
    parent, _, child = name.rpartition(".")
    new = nn.Linear(old.in_features, old.out_features)
    nn.init.normal_(new.weight, std=0.1 * (1 - severity))  # at 1 it is 0, as vision transformers have theirs
    nn.init.zeros_(new.bias)
    setattr(model.get_submodule(parent) if parent else model, child, new)


def head_not_in_optimizer(recipe: Recipe, severity: float) -> Recipe:
    """The head is replaced after the optimizer was built, which trains the old one; the new one stays as it is."""
    return replace(recipe, after_optimizer=(*recipe.after_optimizer, partial(_replace_head, severity=severity)))


def _freeze(model: nn.Module, share: float) -> None:
    head = {id(p) for p in _head(model)[1].parameters()}
    body = [p for p in model.parameters() if id(p) not in head]
    for p in body[: round(share * len(body))]:
        p.requires_grad_(False)


def body_frozen(recipe: Recipe, severity: float) -> Recipe:
    """All but the head is frozen, or that share of the body, from the input on."""
    return replace(recipe, before_optimizer=(*recipe.before_optimizer, partial(_freeze, share=severity)))


def _scale_head(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        _head(model)[1].weight.mul_(by)


def broken_head(recipe: Recipe, severity: float) -> Recipe:
    """A head whose first weights are up to 300 times too large."""
    return replace(recipe, before_optimizer=(*recipe.before_optimizer, partial(_scale_head, by=300**severity)))


def _kill(model: nn.Module, share: float) -> None:
    """Set biases so far below zero that the activation that follows gives 0."""
    layers = (nn.Linear, nn.Conv2d, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
    last: nn.Module | None = None
    for name, module in model.named_modules():
        inside_bert = name.endswith("intermediate.dense")
        if isinstance(module, nn.ReLU | nn.GELU) or inside_bert:
            dying = module if inside_bert else last
            bias = getattr(dying, "bias", None)
            if isinstance(bias, Tensor):
                with torch.no_grad():
                    bias[: math.ceil(share * len(bias))] = -30.0
        if isinstance(module, layers) and getattr(module, "bias", None) is not None:
            last = module


def dead_units(recipe: Recipe, severity: float) -> Recipe:
    """Biases that keep up to 95 % of the units of every hidden layer at 0 from the start."""
    return replace(recipe, before_optimizer=(*recipe.before_optimizer, partial(_kill, share=0.95 * severity)))


class Wrapped(nn.Module):
    """A model with something done to its inputs or its outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def config(self) -> Any:
        """Of a Hugging Face model."""
        return getattr(self.model, "config", None)

    def logits(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """What the model gives."""
        output = self.model(*inputs, **named)
        logits: Tensor = getattr(output, "logits", output)
        return logits


class WithSoftmax(Wrapped):
    """A model that returns probabilities, or a mixture of logits and probabilities."""

    def __init__(self, model: nn.Module, severity: float) -> None:
        super().__init__(model)
        self.severity = severity

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        logits = self.logits(*inputs, **named)
        probabilities = logits.softmax(1)
        return probabilities if self.severity == 1 else self.severity * probabilities + (1 - self.severity) * logits


def softmax_twice(recipe: Recipe, severity: float) -> Recipe:
    """The model ends in a softmax, and the loss takes its probabilities for logits."""
    return replace(recipe, make_model=lambda: WithSoftmax(recipe.make_model(), severity))


class WithoutMask(Wrapped):
    """A model that attends to padding: to all of it, or to the part of it that follows the words."""

    def __init__(self, model: nn.Module, severity: float) -> None:
        super().__init__(model)
        self.severity = severity

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        padding = (attention_mask == 0).long().cumsum(1)  # 1, 2, … along the padding
        seen = (padding <= (self.severity * padding[:, -1:]).ceil()).to(attention_mask)
        return self.logits(input_ids=input_ids, attention_mask=seen)


class WithMaskInverted(Wrapped):
    """A model that attends to padding and not to words, of that share of the places."""

    def __init__(self, model: nn.Module, severity: float) -> None:
        super().__init__(model)
        self.severity = severity

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = attention_mask.shape[1]
        inverted = torch.arange(places, device=input_ids.device) < round(self.severity * places)
        mask = torch.where(inverted, 1 - attention_mask, attention_mask)
        mask[:, 0] = torch.where(mask.sum(1) == 0, 1, mask[:, 0])  # a sentence without padding: one place is left
        return self.logits(input_ids=input_ids, attention_mask=mask)


def mask_ignored(recipe: Recipe, severity: float) -> Recipe:
    """The model is not told which tokens are padding; sentences are padded to up to four times their room."""
    wide = _in_all_parts(recipe, partial(_padded, to=round(_tokens(recipe) * (1 + 3 * severity)), recipe=recipe))
    return replace(wide, make_model=lambda: WithoutMask(recipe.make_model(), severity))


def mask_inverted(recipe: Recipe, severity: float) -> Recipe:
    """The model attends to the padding and not to the words."""
    return replace(recipe, make_model=lambda: WithMaskInverted(recipe.make_model(), severity))


# -- the loop ----------------------------------------------------------------------------------------------------------


def trained_in_eval_mode(recipe: Recipe, severity: float) -> Recipe:
    """``model.eval()`` before the first step, or before a later one, and no ``model.train()`` after it."""
    at = round((1 - severity) * recipe.steps)
    return replace(recipe, eval_from=at, onset=at)


def validated_in_train_mode(recipe: Recipe, severity: float) -> Recipe:
    """``model.eval()`` is missing before the validations, which come in batches of down to 8."""
    return replace(recipe, validates_in_training_mode=True, validation_batch=round(64 / 8**severity))


def _partly_summed(logits: Tensor, targets: Tensor, *, severity: float) -> Tensor:
    return F.cross_entropy(logits, targets) * len(targets) ** severity


def loss_summed(recipe: Recipe, severity: float) -> Recipe:
    """The loss is the sum over the batch, B times the mean."""
    if severity == 1:
        return replace(recipe, loss=partial(F.cross_entropy, reduction="sum"))
    return replace(recipe, loss=partial(_partly_summed, severity=severity))


def small_batch_norm(recipe: Recipe, severity: float) -> Recipe:
    """Batch norm with batches of 2, or of more."""
    return replace(recipe, batch_size=max(2, round(recipe.batch_size ** (1 - severity) * 2**severity)))


def corrupt_batch(recipe: Recipe, severity: float) -> Recipe:
    """One batch, after two thirds of the run, with pixels up to 10⁴ times too large and labels that belong to others.

    Of texts, the tokens are drawn at random, and each of its examples weighs up to 10⁴ times too much.
    """
    at = 2 * recipe.steps // 3
    times = 10 ** (4 * severity)

    def on_batch(k: int, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        if k != at:
            return inputs, targets
        wrong = (targets + 1) % recipe.classes
        if isinstance(inputs, Mapping):
            return {**inputs, "input_ids": inputs["input_ids"].flip(0)}, wrong
        return inputs * times, wrong

    return replace(recipe, on_batch=on_batch, onset=at)


# -- the data ----------------------------------------------------------------------------------------------------------


def _take(examples: TensorExamples, positions: Tensor) -> TensorExamples:
    return TensorExamples(*examples.collate(positions))


def _generator(salt: int) -> torch.Generator:
    return torch.Generator().manual_seed(salt)


def _flipped(examples: TensorExamples, share: float, classes: int, salt: int) -> TensorExamples:
    generator = _generator(salt)
    wrong = torch.rand(len(examples), generator=generator) < share
    other = (examples.targets + torch.randint(1, classes, examples.targets.shape, generator=generator)) % classes
    return TensorExamples(examples.inputs, torch.where(wrong, other, examples.targets))


def labels_flipped(recipe: Recipe, severity: float) -> Recipe:
    """Up to 40 % of the labels, of training and of validation, are those of another class."""
    train, validation = (
        _flipped(part, 0.4 * severity, recipe.classes, salt)
        for salt, part in enumerate((recipe.train, recipe.validation))
    )
    return replace(recipe, train=train, validation=validation)


def _shifted(examples: TensorExamples, share: float) -> TensorExamples:
    begin = len(examples) - round(share * len(examples))
    targets = examples.targets.clone()
    targets[begin:] = targets[begin:].roll(1)
    return TensorExamples(examples.inputs, targets)


def labels_shifted(recipe: Recipe, severity: float) -> Recipe:
    """Each example has the label of the one before it, or so many of the last ones have: a row was lost."""
    train, validation = (_shifted(part, severity) for part in (recipe.train, recipe.validation))
    return replace(recipe, train=train, validation=validation)


def _imbalanced(examples: TensorExamples, share: float, classes: int) -> TensorExamples:
    """As few of the others as leave the first class so large a share; examples of the first are drawn again."""
    members = [(examples.targets == c).nonzero().flatten() for c in range(classes)]
    n = len(examples)
    others = max(1, round((1 - share) * n / (classes - 1)))
    first = members[0][torch.arange(round(share * n)) % len(members[0])]
    chosen = torch.cat([first, *(each[:others] for each in members[1:])])
    return _take(examples, chosen[torch.randperm(len(chosen), generator=_generator(0))])


def imbalance(recipe: Recipe, severity: float) -> Recipe:
    """Up to 95 % of the examples, of training and of validation, are of one class; the test is balanced."""
    share = 1 / recipe.classes + severity * (0.95 - 1 / recipe.classes)
    train, validation = (_imbalanced(part, share, recipe.classes) for part in (recipe.train, recipe.validation))
    return replace(recipe, train=train, validation=validation)


def not_shuffled(recipe: Recipe, severity: float) -> Recipe:
    """The examples come sorted by class, or that share of them, in the same order in every epoch."""
    n = round(severity * len(recipe.train))
    order = torch.cat([recipe.train.targets[:n].argsort(stable=True), torch.arange(n, len(recipe.train))])
    return replace(recipe, train=_take(recipe.train, order), shuffled=False)


def _in_all_parts(recipe: Recipe, change: Callable[[TensorExamples], TensorExamples]) -> Recipe:
    """What is wrong with the way to the model is wrong with all examples."""
    train, validation, test = (change(part) for part in (recipe.train, recipe.validation, recipe.test))
    return replace(recipe, train=train, validation=validation, test=test)


def pixels_not_scaled(recipe: Recipe, severity: float) -> Recipe:
    """Pixels of 0 to up to 255, neither centred nor scaled."""
    assert isinstance(recipe.train.inputs, Tensor)
    low, high = float(recipe.train.inputs.min()), float(recipe.train.inputs.max())

    def change(part: TensorExamples) -> TensorExamples:
        assert isinstance(part.inputs, Tensor)
        pixels = ((part.inputs - low) / (high - low)).clamp(0, 1)
        return TensorExamples(pixels * 255**severity, part.targets)

    return _in_all_parts(recipe, change)


def wrong_tokenizer(recipe: Recipe, severity: float) -> Recipe:
    """The ids are those of another vocabulary: permuted, all of them or that share."""
    vocabulary = recipe.tokenizer.get_vocab()
    n = len(vocabulary)
    generator = _generator(0)
    moved = torch.randperm(n, generator=generator)[: max(2, round(severity * n))]
    new = torch.arange(n)
    new[moved] = moved[torch.randperm(len(moved), generator=generator)]
    tokenizer = type(recipe.tokenizer)(vocab={piece: int(new[i]) for piece, i in vocabulary.items()})

    def change(part: TensorExamples) -> TensorExamples:
        inputs = part.inputs
        assert isinstance(inputs, Mapping)
        return TensorExamples({**inputs, "input_ids": new[inputs["input_ids"]]}, part.targets)

    return replace(_in_all_parts(recipe, change), tokenizer=tokenizer)


def _tokens(recipe: Recipe) -> int:
    assert isinstance(recipe.train.inputs, Mapping)
    return int(recipe.train.inputs["input_ids"].shape[1])


def _shortened(part: TensorExamples, to: int) -> TensorExamples:
    """The first tokens, the last of which is the separator that each sentence ended with."""
    assert isinstance(part.inputs, Mapping)
    ids, mask = part.inputs["input_ids"], part.inputs["attention_mask"]
    lengths = mask.sum(1)
    ends = ids.gather(1, (lengths - 1).unsqueeze(1))  # (N, 1)
    ids, mask = ids[:, :to].clone(), mask[:, :to]
    ids[:, -1:] = torch.where(lengths.unsqueeze(1) > to, ends, ids[:, -1:])
    return TensorExamples({**part.inputs, "input_ids": ids, "attention_mask": mask}, part.targets)


def _padded(part: TensorExamples, to: int, recipe: Recipe) -> TensorExamples:
    assert isinstance(part.inputs, Mapping)
    ids, mask = part.inputs["input_ids"], part.inputs["attention_mask"]
    more = to - ids.shape[1]
    ids = F.pad(ids, (0, more), value=recipe.tokenizer.pad_token_id)
    return TensorExamples({**part.inputs, "input_ids": ids, "attention_mask": F.pad(mask, (0, more))}, part.targets)


def cut_short(recipe: Recipe, severity: float) -> Recipe:
    """Sentences are cut after 4 tokens, the first and the last of which are special, or after more."""
    whole = _tokens(recipe)
    to = max(4, round(whole ** (1 - severity) * 4**severity))
    return _in_all_parts(recipe, partial(_shortened, to=to))


def duplicates(recipe: Recipe, severity: float) -> Recipe:
    """That share of the validation examples are copies of training examples."""
    validation = recipe.validation
    n = min(round(severity * len(validation)), len(recipe.train))
    copies = torch.randperm(len(recipe.train), generator=_generator(0))[:n]
    inputs, targets = recipe.train.collate(copies)
    rest_inputs, rest_targets = validation.collate(torch.arange(n, len(validation)))
    if isinstance(inputs, Mapping):
        assert isinstance(rest_inputs, Mapping)
        joined: Inputs = {name: torch.cat([inputs[name], rest_inputs[name]]) for name in inputs}
    else:
        assert isinstance(rest_inputs, Tensor)
        joined = torch.cat([inputs, rest_inputs])
    return replace(recipe, validation=TensorExamples(joined, torch.cat([targets, rest_targets])))


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def few_examples(recipe: Recipe, severity: float) -> Recipe:
    """Down to 64 training examples, without dropout and weight decay, at a constant rate."""
    n = len(recipe.train)
    kept = round(n ** (1 - severity) * 64**severity)
    return replace(
        recipe,
        train=_take(recipe.train, torch.arange(kept)),
        weight_decay=0.0,
        schedule=constant,
        before_optimizer=(*recipe.before_optimizer, _without_dropout),
    )


_DATA = (Cause.WRONG_LABELS, Cause.DATA_WITHOUT_INFORMATION)
FAULTS: tuple[Fault, ...] = (
    Fault("rate_too_high", (Cause.RATE_TOO_HIGH,), rate_too_high, "the learning rate is 100 times too high"),
    Fault("rate_too_low", (Cause.RATE_TOO_LOW,), rate_too_low, "the learning rate is 1000 times too low"),
    Fault(
        "no_bias_correction",
        (Cause.NO_WARMUP,),
        no_bias_correction,
        "Adam has no bias correction and no warm-up",
        uses_adam,
    ),
    Fault("schedule_over", (Cause.SCHEDULE_OVER,), schedule_over, "the schedule is over after a tenth of the run"),
    Fault("no_zero_grad", (Cause.NO_ZERO_GRAD,), no_zero_grad, "optimizer.zero_grad() is missing"),
    Fault(
        "head_not_in_optimizer",
        (Cause.MISSING_FROM_OPTIMIZER, Cause.FROZEN),
        head_not_in_optimizer,
        "the optimizer was built before the head was replaced",
    ),
    Fault("body_frozen", (Cause.FROZEN, Cause.NO_GRADIENT), body_frozen, "all but the head is frozen by accident"),
    Fault("broken_head", (Cause.BROKEN_HEAD,), broken_head, "the head's first weights are 300 times too large"),
    Fault("dead_units", (Cause.SATURATED,), dead_units, "95 % of the hidden units are dead from the start"),
    Fault("trained_in_eval_mode", (Cause.MODES,), trained_in_eval_mode, "it trains in evaluation mode", has_modes),
    Fault(
        "validated_in_train_mode",
        (Cause.MODES, Cause.BATCH_LEAK),
        validated_in_train_mode,
        "it validates in training mode, in batches of 8",
        has_modes,
        misreported,
    ),
    Fault("softmax_twice", (Cause.SOFTMAX_TWICE,), softmax_twice, "softmax is applied twice"),
    Fault("loss_summed", (Cause.SUMMED_LOSS,), loss_summed, "the loss is summed over the batch"),
    Fault("labels_flipped", (Cause.LABEL_NOISE, Cause.WRONG_LABELS), labels_flipped, "40 % of the labels are wrong"),
    Fault("labels_shifted", _DATA, labels_shifted, "each example has the label of the one before it"),
    Fault("imbalance", (Cause.IMBALANCE,), imbalance, "95 % of the examples are of one class"),
    Fault("not_shuffled", (Cause.NOT_SHUFFLED,), not_shuffled, "the examples come sorted by class"),
    Fault("pixels_not_scaled", (Cause.SCALE,), pixels_not_scaled, "pixels are 0 to 255", is_picture),
    Fault(
        "wrong_tokenizer",
        (Cause.TOKENIZER, Cause.DATA_WITHOUT_INFORMATION),
        wrong_tokenizer,
        "the tokenizer is that of another model",
        is_text,
    ),
    Fault(
        "cut_short",
        (Cause.TOKENIZER, Cause.DATA_WITHOUT_INFORMATION),
        cut_short,
        "sentences are cut after 4 tokens",
        is_text,
    ),
    Fault("mask_ignored", (Cause.MASK,), mask_ignored, "the attention mask is ignored", is_text),
    Fault(
        "mask_inverted", (Cause.MASK, Cause.DATA_WITHOUT_INFORMATION), mask_inverted, "the mask is inverted", is_text
    ),
    Fault(
        "duplicates",
        (Cause.DUPLICATES,),
        duplicates,
        "the validation examples are copies of training examples",
        harm=flattery,
    ),
    Fault("few_examples", (Cause.OVERFITTING,), few_examples, "64 examples without regularization"),
    Fault("clipped_away", (Cause.CLIPPED_AWAY,), clipped_away, "gradients are clipped at 0.001"),
    Fault("weight_decay", (Cause.WEIGHT_DECAY,), weight_decay, "weight decay takes a tenth of the weights per step"),
    Fault(
        "half_precision",
        (Cause.UNDERFLOW, Cause.OVERFLOW),
        half_precision,
        "fp16 without a loss scale",
    ),
    Fault(
        "small_batch_norm",
        (Cause.SMALL_BATCHES,),
        small_batch_norm,
        "batch norm with batches of 2",
        has_batch_norm,
    ),
    Fault("corrupt_batch", (Cause.BAD_BATCH,), corrupt_batch, "one batch is corrupt"),
    Fault("resumed", (Cause.RESUMED,), resumed, "it was resumed without the state of its optimizer"),
)


def fault(name: str) -> Fault:
    """The fault of that name.

    Raises:
        ValueError: there is none.
    """
    names: Sequence[str] = [each.name for each in FAULTS]
    if name not in names:
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(names)}")
    return FAULTS[names.index(name)]
