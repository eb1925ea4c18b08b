from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from stablelab.formulas import (
    adafactor_bytes,
    checkpointed_bytes,
    encoder_activation_bytes,
    encoder_layer_bytes,
    optimizer_bytes,
    resnet18_activation_bytes,
    step_bytes,
)


@pytest.mark.parametrize(("a", "s", "h"), [(96, 2048, 12_288), (128, 2048, 20_480)])
def test_a_layer_in_half_precision_is_the_equation_of_the_paper(a: int, s: int, h: int) -> None:
    b = 4
    assert encoder_layer_bytes(b, s, h, a, size=2, mask_size=1) == s * b * h * (34 + 5 * a * s / h)
    assert encoder_layer_bytes(b, s, h, a, size=2, mask_size=1, fused=True) == 34 * s * b * h


def test_sixteen_bytes_for_each_parameter_with_adam() -> None:
    assert step_bytes(1_000, activations=0).total == 16_000
    assert step_bytes(1_000, activations=500) == (4_000, 0, 4_000, 8_000, 500)
    assert step_bytes(1_000, activations=0, optimizer="sgd").total == 8_000
    assert step_bytes(1_000, activations=0, precision="bf16").total == 18_000
    assert step_bytes(1_000, activations=0, trained=10, precision="bf16", cast=800) == (4_000, 1_600, 40, 80, 0)


def test_eight_bit_adam_keeps_a_quarter_and_adafactor_next_to_nothing() -> None:
    assert optimizer_bytes(10**6, "adam8bit") / optimizer_bytes(10**6, "adam") == pytest.approx(0.25, rel=0.002)
    assert adafactor_bytes([(384, 1536), (384,)]) == 4 * (384 + 1536 + 384)


def test_adafactor_keeps_what_torchs_keeps() -> None:
    net = nn.Sequential(nn.Linear(30, 20), nn.Conv2d(3, 4, 5))
    optimizer = torch.optim.Adafactor(net.parameters())
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    kept = sum(t.nbytes for state in optimizer.state.values() for name, t in state.items() if name != "step")
    assert kept == adafactor_bytes(p.shape for p in net.parameters())


def test_half_precision_does_not_halve_the_activations_and_a_long_text_costs_more_than_its_length() -> None:
    miniLM = {"batch": 16, "width": 384, "heads": 12, "layers": 6}
    full = encoder_activation_bytes(length=128, **miniLM)
    assert 0.5 * full < encoder_activation_bytes(length=128, precision="bf16", **miniLM) < full
    assert encoder_activation_bytes(length=256, **miniLM) > 2.5 * full
    on_gpu = [encoder_activation_bytes(length=s, device="cuda", padding=False, **miniLM) for s in (128, 256)]
    assert on_gpu[0] < full and on_gpu[1] == 2 * on_gpu[0]


def test_checkpointing_in_segments_is_least_near_the_root() -> None:
    costs = {k: checkpointed_bytes(10, 10, 100, k) for k in range(1, 101)}
    assert min(costs, key=costs.__getitem__) == 10 and costs[10] == 200
    assert costs[1] == 10 + 1000 and costs[100] == checkpointed_bytes(10, 10, 100) == 1010


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: step_bytes(100, 0, optimizer="adamm"), "unknown optimizer 'adamm': did you mean adam"),
        (lambda: step_bytes(100, 0, precision="fp8"), "unknown precision 'fp8'"),
        (lambda: step_bytes(100, 0, trained=101), "trained is 101; it must be a whole number, at most 100"),
        (lambda: step_bytes(0, 0), "parameters is 0"),
        (lambda: encoder_activation_bytes(0, 32, 384, 12, 6), "batch is 0"),
        (lambda: encoder_activation_bytes(4, 32, 384, 12, 6, device="mps"), "unknown device 'mps'"),
        (lambda: encoder_layer_bytes(4, 32.5, 384, 12), "length is 32.5"),
        (lambda: resnet18_activation_bytes(4, 32, 0), "width is 0"),
        (lambda: checkpointed_bytes(10, 10, 6, 7), "segments is 7; it must be a whole number, at most 6"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
