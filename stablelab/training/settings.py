"""What a slider can change: one frozen, validated value that is handed over whole."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw")
IMPLEMENTATIONS = ("torch", "workbook")
CLIPS = ("norm", "tensor", "value")
SCHEDULES = ("constant", "exponential", "cosine", "plateau")


@dataclass(frozen=True)
class Settings:
    """Everything about an optimizer step that may change between two steps.

    Arguments:
        learning_rate: base learning rate η > 0; the schedule multiplies it.
        weight_decay: λ ≥ 0; coupled (L2) for every optimizer but ``adamw``, where it is decoupled.
        optimizer: one of ``sgd``, ``momentum``, ``nesterov``, ``adam``, ``adamw``.
        momentum: β of momentum and Nesterov, in [0, 1).
        beta1, beta2: decay of Adam's moving averages, each in [0, 1).
        eps: Adam's ε > 0, outside the root.
        bias_correction: Adam's division by 1 − βᵗ; torch has no switch for it, so off means the workbook's own code.
        implementation: ``torch`` (fused) or ``workbook`` (ours, foreach).
        clip: what ``max_norm`` bounds: ``norm`` (of all gradients together), ``tensor`` (of each), ``value`` (of each entry).
        max_norm: the bound > 0, or None for no clipping.
        schedule: one of ``constant``, ``exponential``, ``cosine``, ``plateau``.
        warmup_steps: steps of linear warm-up in front of the schedule, ≥ 0.
        gamma: factor per step of ``exponential``, factor per drop of ``plateau``; in (0, 1].

    Raises:
        ValueError: in one line, naming the field, its value and what would be right.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    bias_correction: bool = True
    implementation: str = "torch"
    clip: str = "norm"
    max_norm: float | None = None
    schedule: str = "constant"
    warmup_steps: int = 0
    gamma: float = 0.99

    def __post_init__(self) -> None:
        _number("learning_rate", self.learning_rate, above=0.0, hint="a number above 0, such as 1e-3")
        _number("weight_decay", self.weight_decay, least=0.0, hint="0 or a number above it, such as 0.01")
        if self.max_norm is not None:
            _number("max_norm", self.max_norm, above=0.0, hint="a number above 0, or None for no clipping")
        for name in ("momentum", "beta1", "beta2"):
            _number(name, getattr(self, name), least=0.0, below=1.0, hint="a number from 0 up to, not including, 1")
        _number("eps", self.eps, above=0.0, hint="a small number above 0, such as 1e-8")
        _number("gamma", self.gamma, above=0.0, most=1.0, hint="a number above 0 and at most 1")
        if isinstance(self.warmup_steps, bool) or not isinstance(self.warmup_steps, int) or self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps!r}; it must be a whole number, 0 or more")
        if not isinstance(self.bias_correction, bool):
            raise ValueError(f"bias_correction is {self.bias_correction!r}; it must be True or False")
        _choice("optimizer", self.optimizer, OPTIMIZERS)
        _choice("implementation", self.implementation, IMPLEMENTATIONS)
        _choice("clip", self.clip, CLIPS)
        _choice("schedule", self.schedule, SCHEDULES)

    def replace(self, **changes: Any) -> Settings:
        """The same settings with some fields changed; validated like new ones."""
        unknown = sorted(set(changes) - NAMES)
        if unknown:
            raise ValueError(f"there is no setting {unknown[0]!r}; there are {', '.join(sorted(NAMES))}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The settings that ``to_dict`` wrote; unknown names are refused, missing ones take their default."""
        return cls().replace(**values)

    @property
    def label(self) -> str:
        """Who does the arithmetic: ``AdamW · torch fused`` or ``AdamW · workbook``."""
        return f"{_TITLES[self.optimizer]} · {'torch fused' if self.uses_torch else 'workbook'}"

    @property
    def uses_torch(self) -> bool:
        """Whether torch's fused optimizer can, and is asked to, do these settings."""
        return self.implementation == "torch" and (self.bias_correction or self.optimizer not in ("adam", "adamw"))

    def differences(self, other: Settings) -> tuple[tuple[str, Any, Any], ...]:
        """(name, value here, value in ``other``) for each field that differs."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return tuple((name, old, new) for name, old, new in pairs if old != new)


NAMES = frozenset(f.name for f in fields(Settings))
_TITLES = {"sgd": "SGD", "momentum": "Momentum", "nesterov": "Nesterov", "adam": "Adam", "adamw": "AdamW"}


def _number(
    name: str,
    value: Any,
    *,
    hint: str,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (fits and value > above and value >= least and value < below and value <= most):
        raise ValueError(f"{name} is {value!r}; it must be {hint}")


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
