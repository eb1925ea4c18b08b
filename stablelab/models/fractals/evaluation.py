"""What pre-training on fractals is worth: the table of the model card, random weights beside pre-trained ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.digits import digits
from ...data.tasks import Split, Task
from ..pretraining import linear_probe
from ..rng import seeded_rng
from .small_conv import deterministic_gradients, with_small_map_convs
from .weights import NAME, load_body, verify_fractal_weights

SEEDS, TRIALS = 10, 3
EXAMPLES, VALIDATION, TEST = 200, 500, 1000
STEPS, BATCH_SIZE = 60, 32
LEARNING_RATES = (1e-4, 3e-4, 1e-3)  # of AdamW; each kind of weights is given the one that suits it best
Maker = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Scores:
    """Accuracies on the test split in percent, one for each seed.

    Attributes:
        probed: of a linear map on the frozen features.
        learning_rate: the one that was best on the validation split.
        tuned: after fine-tuning all weights with it.
    """

    probed: Tensor
    learning_rate: float
    tuned: Tensor


def evaluate(
    file: str | Path | None = None,
    seeds: int = SEEDS,
    steps: int = STEPS,
    size: int = 32,
    learning_rates: Sequence[float] = LEARNING_RATES,
    test: int = TEST,
) -> dict[str, Scores]:
    """Score random and pre-trained weights on handwritten digits, 200 of them labelled, and print the table.

    A seed draws the digits, the order of the batches, the head, and the random weights.

    Args:
        file: what ``python -m stablelab.models.fractals`` wrote; None for the bundled weights.
        seeds: how many, at least 3.
        steps: of fine-tuning with AdamW, 32 digits each.
        size: pixels of the digits' sides.
        learning_rates: those that are tried for either.
        test: digits of the test split.

    Returns:
        The scores of "random weights" and "fractal weights".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or holds weights of another network, or ``seeds`` is too small.
    """
    if seeds < TRIALS:
        raise ValueError(f"seeds is {seeds}; it must be at least {TRIALS}, over which the learning rate is chosen")
    path = verify_fractal_weights() if file is None else Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    print(f"accuracy in % on {test:,} digits, {EXAMPLES} others labelled, mean ± standard deviation over {seeds} seeds")
    tasks = [digits(EXAMPLES, VALIDATION, test, size=size, seed=seed) for seed in range(seeds)]
    makers: dict[str, Maker] = {
        "random weights": lambda seed: with_small_map_convs(_random(seed), size),
        "fractal weights": lambda seed: with_small_map_convs(load_body(_random(seed), path), size),
    }
    return {name: score(name, make, tasks, steps, learning_rates) for name, make in makers.items()}


def score(name: str, make: Maker, tasks: Sequence[Task], steps: int, learning_rates: Sequence[float]) -> Scores:
    """Probe and fine-tune what ``make`` gives for each seed, on the task of that seed, and print the scores.

    The learning rate is chosen on the validation split, over the first three seeds; the test split chooses nothing.
    """
    found = torch.tensor([probed(make(seed), task) for seed, task in enumerate(tasks)])
    print(f"{name:15} · linear probe on frozen features: {_summary(found)}", flush=True)
    results: dict[float, list[tuple[float, float]]] = {rate: [] for rate in learning_rates}

    def extend(rate: float, seeds: int) -> Tensor:
        for seed in range(len(results[rate]), seeds):
            results[rate].append(fine_tuned(make(seed), tasks[seed], seed, steps, rate))
        return torch.tensor(results[rate])

    for rate in learning_rates:
        validated = extend(rate, TRIALS)[:, 0]
        print(
            f"{name:15} · {steps} steps at {rate:g}, validation over {TRIALS} seeds: {_summary(validated)}",
            flush=True,
        )
    best = max(learning_rates, key=lambda rate: float(extend(rate, TRIALS)[:, 0].mean()))
    tested = extend(best, len(tasks))[:, 1]
    print(f"{name:15} · {steps} steps at {best:g}, test over {len(tasks)} seeds: {_summary(tested)}", flush=True)
    return Scores(found, best, tested)


def fine_tuned(model: nn.Module, task: Task, seed: int, steps: int, learning_rate: float) -> tuple[float, float]:
    """Fine-tune all weights with AdamW, in place; the accuracies on the validation and the test split in percent."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0, fused=True)
    batches = task.batches(seed, BATCH_SIZE)
    model.train()
    for k in range(steps):
        inputs, targets = batches(k)
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        with deterministic_gradients():
            loss.backward()
        optimizer.step()
    return _accuracy(model, task.validation), _accuracy(model, task.test)


def probed(model: nn.Module, task: Task) -> float:
    """The accuracy, in percent, of a linear map on what the body makes of the pictures. The head is taken off."""
    model.fc = nn.Identity()
    return 100 * linear_probe(*_outputs(model, task.train), *_outputs(model, task.test))


def _random(seed: int) -> nn.Module:
    from torchvision.models import get_model

    with seeded_rng(seed):
        return get_model(NAME, num_classes=10).to(memory_format=torch.channels_last)


def _accuracy(model: nn.Module, split: Split) -> float:
    logits, targets = _outputs(model, split)
    return 100 * float((logits.argmax(1) == targets).float().mean())


@torch.no_grad()
def _outputs(model: nn.Module, split: Split) -> tuple[Tensor, Tensor]:
    model.eval()
    outputs, targets = zip(*((model(x), y) for x, y in split.batches(250)), strict=True)
    return torch.cat(outputs), torch.cat(targets)


def _summary(accuracies: Tensor) -> str:
    return f"{accuracies.mean():.1f} ± {accuracies.std():.1f}"
