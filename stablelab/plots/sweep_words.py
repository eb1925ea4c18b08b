"""What a live view of a sweep says: how far it is, its latest runs, and how each setting stands."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .._formatting import format_duration
from .sweep_tables import SCORES, Grid, Row, finite, groups, say, spaced, varied, written

LATEST = 5  # runs
MOST = 120  # settings that are listed

STYLE = """
.stablelab-sweep { overflow-x: auto; }
.stablelab-sweep table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; }
.stablelab-sweep .listed { max-height: 230px; overflow-y: auto; width: fit-content; padding-right: 14px; }
.stablelab-sweep .listed table { margin: 2px 0 6px; }
.stablelab-sweep .listed th { text-align: left; font-weight: 600; padding: 1px 14px 1px 0; white-space: nowrap; }
.stablelab-sweep .listed td { padding: 1px 14px 1px 0; white-space: nowrap; line-height: 1.4; }
.stablelab-sweep .listed tr { background: none; }
.stablelab-sweep .bad { color: #d55e00; font-weight: 600; }
.stablelab-sweep .latest { font-size: 12px; opacity: 0.85; }
"""


def progress(done: int, total: int, pace: float, unable: int, rows: Sequence[Row]) -> str:
    """Such as ``12 of 64 runs · 3.2 runs/s · 16 s left · 2 diverged``.

    Arguments:
        done, total: runs.
        pace: runs per second; 0 where it is not known.
        unable: runs that could not be run.
        rows: those that are done.
    """
    parts = [f"<b>{done}</b> of {total} runs"]
    left = total - done - unable
    if pace > 0 and left > 0:
        said = f"{pace:.3g} runs/s" if pace >= 1 else f"{1 / pace:.3g} s a run"
        parts += [said, f"{format_duration(left / pace)} left"]
    diverged, failed = sum(row.diverged for row in rows), sum(row.failed for row in rows)
    if failed:
        parts.append(f"{failed} failed" + (f" ({diverged} diverged)" if diverged else ""))
    if unable:
        parts.append(f"{unable} could not be run")
    return f"<span class='stablelab-progress'>{' · '.join(parts)}</span>"


def settings_table(rows: Sequence[Row], grid: Grid, score: str) -> str:
    """A line for each setting: mean ± standard deviation over its runs, how many there are, how many failed."""
    names = varied(grid)
    heads = [*map(spaced, names), SCORES[score].label, "runs", "failed"]
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in heads)
    every = groups([row.point for row in rows], grid)
    lines = []
    for group in every[:MOST]:
        here = [rows[i] for i in group.positions]
        failed = sum(row.failed for row in here)
        texts = [*map(say, group.values.values()), mean_and_spread(here, score), str(len(here))]
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        lines.append(f"<tr>{cells}<td{' class=bad' if failed else ''}>{failed}</td></tr>")
    more = f"<div>and {len(every) - MOST} settings more</div>" if len(every) > MOST else ""
    return (
        f"<div class='listed'><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}</div>"
    )


def mean_and_spread(rows: Sequence[Row], score: str) -> str:
    """Such as ``0.512 ± 0.031``, of the runs that did not diverge."""
    values = finite(rows, score)
    if not len(values):
        return "all diverged" if rows else "–"
    return written(values.mean()) + (f" ± {written(values.std(ddof=1))}" if len(values) > 1 else "")


def latest(rows: Sequence[Row], grid: Grid, score: str) -> str:
    """The runs that ended last, newest first."""
    lines = []
    for row in rows[: -LATEST - 1 : -1]:
        settings = ", ".join(f"{spaced(name)} {say(getattr(row.point.settings, name))}" for name in varied(grid))
        seeds = f"init {row.point.init}, order {row.point.order}"
        seeds += "" if row.point.subset is None else f", subset {row.point.subset}"
        ended = f"{SCORES[score].label} {written(row.scores[score])}, accuracy {written(row.scores['accuracy'])}"
        verdict = "<span class=bad>diverged</span>" if row.diverged else html.escape(ended)
        verdict += " <span class=bad>failed</span>" if row.failed and not row.diverged else ""
        lines.append(f"{html.escape(' · '.join(filter(None, (settings, seeds))))} · {verdict}")
    return f"<div class='latest'>{'<br>'.join(lines)}</div>" if lines else ""


def in_words(rows: Sequence[Row]) -> str:
    """A sweep of one setting, for those who cannot see its picture."""
    accuracy = mean_and_spread(rows, "accuracy")
    return f"{len(rows)} runs: validation accuracy {accuracy}, {sum(row.failed for row in rows)} failed."
