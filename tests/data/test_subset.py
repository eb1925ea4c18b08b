from __future__ import annotations

import pytest
import torch

import stablelab as lab
from stablelab.data import subset
from stablelab.models import cached_features


def test_a_subset_holds_these_examples_in_this_order() -> None:
    task = lab.digits(train=40, validation=20, test=20, size=8)
    part = subset(task, torch.tensor([5, 5, 2]))
    inputs, targets = part.collate(torch.tensor([0, 1, 2]))
    whole, all_targets = task.collate(torch.tensor([5, 5, 2]))
    assert torch.equal(inputs, whole) and torch.equal(targets, all_targets)
    assert len(part.train) == 3 and part.validation is task.validation
    assert part.fingerprint != task.fingerprint
    assert (part.example(2)[0] == task.example(2)[0]).all()


def test_of_sentences_and_of_features() -> None:
    task = lab.reviews("products", train=12, validation=6, test=6)
    part = subset(task, torch.tensor([3, 7]))
    assert part.train.raw(1) == task.train.raw(7)
    assert len(next(iter(part.batches(0, 2)(0)[0].values()))) == 2
    pictures = lab.digits(train=20, validation=10, test=10, size=32)
    features = cached_features(pictures, lab.resnet(pictures, weights="random"))
    assert torch.equal(
        subset(features, torch.tensor([4])).collate(torch.tensor([0]))[0], features.collate(torch.tensor([4]))[0]
    )


@pytest.mark.parametrize("positions", [[], [-1], [40]])
def test_positions_that_are_not_there(positions: list[int]) -> None:
    with pytest.raises(ValueError, match="positions must be from 0 to 39"):
        subset(lab.digits(train=40, validation=20, test=20, size=8), torch.tensor(positions, dtype=torch.long))
