"""Does half precision cost stability? Fine-tuning in bf16 and in fp32, paired by seed.

``python -m stablelab.studies.precision`` makes the results that lie in the package anew, run by run, on one thread, in
some ten minutes where the processor has bf16 arithmetic; stopped at any time, it goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..data import digits
from ..data.tasks import Task
from ..formulas import cross_entropy
from ..models import bert, resnet
from ..stability import is_failed
from ..stability.sweeps.execution import one_thread
from ..training.control import Control
from ..training.evaluation import predict
from ..training.loop import steps
from ..training.protocols import Batches
from ..training.settings import Settings
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns
from .large_rates import estimate_statistics
from .papers import movie_reviews

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "precision.npz"
AUTOCAST = ("fp32", "bf16")
WEIGHTS = "bf16 weights"  # no fp32 anywhere: weights, gradients and Adam's moments in bf16 as well
ROUNDED = "rounded weights"  # all in fp32, but the weights are rounded to bf16 after each step: only their low bits go


@dataclass(frozen=True)
class Setup:
    """What is trained, and how long.

    Attributes:
        task: makes the data.
        model: (task, seed=...) -> the first weights.
        settings: but for precision and learning rate.
        steps, batch: length of a run, and examples a step.
        arms: of each learning rate the seeds of each precision: for the movies a rate too low for bf16 weights, the
            best one, and one at the edge of what is stable; for the digits the best of those of earlier studies.
            Best and edge are those of fp32 (``papers.rate_map``, ``yardstick``; ``large_rates``).
    """

    task: Callable[[], Any]
    model: Callable[..., Any]
    settings: Settings
    steps: int
    batch: int
    arms: dict[float, dict[str, range]]


SETUPS = {
    "movies": Setup(
        movie_reviews,
        bert,
        Settings(schedule="cosine"),
        steps=40,
        batch=8,
        arms={
            6e-5: dict.fromkeys((*AUTOCAST, WEIGHTS, ROUNDED), range(6)),
            3e-4: dict.fromkeys((*AUTOCAST, ROUNDED), range(10)),
            6e-4: dict.fromkeys(AUTOCAST, range(10)),
        },
    ),
    "digits": Setup(
        digits,
        resnet,
        Settings(weight_decay=0.01),
        steps=20,
        batch=32,
        arms={1e-3: dict.fromkeys(AUTOCAST, range(10))},
    ),
}


@torch.no_grad()
def round_weights(model: nn.Module) -> None:
    """Round each weight to the nearest number of bf16, in its own format."""
    for p in model.parameters():
        p.copy_(p.to(torch.bfloat16))


def train(
    model: nn.Module,
    batches: Batches,
    settings: Settings,
    total_steps: int,
    seed: int,
    *,
    whole_model: bool = False,
    rounded: bool = False,
    stop: int | None = None,
) -> list[float]:
    """Train in place, on one thread; the losses, up to the first that is not finite.

    Args:
        model: with its first weights.
        batches: batch k as a function of k.
        settings: with the precision.
        total_steps: length of the run.
        seed: of dropout.
        whole_model: put all of the model into bf16 first, weights included.
        rounded: keep the format of all numbers, but round the weights to bf16 first and after each step.
        stop: after so many steps of the run, all of them if not given.
    """
    if whole_model:
        model.to(torch.bfloat16)
    if rounded:
        round_weights(model)
    losses = []
    with one_thread():
        for step in steps(model, batches, cross_entropy, Control(settings), total_steps=total_steps, seed=seed):
            losses.append(step.loss if not step.diverged else math.nan)
            if rounded:
                round_weights(model)
            if step.diverged or step.step == stop:
                break
    return losses


def judged(model: nn.Module, split: Any) -> tuple[float, float, bool]:
    """Loss and accuracy on a split, and whether that is a failure; nan and True where the loss is not finite."""
    with one_thread():
        logits, targets = predict(model, split, 128)
    loss = float(cross_entropy(logits.double(), targets))
    if not math.isfinite(loss):
        return math.nan, math.nan, True
    accuracy = float((logits.argmax(dim=1) == targets).double().mean())
    return loss, accuracy, bool(is_failed(accuracy, targets))


def run(task: Task, name: str, precision: str, learning_rate: float, seed: int) -> dict[str, Any]:
    """One run, as JSON values."""
    setup, whole_model, rounded = SETUPS[name], precision == WEIGHTS, precision == ROUNDED
    model = setup.model(task, seed=seed)
    products = "fp32" if whole_model or rounded else precision
    settings = setup.settings.replace(learning_rate=learning_rate, precision=products)
    batches = task.batches(seed, setup.batch)
    losses = train(model, batches, settings, setup.steps, seed, whole_model=whole_model, rounded=rounded)
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        with one_thread():
            estimate_statistics(model.train(), task, seed)
    loss, accuracy, failed = judged(model, task.test) if math.isfinite(losses[-1]) else (math.nan, math.nan, True)
    found = {"test_loss": loss, "accuracy": accuracy, "failed": failed, "losses": (losses + 3 * [math.nan])[:3]}
    return {"task": name, "precision": precision, "learning_rate": learning_rate, "seed": seed, **found}


def precisions() -> pandas.DataFrame:
    """All runs that lie in the package, a row each.

    Columns: task, precision ("fp32", "bf16", "bf16 weights" or "rounded weights"), learning_rate, seed, accuracy and
    test_loss (on the test split; nan where the run diverged), failed.
    """
    return read_table(FILE, "task", "precision", "learning_rate", "seed", "accuracy", "test_loss", "failed")


def first_losses() -> np.ndarray:
    """(R, 3) training losses of the first steps of each run, before the update."""
    return read_column(FILE, "losses")


def paired(task: str, learning_rate: float, precision: str = "bf16") -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """The kept runs in fp32 and in another precision, in the same order of the seeds that both have."""
    runs = precisions()
    here = runs[(runs.task == task) & np.isclose(runs.learning_rate, learning_rate)].sort_values("seed")
    plain, other = here[here.precision == "fp32"], here[here.precision == precision]
    return plain[plain.seed.isin(other.seed)], other[other.seed.isin(plain.seed)]


def variance_ratio(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Variance of a over that of b, whose scores are paired by seed, and its interval for normal scores.

    For the true ratio ρ, a + ρ^½ b and a - ρ^½ b are uncorrelated. The ratios for which Student's test of a correlation
    does not reject that are w (K ± √(K² - 1)) and what lies between, with w the measured ratio, r the correlation of a
    and b, and K = 1 + 2 (1 - r²) t² / (n - 2). The better the pairs agree, the narrower it is.

    Args:
        a: (n,) scores, three or more, not all equal.
        b: (n,) those of the same seeds.
        level: of the interval, between 0 and 1.

    Source:
        Pitman 1939, "A note on normal correlation"; Morgan 1939, "A test for the significance of the difference between
        the two variances in a sample from a normal bivariate population".
    """
    from scipy.stats import t

    n, w, r = len(a), float(a.var(ddof=1) / b.var(ddof=1)), float(np.corrcoef(a, b)[0, 1])
    K = 1 + 2 * (1 - r**2) * float(t.ppf((1 + level) / 2, n - 2)) ** 2 / (n - 2)
    half = math.sqrt(K**2 - 1)
    return w, w * (K - half), w * (K + half)


def all_runs() -> list[tuple[str, str, float, int]]:
    """Task, precision, rate and seed of each."""
    found = [
        (name, precision, rate, seed)
        for name, setup in SETUPS.items()
        for rate, arms in setup.arms.items()
        for precision, seeds in arms.items()
        for seed in seeds
    ]
    return found


def write(rows: Sequence[dict[str, Any]], file: Path, by: str) -> None:
    """Keep runs as small as they can be."""
    kinds: dict[str, Any] = {"seed": np.int16, "accuracy": np.float32, "test_loss": np.float32, "losses": np.float32}
    write_columns(file, by, **{n: np.array([row[n] for row in rows], dtype=kinds.get(n)) for n in rows[0]})


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("precision", __doc__).parse_args().out
    done = Done(out / "precision.part.jsonl")
    tasks = {name: setup.task() for name, setup in SETUPS.items()}
    rows = [done.once(each, run, tasks[each[0]], *each) for each in all_runs()]
    write(rows, out / FILE.name, f"python -m stablelab.studies.precision; CPU, torch {torch.__version__}")


if __name__ == "__main__":
    main()
