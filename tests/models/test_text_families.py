"""Families of models for texts with small random configurations: loaded, taken apart, frozen, trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

import stablelab as lab
from stablelab import data
from stablelab.models import layer_names

Check = Callable[[nn.Module], tuple[tuple[str, ...], ...]]


@dataclass
class Family:
    """A small model as its makers save it, how its tokenizer puts sentences together, and what is to be found in it."""

    kind: str
    config: dict[str, Any]
    template: str = "<s> $A </s>"
    padding: str = "right"
    head: str = "classifier"
    refuses: str = ""
    source: str = "pre-trained, new 2-class head"


SIZES = {"vocab_size": 30, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 2}
T5 = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 2, "pad_token_id": 0}
T5 |= {"decoder_start_token_id": 0, "eos_token_id": 3}
POOLED = {"template": "$A </s>", "source": "pre-trained encoder, mean-pooled, new 2-class head"}
FAMILIES = {
    "bert": Family("BertForMaskedLM", SIZES | {"pad_token_id": 0}),
    "roberta": Family(
        "RobertaForMaskedLM", SIZES | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    ),
    "distilbert": Family(
        "DistilBertForMaskedLM",
        {"vocab_size": 30, "dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "pad_token_id": 0},
        head="pre_classifier",
        refuses="has pre_classifier and classifier as its head, so features cannot be kept",
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 3, "eos_token_id": 3},
        template="$A",
        head="score",
        refuses="what 'score' of .* puts out is not its logits yet",
    ),
    "xlnet": Family(
        "XLNetLMHeadModel",
        {"vocab_size": 30, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "pad_token_id": 0},
        template="$A <s> </s>",
        padding="left",
        head="sequence_summary",
        refuses="has sequence_summary and logits_proj as its head, so features cannot be kept",
    ),
    "t5": Family("T5ForConditionalGeneration", T5, **POOLED),
    "t5 encoder": Family("T5EncoderModel", T5, **POOLED),
    "mt5": Family("MT5ForConditionalGeneration", T5, **POOLED),
}  # fmt: skip
WORDS = ("the", "film", "was", "really", "good", "great", "fine", "bad", "dull", "slow", "and", "so", "it", "is")


def save_model(family: Family, folder: Path) -> None:
    kind = getattr(transformers, family.kind)
    torch.manual_seed(0)
    model = kind(kind.config_class(**family.config))
    for parameter in model.parameters():
        if parameter.ndim > 1:  # as drawn, so narrow a model would hardly tell one sentence from another
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)


def save_tokenizer(family: Family, folder: Path) -> None:
    tokens = {token: i for i, token in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(family.template, None, [("<s>", 2), ("</s>", 3)])
    special = {"unk_token": "<unk>", "eos_token": "</s>"}
    if family.template != "$A":  # GPT-2 has no token for padding
        special["pad_token"] = "<pad>"
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side=family.padding, **special)
    fast.save_pretrained(folder)


def text_task(folder: Path) -> data.Task:
    """60 sentences of many lengths; those of praise are the one class, those of blame the other."""
    rows = ["text,label"]
    for i in range(60):
        verdict = ("good", "great", "fine")[i // 2 % 3] if i % 2 else ("bad", "dull", "slow")[i // 2 % 3]
        rows.append(f"the film was {'really ' * (i % 7)}{verdict} {'and so it is' if i % 3 else ''},{i % 2}")
    (folder / "films.csv").write_text("\n".join(rows), encoding="utf-8")
    return data.texts(folder / "films.csv", tokenizer=str(folder), validation=10, test=10)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_families_for_texts(
    name: str, tmp_path: Path, checked_layers: Check, tried: Callable, capfd: pytest.CaptureFixture[str]
) -> None:
    family = FAMILIES[name]
    save_model(family, tmp_path)
    save_tokenizer(family, tmp_path)
    capfd.readouterr()
    task = text_task(tmp_path)
    assert capfd.readouterr().err == ""
    model = lab.bert(task, name=str(tmp_path))
    said = capfd.readouterr()
    assert (said.out, said.err) == (f"{tmp_path} · {family.source}\n", "")
    assert checked_layers(model)[0][0] == family.head
    assert layer_names(model) == ("head", "block 2", "block 1", "embeddings")
    check_padding(model, task)
    tried(model, task, family.refuses)
    assert capfd.readouterr().err == ""


@torch.no_grad()
def check_padding(model: nn.Module, task: data.Task) -> None:
    """What the model says of a sentence does not depend on the sentences that share its batch."""
    model.eval()
    lengths = task.train.store.lengths
    assert lengths is not None and lengths.unique().numel() > 5
    together = model(**task.collate(torch.arange(16))[0]).logits
    alone = torch.cat([model(**task.collate(torch.tensor([i]))[0]).logits for i in range(16)])
    # Next to what sets sentences apart, it is nothing.
    assert (together - alone).abs().max() < 1e-3 * together.std(0).min()
