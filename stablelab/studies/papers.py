"""What two papers found about fine-tuning BERT, done again at small scale: ``python -m stablelab.studies.papers``.

The results lie in the package, so that a notebook can show all of them and run a few again. The command makes them
anew; stopped at any time, it goes on from where it was. With two processes ``bert_short``, ``bert_long`` and
``bert_rates`` take about an hour and a half, ``bert_map`` and ``bert_crossing`` as long, all of ``study_40`` to
``study_120_new_layer_schedule`` four hours, and ``study_rates``, 4960 runs, a day; it is made only where it is named.
What was computed on a GPU instead, many runs in one computation, says so (``kept(name).description["computed_by"]``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..formulas import cross_entropy, missing_correction
from ..stability import Results, Sweep, Trial
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

SENTENCES = 200
SEEDS = range(20)
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
MAP_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 6e-4, 1e-3, 3e-3, 1e-2)
SHORT, LONG = 40, 120  # steps of 8 sentences: 1.6 and 4.8 epochs
WARMUP = 0.1  # share of the steps
TUNED = {  # (steps, new top layers, bias corrected) -> learning rate without and with warm-up: see study_rates
    (SHORT, 0, True): (3e-4, 2e-4),
    (SHORT, 1, True): (1e-4, 1e-4),
    (SHORT, 0, False): (3e-5, 3e-5),
    (SHORT, 1, False): (3e-5, 2e-5),
    (LONG, 0, True): (6e-5, 6e-5),
    (LONG, 1, True): (6e-5, 6e-5),
    (LONG, 0, False): (1e-5, 1e-5),
    (LONG, 1, False): (1e-5, 1e-5),
}
HIGH_RATES = (6e-5, 1e-4, 2e-4, 3e-4, 6e-4, 1e-3, 2e-3)
STUDY_RATES = {  # (steps, bias corrected) -> the learning rates that were tried in every arm of the study
    (SHORT, True): (1e-5, 3e-5, *HIGH_RATES),
    (SHORT, False): (1e-5, 2e-5, 3e-5, *HIGH_RATES),
    (LONG, True): (1e-5, 3e-5, *HIGH_RATES),
    (LONG, False): (3e-6, 6e-6, 1e-5, 2e-5, 3e-5, *HIGH_RATES),
}
FIRST = 20  # steps whose gradients are measured, layer by layer
TOLD = ("steps", "new_layers", "warmup_steps", "correction", "learning_rate", "seed")  # what tells two runs apart


def bias_correction(steps: int, learning_rate: float = 1e-4, file: Path | None = None) -> Sweep:
    """With and without Adam's bias correction, with and without warm-up, over twenty seeds.

    Args:
        steps: length of each run.
        learning_rate: at its height; it then falls to 0 along a cosine.
        file: as of ``lab.sweep``.

    Source:
        Mosbach, Andriushchenko & Klakow 2021, "On the stability of fine-tuning BERT", Sections 5 and 6; Zhang et al.
        2021, "Revisiting few-sample BERT fine-tuning", Sections 4 and 6. There BERT-large (340 million weights), here
        one of 23 million, and a higher learning rate.
    """
    grid: dict[str, Sequence[Any]] = {"bias_correction": [True, False], "warmup_steps": [0, round(WARMUP * steps)]}
    return _sweep(grid, steps, SEEDS, file, learning_rate=learning_rate)


def learning_rates(file: Path | None = None) -> Sweep:
    """Learning rates over two orders of magnitude, with and without clipping and warm-up, over three seeds.

    Source:
        Wortsman et al. 2023, "Small-scale proxies for large-scale Transformer training instabilities", Section 2.
    """
    grid: dict[str, Sequence[Any]] = {
        "max_norm": [None, 1.0],
        "warmup_steps": [0, round(WARMUP * SHORT)],
        "learning_rate": RATES,
    }
    return _sweep(grid, SHORT, range(3), file)


def rate_map(file: Path | None = None) -> Sweep:
    """Learning rates from where nothing is learned yet to where nothing is learned any more, over twenty seeds.

    One recipe: 40 steps of AdamW with bias correction, the rate falling along a cosine from the first step on; no
    warm-up, no decay, no clipping.
    """
    return _sweep({"learning_rate": MAP_RATES}, SHORT, SEEDS, file)


def crossing(file: Path | None = None) -> Sweep:
    """Fifteen new heads crossed with fifteen orders of the data, at the recipe and the best rate of ``rate_map``.

    Source:
        Dodge et al. 2020, "Fine-tuning pretrained language models: weight initializations, data orders, and early
        stopping", who cross 25 with 25.
    """
    return _sweep({}, SHORT, None, file, inits=range(15), orders=range(15), learning_rate=3e-4)


def study(steps: int, new_layers: int = 0, as_schedule: bool = False, file: Path | None = None) -> Sweep:
    """Bias correction and warm-up, each arm at the learning rate that is best for it, over twenty seeds.

    Args:
        steps: length of each run.
        new_layers: how many of the top layers are drawn anew before training.
        as_schedule: instead of runs with and without bias correction, runs with it whose learning rate is multiplied
            by ``missing_correction``: if leaving it out is nothing but a learning rate of another shape, they come to
            what the runs without it come to.
        file: as of ``lab.sweep``.

    Source:
        As of ``bias_correction``; Zhang et al. 2021, Section 5, for new top layers.
    """
    plain, warmups = _study(steps, new_layers, as_schedule), (0, round(WARMUP * steps))
    trials = []
    for trial in plain.trials:
        corrected = trial.settings.bias_correction and not as_schedule
        rate = TUNED[steps, new_layers, corrected][warmups.index(trial.settings.warmup_steps)]
        trials.append(replace(trial, settings=trial.settings.replace(learning_rate=rate)))
    return Sweep(plain.trainable, trials, file)


def _study(steps: int, new_layers: int, as_schedule: bool) -> Sweep:
    """The runs of ``study``, all at one learning rate."""
    grid = {"bias_correction": [True] if as_schedule else [True, False], "warmup_steps": (0, round(WARMUP * steps))}
    plain = _sweep(grid, steps, SEEDS, None, model=partial(bert_with_new_layers, new_layers) if new_layers else None)
    trainable: Any = plain.trainable
    return Sweep(replace(trainable, rate_factor=missing_correction), plain.trials) if as_schedule else plain


def movie_reviews() -> Any:
    """The task of all runs."""
    from ..data import reviews

    return reviews("movies", train=SENTENCES, validation=SENTENCES, test=SENTENCES, max_tokens=24)


def bert_with_new_layers(layers: int, task: Any, seed: int = 0) -> Any:
    """A BERT whose top layers, of this number, know nothing; 0 for one that is wholly pre-trained."""
    from ..models import bert, reinitialize_layers

    model = bert(task, seed=seed)
    return reinitialize_layers(model, layers, seed) if layers else model


def study_rates() -> pandas.DataFrame:
    """All runs of the study at all learning rates, a row each: what ``TUNED`` was chosen from, by the highest mean.

    The table was computed on a GPU, 160 runs at a time (the file says so in ``by``); each row is the run that ``study``
    makes at that rate. ``make_study_rates`` makes it anew.

    Columns: steps, new_layers, warmup_steps, correction ("on", "off", or "schedule": see ``study``), learning_rate,
    seed, accuracy, validation_loss, failed.
    """
    return read_table(KEPT / "study_rates.npz", *TOLD, "accuracy", "validation_loss", "failed")


def study_gradients() -> tuple[pandas.DataFrame, np.ndarray, tuple[str, ...]]:
    """How long the gradient of each layer is in the first steps of the short runs of the study.

    Returns:
        The rows of ``study_rates`` that they belong to; (R, 20, 8) norms of run, step and layer, before clipping; and
        the names of the layers, from the head down.
    """
    file, rows = KEPT / "study_rates.npz", study_rates()
    norms, names = read_column(file, "norms").astype(np.float32), tuple(read_column(file, "layers").tolist())
    return rows[rows.steps == SHORT].reset_index(drop=True), norms, names


def study_runs() -> Iterator[tuple[Any, Trial, dict[str, Any]]]:
    """What ``study_rates`` consists of: of each run what is trained, how, and the columns that tell it from others."""
    for steps in (SHORT, LONG):
        for layers in (0, 1):
            for as_schedule in (False, True):
                plain = _study(steps, layers, as_schedule)
                for trial in plain.trials:
                    corrected = trial.settings.bias_correction and not as_schedule
                    correction = "schedule" if as_schedule else "on" if corrected else "off"
                    for rate in STUDY_RATES[steps, corrected]:
                        settings = trial.settings.replace(learning_rate=rate)
                        arm = {"steps": steps, "new_layers": layers, "warmup_steps": settings.warmup_steps}
                        known = arm | {"correction": correction, "learning_rate": rate, "seed": trial.init}
                        yield plain.trainable, replace(trial, settings=settings), known


def study_row(trainable: Any, trial: Trial, known: dict[str, Any]) -> dict[str, Any]:
    """Train; what the run comes to beside ``known``, and the layers' gradient norms of its first steps, as JSON values.

    A run that diverges ends there: its accuracy is nan, and the norms of the steps that it has not done are, too.
    """
    from ..models import layers_of
    from ..stability import is_failed
    from ..stability.sweeps.execution import one_thread, training_steps
    from ..training.evaluation import predict

    with one_thread():
        setup = trainable.prepare(trial)
        layers = [[setup.model.get_submodule(name) for name in names] for names in layers_of(setup.model)]
        norms = np.full((FIRST, len(layers)), np.nan, dtype=np.float32)
        diverged = False
        for step in training_steps(setup, trial):
            diverged = step.diverged
            if step.step <= FIRST:
                norms[step.step - 1] = [_gradient_norm(modules) for modules in layers]
        logits, targets = predict(setup.model, setup.task.validation)
        loss = float("inf") if diverged else float(cross_entropy(logits, targets))
    accuracy = float((logits.argmax(dim=1) == targets).float().mean()) if np.isfinite(loss) else float("nan")
    failed = not np.isfinite(loss) or bool(is_failed(accuracy, targets))
    return known | {"accuracy": accuracy, "validation_loss": loss, "failed": failed, "norms": norms.tolist()}


def make_study_rates(out: Path, n_jobs: int | None = None) -> Path:
    """Do all runs of ``study_runs`` that are not done, and write the file that ``study_rates`` reads; returns it.

    Each run is kept beside it as it ends, a line of JSON; stopped at any time, the same call goes on from there.
    """
    import joblib
    import torch

    done, file = Done(out / "study_rates.part.jsonl"), out / "study_rates.npz"
    left = [joblib.delayed(study_row)(*run) for run in study_runs() if _key(run[2]) not in done]
    print(f"study_rates: {len(done)} of {len(done) + len(left)} runs done")
    for row in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(left):
        done.add(_key(row), row)
    write_study_rates([*done.values()], file, f"CPU, torch {torch.__version__}, float32, one run at a time")
    return file


def write_study_rates(rows: Sequence[dict[str, Any]], file: Path, by: str) -> None:
    """Keep these rows as small as they can be, sorted; the norms of the short runs alone."""
    kinds: dict[str, Any] = {"steps": np.int16, "new_layers": np.int8, "warmup_steps": np.int8, "seed": np.int8}
    kinds |= {"accuracy": np.float32, "validation_loss": np.float32}
    ordered = sorted(rows, key=_key)
    names = [n for n in ordered[0] if n != "norms"]
    columns: dict[str, Any] = {n: np.array([row[n] for row in ordered], dtype=kinds.get(n)) for n in names}
    norms = np.array([row["norms"] for row in ordered if row["steps"] == SHORT], dtype=np.float32)
    depth = norms.shape[-1] - 2
    layers = ["head", *(f"block {n}" for n in range(depth, 0, -1)), "embeddings"]
    write_columns(file, by, norms=norms, layers=np.array(layers), **columns)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[n] for n in TOLD)


def _gradient_norm(modules: Sequence[Any]) -> float:
    """Of the gradients of all parameters of these modules together."""
    gradients = [p.grad.norm() for module in modules for p in module.parameters() if p.grad is not None]
    return float(np.sqrt(sum(float(norm) ** 2 for norm in gradients)))


def _sweep(
    grid: Mapping[str, Sequence[Any]],
    steps: int,
    seeds: range | None,
    file: Path | None,
    model: Any = None,
    **settings: Any,
) -> Sweep:
    from ..models import bert
    from ..sweeping import sweep

    return sweep(
        model or bert,
        movie_reviews(),
        grid,
        seeds=seeds,
        steps=steps,
        batch_size=8,
        file=file,
        schedule="cosine",
        **settings,
    )


EXPERIMENTS: dict[str, Callable[..., Sweep]] = {
    "bert_short": lambda file: bias_correction(SHORT, file=file),
    "bert_long": lambda file: bias_correction(LONG, file=file),
    "bert_rates": learning_rates,
    "bert_map": rate_map,
    "bert_crossing": crossing,
    **{
        f"study_{steps}{'_new_layer' * layers}{'_schedule' * as_schedule}": partial(study, steps, layers, as_schedule)
        for steps in (SHORT, LONG)
        for layers in (0, 1)
        for as_schedule in (False, True)
    },
}
NAMES = (*EXPERIMENTS, "study_rates")


def kept(name: str) -> Results:
    """The results that lie in the package.

    Args:
        name: one of ``EXPERIMENTS``.

    Raises:
        ValueError: there is no such experiment.
    """
    return Results.read(KEPT / f"{_known(name)}.sqlite")


def make(name: str, out: Path, n_jobs: int | None = None) -> Path:
    """Run one of the experiments and write its results, as small as they can be; returns the file.

    What is done is kept beside it until then, run by run.
    """
    part = out / f"{name}.part.sqlite"
    sweep = EXPERIMENTS[_known(name)](file=part)
    print(f"{name}: {sweep}")
    sweep.run(n_jobs)
    if sweep.done < sweep.total:
        raise ValueError(f"{name}: {sweep.total - sweep.done} of {sweep.total} runs are missing; run it again")
    file = out / f"{name}.sqlite"
    sweep.ledger.copy_to(file, sweep.name)
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the experiments. Returns the exit status."""
    parser = parser_of("papers", __doc__)
    parser.add_argument(
        "names", nargs="*", default=list(EXPERIMENTS), help=f"of {', '.join(NAMES)}; all but the last if none"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default: 2)")
    options = parser.parse_args(arguments)
    try:
        for name in [_known(each, NAMES) for each in options.names]:
            made = (
                make_study_rates(options.out, options.jobs)
                if name == "study_rates"
                else make(name, options.out, options.jobs)
            )
            print(f"wrote {made}")
    except (ValueError, OSError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _known(name: str, names: Sequence[str] = tuple(EXPERIMENTS)) -> str:
    if name not in names:
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(names)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
