"""Pairs of sentences of which a negation makes the second say the opposite of the first."""

from __future__ import annotations

import torch

from .reviews import CLASSES
from .sentences import Sentences
from .tasks import Split, Task

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
