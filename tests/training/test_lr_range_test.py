from __future__ import annotations

import itertools
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
    assert all(len(losses) > 10 for losses in result.losses)
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
    assert list(result.losses[0]) == pytest.approx(losses, rel=1e-6)
    assert result.blew_up == (False,) * 3


def test_each_stretch_begins_with_the_same_weights_and_has_batches_of_its_own(clouds, make_network):
    batches, asked = clouds.batches(3, 20), []

    class Noted:
        per_epoch = batches.per_epoch

        def __call__(self, k):
            asked.append(k)
            return batches(k)

    model = nn.Linear(4, 3)
    result = range_test(model, Noted(), low=1e-3, high=1.0, steps=6, stretches=4)
    assert asked == list(range(24)) and len(result.losses) == 4
    for stretch, losses in enumerate(result.losses):
        inputs, targets = batches(6 * stretch)
        assert losses[0] == pytest.approx(cross_entropy(model(inputs), targets).item(), rel=1e-6)


@pytest.mark.slow
def test_the_same_arguments_give_the_same_numbers(clouds, make_network):
    one, two = (range_test(make_network(), clouds.batches(0, 20), steps=30) for _ in range(2))
    assert one == two
    assert one != range_test(make_network(), clouds.batches(0, 20), steps=30, seed=1)


@pytest.mark.slow
def test_it_ends_where_the_loss_blows_up(clouds, make_network):
    arguments = {"settings": Settings(optimizer="sgd"), "low": 1e-2, "high": 1e6, "steps": 80}
    result = range_test(make_network(), clouds.batches(0, 20), **arguments)
    assert result.blew_up == (True,) * 3
    for losses in result.losses:
        assert 5 < len(losses) < 80
        *before, last = losses
        assert last > 4 * sum(before) / len(before)
    later = range_test(make_network(), clouds.batches(0, 20), blow_up=1e9, **arguments)
    assert all(len(one) > len(other) for one, other in zip(later.losses, result.losses, strict=True))


def test_it_ends_where_the_loss_is_not_finite(clouds, make_network):
    calls = []

    def breaks(logits, targets):
        calls.append(1)
        return cross_entropy(logits, targets) * (math.nan if len(calls) == 4 else 1.0)

    result = range_test(make_network(), clouds.batches(0, 20), breaks, steps=10)
    assert result.blew_up == (True, False, False) and [len(losses) for losses in result.losses] == [3, 10, 10]
    hopeless = range_test(make_network(), clouds.batches(0, 20), lambda x, y: x.sum() * math.nan)
    assert hopeless.losses == ((),) * 3 and hopeless.blew_up == (True,) * 3
    assert hopeless.suggestion is None and hopeless.fitted == ((),) * 3
    assert hopeless.message.startswith("no suggestion: in 3 of 3 stretches the loss never fell by 5%")


@pytest.mark.slow
def test_the_suggestion_is_a_rate_that_learns(clouds, make_network):
    """Forty steps at the suggested rate do far more than at a hundredth of it."""
    settings = Settings(optimizer="sgd")
    rate = range_test(make_network(), clouds.batches(0, 20), settings=settings, high=100.0, steps=100).suggestion

    def after(learning_rate):
        control = Control(settings.replace(learning_rate=learning_rate))
        record = list(steps(make_network(), clouds.batches(0, 20), cross_entropy, control, total_steps=40))
        return sum(step.loss for step in record[-10:]) / 10

    assert after(rate) < 0.7 * after(rate / 100)


RATES = tuple(10 ** (k / 20 - 4) for k in range(80))  # four orders of magnitude, twenty rates each


def curve(middle, noise=0.0, seed=0, rises_at=1e9):
    """Losses that fall from 2.5 to 0.5, half of it at the rate ``middle``, and blow up at another rate."""
    draws = torch.randn(len(RATES), generator=torch.Generator().manual_seed(seed)).tolist()
    falls = (0.5 + 2 / (1 + (rate / middle) ** 2) for rate in RATES)
    return tuple(
        max(loss + noise * draw, 0.01) + (rate / rises_at) ** 2
        for rate, loss, draw in zip(RATES, falls, draws, strict=True)
    )


def seen(*losses):
    return RangeTest(RATES, losses, (False,) * len(losses))


def test_the_suggestion_is_the_rate_at_half_of_the_fall():
    result = seen(*(curve(0.01),) * 3)
    assert result.rates == pytest.approx([0.01] * 3, rel=0.02)
    assert result.suggestion == pytest.approx(0.01, rel=0.02) and result.spread == pytest.approx(1)
    apart = seen(curve(0.005), curve(0.01), curve(0.02))
    assert apart.suggestion == pytest.approx(0.01, rel=0.02) and apart.spread == pytest.approx(4, rel=0.03)
    assert apart.message == "learning rate 0.01; 3 stretches, between 0.005 and 0.02, a factor of 4.0"


def test_the_noise_of_batches_moves_it_little():
    """Of single curves the steepest straight piece lay within a factor of 32, half of the fall within one of 2.1."""
    found = [seen(*(curve(0.01, 0.3, 3 * s + j, rises_at=0.3) for j in range(3))).suggestion for s in range(40)]
    assert max(found) / min(found) < 2
    assert 0.007 < sum(found) / len(found) < 0.014


def test_a_loss_that_does_not_fall_and_stretches_that_disagree_have_no_suggestion_and_one_line_says_why():
    flat = tuple(2.0 - 0.0005 * k for k in range(80))  # two per cent
    result = seen(curve(0.01), flat, curve(0.01))
    assert result.rates[1] is None and result.suggestion is None and result.spread is None
    assert result.message.startswith("no suggestion: in 1 of 3 stretches the loss never fell by 5%")
    result = seen(curve(0.001), curve(0.01), curve(0.01))
    assert result.suggestion is None and result.spread == pytest.approx(10, rel=0.05)
    assert result.message.startswith(
        "no suggestion: the stretches say rates between 0.001 and 0.01, a factor of 9.9; test with"
    )
    assert "\n" not in result.message


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_that_of_scikit_learn(seed):
    from sklearn.isotonic import IsotonicRegression

    losses = curve(0.01, 0.5, seed, rises_at=0.1)
    fit = seen(losses, losses, losses).fitted[0]
    assert 20 < len(fit) < 80 and all(a >= b for a, b in itertools.pairwise(fit))
    smooth = [sum(losses[k - r : k + r + 1]) / (2 * r + 1) for k in range(80) for r in [min(4, k, 79 - k)]]
    assert smooth.index(min(smooth)) == len(fit) - 1
    theirs = IsotonicRegression(increasing=False).fit_transform(range(len(fit)), smooth[: len(fit)])
    assert list(fit) == pytest.approx(theirs.tolist())


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
        ({"stretches": 2}, "stretches is 2; it must be a whole number of stretches, 3 or more"),
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
