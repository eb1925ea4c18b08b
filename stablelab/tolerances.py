"""A printed number is checked with the tolerance that its cell states, by nbval: this module is a plugin of pytest.

A cell says ``# NBVAL_TOLERANCE 0.03`` (absolute) or ``# NBVAL_TOLERANCE 5%`` (of the stored number). Then its numbers
may differ by as much, while the words and the count of the numbers must be the stored ones; white space does not count.
Without such a comment the text must be the stored one, as nbval has it. pytest finds this module by its entry point;
neither pytest nor nbval is imported here.
"""

from __future__ import annotations

import copy
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

MARK = "NBVAL_TOLERANCE"
PROPERTY = "differences"  # of a cell in a report of JUnit's kind, for tests/portable.py
_TOLERANCE = re.compile(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?) ?(%?)")
_RAISED = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")

# A number stands by itself: it is no part of a word, a date, a time, a range or a version. So layer1.0.conv1, GPT-2,
# 2-class, 2026-11-26, 12:30, 3-5 and 2.11.0 have none, and 3 × 10⁻⁵, −0.5, [1., 2.], 12 % and 1,234.5 have.
_NUMBER = re.compile(
    r"""(?<![\w.]) (?<!\w[-−]) (?<!\d:)
    (?P<number>
        (?: (?<!\w)[-−+] )?
        (?: nan\b | inf(?:inity)?\b | ∞
          | 10 [⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+
          | (?: \d{1,3}(?:,\d{3})+ | \d+ ) (?:\.\d+)? (?: [eE][-−+]?\d+ | [ ]?[×·][ ]?10[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+ )?
        )
    )
    (?! \w | \.\w | [-−]\w | :\d ) \.?""",
    re.VERBOSE | re.IGNORECASE,
)
# What is compared letter for letter in HTML: comments, styles and scripts, tags with their attributes, character codes.
_MARKUP = re.compile(r"<!--.*?-->|<(style|script)\b.*?</\1\s*>|<[^>]*>|&#?\w+;", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Tolerance:
    """How far a printed number may be from the stored one.

    Attributes:
        asked: as the cell states it, such as 0.03 or 5%.
        size: in the number's own unit, or as a share of the stored number.
        relative: which of the two.
    """

    asked: str
    size: Decimal
    relative: bool

    def allows(self, stored: Decimal, came: Decimal) -> bool:
        """Whether ``came`` may stand for ``stored``: nan for nan, an infinity for itself, else within the size."""
        if not (stored.is_finite() and came.is_finite()):
            return stored == came or (stored.is_nan() and came.is_nan())
        return abs(came - stored) <= self.size * (abs(stored) if self.relative else 1)

    def __str__(self) -> str:
        return f"± {self.asked}"


EXACT = Tolerance("0", Decimal(0), relative=False)


@dataclass(frozen=True)
class Comparison:
    """What two texts have in common.

    Attributes:
        stored: the numbers of the stored text, as they are printed.
        came: those of the new one.
        wording: in a few words, how the texts differ beside their numbers' values; empty if they do not.
    """

    stored: tuple[str, ...]
    came: tuple[str, ...]
    wording: str

    def outside(self, tolerance: Tolerance | None) -> list[str]:
        """A line for each thing that the tolerance does not allow; without one, for each that is another number."""
        if self.wording:
            return [self.wording]
        allowed = tolerance or EXACT
        return [
            f"number {place} of {len(self.stored)}: stored {old}, came {new}, "
            + (f"allowed {tolerance}" if tolerance else f"allowed exactly this, as the cell states no {MARK}")
            for place, (old, new) in enumerate(zip(self.stored, self.came, strict=True), 1)
            if not allowed.allows(value_of(old), value_of(new))
        ]

    def largest(self) -> tuple[float, float]:
        """The largest absolute and relative difference of the numbers; infinite for nan or infinity against another."""
        absolute = relative = 0.0
        for old, new in () if self.wording else zip(map(value_of, self.stored), map(value_of, self.came), strict=True):
            if EXACT.allows(old, new):
                continue
            finite = old.is_finite() and new.is_finite()
            difference = abs(new - old) if finite else Decimal("inf")
            absolute = max(absolute, float(difference))
            relative = max(relative, float(difference / abs(old)) if finite and old else float("inf"))
        return absolute, relative


def tolerance_of(source: str) -> Tolerance | None:
    """The tolerance that a cell states in a comment; None if it states none.

    Raises:
        ValueError: it is malformed, or stated twice; says how one is written.
    """
    stated = [text.strip() for text in re.findall(rf"#[ \t]*{MARK}(.*)", source, re.IGNORECASE)]
    if not stated:
        return None
    found = _TOLERANCE.fullmatch(stated[0])
    if len(stated) > 1 or not found:
        wrong = "stated twice" if len(stated) > 1 else f"{stated[0] or 'nothing'} is no tolerance"
        raise ValueError(f"{MARK}: {wrong}; a cell states one, such as # {MARK} 0.03 or # {MARK} 5%")
    size = Decimal(found[1])
    return Tolerance(found[1] + found[2], size / 100 if found[2] else size, bool(found[2]))


def value_of(number: str) -> Decimal:
    """A number as it is printed, to its last digit: −1,234.5, 3 × 10⁻⁵, nan, ∞."""
    plain = re.sub(r"\s", "", number).replace("−", "-").replace(",", "").replace("∞", "inf")
    base = plain.rstrip("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹")
    if base != plain:
        mantissa = base.removesuffix("10").rstrip("×·")
        one = "" if mantissa.strip("-+") else "1"  # 10⁻⁵ is 1 × 10⁻⁵
        plain = f"{mantissa}{one}e{plain[len(base) :].translate(_RAISED)}"
    return Decimal(plain)


def compare(stored: str, came: str, html: bool = False) -> Comparison:
    """Take two texts apart into words and numbers.

    Args:
        stored: the text in the notebook.
        came: the text that running the cell gave.
        html: whether numbers in tags, attributes, styles and scripts are part of the wording.

    Returns:
        What came of it.
    """
    (old_words, old), (new_words, new) = _take_apart(stored, html), _take_apart(came, html)
    wording = ""
    if len(old) != len(new):
        wording = f"the count of numbers differs: stored {len(old)}, came {len(new)}"
    elif old_words != new_words:
        was, now = next((a, b) for a, b in zip(old_words, new_words, strict=True) if a != b)
        at = next((k for k, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
        wording = f"words differ: stored {_quote(was[at:])}, came {_quote(now[at:])}"
    return Comparison(tuple(old), tuple(new), wording)


def _take_apart(text: str, html: bool) -> tuple[list[list[str]], list[str]]:
    """The words before, between and after the numbers, and the numbers."""
    words: list[list[str]] = [[]]
    numbers: list[str] = []
    start = 0
    for markup in [*(_MARKUP.finditer(text) if html else ()), None]:
        end = markup.start() if markup else len(text)
        piece, at = text[start:end], 0
        for found in _NUMBER.finditer(piece):
            words[-1] += piece[at : found.start()].split()
            words.append([])
            numbers.append(found["number"])
            at = found.end()
        words[-1] += piece[at:].split()
        if markup:
            words[-1].append(markup[0])
            start = markup.end()
    return words, numbers


def _quote(words: Sequence[str]) -> str:
    return f'"{" ".join(words[:6])}"' if words else "none"


# -- pytest and nbval --------------------------------------------------------------------------------------------------


def pytest_collectstart(collector: Any) -> None:
    """Give each cell of a notebook that nbval collects its tolerance; a malformed one is an error of the notebook."""
    if type(collector).__module__ == "nbval.plugin":
        collector.collect = partial(_collect, collector, collector.collect)


def _collect(notebook: Any, collect: Callable[[], Iterable[Any]]) -> list[Any]:
    """The cells of a notebook, each with the comparison that knows its tolerance."""
    cells, malformed = list(collect()), []
    for cell in cells:
        try:
            tolerance = tolerance_of(cell.cell.source)
        except ValueError as problem:
            malformed.append(f"{notebook.path.name}, cell {cell.cell_num}: {problem}")
        else:
            cell.compare_outputs = partial(_compare_outputs, cell, tolerance, cell.compare_outputs)
    if malformed:
        raise notebook.CollectError("\n".join(malformed))
    return cells


def _compare_outputs(
    cell: Any, tolerance: Tolerance | None, compare_outputs: Callable[..., bool], test: Any, ref: Any, *skip: Any
) -> bool:
    """nbval's comparison of a cell's outputs, to which a text that the tolerance allows is shown as the stored one."""
    test, seen, outside = copy.deepcopy(test), [], []
    for kind, stored, came, key in _pairs(ref, test):
        seen.append(compare(cell.sanitize(stored[key]), cell.sanitize(came[key]), html=kind == "text/html"))
        lines = seen[-1].outside(tolerance)
        outside += [f"cell {cell.cell_num}, {kind}, {line}" for line in lines]
        if tolerance and not lines:
            came[key] = stored[key]
    cell.user_properties.append((PROPERTY, _record(seen, tolerance, outside)))
    same = compare_outputs(test, ref, *skip)
    if not same:
        cell.comparison_traceback[:0] = outside
    return same


def _pairs(ref: Iterable[Any], test: Iterable[Any]) -> Iterator[tuple[str, Any, Any, str]]:
    """(kind, stored, new, key of the text in both), paired as nbval does: the first of a kind with the first of it."""
    stored, came = _texts(ref), _texts(test)
    for kind in stored:
        if len(stored[kind]) == len(came[kind]):
            for (old, key), (new, _) in zip(stored[kind], came[kind], strict=True):
                yield kind, old, new, key


def _texts(outputs: Iterable[Any]) -> dict[str, list[tuple[Any, str]]]:
    """For each kind (stdout, text/html, …) the places that hold such a text, and the key under which they hold it."""
    found: dict[str, list[tuple[Any, str]]] = defaultdict(list)
    for output in outputs:
        if output.output_type == "stream":
            found[output.name].append((output, "text"))
        for kind in output.get("data", ()):
            if kind.startswith("text/"):
                found[kind].append((output["data"], kind))
    return found


def _record(seen: Sequence[Comparison], tolerance: Tolerance | None, outside: Sequence[str]) -> str:
    """What was seen in a cell, as JSON."""
    largest = [compared.largest() for compared in seen]
    return json.dumps(
        {
            "numbers": sum(len(compared.stored) for compared in seen),
            "absolute": max((absolute for absolute, _ in largest), default=0.0),
            "relative": max((relative for _, relative in largest), default=0.0),
            "asked": tolerance.asked if tolerance else "",
            "outside": list(outside),
        }
    )
