"""Any value for any setting: plain numbers that a file can hold, or one line that names the setting."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from support.fuzz import refused, search

from stablelab.training import Settings

NAMES = [field.name for field in fields(Settings)]
WORDS = [value for value in vars(Settings()).values() if isinstance(value, str)]
usual = st.one_of(st.floats(0, 1), st.integers(0, 1000), st.booleans(), st.none(), st.sampled_from(WORDS))
numbers = st.one_of(st.floats(), st.integers(), st.fractions(), st.sampled_from([10**400, -(10**5000), 2**53 + 1]))
scalars = st.one_of(
    st.floats(0, 1, width=32).map(np.float32),
    st.floats(0, 1, width=16).map(np.float16),
    st.integers(0, 9).map(np.int64),
    st.booleans().map(np.bool_),
    st.sampled_from(WORDS).map(np.str_),
    st.floats(0, 1).map(torch.tensor),
    st.integers(0, 9).map(lambda n: torch.tensor(n, dtype=torch.int16)),
    st.floats(0, 1).map(np.array),
)
odd = st.one_of(
    st.text(max_size=5),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.decimals(),
    st.lists(st.floats(0, 1), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([object(), int, print, math, torch.ones(3), torch.empty((), device="meta"), np.zeros(2), ...]),
)
given = st.dictionaries(st.sampled_from(NAMES), usual | numbers | scalars | odd, min_size=1, max_size=3)


@pytest.mark.slow
def test_any_setting_is_a_plain_number_or_refused_by_name(record_property: Callable[[str, object], None]) -> None:
    def attempt(changes: dict[str, Any]) -> bool:
        made: list[Settings] = []
        if refused(lambda: made.append(Settings().replace(**changes))):
            try:
                Settings(**changes)
            except ValueError as error:
                assert any(name in str(error) for name in changes), error
            return True
        values = made[0].to_dict()
        assert all(type(value) in (int, float, bool, str, type(None)) for value in values.values()), values
        assert Settings.from_dict(json.loads(json.dumps(values, allow_nan=False))) == made[0]
        for name, value in changes.items():
            if isinstance(value, int | float | Fraction) and not isinstance(value, bool):
                assert values[name] == value or math.isclose(values[name], value)
        return False

    search("settings", given, attempt, 800, record_property)
