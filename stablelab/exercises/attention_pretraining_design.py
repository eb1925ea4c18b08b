"""The exercises of notebook 06 that mend or design: a mask, a start without the root, and a comparison of features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .exercise import Case, Exercise, Slip, normal


def padded_attention(q, k, v, real):
    T = q.shape[-2]
    allowed = torch.ones(T, T, dtype=torch.bool).tril() & real[:, None, :]  # (B, T, T)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return torch.softmax(scores.masked_fill(~allowed, -math.inf), dim=-1) @ v


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def _causal(q: Tensor) -> Tensor:
    return torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).tril()


def _padded_case(B: int, T: int, d: int, lengths: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    real = torch.arange(T) < torch.tensor(lengths)[:, None]  # (B, T)
    return normal(B, T, d, seed=seed), normal(B, T, d, seed=seed + 1), normal(B, T, 3, seed=seed + 2), real


PADDED = Exercise(
    name="attention.padded",
    returns="causal attention in which padded keys have no weight and the weights of every query sum to 1",
    solution=padded_attention,
    cases=(
        Case("one sentence of three words, none padded", _padded_case(1, 3, 2, (3,), seed=20)),
        Case("the second of two sentences has two words of four", _padded_case(2, 4, 4, (4, 2), seed=23)),
        Case("three sentences, one of a single word", _padded_case(3, 5, 8, (1, 5, 3), seed=26)),
    ),
    slips=(
        Slip(
            "the weights of the first query sum to less than 1 although it sees its own position",
            lambda q, k, v, real: torch.softmax(_scores(q, k), -1) * (_causal(q) & real[:, None, :]) @ v,
        ),
        Slip(
            "positions that may not be looked at still get some weight",
            lambda q, k, v, real: torch.softmax(_scores(q, k) * (_causal(q) & real[:, None, :]), -1) @ v,
        ),
        Slip(
            "padding takes part: the answers of a short sentence depend on what stands after its end",
            lambda q, k, v, real: torch.softmax(_scores(q, k).masked_fill(~_causal(q), -math.inf), -1) @ v,
        ),
        Slip(
            "the first position knows what comes after it",
            lambda q, k, v, real: torch.softmax(_scores(q, k).masked_fill(~real[:, None, :], -math.inf), -1) @ v,
        ),
    ),
    hints=(
        "Add up the weights of each query. At which line do they cease to sum to 1?",
        "What has to be the score of a key, so that its weight is 0 and the softmax shares out all the rest?",
    ),
)


def same_training(d, learning_rate):
    factor = d**-0.25  # of each matrix: the product of both gets 1/√d
    return factor, learning_rate / math.sqrt(d)


SAME_TRAINING = Exercise(
    name="attention.same_training",
    returns="the factor for the start of both matrices, and the learning rate",
    solution=same_training,
    cases=(
        Case("d = 16, η = 1", (16, 1.0)),
        Case("d = 64, η = 0.3", (64, 0.3)),
        Case("d = 1, where the root changes nothing", (1, 0.5)),
    ),
    slips=(
        Slip(
            "too small a start: the scores are a product of both matrices, and each brings its factor",
            lambda d, learning_rate: (d**-0.5, learning_rate / math.sqrt(d)),
        ),
        Slip(
            "the same start, but its steps are too long: one step changes the scores by more than with the root",
            lambda d, learning_rate: (d**-0.25, learning_rate),
        ),
        Slip(
            "the step counts the factor once only; the gradient brings it a second time",
            lambda d, learning_rate: (d**-0.25, learning_rate * d**-0.25),
        ),
        Slip(
            "turned round: without the root the scores are too large, not too small",
            lambda d, learning_rate: (d**0.25, learning_rate * math.sqrt(d)),
        ),
        Slip(
            "the start is right and the steps are too short",
            lambda d, learning_rate: (d**-0.25, learning_rate / d),
        ),
    ),
    hints=(
        "Put U = cW with c² = 1/√d. Then the scores without the root, made of the U, are those with it, made of the W.",
        "Chain rule: ∂L/∂W = c ∂L/∂U. Multiply the step W - η ∂L/∂W by c and read off the rate for U.",
    ),
)


def paired_difference(mine, control, t):
    D = mine.double() - control.double()  # (S, N): +1, 0 or -1
    by_seed, by_example = D.mean(dim=1), D.mean(dim=0)  # (S,), (N,)
    squared_error = by_seed.var() / len(by_seed) + by_example.var() / len(by_example)
    return D.mean(), t * squared_error.sqrt()


def _hits(S: int, N: int, share: float, seed: int) -> Tensor:
    """Answers of S probes to N examples, of which some are harder than others."""
    return normal(S, N, seed=seed) + normal(1, N, seed=99 + N) + 0.3 * normal(S, 1, seed=seed + 1) < share


def _half(mine: Tensor, control: Tensor, by: tuple[int, ...], t: float, unbiased: bool = True) -> tuple[Tensor, Tensor]:
    D = mine.double() - control.double()
    means = [D.mean(dim=1 - dim) for dim in by]
    return D.mean(), t * torch.stack([each.var(correction=int(unbiased)) / len(each) for each in means]).sum().sqrt()


PAIRED = Exercise(
    name="attention.paired_difference",
    returns="the mean difference, and the half-width of its interval",
    solution=paired_difference,
    cases=(
        Case("three seeds, six examples", (_hits(3, 6, 0.5, 30), _hits(3, 6, -0.2, 32), 4.3)),
        Case("five seeds, forty examples", (_hits(5, 40, 0.9, 34), _hits(5, 40, 0.2, 36), 2.776)),
        Case(
            "a control that is the same under every seed",
            (_hits(4, 25, 0.6, 38), _hits(1, 25, 0.6, 40).repeat(4, 1), 3.182),
        ),
    ),
    slips=(
        Slip("over seeds only; another test set would change it as well", lambda m, c, t: _half(m, c, (0,), t)),
        Slip("over examples only; other seeds would change it as well", lambda m, c, t: _half(m, c, (1,), t)),
        Slip(
            "all answers as if they were independent: S answers to one example are not",
            lambda m, c, t: (
                (m.double() - c.double()).mean(),
                t * ((m.double() - c.double()).var() / m.numel()).sqrt(),
            ),
        ),
        Slip("the factor t is missing", lambda m, c, t: _half(m, c, (0, 1), 1.0)),
        Slip("variances with n instead of n - 1 below the sum", lambda m, c, t: _half(m, c, (0, 1), t, unbiased=False)),
        Slip(
            "the variances of both are added, as if the two had been tried on different examples; pair them first",
            lambda m, c, t: (
                _half(m, c, (0,), t)[0],
                t
                * torch.stack([x.double().mean(d).var() / x.shape[1 - d] for x in (m, c) for d in (0, 1)]).sum().sqrt(),
            ),
        ),
    ),
    hints=(
        "Subtract first: D = mine - control is +1, 0 or -1 for each seed and example. Its mean is the first result.",
        "The mean of a row is one seed's difference. The variance of these S means, divided by S, is the first term.",
        "The mean of a column is one example's difference. Do the same with N, add both, root, times t.",
    ),
)


EXERCISES = (PADDED, SAME_TRAINING, PAIRED)
