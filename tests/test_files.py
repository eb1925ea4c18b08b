"""Values from a file: whole, of the right types, or refused in one line that says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from stablelab._files import FormatError, as_declared, seal, unseal


@dataclass(frozen=True)
class Inner:
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    name: str
    count: int
    on: bool
    rate: float | None
    inner: Inner
    table: dict[str, int]
    most: float = 1.0


RIGHT = {"name": "a", "count": 2, "on": True, "rate": 1, "inner": {"rates": [1, 0.5]}, "table": {"x": 1}}


def test_plain_values_become_what_they_were() -> None:
    assert as_declared(Outer, RIGHT, "it") == Outer("a", 2, True, 1, Inner((1, 0.5)), {"x": 1})
    assert as_declared(Outer, {**RIGHT, "rate": None, "most": 2}, "it").most == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "it.name is 3; it must be str"),
        ({"count": True}, "it.count is True; it must be int"),
        ({"count": 2.0}, "it.count is 2.0; it must be int"),
        ({"on": 1}, "it.on is 1; it must be bool"),
        ({"rate": "1e-3"}, "it.rate is '1e-3'; it must be float"),
        ({"rate": 10**400}, f"it.rate is 1{'0' * 39}…; it must be float"),
        ({"inner": {"rates": [1, "2"]}}, "it.inner.rates is '2'; it must be float"),
        ({"inner": {"rates": 1}}, "it.inner.rates is 1; it must be tuple"),
        ({"inner": None}, "it.inner is None; it must be dict"),
        ({"table": {"x": None}}, "it.table is None; it must be int"),
        ({"nmae": "a"}, "it has an unknown 'nmae'"),
    ],
)
def test_another_type_is_refused_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        as_declared(Outer, {**RIGHT, **change}, "it")
    assert str(caught.value) == message


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="^it has no 'count'$"):
        as_declared(Outer, {name: value for name, value in RIGHT.items() if name != "count"}, "it")


def test_a_seal_holds_what_is_said_and_not_how_it_is_laid_out() -> None:
    sealed = seal(2, {"b": [0.1, None], "a": "ä"})
    text = str(sealed).replace("'", '"').replace("None", "null")
    assert unseal(2, text, "file") == {"b": [0.1, None], "a": "ä"}
    for broken, message in [
        (text.replace("0.1", "0.2"), "file is not what was written"),
        (text.replace('"format": 2', '"format": 3'), "file is not what was written"),
        (text[:-1], "file cannot be read"),
        ('"format"', "file cannot be read"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            unseal(2, broken, "file")
    with pytest.raises(FormatError, match="^file has format 2; this version of stablelab reads 3$"):
        unseal(3, text, "file")
