"""What looking inside a model needs: a copy to look into, and a sentence as that model reads it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._validation import whole
from ..data.tokenizers import tokenizer_for
from .heads import model_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class TokenizedSentence:
    """A sentence as a model reads it.

    Attributes:
        tokens: T pieces of text, special tokens included.
        inputs: input_ids and attention_mask, each (1, T).
        special: (1, T) bool: the tokens that the tokenizer added.
        padding: id of the padding token.
    """

    tokens: tuple[str, ...]
    inputs: dict[str, Tensor]
    special: Tensor
    padding: int


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights want no gradients.

    What is done to it leaves the model alone: its mode, its gradients, its configuration, and the run that may be
    training it in another thread.
    """
    return copy.deepcopy(model).eval().requires_grad_(False)


def tokenize_sentence(
    model: nn.Module, sentence: str, tokenizer: PreTrainedTokenizerBase | str | None, max_tokens: int
) -> TokenizedSentence:
    """Tokenize one sentence for a model of Hugging Face's.

    Args:
        model: takes input_ids and attention_mask.
        sentence: at least one word.
        tokenizer: a tokenizer, the name or folder of one, or None for the one the model came with.
        max_tokens: a longer sentence is cut, as in a task.

    Raises:
        ValueError: in one line: no sentence, a model that takes none, or the tokenizer of another model.
    """
    if not isinstance(sentence, str) or not sentence.strip():
        raise ValueError(f"sentence is {sentence!r}; it must be a text of at least one word")
    embeddings = _embeddings(model)
    whole("max_tokens", max_tokens, 4)
    named = tokenizer is None or isinstance(tokenizer, str)
    own: Any = tokenizer_for(tokenizer or getattr(model, "name_or_path", None) or None) if named else tokenizer
    room = getattr(getattr(model, "config", None), "max_position_embeddings", None) or 0
    longest = min(max_tokens, room) if room > 0 else max_tokens  # XLNet's is -1: there is no limit
    ids = own(sentence, truncation=True, max_length=longest)["input_ids"]
    if max(ids) >= embeddings.num_embeddings:
        raise ValueError(f"the tokenizer belongs to another model than {model_name(model)}; give its own as tokenizer=")
    row = torch.tensor([ids], device=embeddings.weight.device)  # (1, T)
    special = own.get_special_tokens_mask(ids, already_has_special_tokens=True)
    padding = own.pad_token_id
    return TokenizedSentence(
        tokens=tuple(_as_text(own, ids)),
        inputs={"input_ids": row, "attention_mask": torch.ones_like(row)},
        special=torch.tensor([special], device=row.device).bool(),
        padding=own.eos_token_id if padding is None else padding,
    )


def _embeddings(model: nn.Module) -> nn.Embedding:
    """The layer that turns token ids into vectors."""
    found = None
    if getattr(model, "main_input_name", None) == "input_ids":
        found = getattr(model, "get_input_embeddings", lambda: None)()
    if not isinstance(found, nn.Embedding):
        raise ValueError(
            f"{model_name(model)} does not read sentences; give a Hugging Face model for texts, such as bert's"
        )
    return found


def _as_text(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The tokens as a person reads them: without the marks that byte-level tokenizers put for a space."""
    plain = [tokenizer.decode([i]).strip() for i in ids]
    return [
        text if text and "\ufffd" not in text else mark
        for text, mark in zip(plain, tokenizer.convert_ids_to_tokens(ids), strict=True)
    ]
