"""Wrong labels, planted, found and taken out: ``python -m stablelab.studies.wrong_labels``.

Movie reviews as BERT's features and digits as those of ResNet-18, with linear heads on them. At each rate of wrong
labels, over five draws of which are wrong: how well they are found by the loss, by confident learning and by an
ensemble, and what taking them out brings, beside taking out as many at random. Strangers among the training examples as
well: how well outliers are found. The results lie in the package; the command makes them anew in some five minutes on
one core, and stopped at any time it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data import digits, reviews
from ..data.reviews import read_corpus
from ..data.tasks import Split, epoch_plan, generator_for
from ..formulas import confidently_wrong, estimated_joint, precision_and_recall, symmetric_noise
from ..models import bert, cached_features, resnet
from ..models.features import Features
from ..models.fractals.small_conv import with_small_map_convs
from ..stability.churn import pairwise_churn
from ..stability.sweeps.batched_heads import Heads, new_heads, train_heads
from ..stability.sweeps.execution import one_thread
from ..training.settings import Settings
from .keeping import KEPT, Done, parser_of, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "wrong_labels.npz"
TASKS = ("movies", "digits")
RATES = (0.0, 0.1, 0.2, 0.4)
DRAWS = range(5)  # of which labels are wrong
SEEDS = range(5)  # of a head's first weights and of the order of its batches
FOLDS, BAGS = 5, 20  # heads that judge the examples which they have not seen
DECAYS = (0.0, 1.0, 10.0, 30.0)  # weight decay, chosen on the validation split
BATCH, STEPS, LEARNING_RATE = 64, 150, 0.01
ARMS = ("as they are", "random", "loss", "confident", "ensemble", "truth")


@dataclass(frozen=True, eq=False)
class Order:
    """Batch k of some training examples, reshuffled every epoch: what ``train_heads`` asks for."""

    positions: Tensor
    seed: int
    _plans: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)

    def __call__(self, k: int) -> Tensor:
        n = len(self.positions)
        epoch, place = divmod(k, -(-n // BATCH))
        if epoch not in self._plans:
            self._plans.clear()
            self._plans[epoch] = epoch_plan(n, BATCH, self.seed, epoch)
        return self.positions[self._plans[epoch][place]]


@dataclass(frozen=True, eq=False)
class Examples:
    """Features, standardized by those of the training split, and the labels as they came."""

    x: dict[str, Tensor]  # split -> (N, D)
    y: dict[str, Tensor]  # split -> (N,)
    classes: int
    strangers: Tensor  # (M, D) of examples that do not belong here


def task_of(name: str) -> Any:
    """800 movie reviews to learn from, or 800 digits; 400 to tune by and 800 to tell by."""
    if name == "movies":
        return reviews("movies", train=800, validation=400, test=800, max_tokens=32)
    return digits(train=800, validation=400, test=800, size=32)


@cache
def examples_of(name: str) -> Examples:
    """The features of a task (half a minute); its strangers are newspaper editorials, or noise in place of a digit."""
    task = task_of(name)
    model = bert(task, pooling="mean") if name == "movies" else with_small_map_convs(resnet(task), 32)
    kept = cached_features(task, model)
    raw = {s: getattr(kept, s).store.all() for s in ("train", "validation", "test")}
    mean, deviation = raw["train"].mean(0), raw["train"].std(0).clamp(min=1e-6)
    if name == "movies":
        others = Split(task.train.store.like(read_corpus("editorials")[0][:200]), torch.zeros(200, dtype=torch.long),
                       task.classes)  # fmt: skip
        strange = Features(others, model).all()
    else:
        strange = _features_of_noise(model, task)
    x = {split: (each - mean) / deviation for split, each in raw.items()}
    y = {split: getattr(task, split).targets for split in raw}
    return Examples(x, y, len(task.classes), (strange - mean) / deviation)


@torch.no_grad()
def _features_of_noise(model: Any, task: Any) -> Tensor:
    """Of 200 pictures whose pixels are those of digits in random places."""
    pictures, _ = task.train.collate(torch.arange(200))
    generator = generator_for(0)
    flat = pictures.flatten(2)
    shuffled = torch.stack([each[:, torch.randperm(each.shape[1], generator=generator)] for each in flat])
    body = torch.nn.Sequential(*list(model.children())[:-1])
    return body.eval()(shuffled.view_as(pictures)).flatten(1)


# -- heads -------------------------------------------------------------------------------------------------------------


def heads_on(x: Tensor, y: Tensor, classes: int, runs: Sequence[tuple[Tensor, int, float]]) -> Heads:
    """Linear heads trained together, one for each (training positions, seed, weight decay)."""
    orders: dict[tuple[int, int], Order] = {}
    for where, seed, _ in runs:
        orders.setdefault((id(where), seed), Order(where, seed))
    settings = [Settings(learning_rate=LEARNING_RATE, weight_decay=decay, schedule="linear") for _, _, decay in runs]
    weights, biases = new_heads(x.shape[1], classes, [seed for _, seed, _ in runs])
    positions = [orders[id(where), seed] for where, seed, _ in runs]
    return train_heads(x, y, weights, biases, positions, settings, STEPS)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is said of each training example by heads that have not seen it, and by one that has.

    Attributes:
        unseen: (N, C) probabilities out of five folds.
        seen: (N, C) probabilities of one head that learned from all.
        against: (N,) share of the bagged heads that did not draw the example and answer otherwise than its label.
    """

    unseen: Tensor
    seen: Tensor
    against: Tensor


def judged(x: Tensor, given: Tensor, classes: int, draw: int, decay: float) -> Judgement:
    """Train the heads that judge: five on four fifths each, twenty on bootstrap samples, one on all."""
    n, generator = len(given), generator_for(7, draw)
    fold = torch.arange(n)[torch.randperm(n, generator=generator)] % FOLDS
    parts = [(fold != f).nonzero().flatten() for f in range(FOLDS)]
    bags = [torch.randint(n, (n,), generator=generator) for _ in range(BAGS)]
    runs = [(where, seed, decay) for seed, where in enumerate([*parts, *bags, torch.arange(n)])]
    p = heads_on(x, given, classes, runs).logits(x).softmax(dim=2)  # (R, N, C)
    unseen = p[fold, torch.arange(n)]
    out = torch.ones(BAGS, n, dtype=torch.bool)
    for b, bag in enumerate(bags):
        out[b, bag] = False
    other = (p[FOLDS:-1].argmax(dim=2) != given) & out
    return Judgement(unseen, p[-1], other.sum(0) / out.sum(0).clamp(min=1))


def suspicion(judgement: Judgement, given: Tensor) -> dict[str, Tensor]:
    """Of each method a number (N,) that is larger for labels it finds more suspicious."""
    own = given[:, None]
    unseen = judgement.unseen.gather(1, own)[:, 0]
    return {
        "loss, seen": -judgement.seen.gather(1, own)[:, 0].log(),
        "loss": -unseen.log(),
        "confident": judgement.unseen.scatter(1, own, -1).amax(1) - unseen,  # by how much another class is ahead
        "ensemble": judgement.against,
    }


def flagged(judgement: Judgement, given: Tensor) -> dict[str, Tensor]:
    """Of each method what it takes for wrong, (N,) bool, by its own cut.

    The loss has none: it is given as many as confident learning estimates to be wrong.
    """
    n = len(given)
    joint = estimated_joint(given, judgement.unseen)
    count = round(n * float(joint.sum() - joint.diagonal().sum()))
    of = suspicion(judgement, given)
    return {
        "loss": _largest(of["loss"], count),
        "confident": confidently_wrong(given, judgement.unseen),
        "ensemble": of["ensemble"] > 0.5,
    }


def _largest(values: Tensor, count: int) -> Tensor:
    mask = torch.zeros(len(values), dtype=torch.bool)
    mask[values.argsort(descending=True, stable=True)[:count]] = True
    return mask


# -- the study ---------------------------------------------------------------------------------------------------------


def noise_of(name: str, rate: float, draw: int) -> tuple[Tensor, Tensor]:
    """The given labels of the training and of the validation split, both with this share of wrong ones."""
    examples = examples_of(name)
    generator = generator_for(TASKS.index(name), round(1000 * rate), draw)
    given = symmetric_noise(examples.y["train"], rate, examples.classes, generator)
    return given, symmetric_noise(examples.y["validation"], rate, examples.classes, generator)


def best_decay(x: dict[str, Tensor], given: Tensor, checked: Tensor, classes: int) -> float:
    """The weight decay with the highest mean accuracy on the labels, wrong ones among them, that validate."""
    everything = torch.arange(len(given))
    runs = [(everything, seed, decay) for decay in DECAYS for seed in range(3)]
    right = heads_on(x["train"], given, classes, runs).logits(x["validation"]).argmax(2) == checked
    return DECAYS[int(right.double().mean(1).view(len(DECAYS), 3).mean(1).argmax())]


def found_rows(name: str, rate: float, draw: int) -> Iterator[dict[str, Any]]:
    """How well each method finds what was planted, and what taking out what it flags brings."""
    examples = examples_of(name)
    given, checked = noise_of(name, rate, draw)
    x, wrong = examples.x, given != examples.y["train"]
    decay = best_decay(x, given, checked, examples.classes)
    judgement = judged(x["train"], given, examples.classes, draw, decay)
    base = {"task": name, "rate": rate, "draw": draw, "decay": decay}
    for method, values in suspicion(judgement, given).items():
        precision, _ = precision_and_recall(_largest(values, int(wrong.sum())), wrong)
        yield {**base, "what": "ranked", "arm": method, "precision": precision}
    masks = flagged(judgement, given)
    joint = estimated_joint(given, judgement.unseen)
    for method, mask in masks.items():
        precision, recall = precision_and_recall(mask, wrong)
        share = float(mask.double().mean())
        yield {**base, "what": "flagged", "arm": method, "precision": precision, "recall": recall, "share": share}
    yield {**base, "what": "estimated", "arm": "confident", "share": float(joint.sum() - joint.diagonal().sum())}
    generator = generator_for(11, draw, round(1000 * rate))
    count = int(masks["confident"].sum())
    masks |= {"as they are": torch.zeros_like(wrong), "truth": wrong, "random": torch.zeros_like(wrong)}
    masks["random"][torch.randperm(len(wrong), generator=generator)[:count]] = True
    left = {arm: (~masks[arm]).nonzero().flatten() for arm in ARMS}
    runs = [(left[arm], seed, each) for arm in ARMS for each in DECAYS for seed in SEEDS]
    heads = heads_on(x["train"], given, examples.classes, runs)
    shape = (len(ARMS), len(DECAYS), len(SEEDS), -1)
    tuned = (heads.logits(x["validation"]).argmax(2) == checked).double().view(shape).mean((2, 3)).argmax(1)  # (arms,)
    told = heads.logits(x["test"]).argmax(2).view(shape)
    for a, arm in enumerate(ARMS):
        answers = told[a, tuned[a]]  # (seeds, N)
        accuracy = (answers == examples.y["test"]).double().mean(1)
        churn = pairwise_churn(answers.numpy())
        yield {
            **base, "what": "trained", "arm": arm, "decay": DECAYS[int(tuned[a])],
            "share": 1 - len(left[arm]) / len(wrong),
            "accuracy": float(accuracy.mean()), "spread": float(accuracy.std()),
            "churn": float(churn[np.triu_indices(len(churn), 1)].mean()),
        }  # fmt: skip


def outlier_rows(name: str, draw: int) -> Iterator[dict[str, Any]]:
    """40 of 800 training examples are strangers, with random labels: which of three scores finds them."""
    examples = examples_of(name)
    generator = generator_for(13, draw)
    x, given = examples.x["train"].clone(), examples.y["train"].clone()
    where = torch.randperm(len(x), generator=generator)[:40]
    x[where] = examples.strangers[torch.randperm(len(examples.strangers), generator=generator)[:40]]
    given[where] = torch.randint(examples.classes, (40,), generator=generator)
    strange = torch.zeros(len(x), dtype=torch.bool)
    strange[where] = True
    judgement = judged(x, given, examples.classes, draw, 1.0)
    for method, values in {**outlier_scores(x), "loss": suspicion(judgement, given)["loss"]}.items():
        precision, _ = precision_and_recall(_largest(values, 40), strange)
        yield {"task": name, "draw": draw, "what": "outliers", "arm": method, "precision": precision}


def outlier_scores(x: Tensor, neighbours: int = 10) -> dict[str, Tensor]:
    """Of each example how far it is from all others: from its tenth neighbour, and from the mean in Mahalanobis' sense.

    Args:
        x: (N, D) features.
        neighbours: which neighbour's distance is taken.

    Returns:
        Two scores (N,). The covariance is shrunk by Ledoit and Wolf's rule, since N is not much larger than D.
    """
    from sklearn.covariance import LedoitWolf

    near = torch.cdist(x, x).topk(neighbours + 1, largest=False).values[:, -1]
    far = LedoitWolf().fit(x.double().numpy()).mahalanobis(x.double().numpy())
    return {"neighbours": near, "mahalanobis": torch.from_numpy(far)}


# -- what lies in the package ------------------------------------------------------------------------------------------


def runs() -> pandas.DataFrame:
    """All that was measured, a row each; what a row does not have is nan.

    Columns: task, rate (of wrong labels), draw, what ("ranked": precision among as many as are wrong; "flagged":
    precision, recall and share of what a method takes for wrong; "estimated": the share that confident learning
    estimates; "trained": mean accuracy, its standard deviation and the churn over five seeds, after taking out the
    share; "outliers": precision among as many as there are), arm, decay, precision, recall, share, accuracy, spread,
    churn.
    """
    return read_table(FILE)


COLUMNS = ("rate", "decay", "precision", "recall", "share", "accuracy", "spread", "churn")


def write(rows: Sequence[dict[str, Any]], file: Path, by: str) -> None:
    """Keep what was found as small as it can be."""
    columns: dict[str, Any] = {n: np.array([r[n] for r in rows]) for n in ("task", "what", "arm")}
    columns["draw"] = np.array([r["draw"] for r in rows], dtype=np.int8)
    columns |= {n: np.array([r.get(n, np.nan) for r in rows], dtype=np.float32) for n in COLUMNS}
    write_columns(file, by, **columns)


def main() -> None:
    """Do what is not done, and write the file."""
    out = parser_of("wrong_labels", __doc__).parse_args().out
    done, rows = Done(out / "wrong_labels.part.jsonl"), []
    with one_thread():
        for draw in DRAWS:
            for name in TASKS:
                for rate in RATES:
                    rows += done.once((name, rate, draw), found_rows, name, rate, draw)
                rows += done.once(("outliers", name, draw), outlier_rows, name, draw)
    write(rows, out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
