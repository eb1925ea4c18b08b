"""The doctor's line in a real page: a rate far too high is said, unfolded, cured by a press, and silenced."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from .conftest import SCREENSHOTS
from .page import Open
from .test_afterwards import change_theme

SICK = """
import torch, stablelab as lab
task = lab.digits(train=100, validation=20, test=20)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
run = lab.fine_tune(model, task, optimizer="sgd", learning_rate=1e3, batch_size=16, steps=100_000)
board = lab.dashboard(run)
run.step(60);
"""
# Where the chart begins under the top of the dashboard, however far the page is scrolled.
TOP = "root => root.querySelector('canvas').getBoundingClientRect().top - root.getBoundingClientRect().top"


def test_a_rate_far_too_high_is_said_and_cured_and_the_alarm_silenced(open_notebook: Open) -> None:
    notebook = open_notebook(SICK)
    notebook.run(0)
    board = notebook.board()
    line = board.root.get_by_role("status").filter(has_text=re.compile("ill|look|healthy|silenced|treated|too early"))
    expect(line).to_contain_text("ill: the loss was thrown far above its start")
    finding = board.root.locator(".stablelab-finding").filter(has_text="thrown far above")
    expect(finding).to_be_hidden()
    top = board.root.evaluate(TOP)
    board.root.get_by_role("button", name="findings").click()
    expect(finding).to_be_visible()
    for part in ("It began at", "Likely: 1. the learning rate is too high", "learning rate 1000 → 100", "Source: "):
        expect(finding).to_contain_text(part)
    unfolded = board.root.evaluate(TOP)
    assert unfolded > top
    for theme in ("Dark", "Light"):
        change_theme(notebook, f"JupyterLab {theme}")
        board.root.screenshot(path=SCREENSHOTS / f"test_doctor-{theme.lower()}.png")
    finding.get_by_role("button", name="apply the cure").click()
    expect(board.field("lr")).to_have_value("100")
    expect(line).to_contain_text("treated: ")
    board.press("step")
    board.until("Number(data.marks) === 1 && last.learning_rate === 100")
    expect(board.log).to_have_text([re.compile("^step 61: learning rate 1000 → 100")])
    finding.get_by_role("button", name="silence").click()
    expect(finding).to_be_hidden()
    board.root.get_by_role("button", name="silence all alarms").click()
    expect(line).to_contain_text("silenced: ")
    assert board.root.evaluate(TOP) == unfolded  # what the line says moves nothing
    board.root.get_by_role("button", name="hear all alarms again").click()
    expect(line).not_to_contain_text("silenced")
