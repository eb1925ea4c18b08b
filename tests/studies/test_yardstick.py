"""The yardstick's results that lie in the package, and the loop that makes them anew."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stablelab as lab
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import papers, yardstick


@pytest.fixture(scope="module")
def task() -> Any:
    return papers.movie_reviews()


def test_every_method_has_twenty_seeds_at_every_rate() -> None:
    runs = yardstick.yardstick()
    assert list(dict.fromkeys(runs.method)) == list(yardstick.METHODS)
    counts = runs.groupby(["method", "learning_rate"]).size().unstack()
    assert (counts[list(yardstick.RATES)] == len(papers.SEEDS)).all().all()
    assert yardstick.right().shape == (len(runs), 200)
    assert runs.accuracy.to_numpy() == pytest.approx(yardstick.right().mean(axis=1), abs=1e-6)
    assert runs.failed.tolist() == (runs.accuracy <= 0.5).tolist()
    assert yardstick.FILE.stat().st_size < 200_000


def test_its_plain_runs_are_those_of_the_map() -> None:
    runs, kept = yardstick.yardstick(), papers.kept("bert_map")
    plain = runs[(runs.method == "plain") & runs.learning_rate.isin([1e-4, 3e-4])]
    known = {(t.settings.learning_rate, t.init): o for t, o in zip(kept.trials, kept.outcomes, strict=True)}
    assert len(plain) == 40
    for run in plain.itertuples():
        assert run.accuracy == pytest.approx(known[run.learning_rate, run.seed].accuracy, abs=0.006)


@pytest.mark.parametrize(
    "name", ["no bias correction", "layer decay 0.8", "L2-SP 1", "SAM 0.05", "label smoothing 0.1", "clipping 0.3"]
)
@pytest.mark.slow
def test_the_first_steps_of_its_runs_are_what_the_loop_comes_to(task: Any, name: str) -> None:
    runs, method, seed = yardstick.yardstick(), yardstick.METHODS[name], 1
    here = (runs.method == name) & (runs.learning_rate == 3e-4) & (runs.seed == seed)
    kept, plain = (
        yardstick.first_losses()[((runs.method == which) & (runs.learning_rate == 3e-4) & (runs.seed == seed))][0]
        for which in (name, "plain")
    )
    assert here.sum() == 1 and abs(kept - plain).max() > 1e-4
    with one_thread():
        loop = yardstick.training_losses(yardstick.model_of(task, method, seed), task, method, 3e-4, seed)
        losses = list(itertools.islice(loop, 3))
    assert losses == pytest.approx(kept[:3].tolist(), rel=1e-3)


@pytest.mark.slow
def test_mixout_without_chance_and_an_average_without_memory_change_nothing(task: Any) -> None:
    made = []
    for method in (yardstick.Method(steps=1), yardstick.Method(steps=1, mixout=1e-9, ema=0.0)):
        model = yardstick.model_of(task, method, 0)
        with one_thread():
            assert len(list(yardstick.training_losses(model, task, method, 1e-4, 0))) == 1
        made.append({name: theta.detach().clone() for name, theta in model.named_parameters()})
    one, other = made
    for name, theta in one.items():
        if not name.endswith("key.bias"):  # whose gradient is nothing but rounding
            np.testing.assert_allclose(theta, other[name], atol=2e-5)


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {"plain": yardstick.Method(steps=2), "L2-SP 1": yardstick.Method(steps=2, l2_sp=1.0)}
    task = lab.reviews("movies", train=24, validation=8, test=8, max_tokens=16)
    small = {"METHODS": cut, "RATES": (3e-4,), "SEEDS": range(1), "movie_reviews": lambda: task}
    for name, value in small.items():
        monkeypatch.setattr(yardstick, name, value)
    monkeypatch.setattr("sys.argv", ["yardstick", "--out", str(tmp_path)])
    yardstick.main()
    old = yardstick.yardstick()
    monkeypatch.setattr(yardstick, "FILE", tmp_path / "yardstick.npz")
    runs = yardstick.yardstick()
    assert runs.dtypes.tolist() == old.dtypes.tolist() and runs.method.tolist() == list(cut)
    assert yardstick.first_losses().shape == (2, 2)
    assert runs.start_loss[0] == runs.start_loss[1] and (runs.start_loss != runs.validation_loss).all()
