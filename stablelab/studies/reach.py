"""How far fine-tuning carries BERT's weights, and what is left where it fails: ``python -m stablelab.studies.reach``.

Five constant learning rates, each with five seeds, for a head on the pooler and for one on the mean over the words. A
run of 40 steps at a constant rate contains those of 5, 10 and 20, so that equal sums of the learning rates come with
different numbers of steps. The results lie in the package; the command makes them anew, run by run, in about ten
minutes of one core, and stopped at any time it goes on from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models import bert, layer_names, layers_of
from ..stability import is_failed
from ..training.reproducibility import step_randomness
from .keeping import KEPT, Done, parser_of, read_column, write_columns
from .papers import movie_reviews

if TYPE_CHECKING:
    import pandas

RATES = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)
LENGTHS = (5, 10, 20, 40)  # steps of 8 sentences
READOUTS = ("pooler", "mean")
SEEDS = range(5)
FILE = KEPT / "reach.npz"


def runs() -> pandas.DataFrame:
    """The kept runs, a row each, and a first one of the model as it came (learning rate 0).

    Columns: readout, learning_rate, seed, accuracy and validation_loss at the end, failed; losses (40,) in training;
    moved (4, 8): ‖ΔW‖/‖W‖ after each of ``LENGTHS`` steps, of each layer's matrices, from the head down; norms (40, 8):
    of each layer's gradient at each step; probes (7,): accuracy of a ridge classifier on what the embeddings and each
    of the six blocks put out at the end, averaged over the words, as fitted on the training sentences and tried on the
    test sentences.
    """
    import pandas

    with np.load(FILE) as kept:
        return pandas.DataFrame({name: list(kept[name]) for name in kept.files if name not in ("by", "layers")})


def layers() -> tuple[str, ...]:
    """What the layers are called in which ``moved`` and ``norms`` are given."""
    return tuple(read_column(FILE, "layers").tolist())


def run(task: Any, readout: str, learning_rate: float, seed: int, steps: int | None = None) -> dict[str, Any]:
    """One run of AdamW at a constant rate, no decay, no clipping: a row of ``runs``.

    Args:
        task: ``movie_reviews()``.
        readout: as ``pooling`` of ``lab.bert``.
        learning_rate: 0 for the model as it came.
        seed: of the head, the order of the sentences and the dropout.
        steps: to stop after fewer than 40, and come back without what is measured at the end.
    """
    steps = LENGTHS[-1] if steps is None else steps
    model: nn.Module = bert(task, seed=seed, pooling=readout)  # type: ignore[arg-type]
    parts = [_matrices(model, names) for names in layers_of(model)]
    start = [[p.detach().clone() for p in part] for part in parts]
    batches = task.batches(seed, 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0, fused=True)
    losses, norms, moved = [], [], []
    model.train()
    for k in range(steps if learning_rate else 0):
        inputs, targets = batches(k)
        with step_randomness(seed=seed, k=k, device=targets.device):
            loss = F.cross_entropy(model(**inputs).logits, targets)
            optimizer.zero_grad()
            loss.backward()
        losses.append(loss.item())
        norms.append([_norm([p.grad for p in part if p.grad is not None]) for part in parts])
        optimizer.step()
        if k + 1 in LENGTHS:
            moved.append([_relative(part, begun) for part, begun in zip(parts, start, strict=True)])
    row = {"readout": readout, "learning_rate": learning_rate, "seed": seed, "losses": losses, "norms": norms}
    row["moved"] = moved
    return row if learning_rate > 0 and steps < LENGTHS[-1] else {**row, **_end(task, model.eval())}


@torch.no_grad()
def _end(task: Any, model: nn.Module) -> dict[str, Any]:
    """What is measured at the end of a run."""
    from sklearn.linear_model import RidgeClassifierCV

    logits, _, targets = _read(model, task.validation)
    loss = float(F.cross_entropy(logits, targets))
    accuracy = float((logits.argmax(dim=1) == targets).double().mean())
    (_, fitted, answers), (_, tried, right) = _read(model, task.train), _read(model, task.test)
    probes = []
    for inputs, others in zip(fitted, tried, strict=True):
        mean, scale = inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
        classifier = RidgeClassifierCV(alphas=np.logspace(0, 5, 11))
        classifier.fit(((inputs - mean) / scale).numpy(), answers.numpy())
        probes.append(float(classifier.score(((others - mean) / scale).numpy(), right.numpy())))
    failed = not np.isfinite(loss) or bool(is_failed(accuracy, targets))
    return {"accuracy": accuracy, "validation_loss": loss, "failed": failed, "probes": probes}


def _read(model: nn.Module, split: Any) -> tuple[Tensor, list[Tensor], Tensor]:
    """Logits (N, 2), for each of seven depths the mean over the words (N, D), and the targets (N,)."""
    logits, means, targets = [], [], []
    for inputs, right in split.batches(50):
        output = model(**inputs, output_hidden_states=True)
        real = inputs["attention_mask"].unsqueeze(-1).float()
        means.append([(hidden * real).sum(dim=1) / real.sum(dim=1) for hidden in output.hidden_states])
        logits.append(output.logits)
        targets.append(right)
    return torch.cat(logits), [torch.cat(parts) for parts in zip(*means, strict=True)], torch.cat(targets)


def _matrices(model: nn.Module, names: tuple[str, ...]) -> list[nn.Parameter]:
    return [p for name in names for p in model.get_submodule(name).parameters() if p.ndim == 2]


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())


def _relative(part: list[nn.Parameter], begun: list[Tensor]) -> float:
    return _norm([p.detach() - b for p, b in zip(part, begun, strict=True)]) / _norm(begun)


def write(rows: list[dict[str, Any]], file: Path, names: tuple[str, ...], by: str) -> None:
    """Keep runs as small as they can be; the model as it came has no steps, and nan in their place."""
    shapes = {"losses": LENGTHS[-1:], "moved": (len(LENGTHS), len(names)), "norms": (LENGTHS[-1], len(names))}
    columns: dict[str, Any] = {}
    for name in rows[0]:
        values = [row[name] if row[name] != [] else np.full(shapes[name], np.nan) for row in rows]
        kind = np.float32 if name in (*shapes, "probes", "accuracy", "validation_loss") else None
        columns[name] = np.array(values, dtype=kind)
    write_columns(file, by, layers=np.array(names), **columns)


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("reach", __doc__).parse_args().out
    done, task = Done(out / "reach.part.jsonl"), movie_reviews()
    asked = [("mean", 0.0, 0)]
    asked += [(readout, rate, seed) for readout in READOUTS for seed in SEEDS for rate in RATES]
    rows = [done.once(each, run, task, *each) for each in asked]
    write(rows, out / FILE.name, layer_names(bert(task)), f"CPU, torch {torch.__version__}")


if __name__ == "__main__":
    main()
