"""BERT, bundled or by name, with a new head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._logging import logger
from .._validation import choice
from ..data.cache import verify_bundled
from ..data.tasks import Task
from ..data.tokenizers import loading_pretrained, tokenizer_for
from .heads import class_names, head_of
from .rng import seeded_rng

if TYPE_CHECKING:
    from transformers import PreTrainedModel


POOLINGS = {"pooler": "", "cls": "[CLS] read directly", "mean": "mean-pooled"}


def bert(
    task_or_classes: Task | int | Sequence[str],
    name: str | None = None,
    seed: int = 0,
    pooling: Literal["pooler", "cls", "mean"] = "pooler",
) -> PreTrainedModel:
    """A BERT for classification: the plain Hugging Face module, in float32. Says what it loaded.

    The head is new, unless a model by name brings one for as many classes.

    Args:
        task_or_classes: a task, the names of the classes, or their number.
        name: None for the bundled MiniLM (6 layers, 384 wide, 22.7 million parameters); else any hub id or folder
            that ``AutoModelForSequenceClassification`` takes; of a T5 the encoder alone, see ``MeanPooledT5``. A task
            for it is made with the same ``tokenizer=name``.
        seed: seed of the new head; the global generator is not touched.
        pooling: what the head reads of a sentence. ``"pooler"``, BERT's own way and the default: the [CLS] token, the
            first, through one more layer with tanh. ``"cls"``: the same token without that layer. ``"mean"``: the mean
            over all tokens. The bundled model was trained for the mean, and its pooler is as it was drawn at random:
            there ``"mean"`` is the best of the three (notebook 08 measures them). The default is the pooler because it
            is what Hugging Face makes of a BERT, and what the kept runs (``stablelab.studies``) were made with. The
            other two are for BERTs alone, and are saved and loaded as a ``PooledBert``.

    Returns:
        The model; ``model.stablelab_source`` says in words what it is.

    Raises:
        OSError: the model is neither a folder, nor in the cache, nor can it be fetched.
        ValueError: fewer than two classes, the model is none for texts, or the bundled one is damaged; no such
            pooling, or one that the model cannot have, or other than that which it was saved with.

    Source:
        Devlin, Chang, Lee and Toutanova, "BERT", 2019; Wang et al., "MiniLM", 2020.
    """
    import torch
    from transformers import AutoConfig

    names = class_names(task_or_classes)
    choice("pooling", pooling, POOLINGS)
    folder = verify_bundled() if name is None else name
    labels = dict(enumerate(names))
    with loading_pretrained(folder):
        config = AutoConfig.from_pretrained(folder)
    kind, what, more = _kind(config, folder, pooling)
    with seeded_rng(seed), loading_pretrained(folder):
        model, report = kind.from_pretrained(
            folder,
            output_loading_info=True,
            num_labels=len(names),
            id2label=labels,
            label2id={label: i for i, label in labels.items()},
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            **more,
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer_for(name).pad_token_id  # models without padding of their own
    source = f"BERT MiniLM-L6 · {what} (bundled)" if name is None else f"{name} · {what}"
    drawn = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    head = "new" if any(key.startswith(f"{head_of(model)[0]}.") for key in drawn) else "its own"
    model.stablelab_source = f"{source}, {head} {len(names)}-class head"
    logger.info(model.stablelab_source)
    return model


def _kind(config: Any, folder: str | Path, pooling: str) -> tuple[Any, str, dict[str, str]]:
    """The class that takes the weights of this configuration, what it makes of them, and what it is told besides."""
    from transformers import AutoModelForSequenceClassification

    saved = getattr(config, "pooling", None) if config.model_type == "bert" else None
    if saved in ("cls", "mean") and pooling != saved:
        raise ValueError(f"{folder} was saved with pooling={saved!r}, so its head reads nothing else; give that")
    if pooling != "pooler":
        if config.model_type != "bert":
            raise ValueError(
                f"pooling is {pooling!r}, but {folder} is no BERT (a {config.model_type}); leave it out for its own way"
            )
        from .pooled_bert import PooledBert

        return PooledBert, f"pre-trained, {POOLINGS[pooling]}", {"pooling": pooling}
    if config.model_type in ("t5", "mt5"):
        from .t5 import MeanPooledT5

        return MeanPooledT5, "pre-trained encoder, mean-pooled", {}
    return AutoModelForSequenceClassification, "pre-trained", {}
