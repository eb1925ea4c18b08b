from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from stablelab import data, models

HEAVY = ("transformers", "torchvision", "mlxtend", "pandas", "stablelab.training", "stablelab.widgets", "ipywidgets")


@pytest.mark.slow
def test_importing_data_and_models_loads_nothing_heavy() -> None:
    code = f"import sys, stablelab.data, stablelab.models; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_documented() -> None:
    for room in (data, models):
        assert room.__all__ == sorted(room.__all__)
        for name in room.__all__:
            assert getattr(room, name).__doc__


def test_the_inventory_says_what_is_here(
    corpora: object, efficientnet_file: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = models.inventory(verify=True)
    assert there["reviews"] == str(corpora)
    assert there["efficientnet-lite0"] == str(efficientnet_file)
    assert there["BERT MiniLM-L6"].endswith("(checksum right)")
    monkeypatch.setenv("STABLELAB_CACHE", "nowhere-at-all")
    monkeypatch.setattr("stablelab.data.cache.BUNDLED_PACKAGE", "no_such_package")
    there = models.inventory()
    assert there["reviews"] == there["efficientnet-lite0"] == "not fetched yet: stablelab fetch"
    assert there["BERT MiniLM-L6"].startswith("the bundled BERT is missing")


def test_making_a_model_does_not_disturb_random_numbers_drawn_meanwhile() -> None:
    """A model is made while another one trains in a thread: dropout there must not notice."""
    torch.manual_seed(0)
    alone = torch.rand(400_000)
    torch.manual_seed(0)
    drawn: list[torch.Tensor] = []
    going = threading.Event()

    def draw() -> None:
        for _ in range(400):
            drawn.append(torch.rand(1000))
            going.set()

    thread = threading.Thread(target=draw)
    thread.start()
    going.wait()
    models.resnet(10)
    thread.join()
    assert torch.equal(torch.cat(drawn), alone)
