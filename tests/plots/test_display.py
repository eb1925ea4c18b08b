"""Which of the two outputs holds what."""

from __future__ import annotations

import io

import pytest
from matplotlib.figure import Figure

from stablelab.plots import training_curves as figures
from stablelab.plots.placing import Place

VIEW = "application/vnd.jupyter.widget-view+json"


class Handle:
    def __init__(self, data: dict[str, object]) -> None:
        self.data = data

    def update(self, data: dict[str, object], **_: object) -> None:
        self.data = data


class View:
    def _repr_mimebundle_(self) -> dict[str, object]:
        return {VIEW: {"model_id": "1"}, "text/plain": "VBox(…)"}


@pytest.fixture
def png() -> bytes:
    out = io.BytesIO()
    Figure(figsize=(2, 1), dpi=figures.DPI).savefig(out)
    return out.getvalue()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    import IPython.display

    from stablelab.plots import placing

    monkeypatch.setattr(placing, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: Handle(data))
    place = Place(View())
    place.show()
    return place


def _held(place: Place) -> tuple[list[str], list[str]]:
    return sorted(place._live.data), sorted(place._still.data)


def test_at_first_the_live_view_and_an_empty_place(place) -> None:
    assert _held(place) == ([VIEW, "text/plain"], ["text/plain"])
    assert "VBox" not in place._live.data["text/plain"]


def test_on_a_page_the_picture_goes_under_the_live_view(place, png) -> None:
    place.settle(png, "curves", on_a_page=True)
    assert _held(place) == ([VIEW, "text/plain"], ["image/png", "text/plain"])
    place.settle(None, "", on_a_page=True)
    assert _held(place) == ([VIEW, "text/plain"], ["text/plain"])


def test_without_a_page_the_picture_takes_its_place(place, png) -> None:
    place.settle(png, "curves", on_a_page=False)
    assert _held(place) == (["image/png", "text/plain"], ["text/plain"])
    assert place._live.data["text/plain"] == "curves"


def test_a_page_that_reports_late_gets_its_live_view_back(place, png) -> None:
    place.settle(png, "curves", on_a_page=False)
    place.settle(png, "curves", on_a_page=True)
    assert _held(place) == ([VIEW, "text/plain"], ["image/png", "text/plain"])


def test_outside_a_notebook_nothing_is_placed(png) -> None:
    place = Place(View())
    place.show()
    place.settle(png, "curves", on_a_page=False)
    assert not place.shown
