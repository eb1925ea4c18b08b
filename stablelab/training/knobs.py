"""What can be changed in a loop that is not the workbook's: knobs by name, and their values as one frozen whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias

from .._formatting import setting_label
from .._validation import choice as check_choice
from .._validation import did_you_mean, number, plain, switch, whole

# Numbers between 0 and 1 that lie near one of the ends: equal steps serve them better than equal factors.
SHARES = ("momentum", "beta1", "beta2", "dropout", "gamma", "label_smoothing", "ema_decay")
DECADES = 3  # powers of ten to either side of where a logarithmic slider starts


@dataclass(frozen=True)
class Slider:
    """A number on a slider; ``slider`` makes it.

    Attributes:
        value: where it starts; None for off.
        low, high: the ends of the slider; for a knob, a number beyond them can still be typed.
        log: equal steps are equal factors.
        steps: from one end to the other.
        label: what it is called; the name of the knob if empty.
        off: what "off" gives, in a tuple; None where it cannot be switched off.
    """

    value: float | None
    low: float
    high: float
    log: bool = False
    steps: int = 100
    label: str = ""
    off: tuple[float | None] | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError in one line where the knob cannot have this value."""
        if self.off is not None and value == self.off[0]:
            return
        number(name, value, above=0 if self.log else None)


@dataclass(frozen=True)
class Choice:
    """One of several; ``choice`` makes it.

    Attributes:
        options: what there is to choose from.
        value: what is chosen at first.
        label: what it is called; the name of the knob if empty.
    """

    options: tuple[Any, ...]
    value: Any
    label: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError in one line where this is not one of them."""
        check_choice(name, value, self.options)


@dataclass(frozen=True)
class Whole:
    """A whole number, 0 or more, typed."""

    value: int
    label: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError in one line where it is not one."""
        whole(name, value)


@dataclass(frozen=True)
class Switch:
    """On or off."""

    value: bool
    label: str = ""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError in one line where it is neither."""
        switch(name, value)


Knob: TypeAlias = Slider | Choice | Whole | Switch


def slider(
    value: float | None, low: float, high: float, *, log: bool = False, steps: int = 100, label: str = ""
) -> Slider:
    """A number on a slider, as a knob of ``lab.watch`` or a control of ``move``.

    Args:
        value: where it starts, between ``low`` and ``high``; None for a knob that starts switched off.
        low: the lower end.
        high: the upper end.
        log: equal steps are equal factors.
        steps: from one end to the other; between whole numbers the slider of ``move`` goes by one.
        label: what it changes, with the symbol and the unit; the name of the argument if not given.

    Raises:
        ValueError: in one line, where the range is empty, does not hold the value, or is not positive on a logarithmic
            slider.
    """
    value, low, high = plain(value), plain(low), plain(high)
    named = f"slider {label!r}" if label else "slider"
    numbers = [each for each in (value, low, high) if each is not None]
    if not all(isinstance(each, Real) and math.isfinite(each) for each in numbers):
        raise ValueError(f"{named} needs three numbers: value, low, high; got {value!r}, {low!r}, {high!r}")
    if not low < high or (value is not None and not low <= value <= high) or (log and low <= 0):
        above = ", above 0" if log else ""
        raise ValueError(f"{named} needs low < high and a value between them{above}; got {value}, {low}, {high}")
    whole("steps", steps, at_least=1)
    return Slider(value, low, high, log, steps, label, (None,) if value is None else None)


def choice(options: Sequence[Any], value: Any = None, *, label: str = "") -> Choice:
    """One of several, as a knob of ``lab.watch`` or a control of ``move``.

    Args:
        options: what there is to choose from.
        value: what is chosen at first; the first one if not given.
        label: what is chosen; the name of the argument if not given.

    Raises:
        ValueError: in one line, where there is nothing to choose from, or the value is not among it.
    """
    if isinstance(options, str) or not len(options):
        raise ValueError(f"choice needs a list of what can be chosen, such as ['adam', 'sgd']; got {options!r}")
    made = Choice(tuple(options), options[0] if value is None else value, label)
    made.check("value", made.value)
    return made


def knob(name: str, value: Any) -> Knob:
    """What steers a value: a slider for a number, logarithmic where it is positive; a switch, a list, a field.

    Args:
        name: of the knob: shares such as ``dropout`` and ``momentum`` get a slider from 0 to 1, ``max_norm`` and
            ``weight_decay`` can be switched off.
        value: where it starts: a number, None for a number that is off, True or False, or what ``slider`` or ``choice``
            made.

    Raises:
        ValueError: in one line, for anything else.
    """
    if isinstance(value, Slider | Choice | Whole | Switch):
        return value
    value = plain(value)
    if isinstance(value, bool):
        return Switch(value)
    if isinstance(value, int) and name not in ("max_norm", "learning_rate", "weight_decay"):
        if value < 0:
            return _linear(value)
        return Whole(value)
    if value is None or name == "max_norm":
        return _logarithmic(value, off=(None,), resting=1.0)
    if isinstance(value, int | float) and math.isfinite(value):
        if name == "weight_decay" and value >= 0:
            return _logarithmic(value, off=(0.0,), resting=0.01)
        if name in SHARES and 0 <= value <= 1:
            return Slider(value, 0.0, 1.0)
        if name == "learning_rate" and 1e-6 <= value <= 1:
            return Slider(value, 1e-6, 1.0, log=True)
        return _logarithmic(value) if value > 0 else _linear(value)
    makes = "a number, None for off, True or False, lab.slider(0.1, 0, 0.5) or lab.choice(['adam', 'sgd'])"
    raise ValueError(f"knob {name!r} is {value!r}; a knob is {makes}")


def _logarithmic(value: float | None, off: tuple[float | None] | None = None, resting: float = 1.0) -> Slider:
    absent = value is None or (off is not None and value == off[0])
    middle = round(math.log10(resting if absent or value is None or value <= 0 else value))
    return Slider(value, 10.0 ** (middle - DECADES), 10.0 ** (middle + DECADES), log=True, off=off)


def _linear(value: float) -> Slider:
    reach = 2 * abs(value) or 1.0
    return Slider(value, -reach if value < 0 else 0.0, reach)


@dataclass(frozen=True)
class Knobs:
    """The values of all knobs, handed over whole, as ``Settings`` are.

    Args:
        knobs: by name, what steers each.
        values: by name.
        label: who does the arithmetic.
    """

    knobs: Mapping[str, Knob]
    values: Mapping[str, Any]
    label: str = "own loop"

    @classmethod
    def of(cls, start: Mapping[str, Any], label: str = "own loop") -> Knobs:
        """Those that start at these values.

        Raises:
            ValueError: in one line, for a value that nothing can steer.
        """
        knobs = {name: knob(name, value) for name, value in start.items()}
        for name, each in knobs.items():
            each.check(name, each.value)
        return cls(MappingProxyType(knobs), MappingProxyType({n: k.value for n, k in knobs.items()}), label)

    def replace(self, **changes: Any) -> Knobs:
        """The same with some values changed; raises ValueError in one line for one that cannot be."""
        changes = {name: plain(value) for name, value in changes.items()}
        for name, value in changes.items():
            if name not in self.knobs:
                raise ValueError(f"there is no knob {name!r}; {did_you_mean(name, self.knobs)}")
            self.knobs[name].check(name, value)
        return replace(self, values=MappingProxyType({**self.values, **changes}))

    def differences(self, other: Knobs) -> tuple[tuple[str, Any, Any], ...]:
        """(name, value here, value in ``other``) for each knob that differs."""
        pairs = ((name, self.values[name], other.values[name]) for name in self.knobs)
        return tuple((name, old, new) for name, old, new in pairs if old != new)

    def to_dict(self) -> dict[str, Any]:
        """The values by name."""
        return dict(self.values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"there is no knob {name!r}") from None

    def label_of(self, name: str) -> str:
        """What a knob is called on a page."""
        return self.knobs[name].label or setting_label(name)
