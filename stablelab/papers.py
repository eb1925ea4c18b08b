"""What two papers found about fine-tuning BERT, done again at small scale: ``python -m stablelab.papers``.

The results lie in the package, so that a notebook can show all of them and run a few again. The command makes them
anew; stopped at any time, it goes on from where it was. With two processes ``bert_short``, ``bert_long`` and
``bert_rates`` take about an hour and a half, ``bert_map`` and ``bert_crossing`` as long, all of ``study_…`` four hours.
What was computed on a GPU instead, many runs in one computation, says so (``kept(name).description["computed_by"]``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .formulas import missing_correction
from .stability import Results, Sweep

if TYPE_CHECKING:
    import pandas

KEPT = Path(__file__).parent / "stability" / "kept"
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
    warmups = (0, round(WARMUP * steps))
    grid = {"bias_correction": [True] if as_schedule else [True, False], "warmup_steps": warmups}
    plain = _sweep(grid, steps, SEEDS, None, model=partial(bert_with_new_layers, new_layers) if new_layers else None)
    trials = []
    for trial in plain.trials:
        corrected = trial.settings.bias_correction and not as_schedule
        rate = TUNED[steps, new_layers, corrected][warmups.index(trial.settings.warmup_steps)]
        trials.append(replace(trial, settings=trial.settings.replace(learning_rate=rate)))
    trainable: Any = plain.trainable
    return Sweep(replace(trainable, rate_factor=missing_correction) if as_schedule else trainable, trials, file)


def movie_reviews() -> Any:
    """The task of all runs."""
    from .data import reviews

    return reviews("movies", train=SENTENCES, validation=SENTENCES, test=SENTENCES, max_tokens=24)


def bert_with_new_layers(layers: int, task: Any, seed: int = 0) -> Any:
    """A BERT whose top layers, of this number, know nothing; 0 for one that is wholly pre-trained."""
    from .models import bert, reinitialize_layers

    model = bert(task, seed=seed)
    return reinitialize_layers(model, layers, seed) if layers else model


def study_rates() -> pandas.DataFrame:
    """All runs of the study at all learning rates, a row each: what ``TUNED`` was chosen from, by the highest mean.

    The table was computed on a GPU, 160 runs at a time (the file says so in ``by``); each row is the run that ``study``
    makes at that rate.

    Columns: steps, new_layers, warmup_steps, correction ("on", "off", or "schedule": see ``study``), learning_rate,
    seed, accuracy, validation_loss, failed.
    """
    import pandas

    with np.load(KEPT / "study_rates.npz") as kept:
        return pandas.DataFrame({name: kept[name] for name in kept.files if name not in ("norms", "layers", "by")})


def study_gradients() -> tuple[pandas.DataFrame, np.ndarray, tuple[str, ...]]:
    """How long the gradient of each layer is in the first steps of the short runs of the study.

    Returns:
        The rows of ``study_rates`` that they belong to; (R, 20, 8) norms of run, step and layer, before clipping; and
        the names of the layers, from the head down.
    """
    with np.load(KEPT / "study_rates.npz") as kept:
        norms, names = kept["norms"].astype(np.float32), tuple(kept["layers"].tolist())
    rows = study_rates()
    return rows[rows.steps == SHORT].reset_index(drop=True), norms, names


def _sweep(
    grid: Mapping[str, Sequence[Any]],
    steps: int,
    seeds: range | None,
    file: Path | None,
    model: Any = None,
    **settings: Any,
) -> Sweep:
    from .models import bert
    from .sweeping import sweep

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
    parser = argparse.ArgumentParser(prog="python -m stablelab.papers", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(EXPERIMENTS), help=f"of {', '.join(EXPERIMENTS)}; all if none")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the results (default: here)")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default: 2)")
    options = parser.parse_args(arguments)
    try:
        for name in [_known(each) for each in options.names]:
            print(f"wrote {make(name, options.out, options.jobs)}")
    except (ValueError, OSError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _known(name: str) -> str:
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
