"""Each injector does what it says: what it changes is looked at, in the recipe or after a few steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_recipes import picture_recipe, text_recipe
from torch import Tensor, nn

from stablelab.doctor.benchmark.faults import FAULTS, fault, flattery, lost_accuracy, misreported
from stablelab.doctor.benchmark.healthy import HEALTHY
from stablelab.doctor.benchmark.recipe import Recipe, forward, train
from stablelab.doctor.benchmark.record import RunRecord
from stablelab.doctor.findings import Cause
from stablelab.doctor.setup import TensorExamples

CHECKS: dict[str, Callable[[], None]] = {}


def pixels(examples: TensorExamples) -> Tensor:
    assert isinstance(examples.inputs, Tensor)
    return examples.inputs


def tokens(examples: TensorExamples, name: str = "input_ids") -> Tensor:
    assert not isinstance(examples.inputs, Tensor)
    return examples.inputs[name]


def sick(name: str, recipe: Recipe | None = None) -> Recipe:
    """The recipe with a fault; of pictures, or of texts where it takes them."""
    if recipe is None:
        recipe = picture_recipe() if fault(name).applies_to(picture_recipe()) else text_recipe()
    return fault(name)(recipe)


def run(name: str, recipe: Recipe | None = None) -> RunRecord:
    return train(sick(name, recipe), 0)


def weights(record: RunRecord) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in record.setup().model.named_parameters()}


def fresh(recipe: Recipe, seed: int = 0) -> nn.Module:
    """The model as ``train`` begins with it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = recipe.make_model()
        for change in (*recipe.before_optimizer, *recipe.after_optimizer):
            change(model)
    return model


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


@check
def rate_too_high() -> None:
    assert run("rate_too_high").log.learning_rates[0] == pytest.approx(100 * picture_recipe().learning_rate)


@check
def rate_too_low() -> None:
    assert run("rate_too_low").log.learning_rates[0] == pytest.approx(picture_recipe().learning_rate / 1000)


@check
def no_bias_correction() -> None:
    recipe = replace(text_recipe(), steps=2)
    corrected = train(replace(recipe, warmup=0, max_norm=None, learning_rate=4 * recipe.learning_rate), 0)
    without = run("no_bias_correction", recipe)
    assert without.log.bias_correction is False and without.log.warmup_steps == 0 and corrected.log.bias_correction
    ratio = without.observed.update_ratio[0] / corrected.observed.update_ratio[0]
    assert 2 < np.nanmedian(ratio) < 3.2  # (1 − β₁) / √(1 − β₂) = 3.16, and less where Adam's ε is felt


@check
def schedule_over() -> None:
    rates = run("schedule_over").log.learning_rates
    assert rates[0] > 0 and not rates[2:].any()


@check
def no_zero_grad() -> None:
    recipe = replace(picture_recipe(), batch_size=96, learning_rate=0.0, eval_from=0, before_optimizer=())
    norms = run("no_zero_grad", recipe).log.norms
    np.testing.assert_allclose(norms, norms[0] * np.arange(1, len(norms) + 1), rtol=1e-3)  # the same gradient, added up


@check
def head_not_in_optimizer() -> None:
    for recipe, head in ((picture_recipe(), "6"), (text_recipe(), "classifier")):
        record = train(fault("head_not_in_optimizer")(recipe, 0.5), 0)
        optimizer = record.setup().optimizer
        assert optimizer is not None
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        missing = {n for n, p in record.setup().model.named_parameters() if id(p) not in trained}
        assert missing == {f"{head}.weight", f"{head}.bias"}
        assert np.all(record.observed.update_ratio[:, -1] == 0) and np.all(record.observed.update_ratio[:, 0] > 0)
    assert not weights(run("head_not_in_optimizer"))["6.weight"].any()


@check
def body_frozen() -> None:
    record = run("body_frozen")
    before = dict(fresh(sick("body_frozen")).named_parameters())
    moved = {name for name, p in weights(record).items() if not torch.equal(p, before[name])}
    assert moved == {"6.weight", "6.bias"}


@check
def broken_head() -> None:
    plain, broken = fresh(picture_recipe()), fresh(sick("broken_head"))
    assert torch.allclose(plain[6].weight * 300, broken[6].weight)  # type: ignore[index]


@check
def dead_units() -> None:
    plain = train(picture_recipe(), 0).observed
    assert plain.zeros[0].max() < 0.8 and run("dead_units").observed.zeros[0].min() > 0.9
    model = fresh(sick("dead_units", text_recipe()))
    bias = model.get_parameter("bert.encoder.layer.0.intermediate.dense.bias")
    assert float((bias < -20).float().mean()) > 0.9


@check
def trained_in_eval_mode() -> None:
    record = run("trained_in_eval_mode")
    model: Any = record.setup().model
    assert not model.training and not model[1].running_mean.any()
    assert train(picture_recipe(), 0).setup().model.training


@check
def validated_in_train_mode() -> None:
    sicker, healthy = run("validated_in_train_mode"), train(picture_recipe(), 0)
    assert misreported(sicker) > 0.05 and misreported(healthy) == 0
    assert sicker.setup().model.training


@check
def softmax_twice() -> None:
    for recipe in (picture_recipe(), text_recipe()):
        broken = sick("softmax_twice", recipe)
        outputs = forward(fresh(broken).eval(), broken.train.collate(torch.arange(4))[0])
        logits = forward(fresh(recipe).eval(), recipe.train.collate(torch.arange(4))[0])
        assert torch.allclose(outputs, logits.softmax(1))
    assert run("softmax_twice").observed.output_is_probability


@check
def loss_summed() -> None:
    plain, summed = train(picture_recipe(), 0), run("loss_summed")
    assert summed.log.losses[0] == pytest.approx(16 * plain.log.losses[0], rel=1e-4)


@check
def labels_flipped() -> None:
    recipe, broken = picture_recipe(), sick("labels_flipped")
    wrong = torch.cat(
        [broken.train.targets != recipe.train.targets, broken.validation.targets != recipe.validation.targets]
    )
    assert 0.25 < float(wrong.float().mean()) < 0.55
    assert torch.equal(broken.test.targets, recipe.test.targets)
    assert torch.equal(pixels(broken.train), pixels(recipe.train))


@check
def labels_shifted() -> None:
    recipe, broken = picture_recipe(), sick("labels_shifted")
    assert torch.equal(broken.train.targets[1:], recipe.train.targets[:-1])
    half = fault("labels_shifted")(recipe, 0.5).train.targets
    assert torch.equal(half[:48], recipe.train.targets[:48]) and torch.equal(half[49:], recipe.train.targets[48:-1])


@check
def imbalance() -> None:
    broken = sick("imbalance")
    for part in (broken.train, broken.validation):
        assert 0.9 < float((part.targets == 0).float().mean()) < 0.98 and len(part.targets.unique()) == 3
    assert broken.test is picture_recipe().test


@check
def not_shuffled() -> None:
    broken = sick("not_shuffled")
    assert torch.equal(broken.train.targets, broken.train.targets.sort().values) and not broken.shuffled
    losses = train(replace(broken, learning_rate=0.0, eval_from=0), 0).log.losses
    np.testing.assert_allclose(losses[:6], losses[6:12], rtol=1e-5)


@check
def pixels_not_scaled() -> None:
    broken = sick("pixels_not_scaled")
    for part in (broken.train, broken.validation, broken.test):
        assert pixels(part).min() >= 0 and 200 < pixels(part).max() <= 255


@check
def wrong_tokenizer() -> None:
    recipe, broken = text_recipe(), sick("wrong_tokenizer")
    before, after = tokens(recipe.train), tokens(broken.train)
    pairs = {(int(a), int(b)) for a, b in zip(before.flatten(), after.flatten(), strict=True)}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)  # one to one
    assert sum(a != b for a, b in pairs) > 0.9 * len(pairs)
    assert broken.tokenizer.convert_ids_to_tokens(after[0]) == recipe.tokenizer.convert_ids_to_tokens(before[0])


@check
def cut_short() -> None:
    broken = sick("cut_short")
    for part in (broken.train, broken.validation, broken.test):
        assert tokens(part).shape[1] == tokens(part, "attention_mask").shape[1] == 4
        assert set(tokens(part)[:, -1].tolist()) == {2}  # the separator


@check
def mask_ignored() -> None:
    broken = sick("mask_ignored")
    inputs, _ = broken.train.collate(torch.arange(4))
    assert not isinstance(inputs, Tensor) and inputs["input_ids"].shape[1] > tokens(text_recipe().train).shape[1]
    model = fresh(broken).eval()
    everywhere = {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}
    assert torch.equal(forward(model, inputs), forward(model, everywhere))
    assert not torch.allclose(forward(model, inputs), forward(fresh(text_recipe()).eval(), inputs))


@check
def mask_inverted() -> None:
    inputs, _ = sick("mask_inverted").train.collate(torch.arange(4))
    assert not isinstance(inputs, Tensor)
    turned = {**inputs, "attention_mask": 1 - inputs["attention_mask"]}
    short = turned["attention_mask"].any(1)
    outputs = forward(fresh(sick("mask_inverted")).eval(), inputs)
    assert torch.equal(outputs[short], forward(fresh(text_recipe()).eval(), turned)[short]) and short.any()


@check
def duplicates() -> None:
    recipe, broken = picture_recipe(), sick("duplicates")
    known = {x.numpy().tobytes(): int(y) for x, y in zip(pixels(recipe.train), recipe.train.targets, strict=True)}
    copies = zip(pixels(broken.validation), broken.validation.targets, strict=True)
    assert all(known.get(x.numpy().tobytes()) == int(y) for x, y in copies)
    assert len(broken.validation) == len(recipe.validation)
    record = run("duplicates")
    assert flattery(record) == record.outcome["reported_accuracy"] - record.outcome["true_accuracy"]


@check
def few_examples() -> None:
    broken = sick("few_examples")
    assert len(broken.train) == 64 and broken.weight_decay == 0 and broken.factor(19) == 1
    assert run("few_examples").observed.dropout == 0 < train(picture_recipe(), 0).observed.dropout


@check
def clipped_away() -> None:
    log = run("clipped_away").log
    assert np.all(log.max_norms == pytest.approx(1e-3)) and np.median(log.norms) > 0.01


@check
def weight_decay() -> None:
    recipe = sick("weight_decay")
    assert recipe.weight_decay >= 1 and recipe.weight_decay * recipe.learning_rate >= 0.0999
    before, after = train(picture_recipe(), 0), train(recipe, 0)
    assert after.observed.weight_mean[-1, 0] < 0.8 * before.observed.weight_mean[-1, 0]


@check
def half_precision() -> None:
    small = fault("half_precision")(picture_recipe(), 1.0)
    lost = train(small, 0)
    full = train(replace(small, half=False), 0)
    assert lost.observed.gradient_zeros[0].max() > 0.9 > full.observed.gradient_zeros[0].max()
    np.testing.assert_allclose(full.log.losses, train(picture_recipe(), 0).log.losses, rtol=1e-3)


@check
def small_batch_norm() -> None:
    assert run("small_batch_norm").log.batch_size == 2


@check
def corrupt_batch() -> None:
    recipe, broken = picture_recipe(), sick("corrupt_batch")
    assert broken.on_batch is not None and broken.onset == 13
    batch = recipe.train.collate(torch.arange(4))
    for k in range(recipe.steps):
        inputs, targets = broken.on_batch(k, *batch)
        assert isinstance(inputs, Tensor) and isinstance(batch[0], Tensor)
        assert torch.equal(inputs, batch[0] * 1e4 if k == 13 else batch[0])
        assert bool((targets == batch[1]).all()) == (k != 13)


@check
def resumed() -> None:
    recipe = sick("resumed", text_recipe())
    record = train(recipe, 0)
    optimizer = record.setup().optimizer
    assert optimizer is not None
    steps = {int(state["step"]) for state in optimizer.state.values()}
    assert steps == {recipe.steps - recipe.onset} and 0 < recipe.onset < recipe.steps
    plan = 1 - np.arange(recipe.steps - recipe.onset) / recipe.steps  # from its start, without the warm-up
    np.testing.assert_allclose(record.log.learning_rates[recipe.onset :], recipe.learning_rate * plan)


@pytest.mark.parametrize("name", [each.name for each in FAULTS])
@pytest.mark.slow
def test_an_injector_does_what_it_says(name: str) -> None:
    CHECKS[name]()


@pytest.mark.parametrize("name", [each.name for each in FAULTS])
def test_half_of_a_fault_runs_and_is_less_of_it(name: str) -> None:
    recipe = picture_recipe() if fault(name).applies_to(picture_recipe()) else text_recipe()
    record = train(replace(fault(name)(recipe, 0.5), steps=4), 0)
    assert len(record.log) == 4
    assert 0 <= lost_accuracy(record) <= 1
    for severity in (0, -1, 1.5):
        with pytest.raises(ValueError, match="severity"):
            fault(name)(recipe, severity)


@pytest.mark.parametrize(
    "variant", [each for each in HEALTHY if each.applies_to(picture_recipe())], ids=lambda each: each.name
)
@pytest.mark.slow
def test_a_healthy_variant_learns(variant: Any) -> None:
    recipe = replace(picture_recipe(), steps=40)
    assert train(variant(recipe), 0).outcome["true_accuracy"] > 1 / recipe.classes + 0.2


def test_padding_changes_no_answer_where_the_mask_is_as_it_should_be() -> None:
    (padded,) = (each(text_recipe()) for each in HEALTHY if each.name == "padded_far")
    assert tokens(padded.train).shape[1] > tokens(text_recipe().train).shape[1]
    model, chosen = fresh(padded).eval(), torch.arange(8)
    plain, wide = (forward(model, each.train.collate(chosen)[0]) for each in (text_recipe(), padded))
    assert torch.allclose(plain, wide, atol=1e-5)


def test_there_are_at_least_22_faults_and_12_healthy_kinds_of_different_names_each_with_its_cause() -> None:
    assert len(FAULTS) >= 22 and len(HEALTHY) >= 12
    names = [each.name for each in (*FAULTS, *HEALTHY)]
    assert len(set(names)) == len(names) and "clean" not in names
    assert all(each.causes and isinstance(each.causes[0], Cause) for each in FAULTS)
    with pytest.raises(ValueError, match="digits cannot have the fault cut_short"):
        fault("cut_short")(picture_recipe())
    with pytest.raises(ValueError, match="there is no fault 'gremlins'"):
        fault("gremlins")
