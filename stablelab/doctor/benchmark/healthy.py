"""Runs that are healthy and look ill: what a doctor must not be alarmed at.

Each changes a clean recipe to another that learns as well, or nearly, but whose curves look like those of a fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..setup import TensorExamples
from .faults import _freeze, _generator, _head, _take, _without_dropout, is_picture, is_text, uses_adam
from .recipe import Recipe, adamw, constant


@dataclass(frozen=True)
class Healthy:
    """A healthy variant.

    Args:
        name: of the variant.
        change: clean recipe -> healthy recipe.
        says: what looks ill, in a sentence.
        applies_to: whether a recipe can have it.
    """

    name: str
    change: Callable[[Recipe], Recipe]
    says: str
    applies_to: Callable[[Recipe], bool] = lambda recipe: True

    def __call__(self, recipe: Recipe) -> Recipe:
        """The healthy recipe."""
        return self.change(recipe)


def _plain_sgd(parameters: object, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=learning_rate, weight_decay=weight_decay)  # type: ignore[arg-type]


def sgd_at_a_tenth(recipe: Recipe) -> Recipe:
    """Plain SGD at 0.1, a rate that Adam could not have, over twice the steps."""
    return replace(
        recipe, make_optimizer=_plain_sgd, learning_rate=0.1, max_norm=None, weight_decay=0.0, steps=2 * recipe.steps
    )


def nearly_perfect(recipe: Recipe) -> Recipe:
    """Twice the steps: the training loss is near 0 and the accuracy on what was trained on near 1."""
    return replace(recipe, steps=2 * recipe.steps)


def _restarts(k: int, steps: int) -> float:
    period = math.ceil(steps / 3)
    return 0.5 * (1 + math.cos(math.pi * (k % period) / period))


def cosine_restart(recipe: Recipe) -> Recipe:
    """A cosine that begins anew twice (Loshchilov & Hutter 2017): the loss rises each time."""
    return replace(recipe, schedule=_restarts, warmup=0)


def _warmup_stable_decay(k: int, steps: int) -> float:
    return min(1.0, (k + 1) / (0.1 * steps), (steps - k) / (0.2 * steps))


def wsd_drop(recipe: Recipe) -> Recipe:
    """Warm-up, a constant rate, and a fall over the last fifth (Hägele et al. 2024): the loss drops at the end."""
    return replace(recipe, schedule=_warmup_stable_decay, warmup=0)


def _enlarge(k: int, model: nn.Module, *, at: int, by: float) -> None:
    if k == at:
        with torch.no_grad():
            _head(model)[1].weight.mul_(by)


def spike_that_recovers(recipe: Recipe) -> Recipe:
    """The head's weights change their sign early, as by a broken update; the loss jumps and comes back."""
    return replace(recipe, on_step=partial(_enlarge, at=recipe.steps // 4, by=-1.0), steps=round(1.75 * recipe.steps))


def plateau_at_the_floor(recipe: Recipe) -> Recipe:
    """Targets smoothed by 0.2: the loss stands far above 0, at the entropy of the targets."""
    return replace(recipe, loss=partial(F.cross_entropy, label_smoothing=0.2), steps=round(1.5 * recipe.steps))


def _label_noise(recipe: Recipe) -> TensorExamples:
    generator = _generator(3)
    wrong = torch.rand(len(recipe.train), generator=generator) < 0.05
    other = torch.randint(recipe.classes, recipe.train.targets.shape, generator=generator)
    return TensorExamples(recipe.train.inputs, torch.where(wrong, other, recipe.train.targets))


def more_certain(recipe: Recipe) -> Recipe:
    """No dropout and a constant rate over twice the steps: the validation loss rises, the accuracy does not fall."""
    return replace(
        recipe,
        schedule=constant,
        steps=2 * recipe.steps,
        before_optimizer=(*recipe.before_optimizer, _without_dropout),
    )


def every_step_clipped(recipe: Recipe) -> Recipe:
    """Adam, and every step clipped at a tenth of the usual norm: a constant factor that Adam divides out."""
    rate = recipe.learning_rate if uses_adam(recipe) else recipe.learning_rate / 20
    return replace(recipe, make_optimizer=adamw, learning_rate=rate, max_norm=0.1)


def head_only(recipe: Recipe) -> Recipe:
    """The last layers alone are trained, on purpose, at a higher rate over twice the steps; the others are pre-trained.

    What is pre-trained here is the same net on the same examples for a while.
    """

    def make_model() -> nn.Module:
        model = recipe.make_model()
        optimizer = recipe.make_optimizer(list(model.parameters()), recipe.learning_rate, recipe.weight_decay)
        n = len(recipe.train)
        for _ in range(recipe.steps // 2):
            chosen = torch.randperm(n)[: recipe.batch_size]
            inputs, targets = recipe.train.collate(chosen)
            output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
            loss = F.cross_entropy(getattr(output, "logits", output), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.zero_grad()
        _head(model)[1].reset_parameters()
        _freeze(model, 1.0)
        return model

    return replace(recipe, make_model=make_model)


def batch_of_4(recipe: Recipe) -> Recipe:
    """Batches of 4 at a lower rate, over twice the steps: the loss scatters wildly."""
    return replace(recipe, batch_size=4, learning_rate=recipe.learning_rate / 4, steps=2 * recipe.steps)


def long_warm_up(recipe: Recipe) -> Recipe:
    """A warm-up over the first half: the loss hardly moves at first."""
    return replace(recipe, warmup=recipe.steps // 2)


def strong_decay(recipe: Recipe) -> Recipe:
    """Weight decay of 0.1 with AdamW, and of 0.005 with SGD: usual numbers, that sound large."""
    return replace(recipe, weight_decay=0.1 if uses_adam(recipe) else 0.005)


def _uneven(examples: TensorExamples, classes: int, ratio: float) -> TensorExamples:
    """The frequent half of the classes ``ratio`` times as often as the others."""
    chosen = []
    for c in range(classes):
        members = (examples.targets == c).nonzero().flatten()
        chosen.append(members if c < (classes + 1) // 2 else members[: max(2, round(len(members) / ratio))])
    positions = torch.cat(chosen)
    return _take(examples, positions[torch.randperm(len(positions), generator=_generator(5))])


def uneven_classes(recipe: Recipe) -> Recipe:
    """Half of the classes are two and a half times as frequent as the others, and all are learnt."""
    train, validation = (_uneven(part, recipe.classes, 2.5) for part in (recipe.train, recipe.validation))
    return replace(recipe, train=train, validation=validation)


def few_wrong_labels(recipe: Recipe) -> Recipe:
    """5 % of the labels drawn at random, as data of people are: a few examples are never learnt."""
    return replace(recipe, train=_label_noise(recipe))


def constant_rate(recipe: Recipe) -> Recipe:
    """No schedule at all, at half of the rate."""
    return replace(recipe, schedule=constant, learning_rate=recipe.learning_rate / 2)


def adam_on_pictures(recipe: Recipe) -> Recipe:
    """AdamW in place of SGD: a rate twenty times lower."""
    return replace(recipe, make_optimizer=adamw, learning_rate=recipe.learning_rate / 20)


def padded_far(recipe: Recipe) -> Recipe:
    """Sentences padded to twice their room, with the mask as it should be: most of what comes in is padding."""

    def change(part: TensorExamples) -> TensorExamples:
        assert not isinstance(part.inputs, Tensor)
        ids, mask = part.inputs["input_ids"], part.inputs["attention_mask"]
        more = ids.shape[1] // 2
        ids = F.pad(ids, (0, more), value=recipe.tokenizer.pad_token_id)
        return TensorExamples({**part.inputs, "input_ids": ids, "attention_mask": F.pad(mask, (0, more))}, part.targets)

    train, validation, test = (change(part) for part in (recipe.train, recipe.validation, recipe.test))
    return replace(recipe, train=train, validation=validation, test=test)


HEALTHY: tuple[Healthy, ...] = (
    Healthy("sgd_at_0.1", sgd_at_a_tenth, "plain SGD at a rate of 0.1", is_picture),
    Healthy("nearly_perfect", nearly_perfect, "the training loss is near 0, the accuracy near 1"),
    Healthy("cosine_restart", cosine_restart, "the loss rises when the schedule begins anew"),
    Healthy("wsd_drop", wsd_drop, "the loss drops when the rate falls at last"),
    Healthy("spike_that_recovers", spike_that_recovers, "the loss jumps, and comes back"),
    Healthy("plateau_at_the_floor", plateau_at_the_floor, "the loss stands far above 0, where smoothed targets end"),
    Healthy("more_certain", more_certain, "the validation loss rises while the accuracy does not fall"),
    Healthy("every_step_clipped", every_step_clipped, "every step of Adam is clipped"),
    Healthy("head_only", head_only, "only the head is trained, on a body that knows its task"),
    Healthy("batch_of_4", batch_of_4, "batches of 4: the loss scatters wildly"),
    Healthy("long_warm_up", long_warm_up, "the loss hardly moves during a long warm-up"),
    Healthy("strong_decay", strong_decay, "a strong weight decay, which is usual"),
    Healthy("uneven_classes", uneven_classes, "classes far from balanced, and learnt"),
    Healthy("few_wrong_labels", few_wrong_labels, "a few labels are wrong, as they always are"),
    Healthy("constant_rate", constant_rate, "no schedule at all"),
    Healthy("adam", adam_on_pictures, "Adam in place of SGD", lambda recipe: not uses_adam(recipe)),
    Healthy("padded_far", padded_far, "a third of what comes in is padding", is_text),
)
