"""Pre-training on fractals: batch k and the weights after it are pure functions of the recipe; and its checkpoints."""

from __future__ import annotations

import hashlib
import io
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..._validation import whole
from ...data.images import MEAN, STD
from ...data.tasks import epoch_plan, generator_for
from ..rng import seeded_rng
from .ifs import systems, varied
from .rendering import draw
from .small_conv import deterministic_gradients, with_small_map_convs

WARM_UP, COOL_DOWN = 200, 0.4  # steps in which the learning rate rises; the last share of all steps, in which it falls
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}
DIGEST_BYTES = 32
LEAST = {"classes": 2, "variations": 1, "size": 16, "epochs": 1, "batch_size": 2}


@dataclass(frozen=True)
class Recipe:
    """All that the weights depend on.

    Attributes:
        classes: formulas.
        variations: of each formula; an epoch draws each of them once, anew every time.
        size: pixels of a picture's side.
        epochs: how often each variation is drawn.
        batch_size: pictures in a step.
        learning_rate: of SGD with Nesterov momentum 0.9, after the warm-up.
        seed: of everything random.
        precision: "bfloat16" (mixed) or "float32".

    Raises:
        ValueError: a value that cannot be, in one line.
    """

    classes: int = 1000
    variations: int = 100
    size: int = 32
    epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 0.2
    seed: int = 0
    precision: str = "bfloat16"

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            whole(name, getattr(self, name), least)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate is {self.learning_rate!r}; it must be above 0")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; it must be {' or '.join(PRECISIONS)}")
        if self.batch_size > self.classes * self.variations:
            raise ValueError(f"batch_size is {self.batch_size}, but there are only {self.per_epoch_pictures} pictures")

    @property
    def per_epoch_pictures(self) -> int:
        return self.classes * self.variations

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; pictures that do not fill a batch are left out of it."""
        return self.per_epoch_pictures // self.batch_size

    @property
    def steps(self) -> int:
        return self.epochs * self.per_epoch

    def learning_rate_at(self, step: int) -> float:
        """A linear rise, a plateau, and a linear fall to 0 at the end."""
        left = (self.steps - step) / (COOL_DOWN * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / WARM_UP, left)

    def differences(self, other: dict[str, Any], step: int) -> str:
        """In words, what in another recipe makes its first ``step`` steps differ from this one's; empty for nothing.

        The number of epochs says only when the learning rate begins to fall: before that it may still be changed.
        """
        mine = asdict(self)
        names = [field.name for field in fields(self) if other[field.name] != mine[field.name]]
        if names == ["epochs"] and max(step, 1) <= (1 - COOL_DOWN) * min(self.steps, Recipe(**other).steps):
            return ""
        return ", ".join(f"{name} {other[name]}" for name in names)


class Pretraining:
    """A ResNet-18 that learns which formula a picture was drawn from.

    Args:
        recipe: what is done.
        device: "cpu", "cuda", …

    Attributes:
        step: steps done.
        model: torchvision's ``resnet18``, with a logit for each formula.
    """

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        from torchvision.models import resnet18

        self.recipe, self.device, self.step = recipe, torch.device(device), 0
        formulas = systems(recipe.classes, recipe.seed, size=recipe.size)
        self.systems = varied(formulas, recipe.variations, recipe.seed)
        with seeded_rng(recipe.seed):
            model = with_small_map_convs(resnet18(num_classes=recipe.classes), recipe.size)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(groups(self.model), lr=0.0, momentum=MOMENTUM, nesterov=True, fused=True)

    def batch(self, k: int) -> tuple[Tensor, Tensor]:
        """Normalized pictures (B, 3, size, size) and classes (B,) of step ``k``."""
        epoch, place = divmod(k, self.recipe.per_epoch)
        if getattr(self, "_planned", None) != epoch:
            self._plan = epoch_plan(len(self.systems), self.recipe.batch_size, self.recipe.seed, epoch)
            self._planned = epoch
        which = self._plan[place]
        pictures = draw(self.systems[which], self.recipe.size, generator_for(self.recipe.seed, 3, k))
        return (pictures - MEAN) / STD, which // self.recipe.variations

    def train_step(self) -> tuple[float, float]:
        """One step; returns its loss, and the share of the batch whose formula was found."""
        inputs, targets = (tensor.to(self.device) for tensor in self.batch(self.step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(self.step)
        dtype = PRECISIONS[self.recipe.precision]
        self.model.train()
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            logits = self.model(inputs.contiguous(memory_format=torch.channels_last))  # (B, C)
        loss = F.cross_entropy(logits.float(), targets)
        self.optimizer.zero_grad()
        with deterministic_gradients():
            loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.item(), (logits.argmax(1) == targets).float().mean().item()

    def state_dict(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def body(self) -> dict[str, Tensor]:
        """All weights but the head's, float16 on the CPU, under torchvision's names."""
        state = self.model.state_dict().items()
        return {
            name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for name, value in state
            if not name.startswith("fc.")
        }


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups: weight decay on matrices and kernels, none on biases and normalization."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]


def write_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values with a checksum behind them; the checkpoint that was there becomes the older one.

    A kill at any time leaves at least one whole checkpoint.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    older, unfinished = _beside(file)
    try:
        with unfinished.open("wb") as stream:
            stream.write(content)
            stream.write(hashlib.sha256(content).digest())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    if file.exists():
        file.replace(older)
    unfinished.replace(file)


def read_checkpoint(file: Path) -> dict[str, Any] | None:
    """The newest undamaged checkpoint, or None if there is none. Says which one was damaged, in a line."""
    for candidate in (file, _beside(file)[0]):
        if not candidate.exists():
            continue
        content = candidate.read_bytes()
        if hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]:
            return torch.load(io.BytesIO(content[:-DIGEST_BYTES]), map_location="cpu", weights_only=True)
        print(f"the checkpoint {candidate} is damaged; it is not used")
    return None


def remove_checkpoints(file: Path) -> None:
    """Remove the newest, the older and the unfinished one."""
    for candidate in (file, *_beside(file)):
        candidate.unlink(missing_ok=True)


def _beside(file: Path) -> tuple[Path, Path]:
    """Where the checkpoint before this one lies, and where the next one lies until it is whole."""
    return file.with_name(f"{file.name}.older"), file.with_name(f"{file.name}.new")
