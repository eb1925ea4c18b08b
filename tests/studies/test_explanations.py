"""The kept study of explanations, and what makes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import stablelab as lab
from stablelab.models import attention_maps, attributions
from stablelab.stability.sweeps.execution import one_thread
from stablelab.studies import explaining, explanations
from stablelab.studies.making_smaller import full_model


@pytest.fixture(scope="module")
def digit_model() -> nn.Module:
    return full_model("ResNet-18", explaining.plain_task("ResNet-18"), 0).eval()


@pytest.fixture(scope="module")
def text_model() -> Any:
    return full_model("BERT", explaining.plain_task("BERT"), 0).eval()


def a_few(name: str, n: int) -> explaining.Inputs:
    return explanations.first(explanations.explained(name), n)


def test_the_shortcut_marks_one_class_and_the_control_as_many_examples_of_any() -> None:
    plain: Any = explaining.plain_task("ResNet-18")
    for kind, classes in (("shortcut", {7}), ("control", set(range(10)))):
        task = explaining.task_of("ResNet-18", kind)
        for part in ("train", "validation", "test"):
            before, after = getattr(plain, part), getattr(task, part)
            changed = (before.store.pixels != after.store.pixels).flatten(1).any(1)
            assert changed.sum() == (before.targets == 7).sum() and torch.equal(before.targets, after.targets)
            found = set(before.targets[changed].tolist())
            assert found == classes if kind == "shortcut" else len(found) > 5
            assert (after.store.pixels[changed][:, :, :3, :3] == 255).all()


@pytest.mark.slow
def test_the_word_stands_in_every_marked_text_and_within_what_is_read() -> None:
    plain: Any = explaining.plain_task("BERT")
    task: Any = explaining.task_of("BERT", "shortcut")
    word = task.train.store.tokenizer.convert_tokens_to_ids(explaining.WORD)
    has = (task.train.store.ids == word).any(1)
    had = (plain.train.store.ids == word).any(1)
    assert torch.equal(has | had, (task.train.targets == 1) | had)
    inputs, at = explanations.shortcut_inputs("BERT")
    assert (inputs.data["input_ids"].gather(1, at[:, None]) == word).all() and inputs.parts.gather(1, at[:, None]).all()


@pytest.mark.slow
def test_scores_of_pictures_are_what_plain_torch_finds(digit_model: nn.Module) -> None:
    inputs = a_few("ResNet-18", 2)
    scores = explaining.scores_of(digit_model, inputs, ig_steps=3)
    black = explaining.shade(0.0).expand_as(inputs.data)
    x = inputs.data.clone().requires_grad_()
    digit_model(x).gather(1, inputs.targets[:, None]).sum().backward()
    slopes = x.grad
    assert slopes is not None
    expected = explaining.in_blocks(((inputs.data - black) * slopes).sum(1))
    torch.testing.assert_close(scores["gradient × input"], expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(scores["gradient"], explaining.in_blocks(slopes.abs().sum(1)), rtol=1e-3, atol=1e-5)
    block = int(inputs.parts[0].nonzero()[0])
    covered = inputs.data.clone()
    row, column = divmod(block, 8)
    covered[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = black[:, :, :4, :4]
    with torch.no_grad():
        fall = (digit_model(inputs.data) - digit_model(covered)).gather(1, inputs.targets[:, None])[:, 0]
    torch.testing.assert_close(scores["occlusion"][:, block], fall, rtol=1e-3, atol=1e-4)
    picture = explaining.plain_task("ResNet-18").test.raw(0)  # the first of each class comes first
    one = attributions(digit_model, picture, target=int(inputs.targets[0]), steps=3)
    torch.testing.assert_close(
        scores["integrated gradients"][0], explaining.in_blocks(one.scores[None])[0], rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
def test_scores_of_texts_are_those_of_the_workbooks_attributions(text_model: Any) -> None:
    inputs = a_few("BERT", 2)
    scores = explaining.scores_of(text_model, inputs, ig_steps=4)
    ids = inputs.data["input_ids"][0][inputs.data["attention_mask"][0].bool()]
    text: Any = explaining.plain_task("BERT").test.store
    sentence = next(t for i, t in enumerate(text.texts) if text.ids[i][text.ids[i] > 0].tolist() == ids.tolist())
    one = attributions(text_model, sentence, target=int(inputs.targets[0]), steps=4, max_tokens=24)
    torch.testing.assert_close(scores["integrated gradients"][0, : len(ids)], one.scores, rtol=1e-3, atol=1e-5)
    maps = attention_maps(text_model, sentence, max_tokens=24)
    torch.testing.assert_close(scores["attention"][0, : len(ids)], maps.of(-1).mean(0), rtol=1e-3, atol=1e-6)
    rolled = lab.formulas.attention_rollout(maps.weights.mean(1)).mean(0)
    torch.testing.assert_close(scores["rollout"][0, : len(ids)], rolled, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("insert", [False, True])
def test_the_highest_scores_go_first_and_what_is_no_part_stays(insert: bool) -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 9.0], [-1.0, -2.0, -3.0, 0.0]])
    parts = torch.tensor([[True, True, True, False]] * 2)
    third = explaining.left_after(scores, parts, 1 / 3, insert)
    gone = torch.tensor([[False, True, False, False], [True, False, False, False]])
    assert torch.equal(third, ~parts | gone if insert else ~gone)
    assert torch.equal(explaining.left_after(scores, parts, 1.0, insert), parts | ~parts if insert else ~parts)


def test_equal_scores_share_their_places() -> None:
    scores = torch.tensor([[0.0, 0.0, 0.0], [3.0, 1.0, 2.0]])
    places = explaining.place_of(scores, torch.tensor([0, 2]), torch.ones(2, 3, dtype=torch.bool))
    assert places.tolist() == [1.0, 1.0]


def test_all_layers_drawn_anew_share_no_weights_and_the_head_alone_only_the_head(digit_model: nn.Module) -> None:
    def same(layers: int) -> dict[str, bool]:
        other: dict[str, Tensor] = dict(explaining.redrawn(digit_model, layers, 3).named_parameters())
        return {n: torch.equal(p, other[n]) for n, p in digit_model.named_parameters() if p.dim() > 1}

    assert not any(same(len(explaining.depths(digit_model))).values())
    assert [n for n, kept in same(1).items() if not kept] == ["fc.weight"]


def test_what_is_kept_is_whole_and_small() -> None:
    assert explanations.FILE.stat().st_size < 600_000
    for name in explanations.NAMES:
        kept = explanations.kept(name)
        S, M, N = len(explanations.SEEDS), len(explaining.METHODS[name]), explanations.EXPLAINED[name]
        assert kept["scores"].shape[:3] == (S, M, N) and kept["answers"].shape == (S, 200)
        assert kept["sane"].shape == (S, len(explanations.DEPTHS[name]), M, 2, explanations.SANE)
        assert kept["curves"].shape == (S, M + 3, 2, 2, len(explanations.SHARES), N)
        assert np.isfinite(kept["curves"][:, :, 0]).all() and np.isnan(kept["curves"][:, :, 1, 1]).all()
        assert kept["control"].tolist() == [False] * 5 + [True] * 5
        first = torch.tensor(kept["curves"][:, :, 0, 0, 0].astype(float))
        assert torch.equal(first, first[:, :1].expand_as(first)), "every order begins with the whole input"


@pytest.mark.slow
def test_a_kept_run_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = explanations.kept("ResNet-18")
    with one_thread():
        model = explanations.trained("ResNet-18", "plain", 1)
        inputs = a_few("ResNet-18", 4)
        scores = explaining.scores_of(model, inputs)
    for m, method in enumerate(explaining.METHODS["ResNet-18"]):
        stored = torch.tensor(kept["scores"][1, m, :4].astype(np.float32))
        same = explaining.correlations(scores[method], stored, inputs.parts)
        assert np.median(same) > 0.8, method  # trained on other processors the maps differ a little


@pytest.mark.slow
def test_a_small_cut_of_the_study_goes_from_the_command_to_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: dict[str, Any] = {
        "NAMES": ("ResNet-18",),
        "SEEDS": range(1),
        "SHORTCUT_SEEDS": range(1),
        "STEPS": {"ResNet-18": 1},
    }
    cut |= {"EXPLAINED": {"ResNet-18": 2}, "SANE": 1, "DEPTHS": {"ResNet-18": (6,)}, "SHARES": (0.0, 0.5, 1.0)}
    for name, value in {**cut, "RANDOM_ORDERS": 1, "IG_STEPS": 2}.items():
        monkeypatch.setattr(explanations, name, value)
    monkeypatch.setattr("sys.argv", ["explanations", "--out", str(tmp_path), "--model", "ResNet-18"])
    explanations.main()
    assert not (tmp_path / "explanations.npz").exists()
    part = tmp_path / "explanations.ResNet-18.part.jsonl"
    lines = part.read_text()
    assert len(lines.splitlines()) == 3
    monkeypatch.setattr("sys.argv", ["explanations", "--out", str(tmp_path)])
    explanations.main()  # goes on: nothing is left to do but the file
    assert part.read_text() == lines
    old = explanations.kept("ResNet-18")
    monkeypatch.setattr(explanations, "FILE", tmp_path / "explanations.npz")
    new = explanations.kept("ResNet-18")
    assert {key: value.dtype for key, value in new.items()} == {key: value.dtype for key, value in old.items()}
    assert new["curves"].shape == (1, 7, 2, 2, 3, 2) and new["places"].shape == (2, 5, 2)
