from __future__ import annotations

import copy
import re
from pathlib import Path

import pandas
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stablelab import data
from stablelab.data.texts import Sentences
from stablelab.data.tokenizers import token_ids

ROWS = [{"sentence": f'what a "fine", sunny day {i}', "mood": "good"} for i in range(12)]
ROWS += [{"sentence": f"NA rain again {i}", "mood": "bad"} for i in range(8)]
FRAME = pandas.DataFrame(ROWS)
WORDS = {"<pad>": 0, "<unk>": 1, "a": 2, "good": 3, "film": 4, "indeed": 5}


def write(frame: pandas.DataFrame, file: Path) -> Path:
    if file.suffix == ".parquet":
        frame.to_parquet(file)
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file


def task_of(frame: pandas.DataFrame, tmp_path: Path, kind: str = "csv", **arguments: object) -> data.Task:
    file = write(frame, tmp_path / f"weather.{kind}")
    return data.texts(file, **{"text": "sentence", "label": "mood", "validation": 4, "test": 4, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_task(kind: str, tmp_path: Path) -> None:
    task, csv = task_of(FRAME, tmp_path, kind), task_of(FRAME, tmp_path)
    assert repr(task) == "weather: 12 train · 4 validation · 4 test, classes bad, good"
    assert task.fingerprint == csv.fingerprint
    for i in range(12):
        sentence, mood = task.example(i)
        assert {"sentence": sentence, "mood": mood} in ROWS
    inputs, targets = task.batches(0, 4)(0)
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (4, inputs["input_ids"].shape[1])
    assert targets.tolist().count(0) < 5


def test_numbers_as_labels_are_ordered_by_value(tmp_path: Path) -> None:
    frame = FRAME.assign(mood=[10, 9, 2, 1] * 5)
    assert task_of(frame, tmp_path, "csv").classes == ("1", "2", "9", "10")
    assert task_of(frame.assign(mood=frame.mood.astype(float)), tmp_path, "parquet").classes == ("1", "2", "9", "10")


def test_unknown_columns_are_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weather\.csv has no column 'txt'; it has sentence, mood$"):
        task_of(FRAME, tmp_path, text="txt")
    with pytest.raises(ValueError, match=r"has no column 'label'"):
        task_of(FRAME, tmp_path, label="label")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_empty_texts_are_counted_and_the_first_rows_named(kind: str, tmp_path: Path) -> None:
    frame = FRAME.copy()
    frame.loc[[2, 5], "sentence"] = "  "
    frame.loc[[6, 7, 9, 11], "sentence"] = None
    with pytest.raises(ValueError, match=r"'sentence' of .* is empty in 6 of 20 rows: row 3, 6, 7, 8, 10, …$"):
        task_of(frame, tmp_path, kind)


def test_missing_labels_one_class_and_labels_that_are_none(tmp_path: Path) -> None:
    frame = FRAME.copy()
    frame.loc[19, "mood"] = None
    with pytest.raises(ValueError, match=r"'mood' of .* is empty in 1 of 20 rows: row 20$"):
        task_of(frame, tmp_path)
    with pytest.raises(ValueError, match=r"all 12 examples are of one class, 'good'"):
        task_of(FRAME[:12], tmp_path, validation=2, test=2)
    with pytest.raises(ValueError, match=r"column 'name' has 20 different values in 20 rows; is it the label.$"):
        task_of(FRAME.assign(name=FRAME.sentence), tmp_path, label="name")


def test_files_that_are_missing_empty_damaged_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.csv$"):
        data.texts(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match=r"notes\.docx ends in '\.docx'; texts are read from \.csv, \.tsv"):
        data.texts(tmp_path / "notes.docx")
    (tmp_path / "empty.csv").write_text("text,label\n")
    with pytest.raises(ValueError, match=r"empty\.csv has no rows$"):
        data.texts(tmp_path / "empty.csv")
    for name in ("blank.csv", "broken.jsonl", "broken.parquet", "latin.csv"):
        (tmp_path / name).write_bytes(
            {"blank.csv": b"", "latin.csv": "text,label\nna\xefve,1\n".encode("latin-1")}.get(name, b'{"a')
        )
        with pytest.raises(ValueError, match=rf"^{name} cannot be read as {name.split('.')[1].upper()} in UTF-8: .+$"):
            data.texts(tmp_path / name)


@pytest.mark.parametrize("max_tokens", [3, 0, 2.5, True])
def test_sentences_of_no_length(max_tokens: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"max_tokens is .*; it must be a whole number, 4 or more"):
        task_of(FRAME, tmp_path, max_tokens=max_tokens)


def sentences(side: str) -> Sentences:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side=side, pad_token="<pad>", unk_token="<unk>"
    )  # fmt: skip
    return Sentences(("a good film indeed", "good", "a film indeed"), fast, max_tokens=4)


def test_a_batch_is_padded_to_its_longest_sentence_on_the_side_that_the_tokenizer_says() -> None:
    right = sentences("right").take(torch.tensor([1, 2]))
    assert right["input_ids"].tolist() == [[3, 0, 0], [2, 4, 5]]
    assert right["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    left = sentences("left").take(torch.tensor([1, 2]))
    assert left["input_ids"].tolist() == [[0, 0, 3], [2, 4, 5]]
    assert left["attention_mask"].tolist() == [[0, 0, 1], [1, 1, 1]]
    assert left["input_ids"].dtype == left["attention_mask"].dtype == torch.int64


def test_the_side_of_the_padding_is_part_of_what_a_model_sees() -> None:
    assert sentences("left").digest() != sentences("right").digest()
    assert sentences("left").digest() == sentences("left").digest()


def test_other_sentences_are_tokenized_and_cut_alike() -> None:
    store = sentences("left").like(["good good good good good", "film"])
    assert store.take(torch.tensor([0, 1]))["input_ids"].tolist() == [[3, 3, 3, 3], [0, 0, 0, 4]]


@pytest.mark.parametrize("max_tokens", [4, 16, 64])
def test_of_long_texts_the_beginnings_are_read_and_the_tokens_are_the_same(max_tokens: int) -> None:
    words = re.split(" ", "a film so unbelievably long, naïve & (slow) that 日本語 nobody re-watched…\nNever! unending")
    texts = [" ".join(words[(i * k) % len(words)] for k in range(60 * i)) + " end" for i in range(12)]
    texts += ["w" * 3000, "日本" * 900, "x " * 2000, " " * 900 + "after blanks", "ü" * 400 + " n" * 9 + " z" * 300]
    tokenizer = data.tokenizer_for()
    expected = tokenizer(texts, truncation=True, max_length=max_tokens, padding=False)["input_ids"]
    assert token_ids(texts, tokenizer, max_tokens) == expected
    fast = sentences("left").tokenizer
    assert token_ids(texts, fast, max_tokens) == fast(texts, truncation=True, max_length=max_tokens)["input_ids"]
    from_the_end = copy.deepcopy(fast)
    from_the_end.truncation_side = "left"
    expected = from_the_end(texts, truncation=True, max_length=max_tokens)["input_ids"]
    assert token_ids(texts, from_the_end, max_tokens) == expected
