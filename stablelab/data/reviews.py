"""Sentences that people rated from -4 (very negative) to 4 (very positive), as a task of two classes."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .cache import require_sha256, unknown
from .corpora import FILES, corpora_folder, fetch_corpora
from .sentences import sentence_task
from .splits import Size, split_sizes, stratified_split
from .tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CLASSES = ("negative", "positive")
USUAL_SIZES = (800, 400, 400)  # train, validation, test


def reviews(
    corpus: str = "movies",
    neutral: float | tuple[float, float] | None = None,
    train: Size = None,
    validation: Size = None,
    test: Size = None,
    max_tokens: int = 48,
    balanced: bool = True,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
    seed: int = 0,
) -> Task:
    """Reviews, each rated by 20 people; the corpora are fetched when they are not here yet.

    Args:
        corpus: "movies", "tweets", "products" or "editorials".
        neutral: (low, high): sentences whose mean rating lies strictly between are left out, those at or below
            ``low`` are negative and those at or above ``high`` positive. One number x means (-x, x). By default 2 for
            the movies, of which there are most, and 1 for the others.
        train, validation, test: numbers of sentences (or shares); by default 800, 400 and 400, or where the corpus
            is too small for that, all of it in the same proportion.
        max_tokens: longer sentences are cut; 48 leaves 97 % of the movie sentences whole.
        balanced: equal numbers of both classes.
        tokenizer: a tokenizer, the name or folder of one, or None for the bundled BERT's.
        seed: seed of the split.

    Raises:
        ValueError: no such corpus, a neutral band that is none, sizes that cannot be had, or a damaged file.
        OSError: the corpora are missing and cannot be fetched.
    """
    low, high = _band((2.0 if corpus == "movies" else 1.0) if neutral is None else neutral)
    sentences, ratings = read_corpus(corpus)
    clear = ((ratings <= low) | (ratings >= high)).nonzero().flatten()
    if not len(clear):
        raise ValueError(f"no sentence of {corpus} is rated outside the neutral band ({low}, {high}); narrow it")
    texts = [sentences[i] for i in clear.tolist()]
    targets = (ratings[clear] >= high).long()
    asked = (train, validation, test)
    usual = _scaled_to(targets, balanced) if asked == (None, None, None) else USUAL_SIZES
    sizes = split_sizes(len(texts), *(b if a is None else a for a, b in zip(asked, usual, strict=True)))
    splits = stratified_split(targets, sizes, CLASSES, seed, balanced)
    return sentence_task(corpus, CLASSES, texts, targets, splits, tokenizer, max_tokens)


def read_corpus(corpus: str) -> tuple[list[str], Tensor]:
    """The sentences of a corpus without exact repetitions, and their mean ratings ((N,) float64, -4 to 4).

    Raises:
        ValueError: no such corpus, or the file in the cache folder is damaged.
        OSError: the corpora are missing and cannot be fetched.
    """
    if corpus not in FILES:
        raise ValueError(unknown("corpus", corpus, list(FILES)))
    fetch_corpora()
    name, sha256 = FILES[corpus]
    file = corpora_folder() / name
    require_sha256(file, sha256, "delete it and run again to fetch it anew")
    ratings: dict[str, float] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        _, rating, text = line.split("\t")
        # Tweets keep the entities of the page they came from. A repeated sentence could stand in two splits at once.
        ratings.setdefault(html.unescape(text).strip(), float(rating))
    return list(ratings), torch.tensor(list(ratings.values()), dtype=torch.float64)


def _band(neutral: float | tuple[float, float]) -> tuple[float, float]:
    band = neutral if isinstance(neutral, (tuple, list)) else (neutral, neutral)
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in band)
    low, high = (band if band is neutral else (-band[0], band[1])) if numbers and len(band) == 2 else (1.0, -1.0)
    if not -4.0 <= low <= high <= 4.0:
        raise ValueError(f"neutral is {neutral!r}; it must be (low, high) with -4 <= low <= high <= 4, or one number")
    return low, high


def _scaled_to(targets: Tensor, balanced: bool) -> tuple[int, int, int]:
    """The usual sizes, or where the corpus is too small for them, all of it in the same proportion."""
    there = int(2 * torch.bincount(targets, minlength=2).min()) if balanced else len(targets)
    quarter = max(1, min(sum(USUAL_SIZES), there) // 8 * 2)  # even, so that both classes get the same
    return 2 * quarter, quarter, quarter
