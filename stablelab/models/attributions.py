"""What an answer rests on: how much each token of a sentence, or each pixel of a picture, moved one class's logit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .._validation import whole
from ..data.images import MEAN, STD
from .heads import logits_of, model_name
from .tokenized import TokenizedSentence, frozen_copy, tokenize_sentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Logits: TypeAlias = Callable[[Tensor], Tensor]  # (B, ...) -> (B, C)
INTEGRATED_GRADIENTS, OCCLUSION = METHODS = ("integrated gradients", "occlusion")
NUMBERS_AT_ONCE = 200_000  # of the inputs in one pass: 65 pictures of 32 × 32, one of 224 × 224


@dataclass(frozen=True, eq=False, repr=False)
class Attributions:
    """How much each part of an input moved the logit of one class, away from what the model says to an empty input.

    Attributes:
        method: how they were computed.
        scores: (T,) one per token, or (H, W) one per pixel; above 0 for the class, below 0 against it.
        tokens: T pieces of text; none for a picture.
        picture: (H, W, 3) uint8, or the float input as (H, W, C) scaled to 0 … 1; None for a sentence.
        label: name of the class; target: its number.
        probability: of the class, given the whole input.
        logit: of the class, given the whole input.
        baseline_logit: the same, given the empty one: all tokens but the special ones padding, or a black picture.
    """

    method: str
    scores: Tensor
    tokens: tuple[str, ...]
    picture: np.ndarray | None
    label: str
    target: int
    probability: float
    logit: float
    baseline_logit: float

    @property
    def completeness_error(self) -> float:
        """|Σ scores - (logit - baseline logit)|: near 0 for integrated gradients, the nearer the more steps."""
        return abs(float(self.scores.sum()) - (self.logit - self.baseline_logit))

    def strongest(self, n: int = 3) -> list[tuple[str, float]]:
        """The tokens with the largest scores, by size; of a picture the pixels, as ``row 3, column 17``."""
        flat, W = self.scores.flatten(), self.scores.shape[-1]
        names = self.tokens or [f"row {i // W}, column {i % W}" for i in range(len(flat))]
        at = flat.abs().argsort(descending=True, stable=True)[:n].tolist()
        return [(names[i], float(flat[i])) for i in at]

    def __repr__(self) -> str:
        opening = f"{self.method} for {self.label} (probability {self.probability:.2f})"
        strongest = ", ".join(f"{name} {score:+.2f}" for name, score in self.strongest())
        if self.method != INTEGRATED_GRADIENTS:
            return f"{opening}: strongest {strongest}"
        up, down = float(self.scores.clamp(min=0).sum()), float(self.scores.clamp(max=0).sum())
        sums = f"for it {up:+.2f}, against it {down:+.2f}, together {up + down:+.2f}"
        gap = f"the logit is {self.logit:.2f}, {self.logit - self.baseline_logit:+.2f} from the empty input's"
        return f"{opening}: strongest {strongest}; {sums}; {gap}"


def attributions(
    model: nn.Module,
    example: str | np.ndarray | Tensor,
    target: int | str | None = None,
    *,
    steps: int = 50,
    method: str = "integrated gradients",
    classes: Sequence[str] | None = None,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
    max_tokens: int = 64,
) -> Attributions:
    """Share the logit of a class out over the tokens of a sentence or the pixels of a picture (captum).

    Integrated gradients: the input is blended in from an empty one, x' + α (x - x') for α from 0 to 1, and the gradient
    of the logit is averaged on the way; times x - x' it gives each number's share, and the shares sum to the change of
    the logit. For a sentence the numbers are those of the word embeddings, and the empty sentence is padding between
    the special tokens. Occlusion covers a patch of a picture in black, and says by how much the logit falls.

    The model itself is not touched; all happens on a copy of it, in evaluation mode.

    Args:
        model: for a sentence one of Hugging Face's, such as ``bert``'s; for a picture any classifier of pictures.
        example: a sentence; or a uint8 picture (H, W, 3), as ``split.raw(i)`` gives it; or the model's own input, a
            float tensor (C, H, W), whose empty input is all zeros.
        target: the class, by number or name; the predicted one if None.
        steps: points of the average over α, 2 or more (Gauss-Legendre).
        method: "integrated gradients", or for pictures "occlusion".
        classes: names of the classes; the model's own where it has them, else "0", "1", …
        tokenizer: a tokenizer, the name or folder of one, or None for the one the model came with.
        max_tokens: a longer sentence is cut.

    Raises:
        ValueError: in one line: no such class or method, an input the model does not take, or steps below 2.

    Source:
        Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks", Equation 1 and Proposition 1;
        Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", Section 4.2.
    """
    whole("steps", steps, 2)
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; there are {' and '.join(METHODS)}")
    if isinstance(example, str):
        if method != INTEGRATED_GRADIENTS:
            raise ValueError(f"{method} is for pictures; a sentence takes {INTEGRATED_GRADIENTS}")
        sentence = tokenize_sentence(model, example, tokenizer, max_tokens)
        logits, x, empty = _of_embeddings(model, sentence)
        tokens, picture = sentence.tokens, None
    else:
        x, empty, picture = _normalized(model, example)
        looked_into = frozen_copy(model)
        logits, tokens = (lambda inputs: logits_of(looked_into(inputs))), ()
    with torch.no_grad():
        # One by one, as they would be asked for.
        full, baseline = logits(x)[0].float().cpu(), logits(empty)[0].float().cpu()  # (C,)
    names = _class_names(model, classes, len(full))
    c = _target(target, full, names)
    if method == INTEGRATED_GRADIENTS:
        scores = _integrated_gradients(logits, x, empty, c, steps)
    else:
        scores = _occlusion(logits, x, empty, c)
    return Attributions(
        method=method,
        scores=scores.sum(dim=-1 if tokens else 0),
        tokens=tokens,
        picture=picture,
        label=names[c],
        target=c,
        probability=float(torch.softmax(full, dim=0)[c]),
        logit=float(full[c]),
        baseline_logit=float(baseline[c]),
    )


def _integrated_gradients(logits: Logits, x: Tensor, empty: Tensor, target: int, steps: int) -> Tensor:
    """Of the shape of one input: what each of its numbers adds to the logit."""
    from captum.attr import IntegratedGradients

    with torch.enable_grad():
        scores = IntegratedGradients(logits, multiply_by_inputs=True).attribute(
            x,
            baselines=empty,
            target=target,
            n_steps=steps,
            internal_batch_size=max(1, min(steps, NUMBERS_AT_ONCE // x.numel())),
        )
    return scores[0].detach().float().cpu()


def _occlusion(logits: Logits, x: Tensor, empty: Tensor, target: int) -> Tensor:
    """(C, H, W): by how much the logit falls where a patch of an eighth of the side is covered."""
    from captum.attr import Occlusion

    channels, height, width = x.shape[1:]
    with torch.no_grad():
        falls = Occlusion(logits).attribute(
            x,
            sliding_window_shapes=(channels, max(1, height // 8), max(1, width // 8)),
            strides=(channels, max(1, height // 16), max(1, width // 16)),
            baselines=empty,
            target=target,
            perturbations_per_eval=max(1, min(32, NUMBERS_AT_ONCE // x.numel())),
        )
    return falls[0].float().cpu() / channels


def _class_names(model: nn.Module, classes: Sequence[str] | None, C: int) -> tuple[str, ...]:
    """Names of the C classes: as given, or a Hugging Face model's own, or their numbers."""
    own = getattr(getattr(model, "config", None), "id2label", None) or {}
    names = tuple(map(str, own.values() if classes is None else classes))
    return names[:C] or tuple(map(str, range(C)))


def _target(target: int | str | None, logits: Tensor, names: tuple[str, ...]) -> int:
    """The number of the class that is asked for, the predicted one for None."""
    C = len(logits)
    if target is None:
        return int(logits.argmax())
    if isinstance(target, str) and target in names:
        return names.index(target)
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < C:
        return target
    raise ValueError(f"target is {target!r}; it must be a class from 0 to {C - 1}, or one of {', '.join(names[:12])}")


def _of_embeddings(model: nn.Module, sentence: TokenizedSentence) -> tuple[Logits, Tensor, Tensor]:
    """The model as a function of word embeddings (B, T, D), those of the sentence, and those of the empty one."""
    looked_into: Any = frozen_copy(model)
    layer, ids = looked_into.get_input_embeddings(), sentence.inputs["input_ids"]
    # T5 reads its one table through several modules.
    lookups = [m for m in looked_into.modules() if isinstance(m, nn.Embedding) and m.weight is layer.weight]

    def logits(embedded: Tensor) -> Tensor:
        inputs = {name: row.expand(len(embedded), -1) for name, row in sentence.inputs.items()}  # (B, T)

        def replaced(_: nn.Module, asked: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if torch.equal(asked[0], inputs["input_ids"]):
                return embedded
            if torch.equal(asked[0], inputs["input_ids"].T):  # XLNet keeps the batch in the second place
                return embedded.transpose(0, 1)
            raise ValueError(
                f"{model_name(model)} embeds other tokens than the sentence's: its decoder cannot be shared out"
            )

        with ExitStack() as hooks:
            for lookup in lookups:
                hooks.callback(lookup.register_forward_hook(replaced).remove)
            return logits_of(looked_into(**inputs))

    with torch.no_grad():
        empty = torch.where(sentence.special, ids, sentence.padding)
        return logits, layer(ids), layer(empty)


def _normalized(model: nn.Module, example: np.ndarray | Tensor) -> tuple[Tensor, Tensor, np.ndarray]:
    """The input (1, C, H, W), the empty one, and the picture to look at."""
    if getattr(model, "main_input_name", "") == "input_ids":
        raise ValueError(f"{model_name(model)} reads sentences; give it a text, not {type(example).__name__}")
    given = example if isinstance(example, Tensor) else torch.from_numpy(np.asarray(example).copy())
    weights = next(model.parameters())
    if given.dtype == torch.uint8 and given.dim() == 3 and given.shape[-1] == 3:
        pixels = given.permute(2, 0, 1).unsqueeze(0) / 255  # (1, 3, H, W)
        x, empty = (pixels - MEAN) / STD, (torch.zeros_like(pixels) - MEAN) / STD
        picture = given.numpy()
    elif given.is_floating_point() and given.dim() == 3:
        x, empty = given.unsqueeze(0), torch.zeros_like(given).unsqueeze(0)
        low, high = given.aminmax()
        picture = ((given - low) / (high - low).clamp(min=1e-12)).permute(1, 2, 0).detach().cpu().numpy()
    else:
        raise ValueError(
            f"the picture is {given.dtype} of shape {tuple(given.shape)}; it must be uint8 (H, W, 3), as "
            "split.raw(i) gives it, or the model's own input, a float tensor (C, H, W)"
        )
    return x.detach().to(weights), empty.to(weights), picture
