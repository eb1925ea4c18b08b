"""The six tasks of the benchmark, each with a healthy recipe: four to set thresholds on, two others to be judged by.

Development: handwritten digits with a small residual net, movie reviews with the first two layers of MiniLM-BERT,
fractals with a convolutional net that has no batch norm, and product reviews with a recurrent net. Test: squares of
photographs with a vision transformer, and tweets with convolutions over words. They differ in task and in model. All
are small, so that a run takes seconds: pictures of 16 pixels a side, sentences of at most 14 to 28 tokens, the
feed-forward layers of BERT cut to their first 256 units, its vocabulary to what occurs.

Fractals and products were the test half of the first version of the doctor, whose thresholds had been set on digits
and movies alone. It was asked once: recall 0.91 of 320 sick runs, false alarms in 0.19 of 256 healthy ones, chiefly of
``overfitting``. Then they went over to development, and two new tasks took their place. Of these the tweets were first
split as they came; the doctor was alarmed by all of their healthy runs, and was right: 7 % of the validation tweets
stood in the training data with other signs at their end. Copies were taken out and the tweets were trained anew; no
threshold was touched after that first look.

The rates were tried on clean runs of three seeds, by the accuracy on test: digits 0.02, 0.05, 0.1, 0.2 (0.912 to
0.929), movies 1.5e-4, 3e-4, 6e-4 (0.768, 0.817, 0.835), fractals 0.04, 0.08, 0.16, 0.32 (0.945, 0.959, 0.956, 0.950),
products 1.5e-3, 3e-3, 6e-3 (0.800, 0.789, 0.806), patches 2e-3, 4e-3 (0.886, 0.904), tweets 1e-3, 2e-3, 4e-3 (0.954,
0.960, 0.959). What is taken is the best or within two points of it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...data.digits import digits as digit_pictures
from ...data.reviews import read_corpus
from ...data.tokenizers import tokenizer_for
from ...models.bert import bert
from ...models.fractals.ifs import counts, framed, grey, orbits, systems, varied
from ..setup import TensorExamples
from .recipe import Recipe, constant, cosine_to_0, linear_to_0, sgd

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# -- digits, a residual net --------------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, and the input beside them."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if stride > 1 or channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.shortcut is None else self.shortcut(x)
        return self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + beside)


class SmallResNet(nn.Module):
    """A stem and three residual blocks (He et al. 2016), and a linear head on the mean over places."""

    def __init__(self, classes: int, width: int = 12) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        blocks = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.blocks = nn.Sequential(*(ResidualBlock(*sizes) for sizes in blocks))
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.relu(self.bn(self.conv(x)))).mean(dim=(2, 3)))


@cache
def digits() -> Recipe:
    """MNIST's digits at 16 × 16 pixels and a small residual net; SGD with momentum, falling on a line."""
    task = digit_pictures(train=640, validation=240, test=800, size=16)
    whole = [split.collate(torch.arange(len(split))) for split in (task.train, task.validation, task.test)]
    grey = [inputs[:, :1] for inputs, _ in whole if isinstance(inputs, Tensor)]  # the three channels are one
    mean, deviation = grey[0].mean(), grey[0].std()
    parts = [TensorExamples((x - mean) / deviation, y) for x, (_, y) in zip(grey, whole, strict=True)]
    return Recipe(
        name="digits",
        make_model=partial(SmallResNet, 10),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=10,
        learning_rate=0.05,
        steps=90,
        batch_size=32,
        make_optimizer=sgd,
        weight_decay=1e-4,
        schedule=linear_to_0,
    )


# -- movie reviews, BERT -----------------------------------------------------------------------------------------------


def _without_copies(sentences: Sequence[str]) -> list[int]:
    """Which sentences stay if of those that share more than half of their words, signs apart, only the first does."""
    kept: list[int] = []
    words = [frozenset(re.findall(r"[a-z']+", sentence.lower())) for sentence in sentences]
    for i, mine in enumerate(words):
        if mine and all(2 * len(mine & words[j]) <= len(mine | words[j]) for j in kept):
            kept.append(i)
    return kept


def short_reviews(
    corpus: str, at_least: float, tokens: int, sizes: Sequence[int], copies: bool = True
) -> tuple[list[TensorExamples], PreTrainedTokenizerBase]:
    """Sentences of at most so many tokens that people were clear about, balanced, and the tokenizer cut to them.

    Args:
        corpus: of the four in ``stablelab.reviews``.
        at_least: how far from 0 the mean rating has to be.
        tokens: how many a sentence may have; shorter ones are padded to it.
        sizes: how many examples each part has.
        copies: whether sentences that share most of their words with another may stay.

    Returns:
        A part for each size, and a tokenizer of the pieces that occur, which cuts these sentences as MiniLM's does.
    """
    sentences, ratings = read_corpus(corpus)
    if not copies:
        kept_ones = _without_copies(sentences)
        sentences, ratings = [sentences[i] for i in kept_ones], ratings[kept_ones]
    clear = (ratings.abs() >= at_least).nonzero().flatten().tolist()
    whole = tokenizer_for(None)
    cut = whole([sentences[i] for i in clear])["input_ids"]
    short = [(i, ids) for i, ids in zip(clear, cut, strict=True) if len(ids) <= tokens]
    generator = torch.Generator().manual_seed(0)
    per_class = []
    for c in (0, 1):
        members = [pair for pair in short if int(ratings[pair[0]] > 0) == c]
        per_class.append([members[j] for j in torch.randperm(len(members), generator=generator).tolist()])
    drawn = [pair for both in zip(*per_class, strict=False) for pair in both][: sum(sizes)]
    special = {whole.pad_token_id, whole.unk_token_id, whole.cls_token_id, whole.sep_token_id, whole.mask_token_id}
    kept = sorted(special | {piece for _, ids in drawn for piece in ids})
    vocabulary = {whole.convert_ids_to_tokens(old): new for new, old in enumerate(kept)}
    tokenizer = type(whole)(vocab=vocabulary)
    tokenizer.stablelab_pieces = torch.tensor(kept)
    rows = tokenizer(
        [sentences[i] for i, _ in drawn], padding="max_length", max_length=tokens, truncation=True, return_tensors="pt"
    )
    targets = torch.tensor([int(ratings[i] > 0) for i, _ in drawn])
    order = torch.randperm(len(drawn), generator=generator)
    parts = []
    for where in order.split(list(sizes)):
        inputs = {name: rows[name][where] for name in ("input_ids", "attention_mask")}
        parts.append(TensorExamples(inputs, targets[where]))
    return parts, tokenizer


@cache
def _cut_bert(layers: int, units: int) -> Callable[[Tensor], Any]:
    """MiniLM with its first layers, the first units of their feed-forward parts, and the pieces that are given."""
    whole = bert(2, pooling="mean")

    def cut(pieces: Tensor) -> Any:
        model = copy.deepcopy(whole)
        model.bert.encoder.layer = model.bert.encoder.layer[:layers]
        table = model.bert.embeddings.word_embeddings.weight.detach()[pieces].clone()
        model.bert.embeddings.word_embeddings = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)
        for layer in model.bert.encoder.layer:
            wide, narrow = layer.intermediate.dense, layer.output.dense
            wide.weight, wide.bias = (
                nn.Parameter(wide.weight[:units].detach()),
                nn.Parameter(wide.bias[:units].detach()),
            )
            narrow.weight = nn.Parameter(narrow.weight[:, :units].detach().clone())
            wide.out_features = narrow.in_features = units
        model.config.num_hidden_layers, model.config.intermediate_size = layers, units
        model.config.vocab_size, model.config.pad_token_id = len(pieces), 0
        return model

    return cut


def _with_new_head(model: nn.Module) -> nn.Module:
    """A copy whose head is drawn anew, from torch's generator."""
    model = copy.deepcopy(model)
    head: Any = model.get_submodule("classifier")
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return model


@cache
def movies() -> Recipe:
    """Movie reviews of at most 14 tokens and two layers of MiniLM, read as the mean over the tokens; AdamW."""
    parts, tokenizer = short_reviews("movies", 1.5, 14, (256, 96, 320))
    model = _cut_bert(2, 256)(tokenizer.stablelab_pieces)
    return Recipe(
        name="movies",
        make_model=partial(_with_new_head, model),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=2,
        learning_rate=3e-4,
        steps=66,
        batch_size=12,
        weight_decay=0.01,
        schedule=linear_to_0,
        warmup=6,
        max_norm=1.0,
        tokenizer=tokenizer,
    )


# -- fractals, a convolutional net without batch norm ------------------------------------------------------------------


class PlainConvNet(nn.Module):
    """Three convolutions with GELU, the last two with group norm (Wu & He 2018), dropout, and a head of two layers."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(4, width),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(4, 2 * width),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * width, 64),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@cache
def fractals() -> Recipe:
    """Noisy pictures of eight kinds of fractals, at 16 × 16 pixels; SGD with momentum, falling on a line."""
    classes, each = 8, 200
    generator = torch.Generator().manual_seed(0)
    drawn = orbits(varied(systems(classes), each, spread=0.4), 16, generator)
    pictures = grey(counts(framed(drawn), 16)).unsqueeze(1)  # (N, 1, 16, 16)
    pictures = (pictures - pictures.mean()) / pictures.std()
    pictures = pictures + 0.8 * torch.randn(pictures.shape, generator=generator)
    targets = torch.arange(classes).repeat_interleave(each)
    order = torch.randperm(len(targets), generator=generator)
    parts = [TensorExamples(pictures[where], targets[where]) for where in order.split([640, 240, 720])]
    return Recipe(
        name="fractals",
        make_model=partial(PlainConvNet, classes),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=classes,
        learning_rate=0.08,
        steps=90,
        batch_size=32,
        make_optimizer=sgd,
        weight_decay=1e-4,
        schedule=linear_to_0,
    )


# -- product reviews, a recurrent net ----------------------------------------------------------------------------------


class RecurrentNet(nn.Module):
    """Word embeddings, a gated recurrent unit in both directions (Cho et al. 2014), and the mean over real tokens."""

    def __init__(self, embeddings: Tensor, classes: int, width: int = 48) -> None:
        super().__init__()
        self.embeddings = nn.Embedding.from_pretrained(embeddings, freeze=False, padding_idx=0)
        self.narrow = nn.Linear(embeddings.shape[1], 96)
        self.gru = nn.GRU(96, width, batch_first=True, bidirectional=True)
        self.hidden = nn.Linear(2 * width, 48)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(0.2)
        self.head = nn.Linear(48, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        real = attention_mask.unsqueeze(-1).float()  # (B, T, 1)
        states, _ = self.gru(self.narrow(self.embeddings(input_ids)) * real)  # (B, T, 2 width)
        mean = (states * real).sum(1) / real.sum(1).clamp(min=1)
        return self.head(self.dropout(self.relu(self.hidden(mean))))


def _on_words(net: type[nn.Module], tokenizer: PreTrainedTokenizerBase, classes: int) -> Callable[[], nn.Module]:
    """What makes such a net, on MiniLM's vectors of the pieces of this tokenizer, ten times as long."""
    words = bert(2, pooling="mean").bert.embeddings.word_embeddings.weight.detach()
    vectors = 10 * words[tokenizer.stablelab_pieces].clone()
    return lambda: net(vectors.clone(), classes)


@cache
def products() -> Recipe:
    """Product reviews of at most 20 tokens and a recurrent net on MiniLM's word embeddings; AdamW."""
    parts, tokenizer = short_reviews("products", 1.0, 20, (480, 160, 280))
    return Recipe(
        name="products",
        make_model=_on_words(RecurrentNet, tokenizer, 2),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=2,
        learning_rate=3e-3,
        steps=100,
        batch_size=20,
        weight_decay=0.01,
        schedule=linear_to_0,
        warmup=10,
        max_norm=1.0,
        tokenizer=tokenizer,
    )


# -- patches of photographs, a vision transformer ----------------------------------------------------------------------


class PatchTransformer(nn.Module):
    """A vision transformer (Dosovitskiy et al. 2021): tokens of 4 × 4 pixels, two layers with layer norm in front."""

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__()
        self.tokens = nn.Conv2d(3, width, 4, stride=4)
        self.places = nn.Parameter(0.02 * torch.randn(1, 16, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.hidden, self.relu = nn.Linear(width, width), nn.ReLU()
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x).flatten(2).transpose(1, 2) + self.places  # (B, 16, width)
        return self.head(self.relu(self.hidden(self.layers(tokens).mean(dim=1))))


@cache
def patches() -> Recipe:
    """Squares of 16 × 16 pixels cut from two photographs: which one, and is it a negative?

    AdamW, falling on a cosine.
    """
    from sklearn.datasets import load_sample_images

    generator = torch.Generator().manual_seed(0)
    squares = []
    for photograph in load_sample_images().images:  # (427, 640, 3) each
        pixels = torch.from_numpy(photograph[:416].copy()).permute(2, 0, 1) / 255
        grid = pixels.unfold(1, 16, 16).unfold(2, 16, 16).permute(1, 2, 0, 3, 4)  # (26, 40, 3, 16, 16)
        squares.append(grid.flatten(0, 1))
    whole = torch.cat(squares)
    ways = torch.randint(2, (len(whole),), generator=generator)
    changed = torch.stack([whole, 1 - whole])[ways, torch.arange(len(whole))]
    pictures = (changed - changed.mean()) / changed.std()
    targets = 2 * torch.arange(2).repeat_interleave(len(squares[0])) + ways
    order = torch.randperm(len(targets), generator=generator)
    parts = [TensorExamples(pictures[where], targets[where]) for where in order.split([1000, 240, 840])]
    return Recipe(
        name="patches",
        make_model=partial(PatchTransformer, 4),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=4,
        learning_rate=4e-3,
        steps=110,
        batch_size=32,
        weight_decay=0.05,
        schedule=cosine_to_0,
        warmup=8,
        max_norm=1.0,
    )


# -- tweets, convolutions over words -----------------------------------------------------------------------------------


class TextConvNet(nn.Module):
    """Convolutions over 2, 3 and 4 words and the highest answer of each (Kim 2014), dropout, and a linear head."""

    def __init__(self, embeddings: Tensor, classes: int, width: int = 32) -> None:
        super().__init__()
        self.embeddings = nn.Embedding.from_pretrained(embeddings, freeze=False, padding_idx=0)
        self.convolutions = nn.ModuleList(nn.Conv1d(embeddings.shape[1], width, k, padding=k // 2) for k in (2, 3, 4))
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(0.3)
        self.head = nn.Linear(3 * width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        real = attention_mask.unsqueeze(-1).float()  # (B, T, 1)
        words = (self.embeddings(input_ids) * real).transpose(1, 2)  # (B, D, T)
        inside = real.transpose(1, 2)  # (B, 1, T)
        found = []
        for convolution in self.convolutions:
            answers = self.relu(convolution(words))[..., : inside.shape[-1]]
            found.append((answers * inside).amax(dim=-1))
        return self.head(self.dropout(torch.cat(found, dim=1)))


@cache
def tweets() -> Recipe:
    """Tweets of at most 28 tokens and convolutions over MiniLM's word embeddings; AdamW at a constant rate.

    The corpus holds many a tweet several times with other words left out or other signs at its end. Split as they came,
    7 % of the validation tweets stood in the training data as well, so that the doctor called every healthy run sick.
    """
    parts, tokenizer = short_reviews("tweets", 1.0, 28, (480, 160, 320), copies=False)
    return Recipe(
        name="tweets",
        make_model=_on_words(TextConvNet, tokenizer, 2),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=2,
        learning_rate=2e-3,
        steps=120,
        batch_size=24,
        weight_decay=0.0,
        schedule=constant,
        tokenizer=tokenizer,
    )


TASKS: dict[str, Callable[[], Recipe]] = {
    "digits": digits,
    "movies": movies,
    "fractals": fractals,
    "products": products,
    "patches": patches,
    "tweets": tweets,
}
PARTS = {"development": ("digits", "movies", "fractals", "products"), "test": ("patches", "tweets")}
