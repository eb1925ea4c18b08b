"""An own loop and somebody's Trainer, steered on a real page; what was really used is read from the history."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .page import OWN_LOOP, THREADS, Open

THREE_UP = 1e-3 * 10**0.15  # a key press moves the slider by a 20th of a power of ten
TRAINER = """
import tempfile, time, torch, stablelab as lab
from transformers import Trainer, TrainingArguments
class Squares(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(3))
    def forward(self, x, labels=None):
        time.sleep(0.005)
        return {"loss": ((x * self.w).sum(-1) - labels).pow(2).mean()}
data = [{"x": torch.full((3,), i / 8), "labels": torch.tensor(1.0)} for i in range(64)]
arguments = TrainingArguments(tempfile.mkdtemp(), max_steps=100_000, learning_rate=1e-3, max_grad_norm=1.0,
    lr_scheduler_type="constant", save_strategy="no", report_to=[], use_cpu=True)
"""
WATCHED = TRAINER + "run = lab.watch(Trainer(Squares(), arguments, train_dataset=data))"
BY_HAND = TRAINER + "callback = lab.DashboardCallback()\ntrainer = Trainer(Squares(), arguments, train_dataset=data)"
USED = "[[step.learning_rates[0], step.max_norm] for step in run.history]"


def steer(board) -> None:
    """A slider moved, a threshold typed; both have reached the curve."""
    board.until("Number(data.n) > 2")
    board.move("lr", "ArrowRight", 3)
    board.until("Math.abs(last.learning_rate - value) < 1e-9", THREE_UP)
    board.write("clip", "0.25")
    board.until("last.max_norm === 0.25")
    board.until_further()


def check_used(notebook) -> list[list[float]]:
    """The history holds what was moved, from the step on that the log names."""
    used = notebook.ask(USED)
    assert (used[0], used[-1]) == ([1e-3, 1.0], [pytest.approx(THREE_UP), 0.25])
    for step, name, old, new in notebook.ask("[[e.step, e.name, e.old, e.new] for e in run.history.interventions()]"):
        at = {"learning_rate": 0, "max_norm": 1}.get(name)
        assert at is None or (used[step - 2][at], used[step - 1][at]) == (old, new)
    return used


def test_a_slider_moved_over_an_own_loop_changes_what_the_next_step_uses(open_notebook: Open) -> None:
    notebook = open_notebook(OWN_LOOP + "run = watched")
    notebook.run(0)
    board = notebook.board()
    board.press("start")
    steer(board)
    assert "share" in notebook.ask("list(run.history[0].scalars)")
    board.root.locator(".knob-nesterov-switch input").check()
    board.move("knob-dropout", "ArrowRight", 2)
    board.until("Number(data.marks) >= 4")
    expect(board.log.first).to_contain_text("dropout")
    assert notebook.ask("[run.control.settings.nesterov, run.control.settings.dropout]") == [True, pytest.approx(0.11)]
    expect(board.root.locator(".lab-reset")).to_be_disabled()
    expect(board.root.locator(".lab-reset")).to_have_attribute(
        "title", "this loop is your own: run its cell again to begin anew"
    )
    board.press("pause")
    expect(board.state).to_have_text("paused")
    done = notebook.ask("len(run.history)")
    board.press("step")
    board.until("Number(data.length) === value", done + 1)
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    assert check_used(notebook) == notebook.ask("used")
    notebook.run(0)
    board = notebook.board()
    board.press("start")
    board.until("Number(data.earlier) === 1 && Number(data.n) > 2")  # the run before it, faintly
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    assert notebook.ask(THREADS) == 0


def test_a_slider_moved_over_a_trainer_changes_what_the_next_step_uses(open_notebook: Open) -> None:
    notebook = open_notebook(WATCHED)
    notebook.run(0)
    board = notebook.board()
    board.press("start")
    steer(board)
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    check_used(notebook)
    now = "[run.trainer.optimizer.param_groups[0]['lr'], run.trainer.args.max_grad_norm, len(run.history)]"
    assert notebook.ask(now) == [pytest.approx(THREE_UP), 0.25, notebook.ask("run.trainer.state.global_step")]
    assert all(output["output_type"] != "stream" for output in notebook.outputs(0))  # Trainer's own bar gave way


def test_a_callback_added_by_hand_is_steered_while_its_cell_runs(open_notebook: Open) -> None:
    notebook = open_notebook(BY_HAND)
    notebook.run(0)
    notebook.begin("trainer.add_callback(callback); trainer.train();")
    board = notebook.board(1)
    steer(board)
    board.press("stop")
    expect(board.state).to_have_text("stopped")
    assert notebook.ask("[callback.run.state, callback.run.error]") == ["stopped", None]
    assert notebook.ask(USED.replace("run.", "callback.run."))[-1] == [pytest.approx(THREE_UP), 0.25]
