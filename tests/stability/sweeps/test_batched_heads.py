"""Many heads at once against the real loop, one head at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import stablelab as lab
from stablelab import formulas
from stablelab.stability import Heads, new_heads, train_heads, why_not_batched
from stablelab.stability.sweeps import batched_heads
from stablelab.stability.sweeps.batched_heads import Update
from stablelab.training import Control, Settings, steps

N, D, C, T = 70, 12, 3, 11
BASE = Settings(learning_rate=0.1, optimizer="sgd")


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(N, D, generator=generator) + 0.5, torch.randint(C, (N,), generator=generator)


class Order:
    """Reshuffled epochs over a subset, the last batch of each smaller where the batch size leaves a rest."""

    def __init__(self, seed: int, batch_size: int = 16, subset: Sequence[int] = range(N)) -> None:
        self.seed, self.batch_size, self.subset = seed, batch_size, torch.tensor(subset)
        self.per_epoch = -(-len(self.subset) // batch_size)

    def positions(self, k: int) -> Tensor:
        epoch, place = divmod(k, self.per_epoch)
        generator = torch.Generator().manual_seed(1000 * self.seed + epoch)
        return self.subset[torch.randperm(len(self.subset), generator=generator)].split(self.batch_size)[place]

    def __call__(self, k: int) -> tuple[Tensor, Tensor]:
        features, targets = data()
        return features[self.positions(k)], targets[self.positions(k)]


def alone(order: Order, settings: Settings, weight: Tensor, bias: Tensor) -> dict[str, Any]:
    """The run by the real loop, ended where it diverges, with its weights from before that step."""
    model = nn.Linear(D, C)
    with torch.no_grad():
        model.weight.copy_(weight), model.bias.copy_(bias)
    done, before = [], (weight, bias)
    for step in steps(model, order, nn.functional.cross_entropy, Control(settings), total_steps=T):
        done.append(step)
        if step.diverged:
            break
        before = model.weight.detach().clone(), model.bias.detach().clone()
    return {
        "losses": torch.tensor([step.loss for step in done]),
        "norms": torch.tensor([step.norm_before for step in done]),
        "clipped": torch.tensor([step.clipped and not step.diverged for step in done]),
        "weights": before,
        "diverged": done[-1].step if done[-1].diverged else None,
    }


def batched(orders: Sequence[Order], settings: Sequence[Settings], **arguments: Any) -> Heads:
    weights, biases = new_heads(D, C, range(len(settings)))
    return train_heads(*data(), weights, biases, [order.positions for order in orders], settings, T, **arguments)


def compare(orders: Sequence[Order], settings: Sequence[Settings]) -> Heads:
    """Every run of the batch is the run alone, within 1e-5; one that diverged, within 1e-3."""
    heads = batched(orders, settings)
    weights, biases = new_heads(D, C, range(len(settings)))
    for run, (order, own) in enumerate(zip(orders, settings, strict=True)):
        expected = alone(order, own, weights[run], biases[run])
        n = len(expected["losses"])
        # At 1e36 the roundings of a processor have grown with everything else.
        close = {"rtol": 1e-5 if expected["diverged"] is None else 1e-3, "atol": 1e-5, "equal_nan": True}
        torch.testing.assert_close(heads.losses[run, :n], expected["losses"], **close)
        torch.testing.assert_close(heads.norms[run, :n], expected["norms"], **close)
        torch.testing.assert_close((heads.weights[run], heads.biases[run]), expected["weights"], **close)
        assert heads.clipped[run, :n].tolist() == expected["clipped"].tolist()
        assert heads.diverged[run] == expected["diverged"]
        assert heads.losses[run, n:].isnan().all() and heads.norms[run, n:].isnan().all()
        assert not heads.clipped[run, n:].any()
    return heads


FAMILIES = {
    "sgd": {},
    "momentum": {"momentum": 0.8},
    "nesterov": {},
    "adam": {"learning_rate": 1e-2, "beta2": 0.99},
    "adamw": {"learning_rate": 1e-2, "eps": 1e-6},
    "adam, not corrected": {"learning_rate": 1e-3, "bias_correction": False},
}


def families(**changes: Any) -> list[Settings]:
    return [BASE.replace(optimizer=name.split(",")[0], **(own | changes)) for name, own in FAMILIES.items()]


@pytest.mark.slow
def test_every_optimizer_with_its_own_order_and_subset() -> None:
    """Orders of whole and of smaller last batches (70 and 33 examples by 16, 20 by 7) in one block and in several."""
    orders = [Order(0), Order(1), Order(2, 16, range(5, 38)), Order(3, 7, range(40, 60))]
    runs = [(order, own) for order in orders for own in families(weight_decay=0.05)]
    compare([order for order, _ in runs], [own for _, own in runs])


@pytest.mark.parametrize("clip", ["norm", "tensor", "value"])
def test_every_clip_with_thresholds_of_their_own(clip: str) -> None:
    thresholds = (None, 1e-2, 1.0, 4.0, 1e3)
    own = [each.replace(max_norm=bound) for each in families(clip=clip)[1:4:2] for bound in thresholds]
    heads = compare([Order(0)] * len(own), own)
    shares = heads.clipped.float().mean(dim=1)
    assert shares[0] == 0 and shares[1] == 1 and shares[2 if clip != "value" else 1] > 0


def test_every_schedule() -> None:
    schedules: list[dict[str, Any]] = [
        {"schedule": "exponential", "gamma": 0.8},
        {"schedule": "exponential", "gamma": 0.9, "warmup_steps": 3},
        {"schedule": "cosine"},
        {"schedule": "cosine", "warmup_steps": 5},
        {"schedule": "linear", "warmup_steps": 5},
        {"warmup_steps": 2 * T},
    ]
    own = [each for changes in schedules for each in families(**changes)[::4]]
    compare([Order(run % 2) for run in range(len(own))], own)


def test_what_the_page_has_set_as_dtype_changes_nothing() -> None:
    orders = [Order(0), Order(3, 7, range(40, 60))]  # batches of two sizes
    features, targets = data()
    positions, settings = [order.positions for order in orders], families(weight_decay=0.05, max_norm=1.0)[2:4]
    found = []
    try:
        for dtype in (torch.float32, torch.float64):
            torch.set_default_dtype(dtype)
            found.append(train_heads(features, targets, *new_heads(D, C, range(2)), positions, settings, T))
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(*[(h.weights, h.biases, h.losses, h.norms) for h in found], strict=True):
        assert one.dtype == other.dtype == torch.float32 and torch.equal(one, other)


def test_a_run_that_diverges_ends_and_the_others_go_on() -> None:
    rates = 0.1, 2e38, 0.2, 3e38
    own = [BASE.replace(learning_rate=rate, max_norm=1e3) for rate in rates]
    heads = compare([Order(0)] * 4, own)
    assert heads.diverged[0] is heads.diverged[2] is None
    assert heads.diverged[1] is not None and heads.diverged[3] is not None
    assert compare([Order(1)] * 2, [own[3], own[3]]).losses[:, -1].isnan().all()  # nobody is left


def test_more_runs_than_fit_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [Order(0), Order(1), Order(2)]
    runs = [(orders[i % 3], BASE.replace(learning_rate=0.02 * (i + 1))) for i in range(11)]
    whole = batched(*zip(*runs, strict=True))
    monkeypatch.setattr(batched_heads, "MAX_WEIGHTS", 3 * C * 16)
    done: list[tuple[int, int]] = []
    split = batched(*zip(*runs, strict=True), progress=lambda *at: done.append(at))
    torch.testing.assert_close(split.weights, whole.weights, rtol=1e-5, atol=1e-6)
    assert done == sorted(done) and done[-1] == (11 * T, 11 * T) and len(done) > T


@pytest.mark.parametrize("own", families(weight_decay=0.1), ids=FAMILIES)
def test_updates_in_pieces_are_the_formulas(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched_heads, "PIECE", 3 * C * (D + 2))  # three runs at a time, and the fourth
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    theta, decay, rates = draw(4, C, D + 2), draw(4, 1, 1).abs(), draw(4, 1, 1).abs()
    decay = torch.cat([decay.expand(4, 1, D), torch.zeros(4, 1, 2)], dim=2)  # what is no matrix does not decay
    moved, expected = theta.clone(), theta
    update = Update(own, moved, decay)
    b, m, v = None, torch.zeros_like(theta), torch.zeros_like(theta)
    for t in range(1, 6):
        g = draw(4, C, D + 2)
        if own.optimizer == "sgd":
            expected = formulas.gradient_descent(expected, g, rates, decay)
        elif own.optimizer in ("momentum", "nesterov"):
            nesterov = own.optimizer == "nesterov"
            expected, b = formulas.momentum(expected, g, b, t, rates, own.momentum, nesterov, decay)
        else:
            formula = formulas.adam if own.optimizer == "adam" else formulas.adamw
            numbers = own.beta1, own.beta2, own.eps, decay, own.bias_correction
            expected, m, v = formula(expected, g, m, v, t, rates, *numbers)
        update(g, t, rates)
        torch.testing.assert_close(moved, expected, rtol=1e-12, atol=1e-12)


def test_new_heads_are_those_of_linear() -> None:
    weights, biases = new_heads(D, C, [5, 7])
    for seed, weight, bias in zip([5, 7], weights, biases, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(D, C)
        assert torch.equal(head.weight, weight) and torch.equal(head.bias, bias)


def test_logits_are_those_of_each_head() -> None:
    heads, (features, _) = batched([Order(0)] * 3, [BASE] * 3), data()
    expected = torch.stack([features @ w.T + b for w, b in zip(heads.weights, heads.biases, strict=True)])
    torch.testing.assert_close(heads.logits(features), expected)
    torch.testing.assert_close(heads.logits(features, slice(1, 2)), expected[1:2])
    assert len(heads) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": "lamb"}, "optimizer='lamb'"),
        ({"schedule": "plateau"}, "schedule='plateau' needs validations"),
        ({"early_stopping": 2}, "early_stopping=2 needs validations"),
        ({"layer_decay": 0.9}, "layer_decay=0.9 needs layers"),
        ({"unfrozen": 1}, "unfrozen=1 needs layers"),
        ({"unfreeze_every": 5}, "unfreeze_every=5 needs layers"),
        ({"noise": 0.1}, "noise=0.1 changes pictures"),
    ],
)
def test_what_needs_more_than_a_head_is_refused_by_name(changes: dict[str, Any], reason: str) -> None:
    assert why_not_batched(BASE) == ""
    own = BASE.replace(**changes)
    assert reason in why_not_batched(own)
    with pytest.raises(ValueError, match=f"^run 1 cannot.*{reason}"):
        batched([Order(0)] * 2, [BASE, own])


def test_bad_input_is_refused_in_one_line() -> None:
    (features, targets), (weights, biases), order = data(), new_heads(D, C, [0]), Order(0).positions

    def refused(message: str, **changes: Any) -> None:
        arguments: dict[str, Any] = {
            "features": features,
            "targets": targets,
            "weights": weights,
            "biases": biases,
            "positions": [order],
            "settings": [BASE],
            "steps": 2,
        }
        with pytest.raises(ValueError, match=message) as error:
            train_heads(**(arguments | changes))
        assert "\n" not in str(error.value)

    refused("steps is 0", steps=0)
    refused("features must be", features=features.double())
    refused("features must be", targets=targets[:-1])
    refused("features hold nan", features=features / 0)
    refused("weights must be", weights=weights[..., 1:])
    refused("weights must be", biases=biases[:, 1:])
    refused("at least one, not 1, 2 and 1", positions=[order] * 2)
    refused("span 0..3", targets=targets + (targets == 2))
    refused("outside 0..69", positions=[lambda k: torch.tensor([70])])
    refused("batch 1 of one of the runs is empty", positions=[lambda k: torch.arange(1 - k)])


@pytest.fixture(scope="module")
def pictures() -> lab.data.Task:
    return lab.digits(train=50, validation=30, test=30, size=16)


@pytest.mark.slow
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
    assert sweep.trainable.can_batch(sweep.trials)
    together = sweep.run(bar=False)
    for trial, one in list(zip(together.trials, together.outcomes, strict=True))[::5]:
        other = lab.stability.run_trial(sweep.trainable, trial)
        assert one.diverged == other.diverged
        assert one.start_loss == pytest.approx(other.start_loss, abs=1e-5)
        np.testing.assert_array_equal(one.clipped, other.clipped)
        np.testing.assert_array_equal(one.targets, other.targets)
        if one.diverged is None:
            np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(one.logits, other.logits, rtol=1e-5, atol=1e-4)
            assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-5, abs=1e-5)


@pytest.mark.slow
def test_what_needs_more_than_a_head_is_run_by_itself(pictures: lab.data.Task) -> None:
    arguments = {"steps": 2, "train": "head", "seeds": [0]}
    for own in ({"optimizer": "lamb"}, {"schedule": "plateau", "evaluate_every": 1}, {"sharpness": 10}):
        sweep = lab.sweep(lab.resnet, pictures, **arguments, **own)
        assert not sweep.trainable.can_batch(sweep.trials)
        assert len(sweep.run(bar=False)) == 1
