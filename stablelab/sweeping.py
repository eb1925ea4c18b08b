"""Where a sweep is put together: a task, a model for each seed, and a grid of settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from ._validation import whole
from .recipe import FineTuning, Model, part_of
from .stability import Subsets, Sweep
from .stability.sweeps.grid import checked_grid, checked_seeds, points_of
from .training import Settings, Task
from .training.run import length


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
    device: str | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 16,
    evaluate_every: int = 0,
    sharpness: int = 0,
    file: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Sweep:
    """Every combination of settings, seeds and training subsets, ready to run.

    Arguments:
        model: makes a fresh model, called as ``model(task, seed=...)``: ``lab.resnet``, ``lab.bert``, or your own.
        task: the data; runs are judged on its validation split, its test split is never looked at here.
        grid: name of a setting -> the values it takes, such as ``{"learning_rate": [1e-4, 1e-3]}``.
        seeds: each is both the seed of the new weights and that of the order of the data; 0, 1, 2 if not given.
        inits, orders: instead of ``seeds``: all pairs of one seed of the new weights and one of the order of the data.
        subsets: ``("bootstrap", 5)`` or ``("disjoint", 4)``: all the above on each of so many training subsets.
        train: ``"all"``, or ``"head"`` on the features of a frozen body, which are computed once. The body is the one
            of seed 0; all heads are then trained in one computation where their settings allow it.
        device: ``"cuda"``, ``"cpu"`` …; a GPU if there is one.
        epochs or steps: length of each run (one epoch if neither is given).
        batch_size: examples per step.
        evaluate_every: steps between validations, which plateau and early stopping look at; 0 for none.
        sharpness: on how many training examples λ_max is measured at the end of each run, the first in the split's
            fixed order (of sentences the shortest); 0 for not at all.
        file: where results are kept, run by run (SQLite); the same sweep finds there what is already done.
        settings: all that is no part of the grid.

    Returns:
        A ``Sweep``: ``run()`` it, ``lab.show_sweep`` shows it, ``results()`` are the runs that are done.

    Raises:
        ValueError: in one line, for a setting that does not exist, cannot be, or would change nothing; a seed given
            twice; or a file that is no sweep of this version.
    """
    if isinstance(model, nn.Module) or not callable(model):
        raise ValueError("model must be what makes a fresh model for each seed, such as lab.resnet")
    for name in settings:
        if name in (grid or {}):
            raise ValueError(f"{name} is given twice, in the grid and by itself; give it once")
    base = Settings().replace(**settings)
    checked = checked_grid(grid or {}, base)
    if seeds is not None and (inits is not None or orders is not None):
        raise ValueError("give seeds, or inits and orders, not both")
    if inits is None and orders is None:
        pairs = [(seed, seed) for seed in checked_seeds("seeds", range(3) if seeds is None else seeds)]
    else:
        first = checked_seeds("inits", [0] if inits is None else inits)
        second = checked_seeds("orders", [0] if orders is None else orders)
        pairs = [(init, order) for init in first for order in second]
    chosen = Subsets.of(subsets)
    numbers: Sequence[int | None] = [None] if chosen is None else range(chosen.count)
    per_epoch = part_of(task, chosen, numbers[0]).batches(0, batch_size).per_epoch
    recipe = FineTuning(
        model=model,
        task=task,
        train=train,
        device=device,
        steps=length(epochs, steps, per_epoch),
        batch_size=batch_size,
        evaluate_every=whole("evaluate_every", evaluate_every, of=" of steps"),
        sharpness=whole("sharpness", sharpness, of=" of examples"),
        subsets=chosen,
    )
    return Sweep(recipe, points_of(checked, base, pairs, numbers), file)
