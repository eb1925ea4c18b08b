"""Loops that are not ours, on a GPU: a plain one and Hugging Face's Trainer, moved while they train."""

from __future__ import annotations

import copy

import pytest
import torch
from support.gpu import DEVICE, ON_GPU
from torch.nn import functional as F

import stablelab as lab

pytestmark = pytest.mark.gpu


def test_a_loop_of_ones_own_is_watched_and_moved(pretrained):
    base, task = pretrained["resnet"]
    model, batches = copy.deepcopy(base).to(DEVICE).train(), task.batches(0, 10)

    def train(live):
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        for k in range(12):
            inputs, targets = batches(k)
            loss = F.cross_entropy(model(inputs.to(DEVICE)), targets.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), live.max_norm)
            for group in optimizer.param_groups:
                group["lr"] = live.learning_rate
            optimizer.step()
            live.record(loss=loss, gradient_norm=norm, largest=norm.max())  # tensors, still on the device

    run = lab.watch(train, steps=12, learning_rate=1e-3, max_norm=1.0)
    run.step(4)
    run.wait_paused()
    run.control.change(learning_rate=1e-5)
    run.resume()
    run.wait(120)
    assert [step.learning_rates[0] for step in run.history] == [1e-3] * 4 + [1e-5] * 8
    assert all(isinstance(step.loss, float) and step.norm_before > 0 for step in run.history)


def test_a_trainer_is_watched_and_moved(pretrained, tmp_path):
    from transformers import Trainer, TrainingArguments

    base, task = pretrained["bert"]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=10,
        per_device_train_batch_size=8,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        save_strategy="no",
        logging_steps=10**6,
        report_to=[],
        disable_tqdm=True,
        use_cpu=not ON_GPU,
    )
    trainer = Trainer(
        copy.deepcopy(base),
        arguments,
        train_dataset=lab.as_dataset(task.train),
        eval_dataset=lab.as_dataset(task.validation),
        processing_class=lab.tokenizer_for(),
    )
    run = lab.watch(trainer)
    run.step(4)
    run.wait_paused()
    run.control.change(learning_rate=2e-5)
    run.resume()
    run.wait(120)
    assert {p.device.type for p in trainer.model.parameters()} == {DEVICE.type}
    assert [step.learning_rates[0] for step in run.history] == pytest.approx([1e-4] * 4 + [2e-5] * 6)
    report = lab.examine(run)
    assert not [each for each in report.not_checked if "failed:" in str(each)]
