"""Sentences made worse in ways that hands and keyboards make them worse, each at five severities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from string import punctuation

from .image_corruptions import check_corruption

SHARES = (0.1, 0.2, 0.35, 0.5, 0.7)  # of the words, at severities 1 to 5
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # each half a key to the right of the one above


def corrupt_texts(texts: Sequence[str], name: str, severity: int, seed: int = 0) -> list[str]:
    """The sentences under one corruption; a harsher severity touches the words that a milder one does, and more.

    A tenth, a fifth, 35 %, half or 70 % of a sentence's words are touched, at least one of them: ``typos`` hits a
    neighbouring key or turns two letters round, ``dropping`` leaves words out (never all), ``swapping`` lets words
    change places with the next one, ``case`` writes words in capitals (or, where they were, without), ``punctuation``
    takes the marks off words that have some and puts one behind the others. A tokenizer without capitals, such as the
    bundled BERT's, sees nothing of ``case``.

    Args:
        texts: the sentences; words are what white space separates.
        name: one of ``TEXT_CORRUPTIONS``.
        severity: 1 (mild) to 5 (harsh).
        seed: 0 or more; with the position of a sentence it decides which words are touched, and how.

    Raises:
        ValueError: in one line: no such corruption, severity or seed.

    Source:
        Ribeiro, Wu, Guestrin and Singh, "Beyond accuracy: behavioral testing of NLP models with CheckList", 2020,
        Section 2 (invariance tests); Belinkov and Bisk, "Synthetic and natural noise both break neural machine
        translation", 2018, Section 3 (keys and letters).
    """
    check_corruption(name, severity, seed, TEXT_CORRUPTIONS)
    change = _CORRUPTIONS[name]
    # A text seeds Python's generator the same way in every process; a tuple would not.
    return [change(text.split(), SHARES[severity - 1], Random(f"{seed} {i}")) for i, text in enumerate(texts)]


def _some(places: Sequence[int], share: float, random: Random) -> list[int]:
    """That share of the places, at least one of them. A larger share begins with the same ones."""
    return random.sample(places, len(places))[: max(1, round(share * len(places)))]


def _typos(words: list[str], share: float, random: Random) -> str:
    long = [i for i, word in enumerate(words) if sum(map(str.isalpha, word)) > 2]
    for i in _some(long, share, random):
        words[i] = _mistyped(words[i], random)
    return " ".join(words)


def _mistyped(word: str, random: Random) -> str:
    """A letter replaced by its neighbour on the keyboard, or two letters turned round."""
    pairs = [i for i in range(len(word) - 1) if word[i].isalpha() and word[i + 1].isalpha() and word[i] != word[i + 1]]
    keys = [i for i, letter in enumerate(word) if letter.lower() in _NEIGHBOURS]
    if pairs and (random.random() < 0.5 or not keys):
        i = random.choice(pairs)
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if not keys:
        return word
    i = random.choice(keys)
    other = random.choice(_NEIGHBOURS[word[i].lower()])
    return word[:i] + (other.upper() if word[i].isupper() else other) + word[i + 1 :]


def _dropping(words: list[str], share: float, random: Random) -> str:
    gone = set(_some(range(len(words)), share, random)[: max(0, len(words) - 1)])
    return " ".join(word for i, word in enumerate(words) if i not in gone)


def _swapping(words: list[str], share: float, random: Random) -> str:
    # A swap moves two words, so half as many of them. No pair comes twice, so they never undo each other.
    for i in _some(range(len(words) - 1), share / 2, random):
        words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


def _case(words: list[str], share: float, random: Random) -> str:
    for i in _some(range(len(words)), share, random):
        words[i] = words[i].lower() if words[i].isupper() else words[i].upper()
    return " ".join(words)


def _punctuation(words: list[str], share: float, random: Random) -> str:
    for i in _some(range(len(words)), share, random):
        bare = words[i].strip(punctuation)
        words[i] = bare if bare not in ("", words[i]) else words[i] + random.choice(",.;:!?-")
    return " ".join(words)


def _neighbours() -> dict[str, str]:
    """The keys around each letter: beside it, above and below."""
    at = {letter: (x + 0.5 * y, y) for y, row in enumerate(_ROWS) for x, letter in enumerate(row)}
    return {
        one: "".join(other for other, (a, b) in at.items() if other != one and abs(a - x) + abs(b - y) <= 1.5)
        for one, (x, y) in at.items()
    }


_NEIGHBOURS = _neighbours()
_CORRUPTIONS: dict[str, Callable[[list[str], float, Random], str]] = {
    "typos": _typos,
    "dropping": _dropping,
    "swapping": _swapping,
    "case": _case,
    "punctuation": _punctuation,
}
TEXT_CORRUPTIONS = tuple(_CORRUPTIONS)
