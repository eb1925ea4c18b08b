"""Texts that are nearly the same: all pairs are found, and a split keeps groups together."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import pytest
import torch

from stablelab import data
from stablelab.data.near_duplicates import jaccard, near_duplicates, shingles, similar_pairs


def test_case_and_signs_are_left_out_and_chinese_is_read_in_pairs() -> None:
    assert shingles("GOOD film!! isn't it? :)") == shingles("good Film, isn't it.") == {"good", "film", "isn't", "it"}
    assert shingles("很好的书, 很好") == {"很好", "好的", "的书"}
    assert shingles("书 ok") == {"书", "ok"} and shingles(":-)") == frozenset()


def test_the_similarity_by_hand() -> None:
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
    assert jaccard(frozenset(), frozenset()) == 0.0


@pytest.mark.parametrize("at_least", [0.2, 0.5, 0.6, 0.75, 1.0])
def test_no_pair_is_overlooked(at_least: float) -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefghij", k=draw.randint(1, 8))) for _ in range(150)]
    sets = [shingles(text) for text in texts]
    meant = {(i, j) for i, j in combinations(range(150), 2) if jaccard(sets[i], sets[j]) >= at_least - 1e-9}
    found = list(similar_pairs(texts, at_least))
    assert len(found) == len(meant) > 5 and {(i, j) for i, j, _ in found} == meant
    assert all(jaccard(sets[i], sets[j]) == similarity for i, j, similarity in found)


def test_groups_are_what_hangs_together() -> None:
    texts = ["a b c d", "x y", "a b c e", "b c e f", ":)", ":)", ":(", "A, B; C. D!"]
    assert near_duplicates(texts, 0.6).tolist() == [0, 1, 0, 0, 4, 4, 6, 0]  # the first and the fourth share too little
    assert near_duplicates(texts, 1.0).tolist() == [0, 1, 2, 3, 4, 4, 6, 0]


@pytest.mark.parametrize("at_least", [0.0, 1.5])
def test_a_threshold_that_is_none(at_least: float) -> None:
    with pytest.raises(ValueError, match="^at_least "):
        near_duplicates(["a"], at_least)


def across(task: data.Task) -> int:
    """How many validation and test sentences are like one of the training split."""
    raw = [[split.raw(i) for i in range(len(split))] for split in (task.train, task.validation, task.test)]
    first = near_duplicates(raw[0] + raw[1] + raw[2])
    return int(torch.isin(first[len(raw[0]) :], first[: len(raw[0])]).sum())


@pytest.mark.slow
def test_tweets_leak_unless_they_are_kept_together(corpora: Path) -> None:
    sizes = {"train": 600, "validation": 200, "test": 200}
    assert across(data.reviews("tweets", **sizes)) > 10
    apart = data.reviews("tweets", **sizes, group_near_duplicates=True)
    assert across(apart) == 0
    assert len(apart.train) == 600 and abs(len(apart.test) - 200) <= 4


def test_reviews_take_a_switch_for_it(corpora: Path) -> None:
    with pytest.raises(ValueError, match="group_near_duplicates"):
        data.reviews("tweets", group_near_duplicates="yes")  # type: ignore[arg-type]
