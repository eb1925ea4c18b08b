"""What the chart sends: only news, in order; everything when asked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stablelab.plots import earlier_runs
from stablelab.plots.curve_data import CurveData, chart_layout
from stablelab.widgets.live_chart import Chart, everything, pack, unpack


class Wire:
    """A page: notes what it is sent, and asks for everything."""

    def __init__(self, chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chart = chart
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        monkeypatch.setattr(chart, "send", lambda content, buffers: self.sent.append((content, buffers)))

    def ask(self) -> None:
        self.say(type="resync")

    def say(self, **content: Any) -> None:
        self.chart._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    def steps(self, message: int) -> list[float]:
        return np.frombuffer(self.sent[message][1][0], "<f4").reshape(-1, 8)[:, 0].tolist()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(Chart(), monkeypatch)


def test_nothing_is_sent_to_a_page_that_is_not_there(wire, make_history) -> None:
    data = CurveData(make_history([1.0] * 5), 100)
    data.update()
    wire.chart.push(data)
    assert wire.sent == [] and not wire.chart.heard


def test_everything_at_first_then_only_news_with_running_index(wire, make_history) -> None:
    history = make_history([1.0] * 5)
    data = CurveData(history, 100)
    wire.ask()
    for more in (make_history([1.0] * 5), make_history([1.0] * 3)):
        data.update()
        wire.chart.push(data)
        for step in more:
            history.append(step)
    wire.chart.push(data)  # nothing new: nothing sent
    assert [(c["type"], c["first"], c["next"]) for c, _ in wire.sent] == [("all", 0, 5), ("points", 5, 10)]
    assert wire.steps(1) == [1, 2, 3, 4, 5]


def test_a_page_that_missed_something_gets_everything(wire, make_history) -> None:
    data = CurveData(make_history([1.0] * 20), 100)
    data.update()
    for _ in range(2):
        wire.ask()
        wire.chart.push(data)
    assert [c["type"] for c, _ in wire.sent] == ["all", "all"]
    assert wire.steps(1) == list(range(1, 21))


def test_evaluations_are_sent_once(wire, make_history) -> None:
    history = make_history([1.0] * 20)
    data = CurveData(history, 100)
    wire.ask()
    data.update()
    wire.chart.push(data)
    history.append(history[9])
    data.update()
    wire.chart.push(data)
    assert [len(buffers[1]) // 12 for _, buffers in wire.sent] == [2, 1]


def test_after_a_reset_everything_of_the_new_feed(wire, make_history) -> None:
    wire.ask()
    for losses in ([1.0] * 20, [1.0] * 3):
        data = CurveData(make_history(losses), 100)
        data.update()
        wire.chart.push(data)
        wire.chart.renew()
    assert [(c["type"], c["next"]) for c, _ in wire.sent] == [("all", 20), ("all", 3)]


def test_a_pick_is_said_back_once_and_with_everything(wire, make_history) -> None:
    data = CurveData(make_history([1.0] * 20), 100)
    data.update()
    wire.ask()
    for step in (7, 7, None):
        wire.chart.push(data)
        wire.say(type="pick", step=step)
    wire.chart.push(data)
    wire.say(type="pick", step=3)
    wire.ask()
    wire.chart.push(data)
    assert [(c["type"], c.get("picked", c.get("step"))) for c, _ in wire.sent] == [
        ("all", None),
        ("pick", 7),
        ("pick", None),
        ("all", 3),
    ]


def test_nothing_is_picked_on_another_feed(wire, make_history) -> None:
    data = CurveData(make_history([1.0] * 20), 100, branched_at=5)
    data.update()
    wire.ask()
    wire.say(type="pick", step=7)
    wire.chart.renew()
    wire.chart.push(data)
    assert [(c["type"], c["picked"], c["born"]) for c, _ in wire.sent] == [("all", None, 5)]


def test_other_earlier_runs_are_sent_with_everything_and_the_pick_stays(wire, make_run) -> None:
    parent = make_run(20).start().wait()
    branch = parent.branch(12)
    data = CurveData(branch.history, 20, branch.born)
    data.update()
    wire.ask()
    wire.say(type="pick", step=7)
    wire.chart.push(data)
    wire.chart.repeat()
    wire.chart.push(data, earlier_runs.beside(branch))
    content, buffers = wire.sent[-1]
    assert (content["picked"], [each["parent"] for each in content["earlier_runs"]]) == (7, [True])
    assert np.frombuffer(buffers[2], "<f4").reshape(-1, 8)[:, 0].tolist() == list(range(1, 21))


def test_the_message_with_everything_says_which_columns_there_are_and_where_they_are_drawn(make_history) -> None:
    data = CurveData(make_history([1.0] * 20), 100)
    data.update()
    content, (rows, evaluations) = everything(data)
    assert content["layout"] == chart_layout(data)
    names = [column["name"] for column in content["layout"]["columns"]]
    judged = [column["name"] for column in content["layout"]["evaluation_columns"]]
    values = dict(zip(names, np.frombuffer(rows, "<f4").reshape(-1, len(names))[-1].tolist(), strict=True))
    assert (values["step"], values["loss"], values["norm_before"], values["clipped"]) == (20, 1, 2, 1)
    assert np.frombuffer(evaluations, "<f4").reshape(-1, len(judged))[-1, judged.index("step")] == 20
    for panel in content["layout"]["panels"]:
        assert {*panel["columns"], panel["earlier"]} <= {*names} and {*panel["evaluations"]} <= {*judged}


def test_long_histories_are_thinned_out(make_history) -> None:
    data = CurveData(make_history([float(i % 97) for i in range(9000)]), 9000)
    data.update()
    content, buffers = everything(data)
    assert content["next"] == 9000
    assert 2000 < len(buffers[0]) // 32 <= 4000


def test_messages_are_valid_json_even_where_the_numbers_are_not(make_history) -> None:
    data = CurveData(make_history([float("nan")], diverged=True, max_norm=None), 10)
    data.update()
    json.dumps(everything(data)[0], allow_nan=False)


def test_snapshot_holds_the_final_curves(wire, make_run) -> None:
    run = make_run(20)
    run.start().wait()
    earlier_runs.remember(run)
    data = CurveData(run.history, 20)
    data.update()
    other = make_run(5)
    wire.chart.freeze(data)
    assert wire.chart.snapshot == b"", "without a page nobody could show it"
    wire.ask()
    wire.chart.freeze(data, earlier_runs.beside(other))
    content, buffers = unpack(wire.chart.snapshot)
    assert content["next"] == 20 and len(content["earlier_runs"]) == 1
    assert np.frombuffer(buffers[0], "<f4").reshape(-1, 8)[:, 0].tolist() == list(range(1, 21))


def test_packing_keeps_buffers_at_multiples_of_four() -> None:
    for name in ("a", "ab", "abc", "abcd", "ä"):
        data = pack({"name": name}, [b"12345678", b""])
        assert unpack(data) == ({"name": name}, [b"12345678", b""])
        assert data.index(b"12345678") % 4 == 0


def test_the_script_is_whole_and_brings_nothing_along() -> None:
    script = Chart._esm
    assert script.count("export default") == 1
    assert "import " not in script and "http" not in script
