"""What a learner does with a run while it trains, done in a real page: watch, steer, pause, stop, run again, reload."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .page import RELEASED, RUN, THREADS, Open

THREE_UP = 1e-3 * 10**0.15  # a key press moves the slider by a 20th of a power of ten
BUSY = (
    f"import time\nwhile not {RELEASED}: time.sleep(0.02)",
    f"while not {RELEASED}: sum(i * i for i in range(10_000))",
    "await run.finished();",
)
TWO_SLIDERS = """
import ipywidgets
from stablelab.widgets.view import answer_anywhere
seen = []
plain, routed = sliders = [ipywidgets.IntSlider(), ipywidgets.IntSlider()]
for slider, name in zip(sliders, ("plain", "routed")):
    slider.add_class(name)
    slider.observe(lambda change, name=name: seen.append(name), "value")
answer_anywhere(routed)
display(plain, routed)
"""


def test_curve_moves_while_it_trains(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    picture, drawn = board.picture(), board.data("n")  # in this order: it may be painted anew between the two
    board.until("Number(data.n) > value", drawn)
    assert board.picture() != picture
    assert board.data("first") == 1
    assert board.data("last")["learning_rate"] == 1e-3


def test_slider_steers_while_another_cell_runs(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    for source in BUSY:
        notebook.run(0)  # again: the first message of a new slider is the one that got lost
        board = notebook.board()
        board.until("Number(data.n) > 1 && Number(data.marks) === 0")
        prompt = notebook.begin(source)
        board.move("lr", "ArrowRight", 3)
        board.until("Math.abs(last.learning_rate - value) < 1e-9", THREE_UP)
        expect(board.log.first).to_contain_text("→ 1.41e-3")
        expect(prompt).to_have_text("[*]:")  # all of that while the cell runs
        notebook.release()
        board.press("stop")
        expect(prompt).not_to_have_text("[*]:")
        rates = notebook.ask("[step.learning_rates[0] for step in run.history.since(0)]")
        assert (rates[0], rates[-1]) == (1e-3, pytest.approx(THREE_UP))
        changes = notebook.ask("[[each.first, str(each)] for each in run.history.gestures()]")
        assert all(rates[step - 1] > rates[step - 2] for step, _ in changes)
        expect(board.log).to_have_text([text for _, text in reversed(changes)])
        board.until("Number(data.marks) === value", len(changes))


def test_messages_still_need_their_own_routing(open_notebook: Open) -> None:
    """When this fails, ipykernel answers wherever the page asks: ``answer_anywhere`` and its uses can go."""
    notebook = open_notebook(TWO_SLIDERS)
    notebook.run(0)
    prompt = notebook.begin("import time\nwhile 'routed' not in seen: time.sleep(0.02)\nbefore = list(seen)")
    for name in ("plain", "routed"):  # in this order: where both take the same way, the plain one arrives first
        notebook.page.locator(f".{name} .noUi-handle").press("ArrowRight")
    expect(prompt).not_to_have_text("[*]:")
    assert notebook.ask("before") == ["routed"]
    assert sorted(notebook.ask("seen")) == ["plain", "routed"]


def test_pause_one_step_resume_stop(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    board.press("pause")
    expect(board.state).to_have_text("paused")
    done = notebook.ask("len(run.history)")
    board.until("Number(data.length) === value", done)
    board.press("step")
    board.until("Number(data.length) > value", done)
    expect(board.state).to_have_text("paused")
    assert notebook.ask("[len(run.history), run.state]") == [done + 1, "paused"]
    board.press("resume")
    expect(board.state).to_have_text("running")
    board.until("Number(data.length) > value", done + 1)
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    assert notebook.ask(f"[run.state, {THREADS}]") == ["stopped", 0]


def test_a_cell_run_again_trains_in_one_thread(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    notebook.board().until("Number(data.n) > 1")
    notebook.page.evaluate("() => { document.querySelector('.stablelab-live canvas').dataset.old = 'yes' }")
    notebook.run(0)
    board = notebook.board()
    board.until("!data.old && Number(data.n) > 1")
    assert notebook.ask(f"[{THREADS}, run.state]") == [1, "running"]
    expect(notebook.page.locator(".stablelab-live")).to_have_count(1)
    assert board.data("earlier") == 1  # the curve of the run before it


def test_a_reloaded_page_shows_the_whole_curve(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 3")
    board.move("lr", "ArrowLeft", 1)
    board.until("Number(data.marks) === 1")
    notebook.save()
    drawn = board.data("n")
    notebook.open()
    board = notebook.ready().board()
    board.until("Number(data.n) >= value", drawn)
    assert (board.data("first"), board.data("marks")) == (1, 1)
    board.until_further()
    board.move("lr", "ArrowRight", 1)
    board.until("Number(data.marks) === 2")
    assert notebook.ask(f"[{THREADS}, run.history[0].step]") == [1, 1]


def test_two_dashboards_do_not_disturb_each_other(open_notebook: Open) -> None:
    notebook = open_notebook(RUN, RUN.replace("run", "other").replace("1e-3", "3e-4"))
    notebook.run(0)
    notebook.run(1)
    first, second = notebook.board(0), notebook.board(1)
    for board in (first, second):
        board.until("Number(data.n) > 1")
    first.move("lr", "ArrowLeft", 2)
    first.until("Math.abs(last.learning_rate - value) < 1e-9", 1e-3 * 10**-0.1)
    second.until_further()
    assert (second.data("last")["learning_rate"], second.data("marks")) == (3e-4, 0)
    second.press("stop")
    expect(second.state).to_have_text("stopped")
    first.until_further()
    expect(first.state).to_have_text("running")
    settings = "run.control.settings.learning_rate < 9e-4, other.control.settings.learning_rate"
    assert notebook.ask(f"[{settings}, {THREADS}]") == [True, 3e-4, 1]


def test_nonsense_in_a_field_changes_nothing_and_says_so(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    for nonsense in ("fast", "-1", "nan"):
        board.write("lr", nonsense)
        expect(board.note).to_have_text(
            f"learning rate: “{nonsense}” is not a number above 0, such as 3e-4; it stays at 1e-3"
        )
        expect(board.field("lr")).to_have_value("1e-3")
    board.until_further()
    assert (board.data("last")["learning_rate"], board.data("marks")) == (1e-3, 0)
    board.write("lr", "5e-4")
    board.until("last.learning_rate === 5e-4")
    expect(board.note).to_have_count(0)
    assert notebook.ask("run.control.settings.learning_rate") == 5e-4
