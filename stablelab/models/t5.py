"""T5's encoder as a classifier: what it says about each token, averaged, and one linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.t5.modeling_t5 import T5PreTrainedModel


class MeanPooledT5(T5PreTrainedModel):
    """A classifier on the encoder of a T5; the decoder, which writes text, is left out.

    It is saved and loaded like any Hugging Face model: ``MeanPooledT5.from_pretrained("t5-small", num_labels=2)``.

    Args:
        config: of any T5 or mT5; ``num_labels`` is the number of classes.

    Source:
        Ni et al., "Sentence-T5: Scalable sentence encoders from pre-trained text-to-text models", 2022, Section 3: of
        the ways to make a vector of a sentence, the mean of the encoder's outputs does best.
    """

    base_model_prefix = "transformer"
    _keys_to_ignore_on_load_unexpected = (r"decoder", r"lm_head")

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.transformer = T5EncoderModel(config)
        self.classifier = nn.Linear(config.d_model, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.classifier:  # T5's own rule for what has no activation behind it
            init.normal_(module.weight, mean=0.0, std=self.config.d_model**-0.5)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **others: Any
    ) -> SequenceClassifierOutput:
        """Logits (B, C) for token ids (B, T).

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T), 1 for real tokens and 0 for padding; None where there is no padding.
            labels: (B,) int64; with them the output has a ``loss`` too, the mean cross-entropy.
            others: handed on to the encoder.
        """
        outputs = self.transformer(input_ids=input_ids, attention_mask=attention_mask, **others)
        hidden = outputs.last_hidden_state  # (B, T, D)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        real = real.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        logits = self.classifier((hidden * real).sum(1) / real.sum(1))  # (B, C)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
