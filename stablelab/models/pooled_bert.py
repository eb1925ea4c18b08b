"""BERT as a classifier without a pooler: one linear layer on its [CLS] vector, or on the mean over the tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

READOUTS = ("cls", "mean")


class PooledBert(BertPreTrainedModel):
    """A BERT whose head reads the last block's outputs themselves; the pooler is left out.

    It is saved and loaded like any Hugging Face model, and its configuration keeps the readout:
    ``PooledBert.from_pretrained(folder, num_labels=2, pooling="mean")``.

    Args:
        config: of any BERT.
        pooling: ``"cls"`` for the output at the first token, or ``"mean"`` for the mean of the outputs over all tokens
            that are not padding; None for what ``config.pooling`` says, which is where it is kept.

    Raises:
        ValueError: in one line, for no such readout.

    Source:
        Reimers and Gurevych, "Sentence-BERT: Sentence embeddings using Siamese BERT-networks", 2019, Section 3: three
        ways to make a vector of a sentence, of which the mean is the default.
    """

    _keys_to_ignore_on_load_unexpected = (r"pooler",)

    def __init__(self, config: BertConfig, pooling: str | None = None) -> None:
        config.pooling = getattr(config, "pooling", None) if pooling is None else pooling
        if config.pooling not in READOUTS:
            raise ValueError(f"pooling is {config.pooling!r}; it must be one of {', '.join(READOUTS)}")
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **others: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, C) for token ids (B, T).

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T), 1 for real tokens and 0 for padding; None where there is no padding.
            labels: (B,) int64; with them the output has a ``loss`` too, the mean cross-entropy.
            others: handed on to the encoder, such as ``inputs_embeds`` in place of ``input_ids``.
        """
        outputs = self.bert(input_ids, attention_mask=attention_mask, **{**others, "return_dict": True})
        hidden = outputs.last_hidden_state  # (B, T, D)
        if self.config.pooling == "cls":
            vector = hidden[:, 0]  # (B, D)
        else:
            real = torch.ones(hidden.shape[:2]) if attention_mask is None else attention_mask
            real = real.to(hidden).unsqueeze(-1)  # (B, T, 1)
            vector = (hidden * real).sum(dim=1) / real.sum(dim=1)  # (B, D)
        logits = self.classifier(self.dropout(vector))  # (B, C)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
