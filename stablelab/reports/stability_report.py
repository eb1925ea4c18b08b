"""A sweep as one HTML page that can be sent to a colleague: what was run, what came out, how far to trust it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ..plots.sweep_tables import checked_score, say, spaced, varied
from ..stability.estimates import FEW
from ..stability.sweeps.results import Results
from ..stability.sweeps.sweep import Sweep
from ..training.settings import Settings
from . import glossary as report_words
from .numbers import by_setting, seeds_of
from .page import facts, page, table, text, write
from .sections import Part, at_a_glance, behaviour, every_run, outcome, sensitivity, variance

_TRAINED = {"all": "the whole model", "head": "a new head on the features of the frozen body"}


def stability_report(
    sweep: Sweep | Results, file: str | os.PathLike[str] = "report.html", score: str = "validation_loss"
) -> Path:
    """Write one self-contained HTML page on a sweep: figures, tables, definitions, environment, seeds.

    It holds no script and loads nothing, and names neither the machine nor its user.

    Arguments:
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
    about = results.description
    model = nameless(about.get("model", "a model")).split(" · ")[0]  # what its weights are stands further down
    title = f"Stability of {model} on {nameless(about.get('task', 'a task'))}"
    return write(file, page(title, _body(title, results, missing, score)))


def nameless(said: object) -> str:
    """The name of a model or a task without the folders in front of it: they say whose machine it was."""
    name, *rest = str(said).split(" · ")
    path = name.replace("\\", "/")
    if path.count("/") > 1 or path.startswith(("/", ".", "~")):
        name = path.rstrip("/").rsplit("/", 1)[-1]
    return " · ".join((name, *rest))


def _body(title: str, results: Results, missing: int, score: str) -> Iterator[str]:
    settings = by_setting(results)
    today = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    yield f"<header><h1>{text(title)}</h1><p>What changes when nothing but the seed does. Written {today}.</p></header>"
    yield at_a_glance(results, settings, score)
    if missing:
        yield f'<p class="note">{missing} runs of this sweep are not done: it is reported as it stands.</p>'
    sizes = [len(runs.points) for _, runs in settings]
    if min(sizes) < FEW:
        yield f'<p class="note">{text(report_words.ONE_SEED if max(sizes) == 1 else report_words.FEW_SEEDS)}</p>'
    yield f"<main><h2>What was run</h2>{_what_was_run(results)}"
    used: list[str] = []
    for part in (outcome, behaviour, sensitivity, variance):
        found: Part = part(results, settings, score)
        used += found.used
        yield found.markup
    yield every_run(results)
    yield f"<h2>How to read it</h2><ul>{''.join(f'<li>{text(line)}</li>' for line in report_words.HOW_TO_READ)}</ul>"
    yield f"<h2>What each number is</h2>{_definitions(used)}"
    yield f"<h2>Environment</h2>{_environment(results)}</main>"
    yield "<footer>Written by stablelab's stability_report. This page holds no script and loads nothing.</footer>"


def _what_was_run(results: Results) -> str:
    about = results.description
    examples = about.get("examples") or {}
    names = ", ".join(map(str, results.classes))
    rows: list[tuple[str, Any]] = [
        ("task", nameless(about.get("task", ""))),
        ("classes", f"{len(results.classes)}: {names}" if names else ""),
        ("examples", ", ".join(f"{count} {split}" for split, count in examples.items())),
        ("model", nameless(about.get("model", ""))),
        ("what is trained", _TRAINED.get(str(about.get("train")), about.get("train"))),
        ("optimizer steps", about.get("steps")),
        ("batch size", about.get("batch_size")),
    ]
    rows += [(f"grid: {spaced(name)}", ", ".join(map(say, results.grid[name]))) for name in varied(results.grid)]
    rows += [("same in all runs", _same_in_all(results)), ("seeds", seeds_of(results.trials))]
    subsets = about.get("subsets") or {}
    rows += [("training subsets", ", ".join(f"{spaced(name)} {value}" for name, value in subsets.items()))]
    return facts(rows)


def _same_in_all(results: Results) -> str:
    """The settings that were not varied, where they are not the default."""
    first = results.trials[0].settings
    told = [("optimizer", first.optimizer)]
    told += [(name, new) for name, _, new in Settings(optimizer=first.optimizer).differences(first)]
    return ", ".join(f"{spaced(name)} {say(value)}" for name, value in told if name not in varied(results.grid))


def _definitions(used: list[str]) -> str:
    chosen = [each for name, each in report_words.DEFINITIONS.items() if name in used]
    rows = [
        [f"<td>{text(each.name)}</td>", f"<td>{text(each.says)}</td>", f"<td>{text(each.source)}</td>"]
        for each in chosen
    ]
    return table(("number", "what it is", "source, and how its interval was made"), rows, kind="says")


def _environment(results: Results) -> str:
    about = results.description
    here = ", ".join(f"{name} {metadata.version(name)}" for name in ("stablelab", "torch", "numpy", "scipy"))
    ran = ", ".join(f"{name} {about[name]}" for name in ("stablelab", "numerics", "torch") if about.get(name))
    digests = {"data": "data", "weights": "starting weights"}
    rows = [
        ("runs made with", ran),
        ("report made with", f"Python {platform.python_version()}, {here}"),
        ("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"),
        ("fingerprints", "; ".join(f"{said} {about[name]}" for name, said in digests.items() if about.get(name))),
    ]
    return facts(rows)
