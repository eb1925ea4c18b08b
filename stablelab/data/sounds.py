"""Sounds to classify, from any folder of WAV files: kept as 16 bits, brought to one loudness when a batch is made."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .._formatting import printable
from .._validation import checked_arguments, number, switch, whole
from .picture_files import find_files, split_files
from .report import MANY, DataReport, balance
from .splits import Size, check_draw
from .tasks import Task, make_task

ENDINGS = (".wav", ".wave")
RATE = 8000  # of the bundled wav2vec 2.0 and its digits
LONGEST = 10.0  # seconds that are kept where nothing else is asked for
QUIET = 32  # of 32,768 levels; what never gets louder is called silent


class Sounds:
    """Sounds, mono, padded by zeros to one length.

    Args:
        waves: (N, T) int16.
        sizes: (N,) int64, samples of each sound before the padding.
        rate: samples per second.
    """

    lengths = None

    def __init__(self, waves: Tensor, sizes: Tensor, rate: int) -> None:
        self.waves, self.sizes, self.rate = waves, sizes, rate

    def __len__(self) -> int:
        return len(self.waves)

    def take(self, positions: Tensor) -> Tensor:
        return normalized(self.waves[positions], self.sizes[positions])  # (B, T)

    def raw(self, i: int) -> np.ndarray:
        return pictured(self.wave(i), self.rate)

    def wave(self, i: int) -> np.ndarray:
        """(T_i,) float32 from -1 to 1: sound ``i`` without its padding."""
        return self.waves[i, : int(self.sizes[i])].numpy().astype(np.float32) / 32768

    def digest(self) -> bytes:
        shape = repr((tuple(self.waves.shape), self.rate))
        return hashlib.sha256(shape.encode() + self.sizes.numpy().tobytes() + self.waves.numpy().tobytes()).digest()


def normalized(waves: Tensor, sizes: Tensor) -> Tensor:
    """Each sound with mean 0 and variance 1, zeros behind it: what wav2vec 2.0 is given.

    Args:
        waves: (B, T) int16.
        sizes: (B,) samples of each before the padding.

    Returns:
        (B, T) float32.

    Source:
        transformers, ``Wav2Vec2FeatureExtractor(do_normalize=True)``.
    """
    x = waves.float() / 32768
    inside = torch.arange(x.shape[1]) < sizes[:, None]
    n = sizes[:, None].clamp(min=1)
    x = torch.where(inside, x - (x * inside).sum(1, keepdim=True) / n, 0.0)
    return x / (x.square().sum(1, keepdim=True) / n + 1e-7).sqrt()


def log_mel(wave: np.ndarray, rate: int, bands: int = 40, window: float = 0.025, hop: float = 0.010) -> np.ndarray:
    """The log of the energy in bands that are evenly spaced to the ear: what speech was described by for decades.

    Args:
        wave: (T,) samples.
        rate: per second.
        bands: triangular filters, evenly spaced in mel from 0 to rate / 2.
        window: seconds of each frame, shaped by a Hann window.
        hop: seconds from frame to frame.

    Returns:
        (frames, bands) float32, in natural logarithms.

    Source:
        Davis and Mermelstein 1980, "Comparison of parametric representations for monosyllabic word recognition";
        mel = 2595 log10(1 + f / 700).
    """
    length, step = round(window * rate), round(hop * rate)
    fft = 2 ** math.ceil(math.log2(length))
    padded = np.pad(np.asarray(wave, dtype=np.float64), (0, max(0, length - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::step] * np.hanning(length)
    power = np.abs(np.fft.rfft(frames, fft)) ** 2  # (frames, fft / 2 + 1)
    edges = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    f = np.arange(fft // 2 + 1) * rate / fft
    up, down = (f - edges[:-2, None]) / np.diff(edges)[:-1, None], (edges[2:, None] - f) / np.diff(edges)[1:, None]
    return np.log(power @ np.clip(np.minimum(up, down), 0, None).T + 1e-6).astype(np.float32)


def pictured(wave: np.ndarray, rate: int, height: int = 64) -> np.ndarray:
    """A sound as a person can look at it: its log-mel energies as a grey uint8 picture (height, W, 3), low below."""
    levels = log_mel(wave, rate).T[::-1]  # (bands, frames)
    low, high = levels.max() - 8, levels.max()
    grey = np.round(255 * (1 - np.clip((levels - low) / (high - low), 0, 1))).astype(np.uint8)
    return np.repeat(grey[np.arange(height) * len(grey) // height, :, None], 3, axis=2).repeat(2, axis=1)


@checked_arguments
def sounds(
    folder: str | Path,
    rate: int = RATE,
    seconds: float | None = None,
    train: Size = None,
    validation: Size = 0.2,
    test: Size = 0.2,
    seed: int = 0,
    balanced: bool = False,
    merge_labels: bool = False,
    group_duplicates: bool = True,
) -> Task:
    """Any folder of WAV files with one sub-folder per class.

    Says what it read and what it changed, and keeps that as ``task.report``. Several channels become their mean. The
    split is by file: where one speaker speaks in many files, he is in all three splits.

    Args:
        folder: the folder; its sub-folders name the classes.
        rate: samples per second that all sounds are brought to, 1,000 to 48,000: 8,000 for the bundled model, 16,000
            for nearly all others.
        seconds: length that sounds are cut or padded to; that of the longest, at most ten, if not given.
        train: number of sounds, or share; None takes all that is left.
        validation: number of sounds, or share.
        test: number of sounds, or share.
        seed: seed of the split.
        balanced: equal numbers of every class.
        merge_labels: sub-folders whose names differ by case or blanks only are one class, called as the fullest.
        group_duplicates: files of the same content stand in one split.

    Raises:
        FileNotFoundError: no such folder, no sub-folders, or a sub-folder without WAV files.
        ValueError: in one line: one class only, files that cannot be read (counted, the first is named), or a size that
            cannot be had.
    """
    rate = whole("rate", rate, 1000, " of samples per second", 48_000)
    seconds = None if seconds is None else number("seconds", seconds, at_least=0.05, at_most=600)
    switch("merge_labels", merge_labels)
    switch("group_duplicates", group_duplicates)
    check_draw(seed, balanced)
    sizes = (train, validation, test)
    found = find_files(Path(folder), ENDINGS, "sound", "WAV files")
    found, splits, remarks = split_files(found, sizes, seed, balanced, merge_labels, group_duplicates, "sounds")
    used = torch.cat(list(splits.values())).tolist()
    read, changed = _read_all([found.files[i] for i in used], [found.name(i) for i in used], rate)
    longest = max(map(len, read)) if seconds is None else round(seconds * rate)
    room = longest if seconds is not None else min(longest, round(LONGEST * rate))
    cut = sum(len(wave) > room for wave in read)
    if cut:
        changed.append(f"{cut} sounds are longer than {room / rate:g} s and were cut there; seconds= says how long")
    places = {i: k for k, i in enumerate(used)}
    waves = torch.zeros(len(used), room, dtype=torch.int16)
    for k, wave in enumerate(read):
        waves[k, : len(wave)] = torch.from_numpy(wave[:room])
    lengths = torch.tensor([min(len(wave), room) for wave in read])
    at = {split: torch.tensor([places[i] for i in where.tolist()]) for split, where in splits.items()}
    stores = {split: Sounds(waves[k], lengths[k], rate) for split, k in at.items()}
    targets = {split: found.targets[where] for split, where in splits.items()}
    task = make_task(Path(folder).resolve().name, "sound", found.classes, stores, targets)
    length = f"{min(map(len, read)) / rate:.2g} to {max(map(len, read)) / rate:.2g} s"
    summary = f"{len(found.files)} sounds of {length} at {rate} Hz: {balance(found.classes, found.counts())}"
    report = DataReport(summary, (*found.remarks, *changed, *remarks))
    report.log()
    return replace(task, report=report)


def _read_all(files: list[str], names: list[str], rate: int) -> tuple[list[np.ndarray], list[str]]:
    """Each sound as int16 at one rate, and what was changed, in words."""
    from scipy.signal import resample_poly

    read, unreadable, rates, silent = [], [], Counter[int](), []
    for file, name in zip(files, names, strict=True):
        try:
            own, wave = read_wav(file)
        except Exception:  # scipy meets damage with ValueError, struct.error, EOFError and more
            unreadable.append(name)
            continue
        rates[own] += 1
        if own != rate:
            shared = math.gcd(own, rate)
            wave = resample_poly(wave, rate // shared, own // shared)
        read.append(np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16))
        if np.abs(read[-1]).max() < QUIET:
            silent.append(name)
    if unreadable:
        raise ValueError(f"{len(unreadable)} of {len(files)} sounds cannot be read, the first is {unreadable[0]}")
    said = []
    other = {own: count for own, count in rates.items() if own != rate}
    if other:
        listed = ", ".join(f"{count} of {own} Hz" for own, count in sorted(other.items())[:MANY])
        said.append(f"{sum(other.values())} of {len(files)} sounds were resampled to {rate} Hz: {listed}")
    if silent:
        said.append(f"{len(silent)} sounds are silent, such as {silent[0]}")
    return read, said


def read_wav(file: str | Path) -> tuple[int, np.ndarray]:
    """The samples per second of a WAV file, and its sound: (T,) float64 from -1 to 1, the mean of its channels.

    Raises:
        ValueError: the file is none, is damaged, or holds no sound, or numbers that are not finite.
    """
    import warnings

    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of notes that it does not know
        rate, values = wavfile.read(file)
    wave = values.astype(np.float64)
    if values.dtype == np.uint8:
        wave = wave / 128 - 1
    elif values.dtype.kind == "i":
        wave = wave / float(np.iinfo(values.dtype).max + 1)
    wave = wave if wave.ndim == 1 else wave.mean(axis=1)
    if not len(wave) or rate < 1 or not np.isfinite(wave).all():
        raise ValueError(f"{printable(str(file))} holds no sound")
    return int(rate), wave
