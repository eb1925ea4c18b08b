from __future__ import annotations

import pytest
import torch
from transformers import DataCollatorWithPadding, default_data_collator

from stablelab import data
from stablelab.data.tasks import epoch_plan


@pytest.mark.parametrize("lengths", [None, torch.randint(3, 40, (103,), generator=torch.Generator().manual_seed(0))])
def test_an_epoch_holds_every_example_once_and_one_partial_batch(lengths: torch.Tensor | None) -> None:
    plan = epoch_plan(103, 8, seed=3, epoch=2, lengths=lengths)
    assert sorted(torch.cat(plan).tolist()) == list(range(103))
    assert sorted(map(len, plan)) == [7] + [8] * 12


def test_batch_k_is_a_function_of_seed_and_k_alone(movies: data.Task) -> None:
    forward, backward = movies.batches(5, 16), movies.batches(5, 16)
    ks = list(range(3 * forward.per_epoch))
    there = {k: forward(k) for k in ks}
    torch.rand(7)  # the global generator has no say
    for k in reversed(ks):
        inputs, targets = backward(k)
        assert all(torch.equal(inputs[name], there[k][0][name]) for name in inputs)
        assert torch.equal(targets, there[k][1])


def test_seeds_and_epochs_differ(digits: data.Task) -> None:
    batches = digits.batches(0, 20)
    assert batches.per_epoch == 3
    firsts = [batches.positions(0), batches.positions(3), digits.batches(1, 20).positions(0)]
    assert len({tuple(first.tolist()) for first in firsts}) == 3


def test_similar_lengths_share_a_batch_in_another_company_each_epoch() -> None:
    lengths = torch.randint(3, 60, (800,), generator=torch.Generator().manual_seed(1))

    def padding(plan: tuple[torch.Tensor, ...]) -> float:
        padded = sum(len(b) * int(lengths[b].max()) for b in plan)
        return padded / int(lengths.sum()) - 1

    by_length, by_chance = epoch_plan(800, 16, 0, 0, lengths), epoch_plan(800, 16, 0, 0)
    assert padding(by_length) < 0.15 < 0.5 < padding(by_chance)
    again = epoch_plan(800, 16, 0, 1, lengths)
    together = {frozenset(b.tolist()) for b in by_length} & {frozenset(b.tolist()) for b in again}
    assert not together
    means = torch.tensor([lengths[b].float().mean() for b in by_length])
    rank = torch.corrcoef(torch.stack([means, torch.arange(50.0)]))[0, 1]
    assert abs(rank) < 0.5  # neither from short to long nor the other way round


def test_small_data_still_meet_in_new_batches() -> None:
    lengths = torch.arange(64)
    plans = [epoch_plan(64, 8, 0, epoch, lengths) for epoch in range(2)]
    assert {frozenset(b.tolist()) for b in plans[0]} != {frozenset(b.tolist()) for b in plans[1]}


def test_split_batches_cover_everything_in_a_fixed_order(movies: data.Task) -> None:
    sizes = [len(targets) for _, targets in movies.validation.batches(10)]
    assert sizes == [10, 10, 4]
    twice = [torch.cat([targets for _, targets in movies.validation.batches(10)]) for _ in range(2)]
    assert torch.equal(*twice)
    widths = [inputs["input_ids"].shape[1] for inputs, _ in movies.validation.batches(10)]
    assert widths == sorted(widths)


def test_a_batch_larger_than_the_data_is_refused_in_one_line(digits: data.Task) -> None:
    with pytest.raises(ValueError, match=r"batch_size is 61, but there are only 60 training examples$"):
        digits.batches(0, 61)


@pytest.mark.parametrize("batch_size", [0, -4, 2.5, True, "8"])
def test_a_batch_size_that_is_none_is_refused(digits: data.Task, batch_size: object) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number of examples, 1 or more"):
        digits.batches(0, batch_size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must be a whole number of examples, 1 or more"):
        next(digits.test.batches(batch_size))  # type: ignore[arg-type]


def test_sentences_collated_by_transformers_are_our_batches(movies):
    dataset, batches = data.as_dataset(movies.train), movies.batches(0, 8)
    collate = DataCollatorWithPadding(data.tokenizer_for())
    for k in range(batches.per_epoch):
        theirs = collate([dataset[i] for i in batches.positions(k).tolist()])
        inputs, targets = batches(k)
        assert torch.equal(theirs.pop("labels"), targets)
        assert theirs.keys() == inputs.keys()
        assert all(torch.equal(theirs[name], inputs[name]) for name in inputs)


def test_a_sentence_is_as_long_as_it_is(movies):
    lengths = [len(example["input_ids"]) for example in data.as_dataset(movies.train)]
    assert lengths == movies.train.store.lengths.tolist()
    assert len(set(lengths)) > 3


def test_pictures_go_by_the_name_that_transformers_gives_them_or_another(digits):
    dataset = data.as_dataset(digits.validation)
    theirs = default_data_collator([dataset[i] for i in (3, 0, -1)])
    inputs, targets = digits.validation.collate(torch.tensor([3, 0, len(dataset) - 1]))
    assert torch.equal(theirs["pixel_values"], inputs)
    assert torch.equal(theirs["labels"], targets)
    assert set(data.as_dataset(digits.test, inputs="image")[0]) == {"image", "labels"}


def test_a_dataset_ends_where_the_split_ends(digits):
    dataset = data.as_dataset(digits.validation)
    assert len(dataset) == len(digits.validation) == len(list(dataset))
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_a_task_is_no_split(digits):
    with pytest.raises(ValueError, match=r"as_dataset takes a split, not Task; give task\.train or task\.validation"):
        data.as_dataset(digits)
