"""What clipping buys a ResNet-18 that begins from random weights: ``python -m stablelab.studies.clipped_resnets``.

Plain SGD on handwritten digits, with and without clipping, each at several learning rates, over fifteen seeds. The
results lie in the package, so that notebook 05 can show all of them and run some again. The command makes them anew,
run by run, on one thread, in about ten minutes; stopped at any time, it goes on from there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..data import digits
from ..data.tasks import Task
from ..models import resnet
from ..models.fractals.small_conv import with_small_map_convs
from ..stability.sweeps.execution import one_thread
from .keeping import KEPT, Done, parser_of, provenance_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "clipped_resnets.npz"
FREE = (0.005, 0.015, 0.05, 0.5)  # learning rates without clipping
CLIPPED = ((0.05, 1.0), (0.5, 1.0), (0.5, 0.3), (0.5, 0.1))  # learning rates, and factors of the rule's threshold
STEPS, BATCH = 20, 32  # 640 of the 1,000 pictures: none is seen twice
AT, SKIPPED, SHARE = 0.05, 3, 0.1  # the rule's record is made at AT; what it leaves out and clips
JUDGED, TUNING = range(10), range(10, 15)  # seeds that are reported, and seeds that choose a learning rate


def small_digits() -> Task:
    """The task of all runs: 1,000 pictures of 16 x 16 pixels."""
    return digits(train=1000, validation=200, test=200, size=16)


def first_network(task: Task, seed: int) -> nn.Module:
    """The ResNet-18 that a run begins with, in training mode, its smallest maps computed in less time."""
    return with_small_map_convs(resnet(task, weights="random", seed=seed), 16).train()


def threshold(norms: list[float], learning_rate: float) -> float:
    """``max_norm`` by the rule of exercise 10 of notebook 05, from the gradient norms of a run at ``AT``."""
    settled = sorted(norm for norm in norms[SKIPPED:] if math.isfinite(norm))
    above = int(SHARE * len(settled))
    return settled[len(settled) - 1 - above] * AT / learning_rate


def train(task: Task, learning_rate: float, max_norm: float | None, seed: int) -> tuple[list[float], list[float]]:
    """Losses and gradient norms, before clipping, of each step; both end with the first that is not finite.

    Args:
        task: from ``small_digits``.
        learning_rate: of all steps.
        max_norm: threshold of the global norm, or None.
        seed: of the first weights and of the order of the pictures.
    """
    model = first_network(task, seed)
    parameters, batches = list(model.parameters()), task.batches(seed, BATCH)
    losses: list[float] = []
    norms: list[float] = []
    for k in range(STEPS):
        inputs, targets = batches(k)
        loss = F.cross_entropy(model(inputs), targets)
        model.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm or math.inf)
        losses.append(loss.item())
        norms.append(norm.item())
        if not math.isfinite(losses[-1] + norms[-1]):
            break
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=learning_rate)
    return losses, norms


def run(task: Task, learning_rate: float, max_norm: float | None, seed: int) -> dict[str, Any]:
    """One run, as JSON values."""
    losses, norms = train(task, learning_rate, max_norm, seed)
    return {
        "learning_rate": learning_rate,
        "max_norm": math.inf if max_norm is None else max_norm,
        "seed": seed,
        "losses": losses + [math.nan] * (STEPS - len(losses)),
        "norms": norms + [math.nan] * (STEPS - len(norms)),
    }


def clipped_resnets() -> pandas.DataFrame:
    """The runs that lie in the package, a row each.

    Columns: learning_rate, factor (of the rule's threshold; inf where it was not clipped), max_norm (likewise), seed,
    late (the mean loss of the last ten steps; inf where the run diverged), above (the share of its losses above ln 10),
    share (of clipped steps).
    """
    runs = read_table(FILE, "learning_rate", "factor", "max_norm", "seed")
    losses, norms = read_column(FILE, "losses"), read_column(FILE, "norms")
    late = losses[:, -10:].mean(axis=1)
    return runs.assign(
        late=np.where(np.isfinite(late), late, np.inf),
        above=(~(losses <= math.log(10))).mean(axis=1),
        share=(norms > runs.max_norm.to_numpy()[:, None]).mean(axis=1),
    )


def kept_losses(learning_rate: float, factor: float, seed: int) -> np.ndarray:
    """The losses of one of the runs: (20,). A factor of inf stands for no clipping."""
    runs = clipped_resnets()
    here = (runs.learning_rate == learning_rate) & (runs.factor == factor) & (runs.seed == seed)
    losses: np.ndarray = read_column(FILE, "losses")[here][0]
    return losses


def made_by() -> str:
    """What the results in the package were computed with."""
    return provenance_of(FILE)


def write(rows: list[dict[str, Any]], file: Path, by: str) -> None:
    """Keep runs as small as they can be."""
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    write_columns(file, by, **columns | {name: columns[name].astype(np.float32) for name in ("losses", "norms")})


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("clipped_resnets", __doc__).parse_args().out
    done, task = Done(out / "clipped_resnets.part.jsonl"), small_digits()
    with one_thread():
        for seed in (*JUDGED, *TUNING):
            free = {rate: done.once((rate, math.inf, seed), run, task, rate, None, seed) for rate in FREE}
            for rate, factor in CLIPPED:
                max_norm = factor * threshold(free[AT]["norms"], rate)
                done.once((rate, factor, seed), run, task, rate, max_norm, seed)
    rows = [row | {"factor": factor} for (_, factor, _), row in done.items()]
    write(rows, out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
