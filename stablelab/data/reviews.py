"""Sentences that people rated from -4 (very negative) to 4 (very positive), as a task of two classes.

Source:
    Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014
    (MIT licence; the data lie inside the source distribution of vaderSentiment 3.3.2).
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._logging import logger
from .._validation import checked_arguments, choice, switch
from .corpora import Corpus
from .near_duplicates import near_duplicates
from .splits import Size, check_draw, split_sizes, stratified_split
from .tasks import Split, Task
from .texts import Sentences, sentence_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CLASSES = ("negative", "positive")
USUAL_SIZES = (800, 400, 400)  # train, validation, test
FILES = {  # file of each corpus
    "movies": "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "tweets": "hutto_ICWSM_2014/tweets_GroundTruth.txt",
    "products": "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
    "editorials": "hutto_ICWSM_2014/nytEditorialSnippets_GroundTruth.txt",
}
CORPORA = Corpus(
    name="review corpora",
    subfolder="reviews",
    sdist="vaderSentiment-3.3.2",
    sdist_sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    files={
        FILES["movies"]: "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
        FILES["tweets"]: "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f",
        FILES["products"]: "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2",
        FILES["editorials"]: "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e",
    },
    megabytes="2.5 MB",
    inner="vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
)


@checked_arguments
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
    group_near_duplicates: bool = False,
) -> Task:
    """Reviews, each rated by 20 people; the corpora are fetched when they are not here yet.

    Args:
        corpus: "movies", "tweets", "products" or "editorials".
        neutral: (low, high): sentences whose mean rating lies strictly between are left out, those at or below
            ``low`` are negative and those at or above ``high`` positive. One number x means (-x, x). By default 2 for
            the movies, of which there are most, and 1 for the others.
        train: number of sentences, or share. By default 800 to train, 400 to validate and 400 to test, or where the
            corpus is too small for that, all of it in the same proportion.
        validation: number of sentences, or share.
        test: number of sentences, or share.
        max_tokens: longer sentences are cut; 48 leaves 97 % of the movie sentences whole.
        balanced: equal numbers of both classes.
        tokenizer: a tokenizer, the name or folder of one, or None for the bundled BERT's.
        seed: seed of the split.
        group_near_duplicates: sentences that share most of their words (``near_duplicates``) stand in one split, so
            that none is learned from and judged by. The splits are then as large as that allows. It matters for the
            tweets, many of which stand there several times with other signs at their end; the default keeps the splits
            that the kept studies were made on.

    Raises:
        ValueError: no such corpus, a neutral band that is none, sizes that cannot be had, or a damaged file.
        OSError: the corpora are missing and cannot be fetched.
    """
    check_draw(seed, balanced)
    switch("group_near_duplicates", group_near_duplicates)
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
    first = near_duplicates(texts) if group_near_duplicates else None
    splits = stratified_split(targets, sizes, CLASSES, seed, balanced, first)
    return sentence_task(corpus, CLASSES, texts, targets, splits, tokenizer, max_tokens)


def read_corpus(corpus: str) -> tuple[list[str], Tensor]:
    """The sentences of a corpus without exact repetitions, and their mean ratings ((N,) float64, -4 to 4).

    Raises:
        ValueError: no such corpus, or the file in the cache folder is damaged.
        OSError: the corpora are missing and cannot be fetched.
    """
    choice("corpus", corpus, list(FILES))
    fetch_corpora()
    ratings: dict[str, float] = {}
    for line in CORPORA.text(FILES[corpus]).splitlines():
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


def corpora_folder() -> Path:
    """Where the corpora are kept, whether they are there yet or not."""
    return CORPORA.folder


def fetch_corpora(progress: Callable[[str], object] = logger.info) -> Path:
    """Make sure that the review corpora are in the cache folder; instant when they are.

    Args:
        progress: called with a line of text before and after the download (2.5 MB).

    Returns:
        The folder of the four files.

    Raises:
        OSError: they are missing and cannot be fetched or written.
        ValueError: what was fetched is not what the workbook was built on.
    """
    return CORPORA.fetch(progress)


# (as it is, negated); in the first half the first is positive and the second negative, in the other half the reverse.
_TURNED_BAD = (
    ("This is a film you will remember.", "This is a film you will not remember."),
    ("The jokes are funny.", "The jokes are not funny."),
    ("It is worth the price of a ticket.", "It is not worth the price of a ticket."),
    ("I would watch it again.", "I would never watch it again."),
    ("The plot makes sense.", "The plot makes no sense."),
    ("Every scene has charm.", "No scene has charm."),
    ("The ending is satisfying.", "The ending is hardly satisfying."),
    ("The actors are convincing.", "The actors are far from convincing."),
    ("Anyone will enjoy this story.", "Nobody will enjoy this story."),
    ("I can recommend it.", "I cannot recommend it."),
    ("The director knows how to build suspense.", "The director does not know how to build suspense."),
    ("A thriller with tension and wit.", "A thriller without tension or wit."),
)
_TURNED_GOOD = (
    ("The film is boring.", "The film is not boring at all."),
    ("There is a dull minute in it.", "There is not a dull minute in it."),
    ("The acting is bad.", "The acting is not bad."),
    ("You will regret the two hours.", "You will not regret the two hours."),
    ("I was disappointed.", "I was not disappointed."),
    ("The story drags on.", "The story never drags on."),
    ("The second half falls apart.", "The second half does not fall apart."),
    ("It is a waste of talent.", "It is by no means a waste of talent."),
    ("The script has weak spots.", "The script has no weak spots."),
    ("Everybody in the cinema was bored.", "Nobody in the cinema was bored."),
    ("A comedy with stale jokes.", "A comedy without stale jokes."),
    ("The sequel fails to impress.", "The sequel does not fail to impress."),
)
NEGATION_PAIRS = tuple((*pair, 1) for pair in _TURNED_BAD) + tuple((*pair, 0) for pair in _TURNED_GOOD)


def negation_pairs(task: Task) -> Split:
    """24 pairs of sentences about films: one as it is, and the same with a negation that turns its label.

    A model that reads single words and overlooks the "not" gives both sentences of a pair one answer, and is wrong on
    one of them. So the pair as a whole is what to count: see ``stability.contrast``.

    Args:
        task: from ``reviews``, or with its classes "negative" and "positive"; gives the tokenizer.

    Returns:
        48 examples: pair p is examples 2p (as it is) and 2p + 1 (negated). Of the first ones half are positive.

    Raises:
        ValueError: the task is none of sentences, or has other classes.

    Source:
        Gardner et al., "Evaluating models' local decision boundaries via contrast sets", 2020, Section 2; negation as a
        capability: Ribeiro et al., "Beyond accuracy: behavioral testing of NLP models with CheckList", 2020, Section 2.
        The sentences are the workbook's own.
    """
    classes = getattr(task, "classes", None)
    if classes != CLASSES:
        raise ValueError(f"the classes are {classes}; the pairs are labelled {' and '.join(CLASSES)}, as in reviews()")
    store = task.train.store
    if not isinstance(store, Sentences):
        raise ValueError(f"the task keeps {type(store).__name__}; negation_pairs needs the sentences of a text task")
    texts = [text for pair in NEGATION_PAIRS for text in pair[:2]]
    targets = [label for *_, first in NEGATION_PAIRS for label in (first, 1 - first)]
    return Split(store.like(texts), torch.tensor(targets), CLASSES)
