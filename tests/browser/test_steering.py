"""A slider moved in the page reaches the training loop whatever the kernel is doing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .page import RUN, Open

THREE_UP = 1e-3 * 10**0.15  # a key press moves the slider by a 20th of a power of ten
RELEASE = "released = pathlib.Path('released')\n"
BUSY = {
    "sleeping": RELEASE + "import time\nwhile not released.exists(): time.sleep(0.02)",
    "computing": RELEASE + "while not released.exists(): sum(i * i for i in range(10_000))",
    "awaiting": "await run.finished();",
}


@pytest.mark.parametrize("kind", BUSY)
def test_slider_steers_while_another_cell_runs(open_notebook: Open, kind: str) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    prompt = notebook.begin(BUSY[kind])
    board.move("lr", "ArrowRight", 3)
    board.until("Math.abs(last.learning_rate - value) < 1e-9", THREE_UP)
    board.until("Number(data.marks) > 0")
    expect(board.log.first).to_contain_text("→ 1.41e-3")
    expect(prompt).to_have_text("[*]:")  # all of that while the cell runs
    (notebook.folder / "released").touch()
    board.press("stop")
    expect(prompt).not_to_have_text("[*]:")
    rates = notebook.ask("[step.learning_rates[0] for step in run.history.since(0)]")
    assert (rates[0], rates[-1]) == (1e-3, pytest.approx(THREE_UP))
    changes = notebook.ask("[[each.step, str(each)] for each in run.history.interventions()]")
    assert all(rates[step - 1] > rates[step - 2] for step, _ in changes)
    expect(board.log).to_have_text([text for _, text in reversed(changes)])
    assert board.data("marks") == len(changes)
    (notebook.folder / "released").unlink()
