"""Sentences under each corruption: how many words are touched, and how."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from stablelab.data import corrupt_texts
from stablelab.data.text_corruptions import _NEIGHBOURS, SHARES, TEXT_CORRUPTIONS

TEXTS = (
    "The first half of this quiet film, shot almost entirely at night, promises more than its hurried ending can keep.",
    "Nobody in the cast seems to know whether they are in a comedy; the director does not know either!",
    "GREAT fun from start to finish, with a villain worth hissing at.",
    "Well.",
)
SEVERITIES = (1, 2, 3, 4, 5)


def _touched(name: str, text: str, changed: str) -> int:
    """How many words are not where and what they were."""
    words, others = text.split(), changed.split()
    if name == "dropping":
        return len(words) - len(others)
    return sum(one != other for one, other in zip(words, others, strict=True))


@pytest.mark.parametrize("name", TEXT_CORRUPTIONS)
def test_more_words_are_touched_with_every_severity(name: str) -> None:
    counts = [sum(map(_touched, [name] * 4, TEXTS, corrupt_texts(TEXTS, name, severity))) for severity in SEVERITIES]
    assert counts[0] > 0 and all(one < other for one, other in pairwise(counts)), counts


@pytest.mark.parametrize("name", ["case", "punctuation", "dropping"])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_share_of_words_is_the_one_that_is_said(name: str, severity: int) -> None:
    text = " ".join(f"word{i}" for i in range(40))
    assert _touched(name, text, corrupt_texts([text], name, severity)[0]) == round(40 * SHARES[severity - 1])


@pytest.mark.parametrize("name", TEXT_CORRUPTIONS)
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    random.seed(0)
    state = random.getstate()
    once = corrupt_texts(TEXTS, name, 3, seed=1)
    assert random.getstate() == state
    assert once == corrupt_texts(TEXTS, name, 3, seed=1) != corrupt_texts(TEXTS, name, 3, seed=2)


def test_a_typo_is_a_neighbouring_key_or_two_letters_turned_round() -> None:
    for text in TEXTS[:3]:
        for word, typed in zip(text.split(), corrupt_texts([text], "typos", 5)[0].split(), strict=True):
            wrong = [i for i, pair in enumerate(zip(word, typed, strict=True)) if pair[0] != pair[1]]
            if len(wrong) == 2:
                i, j = wrong
                assert j == i + 1 and typed[i] + typed[j] == word[j] + word[i]
            elif wrong:
                assert typed[wrong[0]].lower() in _NEIGHBOURS[word[wrong[0]].lower()]
    assert _NEIGHBOURS["g"] == "tyfhvb" and all(a in _NEIGHBOURS[b] for a in _NEIGHBOURS for b in _NEIGHBOURS[a])


def test_swapping_keeps_all_words_and_dropping_keeps_one() -> None:
    for text, swapped in zip(TEXTS, corrupt_texts(TEXTS, "swapping", 5), strict=True):
        assert Counter(text.split()) == Counter(swapped.split())
    assert corrupt_texts(["Well."], "dropping", 5) == ["Well."]
    assert len(corrupt_texts(["so so"], "dropping", 5)[0].split()) == 1


def test_case_turns_capitals_round_and_marks_come_and_go() -> None:
    (shouted,) = corrupt_texts(["GREAT fun"], "case", 5)
    assert shouted in ("great fun", "GREAT FUN")
    assert corrupt_texts(["Well."], "punctuation", 1) == ["Well"]
    assert corrupt_texts(["Well"], "punctuation", 1)[0][:-1] == "Well"


@pytest.mark.parametrize("name", TEXT_CORRUPTIONS)
def test_texts_with_nothing_to_touch_stay(name: str) -> None:
    assert corrupt_texts(["", " "], name, 5) == ["", ""]
    assert corrupt_texts([], name, 5) == []


@pytest.mark.parametrize("severity", [0, 6, 1.5, True])
def test_what_cannot_be_is_said_in_one_line(severity: object) -> None:
    with pytest.raises(ValueError, match=r"^severity is .*; it must be a whole number from 1 \(mild\) to 5 \(harsh\)$"):
        corrupt_texts(TEXTS, "case", severity)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^there is no corruption 'noise' here; there are typos, dropping, swapping"):
        corrupt_texts(TEXTS, "noise", 1)
