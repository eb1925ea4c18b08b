"""Pictures changed a little each time they are trained on: noise, crop, rotation, flip."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .images import MEAN, STD
from .tasks import Inputs

KNOBS = ("noise", "crop", "rotation", "flip")


class Augmentation(Protocol):
    """How much to change: what ``augment`` reads of the settings."""

    @property
    def noise(self) -> float:
        """Standard deviation of the noise, in units of the range of a pixel, 0 to 1."""

    @property
    def crop(self) -> float:
        """A picture is shifted by up to this share of its side, 0 to 0.5, either way in each direction."""

    @property
    def rotation(self) -> float:
        """A picture is turned by up to so many degrees, 0 to 180, either way."""

    @property
    def flip(self) -> float:
        """Probability, 0 to 1, that a picture is mirrored left to right."""


def augment(inputs: Inputs, settings: Augmentation) -> Inputs:
    """The pictures of a batch, each mirrored, turned, shifted and covered with noise by chance of its own.

    What comes into a picture from outside is black, what leaves it is cut off, and with noise too a pixel stays between
    black and white. The random numbers are torch's global generator's: the training loop sets it for each step.

    Args:
        inputs: (B, 3, H, W) float, normalized as the workbook's tasks hand pictures out.
        settings: anything with ``noise``, ``crop``, ``rotation`` and ``flip``.

    Returns:
        Pictures of the same shape; ``inputs`` itself, and no random number drawn, where all four are 0.

    Raises:
        ValueError: one of the four is above 0, but the inputs are no such pictures (sentences, or a body's features).

    Source:
        Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document
        analysis", 2003, Section 2; shift and flip: He et al., "Deep residual learning", 2016, Section 4.2; noise:
        Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995.
    """
    used = [name for name in KNOBS if getattr(settings, name)]
    if not used:
        return inputs
    if not isinstance(inputs, Tensor) or inputs.dim() != 4 or inputs.shape[1] != MEAN.shape[1]:
        what = "sentences" if isinstance(inputs, dict) else f"of shape {tuple(inputs.shape)}"
        verb, them = ("changes", "it") if len(used) == 1 else ("change", "them")
        raise ValueError(
            f"{' and '.join(used)} {verb} pictures (B, 3, H, W), but the inputs are {what}; set {them} to 0"
        )
    mean, std = MEAN.to(inputs), STD.to(inputs)
    return (_changed(inputs * std + mean, settings) - mean) / std


def _changed(pixels: Tensor, settings: Augmentation) -> Tensor:
    """The same for pixels from 0 to 1."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    # Always as many draws, so that moving one slider leaves what the others do to this batch as it was.
    mirrored, *moves = torch.rand(4, len(pixels))
    where = (mirrored < settings.flip).to(pixels.device)
    pixels = torch.where(where.view(-1, 1, 1, 1), functional.horizontal_flip(pixels), pixels)
    if settings.rotation or settings.crop:
        angles, right, down = (2 * torch.stack(moves) - 1).tolist()  # each in [-1, 1)
        height, width = pixels.shape[-2:]
        pixels = torch.stack([
            functional.affine(
                picture,
                angle=settings.rotation * angles[i],
                # Whole pixels, so that a picture that is only shifted stays as sharp as it was.
                translate=[round(settings.crop * width * right[i]), round(settings.crop * height * down[i])],
                scale=1.0,
                shear=[0.0, 0.0],
                interpolation=InterpolationMode.BILINEAR,
            )
            for i, picture in enumerate(pixels)
        ])  # fmt: skip
    return functional.gaussian_noise(pixels, sigma=settings.noise) if settings.noise else pixels
