"""Finished runs stay to compare with."""

from __future__ import annotations

from stablelab.plots import earlier_runs as ghosts


def test_finished_runs_of_the_same_task_are_ghosts_beside_a_new_one(make_run) -> None:
    first, other = make_run(5), make_run(5, task="another")
    for run in (first, other):
        run.start().wait()
        ghosts.remember(run)
    labels = [ghost.label for ghost in ghosts.beside(make_run(5))]
    assert len(labels) == 1 and "ring · AdamW · torch fused · learning rate 0.01" in labels[0]


def test_a_run_is_no_ghost_beside_itself_until_it_is_reset(make_run) -> None:
    run = make_run(5)
    run.start().wait()
    ghosts.remember(run)
    ghosts.remember(run)
    assert ghosts.beside(run) == ()
    run.reset()
    assert [ghost.steps for ghost in ghosts.beside(run)] == [5]


def test_a_ghost_is_a_copy(make_run) -> None:
    run = make_run(5)
    run.start().wait()
    ghosts.remember(run)
    losses = [step.loss for step in run.history]
    run.reset()
    assert ghosts.beside(run)[0].rows[:, 1].tolist() == [float(loss) for loss in losses]


def test_only_the_latest_few_are_kept(make_run) -> None:
    for _ in range(ghosts.MOST + 3):
        run = make_run(2)
        run.start().wait()
        ghosts.remember(run)
    kept = ghosts.beside(make_run(2))
    assert len(kept) == ghosts.MOST
    assert [ghost.id for ghost in kept] == sorted(ghost.id for ghost in kept)


def test_a_run_that_did_nothing_leaves_no_ghost(make_run) -> None:
    run = make_run(5)
    run.stop()
    ghosts.remember(run)
    assert ghosts.beside(make_run(5)) == ()


def test_a_run_that_went_on_after_diverging_is_one_ghost(make_run) -> None:
    run = make_run(6)
    run.step(3)
    while len(run.history) < 3:
        pass
    ghosts.remember(run)
    run.resume()
    run.wait()
    ghosts.remember(run)
    assert [ghost.steps for ghost in ghosts.beside(make_run(2))] == [6]


def test_beside_a_branch_its_parent_comes_first_and_only_there_it_is_the_parent(make_run) -> None:
    earlier, parent = make_run(5).start().wait(), make_run(20).start().wait()
    ghosts.remember(earlier)
    branch = parent.branch(12, learning_rate=1e-3)
    assert [(ghost.parent, ghost.steps) for ghost in ghosts.beside(branch)] == [(True, 20), (False, 5)]
    ghosts.remember(branch)
    assert len(ghosts.beside(earlier)) == 1, "a branch with no step of its own has no curve of its own"
    branch.start().wait()
    ghosts.remember(branch)
    assert [ghost.parent for ghost in ghosts.beside(earlier)] == [False, False]
    assert "ring from step 12 · AdamW · torch fused · learning rate 1e-3" in ghosts.beside(parent)[-1].label


def test_a_parent_is_there_however_many_came_after_it(make_run) -> None:
    parent = make_run(6).start().wait()
    ghosts.remember(parent)
    branch = parent.branch(3)
    for _ in range(ghosts.MOST):
        ghosts.remember(make_run(2).start().wait())
    assert ghosts.beside(branch)[0].parent


def test_a_past_without_a_parent_is_a_run_of_its_own(make_run) -> None:
    run = make_run(6).start().wait()
    branch = run.branch(4)
    branch.parent = None  # as one that was reopened
    assert (ghosts.parted(branch), ghosts.shares(branch)) == (0, False)
    ghosts.remember(branch)
    assert [ghost.steps for ghost in ghosts.beside(run)] == [4]
