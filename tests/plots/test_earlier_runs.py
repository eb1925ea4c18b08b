"""Finished runs stay to compare with."""

from __future__ import annotations

import numpy as np
import pytest
from support.helpers import until

from stablelab.plots import earlier_runs
from stablelab.plots.earlier_runs import bands, single


def test_finished_runs_of_the_same_task_are_drawn_beside_a_new_one(make_run) -> None:
    first, other = make_run(5), make_run(5, task="another")
    for run in (first, other):
        run.start().wait()
        earlier_runs.remember(run)
    labels = [earlier.label for earlier in earlier_runs.beside(make_run(5))]
    assert len(labels) == 1 and "ring · AdamW · torch fused · learning rate 0.01" in labels[0]


def test_a_run_is_not_beside_itself_until_it_is_reset(make_run) -> None:
    run = make_run(5)
    run.start().wait()
    earlier_runs.remember(run)
    earlier_runs.remember(run)
    assert earlier_runs.beside(run) == ()
    run.reset()
    assert [earlier.steps for earlier in earlier_runs.beside(run)] == [5]


def test_an_earlier_run_is_a_copy(make_run) -> None:
    run = make_run(5)
    run.start().wait()
    earlier_runs.remember(run)
    losses = [step.loss for step in run.history]
    run.reset()
    assert earlier_runs.beside(run)[0].rows[:, 1].tolist() == [float(loss) for loss in losses]


def test_only_the_latest_few_are_kept(make_run) -> None:
    for _ in range(earlier_runs.MOST + 3):
        run = make_run(2)
        run.start().wait()
        earlier_runs.remember(run)
    kept = earlier_runs.beside(make_run(2))
    assert len(kept) == earlier_runs.MOST
    assert [earlier.id for earlier in kept] == sorted(earlier.id for earlier in kept)


def test_a_run_that_did_nothing_is_not_remembered(make_run) -> None:
    run = make_run(5)
    run.stop()
    earlier_runs.remember(run)
    assert earlier_runs.beside(make_run(5)) == ()


def test_a_run_that_went_on_after_diverging_is_one_earlier_run(make_run) -> None:
    run = make_run(6)
    run.step(3)
    until(lambda: len(run.history) >= 3)
    earlier_runs.remember(run)
    run.resume()
    run.wait()
    earlier_runs.remember(run)
    assert [earlier.steps for earlier in earlier_runs.beside(make_run(2))] == [6]


def test_beside_a_branch_its_parent_comes_first_and_only_there_it_is_the_parent(make_run) -> None:
    earlier, parent = make_run(5).start().wait(), make_run(20).start().wait()
    earlier_runs.remember(earlier)
    branch = parent.branch(12, learning_rate=1e-3)
    assert [(earlier.parent, earlier.steps) for earlier in earlier_runs.beside(branch)] == [(True, 20), (False, 5)]
    earlier_runs.remember(branch)
    assert len(earlier_runs.beside(earlier)) == 1, "a branch with no step of its own has no curve of its own"
    branch.start().wait()
    earlier_runs.remember(branch)
    assert [earlier.parent for earlier in earlier_runs.beside(earlier)] == [False, False]
    assert "run 2: from 12 · AdamW · torch fused · learning rate 1e-3" in earlier_runs.beside(parent)[-1].label


def test_a_parent_is_there_however_many_came_after_it(make_run) -> None:
    parent = make_run(6).start().wait()
    earlier_runs.remember(parent)
    branch = parent.branch(3)
    for _ in range(earlier_runs.MOST):
        earlier_runs.remember(make_run(2).start().wait())
    assert earlier_runs.beside(branch)[0].parent


def test_a_past_without_a_parent_is_a_run_of_its_own(make_run) -> None:
    run = make_run(6).start().wait()
    branch = run.branch(4)
    branch.parent = None  # as one that was reopened
    assert (earlier_runs.branched_at(branch), earlier_runs.parent_of(branch)) == (0, None)
    earlier_runs.remember(branch)
    assert [earlier.steps for earlier in earlier_runs.beside(run)] == [4]


@pytest.mark.slow
def test_three_runs_that_differ_only_in_the_seed_are_a_band(make_run) -> None:
    for seed in (1, 2, 3):
        earlier_runs.remember(make_run(20, seed=seed).start().wait())
    earlier_runs.remember(make_run(20, seed=4, learning_rate=1e-3).start().wait())
    found = earlier_runs.beside(make_run(2))
    [band] = bands(found)
    assert [run.seed for run in band.runs] == [1, 2, 3] and band.short == "3 seeds"
    assert band.label == "mean ± sd of 3 seeds: ring · AdamW · torch fused · learning rate 0.01"
    assert [run.seed for run in single(found)] == [4]
    assert {run.look for run in band.runs} == {band.look} != {single(found)[0].look}
    steps, mean, spread = band.column("smooth")
    values = np.stack([run.column("smooth") for run in band.runs]).astype(np.float64)
    assert steps.tolist() == list(range(1, 21))
    assert np.allclose(mean, values.mean(axis=0)) and np.allclose(spread, values.std(axis=0, ddof=1))


@pytest.mark.slow
def test_two_seeds_or_another_length_or_a_change_by_hand_make_no_band(make_run) -> None:
    touched = make_run(20, seed=3)
    touched.control.change(weight_decay=0.1)
    for run in (make_run(20, seed=1), make_run(20, seed=2), make_run(19, seed=3), touched, make_run(20, seed=2)):
        earlier_runs.remember(run.start().wait())
    found = earlier_runs.beside(make_run(2))
    assert bands(found) == () and single(found) == found


@pytest.mark.slow
def test_long_runs_of_one_length_have_steps_in_common(make_run) -> None:
    for seed in (1, 2, 3):
        earlier_runs.remember(make_run(600, seed=seed).start().wait())
    [band] = bands(earlier_runs.beside(make_run(2)))
    steps, mean, _ = band.column("smooth")
    assert len(steps) >= earlier_runs.COMMON - 2 and (steps[0], steps[-1]) == (1, 600) and np.isfinite(mean).all()


def test_the_runs_of_a_band_count_as_one_curve(make_run) -> None:
    for seed in range(earlier_runs.MOST + 3):
        earlier_runs.remember(make_run(2, seed=seed).start().wait())
    assert len(earlier_runs.beside(make_run(2))) == earlier_runs.MOST + 3


def test_runs_of_the_family_are_called_by_their_number_and_others_by_theirs(make_run) -> None:
    stranger, run = make_run(5).start().wait(), make_run(6).start().wait()
    earlier_runs.remember(stranger)
    first, second = run.branch(3), run.branch(4)
    for each in (first, second):
        earlier_runs.remember(each.start().wait())
    short = [each.short for each in earlier_runs.beside(second)]
    assert short[0] == "parent" and sum(name.startswith("run ") for name in short) == 1
    assert sum(name.startswith("#") for name in short) == 1 and len(set(short)) == 3


def test_a_run_keeps_its_look_whatever_is_beside_it(make_run) -> None:
    run = make_run(5).start().wait()
    earlier_runs.remember(run)
    earlier_runs.remember(make_run(5, learning_rate=0.1).start().wait())
    looks = {each.id: each.look for each in earlier_runs.beside(make_run(2))}
    assert len(set(looks.values())) == 2
    run.reset()
    earlier_runs.remember(make_run(5, learning_rate=0.2).start().wait())
    assert looks.items() <= {each.id: each.look for each in earlier_runs.beside(make_run(2))}.items()


def test_what_a_run_did_before_each_reset_has_names_of_its_own(make_run) -> None:
    run = make_run(5)
    for _ in range(3):
        earlier_runs.remember(run.start().wait())
        run.reset()
    names = [each.short for each in earlier_runs.beside(run)]
    assert len(set(names)) == 3 and all(name.startswith("#") for name in names)
