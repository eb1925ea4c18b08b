"""Settings to try that are known to do something: to learn, to diverge, to crawl, to be clipped to a standstill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._formatting import format_number
from .run import Run

_PLAIN = {
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "clip": "norm",
    "max_norm": None,
    "schedule": "constant",
    "warmup_steps": 0,
}


@dataclass(frozen=True)
class Preset:
    """Several settings that are chosen at once.

    Attributes:
        name: what it is called.
        why: what it shows, in a few words.
        changes: the values that it sets, by name; the other settings stay.
    """

    name: str
    why: str
    changes: dict[str, Any]


def presets(run: Run) -> tuple[Preset, ...]:
    """Those that do what they say in this run.

    A head takes larger steps than a whole model, and a whole transformer smaller ones than another. With weight decay λ
    a learning rate η above 2 / λ makes every step overshoot, in a model that nothing else can make diverge too: a head
    alone has a loss that is steepest where it is worst, and comes back from any height.

    Args:
        run: whose settings they are for.
    """
    good = good_rate(run)
    stopped = {"optimizer": "sgd", "learning_rate": 0.01, "max_norm": 1e-3}
    return (
        Preset("known to be good", f"AdamW at a learning rate of {format_number(good)}", _learning_rate(good)),
        Preset(
            "known to diverge",
            "a learning rate of 10 and weight decay 0.5: each step overshoots, 0 by a factor of 4",
            _learning_rate(10.0) | {"weight_decay": 0.5},
        ),
        Preset("too slow", "a thousandth of the learning rate that is good", _learning_rate(good / 1000)),
        Preset("clipped to a standstill", "SGD, clipped to 1e-3 (Adam would divide that out again)", _PLAIN | stopped),
    )


def good_rate(run: Run) -> float:
    """A learning rate at which AdamW trains well: 1e-4 for a whole transformer, 1e-3 for another, 1e-2 for a head."""
    trained = sum(p.numel() for p in run.trained_parameters())
    if trained < sum(p.numel() for p in run.model.parameters()) / 10:
        return 1e-2
    return 1e-4 if any("Attention" in type(each).__name__ for each in run.trains.modules()) else 1e-3


def _learning_rate(value: float) -> dict[str, Any]:
    return _PLAIN | {"learning_rate": float(f"{value:g}")}
