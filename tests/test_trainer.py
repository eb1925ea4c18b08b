"""Hugging Face's Trainer, fed the same batches and the same dropout, does what our loop does."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, Trainer, TrainingArguments

import stablelab as lab
from stablelab.formulas import multiplier
from stablelab.training.reproducibility import step_randomness

STEPS, BATCH_SIZE, SEED, WARMUP = 50, 8, 3, 10


class SameSteps(Trainer):
    """Our batches in our order, and the dropout of our step k."""

    plan: list[list[int]]

    def get_train_dataloader(self):
        return DataLoader(self.train_dataset, batch_sampler=self.plan, collate_fn=self.data_collator)

    def training_step(self, *arguments, **keywords):
        with step_randomness(SEED, self.state.global_step, self.args.device):
            return super().training_step(*arguments, **keywords)


class OurWarmup(SameSteps):
    """transformers warms up from a learning rate of 0, we from one of its parts."""

    def create_scheduler(self, num_training_steps, optimizer=None):
        self.lr_scheduler = LambdaLR(
            self.optimizer, lambda k: multiplier("cosine", k, num_training_steps, warmup_steps=WARMUP)
        )


@pytest.fixture(scope="module")
def task():
    """Of 70 sentences and batches of 8 the last of each epoch is smaller; 50 steps are more than five epochs."""
    return lab.reviews("movies", train=70, validation=24, test=24, max_tokens=24)


@pytest.fixture(scope="module")
def model():
    config = BertConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, hidden_dropout_prob=0.1
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(config)


@pytest.fixture
def trainer(task, model, tmp_path: Path):
    """Make a Trainer of a kind, for steps of these sentences (our batches, if not given)."""

    def make(kind=SameSteps, plan=None):
        plan = plan or plan_of(task)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=len(plan),
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            weight_decay=0.1,
            max_grad_norm=0.5,
            per_device_train_batch_size=BATCH_SIZE,
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        made = kind(
            copy.deepcopy(model),
            arguments,
            train_dataset=lab.as_dataset(task.train),
            eval_dataset=lab.as_dataset(task.validation),
            processing_class=lab.tokenizer_for(),
        )
        made.remove_callback(PrinterCallback)
        made.plan = plan
        return made

    return make


@pytest.fixture
def ours(task, model):
    """The history of a run of ours."""

    def train(warmup_steps: int = 0, steps: int = STEPS):
        run = lab.fine_tune(
            copy.deepcopy(model),
            task,
            learning_rate=1e-3,
            schedule="cosine",
            warmup_steps=warmup_steps,
            weight_decay=0.1,
            max_norm=0.5,
            batch_size=BATCH_SIZE,
            steps=steps,
            seed=SEED,
            evaluate_every=0,
            device="cpu",
        )
        return list(run.start().wait(120).history)

    return train


def plan_of(task, steps: int = STEPS) -> list[list[int]]:
    """Which sentences make up which batch."""
    batches = task.batches(SEED, BATCH_SIZE)
    return [batches.positions(k).tolist() for k in range(steps)]


def log_of(trainer: Trainer) -> list[dict[str, float]]:
    """What a Trainer logs as it trains, a dict per step."""
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def apart(history, log) -> float:
    """The largest difference between the losses of a step."""
    return max(abs(step.loss - entry["loss"]) for step, entry in zip(history, log, strict=True))


@pytest.mark.parametrize(("kind", "warmup_steps"), [(SameSteps, 0), (OurWarmup, WARMUP)])
@pytest.mark.slow
def test_fifty_steps_of_trainer_have_our_losses(trainer, ours, kind, warmup_steps):
    history, log = ours(warmup_steps), log_of(trainer(kind))
    assert len(log) == STEPS
    assert apart(history, log) <= 1e-5
    assert [entry["learning_rate"] for entry in log] == pytest.approx([step.learning_rates[0] for step in history])
    assert [entry["grad_norm"] for entry in log] == pytest.approx([step.norm_before for step in history], rel=1e-3)
    assert 0 < sum(step.clipped for step in history) < STEPS


@pytest.mark.slow
def test_two_batches_in_the_other_order_are_seen_in_the_losses(trainer, ours, task):
    first, second, third = plan_of(task, steps=3)
    history = ours(steps=3)
    assert apart(history, log_of(trainer(plan=[first, second, third]))) <= 1e-5
    assert apart(history, log_of(trainer(plan=[first, third, second]))) > 1e-4


def test_trainer_scores_the_validation_split_as_we_do(trainer, task, model):
    scored = lab.evaluate(model, task.validation, lab.formulas.cross_entropy)
    assert trainer(Trainer).evaluate()["eval_loss"] == pytest.approx(scored.loss, abs=1e-5)


def test_trainer_lets_matrices_decay_and_nothing_else(model):
    matrices = {name for name, p in model.named_parameters() if p.ndim >= 2}
    assert set(Trainer.get_decay_parameter_names(None, model)) == matrices
