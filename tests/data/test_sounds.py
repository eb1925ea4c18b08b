from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import wavfile

import stablelab as lab
from stablelab.data.sounds import Sounds, log_mel, normalized, pictured, read_wav


def tone(frequency: float, rate: int, seconds: float = 0.3) -> np.ndarray:
    return 0.5 * np.sin(2 * math.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(file: Path, wave: np.ndarray, rate: int = 8000, kind: Any = np.int16) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind is np.uint8:
        wavfile.write(file, rate, np.round(wave * 127 + 128).astype(np.uint8))
    elif kind is np.float32:
        wavfile.write(file, rate, wave.astype(np.float32))
    else:
        wavfile.write(file, rate, np.round(wave * np.iinfo(kind).max).astype(kind))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(10):
        write(tmp_path / "low" / f"{i}.wav", tone(200 + i, 8000))
        write(tmp_path / "high" / f"{i}.WAV", tone(1500 + i, 8000, 0.2))
    return tmp_path


@pytest.mark.slow
def test_a_folder_of_wav_files_becomes_a_task_that_is_learned_from(folder: Path) -> None:
    task = lab.sounds(folder)
    assert task.kind == "sound" and task.classes == ("high", "low") and task.report is not None
    assert "20 sounds of 0.2 to 0.3 s at 8000 Hz" in task.report.summary and task.report.remarks == ()
    inputs, targets = task.collate(torch.arange(4))
    assert isinstance(inputs, torch.Tensor) and inputs.shape == (4, 2400) and targets.shape == (4,)
    picture, name = task.example(0)
    assert picture.dtype == np.uint8 and picture.shape[0] == 64 and name in task.classes
    model = lab.wav2vec(task, weights="random")
    run = lab.fine_tune(model, task, steps=30, batch_size=8, learning_rate=3e-3, evaluate_every=30)
    run.start()
    run.wait()
    assert run.history[-1].evaluation.accuracy == 1.0


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float32])
def test_all_kinds_of_numbers_are_one_sound(tmp_path: Path, kind: Any) -> None:
    wave = tone(440, 8000)
    write(tmp_path / "a.wav", wave, kind=kind)
    rate, read = read_wav(tmp_path / "a.wav")
    assert rate == 8000 and read == pytest.approx(wave, abs=1e-2 if kind is np.uint8 else 1e-4)


def test_channels_become_their_mean(tmp_path: Path) -> None:
    both = np.stack([tone(440, 8000), np.zeros(2400)], axis=1)
    wavfile.write(tmp_path / "a.wav", 8000, both.astype(np.float32))
    assert read_wav(tmp_path / "a.wav")[1] == pytest.approx(both[:, 0] / 2, abs=1e-6)


def test_other_rates_are_resampled_and_said(folder: Path) -> None:
    write(folder / "low" / "cd.wav", tone(205, 44100), 44100)
    write(folder / "low" / "wide.wav", tone(205, 16000), 16000)
    task = lab.sounds(folder, seed=1)
    assert "2 of 22 sounds were resampled to 8000 Hz: 1 of 16000 Hz, 1 of 44100 Hz" in str(task.report)
    for split in (task.train, task.validation, task.test):
        store: Any = split.store
        for i in range(len(split)):
            wave = store.wave(i)
            peak = np.fft.rfftfreq(8000, 1 / 8000)[np.abs(np.fft.rfft(wave, 8000)).argmax()]
            assert 190 < peak < 220 or 1490 < peak < 1520


def test_long_and_silent_ones_are_said(folder: Path) -> None:
    write(folder / "low" / "long.wav", tone(200, 8000, 11))
    write(folder / "low" / "none.wav", np.zeros(800))
    said = str(lab.sounds(folder).report)
    assert (
        "1 sounds are longer than 10 s and were cut there" in said and "1 sounds are silent, such as low/none" in said
    )
    assert lab.sounds(folder, seconds=0.1).train.store.waves.shape[1] == 800


def test_what_cannot_be_read_is_counted_and_named(folder: Path) -> None:
    (folder / "low" / "a.wav").write_bytes(b"RIFF no sound at all")
    (folder / "low" / "b.wav").write_bytes(b"")
    with pytest.raises(ValueError) as caught:
        lab.sounds(folder)
    assert str(caught.value).startswith("2 of 22 sounds cannot be read, the first is low/")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda there: lab.sounds(there / "nowhere"), "there is no folder"),
        (lambda there: lab.sounds(there / "low"), "it has no sub-folders"),
        (lambda there: lab.sounds(there, rate=0), "rate is 0"),
        (lambda there: lab.sounds(there, seconds=-1), "seconds is -1"),
        (lambda there: lab.wav2vec(lab.sounds(there), name=str(there)), "no folder with a model"),
        (lambda there: lab.wav2vec(2, name="x", weights="random"), "for the bundled model"),
        (lambda there: lab.wav2vec(2, weights="none"), "unknown weights 'none'"),
        (lambda there: lab.fine_tune(lab.wav2vec(2), lab.sounds(there, rate=16000)), "make it with rate=8000"),
        (lambda there: lab.fine_tune(lab.wav2vec(10), lab.digits(40, 10, 10)), "takes sounds, but digits holds images"),
        (lambda there: lab.fine_tune(lab.wav2vec(2), lab.sounds(there), noise=0.1), "holds sounds"),
        (lambda there: lab.corrupted(lab.sounds(there), "hum", 1), "unknown corruption 'hum'"),
        (lambda there: lab.corrupted(lab.sounds(there), "noise", 6), "severity is 6"),
        (lambda there: lab.spoken_digits(train=5000), "5000"),
        (lambda there: lab.spoken_digits(train=0), "train is 0"),
    ],
)
def test_bad_input_is_one_line(folder: Path, call: Callable[[Path], Any], words: str) -> None:
    with pytest.raises((ValueError, OSError)) as caught:
        call(folder)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_sounds_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "song.mp3").write_bytes(b"1")
    with pytest.raises(FileNotFoundError, match=r"WAV files per class: there is no sound in 'a' \(1 \.mp3 skipped\)"):
        lab.sounds(tmp_path)


def test_inputs_are_those_of_transformers() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    store: Any = lab.spoken_digits().test.store
    theirs = Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=True, return_attention_mask=False)
    waves = [store.wave(i) for i in range(5)]
    wanted = theirs(waves, sampling_rate=8000, padding="max_length", max_length=store.waves.shape[1])["input_values"]
    # Theirs sees the padding as part of the sound where it hands no mask back; so each is compared before it.
    alone = [theirs(wave, sampling_rate=8000)["input_values"][0] for wave in waves]
    ours = store.take(torch.arange(5)).numpy()
    for mine, one, padded in zip(ours, alone, wanted, strict=True):
        assert mine[: len(one)] == pytest.approx(np.asarray(one), abs=1e-4) and not mine[len(one) :].any()
        assert len(padded) == len(mine)
    silent = normalized(torch.zeros(1, 50, dtype=torch.int16), torch.tensor([20]))
    assert not silent.any()


def test_log_mel_finds_the_band_of_a_tone_and_doubling_adds_a_constant() -> None:
    levels = log_mel(tone(1000, 8000), 8000)
    mel = 2595 * math.log10(1 + 1000 / 700) / (2595 * math.log10(1 + 4000 / 700)) * 41 - 1
    assert levels.shape == (math.floor((2400 - 200) / 80) + 1, 40) and abs(levels.mean(0).argmax() - mel) <= 1
    louder = log_mel(2 * tone(1000, 8000), 8000)
    assert (louder - levels).max() == pytest.approx(math.log(4), abs=1e-3)
    assert pictured(tone(1000, 8000), 8000).shape == (64, 2 * len(levels), 3)


@pytest.mark.parametrize("name", ["noise", "speed", "gain"])
@pytest.mark.slow
def test_corruptions_repeat_grow_with_severity_and_leave_the_sounds_alone(name: str) -> None:
    split = lab.spoken_digits().test
    store: Any = split.store
    before = store.waves.clone()
    worse: list[Any] = [lab.corrupted(split, name, s).store for s in (1, 3, 5)]
    again: Any = lab.corrupted(split, name, 3).store
    assert torch.equal(worse[1].waves, again.waves) and torch.equal(store.waves, before)
    apart = [float((normalized(w.waves, w.sizes) - normalized(before, store.sizes)).square().mean()) for w in worse]
    assert 0 < apart[0] < apart[-1]
    assert lab.robustness(lab.wav2vec(10), lab.spoken_digits(), [name], (1, 2)).errors.shape == (1, 2)


def test_noise_has_the_power_that_the_decibels_say() -> None:
    wave = torch.from_numpy(np.round(3000 * tone(300, 8000, 1.0)).astype(np.int16))[None]
    clean = Sounds(wave, torch.tensor([8000]), 8000)
    split = type(lab.spoken_digits().test)(clean, torch.tensor([0]), ("a", "b"))
    noise = (lab.corrupted(split, "noise", 4).store.waves - wave).double()
    assert 10 * math.log10(wave.double().square().mean() / noise.square().mean()) == pytest.approx(10, abs=0.3)


def test_a_gain_that_cuts_nothing_off_changes_nothing() -> None:
    quiet = torch.from_numpy(np.round(3000 * tone(300, 8000)).astype(np.int16))[None]
    sizes = torch.tensor([2400])
    torch.testing.assert_close(normalized(quiet, sizes), normalized(4 * quiet, sizes), rtol=0, atol=1e-3)
