from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.helpers import normal

from stablelab.formulas import contrastive_loss, diversity_loss, mask_spans, sample_distractors
from stablelab.models.wav2vec import tiny_config


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("training", [True, False])
def test_the_losses_are_those_of_transformers(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Wav2Vec2ForPreTraining

    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)  # theirs are computed in float32, whatever comes in
    torch.manual_seed(0)
    model = Wav2Vec2ForPreTraining(tiny_config()).double().train(training)
    x, generator = normal(3, 2000, seed=1), seeded()
    hidden = mask_spans(3, 23, 0.15, 4, generator)
    places = sample_distractors(hidden, 7, generator)
    flat = torch.zeros(3, 23, 7, dtype=torch.int64)
    flat[hidden] = hidden.flatten().nonzero().flatten()[places]  # theirs are positions among all B T frames
    soft: list[torch.Tensor] = []
    model.quantizer.weight_proj.register_forward_hook(lambda module, _, out: soft.append(out))
    out = model(x, mask_time_indices=hidden, sampled_negative_indices=flat)
    c, q = out.projected_states[hidden], out.projected_quantized_states[hidden]
    ours = contrastive_loss(c, q, q[places], model.config.contrastive_logits_temperature)
    torch.testing.assert_close(ours * hidden.sum(), out.contrastive_loss, rtol=1e-10, atol=1e-10)
    scores = soft[0].view(-1, 2, 32)[hidden.flatten()]
    p = scores.softmax(-1) if training else torch.nn.functional.one_hot(scores.argmax(-1), 32).double()
    torch.testing.assert_close(diversity_loss(p) * hidden.sum(), out.diversity_loss, rtol=1e-10, atol=1e-10)


def test_the_share_that_is_hidden_is_what_the_formula_says() -> None:
    hidden = mask_spans(400, 600, 0.065, 10, seeded())
    inner = hidden[:, 9:].double()
    assert inner.mean().item() == pytest.approx(1 - (1 - 0.065) ** 10, abs=0.006)  # 0.489, "approximately 49 %"
    assert hidden[:, 0].double().mean().item() < 0.13


def test_spans_are_as_long_as_asked_and_two_frames_are_always_hidden() -> None:
    hidden = mask_spans(50, 40, 0.0, 5, seeded())
    assert torch.equal(hidden.sum(1), torch.full((50,), 2))
    assert mask_spans(2, 8, 1.0, 3, seeded()).all()
    few = mask_spans(500, 60, 0.01, 6, seeded(1))
    begins = few & ~torch.cat([torch.zeros(500, 1, dtype=torch.bool), few[:, :-1]], dim=1)
    inner = ~few[:, 0] & ~few[:, -1] & (begins.sum(1) == 1)
    assert set(few[inner].sum(1).tolist()) - set(range(7, 60)) == {2, 6}  # none began: two; one did: six; or overlap


def test_distractors_are_the_other_hidden_frames_of_the_same_sound_each_as_likely() -> None:
    hidden = torch.zeros(3, 9, dtype=torch.bool)
    hidden[0, :2] = hidden[1, 2:6] = hidden[2, ::2] = True
    found = sample_distractors(hidden, 3000, seeded())
    of = hidden.nonzero()[:, 0]
    assert found.shape == (11, 3000) and bool((of[found] == of[:, None]).all())
    assert not (found == torch.arange(11)[:, None]).any()
    for i in range(11):
        counts = torch.bincount(found[i], minlength=11)
        others = [j for j in range(11) if of[j] == of[i] and j != i]
        assert counts[others].double().div(3000).tolist() == pytest.approx([1 / len(others)] * len(others), abs=0.04)


def test_the_contrastive_loss_at_its_ends() -> None:
    c = normal(5, 8)
    assert contrastive_loss(c, c, normal(5, 6, 8, seed=1), 1e-3).item() < 1e-9
    alike = contrastive_loss(c, normal(5, 8, seed=2), normal(5, 6, 8, seed=1), 1e6).item()
    assert alike == pytest.approx(math.log(7), abs=1e-5)
    assert contrastive_loss(c, c, c[:, None].expand(-1, 4, -1)).item() == 0  # the same codes are left out
    scaled = contrastive_loss(9 * c, 0.1 * normal(5, 8, seed=2), 7 * normal(5, 6, 8, seed=1))
    torch.testing.assert_close(scaled, contrastive_loss(c, normal(5, 8, seed=2), normal(5, 6, 8, seed=1)))


def test_the_diversity_loss_at_its_ends() -> None:
    one = torch.zeros(6, 2, 4, dtype=torch.float64)
    one[..., 1] = 1
    assert diversity_loss(one).item() == pytest.approx(1 - 1 / 4)
    assert diversity_loss(torch.full((6, 2, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
    every = torch.eye(4, dtype=torch.float64)[:, None].expand(-1, 2, -1)  # sure of each frame, and each another
    assert diversity_loss(every).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mask_spans(2, 1, 0.1, 3, seeded()), "frames is 1"),
        (lambda: mask_spans(2, 9, 1.5, 3, seeded()), "p is 1.5"),
        (lambda: sample_distractors(torch.ones(2, 1, dtype=torch.bool), 3, seeded()), "at least two frames"),
        (lambda: contrastive_loss(normal(3, 4), normal(3, 5), normal(3, 2, 4)), "same shape"),
        (lambda: contrastive_loss(normal(3, 4), normal(3, 4), normal(3, 4)), "distractors (M, K, D)"),
        (lambda: contrastive_loss(normal(3, 4), normal(3, 4), normal(3, 2, 4), 0.0), "temperature is 0.0"),
        (lambda: diversity_loss(normal(3, 4)), "(M, G, V)"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
