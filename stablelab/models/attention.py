"""Which token looks at which: the attention weights of a model, for one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .heads import model_name
from .tokenized import frozen_copy, tokenize_sentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False, repr=False)
class AttentionMaps:
    """The attention weights of a model, for one sentence.

    Attributes:
        tokens: T pieces of text, special tokens included.
        weights: (layers, heads, T, T), from 0 to 1: how much of its new value the row's token takes from the column's.
            A row sums to 1.
    """

    tokens: tuple[str, ...]
    weights: Tensor

    def of(self, layer: int = -1, head: int | None = None) -> Tensor:
        """The map of one head, or of a layer's heads on average.

        Args:
            layer: from 0, the one next to the input; negative ones count from the last, which is -1.
            head: likewise; None for the mean of all heads.

        Returns:
            (T, T), rows look at columns.

        Raises:
            ValueError: there is no such layer or head.
        """
        heads = self.weights[self._place("layer", layer, 0)]  # (heads, T, T)
        return heads.mean(dim=0) if head is None else heads[self._place("head", head, 1)]

    def strongest(self, n: int = 3, layer: int = -1, head: int | None = None) -> list[tuple[str, str, float]]:
        """The largest weights between two different tokens: (who looks, at whom, weight), the largest first."""
        weights = self.of(layer, head).clone().fill_diagonal_(-1.0)  # (T, T)
        T = len(self.tokens)
        at = weights.flatten().argsort(descending=True, stable=True)[: min(n, T * (T - 1))].tolist()
        return [(self.tokens[i], self.tokens[j], float(weights[i, j])) for i, j in (divmod(cell, T) for cell in at)]

    def called(self, layer: int = -1, head: int | None = None) -> str:
        """Such as ``layer 6 of 6, mean of 12 heads``; counted from 1, as people do."""
        layers, heads = self.weights.shape[:2]
        which = f"mean of {heads} heads" if head is None else f"head {self._place('head', head, 1) + 1} of {heads}"
        return f"layer {self._place('layer', layer, 0) + 1} of {layers}, {which}"

    def __repr__(self) -> str:
        layers, heads, T, _ = self.weights.shape
        return f"attention of {layers} layers × {heads} heads over {T} tokens"

    def _place(self, what: str, index: int, axis: int) -> int:
        n = self.weights.shape[axis]
        if isinstance(index, bool) or not isinstance(index, int) or not -n <= index < n:
            raise ValueError(f"{what} is {index!r}; there are {n}: 0 to {n - 1}, or -1 for the last")
        return index % n


@torch.no_grad()
def attention_maps(
    model: nn.Module,
    sentence: str,
    *,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
    max_tokens: int = 64,
) -> AttentionMaps:
    """The attention weights of every layer and head for one sentence, in evaluation mode.

    Attention says where a token takes its new value from. That is not the same as what the answer depends on: see
    ``attributions`` for that. The model itself is not touched; all happens on a copy of it, whose attention is computed
    step by step (Hugging Face's "eager"), because the fused kernels never hold the weights.

    Args:
        model: a Hugging Face model for texts, such as ``bert``'s.
        sentence: one sentence.
        tokenizer: a tokenizer, the name or folder of one, or None for the one the model came with.
        max_tokens: a longer sentence is cut.

    Raises:
        ValueError: in one line: the model has no attention weights or does not read sentences, or no sentence is given.

    Source:
        Vaswani et al. 2017, "Attention is all you need", Equation 1; Jain and Wallace 2019, "Attention is not
        explanation", for what not to read into it.
    """
    tokenized = tokenize_sentence(model, sentence, tokenizer, max_tokens)
    looked_into: Any = frozen_copy(model)
    refusal = f"{model_name(model)} gives no attention weights; give a transformer for texts, such as bert's"
    if hasattr(looked_into, "set_attn_implementation"):
        looked_into.set_attn_implementation("eager")
    output = looked_into(**tokenized.inputs, output_attentions=True)
    found = getattr(output, "attentions", None) or getattr(output, "encoder_attentions", None)
    T = len(tokenized.tokens)
    if not found or any(layer is None or layer.shape[-2:] != (T, T) for layer in found):
        raise ValueError(refusal)
    return AttentionMaps(tokenized.tokens, torch.cat([layer.float().cpu() for layer in found]))
