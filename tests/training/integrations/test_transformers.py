"""A Hugging Face Trainer under the dashboard: its own numbers, our sliders, and all put back afterwards."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from support.helpers import same_weights, until
from torch.utils.data import IterableDataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from stablelab.training.integrations.transformers import HuggingFaceRun, SteeringCallback

PLANS = [
    {"lr_scheduler_type": "cosine", "logging_steps": 1},
    {"lr_scheduler_type": "linear", "warmup_steps": 3, "max_grad_norm": 0.0, "logging_steps": 1, "disable_tqdm": False},
    {"gradient_accumulation_steps": 3, "logging_steps": 1, "eval_strategy": "epoch"},
    {"lr_scheduler_type": "constant", "logging_steps": 4, "eval_strategy": "no"},
]


@pytest.fixture(scope="module")
def model():
    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50, num_labels=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(config)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    return [
        {"input_ids": torch.randint(50, (8,), generator=generator), "labels": torch.tensor(i % 2)} for i in range(48)
    ]


@pytest.fixture
def trainer(model, data, tmp_path: Path):
    """Make a Trainer, its arguments changed as given."""

    def make(callbacks=None, train=data, **changes) -> Trainer:
        arguments = {
            "output_dir": str(tmp_path),
            "max_steps": 12,
            "learning_rate": 1e-2,
            "weight_decay": 0.1,
            "max_grad_norm": 0.5,
            "per_device_train_batch_size": 4,
            "eval_strategy": "steps",
            "eval_steps": 5,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "use_cpu": True,
        }
        scored = lambda predictions: {"accuracy": 0.5}  # noqa: E731
        return Trainer(
            copy.deepcopy(model),
            TrainingArguments(**arguments | changes),
            train_dataset=train,
            eval_dataset=data[:8],
            compute_metrics=scored,
            callbacks=callbacks,
        )

    return make


def paused_after(run: HuggingFaceRun, steps: int) -> HuggingFaceRun:
    run.step(steps)
    run.wait_paused()
    return run


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.slow
def test_untouched_it_has_the_numbers_of_the_trainer_alone(trainer, plan) -> None:
    alone = trainer(**plan)  # a Trainer seeds torch when it is made
    alone.train()
    watched = trainer(**plan)
    before = list(watched.callback_handler.callbacks)
    run = HuggingFaceRun(watched).start().wait(60)
    assert same_weights(alone.model, watched.model)
    assert (run.state, len(run.history), run.total_steps) == ("finished", 12, 12)
    assert run.history.interventions() == ()
    log = [entry for entry in alone.state.log_history if "loss" in entry]
    if plan["logging_steps"] == 1:
        assert [s.loss for s in run.history] == [entry["loss"] for entry in log]
        assert [s.norm_before for s in run.history] == [entry["grad_norm"] for entry in log]
        assert [s.learning_rates[0] for s in run.history] == [entry["learning_rate"] for entry in log]
    scored = [(entry["step"], entry["eval_loss"]) for entry in alone.state.log_history if "eval_loss" in entry]
    assert [(each.step, each.loss) for each in run.history.evaluations()] == scored
    assert all(each.accuracy == 0.5 for each in run.history.evaluations())
    assert watched.callback_handler.callbacks == before
    assert "training_step" not in vars(watched) and "clip_grad_norm_" not in vars(watched.accelerator)


@pytest.mark.slow
def test_a_change_acts_from_the_next_step_on_and_the_schedule_keeps_its_shape(trainer) -> None:
    alone = trainer(logging_steps=1)
    alone.train()
    watched = trainer(logging_steps=1)
    planned = [entry["learning_rate"] for entry in alone.state.log_history if "loss" in entry]
    run = paused_after(HuggingFaceRun(watched), 4)
    run.control.change(learning_rate=1e-3, max_norm=0.01, weight_decay=0.3)
    paused_after(run, 2)
    decays = [group["weight_decay"] for group in watched.optimizer.param_groups]
    run.control.change(learning_rate=1e-2, max_norm=None)
    run.resume()
    run.wait(60)
    rates = [step.learning_rates[0] for step in run.history]
    assert rates[:4] + rates[6:] == planned[:4] + planned[6:]
    assert rates[4:6] == pytest.approx([rate / 10 for rate in planned[4:6]], rel=1e-12)
    assert [step.max_norm for step in run.history] == [0.5] * 4 + [0.01] * 2 + [None] * 6
    assert run.history[4].clipped and run.history[4].norm_after == 0.01
    assert decays == [0.3, 0.0]  # what must not decay does not
    assert [(each.step, each.name) for each in run.history.interventions()] == [
        (5, "learning_rate"),
        (5, "max_norm"),
        (5, "weight_decay"),
        (7, "learning_rate"),
        (7, "max_norm"),
    ]


@pytest.mark.slow
def test_a_constant_rate_is_the_slider_exactly(trainer) -> None:
    run = paused_after(HuggingFaceRun(trainer(lr_scheduler_type="constant")), 1)
    for rate in (3e-3, 7e-4, 0.1):
        run.control.change(learning_rate=rate)
        paused_after(run, 1)
    run.stop()
    assert [step.learning_rates[0] for step in run.history] == [1e-2, 3e-3, 7e-4, 0.1]


@pytest.mark.slow
def test_pause_one_step_and_stop_end_it_as_trainer_ends(trainer) -> None:
    ended: list[int] = []

    class Ends(TrainerCallback):
        def on_train_end(self, args, state, control, **_) -> None:
            ended.append(state.global_step)

    run = paused_after(HuggingFaceRun(trainer([Ends()])), 5)
    assert (run.state, len(run.history), run.history.evaluations()[0].step) == ("paused", 5, 5)
    paused_after(run, 1)
    run.stop()
    assert (run.state, len(run.history), run.error, ended) == ("stopped", 6, None, [6])
    assert run.message == "stopped at step 6 of 12"


@pytest.mark.slow
def test_stopped_before_its_first_step_it_trains_nothing(trainer) -> None:
    watched = trainer()
    run = HuggingFaceRun(watched)
    run.control.pause()
    run.start()
    until(lambda: run.state == "paused")
    run.stop()
    assert (run.state, run.error, watched.state.global_step) == ("stopped", None, 0)


@pytest.mark.slow
def test_its_own_printing_gives_way_and_comes_back(trainer, capfd) -> None:
    for disable in (True, False):
        watched = trainer(disable_tqdm=disable, logging_steps=1)
        printing = watched.callback_handler.callbacks[-1]
        HuggingFaceRun(watched).start().wait(60)
        out, err = capfd.readouterr()
        assert "loss" not in out and "it/s" not in err
        assert watched.callback_handler.callbacks[-1] is printing


@pytest.mark.slow
def test_what_cannot_be_watched_is_refused_in_one_line(trainer) -> None:
    watched = trainer()
    run = HuggingFaceRun(watched)
    with pytest.raises(ValueError, match="BertForSequenceClassification is watched already: start that run"):
        HuggingFaceRun(watched)
    paused_after(run, 1)
    with pytest.raises(ValueError, match="is being trained by another run .*: stop it first"):
        HuggingFaceRun(watched)
    run.stop()
    with pytest.raises(ValueError, match="this Trainer has trained 1 steps already"):
        HuggingFaceRun(watched)
    assert set(run.cannot) == {"reset", "branch", "untouched"}


@pytest.mark.slow
def test_an_exception_is_kept_and_all_is_put_back(trainer) -> None:
    watched = trainer()
    before = list(watched.callback_handler.callbacks)

    def broken(*_, **__):
        raise RuntimeError("no loss today")

    watched.compute_loss = broken
    with pytest.raises(RuntimeError, match="no loss today"):
        HuggingFaceRun(watched).start().wait(60)
    assert watched.callback_handler.callbacks == before and "training_step" not in vars(watched)


@pytest.mark.slow
def test_a_trainer_without_data_ends_without_a_step(trainer) -> None:
    class Empty(IterableDataset):
        def __iter__(self):
            return iter(())

    run = HuggingFaceRun(trainer(train=Empty(), accelerator_config={"dispatch_batches": False})).start()
    with pytest.raises(ValueError, match="the Trainer ended without a step"):
        run.wait(60)


# -- added by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("disable", [False, True])
@pytest.mark.slow
def test_a_callback_added_by_hand_records_the_same(trainer, capfd, late, disable) -> None:
    plan = {"logging_steps": 1, "disable_tqdm": disable}
    run = HuggingFaceRun(trainer(**plan)).start().wait(60)
    callback = SteeringCallback()
    by_hand = trainer(None if late else [callback], **plan)
    if late:
        by_hand.add_callback(callback)
    before = list(by_hand.callback_handler.callbacks)
    capfd.readouterr()
    by_hand.train()
    assert [s.loss for s in callback.run.history] == [s.loss for s in run.history]
    assert (callback.run.state, callback.run.total_steps) == ("finished", 12)
    assert by_hand.callback_handler.callbacks == before
    assert "loss" not in capfd.readouterr().out
    by_hand.args.max_steps = 14
    by_hand.train()  # whoever trains by hand may do so twice
    assert len(callback.run.history) == 14


@pytest.mark.slow
def test_by_hand_a_change_acts_and_a_stop_ends_it(trainer) -> None:
    class Meddles(TrainerCallback):
        def on_step_end(self, args, state, control, **_) -> None:
            if state.global_step == 3:
                callback.run.control.change(learning_rate=0.1)
            if state.global_step == 6:
                callback.run.control.stop()

    callback = SteeringCallback()
    by_hand = trainer([Meddles(), callback], lr_scheduler_type="constant")
    by_hand.train()
    assert [step.learning_rates[0] for step in callback.run.history] == [1e-2] * 3 + [0.1] * 3
    assert (callback.run.state, by_hand.state.global_step) == ("stopped", 6)


@pytest.mark.slow
def test_by_hand_an_exception_ends_the_run_and_is_raised(trainer) -> None:
    callback = SteeringCallback()
    by_hand = trainer([callback])
    by_hand.compute_loss = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        by_hand.train()
    assert (callback.run.state, "training_step" in vars(by_hand)) == ("failed", False)
    assert any(isinstance(each, PrinterCallback) for each in by_hand.callback_handler.callbacks)
