from __future__ import annotations

import threading

import pytest

from stablelab.training import Control, Settings


def test_a_bad_change_is_refused_and_leaves_the_settings_as_they_were():
    control = Control(Settings(learning_rate=0.1))
    with pytest.raises(ValueError, match="learning_rate"):
        control.change(learning_rate=-1.0)
    assert control.settings == Settings(learning_rate=0.1)


def test_turns_are_given_one_by_one_while_stepping():
    control = Control()
    control.pause()
    taken = []
    thread = threading.Thread(target=lambda: [taken.append(1) for _ in iter(control.turn, None)], daemon=True)
    thread.start()
    control.step(3)
    for _ in range(1000):
        if len(taken) == 3 and control.waiting:
            break
        threading.Event().wait(0.005)
    assert len(taken) == 3 and control.waiting
    control.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_a_pause_right_after_a_resume_is_a_pause():
    control = Control()
    control.pause()
    thread = threading.Thread(target=control.turn, daemon=True)
    thread.start()
    assert control.rest(timeout=5)
    with control._changed:  # the loop cannot wake up in between
        control.resume()
        control.pause()
    assert control.rest(timeout=5) and control.waiting
    control.stop()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("n", [0, -1, 1.5, "two", True])
def test_a_number_of_steps_that_cannot_be(n):
    with pytest.raises(ValueError, match="whole number"):
        Control().step(n)


def test_many_writers_lose_no_change():
    control = Control()

    def write(name: str) -> None:
        for i in range(1, 500):
            control.change(**{name: i / 1000})

    threads = [
        threading.Thread(target=write, args=(n,)) for n in ("learning_rate", "weight_decay", "momentum", "gamma")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settings = control.settings
    assert {settings.learning_rate, settings.weight_decay, settings.momentum, settings.gamma} == {0.499}


def gestures(control: Control) -> dict[str, int]:
    """Take a turn; by name, the gestures of the settings."""
    control.turn()
    return {name: control.gesture_of(name) for name in ("learning_rate", "max_norm")}


def test_changes_of_the_same_setting_within_a_moment_are_one_gesture(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("stablelab.training.control.time.monotonic", lambda: now[0])
    control = Control(Settings())
    for later in (0.0, 0.9, 0.9, 0.9):  # however long the whole drag takes
        now[0] += later
        control.change(learning_rate=now[0] / 1000)
    first = gestures(control)["learning_rate"]
    now[0] += 1.1
    control.change(learning_rate=0.5)
    second = gestures(control)["learning_rate"]
    control.change(max_norm=1.0)
    control.change(learning_rate=0.6)
    assert second == first + 1
    assert gestures(control) == {"learning_rate": second + 2, "max_norm": second + 1}


def test_several_settings_in_one_call_are_one_gesture_and_a_number_can_be_given():
    control = Control(Settings(), gestures=4)
    control.change(learning_rate=0.5, max_norm=1.0)
    assert gestures(control) == {"learning_rate": 6, "max_norm": 6}
    control.change(gesture=control.new_gesture(), learning_rate=0.1, max_norm=None)
    assert gestures(control) == {"learning_rate": 7, "max_norm": 7}
    control.change(learning_rate=0.2, max_norm=2.0)
    assert gestures(control) == {"learning_rate": 8, "max_norm": 8}, "what follows an undo at once is not part of it"
    control.change(learning_rate=0.2)
    assert control.gestures == 8, "the same value again is no change"


def test_what_was_changed_waits_until_a_turn_takes_it():
    control = Control(Settings())
    control.change(learning_rate=0.5)
    assert control.unused() == frozenset(), "before the first step nothing waits"
    control.turn()
    control.change(max_norm=1.0)
    control.change(learning_rate=0.1)
    assert control.unused() == {"learning_rate", "max_norm"}
    control.change(learning_rate=0.5)
    assert control.unused() == {"max_norm"}
    control.turn()
    assert control.unused() == frozenset()


def test_a_check_keeps_out_what_cannot_be_here():
    def check(settings: Settings) -> None:
        if settings.schedule == "cosine":
            raise ValueError("no end")

    control = Control(Settings(), check=check)
    with pytest.raises(ValueError, match="no end"):
        control.change(schedule="cosine", learning_rate=1.0)
    with pytest.raises(ValueError, match="no end"):
        control.publish(Settings(schedule="cosine"))
    assert control.settings == Settings()
