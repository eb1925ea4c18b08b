"""A learner's own loop: its knobs, its records, its pauses, its end; and one line for whatever is wrong with it."""

from __future__ import annotations

import math
import re
import threading
import time
from pathlib import Path

import pandas
import pytest
import torch
from support.helpers import timeless, until
from torch.nn import functional as F

from stablelab.training import Evaluation
from stablelab.training.own_loop import OwnLoop
from stablelab.training.watched import Watched

STEPS = 30


@pytest.fixture
def loop(clouds, make_network):
    """A plain loop, bare or watched: the losses it saw."""

    def train(live=None, steps: int = STEPS, pause: float = 0.0) -> list[float]:
        torch.manual_seed(3)
        model = make_network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for k in range(steps):
            rows = torch.randperm(200)[:16]
            loss = F.cross_entropy(model(clouds.train.inputs[rows]), clouds.train.targets[rows])
            optimizer.zero_grad()
            loss.backward()
            limit = 0.5 if live is None else live.max_norm or math.inf
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 if live is None else live.learning_rate
            optimizer.step()
            losses.append(loss.item())
            if live is not None:
                live.record(loss=loss.detach(), gradient_norm=norm, smallest=min(losses))
                if k % 10 == 9:
                    live.evaluate(loss=loss.item(), accuracy=0.5)
            time.sleep(pause)
        return losses

    return train


def watched(train, **knobs) -> OwnLoop:
    return OwnLoop(train, (), {"learning_rate": 1e-2, "max_norm": 0.5} | knobs, total_steps=STEPS)


def endless(live) -> None:
    while True:
        live.record(loss=live.learning_rate, gradient_norm=1.0)
        time.sleep(0.001)


def test_untouched_it_has_the_numbers_of_the_bare_loop(loop) -> None:
    run = watched(loop).start().wait()
    assert [step.loss for step in run.history] == loop()
    assert (run.state, run.total_steps, len(run.history)) == ("finished", STEPS, STEPS)
    assert {step.learning_rates for step in run.history} == {(1e-2,)}
    assert all(step.clipped == (step.norm_before > 0.5) for step in run.history)
    assert all(step.norm_after == min(step.norm_before, 0.5) for step in run.history)
    assert [each.step for each in run.history.evaluations()] == [10, 20, 30]
    assert run.history[29].scalars == {"smallest": min(loop())}


def test_a_change_acts_from_the_next_step_on_and_is_noted() -> None:
    run = watched(endless)
    run.step(3)
    run.wait_paused()
    run.control.change(learning_rate=0.5, max_norm=None)
    run.step(2)
    run.wait_paused()
    run.stop()
    assert [step.loss for step in run.history] == [1e-2] * 3 + [0.5] * 2
    assert [(step.learning_rates, step.max_norm) for step in run.history][2:4] == [((1e-2,), 0.5), ((0.5,), None)]
    assert [str(each) for each in run.history.interventions()] == [
        "step 4: learning rate 0.01 → 0.5",
        "step 4: clip threshold 0.5 → off",
    ]


def test_one_step_never_sees_two_values() -> None:
    seen: list[tuple[float, float]] = []

    def train(live) -> None:
        for k in range(3):
            before = live.learning_rate
            if k == 1:
                run.control.change(learning_rate=0.5)
            seen.append((before, live.learning_rate))
            live.record(loss=1.0)

    run = watched(train)
    run.start().wait()
    assert seen == [(1e-2, 1e-2), (1e-2, 1e-2), (0.5, 0.5)]
    assert [step.learning_rates[0] for step in run.history] == [1e-2, 1e-2, 0.5]


def test_pause_one_step_resume_stop() -> None:
    ended: list[str] = []

    def train(live) -> None:
        try:
            while True:
                try:
                    live.record(loss=1.0)
                except Exception:
                    ended.append("caught")
        finally:
            ended.append("finally")

    run = watched(train)
    run.step()
    run.wait_paused()
    assert (len(run.history), run.state) == (1, "paused")
    run.step(4)
    run.wait_paused()
    assert len(run.history) == 5
    run.resume()
    until(lambda: len(run.history) > 20)
    run.stop()
    assert (run.state, run.error, ended, run.alive) == ("stopped", None, ["finally"], False)
    assert run.wait() is run
    with pytest.raises(ValueError, match="cannot resume: the run is over"):
        run.resume()


def test_stopped_before_its_first_step_the_loop_never_runs() -> None:
    called: list[object] = []
    run = watched(called.append)
    run.control.pause()
    run.start()
    until(lambda: run.state == "paused")
    run.stop()
    assert (run.state, called) == ("stopped", [])


def test_what_live_knows_and_does_not() -> None:
    said: list[str] = []

    def train(live) -> None:
        said.extend(dir(live))
        for attempt in (lambda: live.lr, lambda: setattr(live, "learning_rate", 1.0)):
            try:
                attempt()
            except AttributeError as error:
                said.append(str(error))
        live.record(loss=1.0)
        said.append(str(live.step))

    watched(train).start().wait()
    assert {"learning_rate", "max_norm", "record", "evaluate", "step"} <= set(said)
    assert said[-3:] == [
        "live has no knob 'lr'; did you mean learning_rate?",
        "live.learning_rate cannot be set in the loop: its slider moves it, or run.control.change",
        "1",
    ]


@pytest.mark.parametrize("name", ["record", "evaluate", "step", "_run"])
def test_a_name_that_live_has_already_is_refused(name) -> None:
    with pytest.raises(ValueError, match=f"a knob cannot be called '{name}': live has evaluate, record, step already"):
        OwnLoop(endless, (), {name: 1.0})


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (lambda live: live.record(gradient_norm=1.0), "live.record got no loss"),
        (lambda live: live.record(loss=torch.ones(8)), r"loss is a Tensor of shape \(8,\); record one number, such as"),
        (lambda live: live.record(loss="low"), "loss is 'low'; record one number"),
        (lambda live: live.record(loss=1.0, share=None), "share is None; record one number"),
        (lambda live: live.evaluate(), "live.evaluate got no number"),
        (lambda live: None, r"<lambda>\(\) ended without a step: call live.record\(loss=...\)"),
    ],
)
def test_bad_input_ends_the_loop_with_one_line_raised_by_wait(train, said) -> None:
    run = watched(train).start()
    with pytest.raises(ValueError, match=said):
        run.wait()
    assert run.state == "failed"
    assert "\n" not in run.message and run.message.startswith("failed: ValueError: ")


def test_an_exception_in_the_loop_is_shown_and_raised_and_loses_nothing() -> None:
    def train(live) -> None:
        live.record(loss=1.0)
        raise RuntimeError("out of coffee")

    run = watched(train).start()
    with pytest.raises(RuntimeError, match="out of coffee"):
        run.wait()
    assert (run.state, run.message, len(run.history)) == ("failed", "failed: RuntimeError: out of coffee", 1)


def test_a_loss_that_still_requires_grad_is_detached_and_said_once() -> None:
    weights = torch.ones(2, requires_grad=True)

    def train(live) -> None:
        for _ in range(3):
            live.record(loss=weights.sum(), gradient_norm=weights.norm())

    run = watched(train).start().wait()
    assert [step.loss for step in run.history] == [2.0] * 3
    assert run.trouble == "the recorded loss still held its graph: it was detached; loss.item() lets go of it sooner"


def test_a_second_thread_may_not_record() -> None:
    errors: list[str] = []

    def train(live) -> None:
        def other() -> None:
            for call in (live.record, live.evaluate):
                try:
                    call(1.0)
                except RuntimeError as error:
                    errors.append(str(error))

        thread = threading.Thread(target=other, name="loader")
        thread.start()
        thread.join()
        live.record(loss=1.0)

    run = watched(train).start().wait()
    assert len(run.history) == 1
    assert errors == [
        f"live.{what} was called in the thread 'loader'; only the one that trains may call it"
        for what in ("record", "evaluate")
    ]


def test_one_function_is_watched_once_at_a_time() -> None:
    run, other = watched(endless), watched(endless)
    run.start()
    for again in (other.start, lambda: watched(endless)):
        with pytest.raises(ValueError, match=r"endless\(\) is being trained by another run .*: stop it first"):
            again()
    run.stop()
    other.step()
    other.wait_paused()
    other.stop()
    assert len(other.history) == 1


def test_what_it_cannot_do_is_said_with_the_reason() -> None:
    run = watched(endless)
    assert set(run.cannot) == {"reset", "branch", "untouched"}
    assert all("your own" in why and "\n" not in why for why in run.cannot.values())
    for name, call in {"reset": run.reset, "branch": lambda: run.branch(1), "untouched": run.untouched}.items():
        with pytest.raises(ValueError, match=re.escape(run.cannot[name])):
            call()
    assert (run.parent, run.branches, run.born, run.version, run.source) == (None, [], 0, 0, "endless()")


def test_a_validation_joins_the_step_before_it_or_waits_for_the_first() -> None:
    def train(live) -> None:
        live.evaluate(loss=2.0)
        live.record(loss=1.0)
        live.record(loss=1.0, learning_rate=0.1, max_norm=3)
        live.evaluate(accuracy=torch.tensor(0.5))

    history = watched(train).start().wait().history
    first, second = history.evaluations()
    assert (first.step, first.loss, history[0].evaluation) == (0, 2.0, first)
    assert (second.step, second.accuracy, history[1].evaluation) == (2, 0.5, second)
    assert isinstance(second, Evaluation) and math.isnan(second.loss)
    assert (history[1].learning_rates, history[1].max_norm) == ((0.1,), 3.0)


def test_saved_and_loaded_it_is_the_same_and_over(loop, tmp_path) -> None:
    run = watched(loop, flag=True)
    run.step(3)
    run.wait_paused()
    run.control.change(learning_rate=0.3)
    run.start().wait()
    loaded = Watched.load(run.save(tmp_path / "run.jsonl"))
    assert timeless(loaded.history) == timeless(run.history)
    assert loaded.control.settings.to_dict() == {"learning_rate": 0.3, "max_norm": 0.5, "flag": True}
    for each in (run, loaded):
        assert (each.name, each.state, each.source, each.total_steps) == ("train", "finished", "train()", STEPS)
    assert (loaded.fingerprint, set(loaded.cannot)) == (run.fingerprint, set(run.cannot))
    run.history.to_csv(tmp_path / "run.csv")
    table = pandas.read_csv(tmp_path / "run.csv")
    assert table["smallest"].tolist() == [step.scalars["smallest"] for step in run.history]
    assert table["learning_rate"].tolist() == [1e-2] * 3 + [0.3] * (STEPS - 3)
    assert table["accuracy"].count() == 3


def test_a_file_that_holds_no_watched_run_is_one_line(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no file '[^\n]*nowhere.jsonl'$"):
        Watched.load(tmp_path / "nowhere.jsonl")
    (tmp_path / "other.jsonl").write_text('{"loss": 1}\n')
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("other.jsonl", "empty.jsonl"):
        with pytest.raises(ValueError, match=r"is not a watched run that was saved, or is damaged[^\n]*$"):
            Watched.load(tmp_path / name)


def test_a_digit_that_was_changed_in_the_file_is_noticed(loop, tmp_path) -> None:
    file = Path(watched(loop).start().wait().save(tmp_path / "run.json"))
    text = file.read_text()
    file.write_text(text.replace('"learning_rates": [0.01]', '"learning_rates": [0.02]', 1))
    assert file.read_text() != text
    with pytest.raises(ValueError, match=r"is damaged: it is not what was written$"):
        Watched.load(file)
