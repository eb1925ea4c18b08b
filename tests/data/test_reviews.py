from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from stablelab import data
from stablelab.data import negation_pairs
from stablelab.data.reviews import NEGATION_PAIRS, read_corpus


@pytest.mark.parametrize(("corpus", "count"), [
    ("movies", 10_603), ("tweets", 4_200), ("products", 3_697), ("editorials", 5_119),
])  # fmt: skip
def test_the_corpora_are_whole(corpora: Path, corpus: str, count: int) -> None:
    sentences, ratings = read_corpus(corpus)
    assert len(sentences) == len(set(sentences)) == len(ratings) == count
    assert ratings.abs().max() <= 4 and all(sentence.strip() for sentence in sentences)


def test_the_entities_of_tweets_are_read(corpora: Path) -> None:
    sentences, _ = read_corpus("tweets")
    assert sum("&amp;" in sentence for sentence in sentences) == 0
    assert sum("&" in sentence for sentence in sentences) > 50


def test_movies_are_balanced_and_said_in_one_line(movies: data.Task) -> None:
    assert repr(movies) == "movies: 70 train · 24 validation · 24 test, classes negative, positive"
    assert movies.kind == "text"
    assert movies.train.counts() == {"negative": 35, "positive": 35}


def test_the_neutral_band_is_left_out_and_ratings_become_labels(corpora: Path) -> None:
    rating = dict(zip(*read_corpus("tweets"), strict=True))
    task = data.reviews("tweets", neutral=(-0.5, 2.0), train=40, validation=20, test=20)
    for split in (task.train, task.validation, task.test):
        for sentence, label in map(split.example, range(len(split))):
            assert rating[sentence] <= -0.5 if label == "negative" else rating[sentence] >= 2.0


def test_one_number_is_a_band_around_zero(corpora: Path) -> None:
    sizes = {"train": 20, "validation": 10, "test": 10}
    same = [data.reviews("tweets", neutral=band, **sizes).fingerprint for band in (1.5, (-1.5, 1.5), (-1.0, 1.0))]
    assert same[0] == same[1] != same[2]


def test_the_usual_band_leaves_clear_opinions(corpora: Path) -> None:
    sizes = {"train": 20, "validation": 10, "test": 10}
    for corpus, band in (("movies", 2.0), ("tweets", 1.0)):
        assert data.reviews(corpus, **sizes).fingerprint == data.reviews(corpus, band, **sizes).fingerprint


def test_default_sizes_shrink_with_the_corpus(corpora: Path) -> None:
    task = data.reviews("editorials", neutral=2.0)  # 50 positive ones
    assert [len(split) for split in (task.train, task.validation, task.test)] == [48, 24, 24]


def test_tokens_are_padded_to_the_longest_of_the_batch_and_cut(movies: data.Task) -> None:
    inputs, _ = movies.collate(torch.arange(20))
    assert inputs["input_ids"].dtype == inputs["attention_mask"].dtype == torch.int64
    lengths = inputs["attention_mask"].sum(1)
    assert inputs["input_ids"].shape == (20, int(lengths.max())) and lengths.max() <= 24
    tokenizer = data.tokenizer_for()
    for row, mask, i in zip(inputs["input_ids"], inputs["attention_mask"], range(20), strict=True):
        expected = tokenizer(movies.train.raw(i), truncation=True, max_length=24)["input_ids"]
        assert row[mask.bool()].tolist() == expected
        assert (row[~mask.bool()] == tokenizer.pad_token_id).all()


def test_same_arguments_same_fingerprint_and_other_lengths_another(corpora: Path, movies: data.Task) -> None:
    sizes = {"train": 70, "validation": 24, "test": 24}
    assert data.reviews("movies", max_tokens=24, **sizes).fingerprint == movies.fingerprint
    assert data.reviews("movies", max_tokens=12, **sizes).fingerprint != movies.fingerprint


def test_an_unknown_corpus_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^unknown corpus 'movie': did you mean movies"):
        data.reviews("movie")
    with pytest.raises(ValueError, match=r"there are movies, tweets, products, editorials$"):
        data.reviews("xyz")


@pytest.mark.parametrize("band", [-1.0, (1.0, -1.0), (-5, 1), float("nan"), "wide", (1, 2, 3), True])
def test_a_band_that_is_none(band: object) -> None:
    with pytest.raises(ValueError, match=r"neutral is .*; it must be"):
        data.reviews(neutral=band)  # type: ignore[arg-type]


def test_more_sentences_than_there_are(corpora: Path) -> None:
    with pytest.raises(ValueError, match=r"more examples of class .* are asked for, but only"):
        data.reviews("editorials", train=600)
    with pytest.raises(ValueError, match=r"no sentence of movies is rated outside the neutral band"):
        data.reviews("movies", neutral=4.0)


def test_a_damaged_file_in_the_cache(corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(corpora, tmp_path / "reviews")
    file = tmp_path / "reviews" / "tweets_GroundTruth.txt"
    file.write_bytes(file.read_bytes()[:-100])
    monkeypatch.setenv("STABLELAB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"tweets_GroundTruth\.txt is damaged .*; delete it and run again"):
        data.reviews("tweets")


def test_every_pair_differs_by_a_negation_and_the_labels_are_balanced(movies: data.Task) -> None:
    pairs = negation_pairs(movies)
    assert len(pairs) == 48 == 2 * len(NEGATION_PAIRS)
    assert bool((pairs.targets[::2] + pairs.targets[1::2] == 1).all())
    assert pairs.targets[::2].sum() == pairs.targets[1::2].sum() == 12
    assert pairs.example(0) == ("This is a film you will remember.", "positive")
    assert pairs.example(1) == ("This is a film you will not remember.", "negative")
    texts = [pairs.raw(i) for i in range(48)]
    assert len(set(texts)) == 48
    marks = {"not", "no", "never", "nobody", "hardly", "far", "cannot", "without"}
    for negated in texts[1::2]:
        assert marks & set(negated.lower().rstrip(".").split()), negated
    assert not any(marks & set(text.lower().rstrip(".").split()) for text in texts[::2])


def test_pairs_need_a_task_of_sentences_with_their_labels(digits: data.Task) -> None:
    with pytest.raises(ValueError, match=r"^the classes are \('0', .*; the pairs are labelled negative and positive"):
        negation_pairs(digits)
