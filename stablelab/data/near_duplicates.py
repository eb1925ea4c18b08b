"""Texts that are nearly the same: found by the words that they share, so that a split can keep them together."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .._validation import number

SIMILAR = 0.6  # between tweets of one origin and all others: few pairs lie near it (notebook 14)
# Chinese, Japanese and Korean scripts, which do not put blanks between words.
_UNSPACED = "぀-ヿ㐀-䶿一-鿿豈-﫿가-힯"
_WORDS = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+(?:'[^\W{_UNSPACED}]+)*")


def shingles(text: str) -> frozenset[str]:
    """What a text is compared by: its words, and of scripts without blanks the pairs of neighbouring characters.

    Case and all signs are left out.
    """
    found: set[str] = set()
    for word in _WORDS.findall(text.casefold()):
        if re.match(f"[{_UNSPACED}]", word) and len(word) > 1:
            found.update(word[i : i + 2] for i in range(len(word) - 1))
        else:
            found.add(word)
    return frozenset(found)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """|A ∩ B| / |A ∪ B|: 1 for equal sets, 0 for sets that share nothing, or if both are empty.

    Source:
        Broder, "On the resemblance and containment of documents", 1997, Section 2 (there: resemblance, of runs of
        words).
    """
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def similar_pairs(texts: Sequence[str], at_least: float = SIMILAR) -> Iterator[tuple[int, int, float]]:
    """All pairs (i, j, similarity) of texts, i < j, whose sets of shingles have a Jaccard similarity ≥ ``at_least``.

    Two sets A and B with |A ∩ B| ≥ t |A ∪ B| share at least ⌈t |A|⌉ elements, so one of them is among the
    |A| - ⌈t |A|⌉ + 1 rarest of A, and among as many of B. Only texts that meet there are compared; none is overlooked.

    Args:
        texts: N of them.
        at_least: t, above 0, at most 1.

    Raises:
        ValueError: a threshold outside its range.

    Source:
        The filter by prefixes: Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins in data
        cleaning", ICDE 2006.
    """
    t = number("at_least", at_least, above=0, at_most=1)
    sets = [shingles(text) for text in texts]
    counts = Counter(shingle for each in sets for shingle in each)
    met: dict[str, list[int]] = {}
    for j, each in enumerate(sets):
        rare = sorted(each, key=lambda shingle: (counts[shingle], shingle))
        rare = rare[: len(rare) - math.ceil(t * len(rare) - 1e-9) + 1]
        for i in sorted({i for shingle in rare for i in met.get(shingle, ())}):
            if min(len(sets[i]), len(each)) >= t * max(len(sets[i]), len(each)) - 1e-9:
                similarity = jaccard(sets[i], each)
                if similarity >= t - 1e-9:
                    yield i, j, similarity
        for shingle in rare:
            met.setdefault(shingle, []).append(j)


def near_duplicates(texts: Sequence[str], at_least: float = SIMILAR) -> Tensor:
    """(N,) int64: of each text the position of the first one of its group, as ``stratified_split`` takes it.

    A group is what hangs together by pairs: A and C are in one group if both are like B, though they may not be like
    each other.

    Args:
        texts: N of them.
        at_least: Jaccard similarity of the sets of words (signs and case apart) from which two texts are a pair.

    Raises:
        ValueError: a threshold outside of 0 to 1.
    """
    first = list(range(len(texts)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    same: dict[str, int] = {}
    for i, text in enumerate(texts):  # texts without a word, such as a smile, are like their equals alone
        first[i] = root(same.setdefault(text, i))
    for i, j, _ in similar_pairs(texts, at_least):
        low, high = sorted((root(i), root(j)))
        first[high] = low
    return torch.tensor([root(i) for i in range(len(texts))])
