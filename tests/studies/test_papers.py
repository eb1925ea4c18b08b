"""The results that lie in the package, and the command that made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stablelab as lab
from stablelab.stability import Trial
from stablelab.studies import papers


@pytest.mark.parametrize("name", papers.EXPERIMENTS)
def test_all_runs_are_kept_with_their_provenance(name: str) -> None:
    kept = papers.kept(name)
    sizes = {"bert_rates": 60, "bert_map": 160, "bert_crossing": 225}
    assert len(kept) == (40 if name.endswith("schedule") else sizes.get(name, 80))
    about = kept.description
    assert about["task"] == "movies" and about["model"].startswith("BERT MiniLM-L6")
    assert {"data", "weights", "numerics", "torch", "stablelab", "steps"} <= set(about)
    assert len((papers.KEPT / f"{name}.sqlite").read_bytes()) < 6000 * len(kept)


@pytest.mark.parametrize("name", ["bert_short", "bert_long", "bert_rates", "bert_map"])
@pytest.mark.slow
def test_they_are_the_runs_that_the_command_would_make(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Trial, ...]] = []

    def sweep(model: object, task: lab.data.Task, grid: dict, *, seeds: range, steps: int, **settings: object) -> None:
        from stablelab.stability.sweeps.grid import checked_grid, trials_of
        from stablelab.training import Settings

        settings = {k: v for k, v in settings.items() if k not in ("batch_size", "file")}
        base = Settings().replace(**settings)
        made.append(trials_of(checked_grid(grid, base), base, [(s, s) for s in seeds], [None]))
        assert task.fingerprint == papers.kept(name).description["data"]
        assert steps == papers.kept(name).description["steps"]

    monkeypatch.setattr("stablelab.sweeping.sweep", sweep)
    papers.EXPERIMENTS[name](file=Path("unused"))
    assert papers.kept(name).trials == made[0]


def test_on_a_gpu_and_on_a_cpu_the_same_runs_come_to_the_same() -> None:
    """The map was computed on a GPU, all runs at once; some of its runs a CPU had done before, one by one."""
    on_gpu, on_cpu = papers.kept("bert_map"), papers.kept("bert_rates")
    assert "H200" in on_gpu.description["computed_by"]
    known = dict(zip(on_gpu.trials, on_gpu.outcomes, strict=True))
    pairs = [(known[t], o) for t, o in zip(on_cpu.trials, on_cpu.outcomes, strict=True) if t in known]
    assert len(pairs) == 15  # of five rates three seeds each
    for gpu, cpu in pairs:
        assert gpu.failed == cpu.failed
        assert gpu.start_loss == pytest.approx(cpu.start_loss, abs=1e-5)
        assert gpu.losses[:3] == pytest.approx(cpu.losses[:3], abs=1e-3)
    calm = [(gpu, cpu) for (gpu, cpu) in pairs if abs(cpu.losses).max() < 1]
    assert len(calm) >= 9
    for gpu, cpu in calm:
        assert gpu.logits == pytest.approx(cpu.logits, abs=1e-2)


@pytest.mark.slow
def test_all_heads_are_crossed_with_all_orders_and_the_diagonal_is_the_map() -> None:
    kept, known = papers.kept("bert_crossing"), papers.kept("bert_map").where(learning_rate=3e-4)
    pairs = [(trial.init, trial.order) for trial in kept.trials]
    assert sorted(pairs) == [(i, j) for i in range(15) for j in range(15)]
    for seed in range(15):
        outcome = kept.outcomes[pairs.index((seed, seed))]
        assert outcome.accuracy == pytest.approx(known.outcomes[seed].accuracy, abs=0.006)


def test_the_study_is_at_the_learning_rate_that_is_best_for_each_arm() -> None:
    """The highest mean accuracy of twenty seeds; of two that are equal the lower rate; nowhere the end of the grid."""
    arm = ["steps", "new_layers", "warmup_steps", "correction"]
    means = papers.study_rates().groupby([*arm, "learning_rate"]).accuracy.agg(["mean", "size"]).reset_index()
    assert (means["size"] == 20).all() and len(means) == 248
    assert len(means.groupby(arm)) == 24
    for (steps, layers, warmup, correction), rows in means.groupby(arm):
        best = float(rows.learning_rate[rows["mean"].idxmax()])
        tuned = papers.TUNED[steps, layers, correction == "on"][int(warmup > 0)]
        assert tuned == pytest.approx(best) and rows.learning_rate.min() < best < rows.learning_rate.max()


def test_the_runs_of_the_study_are_among_those_of_all_its_rates() -> None:
    rates = papers.study_rates()
    rows = rates[(rates.steps == 120) & (rates.new_layers == 1) & (rates.correction == "schedule")]
    rows = rows[rows.learning_rate == 1e-5]  # which is best with warm-up and without
    kept = papers.kept("study_120_new_layer_schedule").frame()
    both = kept.merge(rows, left_on=["warmup_steps", "init"], right_on=["warmup_steps", "seed"])
    assert len(both) == 40
    assert both.accuracy_x.to_numpy() == pytest.approx(both.accuracy_y.to_numpy(), abs=1e-3)


def test_gradients_of_failed_runs_are_kept_beside_those_of_good_ones() -> None:
    rows, norms, layers = papers.study_gradients()
    assert norms.shape == (len(rows), 20, 8) and layers[0] == "head" and layers[-1] == "embeddings"
    recipe = (
        (rows.correction == "off") & (rows.learning_rate == 1e-4) & (rows.warmup_steps == 0) & (rows.new_layers == 0)
    )
    assert recipe.sum() == 20 and 0 < rows.failed[recipe].sum() < 20
    kept = papers.kept("bert_short").where(bias_correction=False, warmup_steps=0)
    whole = np.sqrt((norms[recipe] ** 2).sum(axis=2))  # of all layers together
    assert rows.seed[recipe].tolist() == [trial.init for trial in kept.trials]
    for row, outcome in zip(whole, kept.outcomes, strict=True):
        assert row[:5] == pytest.approx(outcome.norms[:5], rel=1e-2)


@pytest.fixture(scope="module")
def runs() -> list[tuple[Any, Trial, dict[str, Any]]]:
    """All that ``study_rates`` consists of."""
    return list(papers.study_runs())


@pytest.mark.slow
def test_the_command_makes_the_very_runs_of_the_table_of_all_rates(
    runs: list[tuple[Any, Trial, dict[str, Any]]],
) -> None:
    names = ["steps", "new_layers", "warmup_steps", "correction", "learning_rate", "seed"]
    kept = papers.study_rates()[names].itertuples(index=False, name=None)
    told = [tuple(known[name] for name in names) for *_, known in runs]
    assert sorted((*a, f"{rate:.3g}", seed) for *a, rate, seed in told) == sorted(
        (*a, f"{rate:.3g}", seed) for *a, rate, seed in kept
    )
    for (trainable, trial, _), (steps, _, warmup, correction, rate, seed) in list(zip(runs, told, strict=True))[::97]:
        assert (trainable.total_steps, trial.settings.warmup_steps) == (steps, warmup)
        assert (trial.init, trial.order, trial.settings.learning_rate) == (seed, seed, rate)
        assert trial.settings.bias_correction == (correction != "off")
        assert (trainable.rate_factor is not None) == (correction == "schedule")


@pytest.mark.slow
def test_the_table_of_all_rates_is_made_anew_and_goes_on_where_it_stopped(
    runs: list[tuple[Any, Trial, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three steps of three runs; their first two gradients are those that are kept, layer by layer."""
    chosen: list[tuple[Any, Trial, dict[str, Any]]] = []
    for trainable, trial, known in runs:
        start = (known["steps"], known["warmup_steps"], known["learning_rate"], known["seed"]) == (40, 0, 1e-4, 3)
        if start and known["new_layers"] == 0:
            chosen.append((replace(trainable, total_steps=3), trial, known))
    assert [known["correction"] for *_, known in chosen] == ["on", "off", "schedule"]
    monkeypatch.setattr(papers, "study_runs", lambda: iter(chosen[:1]))
    papers.make_study_rates(tmp_path, 1)
    monkeypatch.setattr(papers, "study_runs", lambda: iter(chosen))
    assert papers.main(["study_rates", "--out", str(tmp_path), "--jobs", "1"]) == 0
    assert "study_rates: 1 of 3 runs done" in capsys.readouterr().out

    old_rows, old_norms, old_layers = papers.study_gradients()
    monkeypatch.setattr(papers, "KEPT", tmp_path)
    rows, norms, layers = papers.study_gradients()
    assert rows.correction.tolist() == ["off", "on", "schedule"] and layers == old_layers
    assert rows.dtypes.astype(str).to_dict() == old_rows.dtypes.astype(str).to_dict()
    assert norms.shape == (3, 20, 8) and np.isnan(norms[:, 3:]).all()
    keys = list(rows.columns[:6])
    for row, mine in zip(rows.itertuples(index=False), norms, strict=True):
        where = np.logical_and.reduce([old_rows[name] == getattr(row, name) for name in keys])
        assert where.sum() == 1
        np.testing.assert_allclose(mine[:2], old_norms[where][0][:2], rtol=2e-2)
    assert (rows.validation_loss < 0.8).all() and ((rows.accuracy > 0.3) & (rows.accuracy < 0.9)).all()


def test_an_experiment_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="there is no experiment 'bert'; there are bert_short, .*bert_map, "):
        papers.kept("bert")
    assert papers.main(["bert"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no experiment 'bert'")


@pytest.mark.slow
def test_a_small_cut_of_an_experiment_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task, grid = lab.reviews("movies", train=24, validation=8, test=8, max_tokens=16), {"learning_rate": [1e-4, 1e-3]}
    small = lambda file: lab.sweep(lab.bert, task, grid, steps=1, file=file)  # noqa: E731
    monkeypatch.setitem(papers.EXPERIMENTS, "bert_short", small)
    assert papers.main(["bert_short", "--out", str(tmp_path), "--jobs", "1"]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / 'bert_short.sqlite'}\n")
    monkeypatch.setattr(papers, "KEPT", tmp_path)
    runs = papers.kept("bert_short").frame()
    assert set(runs.learning_rate) == {1e-4, 1e-3} and runs.accuracy.between(0, 1).all()
