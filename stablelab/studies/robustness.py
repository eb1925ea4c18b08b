"""What augmentation and averaging do to a ResNet on corrupted digits: ``python -m stablelab.studies.robustness``.

Three recipes (plain, with noise, with rotation), five seeds, 25 and 50 steps, and what is averaged of their weights or
answers; each measured on the same 300 test digits, clean and under nine corruptions. The results lie in the package;
the command makes them anew in about twenty minutes on one core, and stopped at any time it goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ..data import augment, corrupted, corruptions_of, digits, negation_pairs, reviews
from ..formulas import cross_entropy, moving_average
from ..models import bert, resnet
from ..models.rng import seeded_rng
from ..stability import average_weights
from ..training import Control, Settings, Step, steps
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE, TEXTS = KEPT / "robustness.npz", KEPT / "robustness_texts.npz"
CORPORA = ("movies", "tweets", "products", "editorials")
SEEDS = range(5)
SHORT, LONG = 25, 50  # steps of 32 digits: 1.6 and 3.2 epochs
SEVERITIES = (2, 4)
TEST = 300
RECIPES: dict[str, dict[str, Any]] = {"plain": {}, "noise": {"noise": 0.2}, "rotation": {"rotation": 20.0}}
RATES = (3e-4, 1e-3, 3e-3)
TUNED = {"plain": 1e-3, "noise": 1e-3, "rotation": 1e-3}  # lowest validation loss of two further seeds: see ``rates``
EMA = 0.9
OWN, ANEW = "own", "anew"  # batch-norm statistics: as training left them, or of the 500 clean training digits
NOISY = "noisy"  # those of the 500 training digits under the noise of the recipe of that name


def digit_task() -> Any:
    """The 500 digits that all runs are trained on, and the 300 that they are measured on."""
    return digits(train=500, validation=300, test=TEST)


def settings_of(recipe: str, schedule: str = "cosine", learning_rate: float | None = None) -> Settings:
    """Those of a recipe: AdamW, five steps of warm-up, then the schedule."""
    rate = TUNED[recipe] if learning_rate is None else learning_rate
    return Settings(learning_rate=rate, schedule=schedule, warmup_steps=5, **RECIPES[recipe])


def training(model: nn.Module, task: Any, settings: Settings, total_steps: int, seed: int) -> Iterator[Step]:
    """Train, a step at a time: the numbers of ``lab.fine_tune(model, task, seed=seed, batch_size=32, ...)``."""
    batches = task.batches(seed, 32)
    return steps(model, batches, cross_entropy, Control(settings), total_steps=total_steps, seed=seed, augment=augment)


def trained(task: Any, recipe: str, total_steps: int, seed: int, order: int | None = None) -> nn.Module:
    """A network of this recipe; ``seed`` draws the head, ``order`` (by default the same number) the rest."""
    model: nn.Module = resnet(task, seed=seed)
    for _ in training(model, task, settings_of(recipe), total_steps, seed if order is None else order):
        pass
    return model


def anew(
    task: Any, model: nn.Module, weights: Mapping[str, Tensor] | None = None, batches: Iterable[Any] | None = None
) -> nn.Module:
    """The same network, with these weights if given, its batch-norm statistics those of the clean training digits.

    Args:
        task: the digits.
        model: a ResNet for them.
        weights: in place of the model's own.
        batches: of inputs whose statistics are taken, in place of the clean training digits.
    """
    other: nn.Module = resnet(task)
    other.load_state_dict(model.state_dict() if weights is None else weights)
    update_bn(task.train.batches(50) if batches is None else batches, other)
    return other.eval()


def anew_under_noise(task: Any, model: nn.Module, seed: int) -> nn.Module:
    """As ``anew``, but the training digits are covered with the noise recipe's noise, which ``seed`` draws."""
    with seeded_rng(seed):
        return anew(task, model, batches=(augment(x, settings_of("noise")) for x, _ in task.train.batches(50)))


def conditions(task: Any) -> list[tuple[str, int]]:
    """(corruption, severity) of what is measured: ("clean", 0) first."""
    return [("clean", 0), *((name, s) for name in corruptions_of(task.test) for s in SEVERITIES)]


def inputs_of(task: Any) -> Tensor:
    """(conditions, 300, 3, H, W): the test digits under all of them."""
    splits = [task.test, *(corrupted(task.test, name, s) for name, s in conditions(task)[1:])]
    return torch.stack([split.collate(torch.arange(TEST))[0] for split in splits])


@torch.no_grad()
def answers(model: nn.Module, inputs: Tensor) -> Tensor:
    """(conditions, 300, 10) probabilities, as the network stands."""
    model.eval()
    return torch.stack([torch.cat([model(part) for part in one.split(100)]).softmax(dim=1) for one in inputs])


@torch.no_grad()
def clean_loss(model: nn.Module, split: Any) -> tuple[float, float]:
    """Mean cross-entropy in nats and error rate on a split as it is, in evaluation mode."""
    model.eval()
    logits = torch.cat([model(x) for x, _ in split.batches(100)])
    targets = torch.cat([y for _, y in split.batches(100)])
    return float(cross_entropy(logits, targets)), float((logits.argmax(dim=1) != targets).double().mean())


def short_runs(task: Any, inputs: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """Three recipes after 25 steps, by kind of batch-norm statistics, and the mean of their weights."""
    models = {recipe: trained(task, recipe, SHORT, seed) for recipe in RECIPES}
    for recipe, model in models.items():
        yield row(task, inputs, SHORT, recipe, OWN, seed, model)
        yield row(task, inputs, SHORT, recipe, ANEW, seed, anew(task, model))
        if recipe != "rotation":
            yield row(task, inputs, SHORT, recipe, NOISY, seed, anew_under_noise(task, model, seed))
    mean = average_weights([model.state_dict() for model in models.values()])
    yield row(task, inputs, SHORT, "soup of recipes", ANEW, seed, anew(task, models["plain"], mean))


def long_runs(task: Any, inputs: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """After 50 steps: plain and with noise, three orders of the plain one, and averages across runs and along one."""
    noisy = trained(task, "noise", LONG, seed)
    yield row(task, inputs, LONG, "noise", OWN, seed, noisy)
    yield row(task, inputs, LONG, "noise", ANEW, seed, anew(task, noisy))
    yield row(task, inputs, LONG, "noise", NOISY, seed, anew_under_noise(task, noisy, seed))
    plain, along = averaged_along(task, seed, "cosine")
    yield row(task, inputs, LONG, "plain", OWN, seed, plain)
    yield row(task, inputs, LONG, "plain", NOISY, seed, anew_under_noise(task, plain, seed))
    orders = [plain, *(trained(task, "plain", LONG, seed, order) for order in (100 + seed, 200 + seed))]
    found = []
    for number, model in enumerate(orders, start=1):
        again = anew(task, model)
        found.append(answers(again, inputs))
        name = "plain" if number == 1 else f"plain, order {number}"
        yield row(task, inputs, LONG, name, ANEW, seed, again, found[-1])
    mean = average_weights([model.state_dict() for model in orders])
    yield row(task, inputs, LONG, "soup of orders", ANEW, seed, anew(task, plain, mean))
    yield row(task, inputs, LONG, "answers of orders", ANEW, seed, None, torch.stack(found).mean(dim=0))
    for name, weights in along.items():
        yield row(task, inputs, LONG, name, ANEW, seed, anew(task, plain, weights))
    constant, along = averaged_along(task, seed, "constant")
    yield row(task, inputs, LONG, "constant rate", ANEW, seed, anew(task, constant))
    for name, weights in along.items():
        yield row(task, inputs, LONG, f"constant rate, {name}", ANEW, seed, anew(task, constant, weights))


def averaged_along(task: Any, seed: int, schedule: str) -> tuple[nn.Module, dict[str, dict[str, Tensor]]]:
    """A plain run of 50 steps, and two averages of its weights: EMA, and SWA over the last third of the steps."""
    model: nn.Module = resnet(task, seed=seed)
    theta = {name: p.detach() for name, p in model.named_parameters()}  # views of the weights, which training changes
    ema, swa = ({name: p.clone() for name, p in theta.items()} for _ in range(2))
    for k, _ in enumerate(training(model, task, settings_of("plain", schedule), LONG, seed)):
        ema = {name: moving_average(ema[name], p, EMA) for name, p in theta.items()}
        n = k - (LONG - LONG // 3)  # of the last third, how many have been averaged
        if n >= 0:
            swa = {name: (n * swa[name] + p) / (n + 1) for name, p in theta.items()}
    state = model.state_dict()
    return model, {"EMA": state | ema, "SWA": state | swa}


def row(
    task: Any, inputs: Tensor, length: int, name: str, statistics: str, seed: int, model: nn.Module | None,
    probabilities: Tensor | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What one contender comes to, as JSON values."""
    p = answers(model, inputs) if probabilities is None and model is not None else probabilities
    assert p is not None
    wrong = (p.argmax(dim=2) != task.test.targets).numpy()  # (conditions, 300)
    return {
        "steps": length,
        "name": name,
        "statistics": statistics,
        "seed": seed,
        "train_loss": clean_loss(model, task.train)[0] if model is not None else float("nan"),
        "wrong": np.packbits(wrong).tolist(),
    }


def rates(task: Any) -> Iterator[dict[str, Any]]:
    """Each recipe at three learning rates, 25 steps, two seeds that the study does not use: on the validation split."""
    for recipe in RECIPES:
        for rate in RATES:
            for seed in (10, 11):
                model = resnet(task, seed=seed)
                for _ in training(model, task, settings_of(recipe, learning_rate=rate), SHORT, seed):
                    pass
                loss, error = clean_loss(anew(task, model), task.validation)
                yield {"recipe": recipe, "rate": rate, "seed": seed, "loss": loss, "error": error}


def sentence_splits() -> dict[str, Any]:
    """What the heads of notebook 10 are trained and measured on: name -> split of sentences."""
    tasks = {each: reviews(each, train=500, validation=20, test=200, max_tokens=32) for each in CORPORA}
    splits = {f"{each}, {part}": getattr(task, part) for each, task in tasks.items() for part in ("train", "test")}
    films = tasks["movies"]
    splits |= {f"typos {severity}": corrupted(films.test, "typos", severity) for severity in SEVERITIES}
    return splits | {"pairs": negation_pairs(films)}


@torch.no_grad()
def mean_pooled(model: Any, split: Any) -> Tensor:
    """(N, 384): the mean of the last layer over the tokens of each sentence, padding left out."""
    found = torch.empty(len(split), model.config.hidden_size)
    for positions in split.order().split(64):  # by length, so that little is padding
        inputs, _ = split.collate(positions)
        hidden = model.base_model(**inputs).last_hidden_state  # (B, T, 384)
        mask = inputs["attention_mask"].unsqueeze(2)
        found[positions] = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    return found


def write_texts(file: Path) -> None:
    """Keep the features and classes of all sentences, in half precision."""
    splits = sentence_splits()
    model = bert(2).eval()
    columns: dict[str, Any] = {f"{name}: y": split.targets.numpy().astype(np.int8) for name, split in splits.items()}
    columns |= {f"{name}: X": mean_pooled(model, split).half().numpy() for name, split in splits.items()}
    write_columns(file, f"CPU, torch {torch.__version__}", **columns)


def sentences() -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> features (N, 384) float32 of the sentences, as ``mean_pooled`` makes them, and classes (N,)."""
    with np.load(TEXTS) as kept:
        names = [key.removesuffix(": X") for key in kept.files if key.endswith(": X")]
        return {n: (torch.from_numpy(kept[f"{n}: X"]).float(), torch.from_numpy(kept[f"{n}: y"]).long()) for n in names}


def study() -> pandas.DataFrame:
    """All contenders that lie in the package, a row each.

    Columns: steps, name, statistics ("own" or "anew", for plain and noise also "noisy"), seed, and train_loss, the mean
    cross-entropy on the 500 training digits as they are, in nats (nan for averaged answers).
    """
    return read_table(FILE, "steps", "name", "statistics", "seed", "train_loss")


def wrong() -> np.ndarray:
    """(R, 19, 300) bool, in the order of ``study()`` and of ``conditions``: which test digits were judged wrongly."""
    bits: np.ndarray = np.unpackbits(read_column(FILE, "wrong"), axis=1)
    return bits[:, : 19 * TEST].reshape(len(bits), 19, TEST).astype(bool)


def tuning() -> pandas.DataFrame:
    """The runs that chose the learning rates: recipe, rate, seed, and loss and error on the validation split."""
    return read_table(FILE, prefix="tuning_")


def write(rows: Sequence[Mapping[str, Any]], tuned: Sequence[Mapping[str, Any]], file: Path, by: str) -> None:
    """Keep what was found as small as it can be."""
    kinds: dict[str, Any] = {"seed": np.int16, "steps": np.int16, "train_loss": np.float32, "wrong": np.uint8}
    columns: dict[str, Any] = {n: np.array([each[n] for each in rows], dtype=kinds.get(n)) for n in rows[0]}
    columns |= {f"tuning_{n}": np.array([each[n] for each in tuned]) for n in tuned[0]}
    write_columns(file, by, **columns)


def main() -> None:
    """Do what is not done, and write the file."""
    out = parser_of("robustness", __doc__).parse_args().out
    done, task = Done(out / "robustness.part.jsonl"), digit_task()
    inputs = inputs_of(task)
    tuned = done.once("rates", rates, task)
    rows = []
    for runs in (short_runs, long_runs):
        for seed in SEEDS:
            rows += done.once((runs.__name__, seed), runs, task, inputs, seed)
    write(rows, tuned, out / FILE.name, f"CPU, torch {torch.__version__}")
    write_texts(out / TEXTS.name)


if __name__ == "__main__":
    main()
