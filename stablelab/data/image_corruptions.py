"""Pictures made worse in ways that cameras, files and hands make them worse, each at five severities."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._validation import whole

SEVERITIES = (1, 2, 3, 4, 5)


def corrupt_pictures(pixels: Tensor, name: str, severity: int, seed: int = 0) -> Tensor:
    """The pictures under one corruption, by torchvision wherever it has it.

    What is random (the noise, the side a picture is turned or shifted to, the place that is covered) is drawn for each
    picture from ``seed`` and its position, the same at every severity, so that a harsher one is more of the
    same. torch's global generator is not touched.

    Args:
        pixels: (N, 3, H, W) uint8, of any size.
        name: one of ``IMAGE_CORRUPTIONS``: noise, blur, contrast, brightness, jpeg, rotation, shift, crop, occlusion.
        severity: 1 (mild) to 5 (harsh).
        seed: 0 or more.

    Returns:
        (N, 3, H, W) uint8.

    Raises:
        ValueError: in one line: no such corruption or severity, or the pictures are none.

    Source:
        Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
        2019, Section 4.1 and Appendix A (noise, blur, contrast, brightness, jpeg; five severities each); occlusion:
        Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014, Section 4.2.
    """
    check_corruption(name, severity, seed, IMAGE_CORRUPTIONS)
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or pixels.dim() != 4 or pixels.shape[1] != 3:
        what = f"{tuple(pixels.shape)} {pixels.dtype}" if isinstance(pixels, Tensor) else type(pixels).__name__
        raise ValueError(f"pixels is {what}; pictures to corrupt are a tensor (N, 3, H, W) of uint8")
    change, amounts = _CORRUPTIONS[name]
    return change(pixels, amounts[severity - 1], torch.Generator().manual_seed(seed))


def check_corruption(name: object, severity: object, seed: object, known: tuple[str, ...]) -> None:
    """Raise a one-line ValueError unless there are such a corruption, such a severity and such a seed."""
    if name not in known:
        raise ValueError(f"there is no corruption {name!r} here; there are {', '.join(known)}")
    if isinstance(severity, bool) or not isinstance(severity, int) or severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}; it must be a whole number from 1 (mild) to 5 (harsh)")
    whole("seed", seed)


def _noise(pixels: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    # torchvision's own noise draws from the global generator.
    noise = torch.randn(pixels.shape, generator=generator)
    return pixels.add(noise.mul_(255 * sigma)).round_().clamp_(0, 255).to(torch.uint8)


def _blur(pixels: Tensor, share: float, _: torch.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    side = min(pixels.shape[-2:])
    sigma = share * side
    # Pixels to either side of one; the border is mirrored, so there can be no more than there are.
    reach = min(math.ceil(3 * sigma), side - 1)
    blurred = pixels.float()
    for kernel in ([2 * reach + 1, 1], [1, 2 * reach + 1]):  # one direction after the other: the same, in far less time
        blurred = functional.gaussian_blur(blurred, kernel, [sigma, sigma])
    return blurred.round_().clamp_(0, 255).to(torch.uint8)


def _contrast(pixels: Tensor, factor: float, _: torch.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    return functional.adjust_contrast(pixels, factor)


def _brightness(pixels: Tensor, more: float, _: torch.Generator) -> Tensor:
    # Light is added, as in the source; torchvision's factor would leave a black ground black.
    return pixels.add(255.0 * more).round_().clamp_(0, 255).to(torch.uint8)


def _jpeg(pixels: Tensor, quality: int, _: torch.Generator) -> Tensor:
    from PIL import Image  # torchvision's own coder is deprecated from 0.29 on

    changed = torch.empty_like(pixels)
    for n, picture in enumerate(pixels.permute(0, 2, 3, 1).numpy()):  # (H, W, 3)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        changed[n] = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return changed


def _rotation(pixels: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    def turned(chosen: Tensor, way: int) -> Tensor:
        return functional.rotate(chosen, degrees * (1 - 2 * way), InterpolationMode.BILINEAR)

    return _in_groups(pixels, torch.randint(2, (len(pixels),), generator=generator), turned)


def _shift(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    height, width = pixels.shape[-2:]

    def moved(chosen: Tensor, way: int) -> Tensor:
        right, down = ((1, 0), (0, 1), (-1, 0), (0, -1))[way]
        # Whole pixels, so that a picture stays as sharp as it was.
        translate = [right * round(share * width), down * round(share * height)]
        return functional.affine(chosen, angle=0.0, translate=translate, scale=1.0, shear=[0.0, 0.0])

    return _in_groups(pixels, torch.randint(4, (len(pixels),), generator=generator), moved)


def _crop(pixels: Tensor, share: float, _: torch.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    height, width = pixels.shape[-2:]
    kept = max(1, round(share * height)), max(1, round(share * width))
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    return functional.resized_crop(pixels, top, left, *kept, size=[height, width], antialias=True)


def _occlusion(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    from torchvision.transforms.v2 import functional

    height, width = pixels.shape[-2:]
    h, w = max(1, round(share * height)), max(1, round(share * width))
    grey = torch.full((3, 1, 1), 128, dtype=torch.uint8)
    # A larger patch covers the smaller one of the same seed: the free space is shared out in the same ratio.
    places = (torch.rand(len(pixels), 2, generator=generator) * torch.tensor([height - h, width - w])).round().int()
    covered = [functional.erase(pixels[n], int(i), int(j), h, w, grey) for n, (i, j) in enumerate(places)]
    return torch.stack(covered) if covered else pixels


def _in_groups(pixels: Tensor, ways: Tensor, change: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Each picture changed in its own way; those of one way ((N,) whole numbers) together, which is far faster."""
    changed = torch.empty_like(pixels)
    for way in ways.unique().tolist():
        changed[ways == way] = change(pixels[ways == way], way)
    return changed


# What each does at severities 1 to 5: shares are of the picture's side, or of the range from black to white.
_CORRUPTIONS: dict[str, tuple[Callable[[Tensor, Any, torch.Generator], Tensor], tuple[Any, ...]]] = {
    "noise": (_noise, (0.10, 0.20, 0.30, 0.45, 0.60)),  # standard deviation, share of the range
    "blur": (_blur, (0.02, 0.04, 0.06, 0.08, 0.11)),  # standard deviation, share of the side
    "contrast": (_contrast, (0.60, 0.40, 0.25, 0.15, 0.08)),  # what is left of it
    "brightness": (_brightness, (0.10, 0.20, 0.35, 0.50, 0.65)),  # share of the range
    "jpeg": (_jpeg, (30, 15, 8, 4, 1)),  # quality, of 100
    "rotation": (_rotation, (10, 20, 30, 45, 60)),  # degrees, to either side
    "shift": (_shift, (0.06, 0.09, 0.125, 0.16, 0.22)),  # share of the side, in one of four directions
    "crop": (_crop, (0.85, 0.72, 0.60, 0.50, 0.40)),  # share of the side that is kept and enlarged
    "occlusion": (_occlusion, (0.20, 0.30, 0.40, 0.50, 0.60)),  # side of the patch, share of the picture's
}
IMAGE_CORRUPTIONS = tuple(_CORRUPTIONS)
