"""Tokenizers, the bundled BERT's or by name; and how transformers' loading is kept to one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .cache import verify_bundled

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


CHARACTERS_PER_TOKEN = 6  # more than English words need


@lru_cache(maxsize=8)
def tokenizer_for(name: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model: None for the bundled BERT's, else a hub id or folder.

    Raises:
        OSError: it is neither a folder, nor in the cache, nor can it be fetched.
        ValueError: the bundled one is damaged.
    """
    from transformers import AutoTokenizer

    folder = verify_bundled() if name is None else name
    with loading_pretrained(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token does
    return tokenizer


def token_ids(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[list[int]]:
    """The token ids of each text, special ones included, cut after ``max_tokens``.

    A tokenizer reads a text to its end, of which no more than ``max_tokens`` tokens are kept. So the beginnings are
    read, cut at a blank, and of the few texts whose beginning was too short for ``max_tokens`` a beginning twice as
    long.
    """
    found: list[list[int]] = [[]] * len(texts)
    due, characters = list(range(len(texts))), max_tokens * CHARACTERS_PER_TOKEN
    while due:
        beginnings = [texts[i] for i in due]
        if tokenizer.truncation_side == "right":
            beginnings = [_beginning(text, characters) for text in beginnings]
        for i, ids in zip(due, _encoded(beginnings, tokenizer, max_tokens), strict=True):
            found[i] = ids
        due = [i for i, read in zip(due, beginnings, strict=True)
               if len(found[i]) < max_tokens and len(read) < len(texts[i])]  # fmt: skip
        characters *= 2
    return found


def _beginning(text: str, characters: int) -> str:
    """About so many characters of a text, up to a blank; all of it where there is none to cut at."""
    end = text.find(" ", characters)
    return text if end < 0 else text[:end]


def _encoded(texts: list[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[list[int]]:
    cut = {"truncation": True, "max_length": max_tokens, "padding": False}
    if not tokenizer.is_fast:
        return list(tokenizer(texts, **cut)["input_ids"])
    tokenizer(texts[:1], **cut)  # tells the tokenizer below how to cut; that one alone can leave out where words stood
    return [encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch_fast(texts)]


@contextmanager
def loading_pretrained(name: str | Path) -> Iterator[None]:
    """What transformers loads in here comes without bars and without a report of new weights: a new head is meant.

    Args:
        name: the hub id or folder of what is loaded.

    Raises:
        OSError: in one line, for any of the many ways in which loading fails.
    """
    from transformers.utils import logging as transformers_logging

    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise OSError(
            f"{name} is no folder with a model, not in the cache, and could not be fetched ({reason.strip()}); "
            "check the name, connect to the network once, or leave it out for the bundled BERT"
        ) from error
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
