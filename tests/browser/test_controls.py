"""What a learner, or a screen reader, meets in the column of controls."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from support.helpers import until

from .page import RUN, Open


def test_a_slider_waits_for_the_next_step_and_its_line_in_the_log_undoes_it(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    waits = board.root.locator(".stablelab-waits")
    expect(waits).to_have_count(0)
    board.press("pause")
    expect(board.state).to_have_text("paused")
    board.move("lr", "ArrowLeft", 12)
    expect(waits).to_have_text("waits")
    until(lambda: notebook.ask("run.control.settings.learning_rate") < 3e-4)  # the keys arrive one after the other
    board.press("resume")
    expect(waits).to_have_count(0)
    expect(board.log).to_have_count(1)  # the whole drag
    board.until("Number(data.marks) === 1")
    board.root.locator(".lab-undo").click()
    board.until("last.learning_rate === 1e-3")
    expect(board.field("lr")).to_have_value("1e-3")
    expect(board.log).to_have_count(2)
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    board.move("lr", "ArrowLeft", 1)
    expect(waits).to_have_text("unused")
    expect(board.note).to_have_text("the run is over: branch or reset to use this")


def test_fields_and_switches_have_names_and_errors_go_away(open_notebook: Open) -> None:
    notebook = open_notebook(RUN)
    notebook.run(0)
    board = notebook.board()
    board.until("Number(data.n) > 1")
    for name in ("learning rate", "clip threshold", "weight decay"):
        expect(board.root.get_by_role("textbox", name=re.compile(f"^{name}"))).to_have_count(1)
    for name in ("optimizer", "schedule", "preset"):
        expect(board.root.get_by_role("combobox", name=name, exact=True)).to_have_count(1)
    switch = board.root.locator(".decay-switch input")
    expect(switch).not_to_be_checked()
    expect(board.root.locator(".decay-switch")).to_have_text("off")
    board.write("lr", "fast")
    expect(board.note).to_contain_text("“fast” is not a number above 0")
    board.write("lr", "1e-3")  # what it was
    expect(board.note).to_have_count(0)
    board.root.locator(".preset-choice select").select_option(label="clipped to a standstill")
    expect(board.note).to_contain_text("clipped to a standstill: SGD")
    expect(board.log).to_have_count(1)
    expect(board.root.locator(".clip-switch")).to_have_text("on")
    assert notebook.ask("[run.control.settings.optimizer, run.control.settings.max_norm]") == ["sgd", 1e-3]
    board.write("clip", "off")
    expect(board.root.locator(".clip-switch input")).not_to_be_checked()
    expect(board.root.locator(".preset-choice select")).to_have_value(re.compile("settings of your own"))
    board.root.get_by_role("button", name="more").click()
    board.root.locator(".precision-choice select").select_option(label="bf16")
    expect(board.root.locator(".lab-log")).to_contain_text("precision fp32 → bf16")
    board.root.get_by_role("button", name="more").click()
    assert notebook.ask("run.control.settings.precision") == "bf16"
