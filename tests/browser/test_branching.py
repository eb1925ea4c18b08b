"""Going back in a real page: pick a step, move a slider, branch; and what if I had not touched it."""

from __future__ import annotations

from playwright.sync_api import expect

from .page import RUN, THREADS, Open

# What must be the same of a shared past: the very records, not equal ones.
SHARED = "all(a is b for a, b in zip(run.history.since(0)[:{born}], board.run.history.since(0)[:{born}], strict=True))"


def test_a_step_is_picked_and_the_run_goes_on_from_there_with_another_rate(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 6")
    button = board.root.locator(".lab-branch")
    expect(button).to_be_disabled()
    board.canvas.click(position={"x": board.canvas.bounding_box()["width"] / 4, "y": 100})
    board.until("Number(data.picked) > 0")
    expect(button).to_have_text(f"branch from step {board.data('picked')}")
    board.canvas.press("Escape")
    board.until("data.picked === ''")
    expect(button).to_be_disabled()
    board.canvas.press("Home")
    for _ in range(3):
        board.canvas.press("ArrowRight")
    board.canvas.press("Enter")
    board.until("Number(data.picked) > 1")
    picked = board.data("picked")
    board.press("pause")
    expect(board.state).to_have_text("paused")
    expect(button).to_have_text(f"branch from step {picked}")
    board.write("lr", "1e-4")
    board.press("branch")
    board.until("Number(data.born) === value && data.parent === 'true'", picked)
    board.until("data.picked === '' && Number(data.length) > value + 1 && last.learning_rate === 1e-4", picked)
    expect(board.log).to_have_text([f"step {picked + 1}: learning rate 1e-3 → 1e-4"])
    assert notebook.ask(f"[board.run.born, {SHARED.format(born=picked)}, run.state]") == [picked, True, "paused"]
    rates = notebook.ask("[step.learning_rates[0] for step in board.run.history]")
    assert (set(rates[:picked]), set(rates[picked:])) == ({1e-3}, {1e-4})

    board.root.locator(".lab-run select").select_option(index=0)
    board.until("Number(data.born) === 0 && Number(data.earlier) === 1 && last.learning_rate === 1e-3")
    expect(board.state).to_have_text("paused")
    expect(board.field("lr")).to_have_value("1e-3")
    board.press("resume")
    expect(board.state).to_have_text("running")
    notebook.run(0)
    board.until("Number(data.earlier) === 2 && data.parent === 'false'")
    assert notebook.ask(THREADS) == 1  # of the new run; those of the family before it are gone


def test_what_if_i_had_not_touched_it(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 2")
    expect(board.root.locator(".lab-untouched")).to_be_disabled()
    board.write("lr", "1e-2")
    board.until("Number(data.marks) === 1 && last.learning_rate === 1e-2")
    board.press("untouched")
    board.until("Number(data.born) > 0 && Number(data.marks) === 0 && data.parent === 'true'")
    born = board.data("born")
    board.until("Number(data.length) > value && last.learning_rate === 1e-3", born)
    expect(board.field("lr")).to_have_value("1e-3")
    assert notebook.ask(f"[board.run.history.interventions() == (), {SHARED.format(born=born)}]") == [True, True]
    assert notebook.ask("[each.step for each in run.history.interventions()]") == [born + 1]
    board.press("stop")
    expect(board.state).to_have_text("stopped")
