"""AdamW and LAMB with batches from 16 to 1,024 at equal epochs, and the noise scale: what a large batch costs.

``python -m stablelab.studies.large_batches`` makes the results that lie in the package anew, run by run, on one thread,
in about half an hour where the processor has bf16 arithmetic; stopped at any time, it goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import digits, reviews
from ..data.tasks import Task
from ..formulas import SCALINGS, scaled_rate
from ..models import bert, resnet
from ..stability import gradient_noise_scale
from ..stability.sweeps.execution import one_thread
from ..training.evaluation import forward
from ..training.precision import autocast
from ..training.protocols import Inputs
from ..training.settings import Settings
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns
from .precision import judged, train

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "large_batches.npz"
BATCHES = (16, 64, 256, 1024)
OPTIMIZERS = ("adamw", "lamb")
EXAMPLES = 3072  # seen once by each run: 192, 48, 12 and 3 steps
UNIT = 1e-4  # rates are whole powers of 2 times this
FIRST = {"adamw": 0, "lamb": 5}  # power that the search of the rate for a batch of 16 begins with
SEEDS, TUNING_SEEDS = range(5), (100,)
COLUMNS = ("optimizer", "batch", "power", "seed", "accuracy", "loss", "failed")
SETTINGS = Settings(schedule="linear", precision="bf16")

NOISE_SEEDS = range(3)
NOISE_EXAMPLES, NOISE_GROUPS = 768, 16


def movies() -> Task:
    """Short beginnings of film reviews: 3,072 to train on, 384 to tune by, 768 to judge by."""
    return reviews("movies", neutral=1.0, train=EXAMPLES, validation=384, test=768, max_tokens=12)


def first_bert(task: Task, seed: int) -> nn.Module:
    """The bundled BERT with a new head; the table of words, half of its weights, is not trained, and dropout is off.

    Without dropout the batch is all that differs between two runs; and torch's fused attention, whose way back is slow
    on a CPU, gives way to the plain one.
    """
    model: Any = bert(task, seed=seed)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.config.attention_probs_dropout_prob = 0.0
    model.set_attn_implementation("eager")
    model.get_parameter("bert.embeddings.word_embeddings.weight").requires_grad_(False)
    found: nn.Module = model
    return found


@dataclass
class OneEpoch:
    """Batch k of one pass over the training split in an order drawn by the seed, whatever the sentences' lengths.

    The batches of a task put sentences of like length together, which saves padding; but then the examples of a batch
    are no random draw, and batches of different sizes differ in more than size.
    """

    task: Task
    seed: int
    batch_size: int

    def __post_init__(self) -> None:
        n = len(self.task.train)
        self.order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        self.per_epoch = n // self.batch_size

    def __call__(self, k: int) -> tuple[Inputs, Tensor]:
        return self.task.collate(self.order[k * self.batch_size : (k + 1) * self.batch_size])


def one_run(task: Task, optimizer: str, batch: int, rate: float, seed: int) -> tuple[nn.Module, list[float]]:
    """Train for one epoch; the model, and the loss of each step."""
    model, batches = first_bert(task, seed), OneEpoch(task, seed, batch)
    settings = SETTINGS.replace(optimizer=optimizer, learning_rate=rate)
    return model, train(model, batches, settings, batches.per_epoch, seed)


def run(task: Task, purpose: str, optimizer: str, batch: int, power: int, seed: int) -> dict[str, Any]:
    """A run to tune by, which is judged on the validation split, or one to tell of, judged on the test split."""
    model, losses = one_run(task, optimizer, batch, 2.0**power * UNIT, seed)
    loss, accuracy, failed = math.nan, math.nan, True
    if math.isfinite(losses[-1]):
        with autocast(SETTINGS.precision, torch.device("cpu")):
            loss, accuracy, failed = judged(model, task.validation if purpose == "tune" else task.test)
    found = {"loss": loss, "accuracy": accuracy, "failed": failed, "losses": (losses + 3 * [math.nan])[:3]}
    return {"purpose": purpose, "optimizer": optimizer, "batch": batch, "power": power, "seed": seed, **found}


# -- the rate ----------------------------------------------------------------------------------------------------------


def tune(score: Callable[[int], float], power: int) -> int:
    """The power of 2 whose neighbours both have a higher score, found by climbing down from ``power``; nan is high."""

    def safe(at: int) -> float:
        value = score(at)
        return value if math.isfinite(value) else math.inf

    while True:
        best = min((power, power - 1, power + 1), key=safe)
        if best == power:
            return power
        power = best


def scaled_power(power: int, batch: int, scaling: str) -> int:
    """The power of 2 that a rule makes, for this batch, of the one found for a batch of 16."""
    return round(math.log2(scaled_rate(2.0**power, BATCHES[0], batch, scaling)))


# -- the noise scale ---------------------------------------------------------------------------------------------------


def noise_along(name: str, task: Task, power: int, seed: int) -> Iterator[dict[str, Any]]:
    """The noise scale at four places of a run with small batches, as JSON values.

    BERT: a batch of 16, AdamW at this rate, as above but in fp32. ResNet-18 on digits: 60 steps of 32 pictures, AdamW
    at a rate of 0.001; batch norm by the group.
    """
    if name == "movies":
        model, batches, rate = first_bert(task, seed), OneEpoch(task, seed, 16), 2.0**power * UNIT
        total, places = batches.per_epoch, (0, 12, 48, 192)
    else:
        model, batches, rate = resnet(task, seed=seed), OneEpoch(task, seed, 32), 1e-3
        total, places = 60, (0, 4, 16, 60)
    draws = torch.Generator().manual_seed(seed + 1000)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)
    for k in range(total + 1):
        if k in places:
            inputs, targets = task.collate(torch.randperm(len(task.train), generator=draws)[:NOISE_EXAMPLES])
            found = gradient_noise_scale(model, inputs, targets, groups=NOISE_GROUPS, seed=seed)
            numbers = {"noise_scale": found.value, "low": found.low, "high": found.high}
            yield {"purpose": "noise", "task": name, "step": k, "seed": seed, **numbers}
        if k == total:
            return
        examples, answers = batches(k)
        with autocast(SETTINGS.precision if name == "movies" else "fp32", torch.device("cpu")):
            logits = forward(model, examples)
        loss = nn.functional.cross_entropy(logits.float(), answers)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - k / total)
        optimizer.step()


# -- what lies in the package ------------------------------------------------------------------------------------------


def large_batches() -> pandas.DataFrame:
    """The runs that are told of, five seeds each at the tuned rate, a row each.

    Columns: optimizer, batch, power (the rate is 2^power times ``UNIT``), seed, accuracy and loss on the test split
    (nan where the run diverged), failed.
    """
    return read_table(FILE, *COLUMNS, prefix="run_")


def tuning() -> pandas.DataFrame:
    """The runs to tune by, columns as of ``large_batches``; loss and accuracy are those on the validation split."""
    return read_table(FILE, *COLUMNS, prefix="tune_")


def noise_scales() -> pandas.DataFrame:
    """Columns: task ("movies" or "digits"), step, seed, noise_scale (examples), low and high (95 %)."""
    return read_table(FILE, prefix="noise_")


def first_losses() -> np.ndarray:
    """(R, 3) training losses of the first three steps of the runs of ``large_batches``, before the update."""
    return read_column(FILE, "run_losses")


def write(rows: list[dict[str, Any]], file: Path, by: str) -> None:
    """Keep runs as small as they can be."""
    columns: dict[str, Any] = {}
    for purpose in ("run", "tune", "noise"):
        here = [row for row in rows if row["purpose"] == purpose]
        for name in here[0] if here else ():
            values = np.array([row[name] for row in here])
            columns[f"{purpose}_{name}"] = values.astype(np.float32) if values.dtype == np.float64 else values
    write_columns(file, by, **{name: each for name, each in columns.items() if not name.endswith("_purpose")})


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("large_batches", __doc__).parse_args().out
    done, task = Done(out / "large_batches.part.jsonl"), movies()

    def train_once(*what: Any) -> dict[str, Any]:
        row: dict[str, Any] = done.once(what, run, task, *what)
        return row

    def score(optimizer: str, batch: int, power: int) -> float:
        return float(np.mean([train_once("tune", optimizer, batch, power, s)["loss"] for s in TUNING_SEEDS]))

    tuned: dict[tuple[str, int], int] = {}
    for optimizer in OPTIMIZERS:
        power = FIRST[optimizer]
        for batch in BATCHES:
            power = tuned[optimizer, batch] = tune(partial(score, optimizer, batch), power + (batch > BATCHES[0]))
            for scaling in SCALINGS:
                score(optimizer, batch, scaled_power(tuned[optimizer, BATCHES[0]], batch, scaling))
    noise: list[dict[str, Any]] = []
    with one_thread():
        for name, of in (("movies", task), ("digits", digits())):
            for seed in NOISE_SEEDS:
                noise += done.once(("noise", name, seed), noise_along, name, of, tuned["adamw", BATCHES[0]], seed)
    for seed in SEEDS:
        for (optimizer, batch), power in tuned.items():
            train_once("run", optimizer, batch, power, seed)
    rows = [row for (purpose, *_), row in done.items() if purpose != "noise"] + noise
    write(rows, out / FILE.name, f"python -m stablelab.studies.large_batches; CPU, torch {torch.__version__}")


if __name__ == "__main__":
    main()
