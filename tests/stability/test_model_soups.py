"""Averaged weights: exact where the model is linear, with batch norm's counts and statistics as promised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from stablelab.stability import average_weights, greedy_soup


def normed(seed: int) -> nn.Sequential:
    """A net with batch norm that has seen a few batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        for _ in range(seed + 2):
            model(torch.randn(8, 3))
    return model.eval()


def test_of_a_linear_model_the_averaged_weights_give_the_averaged_logits() -> None:
    models = [nn.Linear(3, 2) for _ in range(3)]
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    soup = nn.Linear(3, 2)
    soup.load_state_dict(average_weights([model.state_dict() for model in models], [1, 0, 3]))
    assert torch.allclose(soup(x), models[0](x) / 4 + 3 * models[2](x) / 4, atol=1e-6)


def test_equal_members_are_their_own_average_and_are_not_changed() -> None:
    state = {"w": torch.tensor([0.1, 0.7], dtype=torch.float16), "n": torch.tensor(3), "empty": torch.empty(0)}
    found = average_weights([state] * 3)
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)
    found["w"].zero_()
    found["n"].zero_()
    assert state["w"][1] > 0 and state["n"] == 3


def test_counts_come_from_the_first_and_statistics_can_be_taken_anew() -> None:
    models = [normed(0), normed(1)]
    state = average_weights([model.state_dict() for model in models])
    assert state["1.num_batches_tracked"] == models[0].state_dict()["1.num_batches_tracked"] == 2
    means = [model[1].running_mean for model in models]
    assert torch.allclose(state["1.running_mean"], sum(means) / 2)

    soup = normed(2)
    soup.load_state_dict(state)
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    update_bn(((batch, None) for batch in x.split(32)), soup)
    entering = soup[0](x)
    assert torch.allclose(soup[1].running_mean, entering.mean(dim=0), atol=1e-6)
    assert not torch.allclose(state["1.running_mean"], entering.mean(dim=0), atol=1e-2)


def literally(states: list[dict[str, Tensor]], score) -> tuple[list[int], float]:
    """Recipe 1 as the paper has it."""
    order = sorted(range(len(states)), key=lambda i: score(states[i]), reverse=True)
    ingredients: list[int] = []
    best = -float("inf")
    for i in order:
        mean = {"w": sum(states[j]["w"] for j in [*ingredients, i]) / (len(ingredients) + 1)}
        if score(mean) >= best:
            ingredients, best = [*ingredients, i], score(mean)
    return ingredients, best


@pytest.mark.parametrize("seed", range(6))
def test_a_greedy_soup_takes_in_what_does_no_harm(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    states = [{"w": torch.randn(4, dtype=torch.float64, generator=generator)} for _ in range(7)]
    asked = []

    def score(state: dict[str, Tensor]) -> float:
        asked.append(1)
        return -float((state["w"] - 0.2).norm())

    soup = greedy_soup(states, score)
    assert len(asked) == 2 * 7 - 1
    members, best = literally(states, score)
    assert list(soup.members) == members and soup.score == pytest.approx(best)
    assert torch.allclose(soup.weights["w"], sum(states[i]["w"] for i in members) / len(members))
    assert soup.score >= max(score(state) for state in states)


def test_a_soup_of_one_is_that_one() -> None:
    soup = greedy_soup([{"w": torch.ones(2)}], lambda state: 0.5)
    assert soup.members == (0,) and torch.equal(soup.weights["w"], torch.ones(2))


A = {"w": torch.ones(2, 3), "b": torch.ones(2)}


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([A, {"w": A["w"]}], "'b' is in state dict 0, but not in state dict 1"),
        ([A, A, {**A, "c": torch.ones(1)}], "'c' is in state dict 2, but not in state dict 0"),
        ([A, {**A, "b": torch.ones(3)}], r"'b' has shape \(3,\) in state dict 1, but \(2,\) in state dict 0"),
        ([A, {**A, "w": torch.full((2, 3), torch.nan)}], "'w' is not finite in state dict 1: it diverged"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(states, message) -> None:
    for make in (average_weights, lambda states: greedy_soup(states, lambda _: 0.0)):
        with pytest.raises(ValueError, match=message) as caught:
            make(states)
        assert "\n" not in str(caught.value)


def test_too_few_and_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 1 state dicts; an average needs two or more"):
        average_weights([A])
    with pytest.raises(ValueError, match="there are no state dicts"):
        greedy_soup([], lambda _: 0.0)
    with pytest.raises(ValueError, match="score of member 0 is nan; it must be a finite number"):
        greedy_soup([A, A], lambda _: float("nan"))
    with pytest.raises(ValueError, match=r"weights has shape \(3,\); it must be \(2,\)"):
        average_weights([A, A], [1, 1, 1])
