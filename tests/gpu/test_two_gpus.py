"""Two GPUs on one batch: an exported script under `accelerate launch`, over NCCL. Collected where there are two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.gpu import DEVICE, ON_GPU
from support.launches import TWO, furthest, words_of

from stablelab.training import Run, Settings, export

pytestmark = pytest.mark.gpu

BUILD = "model = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.LayerNorm(64), torch.nn.ReLU(), " + (
    "torch.nn.Linear(64, 3))"
)
PREPARED = "    net = accelerator.prepare(model)\n"


@pytest.mark.parametrize("settings", [{}, {"accumulation": 3}, {"unfrozen": 1, "unfreeze_every": 6}])
def test_two_gpus_come_to_the_numbers_of_one(clouds, tmp_path, settings):
    names = {"torch": torch}
    torch.manual_seed(4)
    exec(BUILD, names)
    model = names["model"].to(DEVICE)
    start = Settings(optimizer="momentum", learning_rate=0.02, max_norm=0.5, **settings)
    run = Run(model, clouds, settings=start, steps=20, batch_size=30, layers=(("3",), ("1", "0"))).start().wait(60)
    script = Path(export(run, tmp_path / "plain", BUILD))
    text = script.read_text()
    assert PREPARED in text
    script.write_text(text.replace(PREPARED, f"{PREPARED}    print(torch.distributed.get_backend(), device)\n"))
    said = words_of(script.parent, *TWO, gpus=True)
    if ON_GPU:
        assert "nccl cuda:0\n" in said and "nccl cuda:1\n" in said
    assert max(furthest(run, script.parent)) < 1e-5
