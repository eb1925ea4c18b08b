from __future__ import annotations

import math
import threading

import pytest
import torch
from torch import nn

import stablelab as lab
from stablelab.formulas import cross_entropy
from stablelab.training import Control, RangeTest, Settings, range_test, restored, steps


class Replaces(nn.Module):
    """A layer that counts its calls in a buffer which it replaces instead of filling."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        return x


@pytest.fixture
def model(make_network):
    """Batch norm, dropout, one part in evaluation mode, a frozen weight, a gradient that is there already."""
    model = make_network().append(Replaces())
    model[1].eval()
    model[0].bias.requires_grad_(False)
    model[4].weight.grad = torch.full_like(model[4].weight, 0.5)
    return model


def everything(model):
    """All that must be the same afterwards, with the tensors' identities."""
    tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters() if p.grad is not None)]
    state = [*(t.detach().clone() for t in tensors), torch.get_rng_state()]
    modes = [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in model.modules()]
    return state, (modes, [id(t) for t in tensors])


def same(one, other):
    return one[1] == other[1] and all(map(torch.equal, one[0], other[0]))


def test_everything_is_as_before_bit_for_bit(clouds, model):
    before = everything(model)
    result = range_test(model, clouds.batches(0, 20), settings=Settings(optimizer="sgd"), low=1e-3, high=1e3, steps=50)
    assert len(result.losses) > 10
    assert same(before, everything(model))


def test_everything_is_as_before_where_the_loss_raises(clouds, model):
    before, calls = everything(model), []

    def breaks(logits, targets):
        calls.append(torch.rand(1))
        if len(calls) == 5:
            raise RuntimeError("broken loss")
        return cross_entropy(logits, targets)

    with pytest.raises(RuntimeError, match="broken loss"):
        range_test(model, clouds.batches(0, 20), breaks)
    assert same(before, everything(model))


def test_everything_is_as_before_whatever_a_probe_does(model):
    before = everything(model)
    with pytest.raises(KeyboardInterrupt), restored(model):
        model.train()
        model[4].weight.grad.zero_()
        with torch.no_grad():
            model[4].weight.fill_(torch.nan)
        model(torch.rand(8, 4))
        raise KeyboardInterrupt
    assert same(before, everything(model))


def test_a_run_that_was_probed_between_two_steps_goes_on_as_if_not(clouds, make_network):
    def losses(probe):
        model, control, record = make_network(), Control(Settings(learning_rate=0.02)), []
        for step in steps(model, clouds.batches(0, 20), cross_entropy, control, total_steps=12):
            record.append(step.loss)
            if probe and step.step == 6:
                range_test(model, clouds.batches(0, 20), steps=10, high=10.0)
        return record

    assert losses(probe=True) == losses(probe=False)


def test_other_threads_wait_at_their_next_step(clouds, make_network):
    """So that a run in the background, perhaps of this very model, does not mix with the probe."""
    model, done = make_network(), threading.Event()

    def train():
        list(steps(model, clouds.batches(0, 20), cross_entropy, Control(), total_steps=1))
        done.set()

    with restored(model):
        thread = threading.Thread(target=train, daemon=True)
        thread.start()
        assert not done.wait(0.1)
    assert done.wait(30)


def test_the_rates_grow_by_one_factor_and_the_losses_are_those_of_the_loop(clouds, make_network):
    settings = Settings(optimizer="momentum", learning_rate=7.0, schedule="cosine", warmup_steps=9)
    result = range_test(make_network(), clouds.batches(3, 20), settings=settings, low=1e-4, high=1e-2, steps=5, seed=3)
    assert result.learning_rates == pytest.approx([1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2])
    control, losses = Control(Settings(optimizer="momentum", learning_rate=1e-4)), []
    for step in steps(make_network(), clouds.batches(3, 20), cross_entropy, control, total_steps=5, seed=3):
        losses.append(step.loss)
        control.change(learning_rate=control.settings.learning_rate * 10**0.5)
    assert list(result.losses) == pytest.approx(losses, rel=1e-6)
    assert not result.blew_up


def test_the_same_arguments_give_the_same_numbers(clouds, make_network):
    one, two = (range_test(make_network(), clouds.batches(0, 20), steps=30) for _ in range(2))
    assert one == two
    assert one != range_test(make_network(), clouds.batches(0, 20), steps=30, seed=1)


def test_it_ends_where_the_loss_blows_up(clouds, make_network):
    arguments = {"settings": Settings(optimizer="sgd"), "low": 1e-2, "high": 1e6, "steps": 80}
    result = range_test(make_network(), clouds.batches(0, 20), **arguments)
    assert result.blew_up and 5 < len(result.losses) < 80
    assert len(result.learning_rates) == len(result.smoothed) == len(result.losses)
    *before, last = result.losses
    assert last > 4 * sum(before) / len(before)
    assert result.suggestion is not None and result.suggestion < result.learning_rates[-1]
    later = range_test(make_network(), clouds.batches(0, 20), blow_up=1e9, **arguments)
    assert len(later.losses) > len(result.losses)


def test_it_ends_where_the_loss_is_not_finite(clouds, make_network):
    calls = []

    def breaks(logits, targets):
        calls.append(1)
        return cross_entropy(logits, targets) * (math.nan if len(calls) == 4 else 1.0)

    result = range_test(make_network(), clouds.batches(0, 20), breaks, steps=10)
    assert result.blew_up and len(result.losses) == 3 and all(map(math.isfinite, result.losses))
    hopeless = range_test(make_network(), clouds.batches(0, 20), lambda x, y: x.sum() * math.nan)
    assert hopeless == RangeTest((), (), 12, blew_up=True)
    assert hopeless.suggestion is None and hopeless.smoothed == ()


def test_the_suggestion_is_a_rate_that_learns(clouds, make_network):
    """Forty steps at the suggested rate do far more than at a hundredth of it."""
    settings = Settings(optimizer="sgd")
    rate = range_test(make_network(), clouds.batches(0, 20), settings=settings, high=100.0, steps=100).suggestion

    def after(learning_rate):
        control = Control(settings.replace(learning_rate=learning_rate))
        record = list(steps(make_network(), clouds.batches(0, 20), cross_entropy, control, total_steps=40))
        return sum(step.loss for step in record[-10:]) / 10

    assert after(rate) < 0.7 * after(rate / 100)


def test_the_suggestion_is_the_middle_of_the_steepest_fall():
    rates = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    assert RangeTest(rates, (2.0, 1.9, 1.0, 0.5, 3.0), window=2).suggestion == pytest.approx(10**-2.5)
    assert RangeTest(rates, (2.0, 1.9, 1.0, 0.5, 3.0), window=3).suggestion == pytest.approx(1e-2)
    assert RangeTest(rates, (2.0, 1.97, 1.95, 1.91, 9.0), window=2).suggestion is None  # fell by less than 5 %
    assert RangeTest(rates[:2], (2.0, 1.0), window=3).suggestion is None


def test_the_suggestion_is_that_of_a_straight_line_by_torch():
    generator = torch.Generator().manual_seed(0)
    losses = 2 - torch.linspace(0, 1, 40).cumsum(0) / 20 + 0.1 * torch.rand(40, generator=generator)
    rates = torch.logspace(-5, -1, 40, dtype=torch.float64)
    design = torch.stack([rates.log(), torch.ones(40)], dim=1).double()
    lines = [torch.linalg.lstsq(design[k : k + 8], losses[k : k + 8, None].double()).solution for k in range(33)]
    k = min(range(33), key=lambda k: lines[k][0].item())
    result = RangeTest(tuple(rates.tolist()), tuple(losses.tolist()), window=8)
    assert result.suggestion == pytest.approx((rates[k] * rates[k + 7]).sqrt().item())


def test_smoothing_by_hand():
    result = RangeTest((1.0,) * 6, (1.0, 2.0, 6.0, 4.0, 2.0, 0.0), window=5)
    assert result.smoothed == pytest.approx((1.0, 3.0, 3.0, 2.8, 2.0, 0.0))
    falling = tuple(float(-k) for k in range(9))
    assert RangeTest((1.0,) * 9, falling, window=4).smoothed == pytest.approx(falling)  # no lag


def test_it_is_on_the_front_desk():
    assert lab.range_test is range_test


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"low": 0}, "low is 0; it must be a finite number above 0"),
        ({"low": 0.1, "high": 0.1}, "high is 0.1; it must be a finite number above 0.1"),
        ({"high": math.inf}, "high is inf"),
        ({"steps": 1}, "steps is 1; it must be a whole number of steps, 2 or more"),
        ({"steps": 10.0}, "steps is 10.0"),
        ({"seed": -1}, "seed is -1"),
        ({"window": 1}, "window is 1; it must be a whole number of steps, 2 or more"),
        ({"window": 9, "steps": 8}, "window is 9; it must be at most the number of steps, 8"),
        ({"blow_up": 1}, "blow_up is 1; it must be a finite number above 1"),
    ],
)
def test_bad_input_is_one_line(clouds, make_network, wrong, words):
    with pytest.raises(ValueError) as caught:
        range_test(make_network(), clouds.batches(0, 20), **wrong)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_with_nothing_to_train_is_refused(clouds, make_network):
    with pytest.raises(ValueError, match="no trainable parameter"):
        range_test(make_network().requires_grad_(False), clouds.batches(0, 20))
