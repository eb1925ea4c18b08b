"""What stabilizes the fine-tuning of BERT, judged by one yardstick: ``python -m stablelab.studies.yardstick``.

Each method by itself on top of one plain recipe, at each of eight learning rates or more, over twenty seeds. The
results lie in the package; the command makes them anew, run by run, and stopped at any time it goes on from there. It
takes days on two cores: what lies in the package was computed on a GPU, 160 runs at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..formulas import clip_, cross_entropy, mixout, moving_average, multiplier, sam_ascent
from ..models import layers_of
from ..stability import is_failed
from ..training import Settings
from ..training.evaluation import predict
from ..training.param_groups import Layers, apply_settings, build_optimizer
from ..training.reproducibility import step_randomness
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns
from .papers import LONG, SEEDS, SHORT, WARMUP, bert_with_new_layers, movie_reviews

if TYPE_CHECKING:
    import pandas

RATES = (3e-5, 6e-5, 1e-4, 2e-4, 3e-4, 6e-4, 1e-3, 2e-3)
FILE = KEPT / "yardstick.npz"
PLAIN = Settings(optimizer="adamw", implementation="workbook", schedule="cosine", weight_decay=0.0)


@dataclass(frozen=True)
class Method:
    """A recipe: AdamW, 40 steps of 8 sentences, the rate falling along a cosine, but for what is said here.

    Attributes:
        settings: of the optimizer; their learning rate does not count.
        steps: length of each run.
        new_layers: how many of the top layers are drawn anew before training; see ``reinitialize_layers``.
        smoothing: ε of label smoothing.
        l2_sp: λ of λ/2 ‖θ - θ⁰‖², where θ⁰ are the pre-trained weights; the head is left free.
        mixout: probability with which an entry of a weight matrix of the blocks is its pre-trained one in a step.
        sam: ρ of sharpness-aware minimization; the second gradient of a step sees the dropout of the first.
        ema: β of the moving average of the weights, which is judged in place of the last weights; None for these.
    """

    settings: Settings = PLAIN
    steps: int = SHORT
    new_layers: int = 0
    smoothing: float = 0.0
    l2_sp: float = 0.0
    mixout: float = 0.0
    sam: float = 0.0
    ema: float | None = None


METHODS = {
    "plain": Method(),
    "warm-up 10 %": Method(PLAIN.replace(warmup_steps=round(WARMUP * SHORT))),
    "120 steps": Method(steps=LONG),
    "no bias correction": Method(PLAIN.replace(bias_correction=False)),
    "new top layer": Method(new_layers=1),
    "layer decay 0.9": Method(PLAIN.replace(layer_decay=0.9)),
    "layer decay 0.8": Method(PLAIN.replace(layer_decay=0.8)),
    "layer decay 0.65": Method(PLAIN.replace(layer_decay=0.65)),
    "mixout 0.5": Method(mixout=0.5),
    "mixout 0.9": Method(mixout=0.9),
    "L2-SP 0.01": Method(l2_sp=0.01),
    "L2-SP 0.1": Method(l2_sp=0.1),
    "L2-SP 1": Method(l2_sp=1.0),
    "constant rate": Method(PLAIN.replace(schedule="constant")),
    "cosine, EMA 0.9": Method(ema=0.9),
    "constant rate, EMA 0.9": Method(PLAIN.replace(schedule="constant"), ema=0.9),
    "SAM 0.02": Method(sam=0.02),
    "SAM 0.05": Method(sam=0.05),
    "SAM 0.1": Method(sam=0.1),
    "label smoothing 0.1": Method(smoothing=0.1),
    "label smoothing 0.2": Method(smoothing=0.2),
    "clipping 1": Method(PLAIN.replace(max_norm=1.0)),
    "clipping 0.3": Method(PLAIN.replace(max_norm=0.3)),
}


def yardstick() -> pandas.DataFrame:
    """All runs that lie in the package, a row each.

    Columns: method (a key of ``METHODS``), learning_rate, seed, accuracy, validation_loss, start_loss, failed.
    """
    return read_table(FILE)


def right() -> np.ndarray:
    """(R, 200) bool, in the order of ``yardstick()``: which validation sentences each run judged rightly."""
    return np.unpackbits(read_column(FILE, "right"), axis=1)[:, :200].astype(bool)


def first_losses() -> np.ndarray:
    """(R, 5) training losses of the first steps of each run, before the update; smoothed ones where labels are."""
    return read_column(FILE, "losses")


def training_losses(model: nn.Module, task: Any, method: Method, learning_rate: float, seed: int) -> Iterator[float]:
    """Train, and yield the loss of each step; at the end the model holds the weights that are to be judged."""
    parameters = dict(model.named_parameters())
    start = {name: theta.detach().clone() for name, theta in parameters.items()}
    average = dict(start)
    settings, names = method.settings, layers_of(model)
    optimizer = build_optimizer(Layers(model, names).groups(), settings)
    mixed = (
        [n for n, p in parameters.items() if p.ndim == 2 and ("layer" in n or "pooler" in n)] if method.mixout else []
    )
    draws = torch.Generator().manual_seed(seed)
    batches = task.batches(seed, 8)

    def gradient(k: int, used: dict[str, Tensor]) -> float:
        inputs, targets = batches(k)
        model.zero_grad()
        with step_randomness(seed, k, torch.device("cpu")):
            logits = functional_call(model, used, kwargs=inputs).logits if used else model(**inputs).logits
            loss = nn.functional.cross_entropy(logits, targets, label_smoothing=method.smoothing)
        loss.backward()
        return loss.item()

    for k in range(method.steps):
        model.train()
        keep = {n: torch.rand(parameters[n].shape, generator=draws) >= method.mixout for n in mixed}
        used = {n: mixout(parameters[n], start[n], keep[n], method.mixout) for n in mixed}
        loss = gradient(k, used)
        with torch.no_grad():
            if method.sam:
                moves = sam_ascent([theta.grad for theta in parameters.values() if theta.grad is not None], method.sam)
                before = [theta.clone() for theta in parameters.values()]
                torch._foreach_add_(list(parameters.values()), moves)
                with torch.enable_grad():
                    gradient(k, used)
                torch._foreach_copy_(list(parameters.values()), before)
            gradients = {n: theta.grad for n, theta in parameters.items() if theta.grad is not None}
            if method.l2_sp:
                for name, g in gradients.items():
                    if not name.startswith(names[0]):
                        g.add_(parameters[name] - start[name], alpha=method.l2_sp)
            clip_(list(gradients.values()), settings.clip, settings.max_norm)
            factor = multiplier(settings.schedule, k, method.steps, settings.warmup_steps)
            apply_settings(settings, learning_rate * factor, optimizer)
            optimizer.step()
            if method.ema is not None:
                average = {n: moving_average(average[n], theta, method.ema) for n, theta in parameters.items()}
        yield loss
    if method.ema is not None:
        with torch.no_grad():
            for name, theta in parameters.items():
                theta.copy_(average[name])


def run(task: Any, name: str, learning_rate: float, seed: int) -> dict[str, Any]:
    """What one run comes to, as JSON values."""
    model = model_of(task, METHODS[name], seed)
    begun, targets = predict(model, task.validation)
    losses = list(training_losses(model, task, METHODS[name], learning_rate, seed))
    logits, _ = predict(model, task.validation)
    loss = float(cross_entropy(logits, targets))
    hits = (logits.argmax(dim=1) == targets).numpy()
    return {
        "method": name,
        "learning_rate": learning_rate,
        "seed": seed,
        "accuracy": float(hits.mean()),
        "validation_loss": loss,
        "start_loss": float(cross_entropy(begun, targets)),
        "failed": not math.isfinite(loss) or bool(is_failed(hits.mean(), targets)),
        "losses": losses[:5],
        "right": np.packbits(hits).tolist(),
    }


def model_of(task: Any, method: Method, seed: int) -> nn.Module:
    """The model that a run begins with."""
    model: nn.Module = bert_with_new_layers(method.new_layers, task, seed)
    return model


def write(rows: list[dict[str, Any]], file: Path, by: str) -> None:
    """Keep runs as small as they can be."""
    kinds = {"seed": np.int16, "accuracy": np.float32, "validation_loss": np.float32, "start_loss": np.float32}
    kinds |= {"losses": np.float32, "right": np.uint8}
    columns: dict[str, Any] = {n: np.array([row[n] for row in rows], dtype=kinds.get(n)) for n in rows[0]}
    write_columns(file, by, **columns)


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("yardstick", __doc__).parse_args().out
    done, task = Done(out / "yardstick.part.jsonl"), movie_reviews()
    rows = [done.once(each, run, task, *each) for each in product(METHODS, RATES, SEEDS)]
    write(rows, out / FILE.name, f"CPU, torch {torch.__version__}")


if __name__ == "__main__":
    main()
