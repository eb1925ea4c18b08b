"""The kept study of copies across splits and of words in pieces, and what makes it anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stablelab.data import tokenizer_for
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import leaks
from stablelab.studies.leaks import DRAWS, MODELS, SHARES


def test_every_arm_is_there_for_every_draw() -> None:
    runs = leaks.runs()
    counts = runs.groupby("what").size().to_dict()
    assert counts["planted"] == 5 * len(MODELS) * (1 + 2 * (len(SHARES) - 1))
    assert counts["tweets"] == len(DRAWS) * len(MODELS) * 2 and counts["natural"] == 5 * 2 * len(leaks.ROWS)
    assert leaks.FILE.stat().st_size < 60_000


def test_a_measured_accuracy_is_the_mix_of_what_was_seen_and_what_was_not() -> None:
    runs = leaks.runs()
    mixed = runs[(runs.share > 0) & (runs.share < 1)].dropna(subset=["seen", "new"])
    assert len(mixed) > 50
    assert np.allclose(mixed.share * mixed.seen + (1 - mixed.share) * mixed.new, mixed.accuracy, atol=1e-3)
    grouped = runs[(runs.what == "natural") & (runs.arm == "grouped")]
    assert (grouped.share == 0).all()


def test_pieces_and_what_was_read_right_have_one_entry_for_each_review() -> None:
    found = leaks.pieces()
    n = len(found["movies_words"])
    assert found["movies_right"].shape == (5, n) and found["movies_pieces"].shape == found["movies_rating"].shape == (
        n,
    )
    assert (found["movies_pieces"] >= found["movies_words"]).all()
    assert found["altered_right"].shape == (len(leaks.ARMS), 5, len(found["altered_more"]))
    assert found["chinese_pieces"].shape[1] == 3 and found["chinese_right"].shape[1] == len(found["chinese_pieces"])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers in place of BERT's features, and few reviews."""
    generator = torch.Generator().manual_seed(0)
    monkeypatch.setattr(leaks, "features", lambda texts, most: torch.randn(len(texts), 400, generator=generator))
    monkeypatch.setattr(leaks, "PARTS", {"test": 40, "fresh": 40, "validation": 40, "base": 80, "more": 40})
    monkeypatch.setattr(leaks, "chinese_pool", leaks.chinese_pool.__wrapped__)
    monkeypatch.setattr(leaks, "MODELS", ("nearest",))


@pytest.mark.usefixtures("small")
def test_a_nearest_neighbour_knows_all_that_it_has_seen_and_nothing_else() -> None:
    texts, y, x, bag = leaks.chinese_pool()
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(1))
    train, asked, validation = order[:120], order[100:160], order[160:200]
    right = leaks.answers_of("nearest", x, y, train, validation, asked, 0) == y[asked]
    assert right[:20].all() and 0.2 < right[20:].double().mean() < 0.8
    with one_thread():  # the other two learn something from what there is
        for model, inputs in (("BERT head", x), ("bag", bag)):
            again = leaks.answers_of(model, inputs, y, train, validation, asked, 0) == y[asked]
            assert again[:20].double().mean() > 0.8


def test_words_are_altered_in_the_same_places_whatever_is_done_to_them() -> None:
    text = "A wonderful little picture about nothing."
    typo, hidden = leaks.altered(text, "typo", 3), leaks.altered(text, "hidden", 3)
    assert hidden[0].count("[MASK]") == 2 and len(typo[0]) == len(text) and typo[0] != text
    kept = [word for word in hidden[0].split() if "[MASK]" not in word]
    assert all(word in typo[0].split() for word in kept) and typo[1] >= 0 and hidden[1] == 0
    assert leaks.altered("No is no.", "taken out", 0) == ("No is no.", 0)  # no word is long enough
    assert sorted(leaks.misspelt("banana", torch.Generator())) == sorted("banana")
    assert leaks.misspelt("aaaaa", torch.Generator()) == "aaaaa"


def test_pieces_are_counted_as_the_tokenizer_cuts() -> None:
    assert leaks.pieces_of("A wonderful film!") == (3, 3, 0)
    words, cut, unknown = leaks.pieces_of("antidisestablishmentarianism 喜欢")
    assert words == 3 and cut == len(tokenizer_for(None).tokenize("antidisestablishmentarianism 喜欢"))
    assert unknown == tokenizer_for(None).tokenize("喜欢").count("[UNK]")


@pytest.mark.slow
def test_a_piece_of_the_study_comes_again() -> None:
    runs = leaks.runs()
    kept = runs[(runs.what == "natural") & (runs.draw == 1)]
    with one_thread():
        for row in leaks.natural_rows(1):
            mine = kept[(kept.arm == row["arm"]) & (kept.rows == row["rows"])].iloc[0]
            assert row["accuracy"] == pytest.approx(mine.accuracy, abs=0.01)
            assert row["share"] == pytest.approx(mine.share, abs=1e-6)
