"""Accumulation on a GPU: with layer norm the micro-batches make the step of the whole batch, in less memory."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from support.gpu import DEVICE
from torch import nn

from stablelab.formulas import cross_entropy
from stablelab.training import Control, Settings, steps

pytestmark = pytest.mark.gpu


class Sentences:
    """Batches of sentences of up to so many tokens."""

    per_epoch = 3

    def __init__(self, batch_size=24, tokens=32):
        self.batch_size, self.tokens = batch_size, tokens

    def __call__(self, k):
        generator, size = torch.Generator().manual_seed(k), (self.batch_size, self.tokens)
        mask = (torch.arange(size[1]) < torch.randint(3, size[1] + 1, (size[0], 1), generator=generator)).long()
        ids = torch.randint(1000, 20_000, size, generator=generator) * mask
        return {"input_ids": ids, "attention_mask": mask}, torch.randint(0, 2, size[:1], generator=generator)


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.to(DEVICE)


@pytest.mark.parametrize("accumulation", [2, 8])
def test_with_layer_norm_it_is_the_step_of_the_whole_batch(pretrained, accumulation):
    made, ends = [], []
    for count in (1, accumulation):
        model = without_dropout(copy.deepcopy(pretrained["bert"][0]))
        control = Control(Settings(optimizer="sgd", learning_rate=0.02, max_norm=0.5, accumulation=count))
        made.append(list(steps(model, Sentences(), cross_entropy, control, total_steps=4)))
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert max(abs(a.loss - b.loss) for a, b in zip(*made, strict=True)) < 1e-5
    assert float((ends[0] - ends[1]).abs().max()) < 1e-5


def test_it_takes_less_memory_of_the_gpu(pretrained):
    taken = []
    for count in (1, 8):
        model = without_dropout(copy.deepcopy(pretrained["bert"][0]))
        control = Control(Settings(learning_rate=1e-4, accumulation=count))
        gc.collect()
        held = torch.cuda.memory_allocated(DEVICE)
        torch.cuda.reset_peak_memory_stats(DEVICE)
        list(steps(model, Sentences(64, 128), cross_entropy, control, total_steps=2))
        taken.append(torch.cuda.max_memory_allocated(DEVICE) - held)
    print(f"bytes above the weights: whole {taken[0]:,}, in eight parts {taken[1]:,}")
    assert taken[1] < 0.9 * taken[0]
