"""wav2vec 2.0: a tiny one that comes with the workbook, or any by name, with a new head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._logging import logger
from .._validation import choice
from ..data.spoken_digits import RATE
from ..data.tasks import Task
from ..data.tokenizers import loading_pretrained
from .heads import class_names
from .rng import seeded_rng

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, Wav2Vec2Config

FILE = Path(__file__).parent / "weights" / "wav2vec2-digits.safetensors"


def tiny_config(**more: Any) -> Wav2Vec2Config:
    """The tiny wav2vec 2.0 for sounds at 8 kHz: a frame each 10 ms, four convolutions, two layers of 64.

    Args:
        **more: fields of ``Wav2Vec2Config`` that are to be otherwise.
    """
    from transformers import Wav2Vec2Config

    fields: dict[str, Any] = dict(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        conv_dim=(32, 64, 64, 64),
        conv_kernel=(10, 8, 4, 4),
        conv_stride=(5, 4, 2, 2),
        feat_extract_norm="group",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        num_codevectors_per_group=32,
        num_codevector_groups=2,
        codevector_dim=32,
        proj_codevector_dim=32,
        classifier_proj_size=64,
        layerdrop=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        feat_quantizer_dropout=0.0,
    )
    config = Wav2Vec2Config(**{**fields, **more})
    config.sampling_rate = RATE
    return config


def bundled_weights() -> dict[str, Tensor]:
    """The tensors of the pre-trained tiny model, as ``Wav2Vec2ForPreTraining`` names them, in float32."""
    from safetensors.torch import load_file

    return {name: tensor.float() for name, tensor in load_file(FILE).items()}


def wav2vec(
    task_or_classes: Task | int | Sequence[str],
    name: str | None = None,
    seed: int = 0,
    weights: Literal["pretrained", "random"] = "pretrained",
) -> PreTrainedModel:
    """A wav2vec 2.0 for classification: the plain Hugging Face module, in float32. Says what it loaded.

    Its random masking of frames in training (SpecAugment) is switched off: it draws from numpy's generator, so a run
    could not be repeated.

    Args:
        task_or_classes: a task of sounds, the names of the classes, or their number.
        name: None for the bundled tiny one (two layers, 64 wide, pre-trained on spoken digits without their labels);
            else any hub id or folder that ``Wav2Vec2ForSequenceClassification`` takes. A task for it is made with the
            ``rate`` that it was trained at, 16,000 for nearly all.
        seed: of what is new.
        weights: ``"random"`` for the bundled structure before any training.

    Returns:
        The model; ``model.stablelab_source`` says in words what it is.

    Raises:
        OSError: the model is neither a folder, nor in the cache, nor can it be fetched.
        ValueError: fewer than two classes, or a model by name that is none of this family or asked for without its
            weights.

    Source:
        Baevski, Zhou, Mohamed and Auli 2020, "wav2vec 2.0: a framework for self-supervised learning of speech
        representations".
    """
    import torch
    from transformers import AutoConfig, Wav2Vec2ForSequenceClassification

    names = class_names(task_or_classes)
    choice("weights", weights, ("pretrained", "random"))
    labels = dict(enumerate(names))
    more: dict[str, Any] = {"num_labels": len(names), "id2label": labels, "apply_spec_augment": False}
    more["label2id"] = {label: i for i, label in labels.items()}
    if name is None:
        with seeded_rng(seed):
            model = Wav2Vec2ForSequenceClassification(tiny_config(**more))
        if weights == "pretrained":
            prefix = "wav2vec2."
            body = {n.removeprefix(prefix): t for n, t in bundled_weights().items() if n.startswith(prefix)}
            model.wav2vec2.load_state_dict(body)
        what = "pre-trained (bundled)" if weights == "pretrained" else "random weights"
        model.stablelab_source = f"wav2vec 2.0, 2 layers of 64 · {what}, new {len(names)}-class head"
    else:
        if weights == "random":
            raise ValueError('weights="random" is for the bundled model; a model by name comes with its weights')
        with loading_pretrained(name):
            config = AutoConfig.from_pretrained(name)
        if config.model_type != "wav2vec2":
            raise ValueError(f"{name} is a {config.model_type}, not a wav2vec2; lab.wav2vec takes no other")
        with seeded_rng(seed), loading_pretrained(name):
            model = Wav2Vec2ForSequenceClassification.from_pretrained(
                name, dtype=torch.float32, ignore_mismatched_sizes=True, **more
            )
        if not hasattr(model.config, "sampling_rate"):
            model.config.sampling_rate = _rate(name)
        model.stablelab_source = f"{name} · pre-trained, {len(names)}-class head"
    logger.info(model.stablelab_source)
    return model


def _rate(name: str) -> int:
    """Samples per second that a model by name was trained at; what all of the paper's were if it does not say."""
    from transformers import AutoFeatureExtractor

    try:
        return int(AutoFeatureExtractor.from_pretrained(name).sampling_rate)
    except OSError:
        return 16_000
