"""What explanations are worth, measured: ``python -m stablelab.studies.explanations``.

BERT on movie reviews and ResNet-18 on digits, fine-tuned over several seeds as they are, with a planted shortcut, and
with as many marks that say nothing. Each is explained by every method; the maps are held against those of networks
whose layers are drawn anew, against those of other seeds, against what deleting and inserting does to the answer, and
against the shortcut that is known to be there. The results lie in the package; the command makes them anew in some
fifteen minutes on one core, and stopped at any time it goes on.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..stability.sweeps.execution import one_thread
from ..training.evaluation import predict
from .explaining import (
    GIVEN_AWAY,
    IG_STEPS,
    METHODS,
    REPLACED_BY,
    TRIVIAL,
    WORD,
    Inputs,
    correlations,
    inputs_of,
    left_after,
    marked,
    place_of,
    plain_task,
    probability_of,
    redrawn,
    scores_of,
    task_of,
)
from .keeping import KEPT, Done, parser_of, write_columns
from .making_smaller import answers, full_model
from .smaller_models import SETUPS, training_losses

FILE = KEPT / "explanations.npz"
NAMES = ("ResNet-18", "BERT")
SEEDS = range(6)
SHORTCUT_SEEDS = range(5)
RATES = {"ResNet-18": 1e-3, "BERT": 3e-4}  # of full fine-tuning, tuned in the study of smaller models
STEPS = {"ResNet-18": 50, "BERT": 40}
EXPLAINED = {"ResNet-18": 20, "BERT": 16}  # test examples whose maps are kept
SANE = 10  # of them, those that are explained again and again while layers are drawn anew
DEPTHS = {"ResNet-18": (1, 2, 3, 4, 5, 6), "BERT": (1, 2, 4, 6, 8)}  # layers drawn anew, from the head down
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)  # of the parts of an input, removed or put in
RANDOM_ORDERS = 3


def trained(name: str, kind: str, seed: int) -> nn.Module:
    """The model of one run, fine-tuned in full, in evaluation mode."""
    task, setup = task_of(name, kind, seed), SETUPS[name]
    model = full_model(name, task, seed)
    for _ in training_losses(model, task, setup, RATES[name], seed, STEPS[name]):
        pass
    return model.eval()


def explained(name: str) -> Inputs:
    """The test examples that are explained: equally many of each class, or nearly so, texts of 8 to 16 tokens."""
    split = plain_task(name).test
    lengths = split.store.lengths
    fit = torch.arange(len(split)) if lengths is None else ((lengths >= 8) & (lengths <= 16)).nonzero().flatten()
    classes = split.targets[fit]
    seen = torch.stack([(classes[:i] == c).sum() for i, c in enumerate(classes)])  # the how-many-eth of its class
    chosen = fit[seen.argsort(stable=True)[: EXPLAINED[name]]]
    if lengths is not None:
        chosen = chosen[lengths[chosen].argsort(stable=True)]
    return inputs_of(name, split, chosen)


def shortcut_inputs(name: str) -> tuple[Inputs, Tensor]:
    """Test examples of other classes, each with the mark, and the part (N,) where it is; explained for its class."""
    split, c = plain_task(name).test, GIVEN_AWAY[name]
    everywhere = marked(split, torch.ones(len(split), dtype=torch.bool))
    lengths = everywhere.store.lengths
    fits = split.targets != c if lengths is None else (split.targets != c) & (lengths >= 8) & (lengths <= 16)
    at = fits.nonzero().flatten()[: EXPLAINED[name]]
    inputs = inputs_of(name, everywhere, at, torch.full((len(at),), c))
    if name == "ResNet-18":
        return inputs, torch.zeros(len(at), dtype=torch.long)
    tokenizer: Any = everywhere.store.tokenizer  # type: ignore[attr-defined]
    return inputs, (inputs.data["input_ids"] == tokenizer.convert_tokens_to_ids(WORD)).int().argmax(1)


# -- what is measured on one run ---------------------------------------------------------------------------------------


def plain_line(name: str, seed: int) -> dict[str, Any]:
    """One run as it is: its answers, its maps, how they fare when layers are drawn anew, deletion and insertion."""
    model, inputs = trained(name, "plain", seed), explained(name)
    task = plain_task(name)
    scores = scores_of(model, inputs)
    few = first(inputs, SANE)
    again = scores_of(model, few, ig_steps=2 * IG_STEPS, only=("integrated gradients",))["integrated gradients"]
    sane = np.empty((len(DEPTHS[name]), len(METHODS[name]), 2, SANE))
    for i, layers in enumerate(DEPTHS[name]):
        other = scores_of(redrawn(model, layers, 1000 + seed).eval(), few)
        for j, method in enumerate(METHODS[name]):
            for k in (0, 1):
                sane[i, j, k] = correlations(scores[method][:SANE], other[method], few.parts, size_only=k == 1)
    return {
        "answers": packed(answers(model, task.test).argmax(1).numpy().astype(np.uint8)),
        "scores": packed(np.stack([scores[m].numpy() for m in METHODS[name]]).astype(np.float16)),
        "again": packed(correlations(scores["integrated gradients"][:SANE], again, few.parts).astype(np.float16)),
        "sane": packed(sane.astype(np.float16)),
        "curves": packed(curves(model, inputs, scores, seed).astype(np.float16)),
    }


def curves(model: nn.Module, inputs: Inputs, scores: dict[str, Tensor], seed: int) -> np.ndarray:
    """(orders, fillers, 2, shares, N) probability of the class after deletion, and after insertion, in each order.

    The orders are those of the methods, the two trivial ones, and the mean of several random ones. What is inserted
    goes into an input of which every part is replaced by the first filler; with the second there is no insertion.
    """
    orders = [scores[m] for m in METHODS[inputs.name]] + [inputs.trivial[t] for t in TRIVIAL[inputs.name]]
    generator = torch.Generator().manual_seed(seed)
    lots = [torch.rand(inputs.parts.shape, generator=generator) for _ in range(RANDOM_ORDERS)]
    found = np.full((len(orders) + 1, 2, 2, len(SHARES), len(inputs)), np.nan)
    for f, filler in enumerate(REPLACED_BY[inputs.name]):
        probability = probability_of(model, inputs, filler)
        for insert in (False, True) if f == 0 else (False,):
            whole = probability(torch.full_like(inputs.parts, not insert) | ~inputs.parts)
            empty = probability(torch.full_like(inputs.parts, insert) | ~inputs.parts)

            def curve(order: Tensor, insert: bool = insert, whole: Tensor = whole, empty: Tensor = empty) -> np.ndarray:
                middle = [probability(left_after(order, inputs.parts, q, insert)) for q in SHARES[1:-1]]  # noqa: B023
                return torch.stack([whole, *middle, empty]).numpy()

            for i, order in enumerate(orders):
                found[i, f, int(insert)] = curve(order)
            found[-1, f, int(insert)] = np.mean([curve(lot) for lot in lots], axis=0)
    return found


def shortcut_line(name: str, kind: str, seed: int) -> dict[str, Any]:
    """One run with the shortcut or its control: what it does with the mark, and where the maps put it."""
    model = trained(name, kind, seed)
    task, clean = task_of(name, kind, seed), plain_task(name)
    c, truth = GIVEN_AWAY[name], clean.test.targets
    everywhere = marked(clean.test, torch.ones(len(truth), dtype=torch.bool))
    without, having = (answers(model, split).argmax(1) for split in (clean.test, everywhere))
    inputs, at = shortcut_inputs(name)
    parts = torch.ones_like(inputs.parts) if name == "ResNet-18" else inputs.parts
    scores = scores_of(model, inputs)
    places = np.stack([place_of(scores[m], at, parts) for m in METHODS[name]])
    if name == "ResNet-18":  # the same with white for the empty picture: the mark is not different from it
        white = scores_of(model, inputs, grey=1.0, only=("integrated gradients",))
        places = np.concatenate([places, [place_of(white["integrated gradients"], at, parts)]])
    logits, targets = predict(model, task.validation, 50)
    return {
        "kind": kind,
        "seed": seed,
        "validation": float((logits.argmax(1) == targets).double().mean()),
        "clean": float((without == truth).double().mean()),
        "clean_given": float((without == c)[truth == c].double().mean()),
        "turned": float((having == c)[truth != c].double().mean()),
        "turned_without": float((without == c)[truth != c].double().mean()),
        "places": packed(places.astype(np.float16)),
        "own": packed((having[truth != c] == c).numpy()),
        "scores": packed(np.stack([s.numpy() for s in scores_of(model, explained(name)).values()]).astype(np.float16)),
    }


def first(inputs: Inputs, n: int) -> Inputs:
    """The first n of them."""
    data = inputs.data
    data = {k: v[:n] for k, v in data.items()} if isinstance(data, dict) else data[:n]
    return Inputs(
        inputs.name, data, inputs.targets[:n], inputs.parts[:n], {k: v[:n] for k, v in inputs.trivial.items()}
    )


def packed(array: np.ndarray) -> list[Any]:
    """An array as JSON values."""
    return [str(array.dtype), list(array.shape), base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()]


def unpacked(value: Sequence[Any]) -> np.ndarray:
    """The array again."""
    return np.frombuffer(base64.b64decode(value[2]), dtype=value[0]).reshape(value[1])


# -- what lies in the package ------------------------------------------------------------------------------------------


def kept(name: str) -> dict[str, np.ndarray]:
    """What the study found on one of the two models, by name.

    Of S plain runs, M methods, N explained examples of R parts:
        parts (N, R) bool; scores (S, M, N, R); answers (S, 200) to the test split; truth (200,);
        again (S, n): of the first n examples, rank correlation of integrated gradients with those of twice the steps;
        sane (S, D, M, 2, n): of the same, rank correlation with the map after the D-th of ``DEPTHS`` was drawn anew: of
        the scores, and of their sizes;
        curves (S, M + 3, 2, 2, Q, N): probability of the class at the ``SHARES``, in the order of each method, the
        trivial ones and at random; by the filler; deleted or inserted (nan for insertion with the second filler).
    Of the runs with the shortcut and of the controls, one after another:
        control (K,) bool; validation, clean, clean_given, turned, turned_without (K,), shares of test examples;
        places (K, M, N): parts above the mark, for pictures with a last row for integrated gradients from white;
        own (K, ·): whether the answer to a marked example of another class is the mark's class;
        marked_scores (K, M, N, R): the maps of the same examples as in ``scores``, without a mark.
    """
    with np.load(FILE) as stored:
        return {key.partition("/")[2]: stored[key] for key in stored.files if key.startswith(f"{name}/")}


def columns(name: str, lines: Mapping[Any, dict[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """What is kept of one model."""
    plain = [lines["plain", seed] for seed in SEEDS]
    yield f"{name}/parts", explained(name).parts.numpy()
    yield f"{name}/truth", plain_task(name).test.targets.numpy().astype(np.uint8)
    for key in ("answers", "scores", "again", "sane", "curves"):
        yield f"{name}/{key}", np.stack([unpacked(line[key]) for line in plain])
    others = [lines[kind, seed] for kind in ("shortcut", "control") for seed in SHORTCUT_SEEDS]
    yield f"{name}/control", np.array([line["kind"] == "control" for line in others])
    for key in ("validation", "clean", "clean_given", "turned", "turned_without"):
        yield f"{name}/{key}", np.array([line[key] for line in others])
    for key, called in (("places", "places"), ("own", "own"), ("scores", "marked_scores")):
        yield f"{name}/{called}", np.stack([unpacked(line[key]) for line in others])


def study(name: str, part: Path) -> Done:
    """All runs of one model; what the file has of them is not done again."""
    done = Done(part)
    for seed in range(max(*SEEDS, *SHORTCUT_SEEDS) + 1):
        if seed in SEEDS:
            done.once(("plain", seed), plain_line, name, seed)
        for kind in ("shortcut", "control") if seed in SHORTCUT_SEEDS else ():
            done.once((kind, seed), shortcut_line, name, kind, seed)
    return done


def main() -> None:
    """Do what is not done, and write the file."""
    parser = parser_of("explanations", __doc__)
    parser.add_argument("--model", choices=NAMES, help="do the runs of this model alone, in a file of its own")
    arguments = parser.parse_args()
    found: dict[str, np.ndarray] = {}
    for name in NAMES:
        if arguments.model in (None, name):
            with one_thread():
                lines = study(name, arguments.out / f"explanations.{name}.part.jsonl")
            if arguments.model is None:
                found |= dict(columns(name, lines))
    if arguments.model is None:
        write_columns(arguments.out / FILE.name, f"CPU, one thread, torch {torch.__version__}", **found)


if __name__ == "__main__":
    main()
