"""Spoken digits that come with the workbook: made once by a speech synthesiser, kept as µ-law at 8 kHz."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .._validation import checked_arguments, whole
from .sounds import Sounds
from .splits import check_draw, stratified_split, subset
from .tasks import SPLITS, Task, make_task

FILE = Path(__file__).parent / "clips" / "spoken_digits.npz"
RATE = 8000  # samples per second
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MU = 255.0


@dataclass(frozen=True)
class Clips:
    """The clips as they are kept.

    Attributes:
        waves: (N, T) int16, padded by zeros.
        sizes: (N,) int64, samples of each clip.
        digits: (N,) int64, 0 to 9.
        voices: N names of the synthesiser's voices.
        accents: N names of the kind of English.
        speeds: (N,) words per minute.
        pitches: (N,) the synthesiser's pitch, 0 to 99.
        splits: N times "train", "validation" or "test"; a voice stands in one of them only.
    """

    waves: Tensor
    sizes: Tensor
    digits: Tensor
    voices: np.ndarray
    accents: np.ndarray
    speeds: np.ndarray
    pitches: np.ndarray
    splits: np.ndarray


@checked_arguments
def spoken_digits(train: int | None = None, seed: int = 0) -> Task:
    """Spoken digits, "zero" to "nine", split by voice: no voice of validation or test is heard in training.

    All are of one speech synthesiser, so what is measured on them says nothing of real speakers.

    Args:
        train: number of clips to learn from, 10 to 1,100, equally many of each digit; None takes all.
        seed: which of them.

    Returns:
        A task of sounds, inputs (B, T) float32 at 8 kHz, each clip with mean 0 and variance 1.

    Raises:
        ValueError: in one line, for a number that cannot be had.

    Source:
        Made by ``python -m stablelab.data.making_spoken_digits`` with espeak-ng.
    """
    check_draw(seed, True)
    clips = spoken_clips()
    where = {split: torch.from_numpy(np.flatnonzero(clips.splits == split)) for split in SPLITS}
    stores = {split: Sounds(clips.waves[at], clips.sizes[at], RATE) for split, at in where.items()}
    task = make_task("spoken digits", "sound", WORDS, stores, {split: clips.digits[at] for split, at in where.items()})
    if train is None:
        return task
    sizes = {"train": whole("train", train, len(WORDS), " of clips", len(task.train))}
    return subset(task, stratified_split(task.train.targets, sizes, WORDS, seed, balanced=True)["train"])


@lru_cache(maxsize=1)
def spoken_clips() -> Clips:
    """All clips with what is known of them; do not change them."""
    with np.load(FILE) as kept:
        sizes = kept["sizes"].astype(np.int64)
        waves = np.zeros((len(sizes), sizes.max()), dtype=np.int16)
        waves[np.arange(waves.shape[1]) < sizes[:, None]] = from_mu_law(kept["codes"])
        names = {each: kept[each] for each in ("voices", "accents", "splits")}
        return Clips(
            torch.from_numpy(waves),
            torch.from_numpy(sizes),
            torch.from_numpy(kept["digits"].astype(np.int64)),
            speeds=kept["speeds"],
            pitches=kept["pitches"],
            **names,
        )


def to_mu_law(wave: np.ndarray) -> np.ndarray:
    """Eight bits a sample, with steps that grow with the loudness: uint8 codes of samples from -1 to 1.

    Source:
        ITU-T G.711's µ-law in its continuous form, F(x) = sgn(x) ln(1 + µ|x|) / ln(1 + µ), µ = 255.
    """
    squeezed = np.sign(wave) * np.log1p(MU * np.abs(wave)) / np.log1p(MU)
    return np.round((squeezed + 1) / 2 * 255).astype(np.uint8)


def from_mu_law(codes: np.ndarray) -> np.ndarray:
    """The samples of µ-law codes, as int16."""
    squeezed = np.arange(256) / 255 * 2 - 1
    levels = np.sign(squeezed) * np.expm1(np.abs(squeezed) * np.log1p(MU)) / MU
    return np.round(32767 * levels).astype(np.int16)[codes]
