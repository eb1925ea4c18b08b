"""BERT, bundled or by name, with a new head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._logging import logger
from ..data.cache import verify_bundled
from ..data.tasks import Task
from ..data.tokenizers import loading_pretrained, tokenizer_for
from .heads import class_names, head_of
from .rng import seeded_rng

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def bert(task_or_classes: Task | int | Sequence[str], name: str | None = None, seed: int = 0) -> PreTrainedModel:
    """A BERT for classification: the plain Hugging Face module, in float32. Says what it loaded.

    The head is new, unless a model by name brings one for as many classes.

    Args:
        task_or_classes: a task, the names of the classes, or their number.
        name: None for the bundled MiniLM (6 layers, 384 wide, 22.7 million parameters); else any hub id or folder
            that ``AutoModelForSequenceClassification`` takes; of a T5 the encoder alone, see ``MeanPooledT5``. A task
            for it is made with the same ``tokenizer=name``.
        seed: seed of the new head; the global generator is not touched.

    Returns:
        The model; ``model.stablelab_source`` says in words what it is.

    Raises:
        OSError: the model is neither a folder, nor in the cache, nor can it be fetched.
        ValueError: fewer than two classes, the model is none for texts, or the bundled one is damaged.

    Source:
        Devlin, Chang, Lee and Toutanova, "BERT", 2019; Wang et al., "MiniLM", 2020.
    """
    import torch

    names = class_names(task_or_classes)
    folder = verify_bundled() if name is None else name
    labels = dict(enumerate(names))
    with seeded_rng(seed), loading_pretrained(folder):
        kind, what = _kind(folder)
        model, report = kind.from_pretrained(
            folder,
            output_loading_info=True,
            num_labels=len(names),
            id2label=labels,
            label2id={label: i for i, label in labels.items()},
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer_for(name).pad_token_id  # models without padding of their own
    source = "BERT MiniLM-L6 · pre-trained (bundled)" if name is None else f"{name} · {what}"
    drawn = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    head = "new" if any(key.startswith(f"{head_of(model)[0]}.") for key in drawn) else "its own"
    model.stablelab_source = f"{source}, {head} {len(names)}-class head"
    logger.info(model.stablelab_source)
    return model


def _kind(folder: str | Path) -> tuple[Any, str]:
    """The class that takes the weights of a folder or hub id, and what it makes of them."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if AutoConfig.from_pretrained(folder).model_type in ("t5", "mt5"):
        from .t5 import MeanPooledT5

        return MeanPooledT5, "pre-trained encoder, mean-pooled"
    return AutoModelForSequenceClassification, "pre-trained"
