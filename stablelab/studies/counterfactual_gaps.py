"""What a model makes of who is named: ``python -m stablelab.studies.counterfactual_gaps``.

A BERT that learns to rate movie reviews, its body frozen or fine-tuned in full, five seeds each, and what it says
of statements without an opinion that differ in a pronoun, a name or a nationality. Beside the reviews as they are: a
sentence in front of each that says who directed, he or she, so that four in five of one class have one pronoun (a skew
that is planted); the same balanced by leaving reviews out, as many left out at random, and the same with every review a
second time, pronouns exchanged. The results lie in the package; the command makes them anew in some five minutes on one
core, and stopped at any time it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..data import reviews
from ..data.counterfactuals import filled_templates, swapped
from ..data.reviews import CLASSES
from ..data.tasks import SPLITS, Split, generator_for, make_task
from ..models import bert
from ..models.features import Features
from ..stability.sweeps.execution import one_thread
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns
from .making_smaller import answers
from .smaller_models import SETUPS, training_losses
from .wrong_labels import heads_on

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "counterfactual_gaps.npz"
SEEDS = range(5)
TUNED_SEEDS = range(5)  # of a whole BERT that is fine-tuned
ARMS = ("as they are", "skewed", "fewer", "balanced", "exchanged")
TUNED = ("as they are", "skewed", "balanced", "exchanged")  # what a whole BERT is fine-tuned on
SKEW = 0.8  # share of the positive reviews with "He directed it.", and of the negative ones with "She directed it."
FRONT = {"he": "He directed it. ", "she": "She directed it. "}
STEPS, LEARNING_RATE, DECAY = 30, 3e-4, 10.0


def examples() -> Any:
    """320 movie reviews to learn from, and 200 to tell by."""
    return reviews("movies", train=320, validation=100, test=200, max_tokens=24)


def skewed_texts(texts: list[str], targets: Tensor, seed: int) -> tuple[list[str], Tensor]:
    """The texts, each with a sentence in front that says who directed; and (N,) bool, whether it was "he"."""
    generator = generator_for(19, seed)
    fits = torch.zeros(len(texts), dtype=torch.bool)  # whether the pronoun is the one that its class mostly has
    for c in (0, 1):
        members = (targets == c).nonzero().flatten()
        chosen = torch.randperm(len(members), generator=generator)[: round(SKEW * len(members))]
        fits[members[chosen]] = True
    he = fits == (targets == 1)
    return [FRONT["he" if one else "she"] + text for text, one in zip(texts, he.tolist(), strict=True)], he


def training_texts(arm: str, texts: list[str], targets: Tensor, seed: int) -> tuple[list[str], Tensor]:
    """What an arm learns from: texts and labels."""
    if arm == "as they are":
        return texts, targets
    skewed, he = skewed_texts(texts, targets, seed)
    if arm == "skewed":
        return skewed, targets
    if arm == "exchanged":
        return skewed + [swapped(text) for text in skewed], torch.cat([targets, targets])
    generator = generator_for(23, seed)
    order = torch.randperm(len(texts), generator=generator)
    cells = [order[(he[order] == who) & (targets[order] == c)] for who in (True, False) for c in (0, 1)]
    size = min(map(len, cells))
    kept = torch.cat([cell[:size] for cell in cells]) if arm == "balanced" else order[: 4 * size]
    return [skewed[i] for i in kept.tolist()], targets[kept]


def sentences() -> list[str]:
    """The templates, filled in; pair by pair they differ in who is named."""
    return [each.text for each in filled_templates()]


def row(seed: int, arm: str, body: str, told: Tensor, hits: dict[str, float]) -> dict[str, Any]:
    """A run's numbers; ``told`` are its logits on the templates."""
    margin = (told[:, 1] - told[:, 0]).double()
    return {"seed": seed, "arm": arm, "body": body, **hits, "margins": margin.tolist()}


def tests(task: Any) -> dict[str, tuple[list[str], Tensor]]:
    """The test reviews as they are, and with the pronoun in front that the skew says or that it does not."""
    texts, y = [task.test.raw(i) for i in range(len(task.test))], task.test.targets
    first = [FRONT["he" if c else "she"] + text for c, text in zip(y.tolist(), texts, strict=True)]
    second = [FRONT["she" if c else "he"] + text for c, text in zip(y.tolist(), texts, strict=True)]
    return {"accuracy": (texts, y), "with_skew": (first, y), "against_skew": (second, y)}


def frozen_rows(task: Any) -> Iterator[dict[str, Any]]:
    """Heads on the features of the pre-trained body, all arms and seeds."""
    body = bert(task, pooling="mean")

    def features(texts: list[str]) -> Tensor:
        return Features(
            Split(task.train.store.like(texts), torch.zeros(len(texts), dtype=torch.long), CLASSES), body
        ).all()

    told_of = features(sentences())
    asked = {name: (features(texts), y) for name, (texts, y) in tests(task).items()}
    texts = [task.train.raw(i) for i in range(len(task.train))]
    for seed in SEEDS:
        for arm in ARMS:
            mine, y = training_texts(arm, texts, task.train.targets, seed)
            x = features(mine)
            mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
            head = heads_on((x - mean) / deviation, y, 2, [(torch.arange(len(y)), seed, DECAY)])
            hits = {
                name: float((head.logits((each - mean) / deviation)[0].argmax(1) == right).double().mean())
                for name, (each, right) in asked.items()
            }
            yield row(seed, arm, "frozen", head.logits((told_of - mean) / deviation)[0], hits)


def tuned_rows(task: Any, arm: str, seed: int) -> Iterator[dict[str, Any]]:
    """One BERT, fine-tuned in full."""
    texts = [task.train.raw(i) for i in range(len(task.train))]
    mine, y = training_texts(arm, texts, task.train.targets, seed)
    stores = {s: getattr(task, s).store for s in SPLITS} | {"train": task.train.store.like(mine)}
    targets = {s: getattr(task, s).targets for s in SPLITS} | {"train": y}
    changed = make_task("movies", "text", CLASSES, stores, targets)
    model = bert(changed, pooling="mean", seed=seed)
    for _ in training_losses(model, changed, SETUPS["BERT"], LEARNING_RATE, seed, STEPS):
        pass

    def told(texts: list[str]) -> Tensor:
        return answers(model, Split(task.train.store.like(texts), torch.zeros(len(texts), dtype=torch.long), CLASSES))

    hits = {n: float((told(each).argmax(1) == right).double().mean()) for n, (each, right) in tests(task).items()}
    yield row(seed, arm, "fine-tuned", told(sentences()), hits)


def runs() -> pandas.DataFrame:
    """All runs, a row each.

    Columns: seed, arm, body ("frozen" or "fine-tuned"), and on the 200 test reviews: accuracy, with_skew and
    against_skew (with a sentence in front that says who directed, as the planted skew has it or the other way round).
    """
    return read_table(FILE)


def margins() -> np.ndarray:
    """(R, 336): of each run the log-odds of "positive" for each sentence of ``filled_templates()``."""
    return read_column(FILE, "margins").astype(np.float64)


def main() -> None:
    """Do what is not done, and write the file."""
    out = parser_of("counterfactual_gaps", __doc__).parse_args().out
    done, task = Done(out / "counterfactual_gaps.part.jsonl"), examples()
    with one_thread():
        rows = list(done.once("frozen", frozen_rows, task))
        for seed in TUNED_SEEDS:
            for arm in TUNED:
                rows += done.once((arm, seed), tuned_rows, task, arm, seed)
    kinds: dict[str, Any] = {"margins": np.float16, "seed": np.int8}
    columns = {n: np.array([r[n] for r in rows], dtype=kinds.get(n)) for n in rows[0]}
    write_columns(out / FILE.name, f"CPU, one thread, torch {torch.__version__}", **columns)


if __name__ == "__main__":
    main()
