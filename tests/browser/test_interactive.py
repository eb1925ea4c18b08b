"""Pictures that move, on a real page: by their sliders, and by what trains behind them."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import Open

MOVING = """
from stablelab.widgets import move, slider
def draw(ax, learning_rate):
    ax.plot([0, 1], [0, learning_rate])
    ax.set(xlabel="step", ylabel="loss", ylim=(0, 1))
    return f"the rate is {learning_rate:.3g}"
picture = move(draw, learning_rate=slider(0.5, 0.01, 1.0, log=True, label="learning rate"))
picture
"""
SLOW = """
import time
from stablelab.widgets import move, slider
drawn = []
def draw(ax, k):
    drawn.append(k)
    time.sleep(0.2)
    return f"k is {k}"
picture = move(draw, k=slider(0, 0, 100, label="k"))
picture
"""
GROWING = """
import time
from stablelab.widgets import live, slider
def train(now):
    while True:  # until the button stops it
        time.sleep(0.02)
        yield now("learning_rate")
def draw(ax, records):
    ax.plot(records)
    ax.set(xlabel="step", ylabel="rate")
    return f"the rate is {records[-1]:.3g}"
picture = live(train, draw, learning_rate=slider(0.5, 0.1, 1.0, steps=9, label="learning rate"))
picture
"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"


def test_all_cells_run_at_once_and_a_slider_moves_the_picture(open_notebook: Open) -> None:
    notebook = open_notebook(MOVING, "print('the next cell ran')")
    notebook.page.evaluate(RUN_ALL)
    assert [output["output_type"] for output in notebook.outputs(0)] == ["display_data", "display_data"]
    assert notebook.outputs(1)[0]["text"] == "the next cell ran\n"
    picture = notebook.cell(0).locator(".stablelab-moving")
    caption, image = picture.locator(".stablelab-caption"), picture.locator("img")
    expect(caption).to_have_text("the rate is 0.5")  # the page has not moved it to a step of its own
    expect(picture.get_by_role("img", name="the rate is 0.5")).to_be_visible()
    before = image.get_attribute("src")
    handle = picture.locator(".noUi-handle")
    handle.focus()
    handle.press("ArrowLeft")
    expect(caption).not_to_have_text("the rate is 0.5")
    expect(caption).to_contain_text("the rate is 0.4")
    expect(image).not_to_have_attribute("src", before or "")
    expect(notebook.cell(0).locator(".jp-RenderedImage")).to_be_hidden()  # what is stored stands under it, unseen


def test_many_positions_in_a_row_are_few_pictures_and_the_last_one_is_shown(open_notebook: Open) -> None:
    notebook = open_notebook(SLOW)
    notebook.run(0)
    picture = notebook.cell(0).locator(".stablelab-moving")
    handle = picture.locator(".noUi-handle")
    handle.focus()
    for _ in range(40):
        handle.press("ArrowRight")
    expect(picture.locator(".stablelab-caption")).to_have_text("k is 40")
    assert notebook.ask("drawn[-1]") == 40
    assert notebook.ask("len(drawn)") < 35


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
