from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import stablelab as lab
from stablelab.models.layers import layer_names, layers_of
from stablelab.models.wav2vec import FILE, bundled_weights, tiny_config


def test_the_bundled_model_has_the_kept_weights_and_a_new_head_by_seed() -> None:
    one, other, again = (lab.wav2vec(10, seed=seed) for seed in (0, 1, 0))
    kept = {n.removeprefix("wav2vec2."): t for n, t in bundled_weights().items() if n.startswith("wav2vec2.")}
    for name, tensor in one.wav2vec2.state_dict().items():
        assert torch.equal(tensor, kept[name]), name
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert "pre-trained (bundled), new 10-class head" in one.stablelab_source
    assert FILE.stat().st_size < 500_000


def test_random_weights_are_other_ones_and_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    random = lab.wav2vec(["a", "b"], weights="random")
    assert torch.equal(torch.get_rng_state(), state)
    kept = lab.wav2vec(["a", "b"])
    assert not torch.equal(random.wav2vec2.masked_spec_embed, kept.wav2vec2.masked_spec_embed)
    assert random.config.id2label == {0: "a", 1: "b"}


def test_its_layers_go_from_the_head_to_the_first_convolution() -> None:
    model = lab.wav2vec(10)
    assert len(layers_of(model)) == len(layer_names(model)) >= 4
    parts = {name.split(".")[0] for layer in layers_of(model) for name in layer}
    assert parts == {"classifier", "projector", "wav2vec2"}


@pytest.mark.slow
def test_a_run_repeats_bit_for_bit_and_a_branch_goes_on_from_it() -> None:
    task = lab.spoken_digits(train=20)
    losses = []
    for _ in range(2):
        run = lab.fine_tune(lab.wav2vec(task), task, steps=4, batch_size=4, learning_rate=1e-3, evaluate_every=0)
        run.start()
        run.wait()
        losses.append([step.loss for step in run.history])
    assert losses[0] == losses[1]
    back = lab.replay(run.log(), lab.wav2vec(task), task)
    back.start()
    back.wait()
    assert [step.loss for step in back.history] == losses[0]


def test_a_model_by_folder_is_read_with_its_rate(tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    config = tiny_config(num_labels=4)
    del config.sampling_rate
    theirs = Wav2Vec2ForSequenceClassification(config)
    theirs.save_pretrained(tmp_path)
    assert lab.wav2vec(4, name=str(tmp_path)).config.sampling_rate == 16_000
    Wav2Vec2FeatureExtractor(sampling_rate=22_050).save_pretrained(tmp_path)
    ours = lab.wav2vec(4, name=str(tmp_path))
    assert ours.config.sampling_rate == 22_050 and not ours.config.apply_spec_augment
    x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x).logits, theirs.eval()(x).logits)
    assert lab.wav2vec(7, name=str(tmp_path)).classifier.out_features == 7


def test_another_family_is_refused_in_one_line(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"is a bert, not a wav2vec2; lab\.wav2vec takes no other$"):
        lab.wav2vec(2, name=str(tmp_path))


def test_the_head_alone_trains_with_a_frozen_body() -> None:
    task = lab.spoken_digits(train=20)
    model: nn.Module = lab.wav2vec(task)
    before = {n: p.clone() for n, p in model.named_parameters()}
    run = lab.fine_tune(model, task, train="head", steps=2, batch_size=4, evaluate_every=0)
    run.start()
    run.wait()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(n.startswith(("classifier", "projector")) for n in moved)
