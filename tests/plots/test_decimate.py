"""Thinning out keeps every bump."""

from __future__ import annotations

import numpy as np
import pytest

from stablelab.plots.decimate import keep


def _rows(count: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    rows[:, 0] = np.arange(1, count + 1)
    return rows


def test_few_points_all_stay() -> None:
    assert keep(_rows(100), limit=100).tolist() == list(range(100))


def test_no_points() -> None:
    assert len(keep(_rows(0))) == 0


def test_single_spikes_and_the_ends_survive() -> None:
    rows = _rows(50_000)
    rows[31_234, 1], rows[777, 3] = 90.0, -90.0
    kept = keep(rows, limit=4000)
    assert len(kept) <= 4000
    assert {0, 31_234, 777, 49_999} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    for column in (1, 3):
        assert rows[kept, column].max() == rows[:, column].max()
        assert rows[kept, column].min() == rows[:, column].min()


def test_every_stretch_keeps_its_bumps() -> None:
    rows = _rows(10_000)
    kept = keep(rows, limit=402, columns=(1,))
    assert len(kept) > 350
    assert np.diff(kept).max() <= 2 * (10_000 // 200)


def test_values_that_are_not_finite_do_not_hide_the_others() -> None:
    rows = _rows(10_000)
    rows[::2, 1] = np.nan
    rows[5001, 1] = np.inf
    rows[7001, 1] = 50.0
    assert 7001 in keep(rows, limit=400)


def test_too_small_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        keep(_rows(10), limit=5)
