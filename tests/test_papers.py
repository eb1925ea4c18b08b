"""The results that lie in the package, and the command that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

import stablelab as lab
from stablelab import papers
from stablelab.stability import Trial


@pytest.mark.parametrize("name", papers.EXPERIMENTS)
def test_all_runs_are_kept_with_their_provenance(name: str) -> None:
    kept = papers.kept(name)
    assert len(kept) == {"bert_rates": 60, "bert_map": 160}.get(name, 80)
    about = kept.description
    assert about["task"] == "movies" and about["model"].startswith("BERT MiniLM-L6")
    assert {"data", "weights", "numerics", "torch", "stablelab", "steps"} <= set(about)
    assert len((papers.KEPT / f"{name}.sqlite").read_bytes()) < 6000 * len(kept)


@pytest.mark.parametrize("name", papers.EXPERIMENTS)
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
    papers.EXPERIMENTS[name](Path("unused"))
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


def test_an_experiment_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="there is no experiment 'bert'; there are bert_short, .*bert_map"):
        papers.kept("bert")
    assert papers.main(["bert"]) == 2
    assert capsys.readouterr().err.startswith("error: there is no experiment 'bert'")
