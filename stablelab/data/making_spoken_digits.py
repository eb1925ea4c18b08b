"""Make the spoken digits anew: ``pip install espeakng-loader``, then ``python -m stablelab.data.making_spoken_digits``.

The synthesiser, espeak-ng, is a program under the GPL; the workbook neither holds nor needs it. What it spoke is kept.
"""

from __future__ import annotations

import argparse
import ctypes
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_atomically
from .spoken_digits import FILE, RATE, WORDS, to_mu_law

ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029")
VOICES = {
    "train": [
        "m1",
        "m3",
        "m5",
        "m7",
        "f1",
        "f2",
        "f4",
        "klatt",
        "klatt3",
        "Andy",
        "Annie",
        "Denis",
        "Gene",
        "Jacky",
        "Michael",
        "Mike",
        "Reed",
        "adam",
        "belinda",
        "linda",
        "steph3",
        "paul",
    ],
    "validation": ["m2", "f3", "edward", "Alicia"],
    "test": ["m4", "f5", "robert", "Andrea"],
}
CLIPS_OF_A_VOICE = 5  # of each digit
SPEEDS, PITCHES = (180, 280), (20, 80)  # words per minute, and the synthesiser's own scale of 0 to 99
SILENT = 0.02  # of the loudest sample: what is quieter at either end is cut off


def synthesiser() -> tuple[Callable[[str, str, int, int], np.ndarray], int]:
    """A function of (voice, words, speed, pitch) that speaks, and its samples per second.

    Raises:
        ImportError: in one line, where espeak-ng is not here.
    """
    try:
        import espeakng_loader as loader
    except ImportError as error:
        raise ImportError("espeak-ng is not here; run: pip install espeakng-loader") from error
    library: Any = ctypes.CDLL(loader.get_library_path())
    pieces: list[np.ndarray] = []
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def keep(samples: Any, n: int, _: Any) -> int:
        if samples and n > 0:
            pieces.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 0

    callback = kind(keep)
    rate = library.espeak_Initialize(2, 0, loader.get_data_path().encode(), 0)  # 2: at once, to the callback
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # of the flutter of its voices

    def speak(voice: str, words: str, speed: int, pitch: int, _alive: Any = callback) -> np.ndarray:
        pieces.clear()
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        library.espeak_SetParameter(1, speed, 0)
        library.espeak_SetParameter(3, pitch, 0)
        text = words.encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, 1, 0, 1, None, None)
        library.espeak_Synchronize()
        return np.concatenate(pieces)

    return speak, rate


def make_clips(seed: int = 0) -> dict[str, np.ndarray]:
    """All clips, as the file holds them: µ-law codes end to end, and what each clip is.

    Args:
        seed: of the accent, the speed and the pitch of each clip.
    """
    from scipy.signal import resample_poly

    speak, rate = synthesiser()
    random = np.random.default_rng(seed)
    rows, codes = [], []
    for split, voices in VOICES.items():
        for voice in voices:
            for digit, word in enumerate(WORDS):
                for _ in range(CLIPS_OF_A_VOICE):
                    accent = ACCENTS[random.integers(len(ACCENTS))]
                    speed, pitch = (int(random.integers(low, high + 1)) for low, high in (SPEEDS, PITCHES))
                    wave = resample_poly(speak(f"{accent}+{voice}", word, speed, pitch) / 32768, RATE, rate)
                    loud = np.flatnonzero(np.abs(wave) > SILENT * np.abs(wave).max())
                    wave = wave[loud[0] : loud[-1] + 1]
                    codes.append(to_mu_law(0.9 * wave / np.abs(wave).max()))
                    rows.append((len(wave), digit, voice, accent, speed, pitch, split))
    names = ("sizes", "digits", "voices", "accents", "speeds", "pitches", "splits")
    kinds: dict[str, Any] = {"sizes": np.uint16, "digits": np.uint8, "speeds": np.uint16, "pitches": np.uint8}
    columns = {n: np.array(c, dtype=kinds.get(n)) for n, c in zip(names, zip(*rows, strict=True), strict=True)}
    return {"codes": np.concatenate(codes), **columns}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m stablelab.data.making_spoken_digits", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the clips (default: here)")
    arguments = parser.parse_args()
    clips: Any = make_clips()
    content = io.BytesIO()
    np.savez_compressed(content, **clips)
    write_atomically(arguments.out / FILE.name, content.getvalue())


if __name__ == "__main__":
    main()
