"""The chart and the layout in a real page: panels, smoothing, zoom, bands, and what is said when the kernel is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .page import Board, Notebook, Open

# A run that is small enough not to matter, steered by the tests' own helper; each step may bring further scalars.
SMALL = f"""
import dataclasses, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.views import small_run
import stablelab as lab
from stablelab.plots import earlier_runs
def record(run, **scalars):
    append = run.history.append
    run.history.append = lambda step: append(dataclasses.replace(step, scalars=scalars))
run = small_run(100_000, pause=0.02, max_norm=0.5)
board = lab.dashboard(run)
"""
GONE = '"the kernel is gone: run the cell again"'
SAID_OF_GONE = "e => getComputedStyle(e, '::before').content"
INSIDE = """(root) => {  // what sticks out of the dashboard, and labels that are cut
  const [box, out] = [root.getBoundingClientRect(), []];
  for (const each of root.querySelectorAll("button, input, select, label, .widget-label, .noUi-target, canvas")) {
    const { left, right, width } = each.getBoundingClientRect();
    if (width && (left < box.left - 1 || right > box.right + 1)) out.push(`${each.className}: ${left}–${right}`);
    const cut = each.matches(".widget-label, label") && each.clientWidth && each.scrollWidth > each.clientWidth + 1;
    if (cut && getComputedStyle(each).overflowX !== "visible") out.push(`cut: ${each.textContent}`);
    if (each.matches(".noUi-target") && width && width < 120) out.push(`slider ${width} px wide`);
    if (each.matches("select") && width && width < 110) out.push(`list ${width} px wide`);
  }
  return out;
}"""


@pytest.fixture
def small(open_notebook: Open) -> Notebook:
    notebook = open_notebook(SMALL)
    notebook.run(0)
    return notebook


def paused(notebook: Notebook, steps: int) -> Board:
    """The dashboard of a run that has done so many steps."""
    notebook.ask(f"[run.step({steps}), __import__('time').sleep(0.1), run.wait_paused() and None][2]")
    board = notebook.board()
    board.until("Number(data.length) === value", steps)
    return board


def drag(board: Board, start: float, end: float, key: str = "") -> None:
    """Over the loss, from one step to another."""
    board.canvas.scroll_into_view_if_needed()
    box, (first, last) = board.canvas.bounding_box(), board.data("range")
    assert box is not None
    x = [box["x"] + 58 + (step - first) / (last - first) * (box["width"] - 74) for step in (start, end)]
    if key:
        board.page.keyboard.down(key)
    board.page.mouse.move(x[0], box["y"] + 80)
    board.page.mouse.down()
    board.page.mouse.move(x[1], box["y"] + 90, steps=4)
    board.page.mouse.up()
    if key:
        board.page.keyboard.up(key)


def test_a_range_of_steps_is_zoomed_to_and_moved_and_a_click_still_picks(small: Notebook) -> None:
    board = paused(small, 60)
    whole = board.data("range")
    drag(board, 20, 40)
    board.until("Math.abs(JSON.parse(data.range)[0] - 20) < 1 && Math.abs(JSON.parse(data.range)[1] - 40) < 1")
    assert board.data("picked") is None, "whoever drags picks nothing"
    drag(board, 35, 25, key="Shift")
    board.until("Math.abs(JSON.parse(data.range)[0] - 30) < 1.5")
    board.canvas.click(position={"x": 200, "y": 90})
    board.until("Number(data.picked) >= 30 && Number(data.picked) <= 51")
    picked = board.data("picked")
    board.canvas.dblclick(position={"x": 320, "y": 90})
    board.until("data.range === value", str(whole).replace(" ", ""))
    board.until("Number(data.picked) === value", picked)
    assert board.page.locator(".stablelab-all").is_hidden()


def test_zoom_by_wheel_and_keys_leaves_scrolling_to_the_page(small: Notebook) -> None:
    board = paused(small, 60)
    whole = board.data("range")
    board.canvas.hover(position={"x": 300, "y": 90})
    board.page.mouse.wheel(0, 40)
    board.canvas.focus()
    board.page.keyboard.press("+")
    board.until("JSON.parse(data.range)[1] - JSON.parse(data.range)[0] < 0.6 * (value[1] - value[0])", whole)
    near = board.data("range")
    board.page.keyboard.press("-")
    board.until("JSON.parse(data.range)[1] - JSON.parse(data.range)[0] > 1.5 * (value[1] - value[0])", near)
    for _ in range(2):  # twice, which is JupyterLab's shortcut for another kernel
        board.page.keyboard.press("0")
    board.until("data.range === value", str(whole).replace(" ", ""))
    expect(board.page.locator(".jp-Dialog")).to_have_count(0)
    board.canvas.hover(position={"x": 300, "y": 90})
    board.page.keyboard.down("Control")
    board.page.mouse.wheel(0, -200)
    board.page.keyboard.up("Control")
    board.until("JSON.parse(data.range)[1] - JSON.parse(data.range)[0] < 0.9 * (value[1] - value[0])", whole)
    board.page.locator(".stablelab-all").click()
    board.until("data.range === value", str(whole).replace(" ", ""))


def test_a_range_that_reaches_the_newest_step_goes_on_with_it(small: Notebook) -> None:
    board = paused(small, 60)
    drag(board, 40, 60)
    board.until("JSON.parse(data.range)[0] > 35")
    small.ask("run.resume()")
    board.until("JSON.parse(data.range)[1] > 75 && JSON.parse(data.range)[0] > 50")
    small.ask("run.stop()")


def test_smoothing_acts_in_the_page_alone(small: Notebook) -> None:
    board = paused(small, 60)
    small.ask("run.stop()")
    small.server.shut_kernels()
    usual, slider = board.data("smoothed"), board.root.locator(".stablelab-smoothing input")
    slider.fill("0")
    board.until("JSON.parse(data.smoothed) !== value", usual)
    assert board.data("smoothed") == pytest.approx(board.data("last")["loss"], rel=1e-5), "no smoothing: the last batch"
    expect(board.root.locator(".stablelab-smoothing output")).to_have_text("off")
    slider.fill("60")
    expect(slider).to_have_attribute("aria-valuetext", "200 steps")
    board.root.locator(".stablelab-smoothing").dblclick(position={"x": 5, "y": 5})
    board.until("JSON.parse(data.smoothed) === value", usual)


def test_each_panel_has_a_switch_and_only_the_norm_is_logarithmic(small: Notebook) -> None:
    board = paused(small, 20)
    pressed = board.root.locator(".stablelab-axis [aria-pressed=true]")
    expect(pressed).to_have_text(["lin", "log", "lin"])
    before = board.picture()
    board.root.locator(".stablelab-axis[data-panel=norm] [data-kind=lin]").click()
    expect(pressed).to_have_text(["lin", "lin", "lin"])
    board.until("canvas.toDataURL() !== value", before)


def test_a_scalar_that_appears_in_mid_run_gets_a_panel(small: Notebook) -> None:
    board = paused(small, 20)
    height = board.canvas.bounding_box()["height"]
    small.ask("record(run, sharpness=2.0)")
    small.ask("[run.step(5), __import__('time').sleep(0.1), run.wait_paused() and None][2]")
    board.until("JSON.parse(data.panels).at(-1) === 'sharpness' && Number(data.n) === 25")
    assert board.canvas.bounding_box()["height"] > height
    expect(board.root.locator(".stablelab-axis")).to_have_count(4)


def test_seeds_are_a_band_and_the_family_has_names(small: Notebook) -> None:
    small.ask("[earlier_runs.remember(small_run(40, seed=seed).start().wait()) for seed in (1, 2, 3)]")
    board = paused(small, 20)
    small.ask("board.branch(10, learning_rate=1e-3) and None")
    board.until("data.born === '10' && JSON.parse(data.bands)[0] === '3 seeds' && data.earlier === '1'")
    labels = board.root.locator(".stablelab-earlier label")
    expect(labels).to_have_count(2)
    expect(labels.nth(0)).to_contain_text("parent: ring")
    expect(labels.nth(1)).to_contain_text("mean ± sd of 3 seeds: ring")
    before = board.data("bands")
    labels.nth(1).locator("input").uncheck()
    board.until("data.bands !== value", str(before))
    small.ask("board.run.stop()")


def test_it_fits_the_window_and_narrow_ones_too(small: Notebook) -> None:
    board, page = paused(small, 20), small.page
    before = page.viewport_size
    try:
        page.set_viewport_size({"width": 1440, "height": 900})
        board.root.evaluate("e => e.scrollIntoView({ block: 'start' })")
        room = page.locator(".jp-WindowedPanel-outer").first.bounding_box()
        chart, side = board.canvas.bounding_box(), board.root.locator(".stablelab-side").bounding_box()
        top = board.root.bounding_box()["y"]
        assert chart["y"] + chart["height"] - top < room["height"], "all three panels under the buttons"
        assert side["x"] + side["width"] <= chart["x"] and 270 <= side["width"] <= 290, "beside each other"
        assert board.root.evaluate(INSIDE) == []
        for width in (1000, 720, 600):  # 720: half of 1,440, as at 200 %
            page.set_viewport_size({"width": width, "height": 900})
            board.page.wait_for_function(
                "w => document.querySelector('.stablelab-stage canvas').clientWidth < w", arg=width
            )
            assert board.root.evaluate(INSIDE) == [], width
            assert board.canvas.bounding_box()["width"] > 0.75 * board.root.bounding_box()["width"], (
                "one above the other"
            )
    finally:
        page.set_viewport_size(before)


def test_what_is_said_moves_nothing(small: Notebook) -> None:
    board = paused(small, 20)
    slider = board.root.locator(".lr-slider .noUi-target")
    where = slider.bounding_box()
    board.write("lr", "fast")
    expect(board.note.first).to_contain_text("is not a number above 0")
    assert slider.bounding_box() == where
    small.ask("run.stop()")
    expect(board.state).to_have_text("stopped")
    assert slider.bounding_box() == where


def test_one_button_is_the_first_to_press(small: Notebook) -> None:
    board = small.board()
    grounds = (
        "es => es.filter(e => e.offsetWidth).map(e => [e.textContent.trim(), getComputedStyle(e).backgroundColor])"
    )

    def primary() -> list[str]:
        seen = board.root.locator(".stablelab-buttons button").evaluate_all(grounds)
        return [name for name, ground in seen if ground == "rgb(11, 99, 165)"]

    board.canvas.wait_for()
    assert primary() == ["start"]
    paused(small, 5)
    expect(board.root.locator(".lab-resume")).to_be_visible()
    assert primary() == ["resume"]
    board.press("resume")
    expect(board.root.locator(".lab-pause")).to_be_visible()
    assert primary() == []
    board.press("stop")


def test_a_screen_reader_hears_states_and_names(small: Notebook) -> None:
    board = small.board()
    board.canvas.wait_for()
    heard = board.root.locator(".stablelab-unseen")
    expect(heard).to_have_text("ready")
    heard.evaluate(
        """e => {
          window.said = [];
          new MutationObserver(() => window.said.push(e.textContent)).observe(e, { childList: true });
        }"""
    )
    board.press("start")
    board.until("Number(data.n) > 30")
    board.press("pause")
    expect(heard).to_have_text("paused")
    assert small.page.evaluate("window.said") == ["running", "paused"], "not each step"
    assert board.field("lr").get_attribute("aria-label") == "learning rate"
    handle = board.root.locator(".lr-slider .noUi-handle")
    assert handle.get_attribute("aria-label") == "learning rate"
    handle.focus()
    small.page.keyboard.press("ArrowRight")
    assert handle.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_reset_after_stop_is_always_shown(small: Notebook) -> None:
    board = small.board()
    for _ in range(8):
        board.press("start")
        board.until("Number(data.n) > 2")
        board.press("stop")
        board.press("reset")
        expect(board.state).to_have_text("ready")
        expect(board.root.locator(".stablelab-progress")).to_contain_text("step 0 of")
        board.until("data.n === '0'")


def test_a_restarted_kernel_is_said_in_one_line(small: Notebook) -> None:
    board = paused(small, 20)
    small.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(board.root.locator(".stablelab-head")).to_be_hidden()
    expect(board.root.locator(".stablelab-side")).to_be_hidden()
    assert board.root.evaluate(SAID_OF_GONE) == GONE
    assert board.canvas.is_visible(), "what there was to see stays"
    signs = "e => [...e.querySelectorAll('*')].map(each => getComputedStyle(each, '::before').content)"
    assert not any("\uf127" in sign for sign in board.root.evaluate(signs)), "no broken links"
    expect(board.root.locator(".stablelab-unseen")).to_have_text(GONE.strip('"'))


def test_a_kernel_that_died_is_noticed_by_its_silence(small: Notebook) -> None:
    board = paused(small, 20)
    small.ask("__import__('threading').Timer(0.3, __import__('os')._exit, [1]).start()")
    expect(board.root).to_have_class(re.compile("stablelab-gone|jupyter-widgets-disconnected"), timeout=60_000)
    expect(board.root.locator(".stablelab-head")).to_be_hidden()
    assert board.root.evaluate(SAID_OF_GONE) == GONE


def test_a_kernel_that_is_there_is_not_given_up(small: Notebook) -> None:
    board = paused(small, 20)
    board.page.evaluate(
        "() => { window.real = performance.now.bind(performance); performance.now = () => window.real() * 8; }"
    )
    small.page.wait_for_timeout(4500)  # of 36 seconds, as the chart's script counts them, nothing was sent
    expect(board.root.locator(".stablelab-head")).to_be_visible()
