"""Where a task, a model and a run are put together."""

# No `from __future__ import annotations` here: Shift-Tab would show every type in quotes.

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import nn

from . import training
from ._logging import logger
from ._notebook_cells import release_earlier
from ._validation import checked_arguments, seed_number, shown
from .data import Task as ZooTask
from .data import augment
from .formulas import cross_entropy
from .models import cached_features, check_fits, freeze, head_of, layer_names, layers_of, unfreeze
from .training import Log, Run, Settings, Task
from .training.precision import slower_here
from .training.protocols import Augment, Loss
from .training.settings import AUGMENTATIONS
from .watching import claim_run


@checked_arguments
def fine_tune(
    model: nn.Module,
    task: Task,
    train: str = "all",
    device: str | torch.device | None = None,
    *,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
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
    evaluate_every: int | None = None,
    loss: Loss = cross_entropy,
    name: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    checkpoint_memory: int | None = None,
) -> Run:
    """A run, ready to start, that fine-tunes ``model`` on ``task``.

    From ``learning_rate`` to ``accumulation`` the arguments are the fields of ``Settings``: where the run starts from.
    All of them can be changed while it trains, by the dashboard or with ``run.control.change(learning_rate=...)``.

    Args:
        model: any classifier whose head has as many outputs as the task has classes; trained in place.
        task: from ``lab.reviews``, ``lab.digits``, ``lab.spoken_digits``, ``lab.texts``, ``lab.images`` or
            ``lab.sounds``, or your own; one whose ``kind`` is ``"image"`` can be augmented.
        train: ``"all"`` trains everything, or with ``unfrozen=`` the uppermost layers. ``"head"`` freezes the body, its
            batch-norm statistics and dropout included, and computes the body's features once (where it has no single
            head, its body runs at every step).
        device: ``"cuda"``, ``"cpu"`` …; a GPU if there is one.
        epochs: length of the run in passes over the training split, > 0; 1 if neither it nor ``steps`` is given, and
            ``math.inf`` for a run that goes on until it is stopped.
        steps: length of the run in optimizer steps, ≥ 1; instead of ``epochs``.
        batch_size: examples per step.
        seed: of the order of the data and of the randomness inside each step, ≥ 0.
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
        evaluate_every: steps between validations, 0 for none; about ten per run if not given, and without an end about
            ten per epoch.
        loss: mean loss of (logits (B, C), targets (B,)).
        name: how the run is called in charts; as the task if not given.
        folder: where checkpoints are written while it trains, so that ``lab.reopen`` finds the run again if the process
            ends; nowhere if not given.
        checkpoint_memory: bytes for this run's states to go back to. In any case all runs of the process share about a
            sixteenth of the machine's memory.

    Returns:
        A ``Run``. Running a notebook cell again first stops the runs that the same cell had made before.

    Raises:
        ValueError: in one line, for an argument that does not exist, cannot be, or would change nothing in this run.
    """
    seed_number("seed", seed)  # before anything is loaded, moved or ended
    release_earlier()  # before the weights are copied: the cell's earlier run may be training this very model
    settings = Settings(
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
    prepared = ready(model, task, train, device, settings, evaluate_every)
    run = Run(
        model,
        prepared.task,
        settings=settings,
        seed=seed,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        evaluate_every=evaluate_every,
        loss=loss,
        trains=prepared.trains,
        name=f"{task.name} (head)" if name is None and train == "head" else name,
        layers=prepared.layers,
        augment=prepared.augment,
        checkpoint_memory=checkpoint_memory,
        folder=folder,
    )
    slower = slower_here(settings.precision, next(model.parameters()).device)
    if slower:
        logger.info(slower)
    return _claimed(run)


@checked_arguments
def replay(
    log: Log,
    model: nn.Module,
    task: Task,
    train: str = "all",
    device: str | torch.device | None = None,
    *,
    loss: Loss = cross_entropy,
    checkpoint_memory: int | None = None,
) -> Run:
    """A run, ready to start, that does again what a log says, change by change, and comes to the same numbers.

    Args:
        log: of a run, from ``run.log()``.
        model: with the weights that the run of the log began with.
        task: the data of that run.
        train: as for ``fine_tune``, and as it was then.
        device: as for ``fine_tune``, and as it was then.
        loss: as for ``fine_tune``, and as it was then.
        checkpoint_memory: as for ``fine_tune``.

    Returns:
        A ``Run``, claimed by the notebook cell as that of ``fine_tune`` is.

    Raises:
        ValueError: in one line, where the task is of other data or does not fit the model.
    """
    release_earlier()
    prepared = ready(model, task, train, device)
    run = training.replay(
        log,
        model,
        prepared.task,
        loss=loss,
        trains=prepared.trains,
        layers=prepared.layers,
        augment=prepared.augment,
        checkpoint_memory=checkpoint_memory,
    )
    return _claimed(run)


@checked_arguments
def load(
    folder: str | os.PathLike[str],
    model: nn.Module,
    task: Task,
    train: str = "all",
    device: str | torch.device | None = None,
    *,
    loss: Loss = cross_entropy,
    checkpoint_memory: int | None = None,
) -> Run:
    """A saved run: its weights in ``model``, its history and settings.

    Args:
        folder: that ``run.save(...)`` wrote, or that the run was given as ``folder``.
        model: of the same structure as the one that was saved.
        task: the data of that run.
        train: as for ``fine_tune``; of interest only if the run is trained again, as are all that follow.
        device: as for ``fine_tune``.
        loss: as for ``fine_tune``, and as it was then.
        checkpoint_memory: as for ``fine_tune``.

    Returns:
        A ``Run`` that is over.

    Raises:
        FileNotFoundError: in one line, where there is none.
        ValueError: in one line, where it is damaged, or of another task.
    """
    prepared = ready(model, task, train, device)
    run = training.load(
        folder,
        model,
        prepared.task,
        loss=loss,
        trains=prepared.trains,
        layers=prepared.layers,
        augment=prepared.augment,
        checkpoint_memory=checkpoint_memory,
    )
    run.branched = claim_run
    return run


@checked_arguments
def reopen(
    folder: str | os.PathLike[str],
    model: nn.Module,
    task: Task,
    train: str = "all",
    device: str | torch.device | None = None,
    *,
    loss: Loss = cross_entropy,
    checkpoint_memory: int | None = None,
) -> Run:
    """A run that was killed or stopped, ready to go on from its last checkpoint; says which one that is.

    Trained on, it comes to the numbers of a run that was never interrupted, bit for bit on a CPU.

    Args:
        folder: what the run was given as ``folder``, or what ``run.save(...)`` wrote.
        model: of the same structure as the one that was saved.
        task: the data of that run.
        train: as for ``fine_tune``, and as it was then.
        device: as for ``fine_tune``, and as it was then.
        loss: as for ``fine_tune``, and as it was then.
        checkpoint_memory: as for ``fine_tune``.

    Returns:
        A ``Run``, claimed by the notebook cell as that of ``fine_tune`` is.

    Raises:
        FileNotFoundError: in one line, where there is none.
        ValueError: in one line, where none can be used, or it is of another task.
    """
    release_earlier()
    prepared = ready(model, task, train, device)
    run = training.reopen(
        folder,
        model,
        prepared.task,
        loss=loss,
        trains=prepared.trains,
        layers=prepared.layers,
        augment=prepared.augment,
        checkpoint_memory=checkpoint_memory,
    )
    return _claimed(run)


def _claimed(run: Run) -> Run:
    """The run, noted as made by the cell being executed; and so will be its branches, by the cells that make them."""
    claim_run(run)
    run.branched = claim_run
    return run


# -- what a run is made of ---------------------------------------------------------------------------------------------


class NamedLayers(tuple[tuple[str, ...], ...]):
    """The layers of a model, from the head down: of each the dotted names of its modules.

    Attributes:
        names: what to call each of them.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Those of this model."""
        layers = cls(layers_of(model))
        layers.names = layer_names(model)
        return layers


@dataclass(frozen=True)
class Prepared:
    """What a run trains on what, and what its settings can act on.

    Attributes:
        task: the data; of a head on its own, the features of the frozen body in place of the inputs.
        trains: the head, where it is trained on its own; None where the whole model is.
        layers: what ``layer_decay``, ``unfrozen`` and ``unfreeze_every`` act on; None where they cannot.
        augment: what ``noise``, ``crop``, ``rotation`` and ``flip`` act through; None where they cannot.
    """

    task: Task
    trains: nn.Module | None = None
    layers: NamedLayers | None = None
    augment: Augment | None = None


def ready(
    model: nn.Module,
    task: Task,
    train: str,
    device: str | torch.device | None,
    settings: Settings | None = None,
    evaluate_every: int | None = None,
) -> Prepared:
    """Put the model on its device and freeze or release it for a run.

    Args:
        model: any classifier.
        task: the data.
        train: ``"all"`` or ``"head"``, as for ``fine_tune``.
        device: as for ``fine_tune``.
        settings: as they were asked for; refused where they could not act. Not looked at if not given.
        evaluate_every: as it was asked for; None if it was not.

    Returns:
        What the run is made of.

    Raises:
        ValueError: in one line, where the model does not fit the task or a setting would change nothing.
    """
    if train not in ("all", "head"):
        raise ValueError(f'train is {train!r}; it must be "all" or "head"')
    check_fits(model, task, training=train == "all", validates=evaluate_every != 0)
    model.to(device_of(device))
    prepared = _prepared(model, task, train)
    if settings is not None:
        check_acting(settings, prepared, evaluate_every, task)
    (freeze if train == "head" else unfreeze)(model)
    return prepared


def device_of(name: str | torch.device | None) -> torch.device:
    """The device that a learner names, or the one there is; raises ValueError in one line where it is not here."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or (device.index or 0) >= here.get(device.type, 0):
        there = [kind for kind, count in here.items() if count]
        raise ValueError(f"device is {shown(name)}, which is not here; there is {' and '.join(there)} "
                         "(without device= a GPU is used if there is one)")  # fmt: skip
    return device


def _prepared(model: nn.Module, task: Task, train: str) -> Prepared:
    pictures = augment if getattr(task, "kind", None) == "image" else None
    if train == "all":
        return Prepared(task, layers=NamedLayers.of(model), augment=pictures)
    try:
        features = cast(Task, cached_features(cast(ZooTask, task), model))
        return Prepared(features, trains=head_of(model)[1])
    except ValueError as reason:
        print(f"the frozen body runs at every step: {reason}")
        return Prepared(task, augment=pictures)


# -- whether settings can act ------------------------------------------------------------------------------------------


def check_acting(settings: Settings, prepared: Prepared, evaluate_every: int | None, task: Task) -> None:
    """Raise a one-line ValueError for the first setting that was asked for but cannot change anything in this run.

    Args:
        settings: as they were asked for; what is at its default was not.
        prepared: what the run is made of.
        evaluate_every: as it was asked for; None if it was not.
        task: named in the message.
    """
    for name, value, _ in settings.differences(Settings()):
        why = ""
        if name in ("layer_decay", "unfrozen", "unfreeze_every"):
            why = _no_layers(name, settings, None if prepared.layers is None else prepared.layers.names)
        elif name in AUGMENTATIONS and prepared.augment is None:
            why = _no_pictures(task, cached=prepared.trains is not None)
        elif name == "early_stopping" and evaluate_every == 0:
            why = "it looks at validations, and with evaluate_every=0 there are none"
        if why:
            raise ValueError(f"{name} is {value!r}, but {why}")


def _no_layers(name: str, settings: Settings, layers: Sequence[str] | None) -> str:
    """Why a setting of layers cannot act, if so."""
    if layers is None:
        return 'train="head" trains one layer only; give train="all" (with unfrozen=1 it starts with the head alone)'
    if len(layers) == 1:
        return "this model has one layer only"
    if name == "unfrozen" and settings.unfrozen is not None and settings.unfrozen > len(layers):
        return f"this model has {len(layers)} layers: {', '.join(layers)}"
    if name == "unfreeze_every" and settings.unfrozen is None:
        return "all layers train from the start; give the number of layers to start with, such as unfrozen=1"
    return ""


def _no_pictures(task: Task, cached: bool) -> str:
    """Why augmentation cannot act."""
    kind = getattr(task, "kind", None)
    if cached and kind == "image":
        return 'train="head" looks at each picture once; give train="all", unfrozen=1 to train the head on changed ones'
    if kind is None:
        return f'{task.name} does not say that it holds pictures (kind = "image")'
    return f"it changes pictures, and {task.name} holds {kind}s"
