from __future__ import annotations

from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision

from stablelab import zoo


def states_equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_plain_resnet_that_says_what_it_is(digits: zoo.Task, capsys: pytest.CaptureFixture[str]) -> None:
    model = zoo.resnet(digits)
    assert type(model) is torchvision.models.ResNet
    assert capsys.readouterr().out == "resnet18 · random weights\n"
    assert model.stablelab_source == "resnet18 · random weights"
    assert model(digits.collate(torch.arange(2))[0]).shape == (2, 10)


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = zoo.resnet(3, seed=1), zoo.resnet(3, seed=1), zoo.resnet(3, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert states_equal(one, same) and states_equal(one, zoo.resnet(3, seed=1))
    assert not torch.equal(one.fc.weight, other.fc.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("name", [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v3_small",
    "regnet_y_400mf", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "vit_b_16",
])  # fmt: skip
def test_every_family_gets_a_head_for_the_classes(name: str) -> None:
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # shapes alone; RegNet needs numbers for its own
        model = zoo.resnet(7, name=name)
    _, head = zoo.head_of(model)
    width = head.out_channels if isinstance(head, torch.nn.Conv2d) else head.out_features
    assert width == 7


def imagenet(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", answer)


def test_imagenet_weights_keep_all_but_the_head(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = zoo.resnet(1000, seed=9)
    capsys.readouterr()

    def fetched(url: str, **arguments: object) -> dict[str, torch.Tensor]:
        assert "resnet18" in url and arguments["weights_only"] is True and arguments["check_hash"] is True
        return original.state_dict()

    imagenet(monkeypatch, fetched)
    model = zoo.resnet(10, weights="imagenet")
    assert capsys.readouterr().out == "resnet18 · ImageNet weights, new 10-class head\n"
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in original.state_dict().items() if not k.startswith("fc."))
    assert torch.equal(model.fc.weight, zoo.resnet(10).fc.weight)
    thousand = zoo.resnet(1000, weights="imagenet")
    assert not torch.equal(thousand.fc.weight, original.fc.weight)  # a new head even where the old one would fit


def test_imagenet_weights_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    imagenet(monkeypatch, offline)
    with pytest.raises(
        OSError, match=r"ImageNet weights of resnet50 are not in the cache .*weights='random'$"
    ) as error:
        zoo.resnet(10, "resnet50", weights="imagenet")
    assert "\n" not in str(error.value)


def test_unknown_names_weights_and_classes() -> None:
    with pytest.raises(ValueError, match=r"^unknown classifier 'resnet19': did you mean resnet1"):
        zoo.resnet(10, name="resnet19")
    with pytest.raises(ValueError, match=r"weights is 'pretrained'; it must be 'random' or 'imagenet'"):
        zoo.resnet(10, weights="pretrained")
    for classes in (1, 0, -3, True, 2.5, None, ("only",), "ab"):
        with pytest.raises(ValueError, match=r"at least 2 classes"):
            zoo.resnet(classes)  # type: ignore[arg-type]
