"""Splits whose examples are made worse."""

from __future__ import annotations

import pickle

import pytest
import torch

from stablelab import data, models
from stablelab.data import corrupt_pictures, corrupt_texts, corrupted


def test_pictures_keep_their_order_and_targets(digits: data.Task) -> None:
    worse = corrupted(digits, "occlusion", 4, seed=2)
    assert torch.equal(worse.targets, digits.validation.targets) and worse.classes == digits.classes
    expected = corrupt_pictures(digits.validation.store.pixels, "occlusion", 4, seed=2)
    assert torch.equal(torch.from_numpy(worse.raw(3)).permute(2, 0, 1), expected[3])
    assert len(corrupted(digits.test, "noise", 1)) == len(digits.test)


def test_sentences_are_tokenized_again_as_the_task_does(movies: data.Task) -> None:
    split = movies.validation
    worse = corrupted(movies, "typos", 5)
    assert worse.raw(2) == corrupt_texts([split.raw(i) for i in range(3)], "typos", 5)[2]
    assert torch.equal(worse.targets, split.targets)
    inputs, _ = worse.collate(torch.arange(len(worse)))
    assert inputs["input_ids"].shape[1] <= 24  # the task's max_tokens
    same, _ = corrupted(movies, "case", 5).collate(torch.tensor([0]))
    torch.testing.assert_close(same, split.collate(torch.tensor([0]))[0])  # this tokenizer knows no capitals


def test_a_task_goes_through_pickle_with_its_tokenizer(movies: data.Task) -> None:
    again = pickle.loads(pickle.dumps(movies))
    assert again.fingerprint == movies.fingerprint
    assert corrupted(again, "dropping", 2).store.digest() == corrupted(movies, "dropping", 2).store.digest()


def test_which_corruptions_there_are(digits: data.Task, movies: data.Task) -> None:
    assert data.corruptions_of(digits)[0] == "noise" and len(data.corruptions_of(digits.test)) == 9
    assert data.corruptions_of(movies) == ("typos", "dropping", "swapping", "case", "punctuation")
    with pytest.raises(ValueError, match=r"^there is no corruption 'typos' here; there are noise, blur"):
        corrupted(digits, "typos", 1)
    with pytest.raises(ValueError, match=r"^there is no corruption 'blur' here; there are typos"):
        corrupted(movies, "blur", 1)


def test_what_cannot_be_corrupted_is_said(digits: data.Task) -> None:
    with pytest.raises(ValueError, match=r"^list is neither one of the workbook's tasks nor a split of one$"):
        corrupted([1, 2], "noise", 1)  # type: ignore[arg-type]
    features = models.cached_features(digits, models.resnet(digits, weights="random"))
    for ask in (lambda: corrupted(features, "noise", 1), lambda: data.corruptions_of(features)):
        with pytest.raises(
            ValueError, match=r"^the examples are kept as Features, neither pictures nor sentences nor "
        ):
            ask()
