"""Recipes of the doctor's benchmark in miniature: pictures with SGD, sentences with AdamW; a run takes a moment."""

from __future__ import annotations

from functools import cache

import torch
from transformers import BertTokenizer

from stablelab.doctor.benchmark.recipe import Recipe, linear_to_0, sgd

from .tiny_setups import WORDS, convolutional, pictures, sentences, tiny_bert

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


@cache
def picture_recipe() -> Recipe:
    return Recipe(
        name="digits",
        make_model=convolutional,
        train=pictures(96, 0),
        validation=pictures(48, 1),
        test=pictures(60, 2),
        classes=3,
        learning_rate=0.1,
        steps=20,
        batch_size=16,
        make_optimizer=sgd,
        schedule=linear_to_0,
    )


@cache
def text_recipe() -> Recipe:
    parts = [sentences(n, seed) for n, seed in ((96, 0), (48, 1), (60, 2))]
    for part in parts:
        ids, mask = part.inputs["input_ids"], part.inputs["attention_mask"]
        ids[torch.arange(len(ids)), mask.sum(1) - 1] = SPECIAL.index("[SEP]")
    words = [*SPECIAL, *(f"word{i}" for i in range(WORDS - len(SPECIAL)))]
    return Recipe(
        name="movies",
        make_model=tiny_bert,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=2,
        learning_rate=3e-3,
        steps=20,
        batch_size=16,
        weight_decay=0.01,
        warmup=4,
        schedule=linear_to_0,
        max_norm=1.0,
        tokenizer=BertTokenizer(vocab={word: i for i, word in enumerate(words)}),
    )
