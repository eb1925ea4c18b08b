"""One epoch of 320 movie reviews: our run against Hugging Face's Trainer on the same batches."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time

import material
from timing import Row, alternate, seconds


def ours() -> float:
    """Seconds from start to the last step, thread and optimizer included."""
    run = material.our_run(material.bert())
    return seconds(lambda: run.start().wait())


def trainers() -> float:
    """Seconds from the epoch's first batch to its end, as Trainer's own callbacks tell."""
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainerCallback, TrainingArguments

    batches = [{**inputs, "labels": targets} for inputs, targets in material.epoch_batches()]

    class Stopwatch(TrainerCallback):
        began = ended = 0.0

        def on_epoch_begin(self, *_, **__):
            self.began = time.perf_counter()

        def on_epoch_end(self, *_, **__):
            self.ended = time.perf_counter()

    class SameBatches(Trainer):
        def get_train_dataloader(self):
            return DataLoader(batches, batch_size=None, shuffle=False)

    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=material.BATCH_SIZE,
            learning_rate=material.LEARNING_RATE,
            weight_decay=0.01,
            lr_scheduler_type="constant",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not _gpu(),
        )
        trainer = SameBatches(material.bert(), arguments, train_dataset=batches, callbacks=[watch])
        trainer.train()
    if trainer.state.global_step != len(batches):
        raise RuntimeError(f"Trainer did {trainer.state.global_step} steps, not {len(batches)}")
    return watch.ended - watch.began


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def rows() -> list[Row]:
    """The row of this benchmark."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    a, b = alternate(ours, trainers)
    return [Row("epoch of 320 reviews, our run", a, "Hugging Face Trainer", b, 1.00)]
