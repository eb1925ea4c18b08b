from __future__ import annotations

import gc
import itertools
import weakref

import pytest
import torch

from stablelab.training import Checkpoint, Checkpoints, checkpoints
from stablelab.training.checkpoints import Best


def checkpoint(step: int, size: int = 100) -> Checkpoint:
    return Checkpoint(step, None, {"w": torch.zeros(size)}, None, safe_step=step)


def filled(memory: int, steps, marked=()) -> list[int]:
    ring = Checkpoints(memory)
    for step in steps:
        ring.add(checkpoint(step), marked=step in marked)
    return [each.step for each in ring]


def test_within_the_budget_all_are_kept():
    assert filled(4000, range(0, 100, 10)) == list(range(0, 100, 10))


def test_over_it_they_thin_out_evenly_and_the_ends_stay():
    kept = filled(400 * 6, range(0, 1000, 10))
    assert len(kept) == 6 and kept[0] == 0 and kept[-1] == 990
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert max(gaps) <= 640  # no stretch is bare: 6 of 1000 steps cannot stand closer than 200 on average


def test_the_one_before_a_change_by_hand_stays_until_the_next_change():
    assert 33 in filled(400 * 3, [*range(0, 40, 10), 33, *range(40, 100, 10)], marked=(33,))
    assert filled(0, [0, 10, 13, 20, 27, 30], marked=(13, 27)) == [0, 27, 30]


def test_the_safe_copy_of_the_one_before_a_change_stays_with_it():
    ring = Checkpoints(0)
    for step in (0, 20, 25, 40, 60):
        ring.add(Checkpoint(step, None, {"w": torch.zeros(9)}, None, safe_step=step - step % 20), marked=step == 25)
    assert [each.step for each in ring] == [0, 20, 25, 60] and ring.at_or_before(30).step == 25


def test_the_best_weights_count_once_however_many_share_them():
    best = Best(5, 0.5, {"w": torch.zeros(100)})
    ring = Checkpoints(1600)
    for step in (0, 10, 20, 30):
        ring.add(Checkpoint(step, None, {"w": torch.zeros(100)}, None, best=best, safe_step=step))
    assert [each.step for each in ring] == [0, 20, 30]


def test_no_memory_keeps_the_first_and_the_newest():
    assert filled(0, range(0, 50, 10)) == [0, 40]


def test_where_a_replay_comes_by_again_nothing_is_added_twice_and_gaps_are_filled():
    assert filled(10_000, [0, 10, 30, 10, 20, 30, 40]) == [0, 10, 20, 30, 40]


def test_the_newest_at_or_before_a_step():
    ring = Checkpoints(10_000, [checkpoint(step) for step in (0, 10, 20)])
    assert [ring.at_or_before(step).step for step in (0, 9, 10, 25)] == [0, 0, 10, 20]
    assert Checkpoints(0).at_or_before(5) is None
    assert [each.step for each in ring.until(10)] == [0, 10]


@pytest.mark.parametrize("memory", [-1, 0.5, "1 GB"])
def test_a_budget_that_cannot_be(memory):
    with pytest.raises(ValueError, match="checkpoint_memory is"):
        Checkpoints(memory)


def test_what_a_divergence_may_go_back_to_stays_and_is_found():
    ring = Checkpoints(0)
    for step in range(0, 60, 5):
        ring.add(Checkpoint(step, None, {"w": torch.zeros(9)}, None, safe_step=step - step % 25))
    assert (ring.safe().step, ring.safe(49).step) == (50, 0)
    assert [each.step for each in ring] == [0, 50, 55]


def test_one_whose_safe_copy_is_gone_is_no_place_to_start_from():
    ring = Checkpoints(10_000, [checkpoint(0), Checkpoint(30, None, {}, None, safe_step=25), checkpoint(50)])
    assert ring.at_or_before(40).step == 0


@pytest.fixture
def budget(monkeypatch):
    """Set the memory that all checkpoints of the process may take up, in checkpoints of 400 bytes."""

    def of(count: int) -> None:
        monkeypatch.setattr(checkpoints, "_rings", weakref.WeakSet())  # not those of other tests' runs
        monkeypatch.setattr(checkpoints, "default_memory", lambda: count * 400)
        assert checkpoints.memory_in_use() == (0, count * 400)

    return of


def steps_of(*rings: Checkpoints) -> list[list[int]]:
    return [[each.step for each in ring] for ring in rings]


def test_all_runs_share_one_budget_and_the_one_that_rested_longest_is_thinned_out_first(budget):
    budget(8)
    one, two = Checkpoints(), Checkpoints()
    for step in range(0, 50, 10):
        one.add(checkpoint(step))
    for step in range(0, 50, 10):
        two.add(checkpoint(step))
    assert checkpoints.memory_in_use() == (8 * 400, 8 * 400)
    assert steps_of(two) == [[0, 10, 20, 30, 40]] and len(one) == 3 and one.newest.step == 40


def test_marks_go_after_all_others_and_the_newest_of_a_living_run_never(budget):
    budget(5)
    one, two, three = Checkpoints(), Checkpoints(), Checkpoints()
    for step in (0, 10, 13, 20, 30):
        one.add(checkpoint(step), marked=step == 13)
    for step in (0, 10, 20, 30):
        two.add(checkpoint(step))
    assert steps_of(one, two) == [[13, 30], [0, 20, 30]]
    for step in (0, 10, 20):
        three.add(checkpoint(step))
    assert steps_of(one, two, three) == [[13, 30], [30], [0, 20]]
    for ring in (one, two, three):
        ring.keep_first = True
    three.add(checkpoint(40))
    assert steps_of(one, two, three) == [[13, 30], [30], [0, 40]], "a first that is needed stays"
    for step in (50, 60):
        three.add(checkpoint(step))
    assert checkpoints.memory_in_use()[0] == 5 * 400
    for ring in (one, two, three):
        ring.keep_first = False
    budget_of_two = Checkpoints()
    budget_of_two.add(checkpoint(70))
    budget_of_two.add(checkpoint(80))
    assert 30 in steps_of(one)[0] and steps_of(two) == [[30]] and steps_of(three) == [[60]]


def test_what_a_branch_shares_with_its_parent_counts_once_and_goes_from_both(budget):
    budget(6)
    parent = Checkpoints()
    for step in range(0, 60, 10):
        parent.add(checkpoint(step))
    child = Checkpoints(kept=parent.until(30))
    assert checkpoints.memory_in_use()[0] == 6 * 400
    child.add(checkpoint(35))
    assert checkpoints.memory_in_use()[0] == 6 * 400 and 35 in steps_of(child)[0]
    gone = {0, 10, 20, 30, 40, 50} - set(steps_of(parent)[0])
    assert len(gone) == 1 and not gone & set(steps_of(child)[0])


@pytest.mark.slow
def test_a_run_that_nobody_holds_gives_its_share_back(budget):
    budget(100)
    one, two = Checkpoints(), Checkpoints()
    for step in range(0, 50, 10):
        one.add(checkpoint(step))
        two.add(checkpoint(step))
    assert checkpoints.memory_in_use()[0] == 10 * 400
    del one
    gc.collect()
    assert checkpoints.memory_in_use()[0] == 5 * 400 and len(two) == 5


def test_the_budget_is_a_sixteenth_of_the_machines_memory():
    import psutil

    assert checkpoints.memory_in_use()[1] == psutil.virtual_memory().total // 16
