"""Sounds made worse: noise, speed and gain, each at five severities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._validation import choice, seed_number, whole
from .sounds import Sounds
from .tasks import generator_for


def corrupt_sounds(store: Sounds, name: str, severity: int, seed: int = 0) -> Sounds:
    """The same sounds under a corruption.

    ``noise``: white noise is added, so much quieter than the sound by the mean of its squares as the decibels say.
    ``speed``: played faster or slower, as chance has it, pitch and all. ``gain``: amplified beyond what 16 bits hold,
    so that the loud parts are cut off flat; what is amplified without being cut off, wav2vec 2.0 does not notice,
    because its inputs are brought to one variance.

    Args:
        store: the sounds.
        name: noise, speed or gain.
        severity: 1 (mild) to 5 (harsh).
        seed: 0 or more; the same one, the same numbers. For one seed the noise differs over severities in size alone.

    Raises:
        ValueError: in one line: no such corruption or severity.

    Source:
        Severities as in Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions
        and perturbations", Section 4.1; what is done and how much is the workbook's.
    """
    choice("corruption", name, SOUND_CORRUPTIONS)
    severity = whole("severity", severity, 1, at_most=5)
    change, amounts = _CORRUPTIONS[name]
    generator = generator_for(seed_number("seed", seed), SOUND_CORRUPTIONS.index(name))
    waves, sizes = change(store, amounts[severity - 1], generator)
    return Sounds(waves, sizes, store.rate)


def _noise(store: Sounds, decibels: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = store.waves.double()
    inside = torch.arange(x.shape[1]) < store.sizes[:, None]
    power = (x.square() * inside).sum(1, keepdim=True) / store.sizes[:, None]
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    noisy = x + inside * noise * (power / 10 ** (decibels / 10)).sqrt()
    return _as_int16(noisy), store.sizes


def _speed(store: Sounds, factor: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    faster = torch.rand(len(store), generator=generator) < 0.5
    waves, sizes = torch.zeros_like(store.waves), store.sizes.clone()
    for i, wave in enumerate(store.waves):
        size = int(store.sizes[i])
        n = max(1, round(size / factor if faster[i] else size * factor))
        at = np.linspace(0, size - 1, n)
        changed = np.interp(at, np.arange(size), wave[:size].numpy())[: waves.shape[1]]  # no longer than the others
        waves[i, : len(changed)] = torch.from_numpy(changed).round().to(torch.int16)
        sizes[i] = len(changed)
    return waves, sizes


def _gain(store: Sounds, decibels: float, _: torch.Generator) -> tuple[Tensor, Tensor]:
    return _as_int16(store.waves.double() * 10 ** (decibels / 20)), store.sizes


def _as_int16(x: Tensor) -> Tensor:
    return x.round().clamp(-32768, 32767).to(torch.int16)


_CORRUPTIONS: dict[str, tuple[Callable[[Sounds, Any, torch.Generator], tuple[Tensor, Tensor]], tuple[float, ...]]] = {
    "noise": (_noise, (30, 20, 15, 10, 5)),  # decibels that the sound is louder than the noise
    "speed": (_speed, (1.1, 1.2, 1.3, 1.45, 1.6)),  # times as fast, or as slow
    "gain": (_gain, (6, 12, 18, 24, 36)),  # decibels
}
SOUND_CORRUPTIONS = tuple(_CORRUPTIONS)
