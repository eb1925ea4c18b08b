"""``lab.watch``: the dashboard on a loop that is not the workbook's, a progress bar where there is no page."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cell import Cell
from support.helpers import until

import stablelab as lab
from stablelab.plots import earlier_runs
from stablelab.plots.curve_data import CurveData
from stablelab.widgets import Dashboard

SCRIPT = """
import stablelab as lab
def train(live):
    for k in range(20):
        live.record(loss=1 / (1 + k) + live.learning_rate)
run = lab.watch(train, learning_rate=1e-3, steps=20, start=True).wait()
print("LOSSES", [step.loss for step in run.history] == [1 / (1 + k) + 1e-3 for k in range(20)])
"""


def endless(live) -> None:
    while True:
        live.record(loss=live.learning_rate, gradient_norm=1.0, sharpness=2.0)
        time.sleep(0.002)


def short(live) -> None:
    for k in range(5):
        live.record(loss=1.0 / (k + 1))
    live.evaluate(loss=0.1, accuracy=0.9)


def test_it_is_ready_until_it_is_started(capfd) -> None:
    run = lab.watch(short, steps=5)
    assert (run.state, run.message, run.name) == ("ready", "ready: 5 steps", "short")
    with pytest.raises(ValueError, match=r"the run has not started; call run.start\(\) first"):
        run.wait()
    run.start().wait()
    assert (len(run.history), run.message) == (5, "finished at step 5")
    assert lab.watch(short, start=True, name="mine").wait().name == "mine"


@pytest.mark.slow
def test_without_a_front_end_a_progress_bar_is_printed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(lab.__file__).parents[1],
    )
    assert (done.returncode, done.stdout) == (0, "LOSSES True\n"), done.stderr
    assert "train: 100%" in done.stderr and "20/20" in done.stderr and "loss=0.051" in done.stderr


def test_arguments_are_handed_on() -> None:
    run = lab.watch(lambda live, a, b: live.record(loss=a + b), 1, 2, start=True).wait()
    assert run.history[0].loss == 3


@pytest.mark.parametrize("train", [3, "train", None])
def test_what_cannot_be_watched_is_refused_in_one_line(train) -> None:
    with pytest.raises(
        ValueError, match=r"^lab.watch takes a function train\(live\), a transformers.Trainer or [^\n]*$"
    ):
        lab.watch(train)


@pytest.mark.slow
def test_a_dashboard_steers_a_loop_of_the_learner() -> None:
    run = lab.watch(endless, learning_rate=1e-2, max_norm=2.0)
    board = Dashboard(run).show()
    buttons = board.buttons.buttons
    until(lambda: not buttons["start"].disabled)
    buttons["start"].click()
    until(lambda: len(run.history) > 3)
    board.controls.inputs["learning_rate"].field.value = "0.5"
    board.controls.inputs["max_norm"].switch.value = False
    until(lambda: run.history[-1].loss == 0.5 and run.history[-1].max_norm is None)
    until(lambda: any("learning rate 0.01 → 0.5" in line.text.value for line in board.status.log.lines))
    until(lambda: "own loop" in board.status.line.value and "endless()" in board.status.line.value)
    assert "step <b>" in board.status.pace.value and " of " not in board.status.pace.value
    buttons["pause"].click()
    until(lambda: run.state == "paused" and not buttons["step"].disabled)
    done = len(run.history)
    buttons["step"].click()
    until(lambda: len(run.history) == done + 1)
    for button, name in (
        (buttons["reset"], "reset"),
        (board.branch_buttons.branch_button, "branch"),
        (board.branch_buttons.untouched_button, "untouched"),
    ):
        assert button.disabled and button.tooltip == run.cannot[name]
    buttons["stop"].click()
    until(lambda: run.state == "stopped")
    board.wait()
    board.close()


@pytest.mark.slow
def test_its_cell_keeps_a_picture_even_where_no_rate_and_no_norm_are_known(monkeypatch) -> None:
    run = lab.watch(short)
    cell = Cell(monkeypatch)
    board = Dashboard(run).show()
    run.start()
    board.wait()
    until(lambda: cell.pictures == [True, False])
    assert "display stopped" not in board.status.line.value
    assert "validation loss 0.1, accuracy 0.9" in cell.outputs[0]["text/plain"]
    board.close()


def test_trouble_and_an_exception_are_shown() -> None:
    def train(live) -> None:
        import torch

        live.record(loss=torch.ones((), requires_grad=True))
        raise RuntimeError("out <of> coffee")

    run = lab.watch(train)
    board = Dashboard(run).show()
    run.start()
    with pytest.raises(RuntimeError, match="out <of> coffee"):
        board.wait()
    until(lambda: "RuntimeError: out &lt;of&gt; coffee" in board.status.line.value)
    assert "the recorded loss still held its graph" in board.status.line.value
    board.close()


def test_a_validation_after_the_last_step_is_drawn() -> None:
    run = lab.watch(short, start=True).wait()
    data = CurveData(run.history, run.total_steps)
    data.update()
    assert data.evaluations[:, 0].tolist() == [5]
    slow = lab.watch(short_with_a_pause)
    slow.step(5)
    slow.wait_paused()
    data = CurveData(slow.history)
    data.update()
    assert (len(data), len(data.evaluations)) == (5, 0)
    slow.start().wait()
    data.update()
    assert (len(data), data.evaluations[:, 0].tolist()) == (6, [5])


def short_with_a_pause(live) -> None:
    short(live)
    live.record(loss=0.5)


def test_an_earlier_run_is_drawn_beside_a_later_one_and_so_is_a_loaded_one(tmp_path) -> None:
    first = lab.watch(short, start=True).wait()
    board = Dashboard(first).show()
    board.wait()
    board.close()
    second = lab.watch(short)
    assert [each.run() for each in earlier_runs.beside(second)] == [first]
    file = first.save(tmp_path / "run.jsonl")
    earlier_runs.forget()
    loaded = lab.Watched.load(file)
    board = Dashboard(loaded).show()
    until(lambda: [each.run() for each in earlier_runs.beside(second)] == [loaded])
    assert "finished" in board.status.line.value
    board.close()


def test_trainer_arguments_that_are_for_functions_are_refused(tmp_path) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    trainer = Trainer(torch.nn.Linear(1, 1), arguments)
    for wrong in ({"steps": 3}, {"learning_rate": 1e-3}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is for functions: a Trainer says itself"):
            lab.watch(trainer, **wrong)


@pytest.mark.slow
def test_the_callback_shows_the_run_of_a_trainer_called_by_hand(tmp_path, capfd) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    class Squares(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(3))

        def forward(self, x, labels=None):
            return {"loss": ((x * self.w).sum(-1) - labels).pow(2).mean()}

    data = [{"x": torch.full((3,), float(i)), "labels": torch.tensor(1.0)} for i in range(8)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], max_steps=6, save_strategy="no", disable_tqdm=True
    )
    callback = lab.DashboardCallback()
    Trainer(Squares(), arguments, train_dataset=data, callbacks=[callback]).train()
    callback.run.wait()
    assert (callback.run.state, len(callback.run.history), callback.run.source) == ("finished", 6, "Squares")
    captured = capfd.readouterr()
    assert "Squares: 100%" in captured.err and "train_runtime" not in captured.out


@pytest.mark.slow
def test_in_a_kernel_without_a_page_the_bar_belongs_to_the_cell_that_watches() -> None:
    from jupyter_client.manager import start_new_kernel

    watches = """
import time, stablelab as lab
def train(live):
    for k in range(40):
        time.sleep(0.1)
        live.record(loss=1.0)
run = lab.watch(train, steps=40, start=True)
"""
    manager, client = start_new_kernel(kernel_name="python3")
    printed: dict[str, str] = {}

    def listen(message: dict) -> None:
        if message["msg_type"] == "stream":
            cell = message["parent_header"]["msg_id"]
            printed[cell] = printed.get(cell, "") + message["content"]["text"]

    try:
        assert client.execute_interactive(watches, timeout=120, output_hook=listen)["content"]["status"] == "ok"
        waits = client.execute("await run.finished(60); print(run.message)")
        assert client.get_shell_msg(timeout=120)["content"]["status"] == "ok"
        for _ in range(1000):
            message = client.get_iopub_msg(timeout=60)
            listen(message)
            over = message["content"].get("execution_state") == "idle"
            if over and message["parent_header"]["msg_id"] == waits:
                break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert printed.pop(waits) == "finished at step 40\n"
    (bar,) = printed.values()
    assert "train: 100%" in bar


@pytest.mark.slow
def test_a_lightning_trainer_is_watched_with_what_its_fit_is_given(tmp_path) -> None:
    import lightning.pytorch as pl
    import pytorch_lightning
    import torch

    class Square(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(()))

        def training_step(self, batch, _):
            return (self.w - batch.mean()).square()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.25)

    given = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    loader = torch.utils.data.DataLoader(torch.zeros(6, 1))
    run = lab.watch(pl.Trainer(**given, default_root_dir=tmp_path), Square(), loader, start=True).wait()
    assert [step.loss for step in run.history] == [4.0**-k for k in range(6)]
    assert {step.learning_rates for step in run.history} == {(0.25,)}
    assert (run.name, run.settings.learning_rate, run.history[0].norm_before) == ("Square", 0.25, 2.0)
    with pytest.raises(ValueError, match="steps is for functions: a Trainer says itself how it trains"):
        lab.watch(pl.Trainer(**given), Square(), loader, steps=3)
    with pytest.raises(ValueError, match="of the package pytorch_lightning; take it from lightning.pytorch instead"):
        lab.watch(pytorch_lightning.Trainer(**given), Square(), loader)
