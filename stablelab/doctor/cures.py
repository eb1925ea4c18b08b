"""Cures that are a setting: which one of the run's settings to change, from what it is now to what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .findings import Cause, Finding

PATIENCE = 3  # validations that early stopping waits for a lower loss
_MAKE: dict[Cause, tuple[str, Callable[[Any, Finding], Any]]] = {  # (setting, (its value now, finding) -> its cure)
    Cause.RATE_TOO_HIGH: ("learning_rate", lambda now, _: now / 10),
    Cause.RATE_TOO_LOW: ("learning_rate", lambda now, _: now * 10),
    Cause.NO_WARMUP: ("bias_correction", lambda *_: True),
    Cause.CLIPPED_AWAY: ("max_norm", lambda _, finding: finding.numbers["norm"]),
    Cause.SCHEDULE_OVER: ("schedule", lambda *_: "constant"),
    Cause.WEIGHT_DECAY: ("weight_decay", lambda now, _: now / 100),
    Cause.OVERFITTING: ("early_stopping", lambda *_: PATIENCE),
}


def changes_for(finding: Finding, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of settings that cure the first cause of a finding.

    A learning rate goes by a factor of ten, as tables of rates do; clipping goes to the usual norm of the gradient; a
    weight decay down by a hundred, as one that does harm is far from the usual 0.01 to 0.1.

    Args:
        finding: an alarm, or one that is said for information and names a cure.
        settings: of the run, as they are now.

    Returns:
        The new values by name. Empty where the cure is in the code, where the setting is not there, or set so already.
    """
    name = setting_of(finding)
    if name is None or name not in settings:
        return {}
    now = settings[name]
    if now is None and name != "max_norm":
        return {}
    value = _MAKE[finding.causes[0]][1](now, finding)
    if isinstance(value, float):
        value = float(f"{value:.3g}")
    return {} if value == now else {name: value}


def setting_of(finding: Finding) -> str | None:
    """The setting that the cure of a finding is; None where it is in the code, or nothing is to be done."""
    if not finding.cure or not finding.causes or finding.causes[0] not in _MAKE:
        return None
    if finding.causes[0] is Cause.CLIPPED_AWAY and "norm" not in finding.numbers:
        return None
    return _MAKE[finding.causes[0]][0]


def why_not_applied(finding: Finding) -> str:
    """Why there is nothing to apply, in one line; empty where there is."""
    if finding.changes:
        return ""
    name = setting_of(finding)
    if name is None:
        return "this cure is not a setting: it is for you to write" if finding.cure else "there is nothing to cure"
    return f"this run cannot change {name}, or it is set so already; lab.watch(train, {name}=...) makes it a knob"
