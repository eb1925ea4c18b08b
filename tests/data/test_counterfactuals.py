"""Sentences that differ in who is named, and in nothing else."""

from __future__ import annotations

from collections import Counter

import pytest

from stablelab.data.counterfactuals import NAMES, NATIONALITIES, PERSON, SWAPPED, filled_templates, mentions, swapped


def test_every_blank_is_filled_and_every_pair_complete() -> None:
    every = filled_templates()
    assert len({each.text for each in every}) == len(every) == 336
    assert not [each.text for each in every if "{" in each.text or "  " in each.text]
    counts = Counter((each.kind, each.group) for each in every)
    assert counts["pronouns", "he"] == counts["pronouns", "she"] == len(PERSON)
    assert counts["names", "he"] == counts["names", "she"] == len(PERSON) * len(NAMES["he"])
    assert {group for kind, group in counts if kind == "nationalities"} == set(NATIONALITIES)


def test_a_pair_differs_in_the_pronoun_alone() -> None:
    by = {(each.group, each.template): each.text for each in filled_templates() if each.kind == "pronouns"}
    for t in range(len(PERSON)):
        he, she = by["he", t].split(), by["she", t].split()
        assert len(he) == len(she)
        different = [(a, b) for a, b in zip(he, she, strict=True) if a != b]
        assert {a.lower().strip(".") for a, _ in different} <= {"he", "his", "him"}
        assert {b.lower().strip(".") for _, b in different} <= {"she", "her"} and different


@pytest.mark.parametrize(("text", "meant"), [
    ("He met her; the theme is THE man.", "She met his; the theme is THE woman."),
    ("he she HE", "she he SHE"),
    ("Nothing here.", "Nothing here."),
])  # fmt: skip
def test_whole_words_are_exchanged_at_once_with_their_capitals(text: str, meant: str) -> None:
    assert swapped(text) == meant


def test_all_words_but_those_of_her_come_back() -> None:
    for word in set(SWAPPED) - {"him", "hers"}:
        assert swapped(swapped(word)) == word


def test_words_are_looked_for_whole() -> None:
    assert mentions(["The theme", "HE is", "other"], ["he"]) == [False, True, False]
