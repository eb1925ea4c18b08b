"""``lab.examine`` with model and data: a run of ours, a Trainer, and whatever is handed over."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from support.clouds import Clouds, network
from support.constructed import falling
from support.helpers import until
from support.tiny_setups import PAD, bert_setup, conv_setup, convolutional, pictures, sentences, tiny_bert
from torch import nn
from torch.utils.data import TensorDataset
from transformers import Trainer, TrainingArguments

import stablelab as lab
from stablelab.doctor import Cause
from stablelab.doctor.probes import PROBES
from stablelab.doctor.setup import TrainingSetup
from stablelab.doctor.subjects import read_examples
from stablelab.training import Run

NAMES = {probe.name for probe in PROBES}
TOKENS = {"mask", "unknown_tokens", "cut_off"}


@pytest.fixture(scope="module")
def conv() -> TrainingSetup:
    return conv_setup()


def unknown(report: lab.doctor.Report) -> dict[str, str]:
    return {each.rule: each.reason for each in report.not_checked if each.rule in NAMES}


@pytest.mark.slow
def test_a_run_that_trains_is_not_disturbed_and_a_paused_one_is_examined() -> None:
    run = Run(network(), Clouds(), steps=10**6, batch_size=20)
    run.step(30)
    run.wait_paused()
    weights = copy.deepcopy(run.model.state_dict())
    report = lab.examine(run)
    assert TOKENS <= unknown(report).keys() <= {*TOKENS, "validation_mode"}
    assert all(torch.equal(a, b) for a, b in zip(weights.values(), run.model.state_dict().values(), strict=True))
    run.start()
    until(lambda: run.state == "running")
    reasons = unknown(lab.examine(run))
    run.stop()
    assert reasons == dict.fromkeys(NAMES, "the run is training: pause it, and examine it again")
    assert TOKENS <= unknown(lab.examine(run)).keys() <= {*TOKENS, "validation_mode"}


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_numbers_after_it_was_examined() -> None:
    losses = []
    for looks in (False, True):
        run = Run(network(), Clouds(), steps=40, batch_size=20)
        run.step(20)
        run.wait_paused()
        if looks:
            lab.examine(run)
        run.start().wait(60)
        losses.append([step.loss for step in run.history])
    assert losses[0] == losses[1]


def test_our_own_tasks_are_examined() -> None:
    task = lab.digits(train=60, validation=40, test=40, size=8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 10))
    report = lab.examine(model=model, task=task)
    assert "no_gradient" not in unknown(report) and report.source == "Sequential on 60 examples"
    assert {each.reason for each in report.not_checked if each.rule == "overfitting"} == {
        "there is no log: lab.examine(log, model=..., task=...) examines both"
    }


@pytest.mark.slow
def test_a_model_and_tensors_of_any_loop_with_its_log(conv: TrainingSetup) -> None:
    import pandas

    frame = pandas.DataFrame({"step": conv.log.steps, "loss": conv.log.losses})  # type: ignore[union-attr]
    train = TensorDataset(conv.train.inputs, conv.train.targets)  # type: ignore[attr-defined]
    validation = TensorDataset(conv.validation.inputs, conv.validation.targets)  # type: ignore[attr-defined]
    report = lab.examine(
        frame, model=conv.model, task=(train, validation), optimizer=conv.optimizer, batch_size=conv.batch_size
    )
    assert report.alarms == (), str(report)
    assert unknown(report).keys() == {*TOKENS, "validation_mode", "decayed_weights"}
    report = lab.examine(model=conv.model, task=(train, train), batch_size=2)
    found = {each.causes[0] for each in report.alarms}
    assert {Cause.DUPLICATES, Cause.SMALL_BATCHES} <= found
    assert unknown(report)["missing_from_optimizer"].startswith("the optimizer is not at hand")


def test_items_of_hugging_face_are_read_and_padded() -> None:
    items = [{"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1], "label": 1, "text": "a"}]
    items.append({"input_ids": [5], "attention_mask": [1], "label": 0, "text": "b"})
    examples = read_examples(items, "the training set")
    assert isinstance(examples.inputs, dict)
    assert examples.inputs["input_ids"].tolist() == [[5, 6, 7], [5, 0, 0]]
    assert examples.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert examples.targets.tolist() == [1, 0]


@pytest.mark.slow
def test_a_trainer_brings_its_model_and_data(tmp_path: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = tiny_bert()
        part = sentences(120)
        items = [
            {**{name: x[i] for name, x in part.inputs.items()}, "labels": part.targets[i]}  # type: ignore[union-attr]
            for i in range(120)
        ]
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=20,
            learning_rate=1e-2,
            per_device_train_batch_size=16,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(model, arguments, train_dataset=items[40:], eval_dataset=items[:60])
        trainer.train()
    report = lab.examine(trainer)
    assert "the same examples are in the training and in the validation data" in str(report)
    assert {"unknown_tokens", "validation_mode"} <= unknown(report).keys()
    assert not {"mask", "update_ratio", "missing_from_optimizer"} & unknown(report).keys()
    trainer.eval_dataset = None
    assert set(unknown(lab.examine(trainer)).values()) == {"this Trainer has no eval_dataset"}


def test_a_watched_loop_says_what_would_be_needed() -> None:
    from stablelab.training.own_loop import OwnLoop

    def train(live: Any) -> None:
        for loss in falling(80, seed=3):
            live.record(loss=float(loss), gradient_norm=1.0)

    watched = OwnLoop(train, (), {"learning_rate": 1e-3}, total_steps=80, name="mine")
    watched.start().wait(60)
    report = lab.examine(watched)
    assert unknown(report).keys() == NAMES
    assert str(report).count("lab.examine(..., model=..., task=..., optimizer=...) hands them over") == 1


def test_what_is_certain_comes_before_what_only_the_log_shows(conv: TrainingSetup) -> None:
    broken = nn.Sequential(convolutional(), nn.Softmax(dim=1))
    report = lab.examine(model=broken, task=(conv.train, conv.validation))
    assert report.findings[0].causes == (Cause.SOFTMAX_TWICE,) and report.findings[0].confidence == "certain"
    order = [each.alarm for each in report.findings]
    assert order == sorted(order, reverse=True)


def test_a_model_that_fails_is_a_reason_and_no_crash() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            raise RuntimeError("shapes\ndo not fit")

    reasons = unknown(lab.examine(model=Broken(), task=(pictures(40), pictures(40))))
    assert reasons["batch_leak"] == "it failed: RuntimeError: shapes do not fit"


def test_arguments_stand_in_the_signature() -> None:
    names = list(inspect.signature(lab.examine).parameters)
    assert names[:6] == ["what", "model", "task", "optimizer", "loss_function", "tokenizer"]
    assert "Optimizer" in str(inspect.signature(lab.examine))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"lab.examine takes a run.*or model=\.\.\. and task=\.\.\."),
        ({"model": nn.Linear(2, 2)}, "model is given without task"),
        ({"task": ([], [])}, "task is given without model"),
        ({"optimizer": 3, "what": "x.csv"}, "belong to a model"),
        ({"model": 3, "task": (pictures(9), pictures(9))}, r"model is int 3; it must be a torch.nn.Module"),
        ({"model": nn.ReLU(), "task": (pictures(9), pictures(9))}, "model has no parameters"),
        ({"model": nn.Linear(2, 2), "task": 7}, r"task is int 7; it must be a task .* or a pair"),
        ({"model": nn.Linear(2, 2), "task": (pictures(9), [])}, "the validation set is empty"),
        ({"model": nn.Linear(2, 2), "task": (iter([]), [])}, "the training set has no length"),
        ({"model": nn.Linear(2, 2), "task": ([1, 2], [1, 2])}, r"the items of the training set make no batch"),
        ({"model": nn.Linear(2, 2), "task": ([{"x": 1.0}], [1])}, "an item has x, and none of labels"),
        ({"model": nn.Linear(2, 2), "task": ([(1.0, 0.5)], [1])}, "must be one class number per example"),
        (
            {"model": nn.Linear(2, 2), "task": (pictures(9), pictures(9)), "optimizer": "Adam"},
            "optimizer is str 'Adam'; it must be a torch.optim.Optimizer",
        ),
        ({"model": nn.Linear(2, 2), "task": (pictures(9), pictures(9)), "loss_function": 2}, "loss_function is int 2"),
    ],
)
def test_bad_input_gets_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        lab.examine(**given)
    assert "\n" not in str(refused.value)


def test_padding_is_told_from_the_embeddings() -> None:
    from stablelab.doctor.probing import padding_of

    assert padding_of(bert_setup(steps=1)) == PAD and padding_of(conv_setup(steps=1)) is None
