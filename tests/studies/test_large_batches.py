"""The study of large batches that lies in the package: complete, made by the command, and what the page says of it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import large_batches, precision


@pytest.fixture(scope="module")
def task() -> Any:
    return large_batches.movies()


def test_every_batch_and_optimizer_has_its_seeds_at_the_rate_that_was_tuned() -> None:
    runs, tuned = large_batches.large_batches(), large_batches.tuning()
    counts = runs.groupby(["optimizer", "batch", "power"]).size()
    assert len(counts) == len(large_batches.BATCHES) * len(large_batches.OPTIMIZERS)
    assert (counts == len(large_batches.SEEDS)).all()
    losses = tuned.groupby(["optimizer", "batch", "power"]).loss.mean().fillna(math.inf)
    for optimizer, batch, power in counts.index:
        there = losses[optimizer, batch]
        assert power == there.idxmin() or there[power] <= min(there[power - 1], there[power + 1])
        assert {power - 1, power + 1} <= set(there.index)
    assert set(tuned.seed).isdisjoint(runs.seed)
    assert large_batches.FILE.stat().st_size < 300_000
    assert large_batches.first_losses().shape == (len(runs), 3)


@pytest.mark.slow
def test_all_batches_see_the_same_examples_once(task: Any) -> None:
    for batch in large_batches.BATCHES:
        batches = large_batches.OneEpoch(task, 3, batch)
        assert batches.per_epoch * batch == len(task.train) == large_batches.EXAMPLES
        assert sorted(batches.order.tolist()) == list(range(len(task.train)))
    small, large = (large_batches.OneEpoch(task, 3, batch) for batch in (16, 64))
    assert torch.equal(torch.cat([small(k)[1] for k in range(4)]), large(0)[1])


@pytest.mark.slow
def test_the_steps_of_a_run_are_those_that_lie_in_the_package(task: Any) -> None:
    runs = large_batches.large_batches()
    here = (runs.optimizer == "adamw") & (runs.batch == 16) & (runs.seed == 1)
    assert here.sum() == 1
    rate = 2.0 ** int(runs.power[here].iloc[0]) * large_batches.UNIT
    model, batches = large_batches.first_bert(task, 1), large_batches.OneEpoch(task, 1, 16)
    settings = large_batches.SETTINGS.replace(optimizer="adamw", learning_rate=rate)
    with one_thread():
        found = precision.train(model, batches, settings, batches.per_epoch, 1, stop=3)
    np.testing.assert_allclose(found, large_batches.first_losses()[here.to_numpy()][0], rtol=2e-2)


def test_what_is_not_trained_stays(task: Any) -> None:
    model = large_batches.first_bert(task, 0)
    names = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert names == ["bert.embeddings.word_embeddings.weight"]
    inputs, _ = task.collate(torch.arange(4))
    with torch.no_grad():
        assert torch.equal(model.train()(**inputs).logits, model(**inputs).logits)  # no dropout


def test_the_search_ends_where_both_neighbours_are_worse() -> None:
    asked: list[int] = []

    def score(at: int) -> float:
        asked.append(at)
        return math.nan if at > 6 else (at - 3) ** 2

    assert large_batches.tune(score, 0) == 3
    assert large_batches.tune(score, 6) == 3
    assert set(asked) <= set(range(-1, 8))


def test_the_rules_in_powers_of_two() -> None:
    assert [large_batches.scaled_power(1, batch, "linear") for batch in large_batches.BATCHES] == [1, 3, 5, 7]
    assert [large_batches.scaled_power(1, batch, "square root") for batch in large_batches.BATCHES] == [1, 2, 3, 4]


def test_the_command_tunes_and_then_runs_at_the_tuned_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[Any, ...]] = []

    def run(task: Any, purpose: str, optimizer: str, batch: int, power: int, seed: int) -> dict[str, Any]:
        done.append((purpose, optimizer, batch, power, seed))
        loss = abs(power - 2) + 0.1
        return {"purpose": purpose, "optimizer": optimizer, "batch": batch, "power": power, "seed": seed, "loss": loss}

    monkeypatch.setattr(large_batches, "run", run)
    monkeypatch.setattr(large_batches, "movies", lambda: None)
    monkeypatch.setattr(large_batches, "digits", lambda: None)
    monkeypatch.setattr(large_batches, "noise_along", lambda *_: iter([{"purpose": "noise", "noise_scale": 1.0}]))
    monkeypatch.setattr(sys, "argv", ["large_batches", "--out", str(tmp_path)])
    large_batches.main()
    assert len(done) == len(set(done))  # the search asks for many a rate twice
    with np.load(tmp_path / "large_batches.npz") as kept:
        assert len(kept["run_power"]) == 5 * 8 and set(kept["run_power"]) == {2}
        assert len(kept["noise_noise_scale"]) == 6


def test_what_the_page_says_of_accuracy_and_rates() -> None:
    runs = large_batches.large_batches()
    assert not runs.failed.any()
    table = 100 * runs.pivot(index="seed", columns=["optimizer", "batch"], values="accuracy")
    means = table.mean()
    assert means["adamw", 16] == pytest.approx(72.7, abs=0.1)
    lost = {key: (table[key[0], 16] - table[key]).mean() for key in table.columns}
    for batch, points in {64: 0.9, 256: 2.2, 1024: 10.5}.items():
        assert lost["adamw", batch] == pytest.approx(points, abs=0.1)
    for batch, points in {64: 2.2, 256: 2.4, 1024: 6.6}.items():
        assert lost["lamb", batch] == pytest.approx(points, abs=0.1)
    assert (table["lamb", 1024] - table["adamw", 1024]).mean() == pytest.approx(3.6, abs=0.1)
    powers = runs.groupby(["optimizer", "batch"]).power.first()
    assert powers["adamw"].tolist() == [0, 1, 2, 2]
    assert powers["lamb"].tolist() == [3, 5, 6, 6]


def test_what_the_page_says_of_the_noise_scale() -> None:
    found = large_batches.noise_scales()
    movies = found[(found.task == "movies") & (found.step > 0)]
    signal = (1 / movies.noise_scale).groupby(movies.seed).mean().to_numpy(float)
    half = 4.3027 * signal.std(ddof=1) / math.sqrt(3)  # Student's t with two degrees of freedom
    pooled = [1 / signal.mean(), 1 / (signal.mean() + half), 1 / (signal.mean() - half)]
    assert pooled == pytest.approx([172, 125, 275], abs=1)
    digits = found[found.task == "digits"].groupby("step")
    assert digits.noise_scale.max()[0] < 40 < digits.noise_scale.min()[4] < 85 < digits.noise_scale.min()[16]
    assert digits.low.min()[60] > 480
