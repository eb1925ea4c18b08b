"""What a learner does with a run while it trains, done in a real page: watch, steer, pause, stop, run again, reload."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import RUN, THREADS, Open


def test_curve_moves_while_it_trains(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    drawn, picture = board.data("n"), board.picture()
    board.until("Number(data.n) > value", drawn)
    assert board.picture() != picture
    assert board.data("first") == 1
    assert board.data("last")["learning_rate"] == 1e-3


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
    assert board.data("ghosts") == 1  # the curve of the run before it


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
    second.until("Number(data.n) > 1")
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
