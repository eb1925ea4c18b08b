"""The workbook's own CLIP and transformers' behind the same calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPImageProcessorPil as Processor

import stablelab as lab
from stablelab.formulas import clip_loss
from stablelab.models.clip import Clip, HuggingFaceClip, ZeroShot

CAPTIONS = ("a red heart", "a dog", "a cat with a long tail")


@pytest.fixture(scope="module")
def tiny() -> Clip:
    return lab.clip("tiny")


@pytest.fixture(scope="module")
def own() -> Clip:
    return lab.clip(weights="random")


def _pixels(n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("which", ["tiny", "own"])
@pytest.mark.slow
def test_both_give_vectors_of_length_one_and_similarities(which: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(which).eval()
    with torch.no_grad():
        u, v = model.picture_vectors(_pixels()), model.caption_vectors(CAPTIONS)
        S = model(_pixels(), CAPTIONS)
        normalized = lab.emoji().test.store.__class__(_pixels()).take(torch.arange(3))
        torch.testing.assert_close(model.picture_vectors(normalized), u, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(v.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(S, model.logit_scale.exp() * u @ v.T, rtol=1e-5, atol=1e-5)
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-3)


def test_similarities_are_transformers_own(tiny: Any) -> None:
    given = tiny.tokenizer(list(CAPTIONS), padding=True, return_tensors="pt")
    pixels = _pixels()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    tiny.eval()
    with torch.no_grad():
        theirs = tiny.model(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], pixel_values=x, return_loss=True
        )
        torch.testing.assert_close(tiny(pixels, CAPTIONS), theirs.logits_per_image, rtol=1e-4, atol=1e-4)
        u, v = tiny.picture_vectors(pixels), tiny.caption_vectors(CAPTIONS)
        torch.testing.assert_close(clip_loss(u, v, tiny.logit_scale), theirs.loss, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_saved_clip_model_is_the_same_again_and_takes_its_own_mean(tiny: Any, tmp_path: Path) -> None:
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    Processor(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]).save_pretrained(tmp_path)
    again = lab.clip(str(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(_pixels(), CAPTIONS), tiny.eval()(_pixels(), CAPTIONS))
    Processor(image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]).save_pretrained(tmp_path)
    other = lab.clip(str(tmp_path))
    assert isinstance(other, HuggingFaceClip)
    x = lab.emoji().test.store.__class__(_pixels()).take(torch.arange(3))
    mine = x * other.get_buffer("factor") + other.get_buffer("shift")
    torch.testing.assert_close(mine, _pixels() / 255 * 2 - 1, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_loop_of_ones_own_lowers_the_loss_under_the_dashboard() -> None:
    model, pairs = lab.clip("tiny"), lab.emoji()
    pixels, captions = pairs.train.store.pixels[:24], pairs.train.classes[:24]

    def train(live: Any) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=live.learning_rate)
        for _ in range(24):
            loss = clip_loss(model.picture_vectors(pixels), model.caption_vectors(captions), model.logit_scale)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            live.record(loss=loss.item())

    run = lab.watch(train, steps=24, learning_rate=3e-3, start=True)
    run.wait()
    assert run.history[23].loss < run.history[0].loss - 0.2


@pytest.mark.slow
def test_in_the_workbooks_own_only_the_layer_and_the_scale_train(own: Clip) -> None:
    learns = {name for name, p in own.named_parameters() if p.requires_grad}
    assert learns == {"logit_scale", "projection.weight", "projection.bias"}
    assert not lab.clip(weights="random").get_submodule("encoder").training  # as it comes
    own.train()
    assert not own.get_submodule("encoder").training and own.training


def test_a_zero_shot_classifier_is_judged_like_any_other(tiny: Clip) -> None:
    task = lab.emoji_groups()
    logits, targets = lab.predict(ZeroShot(tiny.eval(), task.classes), task.validation)
    assert logits.shape == (329, 8) and torch.equal(targets, task.validation.targets)
    with torch.no_grad():
        torch.testing.assert_close(logits, tiny(task.validation.store.pixels, task.classes), rtol=1e-4, atol=1e-4)


def test_bad_input_is_one_line(tiny: Clip, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is no folder with a model, not in the cache"):
        lab.clip(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"is no CLIP \(a bert\)"):
        lab.clip(str(lab.data.cache.bundled_folder()))
    with pytest.raises(ValueError, match=r"pictures are \(N, 3, H, W\), not \(3, 32, 32\)"):
        tiny.picture_vectors(_pixels()[0])
    with pytest.raises(ValueError, match="weights"):
        lab.clip(weights="none")
