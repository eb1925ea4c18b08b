from __future__ import annotations

import math
import threading

from stablelab._formatting import format_number
from stablelab.training import Evaluation, History, Intervention, Step


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
