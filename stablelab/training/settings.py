"""What a slider can change: one frozen, validated value that is handed over whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .._validation import choice, plain_number, switch, whole
from ..formulas import CLIPS, SCHEDULES

TITLES = {
    "sgd": "SGD",
    "momentum": "Momentum",
    "nesterov": "Nesterov",
    "adam": "Adam",
    "adamw": "AdamW",
    "lamb": "LAMB",
}
OPTIMIZERS = tuple(TITLES)
AUGMENTATIONS = {"noise": None, "crop": 0.5, "rotation": 180, "flip": 1}  # name: the most there can be
IMPLEMENTATIONS = ("torch", "workbook")
PRECISIONS = ("fp32", "bf16", "fp16")
_RANGES: dict[str, dict[str, float]] = {
    "learning_rate": {"above": 0},
    "weight_decay": {"at_least": 0},
    "momentum": {"at_least": 0, "below": 1},
    "beta1": {"at_least": 0, "below": 1},
    "beta2": {"at_least": 0, "below": 1},
    "eps": {"above": 0},
    "gamma": {"above": 0, "at_most": 1},
    "factor": {"above": 0, "below": 1},
    "layer_decay": {"above": 0, "at_most": 1},
}
_WORDS = {
    "optimizer": OPTIMIZERS,
    "implementation": IMPLEMENTATIONS,
    "clip": CLIPS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
}
_MOST = 10**15  # steps, validations or layers: more than any run has, and exact as a float


@dataclass(frozen=True)
class Settings:
    """Everything about an optimizer step that may change between two steps.

    Args:
        learning_rate: base learning rate η > 0; the schedule multiplies it.
        weight_decay: λ ≥ 0; coupled (L2) for every optimizer but ``adamw`` and ``lamb``, where it is decoupled.
        optimizer: one of ``sgd``, ``momentum``, ``nesterov``, ``adam``, ``adamw``, ``lamb``.
        momentum: β of momentum and Nesterov, in [0, 1).
        beta1, beta2: decay of Adam's and LAMB's moving averages, each in [0, 1).
        eps: Adam's ε > 0, outside the root.
        bias_correction: Adam's division by 1 − βᵗ; torch has no switch for it, so off means the workbook's own code.
        implementation: ``torch`` (fused) or ``workbook`` (ours); torch has no LAMB, so that is always ours.
        clip: what ``max_norm`` bounds: ``norm`` (of all gradients), ``tensor`` (of each), ``value`` (of each entry).
        max_norm: the bound > 0, or None for no clipping.
        schedule: one of ``constant``, ``linear``, ``exponential``, ``cosine``, ``plateau``.
        warmup_steps: steps of linear warm-up in front of the schedule, ≥ 0.
        gamma: factor per step of ``exponential``, in (0, 1].
        factor: factor per drop of ``plateau``, in (0, 1).
        patience: validations without improvement that ``plateau`` forgives, ≥ 0.
        layer_decay: in (0, 1]; a layer d layers under the head trains with the learning rate times layer_decay^d.
        unfrozen: how many layers train, counted from the head (1: the head alone); None for all.
        unfreeze_every: steps after which one layer more is trained than before, again and again; 0 for never.
        early_stopping: validations without a new lowest loss after which training ends; the best weights are put back
            then, and at the end of the run. 0 for neither.
        noise: standard deviation of the noise on training pictures, ≥ 0, where black is 0 and white is 1.
        crop: share of the side by which training pictures are shifted at most, in [0, 0.5].
        rotation: degrees by which they are turned at most, in [0, 180].
        flip: probability with which each is mirrored, in [0, 1].
        precision: ``fp32``, or what the products of a step are computed in: ``bf16``, or on a GPU ``fp16`` with a
            scaled loss; weights, gradients, optimizer and loss stay in fp32 (see ``training.precision``).
        accumulation: micro-batches that a batch is cut into, ≥ 1; the mean of their gradients is that of the batch, but
            for batch norm, which takes its statistics from each micro-batch by itself (see ``TrainingLoop``).

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
    factor: float = 0.1
    patience: int = 2
    layer_decay: float = 1.0
    unfrozen: int | None = None
    unfreeze_every: int = 0
    early_stopping: int = 0
    noise: float = 0.0
    crop: float = 0.0
    rotation: float = 0.0
    flip: float = 0.0
    precision: str = "fp32"
    accumulation: int = 1

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            name: plain_number(name, getattr(self, name), **bounds) for name, bounds in _RANGES.items()
        }
        if self.max_norm is not None:
            checked["max_norm"] = plain_number("max_norm", self.max_norm, above=0)
        for name in ("warmup_steps", "patience", "unfreeze_every", "early_stopping"):
            checked[name] = whole(name, getattr(self, name), at_most=_MOST)
        checked["accumulation"] = whole("accumulation", self.accumulation, 1, " of micro-batches", at_most=_MOST)
        if self.unfrozen is not None:
            checked["unfrozen"] = whole("unfrozen", self.unfrozen, at_least=1, of=" of layers", at_most=_MOST)
        for name, most in AUGMENTATIONS.items():
            bounds = {} if most is None else {"at_most": most}
            checked[name] = plain_number(name, getattr(self, name), at_least=0, **bounds)
        checked["bias_correction"] = switch("bias_correction", self.bias_correction)
        for name, known in _WORDS.items():
            checked[name] = choice(name, getattr(self, name), known)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # plain numbers and words, so that a file can hold them

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
        """Who does the arithmetic: ``AdamW · torch fused`` or ``AdamW · workbook``; and in what, if not in fp32."""
        precision = "" if self.precision == "fp32" else f" · {self.precision}"
        return f"{TITLES[self.optimizer]} · {'torch fused' if self.uses_torch else 'workbook'}{precision}"

    @property
    def uses_torch(self) -> bool:
        """Whether torch's fused optimizer can, and is asked to, do these settings."""
        corrected = self.bias_correction or self.optimizer not in ("adam", "adamw")
        return self.implementation == "torch" and self.optimizer != "lamb" and corrected

    def differences(self, other: Settings) -> tuple[tuple[str, Any, Any], ...]:
        """(name, value here, value in ``other``) for each field that differs."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return tuple((name, old, new) for name, old, new in pairs if old != new)


NAMES = frozenset(f.name for f in fields(Settings))
