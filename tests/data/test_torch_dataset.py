from __future__ import annotations

import pytest
import torch
from transformers import DataCollatorWithPadding, default_data_collator

from stablelab import data


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
