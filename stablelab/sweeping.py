"""Where a sweep is put together: a task, a model for each seed, and a grid of settings."""

# No `from __future__ import annotations` here: Shift-Tab would show every type in quotes.

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from . import __version__, data
from ._logging import log_level, logger
from ._validation import checked_arguments, whole
from .fine_tuning import Prepared, check_acting, ready
from .models import head_of
from .models.rng import seeded_rng
from .stability import Outcome, Subsets, Sweep, Trial, TrialSetup, why_not_batched
from .stability.sweeps.execution import run_heads
from .stability.sweeps.grid import checked_grid, checked_seeds, trials_of
from .training import Settings, Task
from .training.precision import check_accumulation, check_precision, slower_here
from .training.run import length

Model = Callable[..., nn.Module]

NUMERICS_VERSION = 1
"""The version of all arithmetic that decides what numbers a run of a sweep comes to.

Results that are kept in a file count as done only if they were made with this version (and the same torch, data, model,
settings and seeds). Raise it by one with every change after which a run comes to other numbers, beyond rounding:
in the formulas, the loop, the order of batches, the data or the models. A number rather than a digest of the source,
because a digest would throw hours of results away for a better comment, a new name or a moved file, and would miss what
changes in a file that it does not cover. That nobody forgets to raise it is the matter of ``tests/test_sweeping.py``:
small runs of all kinds are compared with the numbers that they came to when it was last raised.
"""


@checked_arguments
def sweep(
    model: Model,
    task: Task,
    grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    seeds: Iterable[int] | None = None,
    inits: Iterable[int] | None = None,
    orders: Iterable[int] | None = None,
    subsets: Subsets | tuple[str, int] | None = None,
    train: str = "all",
    device: str | torch.device | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    optimizer: str = "adamw",
    momentum: float = 0.9,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    bias_correction: bool = True,
    implementation: str = "torch",
    clip: str = "norm",
    max_norm: float | None = None,
    schedule: str = "constant",
    warmup_steps: int = 0,
    gamma: float = 0.99,
    factor: float = 0.1,
    patience: int = 2,
    layer_decay: float = 1.0,
    unfrozen: int | None = None,
    unfreeze_every: int = 0,
    early_stopping: int = 0,
    noise: float = 0.0,
    crop: float = 0.0,
    rotation: float = 0.0,
    flip: float = 0.0,
    precision: str = "fp32",
    accumulation: int = 1,
    evaluate_every: int = 0,
    sharpness: int = 0,
    file: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Every combination of settings, seeds and training subsets, ready to run.

    From ``learning_rate`` to ``accumulation`` the arguments are the fields of ``Settings``: what all runs are trained
    with, but for what the grid says.

    Args:
        model: makes a fresh model, called as ``model(task, seed=...)``: ``lab.resnet``, ``lab.bert``, or your own.
        task: the data; runs are judged on its validation split, its test split is never looked at here.
        grid: name of a setting -> the values it takes, such as ``{"learning_rate": [1e-4, 1e-3]}``.
        seeds: each is both the seed of the new weights and that of the order of the data; 0, 1, 2 if not given.
        inits: instead of ``seeds``, with ``orders``: all pairs of one of these seeds of the new weights and one of
            those of the order of the data.
        orders: see ``inits``.
        subsets: ``("bootstrap", 5)`` or ``("disjoint", 4)``: all the above on each of so many training subsets.
        train: ``"all"``, or ``"head"`` on the features of a frozen body, which are computed once. The body is the one
            of seed 0; all heads are then trained in one computation where their settings allow it.
        device: ``"cuda"``, ``"cpu"`` …; a GPU if there is one. Where there are several, each process of
            ``run(n_jobs=...)`` or worker of a cluster takes one, unless its number is given (``"cuda:1"``).
        epochs: length of each run in passes over the training split, > 0; 1 if neither it nor ``steps`` is given.
        steps: length of each run in optimizer steps, ≥ 1; instead of ``epochs``.
        batch_size: examples per step.
        learning_rate: base learning rate η > 0; the schedule multiplies it.
        weight_decay: λ ≥ 0; coupled (L2) for every optimizer but ``adamw`` and ``lamb``, where it is decoupled.
        optimizer: one of ``sgd``, ``momentum``, ``nesterov``, ``adam``, ``adamw``, ``lamb``.
        momentum: β of momentum and Nesterov, in [0, 1).
        beta1: decay of Adam's and LAMB's moving average of gradients, in [0, 1).
        beta2: decay of Adam's and LAMB's moving average of squared gradients, in [0, 1).
        eps: Adam's ε > 0, outside the root.
        bias_correction: Adam's division by 1 − βᵗ; torch has no switch for it, so off means the workbook's own code.
        implementation: ``torch`` (fused) or ``workbook`` (ours, foreach); torch has no LAMB, so that is always ours.
        clip: what ``max_norm`` bounds: ``norm`` (of all gradients), ``tensor`` (of each), ``value`` (of each entry).
        max_norm: the bound > 0, or None for no clipping.
        schedule: one of ``constant``, ``linear``, ``exponential``, ``cosine``, ``plateau``.
        warmup_steps: steps of linear warm-up in front of the schedule, ≥ 0.
        gamma: factor per step of ``exponential``, in (0, 1].
        factor: factor per drop of ``plateau``, in (0, 1).
        patience: validations without improvement that ``plateau`` forgives, ≥ 0.
        layer_decay: in (0, 1]; a layer d layers under the head trains with the learning rate times layer_decay^d.
        unfrozen: how many layers train, counted from the head (1: the head alone); None for all.
        unfreeze_every: steps after which one layer more is trained than before, again and again; 0 for never.
        early_stopping: validations without a new lowest loss after which training ends; the best weights are put back
            then, and at the end of the run. 0 for neither.
        noise: standard deviation of the noise on training pictures, ≥ 0, where black is 0 and white is 1.
        crop: share of the side by which training pictures are shifted at most, in [0, 0.5].
        rotation: degrees by which they are turned at most, in [0, 180].
        flip: probability with which each is mirrored, in [0, 1].
        precision: ``fp32``, or what the products of a step are computed in: ``bf16``, or on a GPU ``fp16``
            with a scaled loss; weights, gradients, optimizer and loss stay in fp32.
        accumulation: micro-batches that each batch is cut into, ≥ 1 and a divisor of ``batch_size``; takes less memory,
            and comes to the step of the whole batch, but for dropout's draws and for batch norm.
        evaluate_every: steps between validations, which plateau and early stopping look at; 0 for none.
        sharpness: on how many training examples λ_max is measured at the end of each run, the first in the split's
            fixed order (of sentences the shortest); 0 for not at all.
        file: where results are kept, run by run (SQLite); the same sweep finds there what is already done.

    Returns:
        A ``Sweep``: ``run()`` it, ``lab.show_sweep`` shows it, ``results()`` are the runs that are done.

    Raises:
        ValueError: in one line, for a setting that does not exist, cannot be, or would change nothing; a seed given
            twice; or a file that is no sweep of this version.
    """
    if isinstance(model, nn.Module) or not callable(model):
        raise ValueError("model must be what makes a fresh model for each seed, such as lab.resnet")
    base = Settings(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        optimizer=optimizer,
        momentum=momentum,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        bias_correction=bias_correction,
        implementation=implementation,
        clip=clip,
        max_norm=max_norm,
        schedule=schedule,
        warmup_steps=warmup_steps,
        gamma=gamma,
        factor=factor,
        patience=patience,
        layer_decay=layer_decay,
        unfrozen=unfrozen,
        unfreeze_every=unfreeze_every,
        early_stopping=early_stopping,
        noise=noise,
        crop=crop,
        rotation=rotation,
        flip=flip,
        precision=precision,
        accumulation=accumulation,
    )
    checked = checked_grid(grid or {}, base)
    for name, _, _ in base.differences(Settings()):
        if name in checked:
            raise ValueError(f"{name} is given twice, in the grid and by itself; give it once")
    chosen = Subsets.of(subsets)
    numbers: Sequence[int | None] = [None] if chosen is None else range(chosen.count)
    per_epoch = _part_of(task, chosen, numbers[0]).batches(0, batch_size).per_epoch
    trainable = FineTuning(
        model=model,
        task=task,
        train=train,
        device=device,
        total_steps=length(epochs, steps, per_epoch),
        batch_size=batch_size,
        evaluate_every=whole("evaluate_every", evaluate_every, of=" of steps"),
        sharpness=whole("sharpness", sharpness, of=" of examples"),
        subsets=chosen,
    )
    trials = trials_of(checked, base, _pairs(seeds, inits, orders), numbers)
    made = Sweep(trainable, trials, file)
    for line in {slower_here(trial.settings.precision, trainable.device_in_use) for trial in trials} - {""}:
        logger.info(line)
    return made


def _pairs(
    seeds: Iterable[int] | None, inits: Iterable[int] | None, orders: Iterable[int] | None
) -> list[tuple[int, int]]:
    """The seeds of each run, (init, order)."""
    if seeds is not None and (inits is not None or orders is not None):
        raise ValueError("give seeds, or inits and orders, not both")
    if inits is None and orders is None:
        return [(seed, seed) for seed in checked_seeds("seeds", range(3) if seeds is None else seeds)]
    first = checked_seeds("inits", [0] if inits is None else inits)
    second = checked_seeds("orders", [0] if orders is None else orders)
    return [(init, order) for init in first for order in second]


@dataclass(frozen=True, eq=False)
class FineTuning:
    """What the trials of a sweep have in common, as ``stability.Trainable``; the attributes are arguments of ``sweep``.

    Attributes:
        total_steps: length of each run.
        rate_factor: a function with a name: step, from 0 -> what the learning rate is multiplied with besides its
            schedule; None for nothing.
    """

    model: Model
    task: Task
    train: str
    device: str | torch.device | None
    total_steps: int
    batch_size: int
    evaluate_every: int
    sharpness: int
    subsets: Subsets | None
    rate_factor: Callable[[int], float] | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)  # of this process alone: models, features, parts

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.task.classes

    @property
    def device_in_use(self) -> torch.device:
        """Where the models are."""
        return next(self._first()[0].parameters()).device

    def describe(self) -> dict[str, Any]:
        """What decides the numbers of a run besides its trial, and the version of stablelab, as JSON values."""
        model = self._first()[0]
        shape = {} if self.rate_factor is None else {"rate_factor": self.rate_factor.__name__}
        return shape | {
            "task": self.task.name,
            "data": self.task.fingerprint,
            "classes": list(self.classes),
            "examples": {"train": len(self.task.train), "validation": len(self.task.validation)},
            "model": getattr(model, "stablelab_source", type(model).__name__),
            "weights": weights_digest(model),
            "structure": hashlib.sha256(repr(model).encode()).hexdigest()[:16],
            "device": self.device_in_use.type,
            "train": self.train,
            "steps": self.total_steps,
            "batch_size": self.batch_size,
            "evaluate_every": self.evaluate_every,
            "sharpness": self.sharpness,
            "subsets": None if self.subsets is None else vars(self.subsets),
            "stablelab": __version__,
            "numerics": NUMERICS_VERSION,
            "torch": torch.__version__,
        }

    def check(self, trial: Trial) -> None:
        """Raise a one-line ValueError where this trial cannot be run."""
        check_acting(trial.settings, self._first()[1], self.evaluate_every, self.task)
        if trial.settings.schedule == "plateau" and not self.evaluate_every:
            raise ValueError('schedule is "plateau", which looks at validations; give evaluate_every=, such as 10')
        check_precision(trial.settings.precision, self.device_in_use)
        check_accumulation(trial.settings.accumulation, self.batch_size)
        self._part(self.task, trial.subset).batches(0, self.batch_size)

    def prepare(self, trial: Trial) -> TrialSetup:
        """A fresh model and the data for one run."""
        model, prepared = self._first()
        if prepared.trains is not None:
            model = deepcopy(self._head(trial.init))
        else:
            model, prepared = self._ready(trial.init)
        return TrialSetup(
            model=model,
            task=self._part(prepared.task, trial.subset),
            total_steps=self.total_steps,
            batch_size=self.batch_size,
            evaluate_every=self.evaluate_every,
            sharpness=self.sharpness,
            layers=prepared.layers,
            augment=prepared.augment,
            rate_factor=self.rate_factor,
        )

    def can_batch(self, trials: Sequence[Trial]) -> bool:
        """Whether these trials are linear heads that can be trained in one computation."""
        head = self._first()[1].trains
        linear = type(head) is nn.Linear and head.bias is not None
        plain = linear and not self.sharpness and self.rate_factor is None
        return plain and not any(why_not_batched(trial.settings) for trial in trials)

    def run_batch(self, trials: Sequence[Trial]) -> list[Outcome]:
        """What they come to, if so: the same as one by one, up to rounding."""
        features = self._first()[1].task
        tasks = [self._part(features, trial.subset) for trial in trials]
        positions = {number: self._positions(number) for number in {trial.subset for trial in trials}}
        heads = [cast(nn.Linear, self._head(trial.init)) for trial in trials]
        subsets = [positions[trial.subset] for trial in trials]
        return run_heads(trials, tasks, subsets, heads, features, self.total_steps, self.batch_size)

    def _positions(self, number: int | None) -> Tensor | None:
        if self.subsets is None or number is None:
            return None
        return self.subsets.positions(len(self.task.train), number)

    def _part(self, task: Task, number: int | None) -> Task:
        if (id(task), number) not in self._cache:
            self._cache[id(task), number] = _part_of(task, self.subsets, number)
        return cast(Task, self._cache[id(task), number])

    def _first(self) -> tuple[nn.Module, Prepared]:
        """The model of seed 0, and what a run of it is made of; for heads, the body whose features all share."""
        if "first" not in self._cache:
            self._cache["first"] = self._ready(0)
        return cast(tuple[nn.Module, Prepared], self._cache["first"])

    def _ready(self, seed: int) -> tuple[nn.Module, Prepared]:
        with log_level(logging.WARNING), seeded_rng(seed):  # so that a model that forgets its seed is the same one, too
            model = self.model(self.task, seed=seed)
            if "first" in self._cache and model is self._cache["first"][0]:
                raise ValueError("model gave the same model again; it must make a fresh one each time")
            return model, ready(model, self.task, self.train, self.device)

    def _head(self, seed: int) -> nn.Module:
        """The new head of this seed, as it begins."""
        if seed not in self._cache:
            with log_level(logging.WARNING), seeded_rng(seed):
                where = next(self._first()[0].parameters()).device
                self._cache[seed] = head_of(self.model(self.task, seed=seed))[1].to(where)
        return cast(nn.Module, self._cache[seed])


def _part_of(task: Task, subsets: Subsets | None, number: int | None) -> Task:
    """The task that learns from subset ``number``, or from all."""
    if subsets is None or number is None:
        return task
    if not isinstance(task, data.Task):
        raise ValueError(f"subsets need a task of lab.digits, images, reviews or texts; {task.name} is none")
    return cast(Task, data.subset(task, subsets.positions(len(task.train), number)))


def weights_digest(model: nn.Module) -> str:
    """A digest of all weights and buffers that other processors come to as well.

    A new head that is drawn with other instructions differs in the last bits. So what enters is not the bytes but, of
    each tensor, the norm and a weighted sum (which tells an order from another) to four digits.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        values = tensor.detach().to("cpu", torch.float64).flatten()
        slope = torch.linspace(-1, 2, len(values), dtype=torch.float64)
        digest.update(f"{name} {tuple(tensor.shape)} {values.norm():.3e} {values @ slope + 0.0:.3e}".encode())
    return digest.hexdigest()[:16]
