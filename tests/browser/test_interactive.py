"""Pictures that move, on a real page: by their sliders, and by what trains behind them."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import Open

MOVING = """
from stablelab.studio import Curve, Panel, move, slider
def draw(learning_rate):
    return Panel([Curve([0, 1], [0, learning_rate])], x="step", y="loss", summary=f"the rate is {learning_rate:.3g}")
move(draw, learning_rate=slider("learning rate", 0.5, 0.01, 1.0, log=True))
"""
GROWING = """
import time
from stablelab.studio import Curve, Panel, live, slider
def train(now):
    while True:  # until the button stops it
        time.sleep(0.02)
        yield now("learning_rate")
def draw(records):
    return Panel([Curve(range(len(records)), records)], x="step", y="rate", summary=f"the rate is {records[-1]:.3g}")
picture = live(train, draw, learning_rate=slider("learning rate", 0.5, 0.1, 1.0, steps=9))
picture
"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"


def test_all_cells_run_at_once_and_a_slider_moves_the_picture(open_notebook: Open) -> None:
    notebook = open_notebook(MOVING, "print('the next cell ran')")
    notebook.page.evaluate(RUN_ALL)
    assert [output["output_type"] for output in notebook.outputs(0)] == ["display_data", "display_data"]
    assert notebook.outputs(1)[0]["text"] == "the next cell ran\n"
    picture = notebook.cell(0).locator(".stablelab-moving")
    expect(picture).to_contain_text("the rate is 0.5")  # the page has not moved it to a step of its own
    canvas = picture.locator("canvas")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    handle = picture.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowLeft")
    expect(picture).not_to_contain_text("the rate is 0.5")
    expect(picture).to_contain_text("the rate is 0.4")
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before


def test_a_slider_reaches_what_trains_and_the_picture_grows(open_notebook: Open) -> None:
    notebook = open_notebook(GROWING)
    notebook.run(0)
    picture = notebook.cell(0).locator(".stablelab-moving")
    expect(picture).to_contain_text("the rate is 0.5")
    handle = picture.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowRight")
    expect(picture).to_contain_text("the rate is 0.6")
    picture.get_by_role("button", name="stop").click()
    expect(picture.get_by_role("button", name="stop")).to_be_disabled()
    assert notebook.ask("picture.error") is None
    assert notebook.ask("picture.records[0]") == 0.5
    assert notebook.ask("len(picture.records) > 5 and picture.records[-1] == 0.6")
