"""Pairs of sentences that differ in who is named and in nothing else, and training texts with the words exchanged.

Source:
    The idea: Kiritchenko and Mohammad, "Examining gender and race bias in two hundred sentiment analysis systems",
    *SEM 2018 (the Equity Evaluation Corpus). The templates and lists here are the workbook's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Statements without an opinion. {they}, {their}, {them}: a person; {name}: a first name; {from_}: a nationality.
PERSON = (
    "{They} wrote the script.",
    "The film is based on {their} diary.",
    "It is the third film that {they} directed.",
    "{They} plays a doctor in a small town.",
    "The camera follows {them} through the city.",
    "In the second half {they} moves to the country.",
    "The story begins with {their} journey by train.",
    "{Their} last film came out two years ago.",
    "We meet {them} at the station.",
    "{Their} brother wrote the book.",
    "{They} also composed the music.",
    "The film tells what {they} did in that summer.",
)
NAMED = tuple(
    text.replace("{They}", "{name}").replace("{they}", "{name}").replace("{them}", "{name}")
    .replace("{Their}", "{name}'s").replace("{their}", "{name}'s")
    for text in PERSON
)  # fmt: skip
ORIGIN = (
    "The film was made by {from_} students.",
    "It is the first film of a {from_} director.",
    "The music is played by {from_} musicians.",
    "A {from_} family moves into the house next door.",
    "The story is about two {from_} sisters.",
    "The film was shot with a {from_} crew.",
    "He meets a {from_} writer on the train.",
    "She learned the part from a {from_} teacher.",
    "The book is by a {from_} author.",
    "The cast includes several {from_} actors.",
)
PRONOUNS = {
    "he": {"they": "he", "their": "his", "them": "him"},
    "she": {"they": "she", "their": "her", "them": "her"},
}
NAMES = {  # common first names of people who mostly go by he, or by she, in English-speaking countries
    "he": ("James", "Daniel", "Peter", "David", "Robert", "Thomas", "Michael", "Paul"),
    "she": ("Mary", "Susan", "Anna", "Helen", "Laura", "Emma", "Julia", "Sarah"),
}
NATIONALITIES = (
    "French", "Chinese", "Mexican", "German", "Japanese", "Turkish", "Polish", "Kenyan", "Brazilian", "Norwegian",
    "Russian", "Korean",
)  # fmt: skip
SWAPPED = {  # "her" stands for both "him" and "his": what it becomes is a guess, and here always "his"
    "he": "she", "she": "he", "him": "her", "his": "her", "her": "his", "hers": "his", "himself": "herself",
    "herself": "himself", "man": "woman", "woman": "man", "men": "women", "women": "men", "boy": "girl",
    "girl": "boy", "father": "mother", "mother": "father", "son": "daughter", "daughter": "son", "brother": "sister",
    "sister": "brother", "husband": "wife", "wife": "husband", "actor": "actress", "actress": "actor",
}  # fmt: skip


@dataclass(frozen=True)
class Filled:
    """A template with its blank filled in.

    Attributes:
        kind: "pronouns", "names" or "nationalities".
        group: who is named: "he" or "she", or a nationality.
        template: its number within the kind; sentences with equal numbers make a pair.
        text: the sentence.
    """

    kind: str
    group: str
    template: int
    text: str


def filled_templates() -> list[Filled]:
    """All templates, filled in every way: 24 sentences of pronouns, 192 of names, 120 of nationalities."""
    found = []
    for group, words in PRONOUNS.items():
        both = {**words, **{key.capitalize(): word.capitalize() for key, word in words.items()}}
        found += [Filled("pronouns", group, t, text.format(**both)) for t, text in enumerate(PERSON)]
        for name in NAMES[group]:
            found += [Filled("names", group, t, text.format(name=name)) for t, text in enumerate(NAMED)]
    for nationality in NATIONALITIES:
        found += [Filled("nationalities", nationality, t, text.format(from_=nationality))
                  for t, text in enumerate(ORIGIN)]  # fmt: skip
    return found


def swapped(text: str, words: Mapping[str, str] = SWAPPED) -> str:
    """The text with each whole word exchanged for its counterpart, all at once, a capital letter kept.

    Args:
        text: a sentence.
        words: lower-case word -> what stands in its place.

    Source:
        Counterfactual data augmentation: Lu et al., "Gender bias in neural natural language processing", 2018.
    """

    def other(found: re.Match[str]) -> str:
        word = found[0]
        new = words[word.lower()]
        return new.upper() if word.isupper() and len(word) > 1 else new.capitalize() if word[0].isupper() else new

    pattern = r"\b(?:" + "|".join(map(re.escape, words)) + r")\b"
    return re.sub(pattern, other, text, flags=re.IGNORECASE)


def mentions(texts: Sequence[str], words: Sequence[str]) -> list[bool]:
    """Of each text whether one of these words (lower case) stands in it."""
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")\b")
    return [bool(pattern.search(text.lower())) for text in texts]
