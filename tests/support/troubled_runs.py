"""Runs that are really trained in seconds, healthy and sick, as the table a plain PyTorch loop would have written.

The development half (digits of MNIST, a small convolutional net and heads on features; seeds 0 to 4) is what thresholds
of ``stablelab.doctor`` were set on: ``python tests/support/troubled_runs.py`` prints what it says of each kind. The
half that the tests use has other data (scikit-learn's digits, wines and tumours), another model and other seeds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pandas
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Make = Callable[[int, int], nn.Module]  # (inputs' last size, classes) -> model


@dataclass(frozen=True)
class Problem:
    """Inputs and targets to learn from and to be judged by."""

    inputs: Tensor
    targets: Tensor
    validation_inputs: Tensor
    validation_targets: Tensor

    @property
    def classes(self) -> int:
        return int(self.targets.max()) + 1


@lru_cache(maxsize=8)
def table(name: str) -> Problem:
    """One of scikit-learn's own: ``digits``, ``wine`` or ``breast_cancer``, normalized and split with one seed."""
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")()
    inputs = torch.tensor(loaded.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6)
    return _split(inputs, torch.tensor(loaded.target), 3)


@lru_cache(maxsize=2)
def mnist(size: int = 14) -> Problem:
    """Digits of MNIST, as pictures with one channel."""
    import stablelab as lab

    task = lab.digits(train=1500, validation=500, test=10, size=size)
    rows = [torch.cat([inputs for inputs, _ in split.batches(500)]) for split in (task.train, task.validation)]
    return Problem(rows[0][:, :1], task.train.targets, rows[1][:, :1], task.validation.targets)


def _split(inputs: Tensor, targets: Tensor, every: int) -> Problem:
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    judged = torch.arange(len(targets)) % every == 0
    return Problem(inputs[order][~judged], targets[order][~judged], inputs[order][judged], targets[order][judged])


def perceptron(width: int = 64, dropout: float = 0.0, norm: bool = False) -> Make:
    def make(inputs: int, classes: int) -> nn.Module:
        norms = [nn.BatchNorm1d(width)] if norm else []
        layers = [nn.Linear(inputs, width), *norms, nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, classes))

    return make


def linear(inputs: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))


def convolutional(inputs: int, classes: int) -> nn.Module:
    body = [nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    body += [nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(64, classes))


def train(
    problem: Problem,
    make: Make,
    seed: int,
    *,
    steps: int = 200,
    batch_size: int = 32,
    optimizer: str = "AdamW",
    learning_rate: float = 3e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: Callable[[int], float] = lambda k: 1.0,
    max_norm: float | None = None,
    zero_grad: bool = True,
    softmax_twice: bool = False,
    reduction: str = "mean",
    shuffled: bool = True,
    sort_by_class: bool = False,
    examples: int | None = None,
    label_noise: float = 0.0,
    head_scale: float = 1.0,
    freeze_body: bool = False,
    warm: int = 0,
    meddle: Callable[[int, nn.Module], object] = lambda k, model: None,
) -> pandas.DataFrame:
    """Train, and return one row per step."""
    torch.manual_seed(seed)
    inputs, targets = problem.inputs[:examples], problem.targets[:examples]
    if sort_by_class:
        order = targets.argsort(stable=True)
        inputs, targets = inputs[order], targets[order]
    if label_noise:
        wrong = torch.rand(len(targets)) < label_noise
        targets = torch.where(wrong, torch.randint(problem.classes, targets.shape), targets)
    model = make(inputs[0].numel(), problem.classes)
    if head_scale != 1:
        with torch.no_grad():
            model[-1].weight.mul_(head_scale)  # type: ignore[index,operator]
    if freeze_body:
        for p in list(model.parameters())[:-2]:
            p.requires_grad = False
    trained = [p for p in model.parameters() if p.requires_grad]
    more = {"momentum": momentum} if optimizer == "SGD" else {}
    steps_of = getattr(torch.optim, optimizer)(trained, lr=learning_rate, weight_decay=weight_decay, **more)
    per_epoch = math.ceil(len(targets) / batch_size)
    order = torch.arange(len(targets))
    rows: list[dict[str, Any]] = []
    for k in range(warm + steps):
        place = k % per_epoch
        if shuffled and place == 0:
            order = torch.randperm(len(targets))
        chosen = order[place * batch_size : (place + 1) * batch_size]
        meddle(k - warm, model)
        for group in steps_of.param_groups:
            group["lr"] = learning_rate * (schedule(k - warm) if k >= warm else 1.0)
        model.train()
        logits = model(inputs[chosen])
        loss = F.cross_entropy(logits.softmax(1) if softmax_twice else logits, targets[chosen], reduction=reduction)
        if zero_grad:
            steps_of.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, max_norm or math.inf)
        used = steps_of.param_groups[0]["lr"]
        steps_of.step()
        if k < warm:
            continue
        row = {"step": k - warm + 1, "epoch": (k + 1) / per_epoch, "loss": loss.item(), "grad_norm": float(norm)}
        rows.append(row | {"lr": used, "max_norm": max_norm or math.nan, "optimizer": optimizer})
        if (k - warm + 1) % max(1, steps // 20) == 0:
            model.eval()
            with torch.no_grad():
                scored = model(problem.validation_inputs)
                scored = scored.softmax(1) if softmax_twice else scored
                rows[-1]["val_loss"] = F.cross_entropy(scored, problem.validation_targets).item()
                rows[-1]["val_accuracy"] = (scored.argmax(1) == problem.validation_targets).float().mean().item()
    frame = pandas.DataFrame(rows)
    frame.attrs = {"classes": problem.classes, "batch_size": batch_size}
    return frame


def cosine_restarts(k: int, period: int = 60) -> float:
    return 0.5 * (1 + math.cos(math.pi * (k % period) / period))


def warmup_stable_decay(k: int, total: int = 200) -> float:
    return min(1.0, (k + 1) / 20, max(0.0, (total - k) / 40))


def over_early(k: int, total: int = 100) -> float:
    return max(0.0, 1 - k / total)


def thrown_off(at: int, by: float = 8.0) -> Callable[[int, nn.Module], object]:
    """One step at which the last layer is enlarged, as a broken update would; training goes on from there."""

    def meddle(k: int, model: nn.Module) -> None:
        if k == at:
            with torch.no_grad():
                model[-1].weight.mul_(-by)  # type: ignore[index,operator]

    return meddle


HEALTHY: dict[str, dict[str, Any]] = {
    "plain": {},
    "sgd_at_0.1": {"optimizer": "SGD", "learning_rate": 0.1, "momentum": 0.0},
    "99_percent": {"steps": 500, "learning_rate": 3e-3},
    "cosine_restart": {"schedule": cosine_restarts, "steps": 240},
    "wsd_drop": {"schedule": warmup_stable_decay},
    "spike_that_recovers": {"meddle": thrown_off(100, 3.0), "steps": 300, "learning_rate": 1e-2},
    "plateau_at_the_floor": {"warm": 300, "steps": 150},
    "label_noise_floor": {"label_noise": 0.3, "steps": 300, "learning_rate": 1e-3},
    "every_step_clipped": {"max_norm": 0.05, "learning_rate": 1e-3},
    "batch_of_4": {"batch_size": 4, "steps": 400, "learning_rate": 1e-3},
    "linear_to_0": {"schedule": partial(over_early, total=200)},
    "modest_rate": {"learning_rate": 5e-4, "steps": 300},
    "long": {"steps": 1200, "learning_rate": 1e-3},
    "full_batch": {"batch_size": 5000, "steps": 150},
    "few_examples_dropout": {"batch_size": 64, "weight_decay": 0.1},
}

SICK: dict[str, dict[str, Any]] = {
    "rate_too_high_adam": {"learning_rate": 3.0},
    "rate_too_high_sgd": {"optimizer": "SGD", "learning_rate": 10.0},
    "rate_too_low": {"learning_rate": 1e-6},
    "rate_too_low_sgd": {"optimizer": "SGD", "learning_rate": 1e-5},
    "no_zero_grad": {"zero_grad": False, "optimizer": "SGD", "learning_rate": 0.03},
    "no_zero_grad_adam": {"zero_grad": False},
    "softmax_twice": {"softmax_twice": True, "steps": 400},
    "summed_loss": {"reduction": "sum", "learning_rate": 3e-4},
    "broken_head": {"head_scale": 100.0, "freeze_body": True},
    "not_shuffled": {"sort_by_class": True, "shuffled": False, "steps": 300},
    "fixed_order": {"shuffled": False, "steps": 400, "learning_rate": 1e-3},
    "clipped_away": {"max_norm": 1e-3, "optimizer": "SGD", "learning_rate": 0.01},
    "schedule_over": {"schedule": over_early},
    "overfitting": {"examples": 64, "steps": 500},
}


def development(kinds: dict[str, dict[str, Any]], seeds: Iterable[int]) -> Iterator[tuple[str, int, pandas.DataFrame]]:
    """Each kind on digits of MNIST, with a small convolutional net and with a linear head."""
    for kind, changes in kinds.items():
        for seed in seeds:
            yield kind, seed, train(mnist(), convolutional, seed, **changes)
            yield f"{kind} (linear)", seed, train(mnist(), linear, seed, **changes)


if __name__ == "__main__":
    import stablelab as lab

    torch.set_num_threads(1)
    wanted, seeds = sys.argv[1] if len(sys.argv) > 1 else "", range(int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    for kinds in (HEALTHY, SICK):
        chosen = {kind: changes for kind, changes in kinds.items() if wanted in kind}
        for kind, seed, frame in development(chosen, seeds):
            report = lab.examine(frame, **frame.attrs)
            alarms = "; ".join(f"{each.rule}: {each.causes[0].name}" for each in report.alarms)
            notes = "; ".join(each.rule for each in report.findings if not each.alarm)
            ends = f"{frame.loss.iloc[0]:.3f} → {frame.loss.iloc[-10:].mean():.3f}"
            print(f"{kind:32s} seed {seed}  loss {ends:18s} ! {alarms or '–'}  · {notes or '–'}", flush=True)
