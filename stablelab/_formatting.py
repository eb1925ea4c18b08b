"""How numbers, settings and lines are written for a reader, everywhere the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

_LABELS = {
    "max_norm": "clip threshold",
    "clip": "kind of clipping",
    "warmup_steps": "warm-up steps",
    "unfrozen": "trained layers",
    "unfreeze_every": "gradual unfreezing",
}
_UNITS = {
    "unfreeze_every": "every {} steps",
    "early_stopping": "after {} validations",
    "rotation": "{}°",
    "accumulation": "over {} micro-batches",
}
_WORDS = {
    ("unfrozen", None): "all",
    ("unfreeze_every", 0): "off",
    ("early_stopping", 0): "off",
    ("accumulation", 1): "off",
}


def format_number(value: float) -> str:
    """At most three significant digits, in powers of ten below 0.01: 0.05, 3e-4, 1.25e-3; – for nan, ∞ for infinity."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return f"{float(f'{value:.3g}'):g}"  # 1230, not 1.23e+03
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_percent(share: float) -> str:
    """A share as per cent: 91 %, with a digit more near 0 and 100: 0.3 %; – for nan."""
    if math.isnan(share):
        return "–"
    return f"{100 * share:.0f} %" if 0.005 <= share <= 0.995 or share in (0, 1) else f"{100 * share:.1f} %"


def format_value(value: Any) -> str:
    """The value of a setting: off for None and False, on for True, numbers as ``format_number``, words as they are."""
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return format_number(value) if isinstance(value, int | float) else str(value)


def format_setting(name: str, value: Any) -> str:
    """The value of a setting by name, with its unit: every 20 steps, 15°, all."""
    return _WORDS.get((name, value)) or _UNITS.get(name, "{}").format(format_value(value))


def setting_label(name: str) -> str:
    """What a setting is called on a page: ``max_norm`` is the clip threshold, ``learning_rate`` the learning rate."""
    return _LABELS.get(name, name.replace("_", " "))


def one_line(text: str, longest: int = 80) -> str:
    """A text on one line, cut with … where it is longer than ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def format_duration(seconds: float) -> str:
    """Such as 8 s, 2 min 05 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def printable(name: object) -> str:
    """A name for a message of one line: as it is, or in quotes where blanks or characters of it would not be seen."""
    text = str(name)
    return text if text.isprintable() and text == text.strip() != "" else repr(text)


def html_from(template: Path, **values: Any) -> str:
    """A template of jinja filled in; what is in the values is text and never becomes markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template.name).render(**values)
