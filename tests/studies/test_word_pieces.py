"""The kept study of words in pieces, and what makes it anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stablelab.data import reviews, tokenizer_for
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import word_pieces


def test_pieces_and_what_was_read_right_have_one_entry_for_each_review() -> None:
    found = word_pieces.pieces()
    n = len(found["movies_words"])
    assert found["movies_right"].shape == (5, n) and found["movies_pieces"].shape == found["movies_rating"].shape == (
        n,
    )
    assert (found["movies_pieces"] >= found["movies_words"]).all()
    assert found["altered_right"].shape == (len(word_pieces.ARMS), 5, len(found["altered_more"]))
    assert found["chinese_pieces"].shape[1] == 3 and found["chinese_right"].shape[1] == len(found["chinese_pieces"])


def test_words_are_altered_in_the_same_places_whatever_is_done_to_them() -> None:
    text = "A wonderful little picture about nothing."
    typo, hidden = word_pieces.altered(text, "typo", 3), word_pieces.altered(text, "hidden", 3)
    assert hidden[0].count("[MASK]") == 2 and len(typo[0]) == len(text) and typo[0] != text
    kept = [word for word in hidden[0].split() if "[MASK]" not in word]
    assert all(word in typo[0].split() for word in kept) and typo[1] >= 0 and hidden[1] == 0
    assert word_pieces.altered("No is no.", "taken out", 0) == ("No is no.", 0)  # no word is long enough
    assert sorted(word_pieces.misspelt("banana", torch.Generator())) == sorted("banana")
    assert word_pieces.misspelt("aaaaa", torch.Generator()) == "aaaaa"


def test_pieces_are_counted_as_the_tokenizer_cuts() -> None:
    assert word_pieces.pieces_of("A wonderful film!") == (3, 3, 0)
    words, cut, unknown = word_pieces.pieces_of("antidisestablishmentarianism 喜欢")
    assert words == 3 and cut == len(tokenizer_for(None).tokenize("antidisestablishmentarianism 喜欢"))
    assert unknown == tokenizer_for(None).tokenize("喜欢").count("[UNK]")


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random numbers in place of BERT's features, but for the counts of pieces, which come again."""
    old = word_pieces.pieces()
    generator = torch.Generator().manual_seed(0)
    monkeypatch.setattr(word_pieces, "features", lambda texts, most: torch.randn(len(texts), 8, generator=generator))
    monkeypatch.setattr("sys.argv", ["word_pieces", "--out", str(tmp_path)])
    word_pieces.main()
    monkeypatch.setattr(word_pieces, "FILE", tmp_path / "word_pieces.npz")
    new = word_pieces.pieces()
    assert {n: each.shape for n, each in new.items()} == {n: each.shape for n, each in old.items()}
    for name in ("movies_words", "movies_pieces", "movies_rating", "altered_more", "chinese_pieces"):
        assert (new[name] == old[name]).all(), name


@pytest.mark.slow
def test_heads_on_real_features_read_as_the_kept_ones_did() -> None:
    task = reviews("movies", train=800, validation=400, test=600, max_tokens=48)
    texts = [[split.raw(i) for i in range(n)] for split, n in ((task.train, 800), (task.test, 100))]
    with one_thread():
        read = word_pieces._readers(word_pieces.features(texts[0], 48), task.train.targets)
        right = read(word_pieces.features(texts[1], 48), task.test.targets[:100])
    assert (right != word_pieces.pieces()["movies_right"][:, :100]).mean() < 0.03
