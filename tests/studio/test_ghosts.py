"""Finished runs stay to compare with."""

from __future__ import annotations

from stablelab.studio import ghosts


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
