"""Heads on frozen features: together they come to what each comes to alone."""

from __future__ import annotations

import numpy as np
import pytest

import stablelab as lab


@pytest.fixture(scope="module")
def pictures() -> lab.data.Task:
    return lab.digits(train=50, validation=30, test=30, size=16)


def test_together_is_one_by_one(pictures: lab.data.Task) -> None:
    sweep = lab.sweep(
        lab.resnet,
        pictures,
        {"learning_rate": [1e-3, 1e-2, 1e38], "max_norm": [None, 0.5], "optimizer": ["sgd", "adamw"]},
        inits=[0, 1],
        orders=[0, 2],
        subsets=("bootstrap", 2),
        steps=8,
        batch_size=16,
        train="head",
        schedule="cosine",
        warmup_steps=2,
    )
    assert sweep.recipe.runs_together(sweep.points)
    together = sweep.run(bar=False)
    for point, one in list(zip(together.points, together.outcomes, strict=True))[::5]:
        other = lab.stability.run_one(sweep.recipe, point)
        assert one.diverged == other.diverged
        assert one.start_loss == pytest.approx(other.start_loss, abs=1e-5)
        np.testing.assert_array_equal(one.clipped, other.clipped)
        np.testing.assert_array_equal(one.targets, other.targets)
        if one.diverged is None:
            np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5, atol=1e-4)
            assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-5, abs=1e-5)


def test_what_needs_more_than_a_head_is_run_by_itself(pictures: lab.data.Task) -> None:
    arguments = {"steps": 2, "train": "head", "seeds": [0]}
    for own in ({"optimizer": "lamb"}, {"schedule": "plateau", "evaluate_every": 1}, {"sharpness": 10}):
        sweep = lab.sweep(lab.resnet, pictures, **arguments, **own)
        assert not sweep.recipe.runs_together(sweep.points)
        assert len(sweep.run(bar=False)) == 1
