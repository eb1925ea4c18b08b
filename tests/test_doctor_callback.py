"""The doctor in a Hugging Face Trainer: its findings in the log, the same numbers, and an end to a run that is lost."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

import stablelab as lab
from stablelab.doctor.examination import examine_log
from stablelab.doctor.reading import read

CONFIG = BertConfig(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50, num_labels=2
)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(CONFIG)


def examples(learnable: bool):
    """Sequences whose first token says the label, or says nothing of it."""
    generator = torch.Generator().manual_seed(1)
    data = []
    for i in range(256):
        words = torch.randint(2, 50, (8,), generator=generator)
        words[0] = i % 2 if learnable else words[0]
        data.append({"input_ids": words, "labels": torch.tensor(i % 2)})
    return data


@pytest.fixture
def train(model, tmp_path: Path):
    """Train a tiny random BERT; gives back its Trainer."""

    def run(*callbacks, learnable: bool = True, **changes) -> Trainer:
        arguments = {"output_dir": str(tmp_path), "max_steps": 120, "learning_rate": 1e-2, "logging_steps": 1}
        arguments |= {"per_device_train_batch_size": 16, "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
        arguments |= {"report_to": [], "lr_scheduler_type": "constant", **changes}
        trainer = Trainer(
            copy.deepcopy(model), TrainingArguments(**arguments), train_dataset=examples(learnable),
            callbacks=list(callbacks),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return trainer

    return run


def said(trainer: Trainer) -> list[dict]:
    return [entry for entry in trainer.state.log_history if "doctor" in entry]


@pytest.mark.slow
def test_a_healthy_trainer_has_the_numbers_of_one_without_and_no_alarm(train) -> None:
    doctor = lab.DoctorCallback(stop_when_lost=True)
    alone, examined = train(max_steps=100), train(doctor, max_steps=100)
    losses = [[e["loss"] for e in each.state.log_history if "loss" in e] for each in (alone, examined)]
    assert losses[0] == losses[1] and len(losses[0]) == 100
    assert said(examined) == [] and doctor.report.alarms == ()
    assert doctor.report == examine_log(read(examined))


@pytest.mark.slow
def test_a_run_that_stays_at_guessing_is_said_once_and_ended_if_asked(train, capsys, tmp_path) -> None:
    patient = train(lab.DoctorCallback(), learnable=False, learning_rate=1e-7, weight_decay=0.0)
    assert patient.state.global_step == 120
    (entry,) = said(patient)
    assert entry["doctor"] == "the loss does not come away from that of guessing"
    assert (entry["doctor_rule"], entry["doctor_confidence"]) == ("failed_run", "certain")
    assert entry["doctor_cure"] and entry["step"] >= 60  # judged from the half on
    printed = capsys.readouterr().out
    assert printed.count("the loss does not come away from that of guessing") == 1 and "likely:" in printed
    patient.state.save_to_json(str(tmp_path / "trainer_state.json"))
    assert entry in json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]

    ended = train(lab.DoctorCallback(stop_when_lost=True), learnable=False, learning_rate=1e-7, max_steps=1000)
    assert 500 <= ended.state.global_step < 1000
    assert said(ended)[-1]["doctor"].startswith(f"the run is stopped at step {ended.state.global_step}: the loss does")


@pytest.mark.slow
def test_a_run_whose_numbers_are_not_finite_is_ended(train) -> None:
    trainer = train(lab.DoctorCallback(stop_when_lost=True), learning_rate=1e30, max_steps=3000)
    assert trainer.state.global_step < 3000
    assert "not_finite" in [entry.get("doctor_rule") for entry in said(trainer)]


@pytest.mark.slow
def test_an_examination_that_fails_ends_no_training(train, monkeypatch) -> None:
    monkeypatch.setattr("stablelab.doctor_callback.examine_log", lambda log: 1 / 0)
    trainer = train(lab.DoctorCallback(), max_steps=15)
    assert trainer.state.global_step == 15
    assert [e["doctor"] for e in said(trainer)] == ["the examination failed: ZeroDivisionError: division by zero"]
