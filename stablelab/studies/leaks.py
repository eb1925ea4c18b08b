"""Copies across splits, and words in pieces: ``python -m stablelab.studies.leaks``.

Chinese reviews, of which half are copies, and tweets, of which many stand in the corpus several times with other signs:
what a model's accuracy gains on a test split when copies of it stand in the training data, beside as many other
examples. And what sub-words do: movie reviews with rare words and with typos, Chinese read character by character by
a tokenizer that knows few of them. Linear heads on BERT's features, a linear model on pairs of characters or words,
and the nearest neighbour. The results lie in the package; the command makes them anew in some five minutes on one core,
and stopped at any time it goes on.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data import near_duplicates, read_chinese_reviews, reviews, tokenizer_for
from ..data.reviews import CLASSES, read_corpus
from ..data.tasks import Split, generator_for
from ..data.texts import Sentences
from ..models import bert
from ..models.features import Features
from ..stability.sweeps.execution import one_thread
from .keeping import KEPT, add_line, read_lines, write_columns
from .wrong_labels import heads_on

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "leaks.npz"
DRAWS = range(10)
SEEDS = range(5)  # of the heads that read words in pieces
SHARES = (0.0, 0.25, 0.5, 1.0)  # of the test examples that stand in the training data too
PARTS = {"test": 400, "fresh": 400, "validation": 400, "base": 800, "more": 400}
ROWS = (500, 2000, 8000)  # rows as they come to learn from
MODELS = ("BERT head", "bag", "nearest")
DECAYS = (0.0, 1.0, 10.0, 30.0)
STRENGTHS = (1.0, 10.0, 100.0)  # C of the logistic regression


# -- the three models --------------------------------------------------------------------------------------------------


@cache
def body() -> Any:
    """The pre-trained BERT whose features are read."""
    return bert(2, pooling="mean")


def features(texts: Sequence[str], max_tokens: int) -> Tensor:
    """(N, 384) mean of the last hidden states of a BERT that was not fine-tuned."""
    store = Sentences(texts, tokenizer_for(None), max_tokens)
    return Features(Split(store, torch.zeros(len(texts), dtype=torch.long), CLASSES), body()).all()


def bag_of(texts: Sequence[str], characters: bool) -> Any:
    """Hashed counts, sparse (N, 2¹⁵): of characters and their pairs, or of words and their pairs."""
    from sklearn.feature_extraction.text import HashingVectorizer

    kind = {"analyzer": "char"} if characters else {"analyzer": "word", "token_pattern": r"[\w']+"}
    return HashingVectorizer(n_features=2**15, ngram_range=(1, 2), alternate_sign=False, **kind).transform(texts)


def answers_of(model: str, x: Any, y: Tensor, train: Tensor, validation: Tensor, asked: Tensor, seed: int) -> Tensor:
    """What a model that learned from ``train`` answers to ``asked``; its strength is chosen on ``validation``.

    Args:
        model: of ``MODELS``.
        x: features (N, D), or a sparse bag.
        y: (N,) labels.
        train: positions, some perhaps twice.
        validation: positions.
        asked: positions.
        seed: of a head.
    """
    if model == "bag":
        from sklearn.linear_model import LogisticRegression

        best = (-1.0, None)
        for strength in STRENGTHS:
            fitted = LogisticRegression(C=strength, max_iter=300).fit(x[train.numpy()], y[train].numpy())
            score = fitted.score(x[validation.numpy()], y[validation].numpy())
            if score > best[0]:
                best = (score, fitted.predict(x[asked.numpy()]))
        return torch.from_numpy(best[1])
    mean, deviation = x[train].mean(0), x[train].std(0).clamp(min=1e-6)
    x = (x - mean) / deviation
    if model == "nearest":
        return y[train][torch.cdist(x[asked], x[train]).argmin(1)]
    heads = heads_on(x, y, 2, [(train, seed, decay) for decay in DECAYS])
    best_head = int((heads.logits(x[validation]).argmax(2) == y[validation]).double().mean(1).argmax())
    return heads.logits(x[asked])[best_head].argmax(1)


# -- copies ------------------------------------------------------------------------------------------------------------


@cache
def chinese_pool() -> tuple[list[str], Tensor, Tensor, Any]:
    """2,400 distinct reviews of one label each: texts, labels, BERT's features, and the bag."""
    rows, targets = read_chinese_reviews()
    labels: dict[str, set[int]] = {}
    for text, c in zip(rows, targets.tolist(), strict=True):
        labels.setdefault(text, set()).add(c)
    distinct = [text for text, both in labels.items() if len(both) == 1 and len(text) >= 8]
    chosen = torch.randperm(len(distinct), generator=generator_for(0))[: sum(PARTS.values())]
    texts = [distinct[i] for i in chosen.tolist()]
    y = torch.tensor([next(iter(labels[text])) for text in texts])
    return texts, y, features(texts, 48), bag_of(texts, characters=True)


def planted_rows(draw: int) -> Iterator[dict[str, Any]]:
    """A share of the test reviews put into the training data with their labels, or as many other reviews."""
    texts, y, x, bag = chinese_pool()
    order = torch.randperm(len(texts), generator=generator_for(1, draw))
    part = dict(zip(PARTS, order.split(list(PARTS.values())), strict=True))
    asked = torch.cat([part["test"], part["fresh"]])
    for model in MODELS:
        for share in SHARES:
            n = round(share * len(part["test"]))
            for arm in ("copies", "others") if n else ("none",):
                more = part["test" if arm == "copies" else "more"][:n]
                train = torch.cat([part["base"], more])
                right = answers_of(model, bag if model == "bag" else x, y, train, part["validation"], asked, draw)
                hits = (right == y[asked]).double()
                seen, rest = hits[:n], hits[n : len(part["test"])]
                yield {
                    "what": "planted", "model": model, "draw": draw, "share": share, "arm": arm,
                    "accuracy": float(hits[:400].mean()), "fresh": float(hits[400:].mean()),
                    "seen": float(seen.mean()) if n else np.nan, "new": float(rest.mean()) if len(rest) else np.nan,
                }  # fmt: skip


@cache
def chinese_rows() -> tuple[list[str], Tensor, Any]:
    """All rows as they come, their labels, and the bag."""
    rows, y = read_chinese_reviews()
    return rows, y, bag_of(rows, characters=True)


def natural_rows(draw: int) -> Iterator[dict[str, Any]]:
    """Rows split as they come, or all copies of a review on one side; 2,000 rows to tell by, as many to tune by."""
    rows, y, bag = chinese_rows()
    generator = generator_for(2, draw)
    keys = {text: i for i, text in enumerate(dict.fromkeys(rows))}
    group = torch.tensor([keys[text] for text in rows])
    by_row = torch.randperm(len(rows), generator=generator)
    rank = torch.randperm(len(keys), generator=generator)
    by_text = rank[group].argsort(stable=True)  # copies stand one behind the other
    for arm, order in (("as they come", by_row), ("grouped", by_text)):
        asked, validation, rest = order[:2000], order[2000:4000], order[4000:]
        rest = rest[torch.randperm(len(rest), generator=generator)]
        if arm == "grouped":  # a group may be cut where one part ends: what is on both sides goes
            rest = rest[~torch.isin(group[rest], group[torch.cat([asked, validation])])]
        for n in ROWS:
            train = rest[:n]
            right = answers_of("bag", bag, y, train, validation, asked, draw) == y[asked]
            seen = torch.isin(group[asked], group[train])
            yield {
                "what": "natural", "model": "bag", "draw": draw, "share": float(seen.double().mean()), "arm": arm,
                "rows": n, "accuracy": float(right.double().mean()),
                "seen": float(right[seen].double().mean()), "new": float(right[~seen].double().mean()),
            }  # fmt: skip


@cache
def tweets() -> tuple[Tensor, Tensor, Tensor, Any]:
    """Clear tweets: the group of each, its label, BERT's features, and the bag."""
    sentences, ratings = read_corpus("tweets")
    clear = (ratings.abs() >= 1).nonzero().flatten().tolist()
    texts = [sentences[i] for i in clear]
    return near_duplicates(texts), (ratings[clear] > 0).long(), features(texts, 32), bag_of(texts, characters=False)


def tweet_rows(draw: int) -> Iterator[dict[str, Any]]:
    """700 tweets to learn from, 400 to tell by: as drawn, and with all that is like a test tweet replaced by others."""
    group, y, x, bag = tweets()
    generator = generator_for(3, draw)
    both = [(y == c).nonzero().flatten() for c in (0, 1)]
    both = [each[torch.randperm(len(each), generator=generator)] for each in both]
    asked, validation, train = (torch.cat([each[a:b] for each in both]) for a, b in ((0, 200), (200, 400), (400, 750)))
    spare = torch.cat([each[750:] for each in both])
    spare = spare[torch.randperm(len(spare), generator=generator)]
    like = torch.isin(group[train], group[asked])
    seen = torch.isin(group[asked], group[train])
    spare = spare[~torch.isin(group[spare], group[asked])]
    others = train[~like]
    for c in (0, 1):  # as many of each class as were taken out
        others = torch.cat([others, spare[y[spare] == c][: int((like & (y[train] == c)).sum())]])
    for model in MODELS:
        for arm, where in (("as they come", train), ("replaced", others)):
            right = answers_of(model, bag if model == "bag" else x, y, where, validation, asked, draw) == y[asked]
            yield {
                "what": "tweets", "model": model, "draw": draw, "share": float(seen.double().mean()), "arm": arm,
                "rows": len(where), "accuracy": float(right.double().mean()),
                "seen": float(right[seen].double().mean()), "new": float(right[~seen].double().mean()),
            }  # fmt: skip


# -- words in pieces ---------------------------------------------------------------------------------------------------

LONG = re.compile(r"[A-Za-z]{5,}")
ARMS = ("intact", "typo", "hidden", "taken out", "other word")


def misspelt(word: str, generator: torch.Generator) -> str:
    """A word of five letters or more with two unlike neighbours inside exchanged; as it is where all are alike."""
    places = [i for i in range(1, len(word) - 2) if word[i] != word[i + 1]]
    if not places:
        return word
    i = places[int(torch.randint(len(places), (), generator=generator))]
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def altered(text: str, arm: str, seed: int, count: int = 2) -> tuple[str, int]:
    """The text with up to ``count`` of its long words altered, and how many more pieces these have become.

    Arms: "typo" exchanges two letters, "hidden" puts [MASK] in the word's place, "taken out" nothing, "other word" the
    word "thing".
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
    """Of 1,200 movie reviews and 800 Chinese ones: their pieces, and which of five heads read them right."""
    task = reviews("movies", train=800, validation=400, test=1200, max_tokens=48)
    sentences, ratings = read_corpus("movies")
    rating = dict(zip(sentences, ratings.abs().tolist(), strict=True))
    train, test = ([split.raw(i) for i in range(len(split))] for split in (task.train, task.test))
    few = list(enumerate(test[:400]))
    lines = {arm: [(text, 0) if arm == "intact" else altered(text, arm, i) for i, text in few] for arm in ARMS}
    read = _readers(features(train, 48), task.train.targets)
    changed = [read(features([text for text, _ in lines[arm]], 48), task.test.targets[:400]) for arm in ARMS]
    words = np.array([pieces_of(text) for text in test])
    chinese, y, x, _ = chinese_pool()
    return {
        "movies_words": words[:, 0].astype(np.uint8),
        "movies_pieces": words[:, 1].astype(np.uint8),
        "movies_rating": np.array([rating[text] for text in test], dtype=np.float16),
        "movies_right": read(features(test, 48), task.test.targets),
        "altered_right": np.stack(changed),  # (arms, seeds, 400)
        "altered_more": np.array([more for _, more in lines["typo"]], dtype=np.int8),
        "chinese_pieces": np.array([pieces_of(text) for text in chinese[800:1600]], dtype=np.int16),
        "chinese_right": _readers(x[:800], y[:800])(x[800:1600], y[800:1600]),
    }


def _readers(x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], np.ndarray]:
    """Five heads that learned from these, as a function that says which of others each reads right, (seeds, N) bool."""
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    everything = torch.arange(len(x))
    heads = heads_on((x - mean) / deviation, y, 2, [(everything, seed, 10.0) for seed in SEEDS])
    return lambda these, right: (heads.logits((these - mean) / deviation).argmax(2) == right).numpy()


# -- what lies in the package ------------------------------------------------------------------------------------------


def runs() -> pandas.DataFrame:
    """All that was measured of copies, a row each; what a row does not have is nan.

    Columns: what ("planted", "natural" or "tweets"), model, draw, share (of the test examples that stand in the
    training data), arm, rows (to learn from), accuracy, fresh (accuracy on other examples), seen and new (accuracy on
    test examples that stand in the training data, and on those that do not).
    """
    import pandas

    with np.load(FILE) as kept:
        return pandas.DataFrame({n: kept[n] for n in kept.files if n.startswith("run_")}).rename(
            columns=lambda name: name.removeprefix("run_")
        )


def pieces() -> dict[str, np.ndarray]:
    """What ``read_in_pieces`` found."""
    with np.load(FILE) as kept:
        return {n: kept[n] for n in kept.files if n != "by" and not n.startswith("run_")}


def main() -> None:
    """Do what is not done, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m stablelab.studies.leaks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the results (default: here)")
    folder = parser.parse_args().out
    part = folder / "leaks.part.jsonl"
    done = {line["key"]: line["rows"] for line in read_lines(part)}
    rows: list[dict[str, Any]] = []
    with one_thread():
        for make, draws in ((tweet_rows, DRAWS), (planted_rows, DRAWS[:5]), (natural_rows, DRAWS[:5])):
            for draw in draws:
                key = f"{make.__name__} {draw}"
                if key not in done:
                    done[key] = list(make(draw))
                    add_line(part, {"key": key, "rows": done[key]})
                rows += done[key]
        found = read_in_pieces()
    columns: dict[str, Any] = {f"run_{n}": np.array([r[n] for r in rows]) for n in ("what", "model", "arm")}
    columns["run_draw"] = np.array([r["draw"] for r in rows], dtype=np.int8)
    for n in ("share", "rows", "accuracy", "fresh", "seen", "new"):
        columns[f"run_{n}"] = np.array([r.get(n, np.nan) for r in rows], dtype=np.float32)
    write_columns(folder / FILE.name, f"CPU, one thread, torch {torch.__version__}", **columns, **found)


if __name__ == "__main__":
    main()
