"""The front desk's export: it knows how the zoo's models are built, so that a learner need not say it."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from .. import training
from . import Run


def export(run: Run, folder: str | os.PathLike[str], build: str | None = None) -> str:
    """Write a run as a short plain PyTorch script, ``train.py``, that trains the same model without the workbook.

    Beside it come the weights that training began with, the examples and the order of the batches. On one machine the
    script comes to the same losses, bit for bit on a CPU, changes by hand included.

    Arguments:
        run: what it has done so far is exported.
        folder: new or empty, or with an earlier export, which is replaced.
        build: lines of Python that make ``model``; needed only for a model that is neither torchvision's (made by
            ``lab.resnet``) nor Hugging Face's.

    Returns:
        The script's path.

    Raises:
        ValueError: in one line, where the run cannot be written as a few plain lines, or ``build`` is missing or wrong.
    """
    files: dict[str, str] = {}
    if build is None:
        build, files = _built(run)
    return str(training.export(run, folder, build, files))


def _built(run: Run) -> tuple[str, dict[str, str]]:
    """Lines that build what the run trains, and the files that they read."""
    model: Any = run.model
    trained = run.trains
    kind = type(trained).__name__
    if trained is not model and isinstance(trained, nn.Linear):
        return f"model = torch.nn.Linear({trained.in_features}, {trained.out_features})", {}
    if trained is model and type(model).__module__.startswith("transformers."):
        import transformers

        if hasattr(transformers, kind):
            lines = f'from transformers import AutoConfig, {kind}\n\nmodel = {kind}(AutoConfig.from_pretrained("."))'
            return lines, {"config.json": model.config.to_json_string(use_diff=False)}
    if trained is model and type(model).__module__.startswith("torchvision."):
        from torchvision import models

        name = getattr(model, "stablelab_source", "").split(" ")[0]
        classes = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)]
        if name in models.list_models(module=models) and classes:
            lines = "from torchvision.models import get_model\n\n"
            return f'{lines}model = get_model("{name}", weights=None, num_classes={classes[-1]})', {}
    raise ValueError(f"nobody knows how to build this {kind} anew: give build=, the lines of Python that make `model`")
