"""The two studies of notebook 07 that lie in the package, and the runs that make them anew."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stablelab import digits
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import large_rates


@pytest.fixture(scope="module")
def task() -> Any:
    return digits()


def test_every_network_was_run_at_every_rate_with_several_seeds() -> None:
    runs, starts = large_rates.large_rates(), large_rates.starts()
    kept = {("rates", *run) for run in runs[["norm", "optimizer", "learning_rate", "seed"]].itertuples(index=False)}
    kept |= {("starts", *run) for run in starts[["task", "weights", "learning_rate", "seed"]].itertuples(index=False)}
    assert kept <= {(study, *what) for study, what in large_rates.all_runs()}
    assert len(kept) == len(runs) + len(starts)
    counts = runs.groupby(["norm", "optimizer", "learning_rate"]).size()
    finer, controls = sum(map(len, large_rates.FINE_RATES.values())), 2 * 2 * 3
    assert len(counts) == 3 * 2 * len(large_rates.RATES) + finer + controls
    assert min(counts) >= 5
    assert large_rates.kept_losses().shape == (len(runs), large_rates.STEPS)
    assert large_rates.FILE.stat().st_size < 200_000
    assert "torch" in large_rates.made_by()


@pytest.mark.parametrize("norm", large_rates.NORMS)
@pytest.mark.slow
def test_the_first_steps_of_its_runs_are_what_the_loop_comes_to(task: Any, norm: str) -> None:
    runs, rate = large_rates.large_rates(), 2.2e-2
    here = (runs.norm == norm) & (runs.optimizer == "SGD") & (runs.learning_rate == rate) & (runs.seed == 1)
    assert here.sum() == 1
    with one_thread():
        network = large_rates.first_network(task, norm, 1)
        losses = list(itertools.islice(large_rates.training_losses(network, task, "SGD", rate, 1), 3))
    assert losses == pytest.approx(large_rates.kept_losses()[here][0, :3].tolist(), rel=2e-3)


@pytest.mark.slow
def test_without_a_norm_the_network_begins_as_nearly_the_same_function(task: Any) -> None:
    inputs, _ = task.batches(0, 128)(0)
    with torch.no_grad():
        normed, none, grouped = (large_rates.first_network(task, norm, 0)(inputs) for norm in large_rates.NORMS)
    assert torch.nn.functional.cosine_similarity(normed, none).mean() > 0.95
    assert torch.nn.functional.cosine_similarity(normed, grouped).mean() < 0.95


@pytest.mark.slow
def test_estimated_statistics_are_those_of_the_batches_and_the_rest_stays(task: Any) -> None:
    network = large_rates.first_network(task, "batch norm", 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    large_rates.estimate_statistics(network, task, 0, pictures=64)
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed and all("running" in name or "tracked" in name for name in changed)
    with torch.no_grad():
        means = [network.conv1(task.batches(0, 32)(k)[0]).mean(dim=(0, 2, 3)) for k in range(2)]
    np.testing.assert_allclose(network.bn1.running_mean, torch.stack(means).mean(dim=0), atol=1e-5)
    assert network.training and network.bn1.momentum == 0.1


@pytest.mark.parametrize("control", [large_rates.CONTROL, large_rates.REVERSE])
def test_a_control_holds_one_part_of_the_network_at_a_gentle_rate(task: Any, control: str) -> None:
    network = large_rates.first_network(task, "batch norm", 0)
    fast, slow = large_rates.optimizer_of(network, control, 10.0).param_groups
    assert (fast["lr"], slow["lr"]) == (10.0, large_rates.GENTLE)
    kernels, others = (fast, slow) if control == large_rates.CONTROL else (slow, fast)
    assert all(kernel.ndim == 4 for kernel in kernels["params"])
    assert all(each.ndim < 4 for each in others["params"])
    assert len(kernels["params"]) + len(others["params"]) == len(list(network.parameters()))


def test_patches_are_balanced_and_those_of_their_seed() -> None:
    task = large_rates.photograph_patches(train=40, validation=40, test=40, seed=3)
    assert len(task.classes) == 8 and task.train.counts() == dict.fromkeys(task.classes, 5)
    same = large_rates.photograph_patches(train=40, validation=40, test=40, seed=3)
    assert same.fingerprint == task.fingerprint
    assert large_rates.photograph_patches(train=40, seed=4).fingerprint != task.fingerprint


def test_the_command_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [("rates", ("none", "SGD", 1e-3, seed)) for seed in range(3)]
    runs += [("starts", ("digits", "random", 1e-3, seed)) for seed in range(2)]

    def row(study: str, learning_rate: float, seed: int) -> dict[str, Any]:
        return {"study": study, "seed": seed, "learning_rate": learning_rate, "accuracy": 0.5, "losses": [0.5]}

    monkeypatch.setattr(large_rates, "all_runs", lambda: runs)
    monkeypatch.setattr(large_rates, "run", lambda task, norm, optimizer, *how: row("rates", *how))
    monkeypatch.setattr(large_rates, "start_run", lambda name, weights, *how: row("starts", *how))
    monkeypatch.setattr(sys, "argv", ["large_rates", "--out", str(tmp_path)])
    large_rates.main()
    monkeypatch.setattr(large_rates, "FILE", tmp_path / "large_rates.npz")
    assert large_rates.large_rates().seed.tolist() == [0, 1, 2] and large_rates.starts().seed.tolist() == [0, 1]
    assert large_rates.large_rates().dtypes.tolist() == [np.int64, np.float64, np.float32]
    assert large_rates.kept_losses().tolist() == [[0.5]] * 3
