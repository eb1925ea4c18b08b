"""On a GPU: ResNet-50 and a BERT of base size in bf16, our step against the same loop bare, and the dashboard shown.

Random weights, and one batch that lies on the GPU already, the same for all: what is compared is the loop, not how data
get there. Bare means what a good PyTorch programmer writes: autocast, the loss in fp32, fused AdamW in two groups,
``clip_grad_norm_`` at norm 1, and loss and norm read out once a step, after it. The clock is read when the GPU is done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from arithmetic import alone, peak, step_flops
from timing import Row, alternate, in_kernel
from torch import nn

import stablelab as lab
from stablelab.training import Run
from stablelab.training.precision import DTYPES, autocast

HERE = Path(__file__).parent

PICTURES, SIDE = 64, 224
SENTENCES, TOKENS = 32, 128
PAIRS, STEPS = 12, 20  # turns of each rival, and steps of a turn
FEWER = 4  # turns where no promise depends on it
DEVICE = torch.device("cuda")


@dataclass
class OneBatch:
    """A task of one batch that is on the device already, as long an epoch as is asked for."""

    inputs: object
    targets: torch.Tensor
    classes: tuple[str, ...]
    name: str
    per_epoch: int = 100

    def __post_init__(self) -> None:
        self.train = self.validation = self.test = self
        self.batch_size, self.fingerprint = len(self.targets), self.name

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, *_: int) -> OneBatch:
        return self

    def __call__(self, k: int) -> tuple[object, torch.Tensor]:
        return self.inputs, self.targets


def resnet50() -> tuple[nn.Module, OneBatch]:
    """ResNet-50 for ten classes, and 64 pictures of 224 × 224."""
    from torchvision.models import resnet50 as make

    torch.manual_seed(0)
    model = make(num_classes=10).to(DEVICE)
    inputs, targets = torch.randn(PICTURES, 3, SIDE, SIDE, device=DEVICE), torch.arange(PICTURES, device=DEVICE) % 10
    return model, OneBatch(inputs, targets, tuple("0123456789"), f"ResNet-50, {PICTURES} × {SIDE} px")


def bert_base() -> tuple[nn.Module, OneBatch]:
    """BERT as transformers configures it, 12 layers of 768, and 32 sentences of 128 tokens without padding."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_labels=2)).to(DEVICE)
    ids = torch.randint(1000, 20_000, (SENTENCES, TOKENS), device=DEVICE)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    targets = torch.arange(SENTENCES, device=DEVICE) % 2
    return model, OneBatch(inputs, targets, ("a", "b"), f"BERT of base size, {SENTENCES} × {TOKENS}")


MODELS = {"resnet50": resnet50, "bert_base": bert_base}


def logits_of(model: nn.Module, inputs: object) -> torch.Tensor:
    return model(**inputs).logits if isinstance(inputs, dict) else model(inputs)


def bare_steps(model: nn.Module, task: OneBatch, precision: str) -> Iterator[tuple[float, float]]:
    """The loop without us; yields loss and norm of each step, without end."""
    decays = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decays}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.01, fused=True)
    model.train()
    for k in range(10**9):
        inputs, targets = task(k)
        optimizer.zero_grad()
        with autocast(precision, DEVICE):
            logits = logits_of(model, inputs)
        loss = nn.functional.cross_entropy(logits.float(), targets)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield loss.item(), norm.item()


def our_run(model: nn.Module, task: OneBatch, precision: str) -> Run:
    """The same as a run of the workbook, which lasts until it is stopped."""
    settings = {"learning_rate": 1e-4, "weight_decay": 0.01, "max_norm": 1.0, "precision": precision}
    batches = {"batch_size": task.batch_size, "epochs": math.inf, "evaluate_every": 0}
    return lab.fine_tune(model, task, device=DEVICE, **settings, **batches)


def waited(work: Callable[[], object]) -> float:
    """Seconds a step of some work of ``STEPS`` steps, from an idle GPU to an idle GPU."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS


def turn(run: Run) -> float:
    """Seconds a step of a run that does some steps and pauses."""

    def work() -> None:
        run.step(STEPS)
        run.wait_paused()

    return waited(work)


def against_bare(which: str) -> Row:
    """Our step in bf16 against the bare one."""
    make = MODELS[which]
    model, task = make()
    limit = alone(step_flops(model, *task(0)), torch.bfloat16, DEVICE)
    run, bare = our_run(model, task, "bf16"), bare_steps(*make(), "bf16")
    ours, theirs = alternate(lambda: turn(run), lambda: waited(lambda: [next(bare) for _ in range(STEPS)]), PAIRS)
    run.stop()
    return Row(f"step of {task.name}, in bf16", ours, "the same loop bare", theirs, 1.05, limit)


def against_fp32(which: str, precision: str) -> Row:
    """Our step in half precision against that in fp32, which no promise is made about."""
    runs = [our_run(*MODELS[which](), each) for each in (precision, "fp32")]
    ours, theirs = alternate(lambda: turn(runs[0]), lambda: turn(runs[1]), FEWER)
    for run in runs:
        run.stop()
    return Row(f"step of {runs[0].task.name}, in {precision}", ours, "in fp32", theirs, math.inf)


def shown(which: str) -> tuple[list[float], list[float]]:
    """Seconds a step of a run whose dashboard is shown, and of one without; to be called in a kernel."""
    runs = [our_run(*MODELS[which](), "bf16") for _ in range(2)]
    board = lab.dashboard(runs[0])

    def ours() -> float:
        spent = turn(runs[0])
        time.sleep(0.3)  # the chart's last refresh is ours to pay, not the next one's
        return spent

    times = alternate(ours, lambda: turn(runs[1]), PAIRS)
    for run in runs:
        run.stop()
    board.close()
    return times


CELL = f"""
import sys, json
sys.path.insert(0, {str(HERE)!r})
import gpu
for which in gpu.MODELS:
    print(which.upper(), json.dumps(gpu.shown(which)))
"""


def rows() -> Iterator[Row]:
    """The rows of this benchmark; none where there is no CUDA."""
    if not torch.cuda.is_available():
        print("(no GPU is here: its rows are left out)")
        return
    card, products = torch.cuda.get_device_name(), peak(torch.bfloat16, DEVICE)
    print(f"({card}, PyTorch {torch.__version__}, products in bf16 at {products:.3g} FLOP/s)", flush=True)
    for which in MODELS:
        yield against_bare(which)
    said = in_kernel(CELL)
    for which in MODELS:
        ours, theirs = said[which.upper()]
        yield Row(f"step of {which} with the dashboard shown", ours, "the same run, not shown", theirs, 1.03)
    for which in MODELS:
        for precision in DTYPES:
            yield against_fp32(which, precision)
