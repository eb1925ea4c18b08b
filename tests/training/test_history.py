from __future__ import annotations

import json
import math
import threading

from stablelab._formatting import format_number
from stablelab.training import Evaluation, History, Intervention, Step
from stablelab.training.history import last_gesture


def step(n: int, **changes) -> Step:
    values = {
        "step": n, "epoch": n / 10, "loss": 1 / n, "learning_rates": (0.1,), "max_norm": None, "clip": "norm",
        "norm_before": 1.0, "norm_after": 1.0, "clipped": False, "examples_per_second": 1.0, "tokens_per_second": None,
        "seconds": 0.1, "optimizer": "SGD · torch fused",
    }  # fmt: skip
    return Step(**{**values, **changes})


def test_a_step_survives_json():
    full = step(
        3,
        interventions=(Intervention(3, "max_norm", None, 1.0),),
        evaluation=Evaluation(3, 0.5, 0.9, 0.9, 0.9, 0.9, 0.1),
        diverged=True,
        kept=2,
    )
    assert Step.from_dict(full.to_dict()) == full


def test_since_gives_only_what_is_new_while_another_thread_writes():
    history, seen = History(), []
    writer = threading.Thread(target=lambda: [history.append(step(n)) for n in range(1, 2001)])
    writer.start()
    while len(seen) < 2000:
        seen.extend(history.since(len(seen)))
    writer.join()
    assert [s.step for s in seen] == list(range(1, 2001))


def test_the_frame_has_a_row_per_step_and_nan_where_no_validation_was_due():
    history = History((step(1), step(2, evaluation=Evaluation(2, 0.5, 0.9, 0.8, 0.7, 0.6, 0.1))))
    frame = history.frame()
    assert list(frame["step"]) == [1, 2]
    assert math.isnan(frame["accuracy"][0]) and frame["accuracy"][1] == 0.9


def test_numbers_read_as_a_learner_writes_them():
    assert [format_number(x) for x in (1e-3, 3e-4, 1.25e-3, 0.05, 0.5, 1.0, 5e-5, 0, 20000)] == [
        "1e-3", "3e-4", "1.25e-3", "0.05", "0.5", "1", "5e-5", "0", "2e4",
    ]  # fmt: skip
    assert str(Intervention(7, "optimizer", "adam", "adamw")) == "step 7: optimizer adam → adamw"
    assert str(Intervention(7, "bias_correction", True, False)) == "step 7: bias correction on → off"
    assert str(Intervention(7, "max_norm", None, 0.5)) == "step 7: clip threshold off → 0.5"
    assert str(Intervention(7, "unfrozen", None, 2)) == "step 7: trained layers all → 2"
    assert str(Intervention(7, "unfreeze_every", 0, 20)) == "step 7: gradual unfreezing off → every 20 steps"
    assert str(Intervention(7, "early_stopping", 3, 0)) == "step 7: early stopping after 3 validations → off"
    assert str(Intervention(7, "rotation", 0.0, 15.0)) == "step 7: rotation 0° → 15°"
    assert str(Intervention(7, "layer_decay", 1.0, 0.83)) == "step 7: layer decay 1 → 0.83"


def change(n: int, gesture: int, name: str = "learning_rate", old: object = 0.1, new: object = 0.2) -> Intervention:
    return Intervention(n, name, old, new, gesture)


def test_the_changes_of_one_gesture_are_folded_into_one():
    drag = [change(3, 4, old=0.1, new=0.2), change(4, 4, old=0.2, new=0.5), change(7, 4, old=0.5, new=0.3)]
    preset = [change(9, 5, "max_norm", None, 1.0), change(9, 5, old=0.3, new=0.01)]
    nothing = [change(11, 6, old=0.01, new=1.0), change(12, 6, old=1.0, new=0.01)]
    half = [change(13, 7, "clip", "norm", "value"), change(13, 7, old=0.01, new=1.0), change(14, 7, old=1.0, new=0.01)]
    history = History(
        tuple(
            step(n, interventions=tuple(each for each in (*drag, *preset, *nothing, *half) if each.step == n))
            for n in range(1, 16)
        )
    )
    assert [str(each) for each in history.gestures()] == [
        "steps 3–7: learning rate 0.1 → 0.3",
        "step 9: clip threshold off → 1, learning rate 0.3 → 0.01",
        "steps 13–14: kind of clipping norm → value",
    ]
    assert history.gestures()[1].before == {"max_norm": None, "learning_rate": 0.3}
    changed = list(history.frame()["changed"])
    assert changed[2] == "learning rate 0.1 → 0.3" and changed[3] == "" and changed[8].startswith("clip threshold")
    assert last_gesture(history) == 13 and last_gesture(History()) is None


def test_a_history_from_before_gestures_were_counted_has_one_for_each_step(tmp_path):
    old = [step(n).to_dict() for n in range(1, 5)]
    old[1]["interventions"] = [{"step": 2, "name": "learning_rate", "old": 0.1, "new": 0.2}]
    old[2]["interventions"] = [
        {"step": 3, "name": "learning_rate", "old": 0.2, "new": 0.1},
        {"step": 3, "name": "max_norm", "old": None, "new": 1.0},
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in old))
    history = History.read(tmp_path / "history.jsonl")
    assert [str(each) for each in history.gestures()] == [
        "step 2: learning rate 0.1 → 0.2",
        "step 3: learning rate 0.2 → 0.1, clip threshold off → 1",
    ]
    history.write(tmp_path / "again.jsonl")
    assert History.read(tmp_path / "again.jsonl").gestures() == history.gestures()
