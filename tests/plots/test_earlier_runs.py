"""Finished runs stay to compare with."""

from __future__ import annotations

from stablelab.plots import earlier_runs


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
    while len(run.history) < 3:
        pass
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
    assert "run 2 · from 12 · AdamW · torch fused · learning rate 1e-3" in earlier_runs.beside(parent)[-1].label


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
