from __future__ import annotations

from pathlib import Path

import pytest
import torch

import stablelab as lab
from stablelab import data
from stablelab.data import subset
from stablelab.data.splits import split_sizes, stratified_split
from stablelab.models import cached_features

TARGETS = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
CLASSES = ("a", "b", "c")


def test_shares_of_the_classes_are_kept_and_nothing_is_used_twice() -> None:
    splits = stratified_split(TARGETS, split_sizes(100, 50, 20, 30), CLASSES, seed=0)
    assert {name: torch.bincount(TARGETS[where]).tolist() for name, where in splits.items()} == {
        "train": [35, 10, 5],
        "validation": [14, 4, 2],
        "test": [21, 6, 3],
    }
    assert len(set(torch.cat(list(splits.values())).tolist())) == 100


def test_balanced_classes() -> None:
    splits = stratified_split(TARGETS, split_sizes(100, 12, 6, 6), CLASSES, seed=0, balanced=True)
    assert torch.bincount(TARGETS[splits["train"]]).tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match=r"10 more examples of class 'c' are asked for, but only 6 are left"):
        stratified_split(TARGETS, split_sizes(100, 30, 6, 6), CLASSES, seed=0, balanced=True)


def test_more_training_examples_leave_the_test_set_alone() -> None:
    few = stratified_split(TARGETS, split_sizes(100, 30, 20, 20), CLASSES, seed=0)
    many = stratified_split(TARGETS, split_sizes(100, None, 20, 20), CLASSES, seed=0)
    assert torch.equal(few["test"], many["test"])
    assert torch.equal(few["validation"], many["validation"])
    assert set(few["train"].tolist()) < set(many["train"].tolist())
    assert len(many["train"]) == 60


def test_the_seed_decides() -> None:
    draw = [stratified_split(TARGETS, split_sizes(100, 0.5, 0.2, 0.2), CLASSES, seed=s)["train"] for s in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


@pytest.mark.parametrize(("sizes", "message"), [
    ((90, 10, 10), "ask for 110 examples, but there are 100"),
    ((None, 50, 50), "ask for 101 examples, but there are 100"),
    ((0, 10, 10), "train is 0; it must be a number of examples"),
    ((50, 1.5, 10), "validation is 1.5"),
    ((50, 10, None), "test is None"),
    ((50, 10, True), "test is True"),
])  # fmt: skip
def test_sizes_that_cannot_be_had(sizes: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_sizes(100, *sizes)  # type: ignore[arg-type]


def test_one_class_only_and_a_class_that_nothing_is_left_of() -> None:
    with pytest.raises(ValueError, match=r"all 5 examples are of one class, 'b'; two are needed"):
        stratified_split(torch.ones(5, dtype=torch.long), split_sizes(5, None, 1, 1), CLASSES, seed=0)
    rare = torch.tensor([0] * 8 + [1] * 1)
    with pytest.raises(ValueError, match=r"class 'b' has 1 examples in the data and none is left to train on"):
        stratified_split(rare, {"test": 8, "train": 1}, CLASSES[:2], seed=0)


def test_the_fingerprint_tells_data_and_splits_apart(digits: data.Task) -> None:
    same = data.digits(train=60, validation=40, test=40, size=32)
    others = [
        data.digits(train=60, validation=40, test=40, size=32, seed=1),
        data.digits(train=61, validation=40, test=40, size=32),
        data.digits(train=60, validation=40, test=40, size=28),
    ]
    assert same.fingerprint == digits.fingerprint
    assert len({digits.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert len(digits.fingerprint) == 64


def test_a_subset_holds_these_examples_in_this_order() -> None:
    task = lab.digits(train=40, validation=20, test=20, size=8)
    part = subset(task, torch.tensor([5, 5, 2]))
    inputs, targets = part.collate(torch.tensor([0, 1, 2]))
    whole, all_targets = task.collate(torch.tensor([5, 5, 2]))
    assert torch.equal(inputs, whole) and torch.equal(targets, all_targets)
    assert len(part.train) == 3 and part.validation is task.validation
    assert part.fingerprint != task.fingerprint
    assert (part.example(2)[0] == task.example(2)[0]).all()


@pytest.mark.slow
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


def test_bundled_tasks_are_what_kept_results_were_made_with(corpora: Path) -> None:
    kept = {
        "digits": "c3003a54d39dcef908911d3c4f348787b792826afdedd94609953c5ad604c62e",
        "movies": "2020a73cb0fb700ec5aee31eda9e7fba760e503040e99aa2af3f75389f2ff877",
        "tweets": "57e9054c85fb5947da87909bf1a3a6019ea9c3e7d951803a11ed9828a2058cbf",
    }
    tasks = (data.digits(size=28), data.reviews(), data.reviews("tweets", train=100, validation=40, test=40, seed=3))
    assert {task.name: task.fingerprint for task in tasks} == kept
