"""What the head reads of a sentence: the pooler, the [CLS] token, or the mean over the tokens."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

import stablelab as lab
from stablelab import data, models
from stablelab.models.pooled_bert import PooledBert

IDS = torch.tensor([[101, 7592, 2088, 102, 0, 0], [101, 3185, 102, 0, 0, 0], [101, 2204, 2919, 2143, 999, 102]])
MASK = (IDS != 0).long()


@pytest.fixture
def folder(tmp_path: Path, small_bert: BertForSequenceClassification) -> str:
    small_bert.save_pretrained(tmp_path / "plain")
    return str(tmp_path / "plain")


@pytest.mark.slow
def test_the_head_reads_what_it_is_told_to(folder: str, small_bert: BertForSequenceClassification) -> None:
    model = small_bert.eval()
    hidden = model.bert(IDS, attention_mask=MASK).last_hidden_state
    mean = torch.stack([h[m.bool()].mean(dim=0) for h, m in zip(hidden, MASK, strict=True)])
    for pooling, vector in {"cls": hidden[:, 0], "mean": mean}.items():
        pooled = models.bert(2, name=folder, pooling=pooling).eval()
        assert type(pooled) is PooledBert and not any("pooler" in name for name, _ in pooled.named_parameters())
        labels = torch.tensor([0, 1, 1])
        output = pooled(IDS, attention_mask=MASK, labels=labels)
        torch.testing.assert_close(output.logits, pooled.classifier(vector), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, labels))
        assert torch.equal(pooled.classifier.weight, model.classifier.weight)  # its own head is kept
    whole = pooled(IDS[2:])  # without a mask every token counts
    torch.testing.assert_close(whole.logits, output.logits[2:], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_bundled_one_says_what_it_reads_and_its_new_head_is_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    said = "BERT MiniLM-L6 · pre-trained, mean-pooled (bundled), new 2-class head"
    plain, pooled = models.bert(2, seed=3), models.bert(2, seed=3, pooling="mean")
    assert capfd.readouterr().out.splitlines()[1] == said
    assert type(plain) is BertForSequenceClassification
    assert torch.equal(plain.classifier.weight, pooled.classifier.weight)
    for name, theta in pooled.bert.state_dict().items():
        assert torch.equal(theta, plain.bert.state_dict()[name])


def test_the_pooler_of_the_bundled_one_is_as_it_was_drawn() -> None:
    dense = models.bert(2).bert.pooler.dense
    assert not dense.bias.any()
    drawn = torch.linalg.svdvals(torch.randn(384, 384, generator=torch.Generator().manual_seed(0)) * dense.weight.std())
    torch.testing.assert_close(torch.linalg.svdvals(dense.weight)[:300], drawn[:300], rtol=0.03, atol=0.0)


def test_saved_and_loaded_it_keeps_its_readout(folder: str, tmp_path: Path) -> None:
    model = models.bert(2, name=folder, pooling="mean").eval()
    model.save_pretrained(tmp_path / "own")
    again = models.bert(2, name=str(tmp_path / "own"), pooling="mean").eval()
    assert torch.equal(again(IDS, attention_mask=MASK).logits, model(IDS, attention_mask=MASK).logits)
    assert again.stablelab_source == f"{tmp_path / 'own'} · pre-trained, mean-pooled, its own 2-class head"
    for other in ("pooler", "cls"):
        with pytest.raises(ValueError, match=r"was saved with pooling='mean', so its head reads nothing else") as error:
            models.bert(2, name=str(tmp_path / "own"), pooling=other)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    small = {"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 20}
    config = RobertaConfig(hidden_size=8, **small)
    RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    for name, pooling, message in (
        (None, "max", "pooling"),
        (str(tmp_path), "mean", r"pooling is 'mean', but .* is no BERT \(a roberta\); leave it out for its own way"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            models.bert(2, name=name, pooling=pooling)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.slow
def test_it_trains_in_every_way_there_is(pooling: str, folder: str, movies: data.Task, tried, checked_layers) -> None:
    model = models.bert(movies, name=folder, pooling=pooling)  # type: ignore[arg-type]
    assert checked_layers(model)[0] == ("classifier",)
    tried(model, movies)


@pytest.mark.slow
def test_many_heads_on_its_kept_features(movies: data.Task) -> None:
    model = partial(models.bert, pooling="mean")
    found = lab.sweep(model, movies, {"learning_rate": [1e-2, 3e-2]}, seeds=range(2), train="head", steps=4).run()
    assert len(found.outcomes) == 4
    made = model(movies).eval()
    cached = models.cached_features(movies, made).train.store.all()  # (N, 384)
    with torch.no_grad():
        whole = made(**movies.train.store.take(torch.arange(3))).logits
        torch.testing.assert_close(made.classifier(cached[:3]), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_saved_run_is_loaded_into_the_same_readout_alone(folder: str, movies: data.Task, tmp_path: Path) -> None:
    run = lab.fine_tune(models.bert(movies, name=folder, pooling="mean"), movies, steps=2, batch_size=4, device="cpu")
    run.start().wait()
    run.save(tmp_path / "run")
    model = models.bert(movies, name=folder, pooling="mean")
    again = lab.load(tmp_path / "run", model, movies, device="cpu")
    assert [step.loss for step in again.history] == [step.loss for step in run.history]
    assert torch.equal(model.classifier.weight, run.model.classifier.weight)
    with pytest.raises(ValueError, match=r"'bert\.pooler\.dense\.bias' is not in both"):
        lab.load(tmp_path / "run", models.bert(movies, name=folder), movies, device="cpu")


@pytest.mark.slow
def test_its_run_is_exported_without_the_workbook(folder: str, movies: data.Task, tmp_path: Path) -> None:
    import json
    import subprocess
    import sys

    run = lab.fine_tune(models.bert(movies, name=folder, pooling="mean"), movies, steps=4, batch_size=4, device="cpu")
    run.start().wait()
    script = Path(lab.export(run, tmp_path / "out"))
    assert "from pooled_bert import PooledBert" in script.read_text(encoding="utf-8")
    assert "stablelab" not in (tmp_path / "out" / "pooled_bert.py").read_text(encoding="utf-8")
    subprocess.run([sys.executable, script.name], cwd=script.parent, check=True, capture_output=True)
    losses = json.loads((tmp_path / "out" / "losses.json").read_text())
    assert losses == [step.loss for step in run.history]
