"""Running a cell again ends what it had started."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.helpers import until

from stablelab import _notebook_cells as cells
from stablelab.plots import earlier_runs
from stablelab.watching import claim_run
from stablelab.widgets import Dashboard
from stablelab.widgets.family import family_of


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch):
    """Pretend that a notebook's kernel executes a request, or none. ``execute.next`` is called before the next cell."""
    waiting = []

    def register(_event: str, call) -> None:
        waiting.append(call)

    def next_cell() -> None:
        for call in tuple(waiting):
            call(None)

    events = SimpleNamespace(register=register, unregister=lambda _event, call: waiting.remove(call))

    def at(cell: str | None, execution: str = "") -> None:
        parent = {"header": {"msg_id": execution}, "metadata": {"cellId": cell} if cell else {}}
        shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: parent), events=events)
        made = SimpleNamespace(initialized=lambda: True, instance=lambda: shell)
        monkeypatch.setitem(sys.modules, "IPython.core.interactiveshell", SimpleNamespace(InteractiveShell=made))

    monkeypatch.setattr(cells, "_made", {})
    at.next = next_cell
    return at


def _claimed(make_run):
    run = make_run(100_000, pause=0.005)
    claim_run(run)
    return run.start()


@pytest.mark.slow
def test_the_same_cell_again_stops_the_earlier_run(execute, make_run) -> None:
    execute("a", "1")
    first = _claimed(make_run)
    until(lambda: len(first.history) >= 2)
    execute("a", "2")
    second = _claimed(make_run)
    assert (first.state, first.alive) == ("stopped", False)
    assert second.alive
    assert len(earlier_runs.beside(second)) == 1, "what it had learned stays to compare with"
    second.stop()


@pytest.mark.slow
def test_what_a_cell_had_made_is_gone_by_the_next_cell(execute, make_run) -> None:
    gone = []
    gc.disable()  # whether it happens to look for circles just now must not matter
    try:
        for execution in "123":
            execute("a", execution)
            run = _claimed(make_run)
            board = Dashboard(run)
            gone.append(weakref.ref(run))
            execute.next()
            assert [each() is not None for each in gone] == [False] * (len(gone) - 1) + [True]
    finally:
        gc.enable()
        run.stop()
        board.close()


@pytest.mark.slow
def test_two_runs_of_one_execution_live_together(execute, make_run) -> None:
    execute("a", "1")
    first, second = _claimed(make_run), _claimed(make_run)
    assert first.alive and second.alive
    execute("a", "2")
    cells.release_earlier()
    assert not first.alive and not second.alive


def test_runs_of_other_cells_are_left_alone(execute, make_run) -> None:
    execute("a", "1")
    first = _claimed(make_run)
    execute("b", "2")
    second = _claimed(make_run)
    assert first.alive and second.alive
    first.stop()
    second.stop()


@pytest.mark.slow
def test_dashboards_of_the_earlier_run_are_closed_too(execute, make_run) -> None:
    execute("a", "1")
    run = _claimed(make_run)
    execute("b", "2")
    board = Dashboard(run)
    execute("a", "3")
    cells.release_earlier()
    assert board.box.comm is None and board.chart.comm is None
    assert run.watchers == []


@pytest.mark.slow
def test_all_branches_of_the_earlier_run_end_with_it(execute, make_run) -> None:
    execute("a", "1")
    run = _claimed(make_run)
    board = Dashboard(run)
    until(lambda: len(run.history) > 4)
    branch = board.branch(3)
    other = branch.branch(2).start()
    assert [each.state for each in family_of(other)] == ["paused", "running", "running"]
    until(lambda: len(branch.history) > 5)
    execute("a", "2")
    fresh = make_run(10)
    claim_run(fresh)
    assert [(each.state, each.alive) for each in (run, branch, other)] == [("stopped", False)] * 3
    assert board.box.comm is None and branch.watchers == []
    assert len(earlier_runs.beside(fresh)) >= 2


@pytest.mark.slow
def test_showing_a_run_again_closes_the_first_dashboard_only(execute, make_run) -> None:
    execute("a", "1")
    run = _claimed(make_run)
    execute("b", "2")
    first = Dashboard(run)
    execute("b", "3")
    second = Dashboard(run)
    assert first.box.comm is None and second.box.comm is not None
    assert run.alive
    second.close()
    run.stop()


@pytest.mark.parametrize("cell", [None, ""])
def test_a_front_end_that_names_no_cell(execute, make_run, cell) -> None:
    execute(cell, "1")
    first = _claimed(make_run)
    execute(cell, "2")
    second = _claimed(make_run)
    assert first.alive and second.alive
    first.stop()
    second.stop()


def test_outside_a_notebook_nothing_is_asked_of_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython.core.interactiveshell", raising=False)
    assert cells.current_cell() is None
    assert "IPython.core.interactiveshell" not in sys.modules


@pytest.mark.slow
def test_a_branch_belongs_to_the_cell_that_made_it(execute, make_run) -> None:
    execute("a", "1")
    run = _claimed(make_run)
    run.branched = claim_run
    until(lambda: len(run.history) >= 2)
    execute("b", "2")
    branch = run.branch(1).start()
    execute("b", "3")
    cells.release_earlier()
    assert run.alive and not branch.alive
    run.stop()


def test_what_a_button_makes_belongs_to_no_cell(execute) -> None:
    execute("a", "1")
    found = []
    thread = threading.Thread(target=lambda: found.append(cells.current_cell()))
    thread.start()
    thread.join()
    assert found == [None] and cells.current_cell() == ("a", "1")


@pytest.mark.parametrize(
    ("statement", "spared"),
    [
        ("import stablelab; stablelab.fine_tune", {"ipywidgets", "anywidget", "IPython", "matplotlib"}),
        ("import stablelab.widgets", {"matplotlib"}),
    ],
)
@pytest.mark.slow
def test_a_script_does_not_load_what_it_does_not_show(statement: str, spared: set[str]) -> None:
    code = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not spared & set(loaded)


def resident() -> int:
    """Bytes that this process occupies."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_memory_that_training_let_go_of_goes_back_to_the_system() -> None:
    """In small pieces with one of them kept at the end, as training leaves them; Linux keeps those by itself."""
    pieces = [torch.ones(16_000) for _ in range(4000)]
    last = pieces.pop()
    pieces.clear()
    before = resident() if sys.platform == "linux" else 0
    cells.release_memory()
    assert sys.platform != "linux" or resident() < before - 100e6
    assert last.sum() == 16_000


@pytest.mark.slow
def test_a_message_of_a_widget_does_not_close_what_a_cell_is_drawing() -> None:
    """The messages of a page come to a subshell, whose thread is not the one that executes cells."""
    from jupyter_client.manager import start_new_kernel

    shows = "from stablelab.widgets import move, slider; move(lambda ax, a: str(ax.plot([0, a])), a=slider(1.0, 0, 2))"
    draws = """
import time, matplotlib.pyplot as plt
plt.plot([0, 1])
print("drawing", flush=True)
time.sleep(1)
plt.plot([1, 0])
print(len(plt.gca().lines), "lines")
"""
    manager, client = start_new_kernel(kernel_name="python3")

    def send(channel: Any, kind: str, content: dict[str, Any], **header: Any) -> str:
        request = client.session.msg(kind, content)
        request["header"] |= header
        channel.send(request)
        return request["header"]["msg_id"]

    try:
        request = send(client.control_channel, "create_subshell_request", {})
        subshell = client.get_control_msg(timeout=60)["content"]["subshell_id"]
        comms: list[str] = []
        printed = ""
        pictures = 0
        for code in (shows, draws):
            request = client.execute(code)
            while True:
                message = client.get_iopub_msg(timeout=60)
                content, mine = message["content"], message["parent_header"].get("msg_id") == request
                assert message["msg_type"] != "error", content
                if message["msg_type"] == "comm_open":
                    comms.append(content["comm_id"])
                if code == draws and message["msg_type"] == "display_data":
                    pictures += 1
                if mine and message["msg_type"] == "stream":
                    printed += content["text"]
                    if content["text"].startswith("drawing"):
                        asked = {"comm_id": comms[-1], "data": {"method": "request_state"}}
                        send(client.shell_channel, "comm_msg", asked, subshell_id=subshell)
                if mine and content.get("execution_state") == "idle":
                    break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert printed.split("\n")[1:2] == ["2 lines"], printed
    assert pictures == 1


@pytest.mark.slow
def test_in_a_kernel_the_same_cell_again_and_again_takes_no_more_memory() -> None:
    """Each run, with its optimizer and its checkpoints, takes some 100 MB."""
    from jupyter_client.manager import start_new_kernel

    begins = """
import psutil, torch, stablelab as lab
task = lab.digits(train=60, validation=40, test=40, size=8)
"""
    trains = """
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 8192), torch.nn.ReLU(), torch.nn.Linear(8192, 10))
run = lab.fine_tune(model, task, steps=6, batch_size=10)
lab.dashboard(run)
run.start(); run.wait()
print(psutil.Process().memory_info().rss)
"""
    manager, client = start_new_kernel(kernel_name="python3")
    resident_after: list[int] = []

    def execute(code: str, cell: str) -> None:
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        request = client.session.msg("execute_request", content, metadata={"cellId": cell})
        client.shell_channel.send(request)
        while True:
            message = client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            said = message["content"]
            assert message["msg_type"] != "error", said
            if message["msg_type"] == "stream" and said["name"] == "stdout" and cell == "trains":
                resident_after.extend(map(int, said["text"].split()))
            if said.get("execution_state") == "idle":
                return

    try:
        execute(begins, "begins")
        for _ in range(7):
            execute(trains, "trains")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert len(resident_after) == 7
    assert max(resident_after[4:]) < 1.1 * max(resident_after[2:4]), [each // 2**20 for each in resident_after]
