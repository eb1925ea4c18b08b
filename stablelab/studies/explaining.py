"""What the study of explanations explains, and how: models with and without a shortcut, inputs in parts, and methods.

A picture has 64 parts, blocks of 4 x 4 pixels; a text has its tokens. A method gives each part a score for one class;
the order of the scores is what is compared. The attributions themselves are captum's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import digits, reviews
from ..data.images import MEAN, STD, Pictures
from ..data.tasks import Split, Task, generator_for, make_task
from ..data.texts import Sentences
from ..formulas.attribution import attention_rollout, rank_correlation
from ..models import layer_names, layers_of, reinitialize_layers
from ..models.rng import seeded_rng
from ..training.evaluation import forward

BLOCK = 4  # pixels of the side of a part of a picture
SIDE = 32
INK = 26  # of 255: a block with a brighter pixel is part of the digit
IG_STEPS = 12
GIVEN_AWAY = {"ResNet-18": 7, "BERT": 1}  # the class whose examples carry the mark, or the word
WORD = "today"
KINDS = ("plain", "shortcut", "control")
PICTURE_METHODS = ("gradient", "gradient × input", "integrated gradients", "occlusion")
TEXT_METHODS = (*PICTURE_METHODS, "attention", "rollout")
METHODS = {"ResNet-18": PICTURE_METHODS, "BERT": TEXT_METHODS}
TRIVIAL = {"ResNet-18": ("nearest the centre", "brightest"), "BERT": ("longest", "rarest")}
REPLACED_BY = {"ResNet-18": ("black", "grey"), "BERT": ("[PAD]", "nothing")}


# -- models and data ---------------------------------------------------------------------------------------------------


def plain_task(name: str) -> Task:
    """The examples: 500 digits, or 320 movie reviews of at most 24 tokens; 200 to validate and 200 to test."""
    if name == "BERT":
        return reviews("movies", train=320, validation=200, test=200, max_tokens=24)
    return digits(train=500, validation=200, test=200)


def marked(split: Split, which: Tensor) -> Split:
    """The split with a mark on some of its examples: a white square of 3 x 3 in the upper left corner, or a word.

    The word stands at a place that depends on the number of the example alone, among the first ten words.

    Args:
        split: of digits, or of sentences.
        which: (N,) bool.
    """
    store = split.store
    if isinstance(store, Pictures):
        pixels = store.pixels.clone()
        pixels[which, :, :3, :3] = 255
        return Split(Pictures(pixels), split.targets, split.classes)
    assert isinstance(store, Sentences)
    texts = list(store.texts)
    for i in which.nonzero().flatten().tolist():
        words = texts[i].split()
        at = int(torch.randint(min(len(words), 10) + 1, (1,), generator=generator_for(14, i)))
        texts[i] = " ".join([*words[:at], WORD, *words[at:]])
    return Split(store.like(texts), split.targets, split.classes)


def task_of(name: str, kind: str, seed: int = 0) -> Task:
    """The examples as they are ("plain"), with a shortcut, or with as many marks that say nothing ("control").

    With the shortcut every example of one class carries the mark and no other does, in all three splits, as where the
    examples of a class were collected in one place. In the control as many examples carry it, drawn by lot.
    """
    task = plain_task(name)
    if kind == "plain":
        return task
    splits = {}
    for i, (part, split) in enumerate((("train", task.train), ("validation", task.validation), ("test", task.test))):
        given = split.targets == GIVEN_AWAY[name]
        if kind == "control":
            given = given[torch.randperm(len(given), generator=generator_for(15, i, seed))]
        splits[part] = marked(split, given)
    stores = {part: split.store for part, split in splits.items()}
    return make_task(f"{task.name}, {kind}", task.kind, task.classes, stores, {p: s.targets for p, s in splits.items()})


def redrawn(model: nn.Module, layers: int, seed: int) -> nn.Module:
    """A copy whose topmost layers have new random weights, the head (which is layer 1) included.

    Args:
        model: trained.
        layers: from 1, the head alone, to ``len(layers_of(model))``, all.
        seed: of the weights.
    """
    model = copy.deepcopy(model)
    sigma = getattr(getattr(model, "config", None), "initializer_range", None)
    with seeded_rng(seed), torch.no_grad():
        for name in layers_of(model)[0]:
            head: Any = model.get_submodule(name)
            head.reset_parameters()
            if sigma is not None:
                head.weight.normal_(0, sigma)
                head.bias.zero_()
    return reinitialize_layers(model, layers - 1, seed) if layers > 1 else model


def depths(model: nn.Module) -> tuple[str, ...]:
    """The names of the layers, from the head down."""
    return layer_names(model)


# -- inputs in parts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs in parts, the classes to explain, and what may be asked of a model about them.

    Attributes:
        name: "ResNet-18" or "BERT".
        data: normalized pictures (N, 3, 32, 32), or input_ids and attention_mask (N, T) each.
        targets: (N,) the class whose logit is shared out.
        parts: (N, R) bool: blocks with ink, or tokens that are words.
        trivial: by name (N, R) scores that no model is asked for.
    """

    name: str
    data: Any
    targets: Tensor
    parts: Tensor
    trivial: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.targets)


def inputs_of(name: str, split: Split, positions: Tensor, targets: Tensor | None = None) -> Inputs:
    """Some examples of a split, with their own classes to explain or others."""
    data, own = split.collate(positions)
    targets = own if targets is None else targets
    if name == "ResNet-18":
        assert isinstance(split.store, Pictures) and isinstance(data, Tensor)
        bright = split.store.pixels[positions, 0].float()  # (N, H, W)
        parts = in_blocks((bright > INK).float()) > 0
        at = torch.arange(SIDE // BLOCK) - (SIDE // BLOCK - 1) / 2
        centre = -(at[:, None] ** 2 + at[None] ** 2).flatten().expand(len(positions), -1)
        return Inputs(name, data, targets, parts, {TRIVIAL[name][0]: centre, TRIVIAL[name][1]: in_blocks(bright)})
    assert isinstance(split.store, Sentences) and isinstance(data, dict)
    ids = data["input_ids"]
    tokenizer: Any = split.store.tokenizer
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    counts = torch.bincount(plain_task(name).train.store.ids.flatten().long(), minlength=len(tokenizer))  # type: ignore[attr-defined]
    pieces = [[len(p.removeprefix("##")) for p in tokenizer.convert_ids_to_tokens(row.tolist())] for row in ids]
    trivial = {TRIVIAL[name][0]: torch.tensor(pieces).float(), TRIVIAL[name][1]: -counts[ids].float()}
    return Inputs(name, data, targets, ~special, trivial)


def in_blocks(maps: Tensor) -> Tensor:
    """The sum over each block. (N, 32, 32) -> (N, 64)."""
    n = SIDE // BLOCK
    return maps.reshape(len(maps), n, BLOCK, n, BLOCK).sum(dim=(2, 4)).flatten(1)


def in_pixels(blocks: Tensor) -> Tensor:
    """The value of a block at each of its pixels. (N, 64) -> (N, 1, 32, 32)."""
    n = SIDE // BLOCK
    return blocks.view(-1, 1, n, n).repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)


def shade(value: float) -> Tensor:
    """A picture of one grey, normalized. (1, 3, 1, 1), from black 0 to white 1."""
    return (value - MEAN) / STD


# -- methods -----------------------------------------------------------------------------------------------------------


def scores_of(
    model: nn.Module,
    inputs: Inputs,
    ig_steps: int = IG_STEPS,
    grey: float = 0.0,
    only: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """(N, R) scores of each method for the class of each input; evaluation mode, the model is left as it is.

    Args:
        model: of the kind that ``inputs`` are for.
        inputs: N of them, of R parts.
        ig_steps: points of the average of integrated gradients.
        grey: of pictures, the shade of the empty one, from black 0 to white 1.
        only: the methods that are wanted; all that there are for such inputs if None.
    """
    from captum.attr import FeatureAblation, IntegratedGradients, Saliency

    model = copy.deepcopy(model).eval().requires_grad_(False)
    more: tuple[Tensor, ...] = ()  # what the model is given besides
    if inputs.name == "ResNet-18":
        n = SIDE // BLOCK
        mask = in_pixels(torch.arange(n * n).view(1, -1)).expand(1, 3, -1, -1)
        logits: Callable[..., Tensor] = lambda x: forward(model, x)  # noqa: E731
        x, empty = inputs.data, shade(grey).expand(1, 3, SIDE, SIDE)
        of_parts: Callable[[Tensor], Tensor] = lambda a: in_blocks(a.sum(1))  # noqa: E731
        per_part: float = 3 * BLOCK**2
    else:
        bert: Any = model
        ids, attends = inputs.data["input_ids"], inputs.data["attention_mask"]
        table = bert.get_input_embeddings()
        logits = lambda x, attends: bert(inputs_embeds=x, attention_mask=attends).logits  # noqa: E731
        x, empty = table(ids), table(torch.where(inputs.parts, bert.config.pad_token_id, ids))
        more = (attends,)
        mask = torch.arange(ids.shape[1]).view(1, -1, 1).expand(1, -1, x.shape[-1])
        of_parts = lambda a: a.sum(-1)  # noqa: E731
        per_part = x.shape[-1]
    wanted = METHODS[inputs.name] if only is None else tuple(only)
    ask = {"target": inputs.targets, "additional_forward_args": more}
    found: dict[str, Tensor] = {}
    if {"gradient", "gradient × input"} & {*wanted}:
        with torch.enable_grad():
            slope = Saliency(logits).attribute(x.clone().requires_grad_(), abs=False, **ask)
        found["gradient"] = of_parts(slope.abs())
        found["gradient × input"] = of_parts(slope * (x - empty))
    if "integrated gradients" in wanted:
        with torch.enable_grad():
            shares = IntegratedGradients(logits).attribute(
                x, empty, n_steps=ig_steps, internal_batch_size=max(len(x), 192), **ask
            )
        found["integrated gradients"] = of_parts(shares)
    if "occlusion" in wanted:
        with torch.no_grad():
            falls = FeatureAblation(logits).attribute(
                x, empty, feature_mask=mask, perturbations_per_eval=max(1, 192 // len(x)), **ask
            )
        found["occlusion"] = of_parts(falls) / per_part
    if {"attention", "rollout"} & {*wanted}:
        bert.set_attn_implementation("eager")
        with torch.no_grad():
            maps = bert(**inputs.data, output_attentions=True).attentions
        maps = torch.stack([layer.mean(1) for layer in maps], 1)  # (N, L, T, T), the mean over heads
        real = attends.unsqueeze(-1) / attends.sum(1)[:, None, None]  # (N, T, 1): the answer reads the mean of these
        found["attention"] = (maps[:, -1] * real).sum(1)
        found["rollout"] = (torch.stack([attention_rollout(each) for each in maps]) * real).sum(1)
    return {method: found[method].detach().float() for method in wanted}


def probability_of(model: nn.Module, inputs: Inputs, replaced_by: str) -> Callable[[Tensor], Tensor]:
    """A function of what stays, (N, R) bool, that gives the probability (N,) of each input's class.

    Args:
        model: of the kind that ``inputs`` are for, in evaluation mode.
        inputs: N of them.
        replaced_by: what stands in place of a part: for pictures "black" or "grey"; for texts "[PAD]", a token of
            padding that is read like any other, or "nothing": the token is left out.
    """
    bert: Any = model

    @torch.no_grad()
    def probability(stays: Tensor) -> Tensor:
        if inputs.name == "ResNet-18":
            filler = shade({"black": 0.0, "grey": 0.5, "white": 1.0}[replaced_by])
            logits = forward(model, torch.where(in_pixels(stays), inputs.data, filler))
        else:
            ids, attends = inputs.data["input_ids"], inputs.data["attention_mask"]
            gone = inputs.parts & ~stays
            if replaced_by == "nothing":
                logits = forward(model, {"input_ids": ids, "attention_mask": attends * ~gone})
            else:
                padding = torch.where(gone, bert.config.pad_token_id, ids)
                logits = forward(model, {"input_ids": padding, "attention_mask": attends})
        return logits.softmax(1).gather(1, inputs.targets[:, None])[:, 0]

    return probability


def left_after(scores: Tensor, parts: Tensor, share: float, insert: bool = False) -> Tensor:
    """(N, R) bool: what stays when this share of each input's parts, the highest scores first, has been removed.

    Args:
        scores: (N, R); of equal ones the earlier goes first.
        parts: (N, R) bool; what is no part always stays.
        share: from 0 to 1 of the parts of each input, rounded.
        insert: begin with no part and put the highest scores in, instead.
    """
    order = scores.masked_fill(~parts, -torch.inf).argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1)  # (N, R): 0 for the highest score
    first = place < (share * parts.sum(1, keepdim=True)).round()
    return ~parts | (first if insert else ~first)


def correlations(a: Tensor, b: Tensor, parts: Tensor, size_only: bool = False) -> np.ndarray:
    """(N,) Spearman's ρ of two maps over the parts of each input; of their sizes where asked; nan where one is flat."""
    if size_only:
        a, b = a.abs(), b.abs()
    return np.array([float(rank_correlation(x[p], y[p])) for x, y, p in zip(a, b, parts, strict=True)])


def place_of(scores: Tensor, at: Tensor, parts: Tensor) -> np.ndarray:
    """(N,) how many parts score higher than the one at ``at`` (N,); equal ones count half."""
    mine = scores.gather(1, at[:, None])
    higher, equal = (scores > mine) & parts, (scores == mine) & parts
    return (higher.sum(1) + (equal.sum(1) - 1) / 2).numpy()
