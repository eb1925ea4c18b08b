"""BERT on 32 reviews, drawn to its pre-trained weights or not: ``python -m stablelab.studies.few_reviews``.

With a pull and without, at two learning rates, over thirteen seeds, each with its own reviews, its own new head, its
own order and its own dropout. The results lie in the package, so that notebook 03 can show all of them and run two
again. The command makes them anew, run by run, on one thread, in about a quarter of an hour; stopped at any time, it
goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import reviews
from ..data.tasks import Task
from ..models import bert
from ..stability.sweeps.execution import one_thread
from ..training.evaluation import predict
from .keeping import KEPT, Done, parser_of, provenance_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "few_reviews.npz"
STEPS, BATCH, EVALUATED = 12, 16, (4, 8, 12)  # steps of a run, reviews a step, and after which steps it is judged
FREE_RATES = (1e-4, 3e-4)  # of the runs without a pull
PULLED_RATE, PULLS = 3e-4, (100.0, 300.0, 1000.0)
ARMS = tuple((rate, 0.0) for rate in FREE_RATES) + tuple((PULLED_RATE, pull) for pull in PULLS)
JUDGED, TUNING = range(10), range(10, 13)  # seeds that are reported, and seeds that choose rate, step and pull


def task_of(seed: int) -> Task:
    """32 reviews to learn from, 80 to watch, and 120 to judge by, drawn by the seed."""
    return reviews("movies", train=32, validation=80, test=120, max_tokens=24, seed=seed)


def drawn(model: nn.Module) -> list[str]:
    """The matrices of the body: what has pre-trained weights and is no bias and no scale of a norm."""
    return [name for name, w in model.named_parameters() if w.ndim > 1 and not name.startswith("classifier")]


def training(task: Task, learning_rate: float, pull: float, seed: int) -> Iterator[tuple[float, nn.Module]]:
    """Adam, and after each of its steps a pull to the pre-trained weights; the loss of each step, and the model then.

    Args:
        task: from ``task_of``.
        learning_rate: of all steps.
        pull: λ; a step multiplies the distance to the pre-trained weights by 1 - ηλ. 0 for none.
        seed: of the new head, the order of the reviews and dropout's masks.
    """
    model = bert(task, seed=seed).train()
    torch.manual_seed(seed)
    names = drawn(model) if pull else []
    weights: dict[str, Tensor] = dict(model.named_parameters())
    at_first = {name: weights[name].detach().clone() for name in names}
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    batches: Any = task.batches(seed, BATCH)
    for k in range(STEPS):
        inputs, targets = batches(k)
        loss = F.cross_entropy(model(**inputs).logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for name in names:
                weights[name].lerp_(at_first[name], learning_rate * pull)
        yield loss.item(), model


def run(learning_rate: float, pull: float, seed: int) -> dict[str, Any]:
    """One run, as JSON values."""
    task = task_of(seed)
    row: dict[str, Any] = {"learning_rate": learning_rate, "pull": pull, "seed": seed}
    row |= {name: [] for name in ("losses", "test_losses", "test_accuracies")}
    for k, (loss, model) in enumerate(training(task, learning_rate, pull, seed), 1):
        row["losses"].append(loss)
        if k in EVALUATED:
            logits, targets = predict(model, task.test, 60)
            row["test_losses"].append(float(F.cross_entropy(logits.double(), targets)))
            row["test_accuracies"].append(float((logits.argmax(dim=1) == targets).double().mean()))
    return row


def few_reviews() -> pandas.DataFrame:
    """The runs that lie in the package, a row for each of them and each of the steps at which it was judged.

    Columns: learning_rate, pull (0 for none), seed, step, test_loss (120 reviews), test_accuracy.
    """
    import pandas

    with np.load(FILE) as kept:
        runs = [{name: kept[name][i] for name in kept.files if name != "by"} for i in range(len(kept["seed"]))]
    return pandas.DataFrame(
        {
            "learning_rate": run["learning_rate"],
            "pull": run["pull"],
            "seed": run["seed"],
            "step": step,
            "test_loss": run["test_losses"][j],
            "test_accuracy": run["test_accuracies"][j],
        }
        for run in runs
        for j, step in enumerate(EVALUATED)
    )


def kept_losses(learning_rate: float, pull: float, seed: int) -> np.ndarray:
    """The training losses of one of the runs: (12,)."""
    runs = read_table(FILE)
    here = (runs.learning_rate == learning_rate) & (runs.pull == pull) & (runs.seed == seed)
    losses: np.ndarray = read_column(FILE, "losses")[here][0]
    return losses


def made_by() -> str:
    """What the results in the package were computed with."""
    return provenance_of(FILE)


def all_runs() -> list[tuple[float, float, int]]:
    """Every run: learning rate, pull and seed."""
    return [(*arm, seed) for seed in (*JUDGED, *TUNING) for arm in ARMS]


def write(rows: list[dict[str, Any]], file: Path, by: str) -> None:
    """Keep runs as small as they can be."""
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    small = ("losses", "test_losses", "test_accuracies")
    write_columns(file, by, **columns | {name: columns[name].astype(np.float32) for name in small})


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("few_reviews", __doc__).parse_args().out
    done = Done(out / "few_reviews.part.jsonl")
    with one_thread():
        rows = [done.once(each, run, *each) for each in all_runs()]
    write(rows, out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
