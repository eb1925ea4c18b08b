"""What two papers found about fine-tuning BERT, done again at small scale: ``python -m stablelab.papers``.

The results lie in the package, so that a notebook can show all of them and run a few again. The command makes them
anew; stopped at any time, it goes on from where it was. With two processes it takes about an hour and a half.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .stability import Results, Sweep

KEPT = Path(__file__).parent / "stability" / "kept"
SENTENCES = 200
SEEDS = range(20)
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
MAP_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 6e-4, 1e-3, 3e-3, 1e-2)
SHORT, LONG = 40, 120  # steps of 8 sentences: 1.6 and 4.8 epochs
WARMUP = 0.1  # share of the steps


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


def _sweep(grid: dict[str, Sequence[Any]], steps: int, seeds: range, file: Path | None, **settings: Any) -> Sweep:
    from .data import reviews
    from .models import bert
    from .sweeping import sweep

    task = reviews("movies", train=SENTENCES, validation=SENTENCES, test=SENTENCES, max_tokens=24)
    return sweep(bert, task, grid, seeds=seeds, steps=steps, batch_size=8, file=file, schedule="cosine", **settings)


EXPERIMENTS: dict[str, Callable[[Path], Sweep]] = {
    "bert_short": lambda file: bias_correction(SHORT, file=file),
    "bert_long": lambda file: bias_correction(LONG, file=file),
    "bert_rates": learning_rates,
    "bert_map": rate_map,
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
    sweep = EXPERIMENTS[_known(name)](part)
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
