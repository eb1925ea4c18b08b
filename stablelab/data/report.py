"""What is legal in one's own data but suspicious: repetitions, labels that differ by a blank, classes that are rare."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._formatting import format_percent, printable
from .._logging import logger

MANY = 6  # classes that are counted one by one, and labels or rows that are named
UNBALANCED = 10  # times as many examples of the largest class as of the smallest


@dataclass(frozen=True)
class DataReport:
    """What was read, in a line, and what about it is suspicious.

    Attributes:
        summary: number of examples, classes and their sizes.
        remarks: one line for each thing that its owner should know; none where all is well.
    """

    summary: str
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"- {remark}" for remark in self.remarks)])

    __repr__ = __str__

    def log(self) -> None:
        """Say it, in the workbook's log."""
        logger.info("%s", self)


def first_of_equals(keys: Sequence[Hashable]) -> Tensor:
    """(N,) int64: of each example the position of the first one with the same key."""
    first: dict[Hashable, int] = {}
    return torch.tensor([first.setdefault(key, i) for i, key in enumerate(keys)])


def balance(classes: Sequence[str], counts: Sequence[int]) -> str:
    """The sizes of the classes, in words: all of a few, the smallest and the largest of many."""
    if len(classes) <= MANY:
        return ", ".join(f"{printable(name)} ({n})" for name, n in zip(classes, counts, strict=True))
    (small, name), (large, other) = min(zip(counts, classes, strict=True)), max(zip(counts, classes, strict=True))
    return f"{len(classes)} classes from {printable(name)} ({small}) to {printable(other)} ({large})"


def remarks_on(
    noun: str,
    classes: Sequence[str],
    targets: Tensor,
    splits: Mapping[str, Tensor],
    first: Tensor,
    grouped: bool,
    called: Callable[[int], str],
) -> list[str]:
    """What is to be said of repetitions, of conflicting labels, of rare classes and of the balance of all.

    Args:
        noun: what the examples are, such as "texts".
        classes: their names.
        targets: (N,) class numbers.
        splits: of each split the positions of its examples.
        first: (N,) as ``first_of_equals`` gives it.
        grouped: whether repetitions were kept in one split.
        called: what to call an example by its position, such as "row 3".
    """
    said = [*_repetitions(noun, splits, first, grouped), *_conflicts(noun, classes, targets, first, called)]
    counts = torch.bincount(targets, minlength=len(classes)).tolist()
    for c, name in enumerate(classes):
        lacking = [split for split in ("validation", "test") if not bool((targets[splits[split]] == c).any())]
        if lacking:
            has = "have" if len(lacking) > 1 else "has"
            said.append(f"{' and '.join(lacking)} {has} no example of {name!r} ({counts[c]} in all)")
    if len(said) > MANY:
        said[MANY:] = [f"{len(said) - MANY} more classes are missing in validation or test"]
    largest = max(counts)
    if largest >= UNBALANCED * min(counts):
        name, share = classes[counts.index(largest)], format_percent(largest / len(targets))
        said.append(f"always answering {name!r} would be right in {share}: look at F1, not at accuracy")
    return said


def _repetitions(noun: str, splits: Mapping[str, Tensor], first: Tensor, grouped: bool) -> list[str]:
    copies = len(first) - len(first.unique())
    if not copies:
        return []
    if grouped:
        return [f"{copies} {noun} repeat an earlier one; all copies of one are in the same split"]
    train = first[splits["train"]]
    seen = [f"{int(torch.isin(first[splits[s]], train).sum())} in {s}" for s in ("validation", "test")]
    return [f"{copies} {noun} repeat an earlier one; {' and '.join(seen)} stand in train too (group_duplicates=False)"]


def _conflicts(
    noun: str, classes: Sequence[str], targets: Tensor, first: Tensor, called: Callable[[int], str]
) -> list[str]:
    other = (targets != targets[first]).nonzero().flatten().tolist()
    if not other:
        return []
    one, two = int(first[other[0]]), other[0]
    pair = " and ".join(f"{called(i)} is {classes[int(targets[i])]!r}" for i in (one, two))
    return [f"{len(other)} {noun} have another label than an equal one: {pair}"]


# -- labels ------------------------------------------------------------------------------------------------------------


def folded(text: str) -> str:
    """A text without regard to case, to blanks, and to how its accents are encoded."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def merge_variants(labels: Sequence[str], merge: bool) -> tuple[list[str], list[str]]:
    """Labels that differ by case or blanks only: found, and merged into the most frequent of them where asked.

    Returns:
        The labels, and a remark for each set of variants.
    """
    counts = Counter(labels)
    variants: dict[str, list[str]] = {}
    for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        variants.setdefault(folded(label), []).append(label)
    several = [names for names in variants.values() if len(names) > 1]
    said = []
    for names in several[:MANY]:
        listed = ", ".join(f"{counts[name]} {name!r}" for name in names)
        said.append(f"one class was made of the labels {listed}" if merge else
                    f"{listed} are {len(names)} classes; merge_labels=True makes them one")  # fmt: skip
    if len(several) > MANY:
        said.append(f"so it is with {len(several) - MANY} more labels")
    if not merge:
        return list(labels), said
    chosen = {name: names[0].strip() for names in variants.values() for name in names}
    return [chosen[label] for label in labels], said
