from __future__ import annotations

import math
import threading
from dataclasses import replace

import pytest
import torch

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Settings, evaluate, steps
from stablelab.training.loop import TrainingLoop
from stablelab.training.param_groups import Layers
from stablelab.training.reproducibility import one_step_at_a_time


def drain(model, task, settings=None, *, total_steps=30, seed=0, control=None, watch=None, evaluate_every=0):
    control = control or Control(settings)
    record = []
    scored = lambda m, step: evaluate(m, task.validation, cross_entropy, step)  # noqa: E731
    loop = steps(
        model,
        task.batches(seed, 20),
        cross_entropy,
        control,
        total_steps=total_steps,
        seed=seed,
        evaluate=scored,
        evaluate_every=evaluate_every,
    )
    for step in loop:
        record.append(step)
        if watch:
            watch(step, control)
    return record


def numbers(record):
    """What must be the same bit for bit: everything but the clock."""
    timeless = []
    for step in record:
        e = step.evaluation and replace(step.evaluation, seconds=0.0)
        timeless.append(replace(step, seconds=0.0, examples_per_second=0.0, tokens_per_second=None, evaluation=e))
    return timeless


def bare(model, task, optimizer, *, total_steps=30, max_norm=None, seed=0):
    """The same loop, written in plain torch; dropout off."""
    batches, losses = task.batches(seed, 20), []
    for k in range(total_steps):
        inputs, targets = batches(k)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("implementation", ["torch", "workbook"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_the_loop_does_what_a_bare_torch_loop_does(clouds, make_network, optimizer, implementation):
    ours, theirs = make_network().double(), make_network().double()
    for model in (ours, theirs):
        model[3].p = 0.0
    for split in (clouds.train, clouds.validation):
        split.inputs = split.inputs.double()
    settings = Settings(
        learning_rate=0.02, weight_decay=0.1, optimizer=optimizer, implementation=implementation, max_norm=0.5
    )
    groups = [{**g, "weight_decay": 0.1 if g["decays"] else 0.0} for g in Layers(theirs).groups()]
    kinds = {
        "sgd": lambda: torch.optim.SGD(groups, lr=0.02),
        "momentum": lambda: torch.optim.SGD(groups, lr=0.02, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.Adam(groups, lr=0.02),
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.02),
    }
    expected = bare(theirs, clouds, kinds[optimizer](), max_norm=0.5)
    record = drain(ours, clouds, settings)
    assert [s.loss for s in record] == pytest.approx(expected, rel=1e-9)
    assert record[0].optimizer.endswith("torch fused" if implementation == "torch" else "workbook")


def test_same_seed_same_numbers_whatever_else_draws_random_numbers(clouds, make_network):
    one = drain(make_network(), clouds, Settings(learning_rate=0.02), evaluate_every=5)
    two = drain(make_network(), clouds, Settings(learning_rate=0.02), evaluate_every=5, watch=lambda *_: torch.rand(3))
    assert numbers(one) == numbers(two)
    other = drain(make_network(), clouds, Settings(learning_rate=0.02), seed=1)
    assert [s.loss for s in one] != [s.loss for s in other]


def test_nothing_global_is_seeded(clouds, make_network):
    torch.manual_seed(123)
    expected = torch.rand(4)
    torch.manual_seed(123)
    drain(make_network(), clouds, total_steps=3)
    assert torch.equal(torch.rand(4), expected)


def test_a_change_takes_effect_at_the_next_step_and_is_recorded_there(clouds, make_network):
    def watch(step, control):
        if step.step == 10:
            control.change(learning_rate=1e-4, max_norm=0.5)

    record = drain(make_network(), clouds, Settings(learning_rate=1e-3), watch=watch)
    assert [s.learning_rates[0] for s in record] == [1e-3] * 10 + [1e-4] * 20
    assert [s.step for s in record if s.interventions] == [11]
    assert [str(i) for i in record[10].interventions] == [
        "step 11: learning rate 1e-3 → 1e-4",
        "step 11: clip threshold off → 0.5",
    ]


def test_a_change_of_optimizer_starts_with_fresh_state(clouds, make_network):
    def switch(step, control):
        if step.step == 15:
            control.change(optimizer="momentum", learning_rate=0.05)

    switched = make_network()
    record = drain(switched, clouds, Settings(learning_rate=0.02, optimizer="adam"), watch=switch, total_steps=16)
    before = make_network()
    drain(before, clouds, Settings(learning_rate=0.02, optimizer="adam"), total_steps=15)
    moved = [(a - b).detach() for a, b in zip(before.parameters(), switched.parameters(), strict=True)]
    norm = torch.linalg.vector_norm(torch.cat([m.flatten() for m in moved]))
    # A fresh momentum buffer is the gradient itself, so the first update has length learning rate times its norm.
    assert float(norm) == pytest.approx(0.05 * record[-1].norm_before, rel=1e-4)


def test_clipping_is_recorded_with_the_norm_on_both_sides(clouds, make_network):
    record = drain(make_network(), clouds, Settings(max_norm=0.3))
    assert any(s.clipped for s in record)
    for step in record:
        assert step.clipped == (step.norm_before > 0.3)
        assert step.norm_after == pytest.approx(min(step.norm_before, 0.3), rel=1e-4)


def test_schedule_and_warm_up_multiply_the_learning_rate(clouds, make_network):
    record = drain(make_network(), clouds, Settings(learning_rate=0.01, schedule="cosine", warmup_steps=5))
    rates = [s.learning_rates[0] for s in record]
    assert rates[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert rates[5] == pytest.approx(0.01)
    assert rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] < 1e-4


def test_plateau_reads_the_validation_losses_of_the_run(clouds, make_network):
    settings = Settings(learning_rate=1e-6, schedule="plateau", patience=1, factor=0.5, optimizer="sgd")
    flat = drain(make_network(), clouds, settings.replace(learning_rate=1e-30), evaluate_every=1, total_steps=8)
    assert flat[0].learning_rates[0] == 1e-30
    assert flat[-1].learning_rates[0] < 0.6e-30


def test_validation_is_due_every_n_steps_and_at_the_end(clouds, make_network):
    record = drain(make_network(), clouds, Settings(learning_rate=0.05), evaluate_every=7)
    due = [s.step for s in record if s.evaluation]
    assert due == [7, 14, 21, 28, 30]
    last = record[-1].evaluation
    assert last.step == 30 and last.accuracy > 0.8 and 0 < last.f1 <= 1


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_diverged_step_makes_no_update_and_brings_the_last_good_weights_back(clouds, make_network, optimizer):
    model = make_network()

    def blow_up(step, control):
        if step.step == 10:
            control.change(learning_rate=1e38)
        if step.diverged:
            control.change(learning_rate=1e-3)

    record = drain(model, clouds, Settings(learning_rate=0.01, optimizer=optimizer), watch=blow_up)
    bad = next(s for s in record if s.diverged)
    assert not (math.isfinite(bad.loss) and math.isfinite(bad.norm_before))
    assert 10 <= bad.kept < bad.step
    after = record[bad.step :]
    assert after and all(math.isfinite(s.loss) for s in after)
    assert all(torch.isfinite(p).all() for p in model.state_dict().values())


@pytest.mark.parametrize("broken", [1, 2])
def test_a_loss_that_is_not_finite_from_the_very_first_step_leaves_no_trace_in_batch_norm(clouds, make_network, broken):
    """Nor in anything else: training goes on as if these steps had not been."""
    model, first = make_network(), make_network().state_dict()
    seen = []

    def breaking(inputs, settings):
        seen.append(1)
        return inputs * math.nan if len(seen) <= broken else inputs

    loop = steps(model, clouds.batches(0, 20), cross_entropy, Control(), total_steps=6, augment=breaking)
    for step in loop:
        assert step.diverged == (step.step <= broken)
        if step.diverged:
            assert step.kept == step.step - 1
            assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_what_a_gpu_leaves_to_the_optimizer_is_the_step_that_a_processor_makes(
    clouds, make_network, monkeypatch, optimizer, accumulation
):
    """There the optimizer itself leaves out a step that is not finite, so that nothing is read before it."""

    def breaking(inputs, settings):
        seen.append(1)
        return inputs * (math.nan if len(seen) in (1, 9) else 1.0)

    runs = []
    for unread in (False, True):
        monkeypatch.setattr(TrainingLoop, "_steps_unread", lambda loop, unread=unread: unread)
        model, seen = make_network(), []
        settings = Settings(learning_rate=0.05, optimizer=optimizer, max_norm=0.5, accumulation=accumulation)
        arguments = {"total_steps": 20, "augment": breaking}
        record = list(steps(model, clouds.batches(0, 20), cross_entropy, Control(settings), **arguments))
        assert [step.step for step in record if step.diverged] == [1, 9]
        said = [(step.loss, step.norm_before, step.norm_after, step.clipped, step.kept) for step in record]
        runs.append((said, model.state_dict()))
    (said, weights), (again, others) = runs
    assert repr(said) == repr(again) and len({clipped for *_, clipped, _ in said}) == 2  # nan and all
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


def test_a_model_with_nothing_to_train_is_refused(clouds, make_network):
    model = make_network().requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        drain(model, clouds)


def test_nothing_may_change_the_models_mode_while_it_is_validated(clouds, make_network):
    free = []

    def scored(model, step):
        thread = threading.Thread(target=lambda: free.append(one_step_at_a_time.acquire(blocking=False)))
        thread.start()
        thread.join()
        return evaluate(model, clouds.validation, cross_entropy, step)

    arguments = {"total_steps": 4, "evaluate": scored, "evaluate_every": 2}
    for _ in steps(make_network(), clouds.batches(0, 20), cross_entropy, Control(Settings()), **arguments):
        pass
    assert free == [False, False]
