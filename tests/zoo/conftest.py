from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification

from stablelab import zoo


@pytest.fixture(scope="session")
def corpora() -> Path:
    return zoo.fetch_corpora()


@pytest.fixture(scope="session")
def digits() -> zoo.Task:
    return zoo.digits(train=60, validation=40, test=40, size=32)


@pytest.fixture(scope="session")
def movies(corpora: Path) -> zoo.Task:
    return zoo.reviews("movies", train=70, validation=24, test=24, max_tokens=24)


@pytest.fixture
def small_bert() -> BertForSequenceClassification:
    """Two narrow layers with BERT's vocabulary, and much dropout, so that its absence shows."""
    config = BertConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.4,
        num_labels=2,
    )
    return BertForSequenceClassification(config)
