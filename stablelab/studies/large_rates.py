"""Large rates with and without batch norm, and pre-training on formulas: ``python -m stablelab.studies.large_rates``.

Two studies of fine-tuning a ResNet-18, whose results lie in the package, so that notebook 07 can show all of them and
run a few again. The command makes them anew on one thread, run by run, in about twenty-five minutes; stopped at any
time, it goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from ..data import digits
from ..data.images import Pictures
from ..data.tasks import Task, make_task
from ..models import resnet
from ..models.fractals.small_conv import with_small_map_convs
from ..stability.sweeps.execution import one_thread
from ..training.evaluation import predict
from .keeping import KEPT, Done, parser_of, provenance_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "large_rates.npz"
RATES = (1e-3, 4.6e-3, 2.2e-2, 1e-1, 0.46, 2.2, 10.0)
NORMS = ("batch norm", "none", "group norm")
OPTIMIZERS = ("SGD", "AdamW")
CONTROL = "SGD, convolutions"  # the large rate is that of the convolutions alone
REVERSE = "SGD, all but convolutions"  # the large rate is that of head, γ and β
FINE_RATES = {"batch norm": (0.68, 1.0, 1.5), "none": (0.15, 0.22, 0.32)}  # SGD, between bearing and not
SEEDS = range(5)
STEPS, BATCH = 20, 32
GENTLE = 2.2e-2  # of the others, in the two controls

START_SEEDS = range(6)
START_RATES = (3e-4, 1e-3)
START_TRAIN, START_STEPS = 200, 30
STARTS = ("random", "fractals")
TASKS = ("digits", "photographs")


# -- the three networks ------------------------------------------------------------------------------------------------


def batch_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch normalizations of a model, in its order."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def estimate_statistics(model: nn.Module, task: Task, seed: int, pictures: int = 256) -> None:
    """Put the mean over training batches in place of batch norm's running statistics.

    Args:
        model: whose running statistics are replaced; nothing else of it changes.
        task: of pictures.
        seed: of the order of its training batches.
        pictures: how many of them are looked at, in batches of 32.
    """
    batches = task.batches(seed, BATCH)
    update_bn((batches(k) for k in range(pictures // BATCH)), model)


def with_norm(model: nn.Module, norm: str, task: Task, seed: int) -> nn.Module:
    """The model, in training mode, with this in place of its batch normalizations.

    Args:
        model: with batch norm; changed in place.
        norm: "batch norm": as it is. "none": each μ and σ is measured once, on training pictures, and then fixed,
            so that what was a normalization is a multiplication and an addition, and the network begins as nearly the
            same function. "group norm": of 32 groups, with the same γ and β.
        task: gives the pictures that "none" is measured on.
        seed: of their order.
    """
    model.train()
    if norm == "none":
        estimate_statistics(model, task, seed)
        for each in batch_norms(model):
            each.eval()
    if norm == "group norm":
        names = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
        for name in names:
            old: Any = model.get_submodule(name)
            new = nn.GroupNorm(32, old.num_features)
            new.weight, new.bias = old.weight, old.bias
            model.set_submodule(name, new)
    return model


def first_network(task: Task, norm: str, seed: int, weights: str = "fractals") -> nn.Module:
    """The ResNet-18 that a run begins with, in training mode; the seed draws its head (and its random weights)."""
    model = with_small_map_convs(resnet(task, weights=weights, seed=seed), 32)  # same numbers, less time
    return with_norm(model, norm, task, seed)


def optimizer_of(model: nn.Module, optimizer: str, learning_rate: float) -> torch.optim.Optimizer:
    """SGD without momentum and without decay, or AdamW as torch has it, with a decay of 0.01.

    In the control SGD has this rate for the convolutions alone, and a gentle one for γ, β and the head, whose length
    does matter to the loss; in the reverse control it is the other way round.
    """
    if optimizer == "SGD":
        return torch.optim.SGD(model.parameters(), lr=learning_rate)
    if optimizer in (CONTROL, REVERSE):
        kernels = [p for p in model.parameters() if p.ndim == 4]
        others = [p for p in model.parameters() if p.ndim < 4]
        fast, slow = (kernels, others) if optimizer == CONTROL else (others, kernels)
        groups: list[dict[str, Any]] = [{"params": fast}, {"params": slow, "lr": GENTLE}]
        return torch.optim.SGD(groups, lr=learning_rate)
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, fused=True)


def training_losses(
    model: nn.Module, task: Task, optimizer: str, learning_rate: float, seed: int, steps: int = STEPS
) -> Iterator[float]:
    """Train at a constant rate, and yield the loss of each step; the first that is not finite is the last."""
    steps_of = optimizer_of(model, optimizer, learning_rate)
    batches = task.batches(seed, BATCH)
    for k in range(steps):
        inputs, targets = batches(k)
        loss = F.cross_entropy(model(inputs), targets)
        steps_of.zero_grad()
        loss.backward()
        steps_of.step()
        yield loss.item()
        if not math.isfinite(loss.item()):
            return


def convolutions(model: nn.Module) -> list[Tensor]:
    """The weights of its convolutions, all of which stand in front of a normalization; copies."""
    return [module.weight.detach().clone() for module in model.modules() if isinstance(module, nn.Conv2d)]


def judged(model: nn.Module, task: Task, seed: int) -> tuple[float, float]:
    """Loss and accuracy on the validation split, with batch norm's statistics estimated anew where it is at work.

    After twenty steps the running statistics are still those of other weights: a moving average with a memory of ten
    steps keeps an eighth of what it began with.
    """
    if any(norm.training for norm in batch_norms(model)):
        estimate_statistics(model, task, seed)
    logits, targets = predict(model, task.validation, 100)
    loss = float(F.cross_entropy(logits.double(), targets))
    return loss, float((logits.argmax(dim=1) == targets).double().mean()) if math.isfinite(loss) else math.nan


def run(task: Task, norm: str, optimizer: str, learning_rate: float, seed: int) -> dict[str, Any]:
    """One run of the study of rates, as JSON values."""
    model = first_network(task, norm, seed)
    before = convolutions(model)
    losses = list(training_losses(model, task, optimizer, learning_rate, seed))
    pairs = list(zip(before, convolutions(model), strict=True))
    growth = [float(after.norm() / first.norm()) for first, after in pairs]
    cosines = [float(F.cosine_similarity(first.flatten(), after.flatten(), dim=0)) for first, after in pairs]
    loss, accuracy = judged(model, task, seed)
    return {
        "study": "rates",
        "norm": norm,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "seed": seed,
        "validation_loss": loss,
        "accuracy": accuracy,
        "growth": float(np.median(growth)),
        "cosine": float(np.median(cosines)),
        "losses": losses + [math.nan] * (STEPS - len(losses)),
    }


# -- when pre-training on formulas helps -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _photographs() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    return china.mean(axis=2), flower.mean(axis=2)  # (427, 640) each


def photograph_patches(train: int = START_TRAIN, validation: int = 500, test: int = 500, seed: int = 0) -> Task:
    """Grey patches of the two photographs that scikit-learn ships: from which eighth of them is a patch?

    Each photograph is cut into two rows of four fields, 213 x 160 pixels; the fields of both are eight classes: the
    class is the column and the photograph. Patches are 32 x 32 pixels, made grey and brought to one mean and one
    standard deviation, so that texture and shape are left. Those to train on come from the upper half of each row, the
    others from the lower half, and no pixel is in both.

    Args:
        train: how many patches to train on.
        validation: how many to choose by.
        test: how many to judge by.
        seed: of the places that they are cut from.
    """
    draws = np.random.default_rng(seed)
    stores: dict[str, Pictures] = {}
    targets: dict[str, Tensor] = {}
    for split, n in {"train": train, "validation": validation, "test": test}.items():
        labels = np.arange(n) % 8
        draws.shuffle(labels)
        patches = []
        for label in labels:
            photograph = _photographs()[label // 4]
            row = 213 * draws.integers(2) + (0 if split == "train" else 106)
            top = row + draws.integers(106 - 32)
            left = 160 * (label % 4) + draws.integers(160 - 32)
            patch = photograph[top : top + 32, left : left + 32]
            patch = (patch - patch.mean()) / max(patch.std(), 4.0)  # what hardly varies, such as sky, is not blown up
            patches.append(np.clip(128 + 48 * patch, 0, 255).astype(np.uint8))
        grey = torch.from_numpy(np.stack(patches)).unsqueeze(1)
        stores[split] = Pictures(grey.expand(-1, 3, -1, -1).contiguous())
        targets[split] = torch.from_numpy(labels)
    classes = [f"{name} {column}" for name in ("china", "flower") for column in range(1, 5)]
    return make_task("photographs", "image", classes, stores, targets)


def small_task(name: str, seed: int) -> Task:
    """200 examples to learn from, drawn by the seed: digits, or patches of photographs."""
    return photograph_patches(seed=seed) if name == "photographs" else digits(train=START_TRAIN, seed=seed)


def start_run(name: str, weights: str, learning_rate: float, seed: int) -> dict[str, Any]:
    """One run of the study of starts: 30 steps of AdamW from random or from fractal weights, as JSON values."""
    task = small_task(name, seed)
    model = first_network(task, "batch norm", seed, weights)
    losses = list(training_losses(model, task, "AdamW", learning_rate, seed, START_STEPS))
    loss, accuracy = judged(model, task, seed)
    logits, targets = predict(model, task.test, 100)
    return {
        "study": "starts",
        "task": name,
        "weights": weights,
        "learning_rate": learning_rate,
        "seed": seed,
        "validation_loss": loss,
        "accuracy": accuracy,
        "test_accuracy": float((logits.argmax(dim=1) == targets).double().mean()),
        "last_loss": losses[-1],
    }


# -- what lies in the package ------------------------------------------------------------------------------------------


def large_rates() -> pandas.DataFrame:
    """The study of rates, a row each run.

    Columns: norm, optimizer, learning_rate, seed, validation_loss (nats; nan or inf where the run diverged), accuracy
    (nan there), growth (median over convolutions of ‖w_T‖/‖w_0‖), cosine (median of that of the angle between w_T and
    w_0).
    """
    return read_table(FILE, prefix="rates_")


def starts() -> pandas.DataFrame:
    """The study of starts, a row each run.

    Columns: task, weights, learning_rate, seed, validation_loss, accuracy (on the validation split), test_accuracy,
    last_loss (of the last training batch).
    """
    return read_table(FILE, prefix="starts_")


def kept_losses() -> np.ndarray:
    """(R, 20) training losses of each run of ``large_rates()``, in its order; nan after one that is not finite."""
    return read_column(FILE, "rates_losses")


def made_by() -> str:
    """What the results in the package were computed with."""
    return provenance_of(FILE)


def write(rows: list[dict[str, Any]], file: Path, by: str) -> None:
    """Keep runs as small as they can be."""
    columns: dict[str, Any] = {}
    for study in ("rates", "starts"):
        here = [row for row in rows if row["study"] == study]
        for name in here[0] if here else ():
            values = np.array([row[name] for row in here])
            small = values.dtype == np.float64 and name != "learning_rate"
            columns[f"{study}_{name}"] = values.astype(np.float32) if small else values
    write_columns(file, by, **{k: v for k, v in columns.items() if not k.endswith("_study")})


def all_runs() -> list[tuple[str, tuple[Any, ...]]]:
    """Every run of both studies, as the name of the study and the arguments of its function."""
    runs: list[tuple[str, tuple[Any, ...]]] = []
    for s in range(max(*SEEDS, *START_SEEDS) + 1):
        if s in SEEDS:
            runs += [("rates", (n, o, r, s)) for n in NORMS for o in OPTIMIZERS for r in RATES]
            runs += [("rates", (n, CONTROL, r, s)) for n in NORMS[:2] for r in RATES[-3:]]
        if s in START_SEEDS:
            runs += [("starts", (t, w, r, s)) for t in TASKS for w in STARTS for r in START_RATES]
    for s in SEEDS:
        runs += [("rates", (n, "SGD", r, s)) for n, rates in FINE_RATES.items() for r in rates]
        runs += [("rates", (n, REVERSE, r, s)) for n in FINE_RATES for r in RATES[-3:]]
    return runs


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("large_rates", __doc__).parse_args().out
    done = Done(out / "large_rates.part.jsonl")
    studies: dict[str, Callable[..., Any]] = {"rates": partial(run, digits()), "starts": start_run}
    with one_thread():
        rows = [done.once((study, *what), studies[study], *what) for study, what in all_runs()]
    write(rows, out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
