"""The study of half precision that lies in the package: complete, made by the command, and what the page says of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import precision


def test_every_run_is_there_once() -> None:
    runs = precision.precisions()
    there = [(r.task, r.precision, r.learning_rate, r.seed) for r in runs.itertuples()]
    assert sorted(there) == sorted(precision.all_runs())
    assert precision.FILE.stat().st_size < 300_000
    assert precision.first_losses().shape == (len(runs), 3)
    for setup in precision.SETUPS.values():
        for arms in setup.arms.values():
            assert all(len(seeds) >= (6 if precision.WEIGHTS in arms else 10) for seeds in arms.values())


def test_pairs_begin_with_the_same_weights_and_the_same_batch() -> None:
    """The first loss is that of one forward pass: the two precisions differ by the rounding alone."""
    runs, losses = precision.precisions(), precision.first_losses()
    plain = losses[(runs.precision == "fp32") & (runs.task == "digits")][:, 0]
    half = losses[(runs.precision == "bf16") & (runs.task == "digits")][:, 0]
    np.testing.assert_allclose(plain, half, rtol=2e-2)


@pytest.mark.parametrize(("name", "rate"), [("movies", 3e-4), ("digits", 1e-3)])
@pytest.mark.slow
def test_a_run_of_it_begins_again_as_it_did(name: str, rate: float) -> None:
    setup, runs = precision.SETUPS[name], precision.precisions()
    here = (runs.task == name) & (runs.precision == "fp32") & np.isclose(runs.learning_rate, rate) & (runs.seed == 1)
    assert here.sum() == 1
    task = setup.task()
    settings = setup.settings.replace(learning_rate=rate)
    with one_thread():
        found = precision.train(
            setup.model(task, seed=1), task.batches(1, setup.batch), settings, setup.steps, 1, stop=3
        )
    np.testing.assert_allclose(found, precision.first_losses()[here.to_numpy()][0], rtol=5e-3)


@pytest.mark.slow
def test_rounded_weights_are_numbers_of_bf16_after_each_step() -> None:
    setup = precision.SETUPS["movies"]
    task = setup.task()
    model = setup.model(task, seed=0)
    settings = setup.settings.replace(learning_rate=3e-4)
    precision.train(model, task.batches(0, setup.batch), settings, setup.steps, 0, rounded=True, stop=1)
    for p in model.parameters():
        assert p.dtype == torch.float32 and torch.equal(p, p.to(torch.bfloat16).float())


def test_the_interval_of_the_ratio_holds_the_true_one_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        shared = draws.normal(size=10)
        a, b = 2 * (shared + 0.5 * draws.normal(size=10)), shared + 0.5 * draws.normal(size=10)
        _, low, high = precision.variance_ratio(a, b)
        held += low <= 4 <= high
    assert 925 <= held <= 975


def test_pairs_that_agree_narrow_the_interval() -> None:
    draws = np.random.default_rng(1)
    a, b = draws.normal(size=20), draws.normal(size=20)
    apart, close = precision.variance_ratio(a, b), precision.variance_ratio(a + 0.1 * b, a)
    assert close[2] / close[1] < apart[2] / apart[1]
    assert close[1] < close[0] < close[2]


def test_the_command_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(task: Any, name: str, kind: str, rate: float, seed: int) -> dict[str, Any]:
        row = {"task": name, "precision": kind, "learning_rate": rate, "seed": seed, "accuracy": math.nan}
        return row | {"test_loss": 0.5, "failed": True, "losses": [0.5]}

    monkeypatch.setattr(precision, "all_runs", lambda: [("movies", "fp32", 3e-4, seed) for seed in range(3)])
    monkeypatch.setattr(precision, "SETUPS", {"movies": SimpleNamespace(task=lambda: None)})
    monkeypatch.setattr(precision, "run", run)
    monkeypatch.setattr(sys, "argv", ["precision", "--out", str(tmp_path)])
    precision.main()
    old = precision.precisions()
    monkeypatch.setattr(precision, "FILE", tmp_path / "precision.npz")
    runs = precision.precisions()
    assert runs.dtypes.tolist() == old.dtypes.tolist() and runs.seed.tolist() == [0, 1, 2]
    assert runs.accuracy.isna().all() and precision.first_losses().tolist() == [[0.5]] * 3


def _percent(name: str, rate: float, other: str = "bf16") -> tuple[np.ndarray, np.ndarray]:
    plain, half = precision.paired(name, rate, other)
    assert plain.seed.tolist() == half.seed.tolist()
    return 100 * plain.accuracy.to_numpy(float), 100 * half.accuracy.to_numpy(float)


def test_what_the_page_says_of_it() -> None:
    best = np.subtract(*_percent("movies", 3e-4)[::-1])
    assert best.mean() == pytest.approx(0.1, abs=0.06) and abs(best).max() <= 1.5
    edge = precision.paired("movies", 6e-4)
    assert [int(part.failed.sum()) for part in edge] == [4, 4]
    assert edge[0].failed.tolist() == edge[1].failed.tolist()  # the same seeds
    plain, half = _percent("movies", 6e-5, precision.WEIGHTS)
    assert plain.mean() - half.mean() == pytest.approx(21.6, abs=0.1)
    assert (_percent("movies", 6e-5, precision.ROUNDED)[1] == half).all()  # the lost steps explain it
    plain, half = _percent("movies", 3e-4, precision.ROUNDED)
    assert half.mean() - plain.mean() == pytest.approx(-2.95, abs=0.01)
    assert sorted(abs(half - plain))[-2] <= 3.01 and half.min() == pytest.approx(50)
    for rate, ratio in {6e-5: 0.98, 3e-4: 1.03, 6e-4: 1.09}.items():
        plain, half = _percent("movies", rate)
        assert precision.variance_ratio(half, plain)[0] == pytest.approx(ratio, abs=0.01)
    plain, half = _percent("digits", 1e-3)
    assert np.abs(half - plain).max() <= 1.5
