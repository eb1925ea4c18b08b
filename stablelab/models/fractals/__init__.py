"""Pictures made from formulas (iterated function systems), and the ResNet-18 that was pre-trained on them."""

from .ifs import fractal_images
from .weights import verify_fractal_weights

__all__ = [
    "fractal_images",
    "verify_fractal_weights",
]
