"""What a run of the benchmark leaves behind: all that rules, probes and peers judge, without training it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...studies.keeping import write_columns
from ..setup import TrainingSetup
from ..training_log import TrainingLog

Array: TypeAlias = npt.NDArray[np.floating[Any]]
KEPT_BITS = 8  # of the mantissa of what was observed: 0.4 % of its value


@dataclass(frozen=True, eq=False)
class Observed:
    """What published rules look at besides the log, seen at K steps of the loop.

    Attributes:
        steps: (K,) the steps, counted from 1.
        weights: names of the W weight tensors that have two dimensions or more (biases and norms are left out), in the
            order of the model; those that are trained and those that are not.
        sizes: (W,) how many numbers each holds.
        gradient_mean: (K, W) mean of |g|, before clipping; NaN where a tensor has no gradient.
        gradient_max: (K, W) maximum of |g|.
        gradient_zeros: (K, W) share of the entries of g that are 0.
        gradient_norm: (K, W) ‖g‖.
        gradient_spread: (K, W) 95th less 5th percentile of g, of at most some thousand of its entries.
        weight_mean: (K, W) mean of |w| before the step.
        update_ratio: (K, W) ‖Δw‖ / ‖w‖ of the step.
        activations: names of the A modules that are ReLU or GELU.
        zeros: (K, A) share of their outputs that are 0.
        dead: (K, A) share of their units, channels of a picture, less than 1 % of whose outputs are not 0.
        input_variance: (K, A) variance of what comes into them.
        batch_accuracies: (N,) accuracy on the batch of every step, as the loop's model gave it.
        class_errors: (K, C) share of the examples of each class that the loop's model got wrong since the last of the
            steps; NaN where there was none.
        class_shares: (C,) of the training examples.
        inputs: of a picture task ``min``, ``max``, ``mean`` and ``std`` of the training inputs; of texts ``zeros``, the
            share of their tokens that have the number 0.
        dropout: the highest p of a dropout in the model.
        output_is_probability: whether each output of the model lies in [0, 1] and they sum to 1.
    """

    steps: Array
    weights: tuple[str, ...]
    sizes: Array
    gradient_mean: Array
    gradient_max: Array
    gradient_zeros: Array
    gradient_norm: Array
    gradient_spread: Array
    weight_mean: Array
    update_ratio: Array
    activations: tuple[str, ...]
    zeros: Array
    dead: Array
    input_variance: Array
    batch_accuracies: Array
    class_errors: Array
    class_shares: Array
    inputs: Mapping[str, float]
    dropout: float
    output_is_probability: bool


@dataclass(eq=False)
class RunRecord:
    """One run of the benchmark.

    Args:
        task: the name of the task.
        kind: ``clean``, the name of a fault, or the name of a healthy variant.
        severity: of the fault; 0 for runs without one.
        seed: of the run.
        log: every step, and every validation.
        observed: what peers look at.
        outcome: ``reported_accuracy`` and ``reported_loss``, the last validation as the loop did it;
            ``right_accuracy`` and ``right_loss``, the same examples in evaluation mode; ``true_accuracy`` and
            ``true_loss``, on clean examples that nothing was chosen by; ``seconds`` of the training.
        onset: the last step before the fault is at work; 0 for one that is there from the start.
        probes: what each probe measured at the end of the run, or why it could not.
        live: the setup as the loop left it, for the probes; None for a record that was read.
    """

    task: str
    kind: str
    severity: float
    seed: int
    log: TrainingLog
    observed: Observed
    outcome: dict[str, float]
    onset: int = 0
    probes: dict[str, dict[str, float] | str] = field(default_factory=dict)
    live: TrainingSetup | None = None

    def setup(self) -> TrainingSetup:
        """What the probes look at.

        Raises:
            ValueError: the record was read from a file, which holds no model.
        """
        if self.live is None:
            raise ValueError(f"the record of {self.task}, {self.kind}, seed {self.seed} was read: its model is gone")
        return self.live

    def save(self, file: Path) -> None:
        """Write the record, without the model, whole or not at all."""
        save_records(file, [self])

    @classmethod
    def load(cls, file: Path) -> RunRecord:
        """Read a record that ``save`` wrote."""
        return load_records(file)[0]


def save_records(file: Path, records: Iterable[RunRecord], by: str = "") -> None:
    """Write records into one compressed file: the arrays of all of them end to end, and a line of JSON for each.

    Args:
        file: a ``.npz``.
        records: in any order.
        by: where they come from, to be read with ``studies.keeping.provenance_of``.
    """
    columns: dict[str, list[Array]] = {}
    lines: list[str] = []
    for record in records:
        arrays: dict[str, Array] = {}
        plain: dict[str, Any] = {}
        for part, what in (("log", record.log), ("observed", record.observed)):
            for each in fields(what):
                value = getattr(what, each.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{part}.{each.name}"] = value
                else:
                    plain[f"{part}.{each.name}"] = dict(value) if isinstance(value, Mapping) else value
        shapes = {name: array.shape for name, array in arrays.items()}
        own: dict[str, Any] = {name: getattr(record, name) for name in ("task", "kind", "severity", "seed", "onset")}
        own["outcome"] = _rounded(record.outcome)
        own["probes"] = {
            name: said if isinstance(said, str) else _rounded(said) for name, said in record.probes.items()
        }
        lines.append(json.dumps({**own, "plain": plain, "shapes": shapes}))
        for name, array in arrays.items():
            columns.setdefault(name, []).append(_short(name, array).ravel())
    kept = {name: np.concatenate(parts) for name, parts in columns.items()}
    write_columns(file, by, lines=np.frombuffer("\n".join(lines).encode(), dtype=np.uint8), **kept)


def load_records(file: Path) -> list[RunRecord]:
    """The records that ``save_records`` wrote, in their order."""
    records: list[RunRecord] = []
    with np.load(file) as kept:
        arrays = {name: kept[name] for name in kept.files}
    places = dict.fromkeys(arrays, 0)
    for line in arrays["lines"].tobytes().decode().splitlines():
        meta = json.loads(line)
        parts: dict[str, dict[str, Any]] = {"log": {}, "observed": {}}
        for name, shape in meta.pop("shapes").items():
            part, _, attribute = name.partition(".")
            begin, size = places[name], int(np.prod(shape))
            places[name] = begin + size
            dtype = np.float64 if part == "log" else np.float32
            parts[part][attribute] = arrays[name][begin : begin + size].reshape(shape).astype(dtype)
        for name, value in meta.pop("plain").items():
            part, _, attribute = name.partition(".")
            parts[part][attribute] = _tuples(value)
        records.append(RunRecord(log=TrainingLog(**parts["log"]), observed=Observed(**parts["observed"]), **meta))
    return records


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    """To six digits."""
    return {name: float(f"{value:.6g}") for name, value in numbers.items()}


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _short(name: str, array: Array) -> Array:
    """In float32; of what was observed by peers only the leading bits, which compress well."""
    with np.errstate(over="ignore"):
        short = array.astype(np.float32)
    if not name.startswith("observed.") or name.endswith((".steps", ".sizes")):
        return short
    mantissa, exponent = np.frexp(short)
    return np.ldexp(np.round(mantissa * 2**KEPT_BITS) / 2**KEPT_BITS, exponent).astype(np.float32)
