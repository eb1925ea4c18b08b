from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import stablelab as lab
from stablelab.data import making_spoken_digits
from stablelab.data.spoken_digits import FILE, from_mu_law, spoken_clips, to_mu_law


def test_no_voice_is_in_two_splits_and_every_digit_is_equally_often_in_each() -> None:
    clips = spoken_clips()
    of = {split: set(clips.voices[clips.splits == split]) for split in ("train", "validation", "test")}
    assert [len(voices) for voices in of.values()] == [22, 4, 4] and len(set.union(*of.values())) == 30
    assert {split: voices == set(making_spoken_digits.VOICES[split]) for split, voices in of.items()}
    task = lab.spoken_digits()
    for split, n in ((task.train, 110), (task.validation, 20), (task.test, 20)):
        assert set(split.counts().values()) == {n}
    assert FILE.stat().st_size < 5_000_000 and FILE.parent.joinpath("README.md").exists()


def test_labels_are_drawn_by_seed_and_a_smaller_set_is_balanced() -> None:
    one, other, again = (lab.spoken_digits(train=50, seed=seed) for seed in (0, 1, 0))
    assert set(one.train.counts().values()) == {5} and one.fingerprint == again.fingerprint != other.fingerprint
    inputs, _ = one.collate(torch.arange(50))
    assert isinstance(inputs, torch.Tensor) and inputs.shape[0] == 50
    assert len(lab.spoken_digits(train=1100).train) == 1100


def test_mu_law_goes_there_and_back() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert (to_mu_law(from_mu_law(codes) / 32767) == codes).all()
    wave = np.linspace(-1, 1, 5001)
    back = from_mu_law(to_mu_law(wave)) / 32767
    assert np.abs(back - wave).max() < 0.025 and np.abs(back - wave)[np.abs(wave) < 0.01].max() < 5e-4


def test_without_the_synthesiser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr("sys.argv", ["making", "--out", str(tmp_path)])
    with pytest.raises(ImportError, match="espeak-ng is not here; run: pip install espeakng-loader"):
        making_spoken_digits.main()


@pytest.mark.slow
def test_the_command_makes_the_file_from_what_a_synthesiser_speaks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = []

    def speak(voice: str, word: str, speed: int, pitch: int) -> np.ndarray:
        said.append((voice, word, speed, pitch))
        silent = np.zeros(2000)
        return np.concatenate([silent, 9000 * np.sin(np.arange(40 * speed) * pitch / 99), silent]).astype(np.int16)

    monkeypatch.setattr(making_spoken_digits, "synthesiser", lambda: (speak, 22050))
    monkeypatch.setattr("sys.argv", ["making", "--out", str(tmp_path)])
    making_spoken_digits.main()
    with np.load(tmp_path / FILE.name) as made, np.load(FILE) as kept:
        for column in ("digits", "voices", "accents", "speeds", "pitches", "splits"):
            assert (made[column] == kept[column]).all() and made[column].dtype == kept[column].dtype
        assert made["sizes"].max() < 40 * 280 * 8000 / 22050 + 200  # the silence is cut off
    accent, _, voice = said[-1][0].partition("+")
    assert accent in making_spoken_digits.ACCENTS and voice == "Andrea" and len(said) == 1500
