from __future__ import annotations

import itertools

import pytest
import torch

from stablelab.training import Checkpoint, Checkpoints
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


def test_the_one_before_a_change_by_hand_stays_until_the_next_change(monkeypatch):
    monkeypatch.setattr("stablelab.training.checkpoints.GESTURE", -1.0)
    assert 33 in filled(400 * 3, [*range(0, 40, 10), 33, *range(40, 100, 10)], marked=(33,))
    assert filled(0, [0, 10, 13, 20, 27, 30], marked=(13, 27)) == [0, 27, 30]


def test_of_one_drag_the_one_before_it_stays():
    assert filled(0, [0, 13, 15, 17, 19], marked=(13, 15, 17)) == [0, 13, 19]


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
