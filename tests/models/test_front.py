from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from stablelab import zoo

HEAVY = ("transformers", "torchvision", "mlxtend", "pandas", "stablelab.training", "stablelab.studio", "ipywidgets")


def test_importing_the_zoo_loads_nothing_heavy() -> None:
    code = f"import sys, stablelab.zoo; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there_and_documented() -> None:
    for name in zoo.__all__:
        assert getattr(zoo, name).__doc__
    assert sorted(zoo._HOME) == zoo.__all__ == dir(zoo)
    with pytest.raises(AttributeError, match=r"stablelab.zoo has no 'resnets'; it has AttentionMaps"):
        zoo.resnets  # noqa: B018


def test_the_inventory_says_what_is_here(corpora: object, monkeypatch: pytest.MonkeyPatch) -> None:
    there = zoo.inventory(verify=True)
    assert there["reviews"] == str(corpora)
    assert there["BERT MiniLM-L6"].endswith("(checksum right)")
    monkeypatch.setenv("STABLELAB_CACHE", "nowhere-at-all")
    monkeypatch.setattr("stablelab.zoo.paths.BUNDLED_PACKAGE", "no_such_package")
    there = zoo.inventory()
    assert there["reviews"].startswith("not fetched yet")
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
    zoo.resnet(10)
    thread.join()
    assert torch.equal(torch.cat(drawn), alone)
