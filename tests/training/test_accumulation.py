"""Accumulation: many small batches make the step of the large one, for a model with layer norm; not with batch norm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.helpers import same_weights, timeless
from torch import nn

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Run, Settings, steps
from stablelab.training.precision import micro_batches

DESCENT = Settings(optimizer="sgd", learning_rate=0.1, max_norm=0.5, weight_decay=0.01)


class Sentences:
    """Batches of token ids of several lengths, the last of an epoch smaller: 24, 24, 10."""

    per_epoch, batch_size = 3, 24

    def __call__(self, k: int):
        n = 10 if k % 3 == 2 else 24
        generator = torch.Generator().manual_seed(k)
        mask = (torch.arange(9) < torch.randint(3, 10, (n, 1), generator=generator)).long()
        ids = torch.randint(1, 40, (n, 9), generator=generator) * mask
        return {"input_ids": ids, "attention_mask": mask}, torch.randint(0, 3, (n,), generator=generator)


class Clouds58:
    """The same sizes, of points."""

    per_epoch, batch_size = 3, 24

    def __call__(self, k: int):
        n = 10 if k % 3 == 2 else 24
        generator = torch.Generator().manual_seed(k)
        return torch.randn(n, 4, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(BertConfig(vocab_size=40, num_labels=3, **sizes, **dropout))


def mlp(norm: Callable[[int], nn.Module] = nn.LayerNorm) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 16), norm(16), nn.GELU(), nn.Linear(16, 3))


def distance(make, batches, accumulation: int, settings: Settings = DESCENT, n: int = 5) -> tuple[float, float]:
    """How far n steps in micro-batches are from those of the large batch, in a weight and in a loss, at most."""
    models, losses = (make(), make()), []
    for model, count in zip(models, (1, accumulation), strict=True):
        control = Control(settings.replace(accumulation=count))
        losses.append([s.loss for s in steps(model, batches, cross_entropy, control, total_steps=n)])
    pairs = zip(*(model.parameters() for model in models), strict=True)
    weights = max(float((a - b).detach().abs().max()) for a, b in pairs)
    return weights, max(abs(a - b) for a, b in zip(*losses, strict=True))


@pytest.mark.parametrize("accumulation", [2, 3, 8])
@pytest.mark.slow
def test_with_layer_norm_it_is_the_step_of_the_large_batch(accumulation):
    for make, batches in ((bert, Sentences()), (mlp, Clouds58())):
        weights, loss = distance(make, batches, accumulation)
        assert weights < 1e-6 and loss < 1e-6


def test_a_smaller_last_batch_counts_by_its_examples():
    """Ten of 24 examples in parts of at most 24 / 8: the mean of the four means would be another gradient."""
    inputs, targets = Clouds58()(2)
    model, naive = mlp(), mlp()
    cross_entropy(model(inputs), targets).backward()
    parts = list(micro_batches(inputs, targets, 8, batch_size=24))
    assert [len(right) for _, right, _ in parts] == [3, 3, 2, 2] and sum(share for *_, share in parts) == 1
    for part, right, _ in parts:
        (cross_entropy(naive(part), right) / 4).backward()
    weighted = mlp()
    for part, right, share in parts:
        (share * cross_entropy(weighted(part), right)).backward()
    gradients = [torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (model, weighted, naive)]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-6 < 1e-3 < (gradients[0] - gradients[2]).abs().max()


def test_with_batch_norm_it_is_not():
    """Each micro-batch is normalized by itself, so its gradient is another: by per cents, not by rounding."""
    inputs, targets = Clouds58()(0)
    gradients = []
    for count in (1, 2, 8):
        model = mlp(nn.BatchNorm1d)
        for part, right, share in micro_batches(inputs, targets, count):
            (share * cross_entropy(model(part), right)).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    apart = [float((each - gradients[0]).norm() / gradients[0].norm()) for each in gradients[1:]]
    assert 0.02 < apart[0] < apart[1] < 2
    assert distance(lambda: mlp(nn.BatchNorm1d), Clouds58(), 8)[0] > 1e-3


def test_schedules_epochs_clipping_and_checkpoints_count_optimizer_steps(clouds, make_network):
    settings = Settings(learning_rate=0.02, schedule="linear", warmup_steps=3, max_norm=0.1)
    length = {"batch_size": 20, "epochs": 2, "evaluate_every": 5}
    whole, parts = (
        Run(make_network(), clouds, settings=settings.replace(accumulation=n), **length).start().wait(60)
        for n in (1, 4)
    )
    for name in ("step", "epoch", "learning_rates", "max_norm"):
        assert [getattr(step, name) for step in whole.history] == [getattr(step, name) for step in parts.history]
    assert len(parts.history) == 20 and [each.step for each in parts.history.evaluations()] == [5, 10, 15, 20]
    assert all(step.norm_after < 0.1001 for step in parts.history)
    assert {each.step for each in parts.checkpoints} <= set(range(21))


@pytest.mark.slow
def test_it_is_a_live_setting_because_the_batch_stays_the_same(clouds, make_network):
    run = Run(make_network(), clouds, settings=Settings(learning_rate=0.02), batch_size=20, steps=20)
    run.step(8)
    run.wait_paused()
    run.control.change(accumulation=5)
    run.resume()
    run.wait(60)
    assert [str(each) for each in run.history.gestures()] == ["step 9: accumulation off → over 5 micro-batches"]
    branch = run.branch(14).start().wait(60)
    assert timeless(branch.history) == timeless(run.history) and same_weights(branch.model, run.model)
    plain = Run(make_network(), clouds, settings=Settings(learning_rate=0.02), batch_size=20, steps=20)
    assert timeless(plain.start().wait(60).history) == timeless(run.untouched().start().wait(60).history)


def test_an_accumulation_that_does_not_fit_is_refused_in_one_line(clouds, make_network):
    for given in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match="accumulation is .*; it must be a whole number of micro-batches, 1 or"):
            Settings(accumulation=given)
    with pytest.raises(ValueError) as refused:
        Run(make_network(), clouds, settings=Settings(accumulation=3), batch_size=20)
    assert str(refused.value) == (
        "accumulation is 3, which does not divide the batch of 20; it can be 1, 2, 4, 5, 10, 20"
    )
    run = Run(make_network(), clouds, batch_size=20)
    with pytest.raises(ValueError, match="accumulation is 40, which does not divide the batch of 20"):
        run.control.change(accumulation=40)
    assert run.control.settings.accumulation == 1
