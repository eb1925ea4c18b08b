"""Pictures and captions as vectors of one space: the workbook's own pair of encoders, or any CLIP of transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._logging import logger
from ..data.cache import verify_bundled
from ..data.images import MEAN, STD
from ..data.tokenizers import loading_pretrained, tokenizer_for
from .imagenet import efficientnet
from .rng import seeded_rng

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

START = 1 / 0.07  # the scale that training begins with
PICTURE_SIZE = 96  # pixels that emoji are enlarged to for EfficientNet; of 32, 64 and 96 the best on validation
FEATURES, WORDS = 1280, 384  # width of EfficientNet-Lite0's and of MiniLM's vectors


class Clip(nn.Module):
    """Two encoders with one space between them.

    ``model(pixels, captions)`` gives the similarities (N, M), scaled: softmax them over the captions and they are
    probabilities. What trains is what ``requires_grad``.

    Attributes:
        logit_scale: the logarithm of the scale, a parameter.
    """

    logit_scale: nn.Parameter

    def picture_vectors(self, pixels: Tensor) -> Tensor:
        """(N, D), of length 1, of pictures (N, 3, H, W): uint8, or float32 normalized as a task's batches are."""
        raise NotImplementedError

    def caption_vectors(self, captions: Sequence[str]) -> Tensor:
        """(M, D), of length 1, of M texts."""
        raise NotImplementedError

    def forward(self, pixels: Tensor, captions: Sequence[str]) -> Tensor:
        """Similarities (N, M), multiplied by the scale."""
        return self.logit_scale.exp() * self.picture_vectors(pixels) @ self.caption_vectors(captions).T


class ZeroShot(nn.Module):
    """A classifier that was never trained as one: each class is a caption, and the most similar one is the answer.

    It takes what a task's batches hold, so that all that judges a classifier judges it: ``lab.evaluate``,
    ``lab.robustness``, ``stability.churn``.

    Args:
        model: a ``Clip``; it is kept, not copied.
        captions: C texts, one for each class.

    Source:
        Radford et al. 2021, Section 3.1.2.
    """

    def __init__(self, model: Clip, captions: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            self.register_buffer("classes", model.caption_vectors(captions))  # (C, D)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, C)."""
        return self.model.logit_scale.exp() * self.model.picture_vectors(pixels) @ self.get_buffer("classes").T


class LockedClip(Clip):
    """Frozen EfficientNet-Lite0, one linear layer, and MiniLM's sentence vectors, which are held: the text is locked.

    Args:
        weights: of EfficientNet: "imagenet" or "random".

    Source:
        The mirror image of Zhai et al. 2022, "LiT: Zero-shot transfer with locked-image text tuning", Section 3.
    """

    def __init__(self, weights: str = "imagenet") -> None:
        super().__init__()
        self.encoder = efficientnet(1000, weights).requires_grad_(False)
        self.encoder.fc = nn.Identity()  # type: ignore[assignment]
        self.projection = nn.Linear(FEATURES, WORDS)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(START)))
        self.sentences = SentenceVectors()
        self.train()  # what is frozen goes into evaluation mode

    def picture_features(self, pixels: Tensor) -> Tensor:
        """(N, 1280), not negative: what the frozen encoder makes of pictures."""
        x = F.interpolate(_normalized(pixels), (PICTURE_SIZE, PICTURE_SIZE), mode="bilinear")
        return self.encoder(x)

    def train(self, mode: bool = True) -> LockedClip:
        """As usual; but a frozen encoder stays in evaluation mode, so that its batch norm does not move."""
        super().train(mode)
        frozen = not any(p.requires_grad for p in self.encoder.parameters())
        self.encoder.train(mode and not frozen)
        self.sentences.eval()
        return self

    def picture_vectors(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.projection(self.picture_features(pixels)), dim=1)

    def caption_vectors(self, captions: Sequence[str]) -> Tensor:
        return self.sentences(captions)


class SentenceVectors(nn.Module):
    """MiniLM's sentence vectors: the mean over the tokens of a text, of length 1; never trained here."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertModel

        folder = verify_bundled()
        with loading_pretrained(folder):
            self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32)
        self.bert.requires_grad_(False).eval()
        self.tokenizer = tokenizer_for(None)

    @torch.no_grad()
    def forward(self, captions: Sequence[str], batch_size: int = 64) -> Tensor:
        """(M, 384), of length 1."""
        device = next(self.bert.parameters()).device
        found = []
        for i in range(0, len(captions), batch_size):
            texts = list(captions[i : i + batch_size])
            given = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)
            hidden = self.bert(given["input_ids"], given["attention_mask"]).last_hidden_state  # (B, T, 384)
            real = given["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            found.append((hidden * real).sum(dim=1) / real.sum(dim=1))
        return F.normalize(torch.cat(found), dim=1)


class HuggingFaceClip(Clip):
    """A ``CLIPModel`` of transformers behind the same three calls; all of it trains.

    Args:
        model: the ``CLIPModel``.
        tokenizer: of its texts.
        mean, std: of the pixels that it takes, three numbers each.
    """

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        # What comes in has ImageNet's mean and standard deviation taken off; this one wants its own.
        self.register_buffer("shift", (MEAN - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1))
        self.register_buffer("factor", STD / torch.tensor(std).view(1, 3, 1, 1))

    @property
    def logit_scale(self) -> nn.Parameter:  # type: ignore[override]
        return self.model.logit_scale

    def picture_vectors(self, pixels: Tensor) -> Tensor:
        size = self.model.config.vision_config.image_size
        x = F.interpolate(_normalized(pixels), (size, size), mode="bicubic")
        x = x * self.get_buffer("factor") + self.get_buffer("shift")
        return F.normalize(_pooled(self.model.get_image_features(pixel_values=x)), dim=1)

    def caption_vectors(self, captions: Sequence[str]) -> Tensor:
        longest = self.model.config.text_config.max_position_embeddings
        given = self.tokenizer(list(captions), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        given = given.to(self.model.device)
        found = self.model.get_text_features(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
        return F.normalize(_pooled(found), dim=1)


def clip(name: str | None = None, weights: str = "imagenet", seed: int = 0) -> Clip:
    """A model of pictures and captions. Says what it loaded.

    Args:
        name: None for the workbook's own: frozen EfficientNet-Lite0 (fetched once), a new linear layer and MiniLM's
            sentence vectors. "tiny" for a small ``CLIPModel`` of transformers with random weights and MiniLM's
            tokenizer. Else any hub id or folder of a ``CLIPModel``, such as "openai/clip-vit-base-patch32".
        weights: of EfficientNet, "imagenet" or "random"; for the workbook's own alone.
        seed: of what is new; the global generator is not touched.

    Returns:
        A ``Clip``; ``model.stablelab_source`` says in words what it is.

    Raises:
        OSError: in one line, neither a folder, nor in the cache, nor can it be fetched.
        ValueError: in one line, no CLIP, or no such weights.
    """
    model: Any
    if name is None:
        with seeded_rng(seed):
            model = LockedClip(weights)
        source = "CLIP of frozen EfficientNet-Lite0 and locked MiniLM · new linear layer"
    elif name == "tiny":
        with seeded_rng(seed):
            model = _tiny()
        source = "tiny CLIPModel · random weights"
    else:
        model = _pretrained(name)
        source = f"{name} · pre-trained CLIPModel"
    model.stablelab_source = source
    logger.info(source)
    return model


def _tiny() -> HuggingFaceClip:
    from transformers import CLIPConfig, CLIPModel

    tokenizer = tokenizer_for(None)
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = {
        "vocab_size": len(tokenizer), "max_position_embeddings": 32, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id,
    }  # fmt: skip
    config = CLIPConfig(
        text_config={**tower, **words}, vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=64
    )
    return HuggingFaceClip(CLIPModel(config), tokenizer, MEAN.flatten().tolist(), STD.flatten().tolist())


def _pretrained(name: str) -> HuggingFaceClip:
    from transformers import AutoConfig, AutoImageProcessor, CLIPModel

    with loading_pretrained(Path(name)):
        config = AutoConfig.from_pretrained(name)
    if config.model_type != "clip":
        raise ValueError(f"{name} is no CLIP (a {config.model_type}); lab.bert and lab.resnet take models of one kind")
    with loading_pretrained(Path(name)):
        model = CLIPModel.from_pretrained(name, dtype=torch.float32)
        pixels = AutoImageProcessor.from_pretrained(name)
    return HuggingFaceClip(model, tokenizer_for(name), pixels.image_mean, pixels.image_std)


def _pooled(found: Any) -> Tensor:
    """The vectors themselves: transformers 5 returns an object that holds them, older ones a tensor."""
    return getattr(found, "pooler_output", found)


def _normalized(pixels: Tensor) -> Tensor:
    if pixels.dim() != 4 or pixels.shape[1] != 3:
        raise ValueError(f"pictures are (N, 3, H, W), not {tuple(pixels.shape)}")
    if pixels.dtype != torch.uint8:
        return pixels
    return pixels.float().div(255).sub(MEAN.to(pixels.device)).div(STD.to(pixels.device))
