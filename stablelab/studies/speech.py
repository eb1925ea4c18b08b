"""wav2vec 2.0 on spoken digits, pre-trained and from scratch: ``python -m stablelab.studies.speech``.

With ``--pretrain`` it makes the weights that the package holds; without, it fine-tunes them and what began at random
at several rates and seeds, beside logistic regression on log-mel energies and on what the network makes of the
sounds when it is not trained further, and keeps what was found. What is tuned is tuned on the voices of the validation
split; what is told is of the voices of the test split. Some six minutes of one core; stopped at any time it goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import corrupted, spoken_digits
from ..data.sounds import Sounds, log_mel, normalized
from ..data.spoken_digits import spoken_clips
from ..data.tasks import Split, generator_for
from ..formulas import clip_, multiplier
from ..formulas.wav2vec import contrastive_loss, mask_spans, sample_distractors
from ..models.rng import seeded_rng
from ..models.wav2vec import FILE as WEIGHTS
from ..models.wav2vec import bundled_weights, tiny_config, wav2vec
from ..stability.calibration import reliability
from ..stability.sweeps.execution import one_thread
from ..training.evaluation import predict
from ..training.reproducibility import step_randomness
from .keeping import KEPT, Done, parser_of, read_column, read_table, write_columns

if TYPE_CHECKING:
    import pandas

FILE = KEPT / "speech.npz"
CURVE = KEPT / "speech_pretraining.npz"

# -- pre-training ------------------------------------------------------------------------------------------------------

PRETRAINING_STEPS, PRETRAINING_BATCH, PRETRAINING_RATE = 800, 32, 2e-3
SAMPLES = 4200  # of each crop: 0.525 s, as long as the longest digit
MASK_P, MASK_SPAN = 0.10, 5  # each frame begins a span of 50 ms with this probability
DISTRACTORS, TEMPERATURE, DIVERSITY = 20, 0.1, 0.1
GUMBEL = (2.0, 0.5)  # the temperature of the draw of codewords at the start and at the end
KEPT_EVERY = 50  # steps between two that are kept of the curve
LONGEST_GAP = 800  # samples of silence between two digits, at most


def crops(seed: int, k: int, n: int = PRETRAINING_BATCH, samples: int = SAMPLES, split: str = "train") -> Tensor:
    """Batch ``k``: pieces cut from digits that one voice speaks one after the other.

    Args:
        seed: all randomness is a function of it and of k.
        k: which batch, from 0.
        n: B, how many.
        samples: T, of each.
        split: whose voices speak.

    Returns:
        (B, T) float32, each with mean 0 and variance 1.
    """
    clips = spoken_clips()
    generator = generator_for(seed, k)
    names = list(dict.fromkeys(clips.voices[clips.splits == split]))

    def below(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    waves = torch.zeros(n, samples, dtype=torch.int16)
    for wave in waves:
        mine = np.flatnonzero(clips.voices == names[below(len(names))])
        at = -below(2000)  # the first digit may have begun before
        while at < samples:
            i = int(mine[below(len(mine))])
            size = int(clips.sizes[i])
            first, last = max(at, 0), min(at + size, samples)
            if last > first:
                wave[first:last] = clips.waves[i, first - at : last - at]
            at += size + below(LONGEST_GAP)
    return normalized(waves, torch.full((n,), samples))


def spoken_numbers(split: str, n: int, seed: int, digits: int = 3, samples: int = 12_000) -> tuple[Tensor, Tensor]:
    """Numbers spoken digit by digit by one voice each, with up to 100 ms of silence between the digits.

    Args:
        split: whose voices speak.
        n: B, how many.
        seed: of the voices, the digits and the silences.
        digits: S, of each.
        samples: T; what would be longer is drawn anew.

    Returns:
        (B, T) float32, each with mean 0 and variance 1 and zeros behind it, and (B, S) int64, the digits.
    """
    clips = spoken_clips()
    generator = generator_for(seed, n)
    names = list(dict.fromkeys(clips.voices[clips.splits == split]))
    waves, sizes = torch.zeros(n, samples, dtype=torch.int16), torch.zeros(n, dtype=torch.int64)
    spoken = torch.zeros(n, digits, dtype=torch.int64)
    for b in range(n):
        voice = names[int(torch.randint(len(names), (), generator=generator))]
        mine = torch.from_numpy(np.flatnonzero((clips.voices == voice) & (clips.splits == split)))
        while True:
            chosen = mine[torch.randint(len(mine), (digits,), generator=generator)]
            gaps = torch.randint(LONGEST_GAP, (digits,), generator=generator)
            ends = (clips.sizes[chosen] + gaps).cumsum(0)
            if ends[-1] <= samples:
                break
        for i, end in zip(chosen.tolist(), ends.tolist(), strict=True):
            size = int(clips.sizes[i])
            waves[b, end - size : end] = clips.waves[i, :size]
        sizes[b], spoken[b] = ends[-1], clips.digits[chosen]
    return normalized(waves, sizes), spoken


def pretraining_model(seed: int) -> nn.Module:
    """A tiny ``Wav2Vec2ForPreTraining`` before any training."""
    from transformers import Wav2Vec2ForPreTraining

    with seeded_rng(seed):
        model = Wav2Vec2ForPreTraining(tiny_config())
    assert isinstance(model, nn.Module)
    return model


def pretraining_steps(model: Any, seed: int, steps: int, of: int | None = None) -> Iterator[dict[str, float]]:
    """Pre-train in place with AdamW; yield what each step came to.

    Args:
        model: a ``Wav2Vec2ForPreTraining``.
        seed: of the crops, the masks, the distractors and the draws of codewords.
        steps: how many are done.
        of: how many the schedule is made for; as many as are done if not given.

    Yields:
        contrastive (nats for each hidden frame), accuracy (how often the true one scored highest) and in_use (the share
        of the codewords in use, by their perplexity).
    """
    of = steps if of is None else of
    optimizer = torch.optim.AdamW(model.parameters(), lr=PRETRAINING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    parameters = list(model.parameters())
    words = model.config.num_codevectors_per_group * model.config.num_codevector_groups
    model.train()
    for k in range(steps):
        x = crops(seed, k)
        generator = generator_for(seed, k, 1)
        hidden = mask_spans(len(x), frames_of(x.shape[1]), MASK_P, MASK_SPAN, generator)
        model.set_gumbel_temperature(GUMBEL[0] * (GUMBEL[1] / GUMBEL[0]) ** (k / of))
        with step_randomness(seed, k, torch.device("cpu")):
            out = model(x, mask_time_indices=hidden)
        c, q = out.projected_states[hidden], out.projected_quantized_states[hidden]  # (M, D)
        wrong = q[sample_distractors(hidden, DISTRACTORS, generator)]  # (M, K, D)
        contrastive = contrastive_loss(c, q, wrong, TEMPERATURE)
        in_use = out.codevector_perplexity / words
        optimizer.zero_grad()
        (contrastive + DIVERSITY * (1 - in_use)).backward()
        clip_([p.grad for p in parameters if p.grad is not None], "norm", 1.0)
        for group in optimizer.param_groups:
            group["lr"] = PRETRAINING_RATE * multiplier("cosine", k, of, of // 10)
        optimizer.step()
        with torch.no_grad():
            best = torch.cosine_similarity(c[:, None], wrong, dim=-1).amax(1)
            found = (torch.cosine_similarity(c, q) > best).double().mean()
        yield {"contrastive": contrastive.item(), "accuracy": found.item(), "in_use": in_use.item()}


def frames_of(samples: int) -> int:
    """How many frames the four convolutions make of so many samples."""
    config = tiny_config()
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


def pretrain(folder: Path, seed: int = 0, steps: int = PRETRAINING_STEPS) -> None:
    """Pre-train, write the weights as half-precision safetensors, and what each fiftieth step came to."""
    from safetensors.torch import save_file

    model = pretraining_model(seed)
    curve = []
    for k, step in enumerate(pretraining_steps(model, seed, steps)):
        if k % KEPT_EVERY == 0 or k == steps - 1:
            curve.append({"step": k, **{name: round(value, 3) for name, value in step.items()}})
    columns = {name: np.array([each[name] for each in curve], dtype=np.float32) for name in curve[0]}
    write_columns(folder / CURVE.name, f"CPU, one thread, torch {torch.__version__}", **columns)
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS.name)


def pretraining_curve() -> pandas.DataFrame:
    """What each fiftieth step of the kept pre-training came to: step, contrastive, accuracy and in_use."""
    return read_table(CURVE)


# -- fine-tuning -------------------------------------------------------------------------------------------------------

SEEDS = range(5)
TUNING = range(2)  # seeds that choose each rate
LABELS = (50, 200)
FINE_TUNED = (50,)  # of these, those with which the network is fine-tuned as well
RATES = (5e-4, 1.5e-3, 5e-3)
BUDGETS = (75, 150, 300)  # steps after which a run is looked at
BATCH = 8
WARMUP = 15
ARMS = ("pre-trained", "from scratch")


def fine_tuning_steps(model: nn.Module, task: Any, rate: float, seed: int, steps: int) -> Iterator[int]:
    """Train all weights with AdamW at one rate after a short warm-up, gradients clipped to a norm of 1."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01, fused=True)
    batches = task.batches(seed, BATCH)
    for k in range(steps):
        model.train()
        inputs, targets = batches(k)
        with step_randomness(seed, k, torch.device("cpu")):
            loss = F.cross_entropy(model(inputs).logits, targets)
        optimizer.zero_grad()
        loss.backward()
        clip_([p.grad for p in parameters if p.grad is not None], "norm", 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (k + 1) / WARMUP)
        optimizer.step()
        yield k + 1


PARTS = 8  # that the length of a sound is cut into, so that all have as many features


def features(split: Split, kind: str) -> np.ndarray:
    """What logistic regression is given: the frames of each sound, its length cut into ``PARTS``, averaged in each.

    Args:
        split: of sounds, or some of them.
        kind: "log-mel" for 40 energies a frame; "pre-trained, frozen" or "random, frozen" for what the last layer of
            the network makes of it, 64 numbers a frame.

    Returns:
        (N, PARTS · width) float32.
    """
    store: Any = split.store
    if isinstance(store, Sounds):
        return _features(store, kind)
    return _features(store.store, kind)[store.positions.numpy()]  # some examples of a store of sounds


_FEATURES: dict[tuple[bytes, str], np.ndarray] = {}  # of each store and kind: they do not depend on the seed


def _features(store: Sounds, kind: str) -> np.ndarray:
    key = store.digest(), kind
    if key not in _FEATURES:
        _FEATURES[key] = _computed(store, kind)
    return _FEATURES[key]


def _computed(store: Sounds, kind: str) -> np.ndarray:
    if kind == "log-mel":
        frames = [log_mel(store.wave(i), store.rate) for i in range(len(store))]
        frames = [levels - levels.mean() for levels in frames]
    else:
        model: Any = pretraining_model(0).eval()
        if kind == "pre-trained, frozen":
            model.load_state_dict(bundled_weights())
        with torch.no_grad():
            hidden = [
                model.wav2vec2(store.take(at)).last_hidden_state.numpy() for at in torch.arange(len(store)).split(50)
            ]
        counts = [max(1, frames_of(int(size))) for size in store.sizes]
        frames = [each[:count] for each, count in zip(np.concatenate(hidden), counts, strict=True)]
    rows = []
    for levels in frames:
        edges = np.linspace(0, len(levels), PARTS + 1)
        pieces = [levels[int(a) : max(int(a) + 1, math.ceil(b))] for a, b in pairwise(edges)]
        rows.append(np.concatenate([piece.mean(axis=0) for piece in pieces]))
    return np.array(rows, dtype=np.float32)


CORRUPTIONS, SEVERITIES = ("noise", "speed", "gain"), (1, 3, 5)
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # C of logistic regression, tuned on the validation split
CONTROLS = ("log-mel", "pre-trained, frozen", "random, frozen")  # each with logistic regression
UNTOLD = 255  # in place of predictions that were not looked at


def tested(probabilities: np.ndarray, task: Any) -> dict[str, Any]:
    """What probabilities (N, C) on the test split come to."""
    right = task.test.targets
    return {
        "accuracy": float((probabilities.argmax(1) == right.numpy()).mean()),
        "calibration_error": reliability(torch.from_numpy(probabilities), right).error,
        "predictions": probabilities.argmax(1).tolist(),
    }


def run_rows(arm: str, labels: int, rate: float, seed: int) -> Iterator[dict[str, Any]]:
    """One run, looked at after each of the budgets; under corruptions after the last."""
    task = spoken_digits(train=labels, seed=seed)
    model: Any = wav2vec(task, seed=seed, weights="pretrained" if arm == "pre-trained" else "random")
    for step in fine_tuning_steps(model, task, rate, seed, BUDGETS[-1]):
        if step not in BUDGETS:
            continue
        logits, targets = predict(model, task.validation, 50)
        accuracy, loss = float((logits.argmax(1) == targets).double().mean()), float(F.cross_entropy(logits, targets))
        row = {"arm": arm, "labels": labels, "rate": rate, "seed": seed, "steps": step}
        row |= {"validation_accuracy": accuracy, "validation_loss": loss}
        row |= tested(predict(model, task.test, 50)[0].double().softmax(1).numpy(), task)
        last = step == BUDGETS[-1]
        worse = [predict(model, split, 50)[0].argmax(1).tolist() for split in corrupted_tests(task)] if last else []
        yield row | {"corrupted": worse}


def corrupted_tests(task: Any) -> list[Split]:
    """The test split, which all tasks of spoken digits share, under each corruption at each severity."""
    key = CORRUPTIONS, SEVERITIES
    if key not in _CORRUPTED:
        _CORRUPTED[key] = [corrupted(task.test, name, severity) for name in CORRUPTIONS for severity in SEVERITIES]
    return _CORRUPTED[key]


_CORRUPTED: dict[Any, list[Split]] = {}


def control_rows(kind: str, labels: int, seed: int) -> Iterator[dict[str, Any]]:
    """Logistic regression on features of the same labelled clips."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    task = spoken_digits(train=labels, seed=seed)
    x, validation, test = (features(split, kind) for split in (task.train, task.validation, task.test))
    best: tuple[float, float, Any] | None = None
    for penalty in PENALTIES:
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
        fitted.fit(x, task.train.targets.numpy())
        accuracy = float(fitted.score(validation, task.validation.targets.numpy()))
        if best is None or accuracy > best[0]:
            best = accuracy, penalty, fitted
    assert best is not None
    accuracy, penalty, fitted = best
    row = {"arm": kind, "labels": labels, "rate": penalty, "seed": seed, "steps": 0}
    row |= {"validation_accuracy": accuracy, "validation_loss": math.nan}
    worse = [fitted.predict(features(split, kind)).tolist() for split in corrupted_tests(task)]
    yield row | tested(fitted.predict_proba(test), task) | {"corrupted": worse}


def best_rate(rows: Sequence[dict[str, Any]], arm: str, labels: int) -> float:
    """The rate with the highest mean validation accuracy after the last budget, over the seeds that choose.

    Of equals the one with the lower mean loss.
    """
    last = (arm, labels, BUDGETS[-1])
    mine = [r for r in rows if (r["arm"], r["labels"], r["steps"]) == last and r["seed"] in TUNING]

    def merit(rate: float) -> tuple[float, float]:
        here = [r for r in mine if r["rate"] == rate]
        return sum(r["validation_accuracy"] for r in here) / len(here), -sum(r["validation_loss"] for r in here)

    return max(sorted({r["rate"] for r in mine}), key=merit)


# -- what lies in the package ------------------------------------------------------------------------------------------


def runs() -> pandas.DataFrame:
    """All runs, a row for each budget.

    Columns: arm (of ``ARMS`` or of ``CONTROLS``), labels, rate (of the controls C, the inverse of the penalty), seed,
    steps, validation_accuracy, validation_loss, accuracy and calibration_error (both on the test split), and tuned:
    whether the rate is the one that was chosen for this arm and these labels.
    """
    table = read_table(FILE)
    rows = table.to_dict("records")
    best = {group: best_rate(rows, *group) for group in {(r["arm"], r["labels"]) for r in rows if r["arm"] in ARMS}}
    return table.assign(tuned=[best.get((r["arm"], r["labels"]), r["rate"]) == r["rate"] for r in rows])


def predictions() -> np.ndarray:
    """(R, 200) the digits that each row of ``runs()`` found in the clips of the test split."""
    return read_column(FILE, "predictions").astype(np.int16)


def corrupted_predictions() -> np.ndarray:
    """(R, 3, 3, 200) the same under each of ``CORRUPTIONS`` at each of ``SEVERITIES``; 255 where not looked at."""
    return read_column(FILE, "corrupted").astype(np.int16)


def write(rows: Sequence[dict[str, Any]], file: Path, by: str) -> None:
    """Keep what was found as small as it can be."""
    nothing = np.full((len(CORRUPTIONS), len(SEVERITIES), len(rows[0]["predictions"])), UNTOLD)
    worse = [np.reshape(r["corrupted"], nothing.shape) if r["corrupted"] else nothing for r in rows]
    kinds: dict[str, Any] = {"seed": np.int16, "labels": np.int16, "steps": np.int16, "predictions": np.uint8}
    columns = {n: np.array([r[n] for r in rows], dtype=kinds.get(n)) for n in rows[0] if n != "corrupted"}
    write_columns(file, by, **columns, corrupted=np.array(worse, dtype=np.uint8))


def study(part: Path) -> list[dict[str, Any]]:
    """All runs; what the file has of them is not done again."""
    done = Done(part)
    for labels, kind, seed in product(LABELS, CONTROLS, SEEDS):
        done.once((kind, labels, seed), control_rows, kind, labels, seed)
    for labels, arm in product(FINE_TUNED, ARMS):
        for rate, seed in product(RATES, TUNING):
            done.once((arm, labels, rate, seed), run_rows, arm, labels, rate, seed)
        best = best_rate([*chain(*done.values())], arm, labels)
        for seed in SEEDS:
            done.once((arm, labels, best, seed), run_rows, arm, labels, best, seed)
    return [*chain(*done.values())]


def main() -> None:
    """Pre-train, or do what is not done and write the file."""
    parser = parser_of("speech", __doc__)
    parser.add_argument("--pretrain", action="store_true", help="make the weights instead")
    arguments = parser.parse_args()
    with one_thread():
        if arguments.pretrain:
            pretrain(arguments.out)
        else:
            rows = study(arguments.out / "speech.part.jsonl")
            write(rows, arguments.out / FILE.name, f"CPU, one thread, torch {torch.__version__}")


if __name__ == "__main__":
    main()
