from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stablelab.data.texts import Sentences

WORDS = {"<pad>": 0, "<unk>": 1, "a": 2, "good": 3, "film": 4, "indeed": 5}


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
