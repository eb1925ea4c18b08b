"""The ResNet-18 that comes with the workbook: its weights, pre-trained on fractals, and whether they are whole."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..._files import require_sha256

NAME = "resnet18"
WEIGHTS_FILE = Path(__file__).parents[1] / "weights" / "resnet18-fractals.safetensors"
WEIGHTS_SHA256 = "8ce02b4d60fbd364a098038caa1eb77edcccc50ac0d517b4d981c82ea9c99899"
CURE = "reinstall stablelab, or use weights='random'"


def fractal_weights_file() -> Path:
    """The bundled file.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not WEIGHTS_FILE.is_file():
        raise FileNotFoundError(f"the fractal weights {WEIGHTS_FILE} are missing; {CURE}")
    return WEIGHTS_FILE


def verify_fractal_weights() -> Path:
    """Compare the bundled weights with the sha256 that the workbook was built on (a few hundredths of a second).

    Returns:
        The file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: the weights are others.
    """
    file = fractal_weights_file()
    require_sha256(file, WEIGHTS_SHA256, CURE)
    return file


def load_body(model: nn.Module, file: Path | None = None) -> nn.Module:
    """Copy weights from a file into all of a ``resnet18`` but its head, in place, as float32.

    Args:
        model: torchvision's ``resnet18``, with any head.
        file: what ``python -m stablelab.models.fractals`` wrote; None for the bundled one, which is verified.

    Returns:
        The model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds weights of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = verify_fractal_weights() if file is None else file
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        body: dict[str, Tensor] = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is not a whole safetensors file ({error})") from error
    wanted = {name: value.shape for name, value in model.state_dict().items() if not name.startswith("fc.")}
    if {name: value.shape for name, value in body.items()} != wanted:
        raise ValueError(f"{file} does not hold the body of a {NAME}")
    with torch.no_grad():
        model.load_state_dict(body, strict=False)
    return model
