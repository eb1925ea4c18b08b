"""Data sets and pre-trained models: what ships with the workbook and what can be fetched.

Names are resolved on first use, so that importing this room loads neither transformers nor torchvision.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attending import AttentionMaps, attention_maps
    from .augmentation import augment
    from .batching import Batches
    from .corpora import corpora_folder, fetch_corpora
    from .corrupting import corrupted, corruptions_of, split_of
    from .features import FeatureTask, cached_features
    from .fractal_weights import verify_fractal_weights
    from .fractals import fractal_images
    from .heads import check_fits, freeze, head_of, unfreeze
    from .image_corruptions import corrupt_pictures
    from .image_models import resnet
    from .image_tasks import digits, images
    from .inside import Attributions, attributions
    from .layers import layers_of
    from .naming import layer_names
    from .negation import negation_pairs
    from .paths import verify_bundled
    from .pretraining import linear_probe, mask_tokens
    from .review_tasks import reviews
    from .saying import quietly
    from .stock import inventory
    from .subset import subset
    from .table_tasks import texts
    from .tasks import Split, Task
    from .text_corruptions import corrupt_texts
    from .text_models import bert, tokenizer_for
    from .torch_dataset import as_dataset

_HOME = {
    "AttentionMaps": "attending",
    "Attributions": "inside",
    "Batches": "batching",
    "Split": "tasks",
    "Task": "tasks",
    "FeatureTask": "features",
    "cached_features": "features",
    "as_dataset": "torch_dataset",
    "attention_maps": "attending",
    "attributions": "inside",
    "augment": "augmentation",
    "bert": "text_models",
    "tokenizer_for": "text_models",
    "check_fits": "heads",
    "fractal_images": "fractals",
    "freeze": "heads",
    "head_of": "heads",
    "unfreeze": "heads",
    "corpora_folder": "corpora",
    "fetch_corpora": "corpora",
    "corrupt_pictures": "image_corruptions",
    "corrupt_texts": "text_corruptions",
    "corrupted": "corrupting",
    "corruptions_of": "corrupting",
    "digits": "image_tasks",
    "images": "image_tasks",
    "inventory": "stock",
    "layer_names": "naming",
    "layers_of": "layers",
    "linear_probe": "pretraining",
    "mask_tokens": "pretraining",
    "negation_pairs": "negation",
    "quietly": "saying",
    "resnet": "image_models",
    "reviews": "review_tasks",
    "split_of": "corrupting",
    "subset": "subset",
    "texts": "table_tasks",
    "verify_bundled": "paths",
    "verify_fractal_weights": "fractal_weights",
}

__all__ = [
    "AttentionMaps",
    "Attributions",
    "Batches",
    "FeatureTask",
    "Split",
    "Task",
    "as_dataset",
    "attention_maps",
    "attributions",
    "augment",
    "bert",
    "cached_features",
    "check_fits",
    "corpora_folder",
    "corrupt_pictures",
    "corrupt_texts",
    "corrupted",
    "corruptions_of",
    "digits",
    "fetch_corpora",
    "fractal_images",
    "freeze",
    "head_of",
    "images",
    "inventory",
    "layer_names",
    "layers_of",
    "linear_probe",
    "mask_tokens",
    "negation_pairs",
    "quietly",
    "resnet",
    "reviews",
    "split_of",
    "subset",
    "texts",
    "tokenizer_for",
    "unfreeze",
    "verify_bundled",
    "verify_fractal_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"stablelab.zoo has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
