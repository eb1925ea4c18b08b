"""Layers: which train, how fast, and that those that do not stand still; and early stopping with its best weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.helpers import until

from stablelab.training import Control, Run, Settings, evaluate, steps
from stablelab.training.param_groups import Layers, apply_settings, build_optimizer, step_together
from stablelab.training.settings import OPTIMIZERS

NAMES = (("4",), ("1",), ("0",))


def drain(model, task, settings, total_steps=12, control=None, watch=None):
    record = []
    arguments = {"total_steps": total_steps, "layers": NAMES}
    for step in steps(
        model, task.batches(0, 20), torch.nn.functional.cross_entropy, control or Control(settings), **arguments
    ):
        record.append(step)
        if watch is not None:
            watch(step, model)
    return record


def test_each_layer_has_its_own_rate(clouds, make_network):
    record = drain(make_network(), clouds, Settings(learning_rate=0.1, layer_decay=0.5))
    assert record[0].learning_rates == pytest.approx((0.1, 0.1, 0.05, 0.025, 0.025))  # matrices and vectors of each


def test_a_layer_with_its_own_rate_moves_as_torch_moves_it(clouds, make_network):
    ours, theirs = make_network(), make_network()
    drain(ours, clouds, Settings(learning_rate=0.1, optimizer="sgd", layer_decay=0.5), total_steps=1)
    torch.manual_seed(0)  # the dropout of step 0 draws from (seed, step) = (0, 0)
    inputs, targets = clouds.batches(0, 20)(0)
    torch.nn.functional.cross_entropy(theirs(inputs), targets).backward()
    rates = [(theirs[4], 0.1), (theirs[1], 0.05), (theirs[0], 0.025)]
    torch.optim.SGD([{"params": layer.parameters(), "lr": rate} for layer, rate in rates], lr=1.0).step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


@pytest.mark.parametrize("implementation", ["torch", "workbook"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_layers_that_begin_one_after_another_come_to_the_same_together_and_each_by_itself(
    make_network, optimizer, implementation
):
    settings = Settings(optimizer=optimizer, implementation=implementation, learning_rate=0.01, weight_decay=0.1)
    ends = []
    for together in (True, False):
        model = make_network()
        layers = Layers(model, NAMES)
        made = build_optimizer(layers.groups(), settings)
        for k in range(5):
            generator = torch.Generator().manual_seed(k)
            for group in made.param_groups:
                for p in group["params"]:
                    p.grad = torch.randn(p.shape, generator=generator) if group["depth"] <= k // 2 else None
            apply_settings(settings, 0.01, made)
            step_together(made) if together else made.step()
        ends.append(list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("implementation", ["torch", "workbook"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_groups_of_the_same_settings_act_as_one_and_come_to_the_same(make_network, optimizer, implementation):
    settings = Settings(optimizer=optimizer, implementation=implementation, learning_rate=0.01, weight_decay=0.1)
    for layer_decay, calls in ((1.0, 2), (0.5, 5)):
        ends = []
        for together in (True, False):
            model = make_network()
            made = build_optimizer(Layers(model, NAMES).groups(), settings)
            counts = []
            made.register_step_pre_hook(lambda it, *_, counts=counts: counts.append(len(it.param_groups)))
            for k in range(3):
                generator = torch.Generator().manual_seed(k)
                for p in model.parameters():
                    p.grad = torch.randn(p.shape, generator=generator)
                apply_settings(replace(settings, layer_decay=layer_decay), 0.01, made)
                step_together(made) if together else made.step()
            assert counts == [calls if together else 5] * 3
            assert [group["depth"] for group in made.param_groups] == [0, 0, 1, 2, 2]
            ends.append(list(model.parameters()))
        assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_frozen_layers_stand_still_statistics_included_and_thaw_one_after_another(clouds, make_network):
    before = {k: v.clone() for k, v in make_network().state_dict().items()}
    moved = {}

    def watch(step, model):
        moved[step.step] = {k[0] for k, v in model.state_dict().items() if not torch.equal(v, before[k])}

    model = make_network()
    settings = Settings(learning_rate=0.02, weight_decay=0.1, unfrozen=1, unfreeze_every=4)
    drain(model, clouds, settings, watch=watch)
    assert moved[4] == {"4"}
    assert moved[5] == {"4", "1"} == moved[8]
    assert moved[9] == {"4", "1", "0"}
    assert all(p.requires_grad for p in model.parameters())


def test_after_a_run_that_froze_layers_everything_may_train_again(clouds, make_network):
    model = make_network()
    run = Run(model, clouds, settings=Settings(unfrozen=1), steps=5, batch_size=20, layers=NAMES)
    run.step(2)
    until(lambda: len(run.history) >= 2)
    run.stop()
    assert all(p.requires_grad for p in model.parameters())


def test_parameters_that_were_frozen_before_the_run_stay_so(clouds, make_network):
    model = make_network()
    model[0].requires_grad_(False)
    first = model[0].weight.clone()
    drain(model, clouds, Settings(learning_rate=0.02, unfrozen=1, unfreeze_every=2))
    assert torch.equal(model[0].weight, first) and not model[0].weight.requires_grad


@pytest.mark.parametrize(
    ("names", "message"),
    [((("4",), ("0",)), "no layer holds the parameter '1.weight'"), ((("9",),), "no module or parameter '9'")],
)
def test_layers_that_do_not_fit_the_model(make_network, names, message):
    with pytest.raises(ValueError, match=message):
        Layers(make_network(), names)


def test_a_parameter_may_be_named_itself(make_network):
    layers = Layers(make_network(), (("4",), ("1", "0.weight"), ("0.bias",)))
    assert [group["depth"] for group in layers.groups()] == [0, 0, 1, 1, 2]


class Scripted:
    """Validation losses from a list, with the rest of a real evaluation."""

    def __init__(self, task, losses):
        self.task, self.losses = task, iter(losses)

    def __call__(self, model, step):
        real = evaluate(model, self.task.validation, torch.nn.functional.cross_entropy, step)
        return replace(real, loss=next(self.losses))


def stopped(clouds, make_network, losses, settings, watch=lambda step, model: None):
    model = make_network()
    loop = steps(
        model,
        clouds.batches(0, 20),
        torch.nn.functional.cross_entropy,
        Control(settings),
        total_steps=12,
        evaluate=Scripted(clouds, losses),
        evaluate_every=2,
    )
    record = []
    for step in loop:
        record.append(step)
        watch(step, model)
    return record, model


def test_early_stopping_ends_training_and_puts_the_best_weights_back(clouds, make_network):
    seen = {}
    record, model = stopped(
        clouds,
        make_network,
        [0.9, 0.5, 0.7, 0.6, 0.1, 0.1],
        Settings(early_stopping=2),
        lambda step, model: seen.update({step.step: {k: v.clone() for k, v in model.state_dict().items()}}),
    )
    assert len(record) == 8 and record[-1].stopped_early and record[-1].kept == 4
    assert not any(step.stopped_early or step.kept for step in record[:-1])
    assert all(torch.equal(v, seen[4][k]) for k, v in model.state_dict().items())


def test_a_run_to_its_end_keeps_its_best_weights_too(clouds, make_network):
    record, _ = stopped(clouds, make_network, [0.9, 0.5, 0.4, 0.3, 0.6, 0.7], Settings(early_stopping=5))
    assert (len(record), record[-1].kept, record[-1].stopped_early) == (12, 8, False)


def test_without_early_stopping_the_last_weights_stay(clouds, make_network):
    record, _ = stopped(clouds, make_network, [0.9, 0.5, 0.7, 0.6, 0.8, 0.9], Settings())
    assert len(record) == 12 and record[-1].kept is None


def test_a_loss_that_is_no_number_is_never_the_best(clouds, make_network):
    record, _ = stopped(
        clouds, make_network, [float("nan"), 0.5, float("nan"), 0.6, 0.1, 0.1], Settings(early_stopping=2)
    )
    assert (len(record), record[-1].kept) == (8, 4)


def test_a_run_that_stopped_early_says_so(clouds, make_network):
    settings = Settings(learning_rate=3.0, optimizer="sgd", early_stopping=1)
    run = Run(make_network(), clouds, settings=settings, steps=400, batch_size=20, evaluate_every=2).start().wait(60)
    last = run.history[-1]
    assert run.state == "finished" and last.step < 400
    assert run.message == f"stopped early at step {last.step}; best weights, of step {last.kept}, put back"
    assert run.best.step == last.kept
    score = evaluate(run.model, clouds.validation, run.loss)
    assert score.loss == run.best.loss
