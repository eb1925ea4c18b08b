"""Numbers, settings and lines are written in one way."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stablelab import _formatting as formatting


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.05, "0.05"),
        (3e-4, "3e-4"),
        (1.25e-3, "1.25e-3"),
        (1234.5, "1230"),
        (1000, "1000"),
        (2e7, "2e7"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers(value: float, written: str) -> None:
    assert formatting.format_number(value) == written


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0, "0 %"), (0.003, "0.3 %"), (0.91, "91 %"), (0.998, "99.8 %"), (1.0, "100 %"), (math.nan, "–")],
)
def test_shares(share: float, written: str) -> None:
    assert formatting.format_percent(share) == written


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("max_norm", None, "off"),
        ("nesterov", True, "on"),
        ("learning_rate", 3e-4, "3e-4"),
        ("optimizer", "adam", "adam"),
        ("batch_size", 100, "100"),
        ("unfrozen", None, "all"),
        ("unfreeze_every", 20, "every 20 steps"),
        ("rotation", 15, "15°"),
    ],
)
def test_settings(name: str, value: Any, written: str) -> None:
    assert formatting.format_setting(name, value) == written


def test_a_setting_is_called_what_it_is() -> None:
    assert formatting.setting_label("max_norm") == "clip threshold"
    assert formatting.setting_label("learning_rate") == "learning rate"


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (12_000, "3 h 20 min")]
)
def test_durations(seconds: float, written: str) -> None:
    assert formatting.format_duration(seconds) == written


def test_long_messages_are_one_line() -> None:
    line = formatting.one_line("a\n b\t" + "c" * 999, 240)
    assert len(line) == 240 and line.startswith("a b c") and line.endswith("…")
