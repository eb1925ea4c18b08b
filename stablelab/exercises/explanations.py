"""The exercises of notebook 14b: integrated gradients, rank correlation, rollout, deletion, and finding a shortcut."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def integrated_gradients(gradient, x, baseline, steps):
    total = torch.zeros_like(x)
    for k in range(1, steps + 1):
        alpha = (k - 0.5) / steps
        total = total + gradient(baseline + alpha * (x - baseline))
    return (x - baseline) * total / steps


def _integrated(alpha=lambda k, m: (k - 0.5) / m, factor=lambda x, b: x - b, whole=False, from_zero=False):
    """Integrated gradients with one thing done otherwise."""

    def answer(gradient, x, baseline, steps):
        start = 0 * baseline if from_zero else baseline
        at = [start + alpha(k, steps) * (x - start) for k in range(1, steps + 1)]
        mean = sum(gradient(point) for point in at) / (1 if whole else steps)
        return factor(x, baseline) * mean

    return answer


INTEGRATED_GRADIENTS = Exercise(
    name="explain.integrated_gradients",
    returns="what each number of x adds to f(x) - f(x'): (x - x') times the mean gradient at the middles of the steps",
    solution=integrated_gradients,
    cases=(
        Case(
            "f = x₁² + x₂³, from 0", (lambda v: float64(2 * v[0], 3 * v[1] ** 2), float64(1.0, 2.0), float64(0, 0), 4)
        ),
        Case(
            "f = x₁ x₂ x₃, from a baseline that is not 0",
            (
                lambda v: torch.stack([v[1] * v[2], v[0] * v[2], v[0] * v[1]]),
                float64(1.0, -2.0, 3.0),
                float64(0.5, 0.5, -1.0),
                7,
            ),
        ),
        Case(
            "a function that is flat where x is",
            (lambda v: (v < 1).double() * 2, float64(3.0, 0.5), float64(0.0, 0.25), 9),
        ),
        Case("a matrix", (lambda v: v.exp(), normal(2, 3, seed=1), normal(2, 3, seed=2), 5)),
    ),
    slips=(
        Slip("the factor is x - x', not x", _integrated(factor=lambda x, b: x)),
        Slip(
            "that is the mean gradient; times x - x' it is in the unit of f", _integrated(factor=lambda x, b: 1 + 0 * x)
        ),
        Slip("the points are the middles of the steps, not their right ends", _integrated(lambda k, m: k / m)),
        Slip("the points are the middles of the steps, not their left ends", _integrated(lambda k, m: (k - 1) / m)),
        Slip("the mean over the steps, not the sum", _integrated(whole=True)),
        Slip("the way begins at the baseline, not at 0", _integrated(from_zero=True)),
        Slip("that is gradient × (x - x'): the gradient at x alone", _integrated(lambda k, m: 1.0)),
    ),
    hints=(
        "The m points are x' + α (x - x') with α = ½/m, 1½/m, …: one gradient at each.",
        "Add the gradients up, divide by the number of steps, and multiply by (x - baseline), element by element.",
    ),
)


def of_a_product(x, baseline):
    (x1, x2), (b1, b2) = x, baseline
    by_gradient = torch.stack([(x1 - b1) * x2, x1 * (x2 - b2)])
    by_occlusion = torch.stack([(x1 - b1) * x2, x1 * (x2 - b2)])
    integrated = torch.stack([(x1 - b1) * (x2 + b2) / 2, (x2 - b2) * (x1 + b1) / 2])
    return torch.stack([by_gradient, by_occlusion, integrated])


def _product(first=None, last=None, order=(0, 1, 2)):
    def answer(x, baseline):
        rows = of_a_product(x, baseline)
        if first is not None:
            rows[:2] = first(x, baseline)
        if last is not None:
            rows[2] = last(x, baseline)
        return rows[list(order)]

    return answer


OF_A_PRODUCT = Exercise(
    name="explain.of_a_product",
    returns="(3, 2): what x₁ and x₂ of f = x₁ x₂ get by gradient × (x - x'), by occlusion, by integrated gradients",
    solution=of_a_product,
    cases=(
        Case("from 0", (float64(2.0, 3.0), float64(0.0, 0.0))),
        Case("from a baseline that is not 0", (float64(2.0, -3.0), float64(1.0, 0.5))),
        Case("one number is at its baseline", (float64(2.0, 4.0), float64(2.0, -1.0))),
    ),
    slips=(
        Slip(
            "the mean gradient on the way: ∂f/∂x₁ = x₂ goes from x₂' to x₂, so its mean is (x₂ + x₂')/2",
            _product(last=lambda x, b: (x - b) * x.flip(0)),
        ),
        Slip("the mean of x₂' and x₂ is (x₂' + x₂)/2, not x₂/2", _product(last=lambda x, b: (x - b) * x.flip(0) / 2)),
        Slip("occlusion covers one number at a time; the other one stays", _product(lambda x, b: x.prod() - b.prod())),
        Slip("the other number is as it is, not at its baseline", _product(lambda x, b: (x - b) * b.flip(0))),
        Slip("the gradients are exchanged: ∂f/∂x₁ is x₂", _product(lambda x, b: (x - b) * x)),
        Slip("integrated gradients are the last row, not the first", _product(order=(2, 0, 1))),
    ),
    hints=(
        "∂f/∂x₁ = x₂. On the way both numbers move: x₂ is x₂' + α (x₂ - x₂'), and its mean over α is (x₂ + x₂')/2.",
        "Occlusion of x₁: x₁ x₂ - x₁' x₂. What do the two numbers of a row sum to, and what is f(x) - f(x')?",
    ),
)


def rank_correlation(a, b):
    def ranks(v):
        less = (v[:, None] > v[None, :]).sum(1).double()
        equal = (v[:, None] == v[None, :]).sum(1).double()
        return less + (equal + 1) / 2

    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()


def _pearson(x, y):
    x, y = x.double() - x.double().mean(), y.double() - y.double().mean()
    return (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()


def _as_stored(v):
    return v.argsort(stable=True).argsort()


def _kendall(a, b):
    x, y = (torch.sign(v[:, None] - v[None, :]) for v in (a, b))
    return (x * y).sum() / (x.abs().sum() * y.abs().sum()).sqrt()


RANK_CORRELATION = Exercise(
    name="explain.rank_correlation",
    returns="Spearman's ρ of two lists of scores; equal scores share the mean of their ranks",
    solution=rank_correlation,
    cases=(
        Case("no two alike", (float64(0.1, 0.4, 0.2, 0.9, 0.3), float64(1.0, 30.0, 2.0, 4.0, 3.0))),
        Case(
            "many zeros, as a map over a black background has", (float64(0, 0, 0, 2, 1, 0), float64(0, 0, 3, 1, 0, 0))
        ),
        Case("signs", (float64(-3, 1, 2, -1), float64(2, -1, 3, 1))),
        Case("ten at random", (normal(10, seed=3), normal(10, seed=4))),
    ),
    slips=(
        Slip(
            "equal scores must share the mean of their ranks: argsort gives them ranks by where they are stored",
            lambda a, b: _pearson(_as_stored(a), _as_stored(b)),
        ),
        Slip("that is the correlation of the scores, not of their ranks", _pearson),
        Slip("the scores keep their signs", lambda a, b: rank_correlation(a.abs(), b.abs())),
        Slip("that is Kendall's τ, over pairs", _kendall),
        Slip(
            "equal scores share the mean of their ranks, not the smallest",
            lambda a, b: _pearson(*((v[:, None] > v).sum(1) for v in (a, b))),
        ),
        Slip(
            "argsort says which score stands at each rank; its argsort says the rank of each score",
            lambda a, b: _pearson(a.argsort(stable=True), b.argsort(stable=True)),
        ),
    ),
    hints=(
        "The rank of a score: how many are smaller, plus half of (how many are equal, itself included, plus 1).",
        "Compare each with each: (v[:, None] > v).sum(1) counts the smaller. Then the usual correlation of the ranks.",
    ),
)


def deletion_curve(f, x, baseline, scores):
    values = [f(x)]
    x = x.clone()
    for i in scores.argsort(descending=True):
        x[i] = baseline[i]
        values.append(f(x))
    return torch.stack([torch.as_tensor(v) for v in values])


def _deleted(order, filler=lambda x, b: b, start=0, one_by_one=False, insert=False):
    def answer(f, x, baseline, scores):
        now, other = (baseline.clone(), x) if insert else (x.clone(), filler(x, baseline))
        values = [f(now)]
        for i in order(scores):
            if one_by_one:
                now = x.clone()
            now[i] = other[i]
            values.append(f(now))
        return torch.stack(values)[start:]

    return answer


def _down(scores):
    return scores.argsort(descending=True)


DELETION_CURVE = Exercise(
    name="explain.deletion_curve",
    returns="f after 0, 1, … n parts were set to their baseline, the part with the highest score first: n + 1 values",
    solution=deletion_curve,
    cases=(
        Case(
            "three parts, from 0",
            (lambda v: (v * float64(1.0, 2.0, 3.0)).sum(), float64(1, 1, 1), float64(0, 0, 0), float64(0.2, 0.9, -0.5)),
        ),
        Case(
            "a baseline that is not 0",
            (
                lambda v: torch.sigmoid(v[0] * v[1] + v[2] - v[3]),
                float64(1.0, 2.0, -1.0, 0.5),
                float64(0.5, 0.5, 0.5, -0.5),
                float64(-0.7, 0.1, 0.3, -0.2),
            ),
        ),
        Case(
            "six parts at random",
            (lambda v: v.prod(), 1 + normal(6, seed=5).abs(), 0.5 + 0 * normal(6, seed=5), normal(6, seed=6)),
        ),
    ),
    slips=(
        Slip("the highest score goes first, not the lowest", _deleted(lambda s: s.argsort())),
        Slip(
            "by the score, not by its size: a part that speaks against the class stays longest",
            _deleted(lambda s: _down(s.abs())),
        ),
        Slip("a part is set to its baseline, not to 0", _deleted(_down, lambda x, b: 0 * b)),
        Slip("the first value is f(x), before anything is removed", _deleted(_down, start=1)),
        Slip("what is removed stays removed; each time one part more", _deleted(_down, one_by_one=True)),
        Slip("that is insertion: it begins at the baseline", _deleted(_down, insert=True)),
        Slip("go through the parts by score, not as they are stored", _deleted(lambda s: range(len(s)))),
    ),
    hints=(
        "scores.argsort(descending=True) names the parts in the order in which they go.",
        "Keep f(x) first; then set one more part of a copy of x to its baseline, and note f, until none is left.",
    ),
)


def rollout(weights):
    eye = torch.eye(weights.shape[-1], dtype=weights.dtype)
    rolled = eye
    for layer in weights:
        rolled = (layer + eye) / 2 @ rolled
    return rolled


def _rolled(mix=lambda w, eye: (w + eye) / 2, turned=False, reduce=False):
    def answer(weights):
        eye = torch.eye(weights.shape[-1], dtype=weights.dtype)
        layers = [mix(w, eye) for w in weights]
        if reduce:
            return sum(layers) / len(layers)
        rolled = eye
        for layer in layers:
            rolled = rolled @ layer if turned else layer @ rolled
        return rolled

    return answer


ROLLOUT = Exercise(
    name="explain.rollout",
    returns="(T, T): A_L … A_2 A_1 with A_l = ½ W_l + ½ I; weights are (L, T, T), the layer next to the input first",
    solution=rollout,
    cases=(
        Case("one layer", (normal(1, 3, 3, seed=7).softmax(-1),)),
        Case("two layers", (normal(2, 3, 3, seed=8).softmax(-1),)),
        Case("six layers of five tokens", (normal(6, 5, 5, seed=9).mul(2).softmax(-1),)),
    ),
    slips=(
        Slip("the residual connection is missing: half of each layer is I", _rolled(lambda w, eye: w)),
        Slip("½ W + ½ I, so that rows still sum to 1", _rolled(lambda w, eye: w + eye)),
        Slip("the layer next to the input is the rightmost of the product", _rolled(turned=True)),
        Slip("a product over the layers, not their mean", _rolled(reduce=True)),
        Slip(
            "a product of matrices, not of their entries",
            lambda weights: ((weights + torch.eye(weights.shape[-1], dtype=weights.dtype)) / 2).prod(0),
        ),
    ),
    hints=(
        "Start with I. What does one layer do to the mixtures that come in?",
        "For each layer, from the input up: rolled = (layer + eye) / 2 @ rolled.",
    ),
)


def share_found(scores, at):
    mine = scores[torch.arange(len(at)), at]
    higher = (scores > mine[:, None]).sum(1)
    equal = (scores == mine[:, None]).sum(1)
    return ((higher == 0).double() / equal).mean()


def _marked(scores, at):
    return scores[torch.arange(len(at)), at][:, None]


SHARE_FOUND = Exercise(
    name="explain.share_found",
    returns="the share of maps whose highest score is that of the marked part; where k parts share the highest, 1/k",
    solution=share_found,
    cases=(
        Case("one of three found", (float64([1, 2, 3], [5, 1, 0], [0, 4, 1]), torch.tensor([2, 1, 0]))),
        Case(
            "an empty map, the mark in the first part", (torch.zeros(2, 4, dtype=torch.float64), torch.tensor([0, 0]))
        ),
        Case("two share the highest", (float64([3, 0, 3, 1], [0, 2, 1, 0], [-1, -2, 0, 0]), torch.tensor([2, 1, 1]))),
        Case("all against", (float64([-3, -1, -2], [-1, -1, -9]), torch.tensor([1, 1]))),
    ),
    slips=(
        Slip(
            "argmax takes the first of equal parts: an empty map seems to find a mark in the first part",
            lambda scores, at: (scores.argmax(1) == at).double().mean(),
        ),
        Slip(
            "where k parts share the highest score the mark is one of k: count 1/k, not 1",
            lambda scores, at: (_marked(scores, at) >= scores.amax(1, keepdim=True)).double().mean(),
        ),
        Slip(
            "where k parts share the highest score the mark is one of k: count 1/k, not 0",
            lambda scores, at: ((scores >= _marked(scores, at)).sum(1) == 1).double().mean(),
        ),
        Slip(
            "the highest score, not the largest in size",
            lambda scores, at: share_found(scores.abs(), at),
        ),
        Slip(
            "a share of the maps, not of the score",
            lambda scores, at: (_marked(scores, at)[:, 0] / scores.sum(1).where(scores.sum(1) != 0, 1)).mean(),
        ),
    ),
    hints=(
        "What does argmax return for a row of zeros? Where is the mark?",
        "Count for each row how many parts score higher than the marked one, and how many the same, itself included.",
    ),
)

EXERCISES = (INTEGRATED_GRADIENTS, OF_A_PRODUCT, ROLLOUT, RANK_CORRELATION, DELETION_CURVE, SHARE_FOUND)
