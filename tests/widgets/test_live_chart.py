"""What the chart sends: only news, in order; everything when asked."""

from __future__ import annotations

import itertools
import json
import re
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


def test_a_scalar_that_appears_in_mid_run_sends_everything_again(wire, make_history) -> None:
    history = make_history([1.0] * 5)
    data = CurveData(history, 100)
    wire.ask()
    for more in (make_history([1.0] * 3, scalars={"sharpness": 2.0}), make_history([1.0] * 2), ()):
        data.update()
        wire.chart.push(data)
        for step in more:
            history.append(step)
    assert [(c["type"], c["next"]) for c, _ in wire.sent] == [("all", 5), ("all", 8), ("points", 10)]
    assert [panel["title"] for panel in wire.sent[1][0]["layout"]["panels"]][-1] == "sharpness"
    width = len(wire.sent[1][0]["layout"]["columns"])
    assert len(wire.sent[2][1][0]) == 2 * width * 4


def test_a_question_whether_the_kernel_is_there_is_answered_with_nothing_else(wire, make_history) -> None:
    data = CurveData(make_history([1.0] * 5), 100)
    data.update()
    wire.ask()
    wire.chart.push(data)
    wire.say(type="ping")
    for _ in range(2):
        wire.chart.push(data)
    assert [(content, buffers) for content, buffers in wire.sent[1:]] == [({"type": "pong"}, [])]


def test_bands_are_told_with_the_runs_that_they_are_of(make_history, make_run) -> None:
    for seed in (1, 2, 3):
        earlier_runs.remember(make_run(5, seed=seed).start().wait())
    data = CurveData(make_history([1.0] * 5), 5)
    data.update()
    content, buffers = everything(data, earlier_runs.beside(make_run(2)))
    [band] = content["bands"]
    assert band["ids"] == [each["id"] for each in content["earlier_runs"]] and band["short"] == "3 seeds"
    assert len(buffers) == 8
    json.dumps(content, allow_nan=False)


def test_a_run_without_an_end_is_told_as_such(make_history) -> None:
    data = CurveData(make_history([1.0] * 5), None)
    data.update()
    assert everything(data)[0]["total"] is None


# -- colours: of curves that are drawn over each other, for any eye, on either ground

_GROUNDS = {"ON_LIGHT": "#FFFFFF", "ON_DARK": "#111111"}
_EYES = {  # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
    "all three cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def _linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    shares = _XYZ @ linear.clip(0, 1) / _XYZ.sum(axis=1)
    x, y, z = np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("ground", [*_GROUNDS])
def test_curves_are_told_apart_by_any_eye_and_stand_out_from_the_ground(ground) -> None:
    said = re.search(rf"const {ground} = {{(.*?)}};", Chart._esm, re.DOTALL)
    assert said is not None
    colours = [*dict.fromkeys(re.findall(r"#\w{6}", said[1]))]
    assert len(colours) >= 7
    for colour in colours:
        light, dark = sorted((float(_linear(each) @ _XYZ[1]) for each in (colour, _GROUNDS[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, f"{colour}: WCAG 2.2, 1.4.11"
    for eye, matrix in _EYES.items():
        for one, other in itertools.combinations(colours, 2):
            apart = np.linalg.norm(_lab(matrix @ _linear(one)) - _lab(matrix @ _linear(other)))
            assert apart >= 10, (eye, one, other)
