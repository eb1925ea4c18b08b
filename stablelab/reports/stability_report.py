"""A sweep as one HTML page that can be sent to a colleague: what was run, what came out, how far to trust it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .._files import reason_of, write_atomically
from .._formatting import format_setting, html_from, setting_label
from ..plots.sweep_tables import checked_score, settings_line, varied
from ..stability import Results, Sweep, Trial
from ..stability.estimates import FEW
from ..training.settings import Settings
from .sections import at_a_glance, by_setting, every_run, sections

_TRAINED = {"all": "the whole model", "head": "a new head on the features of the frozen body"}
_DIGESTS = {"data": "data", "weights": "starting weights"}


def stability_report(
    sweep: Sweep | Results, file: str | os.PathLike[str] = "report.html", score: str = "validation_loss"
) -> Path:
    """Write one self-contained HTML page on a sweep: figures, tables, definitions, environment, seeds.

    It holds no script and loads nothing, and names neither the machine nor its user.

    Args:
        sweep: complete or not, or its results.
        file: where to; a file of that name is replaced, as a whole or not at all.
        score: what the heatmap shows and the settings are compared by: validation_loss, train_loss, accuracy,
            clipped_share, sharpness or seconds.

    Returns:
        The path of the file.

    Raises:
        ValueError: in one line: no finished run, no such score, or the file cannot be written.
    """
    checked_score(score)
    if not isinstance(sweep, Sweep | Results):
        raise ValueError(f"stability_report takes a sweep or its results, not {type(sweep).__name__}")
    results = sweep.results() if isinstance(sweep, Sweep) else sweep
    if not len(results):
        raise ValueError("this sweep has no finished run yet: run it first, there is nothing to report")
    missing = sweep.total - len(results) if isinstance(sweep, Sweep) else 0
    target = Path(file).expanduser()
    page = _page(results, missing, score)
    try:
        write_atomically(target, page)
    except OSError as error:
        raise ValueError(f"the report cannot be written to {target}: {reason_of(error)}") from None
    return target


def without_folders(name: object) -> str:
    """The name of a model or a task without the folders in front of it: they say whose machine it was."""
    first, *rest = str(name).split(" · ")
    path = first.replace("\\", "/")
    if path.count("/") > 1 or path.startswith(("/", ".", "~")):
        first = path.rstrip("/").rsplit("/", 1)[-1]
    return " · ".join((first, *rest))


def _page(results: Results, missing: int, score: str) -> str:
    about, settings = results.description, by_setting(results)
    model = without_folders(about.get("model", "a model")).split(" · ")[0]  # what its weights are stands further down
    sizes = [len(runs.trials) for _, runs in settings]
    return html_from(
        Path(__file__).with_name("page.html.j2"),
        title=f"Stability of {model} on {without_folders(about.get('task', 'a task'))}",
        today=datetime.now(UTC).strftime("%d %B %Y").lstrip("0"),
        tiles=at_a_glance(results, settings, score),
        missing=missing,
        few_seeds=min(sizes) < FEW,
        most_seeds=max(sizes),
        what_was_run=_what_was_run(results),
        sections=list(sections(results, settings, score)),
        runs=every_run(results),
        total=len(results),
        environment=_environment(results),
    )


def _what_was_run(results: Results) -> list[tuple[str, Any]]:
    about = results.description
    examples, subsets = about.get("examples") or {}, about.get("subsets") or {}
    names = ", ".join(map(str, results.classes))
    grid = [
        (f"grid: {setting_label(name)}", ", ".join(format_setting(name, value) for value in results.grid[name]))
        for name in varied(results.grid)
    ]
    return [
        ("task", without_folders(about.get("task", ""))),
        ("classes", f"{len(results.classes)}: {names}" if names else ""),
        ("examples", ", ".join(f"{count} {split}" for split, count in examples.items())),
        ("model", without_folders(about.get("model", ""))),
        ("what is trained", _TRAINED.get(str(about.get("train")), about.get("train"))),
        ("optimizer steps", about.get("steps")),
        ("batch size", about.get("batch_size")),
        *grid,
        ("same in all runs", _same_in_all(results)),
        ("seeds", _seeds(results.trials)),
        ("training subsets", ", ".join(f"{setting_label(name)} {value}" for name, value in subsets.items())),
    ]


def _same_in_all(results: Results) -> str:
    """The settings that were not varied, where they are not the default."""
    first = results.trials[0].settings
    changed = {name: new for name, _, new in Settings(optimizer=first.optimizer).differences(first)}
    every = {"optimizer": first.optimizer} | changed
    return settings_line({name: value for name, value in every.items() if name not in varied(results.grid)})


def _seeds(trials: Sequence[Trial]) -> str:
    """The seeds that were used, in words."""
    words = []
    for name in ("init", "order", "subset"):
        values = sorted({getattr(trial, name) for trial in trials} - {None})
        if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
            words.append(f"{name} {values[0]} to {values[-1]}")
        elif values:
            words.append(f"{name} {', '.join(map(str, values))}")
    return "; ".join(words)


def _environment(results: Results) -> list[tuple[str, str]]:
    about = results.description
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("stablelab", "torch", "numpy", "scipy"))
    return [
        (
            "runs made with",
            ", ".join(f"{name} {about[name]}" for name in ("stablelab", "numerics", "torch") if about.get(name)),
        ),
        ("report made with", f"Python {platform.python_version()}, {versions}"),
        ("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"),
        ("fingerprints", "; ".join(f"{label} {about[name]}" for name, label in _DIGESTS.items() if about.get(name))),
    ]
