"""The kept runs of notebook 08, and the loop that makes them anew."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_the_first_steps_of_a_kept_run_are_what_the_loop_comes_to() -> None:
    runs = reach.runs()
    kept = runs[(runs.readout == "mean") & (runs.learning_rate == 4e-4) & (runs.seed == 1)].iloc[0]
    with one_thread():
        again = reach.run(papers.movie_reviews(), "mean", 4e-4, 1, steps=5)
    assert again["losses"] == pytest.approx(kept.losses[:5].tolist(), rel=1e-3)
    np.testing.assert_allclose(again["moved"][0], kept.moved[0], rtol=0.02)
    np.testing.assert_allclose(again["norms"], kept.norms[:5], rtol=0.02)
