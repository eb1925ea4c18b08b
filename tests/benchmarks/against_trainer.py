"""One epoch of 320 movie reviews: our run against Hugging Face's Trainer on the same batches."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time

import material
from timing import REPEATS, Row, seconds


def rivals() -> tuple[list[float], list[float]]:
    """Seconds per epoch of either, after a first one to warm up. They take turns, a few steps each, so that a machine
    that slows down slows both; Trainer holds the floor, and its callback lets our run go on in its own thread."""
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainerCallback, TrainingArguments

    batches = [{**inputs, "labels": targets} for inputs, targets in material.epoch_batches()]
    epochs = REPEATS + 1
    run = material.our_run(material.bert(), epochs)
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
            use_cpu=not _gpu(),
        )
        trainer = SameBatches(material.bert(), arguments, train_dataset=batches, callbacks=[TakeTurns()])
        trainer.train()
    run.stop()
    if trainer.state.global_step != len(run.history) or len(batches) % material.TURN:
        raise RuntimeError(f"Trainer did {trainer.state.global_step} steps, our run {len(run.history)}")
    return ours[1:], theirs[1:]


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def rows() -> list[Row]:
    """The row of this benchmark."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    a, b = rivals()
    return [Row("epoch of 320 reviews, our run", a, "Hugging Face Trainer", b, 1.00)]
