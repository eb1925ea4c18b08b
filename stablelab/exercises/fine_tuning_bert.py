"""The exercises of notebook 08: what a head reads, how far the weights go, and what a failed run looks like."""

from __future__ import annotations

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def mean_pooled(hidden, mask):
    real = mask.to(hidden.dtype).unsqueeze(-1)  # (B, T, 1)
    return (hidden * real).sum(dim=1) / real.sum(dim=1)  # (B, D)


_MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])

MEAN_POOL = Exercise(
    name="bert.mean_pool",
    returns="for each sentence the mean of its outputs over the tokens that are not padding, shape (B, D)",
    solution=mean_pooled,
    cases=(
        Case("two sentences, of three and of two tokens", (normal(2, 4, 3, seed=1), _MASK)),
        Case("no padding", (normal(3, 2, 2, seed=2), torch.ones(3, 2, dtype=torch.long))),
        Case("one token each", (normal(2, 3, 2, seed=3), torch.tensor([[1, 0, 0], [1, 0, 0]]))),
    ),
    slips=(
        Slip(
            "the padding is in the mean: what BERT puts out there is not 0, and not of the sentence",
            lambda hidden, mask: hidden.mean(dim=1),
        ),
        Slip(
            "the sum leaves the padding out, but it is divided by all tokens, padding included",
            lambda hidden, mask: (hidden * mask.unsqueeze(-1)).mean(dim=1),
        ),
        Slip("that is the sum; divide by the number of real tokens", lambda h, m: (h * m.unsqueeze(-1)).sum(dim=1)),
        Slip("that is the output at [CLS], the first token alone", lambda hidden, mask: hidden[:, 0]),
        Slip(
            "all sentences were divided by the number of tokens of the whole batch",
            lambda h, m: (h * m.unsqueeze(-1)).sum(dim=1) / m.sum(),
        ),
        Slip(
            "the largest entry of each dimension was taken, where a mean is asked for",
            lambda h, m: h.masked_fill(m.unsqueeze(-1) == 0, -1e9).amax(dim=1),
        ),
    ),
    hints=(
        "Multiply by the mask, as (B, T, 1), so that padding adds nothing. By how many must the sum be divided?",
        "(hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True).",
    ),
)


def head_gradient(h, W, b, y):
    p = (h @ W.T + b).softmax(dim=1)  # (B, C)
    error = p - torch.eye(len(b)).to(p)[y]
    return error.T @ h / len(h)  # (C, D)


def _one_hot(b, y):
    return torch.eye(len(b)).to(b)[y]


_HEAD = (normal(2, 3, seed=5), float64(0.2, -0.1))

HEAD_GRADIENT = Exercise(
    name="bert.head_gradient",
    returns="the gradient of the mean cross-entropy with respect to the head's matrix W, shape (C, D)",
    solution=head_gradient,
    cases=(
        Case("four sentences, two classes", (normal(4, 3, seed=4), *_HEAD, torch.tensor([0, 1, 1, 0]))),
        Case(
            "one sentence, three classes",
            (normal(1, 2, seed=6), normal(3, 2, seed=7), normal(3, seed=8), torch.tensor([2])),
        ),
        Case(
            "a head of 0: every class has the same probability",
            (normal(2, 3, seed=9), 0 * _HEAD[0], 0 * _HEAD[1], torch.tensor([1, 1])),
        ),
    ),
    slips=(
        Slip(
            "that goes uphill: the error is p - e_y, so the right class has a negative one",
            lambda h, W, b, y: -head_gradient(h, W, b, y),
        ),
        Slip(
            "that is the sum over the sentences; the loss is their mean",
            lambda h, W, b, y: head_gradient(h, W, b, y) * len(h),
        ),
        Slip(
            "the right class is missing: subtract 1 at y from p",
            lambda h, W, b, y: (h @ W.T + b).softmax(dim=1).T @ h / len(h),
        ),
        Slip(
            "the bias is missing in the logits",
            lambda h, W, b, y: head_gradient(h, W, 0 * b, y),
        ),
        Slip(
            "the error was taken of the logits; the softmax turns them into probabilities first",
            lambda h, W, b, y: (h @ W.T + b - _one_hot(b, y)).T @ h / len(h),
        ),
        Slip(
            "the softmax ran over the sentences; it runs over the classes, dimension 1",
            lambda h, W, b, y: ((h @ W.T + b).softmax(dim=0) - _one_hot(b, y)).T @ h / len(h),
        ),
    ),
    hints=(
        "For one sentence it is (p - e_y) hᵀ. What does a product of matrices do with a sum over sentences?",
        "error = p - e_y as (B, C); error.T @ h adds up over the sentences; divide by their number.",
    ),
)


def share_of_reach(gradients, beta1, beta2):
    m = v = path = torch.zeros_like(gradients[0])
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        path = path - (m / (1 - beta1**t)) / (v / (1 - beta2**t)).sqrt()
    return path.abs() / len(gradients)


def _walk(gradients, beta1, beta2, step, corrected=(True, True)):
    m = v = path = torch.zeros_like(gradients[0])
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = (m / (1 - beta1**t) if corrected[0] else m), (v / (1 - beta2**t) if corrected[1] else v)
        path = path + step(m_hat, v_hat)
    return path / len(gradients)


def _adam(m, v):
    return -m / v.sqrt()


SHARE_OF_REACH = Exercise(
    name="bert.share_of_reach",
    returns="how far Adam carries a weight that sees these gradients, |θ_T - θ_0|, as a share of η T",
    solution=share_of_reach,
    cases=(
        Case("the gradient never changes", (float64(*[0.3] * 8), 0.9, 0.999)),
        Case("its sign changes at every step", (float64(*[0.3, -0.3] * 5), 0.9, 0.999)),
        Case("twelve gradients at random", (normal(12, seed=11), 0.9, 0.999)),
        Case("short memories", (float64(1.0, 0.01, 0.01, -2.0, 0.5), 0.5, 0.6)),
    ),
    slips=(
        Slip(
            "that is the way with its sign; the distance is asked for",
            lambda g, beta1, beta2: _walk(g, beta1, beta2, _adam),
        ),
        Slip(
            "the lengths of the steps were added up, so steps to and back do not cancel",
            lambda g, beta1, beta2: _walk(g, beta1, beta2, lambda m, v: m.abs() / v.sqrt()),
        ),
        Slip(
            "neither average is corrected for its start at 0",
            lambda g, beta1, beta2: _walk(g, beta1, beta2, _adam, (False, False)).abs(),
        ),
        Slip(
            "only the average of the gradients is corrected for its start at 0",
            lambda g, beta1, beta2: _walk(g, beta1, beta2, _adam, (True, False)).abs(),
        ),
        Slip(
            "the root is missing: divide by the root of the average square",
            lambda g, beta1, beta2: _walk(g, beta1, beta2, lambda m, v: -m / v).abs(),
        ),
        Slip(
            "that is the distance in units of η; divide by the number of steps",
            lambda g, beta1, beta2: share_of_reach(g, beta1, beta2) * len(g),
        ),
        Slip("that is plain sign descent, which has no averages", lambda g, beta1, beta2: g.sign().mean().abs()),
    ),
    hints=(
        "η cancels: add up -m̂ / √v̂ over the steps, take the absolute value of the sum, divide by the number of steps.",
        "Loop with t from 1: m and v as in notebook 02, then path -= (m / (1 - β₁ᵗ)) / √(v / (1 - β₂ᵗ)).",
    ),
)


def exponents(rates, steps, moved):
    columns = torch.stack([torch.ones_like(moved), rates.log(), steps.log()], dim=1)  # (N, 3)
    return torch.linalg.lstsq(columns, moved.log().unsqueeze(1)).solution[1:, 0]  # (a, b)


def _fit(columns, y):
    return torch.linalg.lstsq(torch.stack(columns, dim=1), y.unsqueeze(1)).solution[:, 0]


_RATES = float64(1e-4, 1e-4, 1e-3, 1e-3, 4e-4, 2e-4)
_STEPS = float64(5.0, 20.0, 5.0, 40.0, 10.0, 40.0)

EXPONENTS = Exercise(
    name="bert.exponents",
    returns="the exponents (a, b) of moved = c · rateᵃ · stepsᵇ, fitted by least squares to the logarithms",
    solution=exponents,
    cases=(
        Case("exactly the sum of the rates: a = b = 1", (_RATES, _STEPS, 3 * _RATES * _STEPS)),
        Case("a random walk: a = 1, b = ½", (_RATES, _STEPS, 2 * _RATES * _STEPS.sqrt())),
        Case("with noise", (_RATES, _STEPS, _RATES**0.8 * _STEPS**0.6 * normal(6, seed=17).mul(0.1).exp())),
    ),
    slips=(
        Slip(
            "no constant c was fitted: without a column of ones the line is forced through the origin",
            lambda rates, steps, moved: _fit([rates.log(), steps.log()], moved.log()),
        ),
        Slip(
            "fitted without logarithms: a power law is a straight line only in logarithms",
            lambda rates, steps, moved: _fit([torch.ones_like(moved), rates, steps], moved)[1:],
        ),
        Slip(
            "they stand in the other order: the rate's exponent first",
            lambda r, s, moved: exponents(r, s, moved).flip(0),
        ),
        Slip(
            "all three were returned; log c is not asked for",
            lambda rates, steps, moved: _fit([torch.ones_like(moved), rates.log(), steps.log()], moved.log()),
        ),
        Slip(
            "each was fitted by itself, so that the rate takes the blame for the steps that came with it",
            lambda rates, steps, moved: torch.stack(
                [_fit([torch.ones_like(moved), x.log()], moved.log())[1] for x in (rates, steps)]
            ),
        ),
        Slip(
            "one exponent was fitted to the product of both; they are to be free of each other",
            lambda rates, steps, moved: _fit([torch.ones_like(moved), (rates * steps).log()], moved.log())[1].repeat(2),
        ),
    ),
    hints=(
        "log moved = log c + a log rate + b log steps is linear in log c, a and b: three columns, one of them ones.",
        "torch.linalg.lstsq(columns, moved.log().unsqueeze(1)).solution is (3, 1); the last two rows are asked for.",
    ),
    tolerance=1e-5,
    absolute=1e-7,
)


def vanished(norms, low):
    first = norms[:, :, low][:, 0]  # (R,)
    last = norms[:, -5:, low].median(dim=1).values  # (R,)
    return last < first / 10


def _norms(seed):
    """(6, 12, 3): six runs whose lowest layer, the last, ends at very different heights."""
    ends = float64(0.001, 0.05, 0.099, 0.15, 1.0, 30.0)
    way = torch.linspace(0, 1, 12).double()
    norms = ends.view(-1, 1, 1) ** way.view(1, -1, 1) * (1 + 0.05 * normal(6, 12, 3, seed=seed))
    norms[:, :, 0] = 0.5 + 0.1 * normal(6, 12, seed=seed + 1)  # the head's never vanish
    norms[:, :, 1] = norms[:, :, 1].sqrt()
    norms[0, -1, 2] = 9.0  # one loud step at the end
    norms[4, -2, 2] = 1e-4  # one quiet one
    norms[3, 0, 2] = 4.0
    return norms


VANISHED = Exercise(
    name="bert.vanished",
    returns="for each run whether its gradient has vanished in layer low: True or False, shape (R,)",
    solution=vanished,
    cases=(
        Case("six runs, the lowest layer", (_norms(20), 2)),
        Case("the same runs, the layer in the middle", (_norms(20), 1)),
        Case("six other runs, twelve times as large", (12 * _norms(24), 2)),
    ),
    slips=(
        Slip(
            "compared with 1/10 itself: divide by the norm at the first step, for layers differ in size",
            lambda norms, low: norms[:, -5:, low].median(dim=1).values < 0.1,
        ),
        Slip(
            "one step decides: a single batch can be loud or quiet; take the median of the last five",
            lambda norms, low: norms[:, -1, low] < norms[:, 0, low] / 10,
        ),
        Slip("True is for those whose gradient has vanished; these are the others", lambda n, low: ~vanished(n, low)),
        Slip("that looks at the head, layer 0, whatever low is", lambda n, low: vanished(n, 0)),
        Slip(
            "the smallest of the last five steps decides, so one quiet batch is enough; take their median",
            lambda norms, low: norms[:, -5:, low].amin(dim=1) < norms[:, 0, low] / 10,
        ),
        Slip(
            "one loud step carries their mean; take the median of the last five",
            lambda norms, low: norms[:, -5:, low].mean(dim=1) < norms[:, 0, low] / 10,
        ),
        Slip(
            "compared with the head at the first step; the layer's own first norm is asked for",
            lambda norms, low: norms[:, -5:, low].median(dim=1).values < norms[:, 0, 0] / 10,
        ),
    ),
    hints=(
        "norms[:, 0, low] is (R,), at the first step; norms[:, -5:, low] is (R, 5). Bring the second to (R,).",
        "norms[:, -5:, low].median(dim=1).values, compared with a tenth of the first.",
    ),
)


def report(validation_losses, test_accuracies):
    best = torch.where(validation_losses.isnan(), float("inf"), validation_losses).argmin()
    return test_accuracies[best]


_NAN = float("nan")

REPORT = Exercise(
    name="bert.report",
    returns="the test accuracy of the checkpoint that an honest report takes, one number",
    solution=report,
    cases=(
        Case(
            "the best on the test split is another one",
            (float64(0.69, 0.5, 0.42, 0.46), float64(0.5, 0.79, 0.81, 0.84)),
        ),
        Case("one validation loss is nan", (float64(0.69, _NAN, 0.45, 0.44, 0.6), float64(0.5, 0.5, 0.83, 0.8, 0.82))),
        Case("two are equal: the earlier", (float64(0.6, 0.4, 0.4, 0.7), float64(0.6, 0.75, 0.82, 0.7))),
    ),
    slips=(
        Slip(
            "the number is too good: who has chosen the checkpoint?",
            lambda validation, test: test.max(),
        ),
        Slip("that is the last checkpoint; which one would you have stopped at?", lambda validation, test: test[-1]),
        Slip(
            "a loss that is nan was chosen: in torch nan counts as the smallest of all",
            lambda validation, test: test[validation.argmin()],
        ),
        Slip(
            "of two equal ones the later was taken: there was no reason to go on training",
            lambda v, test: test[len(v) - 1 - torch.where(v.isnan(), float("inf"), v).flip(0).argmin()],
        ),
        Slip(
            "that is the checkpoint with the largest validation loss",
            lambda v, test: test[torch.where(v.isnan(), -1.0, v).argmax()],
        ),
        Slip("that is a mean over checkpoints; one of them is reported", lambda validation, test: test.mean()),
    ),
    hints=(
        "Choose with the validation split alone, and only then look at the test split, once.",
        "Put inf where the validation loss is nan; argmin gives the first of several smallest; index the test with it.",
    ),
)

EXERCISES = (MEAN_POOL, HEAD_GRADIENT, SHARE_OF_REACH, EXPONENTS, VANISHED, REPORT)
