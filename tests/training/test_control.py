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
