"""Three games of pre-training against controls of the same width: ``python -m stablelab.studies.pretraining``.

Each game is played at two lengths and three learning rates from five seeds, and judged by a linear probe,
beside features for which nothing was trained. Validation examples choose the rate, and how the probe scales features
and which penalty it has. The results lie in the package; the command makes them anew, run by run,
and stopped at any time it goes on from there. It takes some ten minutes on one core.

The games stand in full in notebook 06, which plays some of the very runs again and prints the difference.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..formulas import info_nce
from ..models import mask_tokens, probe_hits
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "pretraining.npz"
SEEDS = range(5)
LABELLED = 100  # digits: seed s has the labels of the s-th hundred
RATED = 160  # reviews: likewise
WIDTH = 16  # numbers to which an encoder of digits brings 196 pixels
LETTERS = 64  # numbers for a word of the small BERT
PAD, UNK, MASK, FIRST, VOCABULARY = 0, 1, 4, 5, 500
COMMON = 10  # the words between which the probe of the third game decides
GRID = {  # game: lengths, and the learning rates that are tried at each
    "masked patches": {180: (6e-3, 2e-3, 2e-2), 600: (6e-3, 2e-3, 2e-2)},
    "contrast": {120: (3e-3, 1e-3, 1e-2), 600: (3e-3, 1e-3, 1e-2)},
    "contrast, turned": {600: (3e-3, 1e-3, 1e-2)},
    "masked words": {75: (1e-2, 3e-3, 3e-2), 200: (1e-2, 3e-3, 3e-2)},
}


class Trial(NamedTuple):
    """One run of a game, or features for which nothing is trained (0 steps)."""

    features: str
    steps: int
    learning_rate: float
    seed: int


def results() -> pandas.DataFrame:
    """All runs that lie in the package, a row each.

    Columns: task ("digits", "words", "reviews"), features (a game or a control), steps (0 for a control),
    learning_rate (0 for a control), seed, loss (mean over the last tenth of the steps, nan for a control), validation
    and accuracy (of the probe, on the validation and on the test split).
    """
    return read_table(FILE)


def hits() -> np.ndarray:
    """(R, M) bool, in the order of ``results()``: which test examples each probe judged rightly, then False."""
    return np.unpackbits(read_column(FILE, "hits"), axis=1).astype(bool)


# -- digits ------------------------------------------------------------------------------------------------------------


@functools.cache
def digit_task() -> Any:
    """3,000 digits to learn from, 500 to choose the rate and the probe by, 1,000 to judge by; of 14 × 14 pixels."""
    from ..data import digits

    return digits(train=3000, validation=500, test=1000, size=14)


def grey(split: Any) -> Tensor:
    """The pictures of a split, (N, 1, 14, 14), from 0 to 1."""
    pixels: Tensor = split.store.pixels[:, :1] / 255
    return pixels


Labelled = tuple[Tensor, Tensor]  # features and targets


def _judged(known: Labelled, asked: Labelled, test: Labelled) -> Labelled:
    """What the probe finds of the validation examples, which choose its scaling and penalty, and of the test ones."""
    return probe_hits(*known, *asked, validation=asked), probe_hits(*known, *test, validation=asked)


def _encoder(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 256), nn.ReLU(), nn.Linear(256, WIDTH))


def _pretrain(modules: Sequence[nn.Module], loss: Callable[[], Tensor], steps: int, learning_rate: float) -> float:
    optimizer = torch.optim.AdamW([p for module in modules for p in module.parameters()], lr=learning_rate)
    losses = []
    for k in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * min(1, (k + 1) / 10) * (1 - k / steps)
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return float(np.mean(losses[-max(1, steps // 10) :])) if losses else math.nan


def _draw(examples: Tensor, size: int, random: torch.Generator) -> Tensor:
    return examples[torch.randint(len(examples), (size,), generator=random)]


def _hidden(count: int, random: torch.Generator) -> Tensor:
    patches = torch.rand(count, 1, 7, 7, generator=random) < 0.6
    return patches.repeat_interleave(2, 2).repeat_interleave(2, 3)  # (count, 1, 14, 14)


def _fill_in(trial: Trial, pictures: Tensor) -> tuple[nn.Module, float]:
    random, encoder = torch.Generator().manual_seed(trial.seed), _encoder(trial.seed)
    decoder = nn.Sequential(nn.Linear(WIDTH, 256), nn.ReLU(), nn.Linear(256, 196))

    def loss() -> Tensor:
        x = _draw(pictures, 128, random)
        hidden = _hidden(len(x), random)
        painted = decoder(encoder(x * ~hidden)).view_as(x)
        return (painted - x)[hidden].square().mean()

    return encoder, _pretrain((encoder, decoder), loss, trial.steps, trial.learning_rate)


def _view(x: Tensor, random: torch.Generator, turn: float) -> Tensor:
    """Each picture turned by up to so many radians, zoomed by up to 15 % and shifted by up to one pixel."""
    limits = torch.tensor([[turn], [0.15], [0.15], [0.15]])
    angle, zoom, right, down = (torch.rand(4, len(x), generator=random) * 2 - 1) * limits
    zoom = 1 + zoom
    rows = (angle.cos() * zoom, -angle.sin() * zoom, right), (angle.sin() * zoom, angle.cos() * zoom, down)
    grid = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (B, 2, 3)
    return F.grid_sample(x, F.affine_grid(grid, list(x.shape), align_corners=False), align_corners=False)


def _find_the_other(trial: Trial, pictures: Tensor) -> tuple[nn.Module, float]:
    random, encoder = torch.Generator().manual_seed(trial.seed), _encoder(trial.seed)
    projector = nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, 32))
    turn = math.pi if trial.features.endswith("turned") else 0.25

    def loss() -> Tensor:
        x = _draw(pictures, 128, random)
        z1, z2 = (projector(encoder(_view(x, random, turn))) for _ in range(2))
        return info_nce(z1, z2, temperature=0.2)

    return encoder, _pretrain((encoder, projector), loss, trial.steps, trial.learning_rate)


def principal_components(x: Tensor, width: int) -> Callable[[Tensor], Tensor]:
    """The map onto the directions in which x (N, D) varies most, as many as width."""
    mean = x.mean(0)
    basis = torch.linalg.eigh((x - mean).T @ (x - mean))[1].flip(1)[:, :width]  # (D, width)
    return lambda y: (y - mean) @ basis


@torch.no_grad()
def _digits_found(trial: Trial) -> tuple[float, tuple[Tensor, Tensor]]:
    task = digit_task()
    pictures, loss, seen = grey(task.train), math.nan, slice(LABELLED * trial.seed, LABELLED * (trial.seed + 1))
    features: Any
    if trial.features == "pixels":
        features = nn.Flatten()
    elif trial.features == "PCA":
        project = principal_components(pictures.flatten(1), WIDTH)
        features = lambda x: project(x.flatten(1))  # noqa: E731
    elif trial.features == "random":
        features = _encoder(trial.seed)
    else:
        with torch.enable_grad():
            play = _fill_in if trial.features == "masked patches" else _find_the_other
            features, loss = play(trial, pictures)
    known = features(pictures[seen]), task.train.targets[seen]
    asked, test = ((features(grey(split)), split.targets) for split in (task.validation, task.test))
    return loss, _judged(known, asked, test)


# -- words -------------------------------------------------------------------------------------------------------------


@functools.cache
def word_ids() -> tuple[Tensor, Tensor, Tensor]:
    """Ids of the small vocabulary (N, 12), of the train, the validation and the test split."""
    from ..data import reviews, tokenizer_for

    task: Any = reviews("movies", neutral=0.0, balanced=False, train=7000, validation=1000, test=2500, max_tokens=12)
    tokenizer = tokenizer_for()
    special = [getattr(tokenizer, f"{name}_token_id") for name in ("pad", "unk", "cls", "sep", "mask")]
    counts = torch.bincount(task.train.store.ids.flatten(), minlength=len(tokenizer))
    counts[special] = 0
    words = counts.argsort(descending=True, stable=True)[: VOCABULARY - FIRST]
    small = torch.full((len(tokenizer),), UNK)
    small[torch.cat([torch.tensor(special), words])] = torch.arange(VOCABULARY)
    train, validation, test = (small[s.store.ids.long()] for s in (task.train, task.validation, task.test))
    return train, validation, test


def small_bert(seed: int) -> Any:
    """A BERT of one layer and four heads, 64 numbers for a token, with new weights."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(seed)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=LETTERS,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=12,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.07,
        )
    )


def _vectors(model: Any, ids: Tensor) -> Tensor:
    found: Tensor = model.bert(ids, attention_mask=(ids != PAD).long()).last_hidden_state
    return found  # (B, 12, LETTERS)


def _guess_words(trial: Trial, sentences: Tensor) -> tuple[Any, float]:
    random, model = torch.Generator().manual_seed(trial.seed), small_bert(trial.seed)
    words = torch.arange(FIRST, VOCABULARY)

    def loss() -> Tensor:
        ids = _draw(sentences, 128, random)
        inputs, labels = mask_tokens(ids, ids >= FIRST, MASK, words, random, share=0.4)
        asked = labels != -100
        return F.cross_entropy(model.cls(_vectors(model, inputs)[asked]), labels[asked])

    return model, _pretrain((model,), loss, trial.steps, trial.learning_rate)


Gaps = tuple[Tensor, tuple[Tensor, Tensor], Tensor]


def one_gap(ids: Tensor, seed: int) -> Gaps:
    """Of each sentence with one of the commonest words, hide one: the inputs, the places (row, column), which words."""
    random = torch.Generator().manual_seed(seed)
    common = (ids >= FIRST) & (ids < FIRST + COMMON)
    place = (torch.rand(ids.shape, generator=random) * common).argmax(1)[common.any(1)]
    ids = ids[common.any(1)]
    row = torch.arange(len(ids))
    inputs = ids.clone()
    inputs[row, place] = MASK
    return inputs, (row, place), ids[row, place] - FIRST


def neighbours(inputs: Tensor, place: tuple[Tensor, Tensor]) -> Tensor:
    """Which word stands before each place and which after it, as ones in so many zeros: (N, 2 · VOCABULARY)."""
    row, column = place
    padded = F.pad(inputs, (1, 1), value=PAD)
    return torch.cat([F.one_hot(padded[row, column + s], VOCABULARY) for s in (0, 2)], dim=1).float()


@torch.no_grad()
def _words_found(trial: Trial) -> tuple[float, tuple[Tensor, Tensor]]:
    train, validation, test = word_ids()
    loss, features = math.nan, None
    if trial.features == "neighbours, PCA":
        rows, columns = (train >= FIRST).nonzero(as_tuple=True)
        some = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:8000]
        project = principal_components(neighbours(train, (rows[some], columns[some])), LETTERS)
        features = lambda gaps: project(neighbours(*gaps[:2]))  # noqa: E731
    else:
        model: Any = small_bert(trial.seed)
        if trial.features != "random":
            with torch.enable_grad():
                model, loss = _guess_words(trial, train)
        features = lambda gaps: _vectors(model, gaps[0])[gaps[1]]  # noqa: E731
    known = one_gap(train[:2500], 100 + trial.seed)
    asked = one_gap(validation, 9), one_gap(test, 9)
    if trial.features == "commonest":
        return loss, (asked[0][2] == known[2].mode().values, asked[1][2] == known[2].mode().values)
    judged = ((features(gaps), gaps[2]) for gaps in (known, *asked))
    return loss, _judged(*judged)


# -- reviews -----------------------------------------------------------------------------------------------------------


@functools.cache
def rated_reviews() -> Any:
    """800 reviews for five probes, 200 and 400 to try them on."""
    from ..data import reviews

    return reviews("movies", train=5 * RATED, validation=200, test=400, max_tokens=20)


@torch.no_grad()
def mean_vectors(model: Any, ids: Tensor) -> Tensor:
    """The last layer's vectors of each sentence (N, T), averaged over its tokens: (N, 384)."""
    found = []
    for some in ids.long().split(50):
        there = (some != 0).long()
        h = model.bert(some, attention_mask=there).last_hidden_state  # (B, T, 384)
        found.append((h * there[..., None]).sum(1) / there.sum(1, keepdim=True))
    return torch.cat(found)


@functools.cache
def bundled_bert() -> Any:
    """The BERT that comes with the package, pre-trained."""
    from ..models import bert

    return bert(2).eval()


def _counts(ids: Tensor) -> Tensor:
    """How often each token of the 800 reviews stands in each sentence, but for padding, [CLS] and [SEP]."""
    used = rated_reviews().train.store.ids.unique().long()
    used = used[(used != 0) & (used != 101) & (used != 102)]
    counts = torch.zeros(len(ids), bundled_bert().config.vocab_size)
    counts.scatter_add_(1, ids.long(), torch.ones(ids.shape))
    return counts[:, used]


@torch.no_grad()
def _reviews_found(trial: Trial) -> tuple[float, tuple[Tensor, Tensor]]:
    task, seen = rated_reviews(), slice(RATED * trial.seed, RATED * (trial.seed + 1))
    features: Any
    if trial.features == "bag of words":
        features = _counts
    elif trial.features == "pre-trained":
        features = functools.partial(mean_vectors, bundled_bert())
    else:
        torch.manual_seed(trial.seed)
        features = functools.partial(mean_vectors, type(bundled_bert())(bundled_bert().config).eval())
    known = features(task.train.store.ids[seen]), task.train.targets[seen]
    asked, test = ((features(split.store.ids), split.targets) for split in (task.validation, task.test))
    return math.nan, _judged(known, asked, test)


# -- all of them -------------------------------------------------------------------------------------------------------

FOUND = {"digits": _digits_found, "words": _words_found, "reviews": _reviews_found}
CONTROLS = {
    "digits": ("pixels", "PCA", "random"),
    "words": ("commonest", "neighbours, PCA", "random"),
    "reviews": ("bag of words", "random", "pre-trained"),
}


def trials() -> Iterator[tuple[str, Trial]]:
    """Everything that is kept, the short runs and the first rates first."""
    for task, names in CONTROLS.items():
        for name in names:
            yield from ((task, Trial(name, 0, 0.0, seed)) for seed in SEEDS)
    every = [
        (place, steps, name, rate)
        for name, lengths in GRID.items()
        for steps, rates in lengths.items()
        for place, rate in enumerate(rates)
    ]
    for _, steps, name, rate in sorted(every):
        yield from (("words" if name == "masked words" else "digits", Trial(name, steps, rate, s)) for s in SEEDS)


def run(task: str, trial: Trial) -> dict[str, Any]:
    """What one run comes to, as JSON values."""
    loss, (validation, test) = FOUND[task](trial)
    means = {"validation": float(validation.double().mean()), "accuracy": float(test.double().mean())}
    return {"task": task, **trial._asdict(), "loss": loss, **means, "hits": np.packbits(test.numpy()).tolist()}


def main() -> None:
    """Do the runs that are not done, and write the file."""
    out = parser_of("pretraining", __doc__).parse_args().out
    done = Done(out / "pretraining.part.jsonl")
    write([done.once((task, *trial), run, task, trial) for task, trial in trials()], out / FILE.name)


def write(rows: list[dict[str, Any]], file: Path) -> None:
    """Keep runs as small as they can be."""
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "hits"}
    packed = np.zeros((len(rows), max(len(row["hits"]) for row in rows)), dtype=np.uint8)
    for place, row in zip(packed, rows, strict=True):
        place[: len(row["hits"])] = row["hits"]
    write_columns(file, f"CPU, torch {torch.__version__}", hits=packed, **columns)


if __name__ == "__main__":
    main()
