"""CLIP on emoji beside its controls: ``python -m stablelab.studies.pictures_with_words``.

A linear layer from frozen features to locked sentence vectors, trained by the contrastive loss, beside ridge regression
and the nearest picture; over five folds of the concepts, of which one is tested and one tuned on. Then the temperature,
Chinese and English that meet through the pictures, worse pictures, and other seeds. The results lie in the package; the
command makes them anew in about five minutes on one core, and stopped at any time it goes on.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import corrupt_pictures
from ..data.emoji import FOLDS, emoji_groups, emoji_pixels, emoji_places, emoji_table
from ..data.image_corruptions import IMAGE_CORRUPTIONS
from ..data.images import Pictures
from ..data.tasks import Split
from ..formulas import clip_loss, recall_at
from ..stability.robustness import Robustness, robustness
from ..stability.sweeps.execution import one_thread
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "pictures_with_words.npz"
ENCODERS = (("ResNet-18", 32), ("ResNet-18", 64), ("EfficientNet-Lite0", 32), ("EfficientNet-Lite0", 64),
            ("EfficientNet-Lite0", 96))  # fmt: skip
CHOSEN = "EfficientNet-Lite0, 96 px"
PENALTIES = (0.1, 0.3, 1.0, 3.0)  # of ridge regression, times the number of pictures
RATES = (3e-3, 1e-2)
DROPOUTS = (0.0, 0.5)  # of features
SCALES = (1.0, 5.0, 14.0, 50.0, 100.0, 1000.0)
HELD_RATE = 1e-2  # with the scale held, and of two languages
START = 1 / 0.07
STEPS, BATCH = 60, 256
LANGUAGE_STEPS, WIDTH = 100, 256
CHARACTER_PENALTIES = (1e-4, 1e-3, 1e-2)
MEETINGS = ("through pictures", "Chinese alone", "English alone", "wrong pictures", "paired as text")
SEVERITY = 3
SEEDS = range(5)  # of the first fold
LARGEST = 6.0  # of a feature: a mean of ReLU6
MEASURES = ("pictures@1", "captions@1", "pictures@10", "captions@10", "groups")


@dataclass(frozen=True)
class Fold:
    """One fold: features standardized, sentence vectors, and which rows are whose.

    Attributes:
        places: of train, validation and test the rows.
        x: (N, D) features, standardized by the training split.
        t: (N, 384) sentence vectors of the captions, of length 1.
        prompts: (8, 384) those of the names of the groups.
        groups: (N,) int64.
    """

    places: dict[str, Tensor]
    x: Tensor
    t: Tensor
    prompts: Tensor
    groups: Tensor


def standardized(x: Tensor, train: Tensor) -> Tensor:
    """Features (N, D) with the mean and the deviation of the training rows taken off."""
    seen = x[train]
    return (x - seen.mean(dim=0)) / (seen.std(dim=0) + 1e-3)


@lru_cache(maxsize=1)
def sentence_vectors() -> tuple[Tensor, Tensor, Tensor]:
    """MiniLM's vectors of the English captions, of the Chinese ones (1644, 384), and of the groups' names (8, 384)."""
    from ..models.clip import SentenceVectors

    encode, table = SentenceVectors(), emoji_table()
    groups = dict.fromkeys(row["group"] for row in table)
    return encode([row["en"] for row in table]), encode([row["zh"] for row in table]), encode(list(groups))


@lru_cache(maxsize=1)
def group_numbers() -> Tensor:
    """(1644,) int64."""
    names = list(dict.fromkeys(row["group"] for row in emoji_table()))
    return torch.tensor([names.index(row["group"]) for row in emoji_table()])


def fold_of(number: int, features: Tensor) -> Fold:
    """Fold ``number`` with these features (1644, D)."""
    places = emoji_places(number)
    t, _, prompts = sentence_vectors()
    return Fold(places, standardized(features, places["train"]), t, prompts, group_numbers())


# -- features ----------------------------------------------------------------------------------------------------------


def features_of(pixels: Tensor, encoder: str, size: int) -> Tensor:
    """(N, D), not negative: what the pooled last layer of a frozen encoder says of pictures enlarged to ``size``."""
    from ..models import efficientnet, resnet

    model: Any = resnet(2) if encoder == "ResNet-18" else efficientnet()
    model.fc = nn.Identity()
    model.eval()
    pictures, found = Pictures(pixels), []
    with torch.no_grad():
        for positions in torch.arange(len(pixels)).split(64):
            found.append(model(F.interpolate(pictures.take(positions), (size, size), mode="bilinear")))
    return torch.cat(found)


def to_bytes(features: Tensor) -> np.ndarray:
    """Features from 0 to 6 as whole numbers from 0 to 255."""
    return (features.clamp(0, LARGEST) * (255 / LARGEST)).round().to(torch.uint8).numpy()


def from_bytes(kept: np.ndarray) -> Tensor:
    """What ``to_bytes`` kept, as float32."""
    return torch.from_numpy(kept).float() * (LARGEST / 255)


# -- contenders --------------------------------------------------------------------------------------------------------


def ridge(x: Tensor, t: Tensor, penalty: float) -> Tensor:
    """(D, E): the matrix that minimizes the mean of ‖x W - t‖² + penalty ‖W‖² over the rows."""
    return torch.linalg.solve(x.T @ x + penalty * len(x) * torch.eye(x.shape[1]), x.T @ t)


def contrastive(
    x: Tensor, t: Tensor, learning_rate: float, seed: int, dropout: float = 0.0, scale: float | None = None,
    steps: int = STEPS,
) -> tuple[Tensor, float]:  # fmt: skip
    """A matrix (D, E) trained by the contrastive loss, and the scale in the end.

    AdamW with a cosine, batches of 256.

    Args:
        x: features (N, D).
        t: sentence vectors (N, E).
        learning_rate: at its height.
        seed: of the first matrix, the order of the batches and dropout.
        dropout: of features.
        scale: held at this; None learns it, from 1/0.07.
        steps: how many.
    """
    generator = torch.Generator().manual_seed(seed)
    W = (torch.randn(x.shape[1], t.shape[1], generator=generator) / math.sqrt(x.shape[1])).requires_grad_()
    theta = torch.tensor(math.log(scale or START), requires_grad=scale is None)
    learnt = [W] if scale is not None else [W, theta]
    optimizer = torch.optim.AdamW(learnt, lr=learning_rate, weight_decay=0.1)
    for k, batch in enumerate(batches(len(x), steps, generator)):
        inputs = x[batch]
        if dropout:
            inputs = inputs * (torch.rand(inputs.shape, generator=generator) > dropout) / (1 - dropout)
        loss = clip_loss(inputs @ W, t[batch], theta)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * k / steps))
        optimizer.step()
    return W.detach(), math.exp(float(theta.detach()))


def batches(n: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of ``steps`` batches: shuffles of n, one after another, cut into 256."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < min(BATCH, n):
            order = torch.randperm(n, generator=generator)
        batch, order = order[:BATCH], order[BATCH:]
        yield batch


def measures(u: Tensor, fold: Fold, split: str, centre: Tensor | float = 0.0) -> dict[str, float]:
    """The recalls and the zero-shot accuracy of vectors u (n, 384) of the pictures of a split."""
    where = fold.places[split]
    unit = F.normalize(u, dim=1)
    S = unit @ F.normalize(fold.t[where] - centre, dim=1).T
    found = [*recall_at(S, 1), *recall_at(S, 10)]
    answers = (unit @ F.normalize(fold.prompts - centre, dim=1).T).argmax(dim=1)
    found.append(float((answers == fold.groups[where]).double().mean()))
    return dict(zip(MEASURES, found, strict=True))


def nearest(a: Tensor, b: Tensor, cosine: bool) -> Tensor:
    """(n,) which row of b is nearest to each row of a."""
    if cosine:
        return (F.normalize(a, dim=1) @ F.normalize(b, dim=1).T).argmax(dim=1)
    return torch.cdist(a, b).argmin(dim=1)


def contender_rows(number: int, features: Tensor) -> Iterator[dict[str, Any]]:
    """All contenders of one fold at all settings: the measures on validation and test."""
    fold = fold_of(number, features)
    train = fold.places["train"]
    x, t = fold.x[train], fold.t[train]
    mean = t.mean(dim=0)
    pixels = emoji_pixels().float().flatten(1)

    def row(method: str, vectors: Callable[[str], Tensor], centre: Tensor | float = 0.0, **more: Any) -> dict[str, Any]:
        found = {"method": method, "fold": number, "rate": 0.0, "setting": 0.0, "scale": 0.0, **more}
        for split in ("validation", "test"):
            for name, value in measures(vectors(split), fold, split, centre).items():
                found[f"{split} {name}"] = value
        return found

    for method, space, cosine in (("nearest pixels", pixels, False), ("nearest features", fold.x, True)):
        yield row(method, lambda s, a=space, c=cosine: t[nearest(a[fold.places[s]], a[train], c)])  # type: ignore[misc]
    one_hot = F.one_hot(fold.groups[train], 8).float() - 1 / 8
    for penalty in PENALTIES:
        W, centred, classes = ridge(x, torch.cat([t, t - mean, one_hot], dim=1), penalty).split([384, 384, 8], dim=1)
        yield row("ridge", lambda s, W=W: fold.x[fold.places[s]] @ W, setting=penalty)  # type: ignore[misc]
        yield row("ridge, centred", lambda s, W=centred: fold.x[fold.places[s]] @ W, mean, setting=penalty)  # type: ignore[misc]
        probe = {"method": "group labels", "fold": number, "rate": 0.0, "setting": penalty, "scale": 0.0}
        for split in ("validation", "test"):
            where = fold.places[split]
            right = (fold.x[where] @ classes).argmax(dim=1) == fold.groups[where]
            probe |= {f"{split} {name}": math.nan for name in MEASURES}
            probe[f"{split} groups"] = float(right.double().mean())
        yield probe
    for rate in RATES:
        for dropout in DROPOUTS:
            W, scale = contrastive(x, t, rate, number, dropout)
            yield row("contrastive", lambda s, W=W: fold.x[fold.places[s]] @ W,  # type: ignore[misc]
                      rate=rate, setting=dropout, scale=scale)  # fmt: skip
    for held in SCALES:
        W, _ = contrastive(x, t, HELD_RATE, number, 0.0, held)
        yield row("held", lambda s, W=W: fold.x[fold.places[s]] @ W,  # type: ignore[misc]
                  rate=HELD_RATE, setting=held, scale=held)  # fmt: skip


def encoder_rows(encoder: str, size: int, features: Tensor) -> Iterator[dict[str, Any]]:
    """Ridge regression on the features of one encoder: the mean recall@10 on validation, fold by fold."""
    for number in range(FOLDS):
        fold = fold_of(number, features)
        train, validation = fold.places["train"], fold.places["validation"]
        mean = fold.t[train].mean(dim=0)
        best = 0.0
        for penalty in PENALTIES:
            W = ridge(fold.x[train], fold.t[train] - mean, penalty)
            found = measures(fold.x[validation] @ W, fold, "validation", mean)
            best = max(best, (found["pictures@10"] + found["captions@10"]) / 2)
        yield {"encoder": f"{encoder}, {size} px", "fold": number, "recall": best}


# -- two languages -----------------------------------------------------------------------------------------------------


def character_counts(captions: Sequence[str], train: Sequence[int]) -> Tensor:
    """(N, V): how often each character of the training captions is in each caption; rows of length 1, or 0."""
    known = {c: i for i, c in enumerate(sorted({c for i in train for c in captions[i]}))}
    counts = torch.zeros(len(captions), len(known))
    for i, caption in enumerate(captions):
        for c in caption:
            if c in known:
                counts[i, known[c]] += 1
    return F.normalize(counts, dim=1)


def meeting(
    x: Tensor, zh: Tensor, en: Tensor, how: str, learning_rate: float, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Three matrices to one space of 256, of pictures, Chinese and English, trained by the pairs of ``how``."""
    generator = torch.Generator().manual_seed(seed)
    P, C, E = (
        (torch.randn(a.shape[1], WIDTH, generator=generator) / math.sqrt(a.shape[1])).requires_grad_()
        for a in (x, zh, en)
    )
    theta = torch.tensor(math.log(START), requires_grad=True)
    wrong = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed + 1000))
    optimizer = torch.optim.AdamW([P, C, E, theta], lr=learning_rate, weight_decay=0.1)
    for k, batch in enumerate(batches(len(x), LANGUAGE_STEPS, generator)):
        p, c, e = x[batch] @ P, zh[batch] @ C, en[batch] @ E
        losses = []
        if how == "paired as text":
            losses.append(clip_loss(c, e, theta))
        if how == "no picture in both":
            one, other = batch[batch % 2 == 0], batch[batch % 2 == 1]
            losses += [clip_loss(x[one] @ P, zh[one] @ C, theta), clip_loss(x[other] @ P, en[other] @ E, theta)]
        if how in ("through pictures", "numbers for pictures", "Chinese alone"):
            losses.append(clip_loss(p, c, theta))
        if how == "wrong pictures":  # each Chinese caption with a picture that is not its own
            losses.append(clip_loss(x[wrong[batch]] @ P, c, theta))
        if how in ("through pictures", "numbers for pictures", "English alone", "wrong pictures"):
            losses.append(clip_loss(p, e, theta))
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * k / LANGUAGE_STEPS))
        optimizer.step()
    return P.detach(), C.detach(), E.detach()


def language_rows(number: int, features: Tensor) -> Iterator[dict[str, Any]]:
    """How often a Chinese caption finds the English one of the same picture, under each kind of training."""
    fold = fold_of(number, features)
    train = fold.places["train"]
    zh = character_counts([row["zh"] for row in emoji_table()], train.tolist())
    en = fold.t - fold.t[train].mean(dim=0)

    minilm = sentence_vectors()[1]
    both = {s: found(minilm[fold.places[s]], fold.t[fold.places[s]]) for s in ("validation", "test")}
    yield {"how": "MiniLM as it is", "fold": number, "rate": 0.0, **_by_split(both)}
    for how in MEETINGS:
        P, C, E = meeting(fold.x[train], zh[train], en[train], how, HELD_RATE, number)
        both = {s: found(zh[w] @ C, en[w] @ E, fold.x[w] @ P) for s, w in fold.places.items() if s != "train"}
        yield {"how": how, "fold": number, "rate": HELD_RATE, **_by_split(both)}


def identity_rows(number: int, features: Tensor) -> Iterator[dict[str, Any]]:
    """Is it what the pictures show, or that a picture has two names? Two controls that keep only one of them.

    "numbers for pictures": random numbers, others for each picture, in place of features: they show nothing, and still
    tell which Chinese and which English name belong together. "no picture in both": Chinese is trained on every second
    picture and English on the others.
    """
    fold = fold_of(number, features)
    train, test = fold.places["train"], fold.places["test"]
    zh = character_counts([row["zh"] for row in emoji_table()], train.tolist())
    en = fold.t - fold.t[train].mean(dim=0)
    noise = torch.randn(fold.x.shape, generator=torch.Generator().manual_seed(number))
    for how, x in (("numbers for pictures", noise), ("no picture in both", fold.x)):
        P, C, E = meeting(x[train], zh[train], en[train], how, HELD_RATE, number)
        both = {s: found(zh[w] @ C, en[w] @ E, x[w] @ P) for s, w in fold.places.items() if s != "train"}
        yield {"how": how, "fold": number, "rate": HELD_RATE, **_by_split(both)}
    first, second = train[::2], train[1::2]
    for how, x, one, other in (
        ("regressions, numbers", noise, train, train), ("regressions, no picture in both", fold.x, first, second)
    ):  # fmt: skip
        predicted = zh[test] @ ridge(zh[one], x[one], 1e-3) @ ridge(x[other], en[other], 1.0)
        both = {"validation": dict.fromkeys(("zh-en@1", "zh-en@10", "zh-picture@10"), math.nan)}
        both["test"] = found(predicted, en[test])
        yield {"how": how, "fold": number, "rate": 1e-3, **_by_split(both)}


def regression_rows(number: int, features: Tensor) -> Iterator[dict[str, Any]]:
    """The same by two ridge regressions, from characters to features and from features to English.

    The first penalty is the one with which Chinese finds pictures best on validation, the second that of the
    contenders in the middle.
    """
    fold = fold_of(number, features)
    train = fold.places["train"]
    zh = character_counts([row["zh"] for row in emoji_table()], train.tolist())
    en = fold.t - fold.t[train].mean(dim=0)
    to_english = ridge(fold.x[train], en[train], 1.0)
    rows = []
    for penalty in CHARACTER_PENALTIES:
        seen = zh @ ridge(zh[train], fold.x[train], penalty)
        both = {}
        for split in ("validation", "test"):
            where = fold.places[split]
            both[split] = found(seen[where] @ to_english, en[where])
            S = F.normalize(seen[where], dim=1) @ F.normalize(fold.x[where], dim=1).T
            both[split]["zh-picture@10"] = recall_at(S, 10)[0]
        rows.append({"how": "two regressions", "fold": number, "rate": penalty, **_by_split(both)})
    yield max(rows, key=lambda row: row["validation zh-picture@10"])


def found(c: Tensor, e: Tensor, p: Tensor | None = None) -> dict[str, float]:
    """How often Chinese vectors find the English ones and, where these are given, the pictures' of the same rows."""
    S = F.normalize(c, dim=1) @ F.normalize(e, dim=1).T
    to_pictures = math.nan
    if p is not None:
        to_pictures = recall_at(F.normalize(c, dim=1) @ F.normalize(p, dim=1).T, 10)[0]
    return {"zh-en@1": recall_at(S, 1)[0], "zh-en@10": recall_at(S, 10)[0], "zh-picture@10": to_pictures}


def _by_split(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {f"{split} {name}": value for split, values in found.items() for name, value in values.items()}


# -- worse pictures, other seeds ---------------------------------------------------------------------------------------


class FeatureRows:
    """Features as a split keeps its examples.

    Args:
        rows: (N, D).
    """

    lengths = None

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> Tensor:
        return self.rows[positions]

    def raw(self, i: int) -> Tensor:
        return self.rows[i]

    def digest(self) -> bytes:
        return self.rows.numpy().tobytes()


class Named(nn.Module):
    """A zero-shot classifier on features: the class whose prompt is nearest.

    Args:
        W: (D, E).
        prompts: (C, E).
    """

    def __init__(self, W: Tensor, prompts: Tensor) -> None:
        super().__init__()
        self.W = nn.Parameter(W, requires_grad=False)
        self.register_buffer("prompts", F.normalize(prompts, dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) cosines."""
        return F.normalize(x @ self.W, dim=1) @ self.get_buffer("prompts").T


def seeds_and_corruptions(features: Tensor, rate: float, dropout: float, penalty: float) -> dict[str, Any]:
    """Five seeds of the contrastive layer and the ridge on fold 0: answers, and errors under each corruption."""
    fold = fold_of(0, features)
    train, where = fold.places["train"], fold.places["test"]
    x, t = fold.x[train], fold.t[train]
    mean = t.mean(dim=0)
    layers = [contrastive(x, t, rate, seed, dropout)[0] for seed in SEEDS]
    models = [Named(W, fold.prompts) for W in layers]
    reference = Named(ridge(x, t - mean, penalty), fold.prompts - mean)
    classes = emoji_groups().classes
    seen = features[train]

    def split(of: Tensor) -> Split:
        standard = (of - seen.mean(dim=0)) / (seen.std(dim=0) + 1e-3)
        return Split(FeatureRows(standard), fold.groups[where], classes)

    worse = {
        name: split(features_of(corrupt_pictures(emoji_pixels()[where], name, SEVERITY), *_encoder()))
        for name in IMAGE_CORRUPTIONS
    }
    clean = split(features[where])
    found = {}
    for name, group in (("contrastive", models), ("ridge", [reference])):
        judged = robustness(group, clean, lambda each, _: worse[each], IMAGE_CORRUPTIONS, (SEVERITY,), name)
        found[name] = {"clean": judged.clean.astype(int).tolist(), "corrupted": judged.corrupted.astype(int).tolist()}
    captions = F.normalize(fold.t[where], dim=1)
    return {
        **found,
        "groups": [model(fold.x[where]).argmax(dim=1).tolist() for model in models],
        "captions": [(F.normalize(fold.x[where] @ W, dim=1) @ captions.T).argmax(dim=1).tolist() for W in layers],
    }


def _encoder() -> tuple[str, int]:
    return next((name, size) for name, size in ENCODERS if f"{name}, {size} px" == CHOSEN)


# -- what lies in the package ------------------------------------------------------------------------------------------


def features() -> Tensor:
    """(1644, 1280) float32: what EfficientNet-Lite0 says of the emoji at 96 pixels, in the order of ``emoji_table``."""
    return from_bytes(read_column(FILE, "features"))


def contenders() -> pandas.DataFrame:
    """A row for each method, fold and setting.

    Columns: method, fold, rate, setting (the penalty of "ridge", the dropout of "contrastive", the scale of "held"),
    scale (in the end), and of both splits: pictures@1 (a picture finds its caption), captions@1 (the other way),
    pictures@10, captions@10, and groups, the zero-shot accuracy; then tuned: whether the setting is the one with the
    best validation of its method and fold (mean of the two recalls@10; of "group labels" the accuracy), with "held"
    for each scale by itself.
    """
    table = read_table(FILE, prefix="contender ")
    merit = (table["validation pictures@10"] + table["validation captions@10"]) / 2
    merit = merit.fillna(table["validation groups"])
    scale = table.setting.where(table.method == "held", 0.0)
    best = merit.groupby([table.method, table.fold, scale]).idxmax()
    return table.assign(merit=merit, tuned=table.index.isin(best))


def languages() -> pandas.DataFrame:
    """A row for each kind of training and fold: how, fold, rate; zh-en@1, zh-en@10, zh-picture@10 of both splits."""
    return read_table(FILE, prefix="language ")


def encoders() -> pandas.DataFrame:
    """Of each encoder and fold the mean recall@10 of ridge regression on validation: encoder, fold, recall."""
    return read_table(FILE, prefix="encoder ")


def robust(name: str) -> Robustness:
    """The zero-shot errors of "contrastive" (five seeds) or "ridge" on the test pictures of fold 0, clean and worse."""
    clean, corrupted = (read_column(FILE, f"{name} {each}").astype(bool) for each in ("clean", "corrupted"))
    return Robustness(name, IMAGE_CORRUPTIONS, (SEVERITY,), clean, corrupted)


def answers(what: str) -> np.ndarray:
    """(5, 329): of five seeds the "groups" or the "captions" that each test picture of fold 0 was given."""
    return read_column(FILE, f"answers {what}").astype(np.int64)


def tuned_setting(rows: Sequence[dict[str, Any]], method: str, number: int = 0) -> dict[str, Any]:
    """The row of a method in a fold with the best mean recall@10 on validation."""
    mine = [row for row in rows if row["method"] == method and row["fold"] == number]
    return max(mine, key=lambda row: row["validation pictures@10"] + row["validation captions@10"])


def main() -> None:
    """Do what is not done, and write the file."""
    out = parser_of("pictures_with_words", __doc__).parse_args().out
    done = Done(out / "pictures_with_words.part.jsonl")

    def extracted(encoder: str, size: int) -> Tensor:
        kept = out / f"features-{encoder}-{size}.npy"
        if not kept.exists():
            np.save(kept, features_of(emoji_pixels(), encoder, size).numpy())
        return torch.from_numpy(np.load(kept))

    with one_thread():
        tried = []
        for each in ENCODERS:
            tried += done.once(each, lambda e, s: encoder_rows(e, s, extracted(e, s)), *each)
        x = from_bytes(to_bytes(extracted(*_encoder())))  # as they are kept
        judged, met = [], []
        for k in range(FOLDS):
            judged += done.once(("contenders", k), contender_rows, k, x)
            for rows in (language_rows, identity_rows, regression_rows):
                met += done.once((rows.__name__, k), rows, k, x)
        best, flat = tuned_setting(judged, "contrastive"), tuned_setting(judged, "ridge, centred")
        last = done.once("seeds", seeds_and_corruptions, x, best["rate"], best["setting"], flat["setting"])
    write(out / FILE.name, to_bytes(x), tried, judged, met, last)


def write(
    file: Path, kept: np.ndarray, tried: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]],
    met: Sequence[dict[str, Any]], last: dict[str, Any],
) -> None:  # fmt: skip
    """Keep what was found."""
    columns: dict[str, Any] = {"features": kept}
    for prefix, rows in (("encoder", tried), ("contender", found), ("language", met)):
        columns |= {f"{prefix} {n}": np.array([row[n] for row in rows]) for n in rows[0]}
    for name in ("contrastive", "ridge"):
        columns |= {f"{name} {n}": np.array(last[name][n], dtype=np.uint8) for n in ("clean", "corrupted")}
    columns |= {f"answers {n}": np.array(last[n], dtype=np.uint16) for n in ("groups", "captions")}
    by = f"python -m stablelab.studies.pictures_with_words, torch {importlib.metadata.version('torch')}"
    write_columns(file, by, **columns)


if __name__ == "__main__":
    main()
