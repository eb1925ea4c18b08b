"""One epoch of 320 movie reviews: our run against Hugging Face's Trainer on the same batches, at equal precision."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time

import material
import torch
from arithmetic import alone
from timing import Row, seconds

from stablelab.training.precision import slower_here

EPOCHS = 5


def rivals(precision: str) -> tuple[list[float], list[float]]:
    """Seconds per epoch of either, after a first one to warm up. They take turns, a few steps each, so that a machine
    that slows down slows both; Trainer holds the floor, and its callback lets our run go on in its own thread."""
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainerCallback, TrainingArguments

    batches = [{**inputs, "labels": targets} for inputs, targets in material.epoch_batches()]
    epochs = EPOCHS + 1
    run = material.our_run(material.bert(), epochs, precision)
    ours: list[float] = []
    theirs: list[float] = []

    class TakeTurns(TrainerCallback):
        began = 0.0

        def on_epoch_begin(self, *_, **__):
            ours.append(0.0)
            theirs.append(0.0)
            self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            if state.global_step % material.TURN == 0:
                theirs[-1] += time.perf_counter() - self.began
                ours[-1] += seconds(lambda: material.turn(run))
                self.began = time.perf_counter()

    class SameBatches(Trainer):
        def get_train_dataloader(self):
            return DataLoader(batches, batch_size=None, shuffle=False)

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=material.BATCH_SIZE,
            learning_rate=material.LEARNING_RATE,
            weight_decay=0.01,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=precision == "bf16",
        )
        trainer = SameBatches(material.bert(), arguments, train_dataset=batches, callbacks=[TakeTurns()])
        trainer.train()
    run.stop()
    if trainer.state.global_step != len(run.history) or len(batches) % material.TURN:
        raise RuntimeError(f"Trainer did {trainer.state.global_step} steps, our run {len(run.history)}")
    return ours[1:], theirs[1:]


def rows() -> list[Row]:
    """A row for each precision in which a processor is fast."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    table = []
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if not slower_here(precision, torch.device("cpu")):
            ours, theirs = rivals(precision)
            limit = alone(material.epoch_flops(), dtype)
            what = f"epoch of 320 reviews in {precision}, our run"
            table.append(Row(what, ours, "Hugging Face Trainer", theirs, 1.00, limit))
    return table
