"""Pre-train a ResNet-18 on fractals: ``python -m stablelab.models.fractals``.

It can be stopped at any time (Ctrl-C, or a kill): the same command goes on from the last checkpoint, at most a minute
old, and ends with the same weights, bit for bit on one machine with the same number of threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..._files import write_atomically
from .training import PRECISIONS, Pretraining, Recipe, read_checkpoint, remove_checkpoints, write_checkpoint

SECONDS = 45.0  # between two checkpoints
OUT = Path("resnet18-fractals.safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, and pre-train or evaluate. Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.evaluate is not None:
            from .evaluation import evaluate

            evaluate(options.evaluate or None)
            return 0
        names = ("classes", "variations", "size", "epochs", "batch_size", "learning_rate", "seed", "precision")
        recipe = Recipe(**{name: getattr(options, name) for name in names})
        pretrain(recipe, options.out, options.device, options.resume, options.checkpoint_every)
    except (ValueError, OSError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def pretrain(
    recipe: Recipe, out: Path = OUT, device: str = "cpu", resume: bool = True, seconds: float = SECONDS
) -> Path:
    """Train by ``recipe`` and write the body as float16 safetensors; says what it does.

    Args:
        recipe: what is done.
        out: the file to write; its checkpoint lies beside it until the end.
        device: "cpu", "cuda", …
        resume: go on from the checkpoint, if there is one.
        seconds: from one checkpoint to the next.

    Returns:
        The file.

    Raises:
        ValueError: the checkpoint beside ``out`` was made by another recipe, or there is no such device.
        OSError: the folder cannot be written to.
    """
    from safetensors.torch import save

    if not out.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {out.parent}")
    pretraining = Pretraining(recipe, _device(device))
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    if resume:
        _resume(pretraining, checkpoint)
    print(f"resnet18 · {recipe.classes} formulas × {recipe.variations} variations · {recipe.steps} steps on {device}")
    _train(pretraining, checkpoint, seconds)
    write_atomically(out, save(pretraining.body(), {"recipe": repr(recipe)}))
    remove_checkpoints(checkpoint)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return out


def _device(name: str) -> str:
    there = "cpu or cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # a name that torch does not know, or a device that is not there
        raise ValueError(f"there is no device {name!r} here; use {there}") from error
    return name


def _resume(pretraining: Pretraining, checkpoint: Path) -> None:
    state = read_checkpoint(checkpoint)
    if state is None:
        return
    different = pretraining.recipe.differences(state["recipe"], state["step"])
    if different:
        raise ValueError(f"{checkpoint} was made with {different}; use the same, another --out, or --no-resume")
    pretraining.load_state_dict(state)
    print(f"going on from step {pretraining.step}")


def _train(pretraining: Pretraining, checkpoint: Path, seconds: float) -> None:
    steps, begun, first = pretraining.recipe.steps, time.monotonic(), pretraining.step
    saved, line, found = begun, 0.0, 0.0
    while pretraining.step < steps:
        loss, share = pretraining.train_step()
        found += (share - found) / min(50, pretraining.step - first)
        now = time.monotonic()
        if now - line > _seconds_between_lines() or pretraining.step == steps:
            line = now
            left = (now - begun) / (pretraining.step - first) * (steps - pretraining.step)
            numbers = f"loss {loss:.3f} · {found:.0%} right · {left / 60:.0f} min left"
            _show_progress(f"step {pretraining.step} of {steps} · {numbers}", pretraining.step / steps)
        if now - saved > seconds and pretraining.step < steps:
            _save(pretraining, checkpoint)
            saved = time.monotonic()
    if sys.stdout.isatty():
        print()


def _save(pretraining: Pretraining, checkpoint: Path) -> None:
    try:
        write_checkpoint(checkpoint, pretraining.state_dict())
    except (OSError, RuntimeError) as error:
        print(f"\nno checkpoint could be written ({str(error).splitlines()[0]}); training goes on")


def _seconds_between_lines() -> float:
    return 0.5 if sys.stdout.isatty() else 30.0


def _show_progress(line: str, share: float) -> None:
    """A progress bar that is written over where a person looks on; a line of its own in a log."""
    if sys.stdout.isatty():
        print(f"\r{'█' * round(20 * share):░<20} {line:<75}", end="", flush=True)
    else:
        print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stablelab.models.fractals",
        description="Pre-train a ResNet-18 on pictures made from formulas. The same command resumes what was stopped.",
    )
    usual = Recipe()
    add = parser.add_argument
    add("--classes", type=int, default=usual.classes, help="formulas (default: %(default)s)")
    add("--variations", type=int, default=usual.variations, help="of each formula (default: %(default)s)")
    add("--size", type=int, default=usual.size, help="pixels of a side (default: %(default)s)")
    add("--epochs", type=int, default=usual.epochs, help="each draws every variation once (default: %(default)s)")
    add("--batch-size", type=int, default=usual.batch_size, help="(default: %(default)s)")
    add("--learning-rate", type=float, default=usual.learning_rate, help="of SGD (default: %(default)s)")
    add("--seed", type=int, default=usual.seed, help="of everything random (default: %(default)s)")
    add("--precision", choices=tuple(PRECISIONS), default=usual.precision, help="(default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default: %(default)s)")
    add("--out", type=Path, default=OUT, help="file to write (default: %(default)s)")
    add("--resume", action=argparse.BooleanOptionalAction, default=True, help="go on from the checkpoint beside it")
    add("--checkpoint-every", type=float, default=SECONDS, metavar="SECONDS", help="(default: %(default)s)")
    add("--evaluate", nargs="?", const="", metavar="FILE", help="instead: score FILE, or the bundled weights")
    return parser


if __name__ == "__main__":
    sys.exit(main())
