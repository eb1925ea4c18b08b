"""The stability map, computed anew while sliders are dragged: a coarse one at once, the full one when they rest."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, Self

import ipywidgets as w
import numpy as np

from .._formatting import one_line
from .._validation import whole
from ..plots import heatmaps
from ..plots.display import to_png
from ..plots.sweep_tables import ScoreTable, checked_score
from ..stability.sweeps.grid import Grid, checked_grid
from ..stability.sweeps.stability_map import FeatureTask, StabilityMap, stability_map
from ..training.knobs import slider
from ..training.settings import NAMES, Settings
from .interactive import Control, as_widgets, described
from .view import CellView, Refresher, stacked
from .wording import LONGEST

REST = 0.3  # seconds without a move, after which the full map is begun
PROGRESS = 0.25  # seconds between two words on how far it is
COARSE = 8  # values of an axis up to which the coarse map has all of them, else every second one
COARSE_SEEDS = 2
SCORES = {"validation_loss": "losses", "accuracy": "accuracies"}
_AXES = ("learning_rate", "max_norm")
_LENGTH = ("steps", "batch_size")


class Compute(Protocol):
    """Computes what is to be drawn."""

    def __call__(
        self, values: dict[str, Any], coarse: bool, stop: Callable[[], bool], progress: Callable[[int, int], object]
    ) -> ScoreTable | None:
        """The map, or None where ``stop`` said that it is no longer wanted.

        Args:
            values: of each control, by name.
            coarse: whether a quick one will do.
            stop: asked on the way.
            progress: to be called with how much is done, and of how much.
        """


class MapView(CellView):
    """Sliders and the map they change.

    One thread, there while there is something to compute, draws a coarse map at once and the full one when the
    sliders rest. A newer value of a slider stops what is being computed for an older one.

    Args:
        compute: see there.
        controls: the widgets by name.

    Attributes:
        controls: as given.
        cells: what is drawn.
        values: of the controls that it is drawn for.
        full: whether it is the full map.
        box: all widgets; heat, line, message are in it.
    """

    def __init__(self, compute: Compute, controls: Mapping[str, Control]) -> None:
        self._compute, self.controls = compute, as_widgets(controls)
        self.cells: ScoreTable | None = None
        self.values: dict[str, Any] = {}
        self.full = self._begun = self._settled = False
        self._error: Exception | None = None
        self._refresher = Refresher(self._draw_safely)
        with self.making():
            self.heat, self.line, self.message = w.HTML(), w.HTML(), w.HTML()
            self.message.add_class("stablelab-error")
            style = w.HTML(f"<style>{heatmaps.STYLE}</style>", layout={"display": "none"})
            self.box = stacked(style, *self.controls.values(), self.heat, self.line, self.message)
        for widget in self.controls.values():
            widget.observe(self._moved, "value")

    def show(self) -> Self:
        """Put it into the cell being executed, and begin."""
        super().show()
        self._begin()
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the full map of the newest values is drawn.

        Raises:
            TimeoutError: it takes longer than ``timeout`` seconds. What the computation raised, if it did.
        """
        self._begin()
        if not self._refresher.wait(timeout):
            raise TimeoutError(f"the map is still being computed after {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self

    async def finished(self, timeout: float | None = None) -> Self:
        """``wait`` for notebooks: the sliders go on working while the cell waits."""
        return await asyncio.to_thread(self.wait, timeout)

    def close(self) -> None:
        """End its thread and take it off the page."""
        self.closed = True
        self._refresher.close()
        super().close()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._refresher.wake()

    def _moved(self, _change: Any) -> None:
        """A slider was moved; called on whatever thread a message of the page arrives."""
        self._begun = True
        self._refresher.wake()

    # -- called by the view's own thread only --------------------------------------------------------------------------

    def _draw_safely(self) -> bool:
        try:
            self._error = None
            self._draw_both()
        except Exception as error:  # whatever it is, the learner has to read it; the old map stays
            self._error = error
            if not self.closed:
                self.message.value = html.escape(f"not drawn: {one_line(str(error), LONGEST)}")
        return False

    def _draw_both(self) -> None:
        """The coarse map, and the full one, unless a slider moves."""
        values, title = {name: widget.value for name, widget in self.controls.items()}, described(self.controls)
        for coarse in (True, False):
            found = self._compute(values, coarse, self._refresher.is_overtaken, self._progress(coarse))
            if found is None or self._refresher.is_overtaken():
                return
            self._draw(found, values, coarse)
            if coarse:
                self._refresher.rest(REST)
            elif not self._settled and self.shown:
                self._settled = True  # the first full map will do
                drawn = to_png(heatmaps.heatmap_figure(found, title=title))
                self.settle(drawn, heatmaps.heatmap_words(found))

    def _draw(self, found: ScoreTable, values: dict[str, Any], coarse: bool) -> None:
        self.cells, self.values, self.full = found, values, not coarse
        self.heat.value = heatmaps.heatmap_html(found)
        self.line.value = f"{'coarse' if coarse else 'full'} map: {int(found.runs.sum())} runs"
        self.message.value = ""

    def _progress(self, coarse: bool) -> Callable[[int, int], None]:
        """Shows how far it is, now and then."""
        due = time.monotonic() + PROGRESS

        def progress(done: int, total: int) -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + PROGRESS
                self.line.value = f"{'coarse' if coarse else 'full'} map: {done / total:.0%}"

        return progress

    def _ipython_display_(self) -> None:
        self.show()


def stability_map_view(
    task: FeatureTask,
    *,
    learning_rates: Sequence[float] | None = None,
    max_norms: Sequence[float | None] | None = None,
    seeds: int = 4,
    steps: int = 100,
    batch_size: int = 32,
    settings: Settings | None = None,
    score: str = "validation_loss",
    **controls: Control,
) -> MapView:
    """Learning rate × clip threshold, coloured by mean and spread over seeds, with sliders that change all cells.

    Shown as the last line of a cell. A move draws a coarse map at once (every second value, two seeds) and the full one
    when the sliders rest. In the next cell, ``await view.finished()``; then ``view.cells`` holds the numbers.

    Args:
        task: of features, from ``models.cached_features(task, model)``: a new head is trained in each cell.
        learning_rates: 16 from 1e-4 to 10 if not given.
        max_norms: 16 from 0.01 to 10 if not given; None is no clipping.
        seeds: how many, at least 2; each draws the new weights and the order of the data.
        steps: of every run.
        batch_size: of every run.
        settings: of every run, but for learning rate and threshold; momentum's if not given.
        score: validation_loss or accuracy.
        controls: by the name of a setting, or ``steps``, ``batch_size``, from ``lab.slider`` and ``lab.choice``; if
            none is given, weight decay, warm-up, steps, and the decay of the optimizer's averages.

    Raises:
        ValueError: in one line, where the task has no features, or a value, a setting or a control cannot be.
    """
    base = Settings(optimizer="momentum") if settings is None else settings
    if score not in SCORES:
        raise ValueError(f"score is {score!r}; a map has {' and '.join(SCORES)}")
    whole("seeds", seeds, at_least=2, of=" of seeds")
    lengths = {"steps": whole("steps", steps, at_least=1), "batch_size": whole("batch_size", batch_size, at_least=1)}
    rates = np.geomspace(1e-4, 10.0, 16).tolist() if learning_rates is None else learning_rates
    bounds = np.geomspace(0.01, 10.0, 16).tolist() if max_norms is None else max_norms
    grid = checked_grid({"learning_rate": rates, "max_norm": bounds}, base)
    for name in controls:
        if name in _AXES or name not in (*NAMES, *_LENGTH):
            raise ValueError(
                f"there is no control {name!r}: it must be a setting besides {' and '.join(_AXES)}, or steps"
            )
    compute = partial(_compute, task, grid, seeds, base, lengths, score)
    _try_out(task, grid, base)
    return MapView(compute, controls or _usual_controls(base, steps))


def as_table(found: StabilityMap, score: str) -> ScoreTable:
    """A map as a table: a column for each learning rate, a row for each threshold.

    Mean and spread are those of the runs that did not diverge; how many did, the cell says.
    """
    values = np.where(found.diverged, np.nan, getattr(found, SCORES[score])).transpose(1, 0, 2)  # (M, L, S)
    kept = (~np.isnan(values)).sum(axis=2)
    sums = np.nansum(values, axis=2)
    mean = np.divide(sums, kept, out=np.full(kept.shape, np.nan), where=kept > 0)
    squares = np.nansum((values - mean[..., None]) ** 2, axis=2)
    std = np.sqrt(np.divide(squares, kept - 1, out=np.full(kept.shape, np.nan), where=kept > 1))
    runs = np.full(kept.shape, len(found.seeds))
    label, falls = checked_score(score).label, checked_score(score).falls
    return ScoreTable(*_AXES, found.learning_rates, found.max_norms, mean, std, runs, runs - kept, label, falls)


def _compute(
    task: FeatureTask,
    grid: Grid,
    seeds: int,
    base: Settings,
    lengths: dict[str, int],
    score: str,
    values: dict[str, Any],
    coarse: bool,
    stop: Callable[[], bool],
    progress: Callable[[int, int], object],
) -> ScoreTable | None:
    """The map for these values of the controls."""
    every = {name: 2 if coarse and len(grid[name]) > COARSE else 1 for name in _AXES}
    found = stability_map(
        task,
        learning_rates=grid["learning_rate"][:: every["learning_rate"]],
        max_norms=grid["max_norm"][:: every["max_norm"]],
        seeds=range(min(seeds, COARSE_SEEDS) if coarse else seeds),
        settings=base.replace(**{name: value for name, value in values.items() if name not in _LENGTH}),
        **lengths | {name: value for name, value in values.items() if name in _LENGTH},
        progress=progress,
        stop=stop,
    )
    if found is None:
        return None
    table = as_table(found, score)
    return _widened(table, grid, every["max_norm"], every["learning_rate"]) if coarse else table


def _widened(table: ScoreTable, grid: Grid, down: int, across: int) -> ScoreTable:
    """A coarse map on as many cells as the full one, so that the page keeps its layout; a cell says whose it is."""
    M, L = len(grid["max_norm"]), len(grid["learning_rate"])

    def wide(values: np.ndarray) -> np.ndarray:
        return values.repeat(down, axis=0)[:M].repeat(across, axis=1)[:, :L]

    columns = tuple(np.repeat(np.array(table.columns, dtype=object), across)[:L])
    rows = tuple(np.repeat(np.array(table.rows, dtype=object), down)[:M])
    mean, std, runs, diverged = map(wide, (table.mean, table.std, table.runs, table.diverged))
    return replace(table, columns=columns, rows=rows, mean=mean, std=std, runs=runs, diverged=diverged)


def _try_out(task: FeatureTask, grid: Grid, base: Settings) -> None:
    """One step of one run: what cannot be is told in the cell that asks for it, not by a thread."""
    rate, bound = grid["learning_rate"][:1], grid["max_norm"][:1]
    stability_map(task, learning_rates=rate, max_norms=bound, seeds=(0,), settings=base, steps=1, batch_size=1)


def _usual_controls(base: Settings, steps: int) -> dict[str, Control]:
    controls: dict[str, Control] = {
        "weight_decay": slider(base.weight_decay, 0.0, max(0.5, base.weight_decay), label="weight decay λ")
    }
    if base.optimizer in ("momentum", "nesterov"):
        controls["momentum"] = slider(base.momentum, 0.0, max(0.99, base.momentum), steps=99, label="momentum β")
    elif base.optimizer != "sgd":
        controls["beta2"] = slider(base.beta2, 0.0, max(0.999, base.beta2), label="decay of the squares β₂")
    controls["warmup_steps"] = slider(base.warmup_steps, 0, max(100, base.warmup_steps), label="warm-up (steps)")
    controls["steps"] = slider(steps, min(10, steps), max(300, steps), label="training (steps)")
    return controls
