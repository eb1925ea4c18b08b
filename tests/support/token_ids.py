"""Sentences of token ids as a store of examples, without a tokenizer or a corpus."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class TokenIds:
    """A store of sentences of token ids; 0 is padding."""

    ids: Tensor

    @property
    def lengths(self) -> Tensor:
        return (self.ids > 0).sum(1)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Tensor) -> dict[str, Tensor]:
        ids = self.ids[positions, : int(self.lengths[positions].max())]
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    def digest(self) -> bytes:
        return b"ids"
