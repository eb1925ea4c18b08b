"""Encoders to count the bytes of."""

from __future__ import annotations

from transformers import BertConfig, BertForSequenceClassification

HEADS = 12


def encoder(layers: int, dropout: float = 0.1, width: int = 384) -> BertForSequenceClassification:
    """An encoder of MiniLM's shape with few words."""
    config = BertConfig(
        vocab_size=100,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=4 * width,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return BertForSequenceClassification(config).train()
