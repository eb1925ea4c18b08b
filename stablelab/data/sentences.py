"""Sentences to classify: tokenized once, padded batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .tasks import Task, make_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Sentences:
    """Sentences as token ids.

    Args:
        texts: the sentences.
        tokenizer: a Hugging Face tokenizer with a padding token; a batch is padded on the side that it says (XLNet's
            classifier reads the last position, so its tokenizer pads on the left). It is kept, for ``like``.
        max_tokens: longer sentences are cut after this many tokens, special ones included.
    """

    def __init__(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.texts = tuple(texts)
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        tokens = tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=False)["input_ids"]
        self.lengths = torch.tensor([len(ids) for ids in tokens])  # (N,)
        rows = [torch.tensor(ids, dtype=torch.int32) for ids in tokens]
        self.left = tokenizer.padding_side == "left"
        side = "left" if self.left else "right"
        self.ids = pad_sequence(rows, True, tokenizer.pad_token_id, side)  # (N, T)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: Tensor) -> dict[str, Tensor]:
        lengths = self.lengths[positions]
        longest = int(lengths.max())
        kept = slice(-longest, None) if self.left else slice(longest)
        ids, real = self.ids[positions, kept], torch.arange(longest) < lengths.unsqueeze(1)
        return {
            "input_ids": ids.long(),  # (B, T)
            "attention_mask": (real.flip(1) if self.left else real).long(),  # (B, T)
        }

    def like(self, texts: Sequence[str]) -> Sentences:
        """Other sentences, tokenized and cut as these are."""
        return Sentences(texts, self.tokenizer, self.max_tokens)

    def raw(self, i: int) -> str:
        return self.texts[i]

    def digest(self) -> bytes:
        return hashlib.sha256("\0".join(self.texts).encode() + self.ids.numpy().tobytes()).digest()


def sentence_task(
    name: str,
    classes: Sequence[str],
    texts: Sequence[str],
    targets: Tensor,
    splits: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase | str | None,
    max_tokens: int,
) -> Task:
    """A text task from all sentences, their targets and the positions of each split.

    Args:
        tokenizer: a tokenizer, the name or folder of one, or None for the bundled BERT's.
        max_tokens: at least 4.

    Raises:
        ValueError: ``max_tokens`` is below 4.
    """
    from .tokenizers import tokenizer_for

    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 4:
        raise ValueError(f"max_tokens is {max_tokens!r}; it must be a whole number of at least 4")
    if tokenizer is None or isinstance(tokenizer, str):
        tokenizer = tokenizer_for(tokenizer)
    stores = {s: Sentences([texts[i] for i in where.tolist()], tokenizer, max_tokens) for s, where in splits.items()}
    return make_task(name, "text", classes, stores, {s: targets[where] for s, where in splits.items()})
