"""Smaller and cheaper models beside the full ones: ``python -m stablelab.studies.smaller_models``.

BERT on movie reviews and ResNet-18 on digits, each fine-tuned in full over five seeds, and made smaller: by LoRA (BERT
alone), by distillation, by pruning and by int8. What is tuned is tuned on the validation split; what is told is of the
test split. The results lie in the package; the command makes them anew in about half an hour on one core, and stopped
at any time it goes on.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from ..data import corrupted, digits, reviews
from ..formulas import clip_, gradual_sparsity, multiplier
from ..formulas.distillation import distillation_loss
from ..stability.calibration import reliability
from ..stability.sweeps.execution import one_thread
from ..training.evaluation import forward, predict
from ..training.reproducibility import step_randomness
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns
from .making_smaller import (
    answers,
    full_model,
    in_int8,
    in_torchao,
    leave_out_what_never_acts,
    left_of,
    lora_model,
    prunable,
    prune_to,
    stored_bytes,
    student_model,
)

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "smaller_models.npz"
SEEDS = range(5)
TUNING = range(2)  # seeds that choose each learning rate; students see the other rates at these seeds alone
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # of full fine-tuning and of LoRA, of BERT
TEMPERATURES = (1.0, 2.0, 4.0)
SOFT = 0.9  # weight of the teacher's answers in the loss of a student
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
STATISTICS_AT = 0.9  # the sparsity at which batch norm's statistics are looked at
PRUNED_EVERY, PRUNED_UNTIL = 3, 2 / 3  # steps between two rounds of gradual pruning, and the share they take
ROUNDS = 15


@dataclass(frozen=True)
class Setup:
    """What one of the two models is trained and measured on.

    Attributes:
        batch_size: examples a step.
        steps, further, student_steps: of the full model, of what follows for pruning, and of a student.
        rates, student_rates: learning rates that are tried.
        corruptions: what robustness is measured under, all at severity 3.
    """

    batch_size: int
    steps: int
    further: int
    student_steps: int
    rates: tuple[float, ...]
    student_rates: tuple[float, ...]
    corruptions: tuple[str, ...]


SETUPS = {
    "BERT": Setup(8, 40, 15, 40, RATES, (3e-4, 1e-3), ("typos",)),
    "ResNet-18": Setup(32, 50, 20, 150, (3e-4, 1e-3, 3e-3), (3e-3, 1e-2, 3e-2), ("noise",)),
}
SEVERITY = 3


def task_of(name: str) -> Any:
    """The examples: 320 movie reviews of at most 24 tokens, or 500 digits; 200 to test by."""
    if name == "BERT":
        return reviews("movies", train=320, validation=200, test=200, max_tokens=24)
    return digits(train=500, validation=200, test=200)


# -- training ----------------------------------------------------------------------------------------------------------


def training_losses(
    model: nn.Module,
    task: Any,
    setup: Setup,
    learning_rate: float,
    seed: int,
    steps: int,
    teacher: Tensor | None = None,
    temperature: float = 1.0,
    before_step: Callable[[int], object] = lambda k: None,
) -> Iterator[float]:
    """Train with AdamW, a tenth of warm-up, a cosine and gradients clipped to a norm of 1; yield each step's loss.

    Args:
        model: trained in place, whatever of it may be trained.
        task: gives the batches.
        setup: their size.
        learning_rate: at its height.
        seed: of the order of the batches and of dropout.
        steps: how many.
        teacher: logits (N, C) of another model on the training split, in its order, to learn from as well.
        temperature: at which the two are compared.
        before_step: called with the number of each step, from 0.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, fused=True)
    batches = task.batches(seed, setup.batch_size)
    model.train()
    for k in range(steps):
        before_step(k)
        inputs, targets = batches(k)
        with step_randomness(seed, k, torch.device("cpu")):
            logits = forward(model, inputs)
        if teacher is None:
            loss = F.cross_entropy(logits, targets)
        else:
            loss = distillation_loss(logits, teacher[batches.positions(k)], targets, temperature, SOFT)
        optimizer.zero_grad()
        loss.backward()
        clip_([p.grad for p in parameters if p.grad is not None], "norm", 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * multiplier("cosine", k, steps, steps // 10)
        optimizer.step()
        yield loss.item()


def pruned(
    model: nn.Module, task: Any, setup: Setup, learning_rate: float, seed: int, sparsity: float, gradual: bool
) -> nn.Module:
    """A copy of a trained model, pruned at once or bit by bit, and trained on for as many steps either way."""
    from torch.nn.utils import prune

    model = copy.deepcopy(model)
    leave_out_what_never_acts(model)
    acting = left_of(model)
    last = round(PRUNED_UNTIL * setup.further)

    def before_step(k: int) -> None:
        if not gradual and k == 0:
            prune_to(model, sparsity, acting)
        elif gradual and ((k % PRUNED_EVERY == 0 and k < last) or k == last):
            prune_to(model, gradual_sparsity(k, 0, last, sparsity), acting)

    for _ in training_losses(model, task, setup, learning_rate, seed + 100, setup.further, before_step=before_step):
        pass
    for module, name in prunable(model):
        prune.remove(module, name)
    return model


# -- the study ---------------------------------------------------------------------------------------------------------


def row(
    name: str, task: Any, method: str, rate: float, seed: int, model: nn.Module, kind: str = "", setting: float = 0.0,
    tuned: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """What a trained model comes to, as JSON values; on the validation split too where its rate is tuned there."""
    loss = accuracy = math.nan
    if tuned:
        logits, targets = predict(model, task.validation, 50)
        loss, accuracy = float(F.cross_entropy(logits, targets)), float((logits.argmax(1) == targets).double().mean())
    tested = answers(model, task.test)
    right = task.test.targets
    worse = []
    for corruption in SETUPS[name].corruptions:
        split = corrupted(task.test, corruption, SEVERITY)
        worse.append(float((answers(model, split).argmax(dim=1) != right).double().mean()))
    finite = bool(tested.isfinite().all())
    return {
        "model": name,
        "method": method,
        "setting": setting,
        "rate": rate,
        "seed": seed,
        "bytes": stored_bytes(model, kind),
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "accuracy": float((tested.argmax(dim=1) == right).double().mean()),
        "calibration_error": reliability(tested.double().softmax(dim=1), right).error if finite else math.nan,
        "corrupted_error": float(np.mean(worse)),
        "predictions": tested.argmax(dim=1).tolist() if finite else [255] * len(right),
    }


def trained_rows(name: str, task: Any, method: str, rate: float, seed: int) -> Iterator[dict[str, Any]]:
    """One run of full fine-tuning or of LoRA."""
    setup = SETUPS[name]
    model = (lora_model if method == "LoRA" else full_model)(name, task, seed)
    for _ in training_losses(model, task, setup, rate, seed, setup.steps):
        pass
    yield row(name, task, method, rate, seed, model, kind="adapter" if method == "LoRA" else "")


def smaller_rows(
    name: str, task: Any, rate: float, seed: int, student_rates: Sequence[Sequence[float]]
) -> Iterator[dict[str, Any]]:
    """All that is made of the full model of this seed, which is trained again first.

    The rates of students are those alone, and those at each of the temperatures.
    """
    setup = SETUPS[name]
    full = full_model(name, task, seed)
    for _ in training_losses(full, task, setup, rate, seed, setup.steps):
        pass
    teacher = answers(full, task.train)
    for temperature, rates in zip((None, *TEMPERATURES), student_rates, strict=True):
        for student_rate in rates:
            student = student_model(name, task, seed)
            soft = None if temperature is None else teacher
            losses = training_losses(
                student, task, setup, student_rate, seed, setup.student_steps, soft, temperature or 1.0
            )
            for _ in losses:
                pass
            method = "student alone" if temperature is None else "distilled"
            yield row(name, task, method, student_rate, seed, student, setting=temperature or 0.0)
    for sparsity in (0.0, *SPARSITIES):
        for gradual in (False, True) if sparsity else (False,):
            model = pruned(full, task, setup, rate, seed, sparsity, gradual)
            method = ("pruned gradually" if gradual else "pruned at once") if sparsity else "trained on"
            yield row(name, task, method, rate, seed, model, "sparse" if sparsity else "", sparsity, False)
    yield row(name, task, "int8", rate, seed, in_int8(full), "int8", tuned=False)
    if name == "BERT":  # torchao takes linear layers, of which ResNet-18 has one
        yield row(name, task, "torchao weights", rate, seed, in_torchao(full, activations=False), tuned=False)
        yield row(name, task, "torchao dynamic", rate, seed, in_torchao(full, activations=True), tuned=False)


def statistics_rows(name: str, task: Any, rate: float, seed: int) -> Iterator[dict[str, Any]]:
    """Pruned to 0.9 once more, and batch norm's running statistics replaced by those of the training split."""
    setup = SETUPS[name]
    full = full_model(name, task, seed)
    for _ in training_losses(full, task, setup, rate, seed, setup.steps):
        pass
    for method, gradual in (("pruned at once", False), ("pruned gradually", True)):
        model = pruned(full, task, setup, rate, seed, STATISTICS_AT, gradual)
        update_bn(task.train.batches(50), model)
        yield row(name, task, f"{method}, new statistics", rate, seed, model, "sparse", STATISTICS_AT, False)


def timed_rows(name: str, task: Any) -> Iterator[dict[str, Any]]:
    """Processor seconds for 100 test examples in two batches, one model after another, round after round."""
    full = full_model(name, task, 0).eval()
    models = {"full": full, "student alone": student_model(name, task, 0).eval(), "int8": in_int8(full)}
    sparse = copy.deepcopy(full)
    with torch.no_grad():
        for module, _ in prunable(sparse):
            weight = module.get_parameter("weight")
            weight.mul_(torch.rand(weight.shape) > SPARSITIES[-1])
    models["pruned at once"] = sparse
    if name == "BERT":
        models["LoRA"] = lora_model(name, task, 0).eval()
        models["torchao weights"], models["torchao dynamic"] = (in_torchao(full, which) for which in (False, True))
    batches = [task.test.collate(positions)[0] for positions in task.test.order()[:100].split(50)]
    for r in range(-1, ROUNDS):  # the first round is not counted
        for method, model in models.items():
            began = time.process_time()
            with torch.no_grad():
                for inputs in batches:
                    forward(model, inputs)
            seconds = time.process_time() - began
            if r >= 0:
                yield {"model": name, "method": method, "round": r, "seconds": seconds}


def best_rate(rows: Sequence[dict[str, Any]], name: str, method: str, setting: float = 0.0) -> float:
    """The rate with the highest mean validation accuracy, of equals the one with the lower mean validation loss.

    Over the seeds that choose.
    """
    mine = [r for r in rows if (r["model"], r["method"], r["setting"]) == (name, method, setting)]

    def merit(rate: float) -> tuple[float, float]:
        here = [r for r in mine if r["rate"] == rate and r["seed"] in TUNING]
        return sum(r["validation_accuracy"] for r in here) / len(here), -sum(r["validation_loss"] for r in here)

    return max(sorted({r["rate"] for r in mine if r["seed"] in TUNING}), key=merit)


# -- what lies in the package ------------------------------------------------------------------------------------------


def runs() -> pandas.DataFrame:
    """All runs, a row each.

    Columns: model, method, setting (the temperature of "distilled", the sparsity of those that are pruned, else 0),
    rate, seed, bytes, validation_loss, validation_accuracy, accuracy, calibration_error and corrupted_error, the last
    three on the test split, and tuned: whether the rate is the best of its model, method and setting.
    """
    names = ("model", "method", "setting", "rate", "seed", "bytes", "validation_loss", "validation_accuracy")
    table = read_table(FILE, *names, "accuracy", "calibration_error", "corrupted_error")
    rows = table.to_dict("records")
    groups = {(r["model"], r["method"], r["setting"]) for r in rows}
    best = {group: best_rate(rows, *group) for group in groups}
    return table.assign(tuned=[best[r["model"], r["method"], r["setting"]] == r["rate"] for r in rows])


def predictions() -> np.ndarray:
    """(R, 200) the classes of the test examples that each run of ``runs()`` found; 255 where it diverged."""
    return read_column(FILE, "predictions").astype(np.int16)


def times() -> pandas.DataFrame:
    """Processor seconds for 100 test examples: model, method, round, seconds; the methods alternate in each round."""
    return read_table(FILE, prefix="time_")


def write(rows: Sequence[dict[str, Any]], timed: Sequence[dict[str, Any]], file: Path, by: str) -> None:
    """Keep what was found as small as it can be."""
    kinds: dict[str, Any] = {"seed": np.int16, "predictions": np.uint8, "setting": np.float64, "bytes": np.int64}
    small = {"validation_loss", "calibration_error", "corrupted_error"}
    columns: dict[str, Any] = {
        n: np.array([r[n] for r in rows], dtype=np.float32 if n in small else kinds.get(n)) for n in rows[0]
    }
    columns |= {f"time_{n}": np.array([r[n] for r in timed]) for n in timed[0]}
    write_columns(file, by, **columns)


def main() -> None:
    """Do what is not done, and write the file."""
    parser = parser_of("smaller_models", __doc__)
    parser.add_argument("--model", choices=[*SETUPS], help="do the runs of this model alone, in a file of its own")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    timed: list[dict[str, Any]] = []
    for name in SETUPS:
        if arguments.model in (None, name):
            with one_thread():
                found = study(name, arguments.out / f"smaller_models.{name}.part.jsonl")
            rows += found[0]
            timed += found[1]
    if arguments.model is None:
        write(rows, timed, arguments.out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


def study(name: str, part: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All runs of one model, and its times; what the file has of them is not done again."""
    done, task = Done(part), task_of(name)

    def do_trained(arms: Iterable[tuple[str, float, int]]) -> None:
        for arm in arms:
            done.once(arm, trained_rows, name, task, *arm)

    def rate_of(method: str, temperature: float = 0.0) -> float:
        found = [row for key, rows in done.items() if key != "times" for row in rows]
        return best_rate(found, name, method, temperature)

    methods = ("full", "LoRA") if name == "BERT" else ("full",)
    do_trained((m, r, s) for m in methods for r in SETUPS[name].rates for s in TUNING)
    for s in SEEDS:
        do_trained((m, rate_of(m), s) for m in methods)
        every = [SETUPS[name].student_rates] * (1 + len(TEMPERATURES))
        arms = [("student alone", 0.0), *(("distilled", temperature) for temperature in TEMPERATURES)]
        rates = every if s in TUNING else [(rate_of(*arm),) for arm in arms]
        done.once(("smaller", s), smaller_rows, name, task, rate_of("full"), s, rates)
    if name == "BERT":  # for the curves over learning rates
        do_trained((m, r, s) for s in SEEDS for m in methods for r in SETUPS[name].rates)
    if name != "BERT":
        for s in SEEDS:
            done.once(("statistics", s), statistics_rows, name, task, rate_of("full"), s)
    timed = done.once("times", timed_rows, name, task)
    return [row for key, found in done.items() if key != "times" for row in found], timed


if __name__ == "__main__":
    main()
