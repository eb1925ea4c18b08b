"""The report stands on its own, says everything that was measured, and gives away nothing but that."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stablelab._formatting import format_number
from stablelab.plots import display
from stablelab.reports import sections, stability_report
from stablelab.reports.measures import BEHAVIOUR, CURVATURE, RESULT, SENSITIVITY, VARIANCE
from stablelab.reports.sections import by_setting, sensitivities, splits
from stablelab.reports.stability_report import without_folders
from stablelab.stability import Results, Sweep, failed_rate, mean

Make = Callable[..., Sweep]


@pytest.fixture
def results(make_sweep: Make) -> Results:
    return make_sweep().run(bar=False)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take time, and are looked at elsewhere."""
    monkeypatch.setattr(sections, "to_png", lambda figure: b"\x89PNG")
    monkeypatch.setattr(sections.heatmaps, "heatmap_figure", lambda *_, **__: None)
    for name in ("seed_curves", "strip"):
        monkeypatch.setattr(sections.sweeps, name, lambda *_, **__: None)


class Outline(HTMLParser):
    """The tags of a page, with their attributes; complains about one that is not closed."""

    EMPTY = ("meta", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


@pytest.mark.slow
def test_the_page_loads_nothing_and_runs_nothing(
    make_sweep: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make_sweep({"learning_rate": (1e-3, 1e-2)}, seeds=2).run(bar=False)
    monkeypatch.setattr(display, "DPI", 30)  # small pictures are quick
    page = stability_report(results, tmp_path / "report.html").read_text(encoding="utf-8")
    outline = Outline(page)
    assert not outline.names() & {"script", "link", "iframe", "object", "embed", "base", "form", "a", "video"}
    for tag, attributes in outline.tags:
        assert not {"href", "srcset", "background", "action"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "img" or attributes["src"].startswith("data:image/png;base64,")
    assert sum(tag == "img" for tag, _ in outline.tags) == 3
    assert all(attributes["alt"] for tag, attributes in outline.tags if tag == "img")
    assert "url(" not in page and "@import" not in page and "http:" not in page and "https:" not in page
    policy = {"http-equiv": "Content-Security-Policy"}.items()
    [said] = [
        attributes["content"] for tag, attributes in outline.tags if tag == "meta" and policy <= attributes.items()
    ]
    assert said == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_numbers_are_those_of_the_measures_with_their_intervals_and_definitions(
    results: Results, tmp_path: Path, undrawn: None
) -> None:
    page = stability_report(results, tmp_path / "report.html").read_text(encoding="utf-8")
    there = mean([run.accuracy for run in results.where(learning_rate=1e-2, max_norm=1.0).outcomes], method="t")
    assert there.low is not None and there.high is not None
    value, low, high = (format_number(100 * each) for each in (there.value, there.low, there.high))
    assert f"{value}<small>[{low}, {high}]</small>" in page
    rate = failed_rate([run.failed for run in results.outcomes])
    assert f"<b>{format_number(100 * rate.value)} %</b>" in page
    for quantity in (*RESULT, *BEHAVIOUR, *CURVATURE, SENSITIVITY, VARIANCE):
        assert (f"<td>{quantity.name}</td>" in page) == (quantity is not VARIANCE), quantity.name
    assert "Mosbach" in page and "Wortsman" in page and "learning rate 1e-3" not in page.split("How to read it")[1]


@pytest.mark.slow
def test_it_says_what_was_run_with_which_seeds_and_where(results: Results, tmp_path: Path, undrawn: None) -> None:
    page = stability_report(results, tmp_path / "report.html").read_text(encoding="utf-8")
    said = re.sub(r"<[^>]+>", " ", page)
    for part in (
        "net",
        "ring",
        "60 train, 30 validation",
        "1e-3, 0.01, 1",
        "1, off",
        "init 0 to 2; order 0 to 2",
        "optimizer adamw",
        "Python 3.",
        "torch",
        "CPU cores",
    ):
        assert part in said
    for private in (socket.gethostname(), str(Path.home()), str(tmp_path), str(Path.cwd())):
        assert private not in page
    assert getpass.getuser() not in re.sub(r"(?s)<style>.*?</style>|base64,[^\"]*", "", page).split()


@pytest.mark.slow
def test_whatever_a_user_calls_things_is_text(make_sweep: Make, tmp_path: Path, undrawn: None) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=y>'
    sweep = make_sweep(task=evil, model=evil, classes=(evil, "b", "c"))
    results = sweep.run(bar=False)
    page = stability_report(sweep, tmp_path / "r.html").read_text(encoding="utf-8")
    outline = Outline(page)
    assert "script" not in outline.names()
    assert all(attributes["src"].startswith("data:") for tag, attributes in outline.tags if tag == "img")
    assert "alert(1)" in page, "it is said, as text"
    names = ("task", "model", "train", "steps", "batch_size", "stablelab", "torch", "code", "data", "weights")
    described = dict.fromkeys(names, evil) | {"examples": {evil: 3}, "subsets": {evil: evil}}
    page = stability_report(replace(results, description=described), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "script" not in Outline(page).names() and page.count("alert(1)") > len(names)


def test_with_one_seed_there_is_no_interval_and_it_says_so(make_sweep: Make, tmp_path: Path, undrawn: None) -> None:
    results = make_sweep(seeds=1).run(bar=False)
    page = stability_report(results, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Each setting was run once." in page and "run the sweep with more seeds" in page
    assert "<small>" not in page.split("How the runs ended")[1].split("How to read it")[0]


def test_a_sweep_under_way_is_reported_as_it_stands(make_sweep: Make, tmp_path: Path, undrawn: None) -> None:
    sweep = make_sweep()
    key, point = sweep.keys[0], sweep.trials[0]
    [outcome] = sweep.trainable.run_batch([point])  # type: ignore[attr-defined]
    sweep.ledger.finish(key, outcome)
    page = stability_report(sweep, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "17 runs of this sweep are not done" in page and "(all 1)" in page


def test_crossed_seeds_are_split_by_cause(make_sweep: Make, tmp_path: Path, undrawn: None) -> None:
    results = make_sweep({"learning_rate": (1e-3, 1e-2)}, crossed=True).run(bar=False)
    [(label, split), _] = splits(results)
    assert label == "learning rate 1e-3" and float(split.shares["init"]) == pytest.approx(1.0)
    page = stability_report(results, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Where the spread comes from" in page and "<td>variance by cause</td>" in page
    assert not list(splits(make_sweep().run(bar=False)))  # init and order go together: nothing to tell apart


def test_sensitivity_counts_seeds_that_were_run_at_every_rate(results: Results) -> None:
    found = dict(sensitivities(results))
    assert list(found) == ["clip threshold 1", "clip threshold off"]
    assert found["clip threshold off"].n == 3 and found["clip threshold off"].value > 0
    assert by_setting(results)[0][1].target == pytest.approx(0.55)


@pytest.mark.slow
def test_the_file_is_written_as_a_whole_or_not_at_all(results: Results, tmp_path: Path, undrawn: None) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    assert stability_report(results, file) == file and file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    for wrong in (tmp_path / "nowhere" / "r.html", tmp_path):
        with pytest.raises(ValueError, match="the report cannot be written to") as caught:
            stability_report(results, wrong)
        assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_what_cannot_be_reported_is_refused_in_one_line(make_sweep: Make, results: Results, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no finished run yet"):
        stability_report(make_sweep(), tmp_path / "r.html")
    with pytest.raises(ValueError, match="a sweep or its results, not list"):
        stability_report([], tmp_path / "r.html")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="score is 'speed'"):
        stability_report(results, tmp_path / "r.html", score="speed")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/home/somebody/models/tiny · pre-trained, new head", "tiny · pre-trained, new head"),
        ("C:\\Users\\somebody\\tiny", "tiny"),
        ("./tiny/", "tiny"),
        ("org/model · pre-trained", "org/model · pre-trained"),
        ("resnet18 · fractal weights (bundled)", "resnet18 · fractal weights (bundled)"),
    ],
)
def test_folders_are_left_out_of_names(said: str, shown: str) -> None:
    assert without_folders(said) == shown
