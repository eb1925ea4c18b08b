"""Torchvision's classifiers with a new head."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import nn

from .._logging import logger
from .._validation import choice
from ..data.tasks import Task
from .fractals.weights import NAME, load_body
from .heads import class_names, head_of
from .rng import seeded_rng

WEIGHTS = {"fractals": "fractal weights (bundled)", "imagenet": "ImageNet weights", "random": "random weights"}


def resnet(
    task_or_classes: Task | int | Sequence[str], name: str = NAME, weights: str | None = None, seed: int = 0
) -> nn.Module:
    """A torchvision classifier: the plain module, with a head for this many classes. Says what it loaded.

    Args:
        task_or_classes: a task, the names of the classes, or their number.
        name: any of torchvision's classifiers ("resnet18", "resnet50", "efficientnet_b0", "vit_b_16", …).
        weights: "fractals" for the workbook's own weights, pre-trained on pictures made from formulas, which there are
            for resnet18 alone; "imagenet" for torchvision's default weights (from its cache, or fetched once);
            "random". None is "fractals" for resnet18 and "random" for all others.
        seed: seed of the random weights, and of the head in any case; the global generator is not touched.

    Returns:
        The model; ``model.stablelab_source`` says in words what it is.

    Raises:
        ValueError: no such classifier, no such weights or none for this classifier, damaged ones, or fewer than two
            classes.
        OSError: the weights are not in the cache and cannot be fetched, or the bundled ones are missing.
    """
    from torchvision import models

    known = models.list_models(module=models)
    choice("classifier", name, known)
    weights = _chosen(weights, name)
    classes = len(class_names(task_or_classes))
    with seeded_rng(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # two old families announce a change of their default
        model = models.get_model(name, weights=None, num_classes=classes)
    if weights == "fractals":
        load_body(model)
    elif weights == "imagenet":
        _load_imagenet(model, name)
    new_head = "" if weights == "random" else f", new {classes}-class head"
    model.stablelab_source = f"{name} · {WEIGHTS[weights]}{new_head}"
    logger.info(model.stablelab_source)
    return model


def _chosen(weights: str | None, name: str) -> str:
    if weights is None:
        return "fractals" if name == NAME else "random"
    if weights not in WEIGHTS:
        raise ValueError(f"weights is {weights!r}; it must be 'fractals', 'imagenet' or 'random'")
    if weights == "fractals" and name != NAME:
        raise ValueError(f"there are fractal weights for {NAME} only; for {name} use 'imagenet' or 'random'")
    return weights


def _load_imagenet(model: nn.Module, name: str) -> None:
    """Copy torchvision's default weights into all of ``model`` but its head."""
    from torchvision.models import get_model_weights

    try:
        state = get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # no network; a download with the wrong hash
        raise OSError(
            f"the ImageNet weights of {name} are not in the cache and could not be fetched "
            f"({str(error).splitlines()[0]}); connect to the network once, or use weights='random'"
        ) from error
    own, head = model.state_dict(), head_of(model)[0]
    fits = {key for key, value in state.items() if key in own and own[key].shape == value.shape}
    model.load_state_dict(own | {key: state[key] for key in fits if not key.startswith(f"{head}.")})
    if hasattr(model, "transform_input"):  # GoogLeNet's and Inception's weights were trained on inputs of another scale
        vars(model)["transform_input"] = True
