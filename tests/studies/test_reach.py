"""The kept runs of notebook 08, and the loop that makes them anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import stablelab as lab
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import papers, reach


def test_every_readout_has_five_seeds_at_every_rate() -> None:
    runs = reach.runs()
    trained = runs[runs.learning_rate > 0]
    counts = trained.groupby(["readout", "learning_rate"]).size()
    assert len(counts) == len(reach.READOUTS) * len(reach.RATES) and (counts == len(reach.SEEDS)).all()
    assert {each.shape for each in trained.moved} == {(len(reach.LENGTHS), len(reach.layers()))}
    assert trained.failed.tolist() == (trained.accuracy <= 0.5).tolist()
    assert reach.FILE.stat().st_size < 200_000


@pytest.mark.slow
def test_the_first_steps_of_a_kept_run_are_what_the_loop_comes_to() -> None:
    runs = reach.runs()
    kept = runs[(runs.readout == "mean") & (runs.learning_rate == 4e-4) & (runs.seed == 1)].iloc[0]
    with one_thread():
        again = reach.run(papers.movie_reviews(), "mean", 4e-4, 1, steps=5)
    assert again["losses"] == pytest.approx(kept.losses[:5].tolist(), rel=1e-3)
    np.testing.assert_allclose(again["moved"][0], kept.moved[0], rtol=0.02)
    np.testing.assert_allclose(again["norms"], kept.norms[:5], rtol=0.02)


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in {"RATES": (1e-4,), "LENGTHS": (1, 2), "READOUTS": ("mean",), "SEEDS": range(1)}.items():
        monkeypatch.setattr(reach, name, small)
    task = lab.reviews("movies", train=24, validation=8, test=8, max_tokens=16)
    monkeypatch.setattr(reach, "movie_reviews", lambda: task)
    monkeypatch.setattr("sys.argv", ["reach", "--out", str(tmp_path)])
    reach.main()
    old = reach.runs()
    monkeypatch.setattr(reach, "FILE", tmp_path / "reach.npz")
    runs = reach.runs()
    assert list(runs) == list(old) and runs.learning_rate.tolist() == [0.0, 1e-4]
    assert np.isnan(runs.losses[0]).all() and runs.moved[1].shape == (2, len(reach.layers()))
    assert (runs.losses[1] > 0).all() and (runs.norms[1] > 0).all() and (np.diff(runs.moved[1], axis=0) > 0).all()
    assert runs.probes[0].shape == runs.probes[1].shape == (7,)
