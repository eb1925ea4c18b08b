"""What sub-words do: ``python -m stablelab.studies.word_pieces``.

Linear heads on the features of a BERT that was not fine-tuned. They read movie reviews as they are and with two words
misspelt, hidden or taken out, and Chinese reviews, which BERT's tokenizer reads character by character and of
whose characters it knows few. The results lie in the package; the command makes them anew in some two minutes on one
core.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import read_chinese_reviews, reviews, tokenizer_for
from ..data.reviews import CLASSES, read_corpus
from ..data.tasks import Split, generator_for
from ..data.texts import Sentences
from ..models import bert
from ..models.features import Features
from ..stability.sweeps.execution import one_thread
from .keeping import KEPT, write_columns
from .wrong_labels import heads_on

FILE = KEPT / "word_pieces.npz"
SEEDS = range(5)  # of the heads


def features(texts: Sequence[str], max_tokens: int) -> Tensor:
    """(N, 384) mean of the last hidden states of a BERT that was not fine-tuned."""
    store = Sentences(texts, tokenizer_for(None), max_tokens)
    split = Split(store, torch.zeros(len(texts), dtype=torch.long), CLASSES)
    return Features(split, bert(2, pooling="mean")).all()


def chinese_texts() -> tuple[list[str], Tensor]:
    """800 distinct Chinese reviews of one label each, and their labels."""
    rows, targets = read_chinese_reviews()
    labels: dict[str, set[int]] = {}
    for text, c in zip(rows, targets.tolist(), strict=True):
        labels.setdefault(text, set()).add(c)
    distinct = [text for text, both in labels.items() if len(both) == 1 and len(text) >= 8]
    chosen = torch.randperm(len(distinct), generator=generator_for(0))[:800].tolist()
    return [distinct[i] for i in chosen], torch.tensor([next(iter(labels[distinct[i]])) for i in chosen])


LONG = re.compile(r"[A-Za-z]{5,}")
ARMS = ("intact", "typo", "hidden", "taken out")


def misspelt(word: str, generator: torch.Generator) -> str:
    """A word of five letters or more with two unlike neighbours inside exchanged; as it is where all are alike."""
    places = [i for i in range(1, len(word) - 2) if word[i] != word[i + 1]]
    if not places:
        return word
    i = places[int(torch.randint(len(places), (), generator=generator))]
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def altered(text: str, arm: str, seed: int, count: int = 2) -> tuple[str, int]:
    """The text with up to ``count`` of its long words altered, and how many more pieces these have become.

    Arms: "typo" exchanges two letters, "hidden" puts [MASK] in the word's place, "taken out" nothing.
    """
    generator = generator_for(5, seed)
    words = list(LONG.finditer(text))
    chosen = torch.randperm(len(words), generator=generator)[:count].sort().values.tolist()
    tokenizer, more = tokenizer_for(None), 0
    for k in reversed(chosen):
        start, end = words[k].span()
        new = {"typo": misspelt(words[k][0], generator), "hidden": "[MASK]", "taken out": "", "other word": "thing"}[
            arm
        ]
        if arm == "typo":
            more += len(tokenizer.tokenize(new)) - len(tokenizer.tokenize(words[k][0]))
        text = text[:start] + new + text[end:]
    return text, more


def pieces_of(text: str) -> tuple[int, int, int]:
    """How many words a text has (or Chinese characters), how many pieces they become, and how many of these are [UNK].

    Signs are left out.
    """
    tokenizer = tokenizer_for(None)
    words = re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+", text)
    pieces = [piece for word in words for piece in tokenizer.tokenize(word)]
    return len(words), len(pieces), sum(piece == tokenizer.unk_token for piece in pieces)


def read_in_pieces() -> dict[str, Any]:
    """Of 600 movie reviews and 400 Chinese ones: their pieces, and which of five heads read them right."""
    task = reviews("movies", train=800, validation=400, test=600, max_tokens=48)
    sentences, ratings = read_corpus("movies")
    rating = dict(zip(sentences, ratings.abs().tolist(), strict=True))
    train, test = ([split.raw(i) for i in range(len(split))] for split in (task.train, task.test))
    few = list(enumerate(test[:300]))
    lines = {arm: [(text, 0) if arm == "intact" else altered(text, arm, i) for i, text in few] for arm in ARMS}
    read = _readers(features(train, 48), task.train.targets)
    changed = [read(features([text for text, _ in lines[arm]], 48), task.test.targets[:300]) for arm in ARMS]
    words = np.array([pieces_of(text) for text in test])
    chinese, y = chinese_texts()
    x = features(chinese, 48)
    return {
        "movies_words": words[:, 0].astype(np.uint8),
        "movies_pieces": words[:, 1].astype(np.uint8),
        "movies_rating": np.array([rating[text] for text in test], dtype=np.float16),
        "movies_right": read(features(test, 48), task.test.targets),
        "altered_right": np.stack(changed),  # (arms, seeds, 300)
        "altered_more": np.array([more for _, more in lines["typo"]], dtype=np.int8),
        "chinese_pieces": np.array([pieces_of(text) for text in chinese[400:]], dtype=np.int16),
        "chinese_right": _readers(x[:400], y[:400])(x[400:], y[400:]),
    }


def _readers(x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], np.ndarray]:
    """Five heads that learned from these, as a function that says which of others each reads right, (seeds, N) bool."""
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    everything = torch.arange(len(x))
    heads = heads_on((x - mean) / deviation, y, 2, [(everything, seed, 10.0) for seed in SEEDS])
    return lambda these, right: (heads.logits((these - mean) / deviation).argmax(2) == right).numpy()


# -- what lies in the package ------------------------------------------------------------------------------------------


def pieces() -> dict[str, np.ndarray]:
    """What ``read_in_pieces`` found, by name.

    Of 600 movie reviews: "movies_words" and "movies_pieces" (how many, signs left out), "movies_rating" (its size,
    from 0 to 4) and "movies_right" (5, 600), whether each head is right. Of the first 300 of them "altered_right"
    (4 ``ARMS``, 5 heads, 300) and "altered_more", how many pieces more the typos make. Of 400 Chinese reviews
    "chinese_pieces" (400, 3): characters, pieces and unknown ones; "chinese_right" (5, 400).
    """
    with np.load(FILE) as kept:
        return {n: kept[n] for n in kept.files if n != "by"}


def main() -> None:
    """Do all, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m stablelab.studies.word_pieces", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the results (default: here)")
    folder = parser.parse_args().out
    with one_thread():
        found = read_in_pieces()
    write_columns(folder / FILE.name, f"CPU, one thread, torch {torch.__version__}", **found)


if __name__ == "__main__":
    main()
