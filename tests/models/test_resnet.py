from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from stablelab import data, models
from stablelab.models.fractals import weights as fractal_weights


def states_equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_plain_resnet_that_says_what_it_is(digits: data.Task, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.resnet(digits, weights="random")
    assert type(model) is torchvision.models.ResNet
    assert capsys.readouterr().out == "resnet18 · random weights\n"
    assert model.stablelab_source == "resnet18 · random weights"
    assert model(digits.collate(torch.arange(2))[0]).shape == (2, 10)


@pytest.mark.slow
def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (models.resnet(3, weights="random", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert states_equal(one, same) and states_equal(one, models.resnet(3, weights="random", seed=1))
    assert not torch.equal(one.fc.weight, other.fc.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


@pytest.mark.slow
def test_resnet18_comes_with_the_workbooks_own_weights(digits: data.Task, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.resnet(digits, seed=1)
    assert capsys.readouterr().out == "resnet18 · fractal weights (bundled), new 10-class head\n"
    assert type(model) is torchvision.models.ResNet
    state, named = model.state_dict(), models.resnet(digits, weights="fractals", seed=2).state_dict()
    bundled = load_file(fractal_weights.WEIGHTS_FILE)
    for name, value in state.items():
        assert value.dtype in (torch.float32, torch.int64)
        assert torch.equal(value, bundled[name].to(value.dtype)) if name in bundled else name.startswith("fc.")
        assert torch.equal(value, named[name]) != name.startswith("fc.")
    assert torch.equal(model.fc.weight, models.resnet(digits, weights="random", seed=1).fc.weight)


def test_all_others_start_at_random_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    models.resnet(3, name="squeezenet1_1")
    assert capsys.readouterr().out == "squeezenet1_1 · random weights\n"
    with pytest.raises(
        ValueError, match=r"^there are fractal weights for resnet18 only; for resnet34 use 'imagenet' or 'random'$"
    ):
        models.resnet(3, name="resnet34", weights="fractals")


@pytest.mark.slow
def test_missing_or_damaged_fractal_weights_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fractal_weights, "WEIGHTS_FILE", tmp_path / "a.safetensors")
    with pytest.raises(
        FileNotFoundError, match=r"^the fractal weights .* are missing; reinstall stablelab, or use weights='random'$"
    ):
        models.resnet(3)
    assert models.inventory()["fractal weights"].endswith("are missing; reinstall stablelab, or use weights='random'")
    (tmp_path / "a.safetensors").write_bytes(b"not the weights")
    with pytest.raises(ValueError, match=r"is damaged or another version .*; reinstall stablelab, or use") as error:
        models.resnet(3)
    assert "\n" not in str(error.value)
    assert "is damaged or another version" in models.inventory(verify=True)["fractal weights"]


@pytest.mark.slow
def test_only_the_body_of_a_resnet18_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(ValueError, match=r"a.safetensors does not hold the body of a resnet18$"):
        fractal_weights.load_body(models.resnet(3, weights="random"), file)
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a.safetensors is not a whole safetensors file") as error:
        fractal_weights.load_body(models.resnet(3, weights="random"), file)
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"^there is no file nothing$"):
        fractal_weights.load_body(models.resnet(3, weights="random"), Path("nothing"))


@pytest.mark.parametrize("name", [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v3_small",
    "regnet_y_400mf", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_16",
])  # fmt: skip
def test_every_family_gets_a_head_for_the_classes(name: str) -> None:
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # shapes alone; RegNet needs numbers for its own
        model = models.resnet(7, name=name)
    _, head = models.head_of(model)
    width = head.out_channels if isinstance(head, torch.nn.Conv2d) else head.out_features
    assert width == 7


def imagenet(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", answer)


@pytest.mark.slow
def test_imagenet_weights_keep_all_but_the_head(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = models.resnet(1000, seed=9)
    capsys.readouterr()

    def fetched(url: str, **arguments: object) -> dict[str, torch.Tensor]:
        assert "resnet18" in url and arguments["weights_only"] is True and arguments["check_hash"] is True
        return original.state_dict()

    imagenet(monkeypatch, fetched)
    model = models.resnet(10, weights="imagenet")
    assert capsys.readouterr().out == "resnet18 · ImageNet weights, new 10-class head\n"
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in original.state_dict().items() if not k.startswith("fc."))
    assert torch.equal(model.fc.weight, models.resnet(10, weights="random").fc.weight)
    thousand = models.resnet(1000, weights="imagenet")
    assert not torch.equal(thousand.fc.weight, original.fc.weight)  # a new head even where the old one would fit


@pytest.mark.slow
def test_imagenet_weights_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    imagenet(monkeypatch, offline)
    with pytest.raises(
        OSError, match=r"ImageNet weights of resnet50 are not in the cache .*weights='random'$"
    ) as error:
        models.resnet(10, "resnet50", weights="imagenet")
    assert "\n" not in str(error.value)


def test_unknown_names_weights_and_classes() -> None:
    with pytest.raises(ValueError, match=r"^unknown classifier 'resnet19': did you mean resnet1"):
        models.resnet(10, name="resnet19")
    with pytest.raises(ValueError, match=r"weights is 'pretrained'; it must be 'fractals', 'imagenet' or 'random'"):
        models.resnet(10, weights="pretrained")
    for classes in (1, 0, -3, True, 2.5, None, ("only",), "ab"):
        with pytest.raises(ValueError, match=r"at least 2 classes"):
            models.resnet(classes)  # type: ignore[arg-type]
