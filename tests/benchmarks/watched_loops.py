"""BERT by a plain loop, by Hugging Face's Trainer and by Lightning's, each watched with its dashboard in a real Jupyter
kernel, against the same loop and the same Trainer alone."""

from __future__ import annotations

from pathlib import Path

import material
from arithmetic import alone
from timing import Row, in_kernel

HERE = Path(__file__).parent

PAIRS, STEPS = 14, 10

# Runs inside the kernel: one process, taking turns. The client on the other end receives every message of the chart.
SETUP = f"""
import sys, json, time, itertools, tempfile
sys.path.insert(0, {str(HERE)!r})
import material, torch, stablelab as lab
from timing import alternate, seconds
batches = material.epoch_batches()
def turn(run):
    spent = seconds(lambda: material.turn(run, {STEPS}))
    time.sleep(0.5)  # the chart's last refresh is ours to pay, not the next one's
    return spent
def tell(what, times):
    print(what, json.dumps(times))
class Turns:  # between every ten steps of a trainer, ten of the one that is watched
    def begin(self):
        self.ours, self.theirs = [], []
        turn(run)
        self.began = time.perf_counter()
    def did(self, step):
        if step % {STEPS} == 0 and step < {STEPS * (PAIRS + 1)}:
            if step > {STEPS}:
                self.theirs.append(time.perf_counter() - self.began)
                self.ours.append(turn(run))
            self.began = time.perf_counter()
"""
OWN_LOOP = f"""
def train(live):
    for loss in material.bare_steps(material.bert(), batches):
        live.record(loss=loss, learning_rate=live.learning_rate)
run = lab.watch(train, learning_rate=material.LEARNING_RATE)
bare = material.bare_steps(material.bert(), batches)
times = alternate(lambda: turn(run), lambda: seconds(lambda: [next(bare) for _ in range({STEPS})]), {PAIRS})
run.stop()
tell("LOOP", times)
"""
TRAINER = f"""
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
data = [{{**inputs, "labels": targets}} for inputs, targets in batches]
class SameBatches(Trainer):
    def get_train_dataloader(self):
        return DataLoader(data, batch_size=None, shuffle=False)
def trainer(*callbacks):
    arguments = TrainingArguments(tempfile.mkdtemp(), max_steps={STEPS * (PAIRS + 1)}, learning_rate=5e-5,
        lr_scheduler_type="constant", weight_decay=0.01, save_strategy="no", logging_steps=10**6, report_to=[],
        disable_tqdm=True, use_cpu=not torch.cuda.is_available())
    return SameBatches(material.bert(), arguments, train_dataset=data, callbacks=list(callbacks))
class TakeTurns(TrainerCallback, Turns):
    def on_train_begin(self, *_, **__):
        self.begin()
    def on_step_end(self, args, state, control, **_):
        self.did(state.global_step)
run = lab.watch(trainer())
turns = TakeTurns()
trainer(turns).train()
run.stop()
tell("TRAINER", [turns.ours, turns.theirs])
"""
LIGHTNING = f"""
import lightning.pytorch as pl
class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = material.bert()
    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self.net(**batch[0]).logits, batch[1])
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=5e-5, weight_decay=0.01, fused=True)
def fit(*callbacks):
    trainer = pl.Trainer(max_steps={STEPS * (PAIRS + 1)}, gradient_clip_val=1.0, logger=False, accelerator="cpu",
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks),
        default_root_dir=tempfile.mkdtemp())
    return trainer, Lit(), DataLoader(batches, batch_size=None, shuffle=False)
class LitTurns(pl.Callback, Turns):
    def on_train_start(self, *_):
        self.begin()
    def on_train_batch_end(self, trainer, *_):
        self.did(trainer.global_step)
run = lab.watch(*fit())
turns = LitTurns()
trainer, module, loader = fit(turns)
trainer.fit(module, loader)
run.stop()
tell("LIGHTNING", [turns.ours, turns.theirs])
"""


def rows() -> list[Row]:
    """The rows of this benchmark."""
    said = in_kernel(SETUP, OWN_LOOP, TRAINER, LIGHTNING)
    limit = alone(material.steps_flops(STEPS))
    kinds = {
        "LOOP": ("an own loop", "the same loop"),
        "TRAINER": ("a Trainer", "the same Trainer"),
        "LIGHTNING": ("Lightning", "the same"),
    }
    return [
        Row(f"{STEPS} steps of BERT, {what} watched", said[word][0], f"{peer} alone", said[word][1], 1.03, limit)
        for word, (what, peer) in kinds.items()
    ]
