"""Trials run: one by itself, many heads in one computation, or handed out to processes side by side."""

from __future__ import annotations

import getpass
import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...formulas import cross_entropy
from ...training.checkpoints import Checkpoints
from ...training.control import Control
from ...training.evaluation import evaluate, predict
from ...training.loop import steps
from ...training.protocols import Augment, Task
from ...training.records import Step
from ..hessian import sharpness
from .batched_heads import Heads, batched_logits, evaluation_slices, mean_losses, train_heads
from .trial import Outcome, Trial


@dataclass(frozen=True, eq=False)
class TrialSetup:
    """What one run trains on what.

    Attributes:
        model: what is trained: a whole model, or a head on its own.
        task: its training split is what this run may learn from.
        total_steps, batch_size: of the run.
        evaluate_every: steps between validations, which ``plateau`` and early stopping look at; 0 for none.
        sharpness: on how many training examples λ_max is measured at the end; 0 for not at all.
        layers, augment: as of ``Run``.
        rate_factor: step, from 0 -> what the learning rate is multiplied with besides its schedule; None for nothing.
    """

    model: nn.Module
    task: Task
    total_steps: int
    batch_size: int
    evaluate_every: int = 0
    sharpness: int = 0
    layers: Sequence[Sequence[str]] | None = None
    augment: Augment | None = None
    rate_factor: Callable[[int], float] | None = None


class Trainable(Protocol):
    """What the trials of a sweep have in common, and how a run is made of it; it can be pickled."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""

    @property
    def device(self) -> str | torch.device | None:
        """Where it was asked to be trained; None for a GPU if there is one."""

    def describe(self) -> dict[str, Any]:
        """What decides the numbers of a run besides its trial, as JSON values: data, model, length, arithmetic."""

    def check(self, trial: Trial) -> None:
        """Raise a one-line ValueError where this trial cannot be run."""

    def prepare(self, trial: Trial) -> TrialSetup:
        """A fresh model and the data for one run."""

    def can_batch(self, trials: Sequence[Trial]) -> bool:
        """Whether these trials can be run in one computation."""

    def run_batch(self, trials: Sequence[Trial]) -> list[Outcome]:
        """What they come to, if so: the same as one by one, up to rounding."""


# -- one by one --------------------------------------------------------------------------------------------------------


def run_trial(trainable: Trainable, trial: Trial) -> Outcome:
    """Train to the end. The numbers depend on the trainable and the trial alone, not on where it is run."""
    with one_thread():
        began = time.perf_counter()
        setup = trainable.prepare(trial)
        start, _ = predict(setup.model, setup.task.validation)
        done = list(training_steps(setup, trial))
        logits, targets = predict(setup.model, setup.task.validation)
        loss = float(cross_entropy(logits, targets))
        over = done[-1].diverged or not math.isfinite(loss)  # the last update may have been the one too many
        return Outcome(
            losses=np.array([step.loss for step in done], dtype=np.float32),
            norms=np.array([step.norm_before for step in done], dtype=np.float32),
            clipped=np.array([step.clipped and not step.diverged for step in done]),
            start_loss=float(cross_entropy(start, targets)),
            validation_loss=math.inf if over else loss,
            logits=(torch.full_like(logits, torch.nan) if over else logits).numpy(),
            targets=targets.numpy(),
            diverged=done[-1].step if over else None,
            sharpness=_sharpness(setup) if setup.sharpness and not over else None,
            seconds=time.perf_counter() - began,
        )


def training_steps(setup: TrialSetup, trial: Trial) -> Iterator[Step]:
    """The steps of a run as they are done, the one that diverges being the last."""
    control = Control(trial.settings)
    rate, factor = trial.settings.learning_rate, setup.rate_factor
    if factor is not None:
        control.change(learning_rate=rate * factor(0))
    loop = steps(
        setup.model,
        setup.task.batches(trial.order, setup.batch_size),
        cross_entropy,
        control,
        total_steps=setup.total_steps,
        seed=trial.order,
        evaluate=lambda model, step: evaluate(model, setup.task.validation, cross_entropy, step),
        evaluate_every=setup.evaluate_every,
        layers=setup.layers,
        augment=setup.augment,
        checkpoints=Checkpoints(memory=0),
    )
    for step in loop:
        yield step
        if step.diverged:
            return
        if factor is not None:
            control.change(learning_rate=rate * factor(step.step))


def _sharpness(setup: TrialSetup) -> float:
    examples = next(setup.task.train.batches(min(setup.sharpness, len(setup.task.train))))
    return sharpness(setup.model, *examples, training=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch's arithmetic, whose sums then come in one order.

    The same run has the same numbers in this process, in a worker and on a cluster. Workers side by side use the other
    cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- heads on frozen features, all in one computation ------------------------------------------------------------------


class _SubsetOrder:
    """Batch k of one seed in one training subset, as positions in the whole training split."""

    def __init__(self, batches: Any, subset: Tensor | None) -> None:
        self.batches, self.subset = batches, subset

    def __call__(self, k: int) -> Tensor:
        positions = self.batches.positions(k)
        return positions if self.subset is None else self.subset[positions]


def run_heads(
    trials: Sequence[Trial],
    tasks: Sequence[Task],
    subsets: Sequence[Tensor | None],
    heads: Sequence[nn.Linear],
    whole: Any,
    total_steps: int,
    batch_size: int,
) -> list[Outcome]:
    """What ``run_trial`` comes to for each trial, up to rounding, in a fraction of the time.

    Args:
        trials: R of them.
        tasks: the task that each learns from; those of one subset are the same object.
        subsets: of each, the positions of its training examples in the whole training split; None for all.
        heads: of each, the head that it begins with; not changed.
        whole: the task of all training examples, its inputs features (B, D).
        total_steps: of every run.
        batch_size: of every run.
    """
    began = time.perf_counter()
    features, targets = whole.train.collate(torch.arange(len(whole.train)))
    orders: dict[tuple[int, int | None], _SubsetOrder] = {}
    for trial, task, subset in zip(trials, tasks, subsets, strict=True):
        if (trial.order, trial.subset) not in orders:
            orders[trial.order, trial.subset] = _SubsetOrder(task.batches(trial.order, batch_size), subset)
    weights = torch.stack([head.weight.detach().cpu() for head in heads])  # (R, C, D)
    biases = torch.stack([head.bias.detach().cpu() for head in heads])  # (R, C)
    positions = [orders[trial.order, trial.subset] for trial in trials]
    settings = [trial.settings for trial in trials]
    found = train_heads(features, targets, weights, biases, positions, settings, total_steps)
    judged, right = (torch.cat(parts) for parts in zip(*whole.validation.batches(64), strict=True))
    evaluations: list[tuple[float, float, Tensor]] = []  # loss before and after, logits (N, C)
    for runs in evaluation_slices(len(trials), len(right), weights.shape[1]):
        logits = found.logits(judged, runs)  # (R, N, C)
        starts = mean_losses(batched_logits(weights[runs], biases[runs], judged), right)
        evaluations += zip(starts.tolist(), mean_losses(logits, right).tolist(), logits, strict=True)
    seconds = (time.perf_counter() - began) / len(trials)
    return [_outcome_of_head(found, r, *evaluations[r], right, seconds) for r in range(len(trials))]


def _outcome_of_head(
    heads: Heads, r: int, start: float, end: float, logits: Tensor, targets: Tensor, seconds: float
) -> Outcome:
    done = heads.diverged[r] or heads.losses.shape[1]
    over = heads.diverged[r] is not None or not math.isfinite(end)
    return Outcome(
        losses=heads.losses[r, :done].numpy(),
        norms=heads.norms[r, :done].numpy(),
        clipped=heads.clipped[r, :done].numpy(),
        start_loss=start,
        validation_loss=math.inf if over else end,
        logits=(torch.full_like(logits, torch.nan) if over else logits).numpy(),
        targets=targets.numpy(),
        diverged=done if over else None,
        sharpness=None,
        seconds=seconds,
    )


# -- in processes side by side, or on a cluster ------------------------------------------------------------------------


class WorkerLostError(RuntimeError):
    """A process that was at work on a run is gone: out of memory, or killed."""


@dataclass(frozen=True)
class WorkerResult:
    """What a worker sends back.

    Attributes:
        key: of the run.
        found: what it came to, or in one line why it could not be run.
    """

    key: str
    found: Outcome | str


def run_trials(
    trainable: Trainable, trials: Iterable[tuple[str, Trial]], n_jobs: int | None, one_at_a_time: bool = False
) -> Iterator[WorkerResult]:
    """Hand trials out to this process, to processes beside it, or to a Dask cluster, as joblib's settings say.

    Args:
        trainable: what they have in common.
        trials: with the key of each; the next is taken only when a worker is free for it, perhaps from a thread of
            joblib's.
        n_jobs: as of ``joblib.Parallel``.
        one_at_a_time: though by the same workers.

    Yields:
        Each as it ends.

    Raises:
        WorkerLostError: a worker is gone, and with it what it was at. (A Dask cluster gives it to another itself.)
    """
    from joblib import Parallel, delayed

    shared = PickledOnce(trainable)
    waiting = 1 if one_at_a_time else "n_jobs"
    parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=waiting)
    try:
        yield from parallel(delayed(run_in_worker)(shared, key, trial) for key, trial in trials)
    except Exception as error:
        if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker"):
            raise WorkerLostError(str(error).splitlines()[0]) from None
        raise


def run_in_worker(shared: PickledOnce, key: str, trial: Trial) -> WorkerResult:
    """Do one run; an error in it is a result, not the end of the sweep."""
    try:
        with own_gpu(shared.trainable) if shared.travelled else nullcontext():
            return WorkerResult(key, run_trial(shared.trainable, trial))
    except Exception as error:
        reason = str(error).strip().splitlines() or ["no reason given"]
        return WorkerResult(key, f"{type(error).__name__}: {reason[0]}")


class PickledOnce:
    """A trainable that is pickled once and opened once by each worker, though it goes out with every run.

    Attributes:
        travelled: whether it has come here from another process, so that this one is a worker.
    """

    def __init__(self, trainable: Trainable, pickled: bytes | None = None) -> None:
        self.trainable, self._pickled, self.travelled = trainable, pickled, pickled is not None

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        import cloudpickle

        if self._pickled is None:
            self._pickled = cloudpickle.dumps(self.trainable)  # what was defined in a notebook included
        return _opened, (self._pickled,)


@lru_cache(maxsize=1)
def _opened(pickled: bytes) -> PickledOnce:
    import cloudpickle

    return PickledOnce(cloudpickle.loads(pickled), pickled)


# -- one GPU for each worker -------------------------------------------------------------------------------------------


def gpu_of_worker(asked: str | torch.device | None, worker: int, gpus: int) -> int | None:
    """Which GPU is a worker's own: workers 0, 1, 2, … of a machine take its GPUs in turn.

    Args:
        asked: the device that the sweep was given; None for a GPU if there is one.
        worker: its number, from 0.
        gpus: how many it sees. (Where a cluster lets each worker see one of its own, that is the one.)

    Returns:
        The number of the GPU; None where there is nothing to choose, or one was asked for by its number.
    """
    device = torch.device("cuda" if asked is None else asked)
    if gpus < 2 or device.type != "cuda" or device.index is not None:
        return None
    return worker % gpus


@contextmanager
def own_gpu(trainable: Trainable) -> Iterator[None]:
    """What runs inside finds this worker's GPU where it says "cuda"."""
    gpus = torch.cuda.device_count()
    gpu = gpu_of_worker(trainable.device, worker_number() if gpus > 1 else 0, gpus)
    with nullcontext() if gpu is None else torch.cuda.device(gpu):
        yield


@lru_cache(maxsize=1)
def worker_number() -> int:
    """The lowest number that no other process of this user on this machine has that works on sweeps.

    It is a file that this process has locked, so that it is free again when the process ends, however it does.
    """
    from filelock import FileLock, Timeout

    folder = Path(tempfile.gettempdir(), f"stablelab-workers-{getpass.getuser()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in itertools.count():
            lock = FileLock(folder / str(number), thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            _held.append(lock)
            return number
    except OSError:  # no place for files
        pass
    return os.getpid()


_held: list[Any] = []  # locks, for as long as this process lives
