"""Corruption errors, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stablelab.stability import corruption_errors, mean_corruption_error

E = [[0.1, 0.2, 0.3], [0.2, 0.4, 0.9]]
REFERENCE = [[0.2, 0.4, 0.6], [0.3, 0.6, 0.6]]


def test_ce_is_a_fraction_of_sums_and_mce_their_mean() -> None:
    assert corruption_errors(E, REFERENCE).tolist() == pytest.approx([0.6 / 1.2, 1.5 / 1.5])
    assert mean_corruption_error(E, REFERENCE) == pytest.approx(0.75)
    assert mean_corruption_error(REFERENCE, REFERENCE) == pytest.approx(1)


def test_the_relative_one_takes_the_clean_errors_off() -> None:
    # (0.6 - 3 · 0.05) / (1.2 - 3 · 0.1) and (1.5 - 0.15) / (1.5 - 0.3)
    assert corruption_errors(E, REFERENCE, 0.05, 0.1).tolist() == pytest.approx([0.45 / 0.9, 1.35 / 1.2])
    assert mean_corruption_error(E, REFERENCE, 0.05, 0.1) == pytest.approx((0.5 + 1.125) / 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            (E, [[0.0, 0, 0], [0.1, 0.2, 0.3]]),
            r"^corruption 0 has no corruption error: the reference model makes no mis",
        ),
        (
            (E, REFERENCE, 0.1, 0.5),
            r"^corruption 0 has no .*: the reference model is no worse under it than without; le",
        ),
        ((E, REFERENCE, 0.1), r"^give both clean and reference_clean, for the relative corruption error, or neither$"),
        ((E, REFERENCE[:1]), r"^errors \(2, 3\) and reference \(1, 3\) must both be \(corruptions, severities\)$"),
        ((E[0], REFERENCE[0]), r"^errors \(3,\) and reference \(3,\) must both be"),
        (([[10.0, 20.0]], [[20.0, 30.0]]), r"^errors must hold error rates from 0 to 1$"),
        ((E, [[np.nan] * 3] * 2), r"^reference must hold error rates from 0 to 1$"),
        (([], []), r"^errors must hold error rates from 0 to 1$"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mean_corruption_error(*arguments)


def test_the_corruption_is_called_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"^'case' has no corruption error"):
        corruption_errors([[0.1], [0.1]], [[0.1], [0.0]], names=("typos", "case"))
