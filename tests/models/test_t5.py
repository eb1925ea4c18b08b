from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from stablelab import models
from stablelab.models.t5 import MeanPooledT5

CONFIG = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 2}
IDS = torch.tensor([[5, 9, 7, 1, 0, 0], [8, 1, 0, 0, 0, 0], [4, 4, 6, 11, 20, 1]])  # (B, T), 0 is padding


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    T5ForConditionalGeneration(T5Config(**CONFIG, decoder_start_token_id=0)).save_pretrained(tmp_path)
    return tmp_path


def test_its_encoder_is_the_pre_trained_one_and_its_head_is_drawn_from_the_seed(folder: Path) -> None:
    pre_trained = T5ForConditionalGeneration.from_pretrained(folder)
    model, again, other = (models.bert(3, name=str(folder), seed=seed) for seed in (1, 1, 2))
    assert type(model) is MeanPooledT5
    expected = pre_trained.encoder.state_dict()
    assert all(torch.equal(expected[key], value) for key, value in model.transformer.encoder.state_dict().items())
    assert not any("decoder" in name for name, _ in model.named_parameters())
    assert torch.equal(model.classifier.weight, again.classifier.weight)
    assert not torch.equal(model.classifier.weight, other.classifier.weight)
    assert 0.15 < model.classifier.weight.std() < 0.35 and not model.classifier.bias.any()  # 1/√16


def test_logits_are_a_linear_map_of_the_mean_over_real_tokens(folder: Path) -> None:
    model = models.bert(2, name=str(folder)).eval()
    encoder = T5EncoderModel.from_pretrained(folder).eval()
    labels = torch.tensor([0, 1, 1])
    output = model(input_ids=IDS, attention_mask=(IDS != 0).long(), labels=labels)
    alone = [encoder(input_ids=row[row != 0].unsqueeze(0)).last_hidden_state[0].mean(0) for row in IDS]
    torch.testing.assert_close(output.logits, model.classifier(torch.stack(alone)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, labels))
    whole = model(IDS[2:])  # without a mask every token counts
    torch.testing.assert_close(whole.logits, output.logits[2:], rtol=1e-4, atol=1e-5)
    assert whole.loss is None


def test_saved_and_loaded_it_keeps_its_head(folder: Path, tmp_path: Path) -> None:
    model = models.bert(("a", "b"), name=str(folder)).eval()
    model.save_pretrained(tmp_path / "own")
    again = models.bert(("a", "b"), name=str(tmp_path / "own")).eval()
    assert again.stablelab_source.endswith("pre-trained encoder, mean-pooled, its own 2-class head")
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert models.bert(3, name=str(tmp_path / "own")).stablelab_source.endswith("new 3-class head")
