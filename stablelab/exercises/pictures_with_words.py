"""The exercises of notebook 13 on CLIP: loss, temperature, recall, zero-shot answers, captions that are shared."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal

# -- the loss ----------------------------------------------------------------------------------------------------------


def clip_loss(u, v, theta):
    u, v = u / u.norm(dim=1, keepdim=True), v / v.norm(dim=1, keepdim=True)
    S = math.exp(theta) * u @ v.T
    rows = S.logsumexp(dim=1) - S.diagonal()
    columns = S.logsumexp(dim=0) - S.diagonal()
    return 0.5 * (rows.mean() + columns.mean())


def _loss(scale=math.exp, unit=lambda z: z / z.norm(dim=1, keepdim=True), rows=0.5, columns=0.5, total=torch.mean):
    """The loss with one thing done otherwise."""

    def answer(u, v, theta):
        S = scale(theta) * unit(u) @ unit(v).T
        own = S.diagonal()
        return rows * total(S.logsumexp(1) - own) + columns * total(S.logsumexp(0) - own)

    return answer


LOSS = Exercise(
    name="clip.loss",
    returns="half the mean cross-entropy of the rows of S plus half that of its columns",
    solution=clip_loss,
    cases=(
        Case("four pairs, a scale of 1", (normal(4, 3, seed=1), normal(4, 3, seed=2), 0.0)),
        Case("six pairs, a scale of 14", (normal(6, 5, seed=3), 4 * normal(6, 5, seed=4), math.log(14.0))),
        Case("a scale of 1,000", (normal(3, 4, seed=5), normal(3, 4, seed=6), math.log(1000.0))),
    ),
    slips=(
        Slip("the vectors are divided by their lengths first", _loss(unit=lambda z: z)),
        Slip("θ is the logarithm of the scale: multiply by e^θ", _loss(scale=lambda theta: theta)),
        Slip("the similarities are multiplied by e^θ, not divided by it", _loss(scale=lambda theta: math.exp(-theta))),
        Slip("that asks the pictures only; ask the captions as well", _loss(rows=1.0, columns=0.0)),
        Slip("that asks the captions only; ask the pictures as well", _loss(rows=0.0, columns=1.0)),
        Slip("half of the two, not their sum", _loss(rows=1.0, columns=1.0)),
        Slip("the mean over the pairs, not the sum", _loss(total=torch.sum)),
    ),
    hints=(
        "Divide each vector by its length; all cosines at once are one product of two matrices.",
        "The right answer to row i is column i, so this is F.cross_entropy(S, torch.arange(N)), and the same for S.T.",
    ),
)

# -- what the loss asks of the scale -----------------------------------------------------------------------------------


def scale_gradient(S):
    N = len(S)
    P, Q = S.softmax(dim=1), S.softmax(dim=0)
    return (S * (P + Q - 2 * torch.eye(N, dtype=S.dtype)) / (2 * N)).sum()


def _scale_gradient(P=lambda S: S.softmax(1), Q=lambda S: S.softmax(0), own=2.0, sign=1, factor=0.5):
    def answer(S):
        return sign * factor * (S * (P(S) + Q(S) - own * torch.eye(len(S), dtype=S.dtype))).sum() / len(S)

    return answer


SCALE_GRADIENT = Exercise(
    name="clip.scale_gradient",
    returns="∂L/∂θ: half the similarity that rows and columns expect minus that of the pairs, the mean over the pairs",
    solution=scale_gradient,
    cases=(
        Case("pairs that are alike", (5 * torch.eye(4, dtype=torch.float64) + normal(4, 4, seed=1),)),
        Case("pairs that are not", (2 * normal(5, 5, seed=2) - 3 * torch.eye(5, dtype=torch.float64),)),
        Case("all similarities equal", (torch.full((3, 3), 2.0, dtype=torch.float64),)),
    ),
    slips=(
        Slip("downhill is minus this; here the derivative itself is asked for", _scale_gradient(sign=-1)),
        Slip("rows alone: the columns have a softmax too", _scale_gradient(Q=lambda S: S.softmax(1))),
        Slip("columns alone: the rows have a softmax too", _scale_gradient(P=lambda S: S.softmax(0))),
        Slip(
            "the pair's own similarity goes off twice, once for its row and once for its column", _scale_gradient(own=1)
        ),
        Slip("the loss is half of the two", _scale_gradient(factor=1.0)),
        Slip(
            "the mean over the pairs, not the sum",
            lambda S: scale_gradient(S) * len(S),
        ),
    ),
    hints=(
        "S is proportional to e^θ, so ∂S/∂θ = S. What is ∂L/∂S of a cross-entropy?",
        "∂L/∂S = (P + Q - 2 I) / 2N with P the softmax of the rows and Q that of the columns; multiply by S and sum.",
    ),
    absolute=1e-12,
)

# -- how low the loss can go -------------------------------------------------------------------------------------------


def lowest_loss(scale, N):
    return math.log(1 + (N - 1) * math.exp(-scale * N / (N - 1)))


LOWEST_LOSS = Exercise(
    name="clip.lowest_loss",
    returns="the loss where each pair has a cosine of 1 and all others -1/(N-1)",
    solution=lowest_loss,
    cases=(
        Case("two pairs, a scale of 1", (1.0, 2)),
        Case("256 pairs, a scale of 1", (1.0, 256)),
        Case("256 pairs, a scale of 14", (14.0, 256)),
        Case("10 pairs, a scale of 0", (0.0, 10)),
    ),
    slips=(
        Slip("the other cosines are not 0 but -1/(N-1)", lambda s, N: math.log(1 + (N - 1) * math.exp(-s))),
        Slip("there are N - 1 others, not N", lambda s, N: math.log(1 + N * math.exp(-s * N / (N - 1)))),
        Slip("the others lie at -1/(N-1), not at -1", lambda s, N: math.log(1 + (N - 1) * math.exp(-2 * s))),
        Slip("the cosines are multiplied by the scale, not divided by it",
             lambda s, N: math.log(1 + (N - 1) * math.exp(-N / (N - 1) / s)) if s else math.log(N)),
        Slip("that is the largest value, log N, whatever the scale is", lambda s, N: math.log(N)),
    ),
    hints=(
        "Every row of S holds one number s and N - 1 numbers -s/(N-1). Write its cross-entropy.",
        "-log of e^s / (e^s + (N-1) e^(-s/(N-1))): divide numerator and denominator by e^s.",
    ),
)  # fmt: skip

# -- recall ------------------------------------------------------------------------------------------------------------


def recall(S, k):
    own = S.diagonal()[:, None]
    before = (own <= S).sum(dim=1) - 1
    return (before < k).double().mean()


RECALL = Exercise(
    name="clip.recall",
    returns="the share of pictures whose own caption is among the k most similar, where ties count against it",
    solution=recall,
    cases=(
        Case("the first only", (normal(8, 8, seed=1) + torch.eye(8, dtype=torch.float64), 1)),
        Case("the first three", (normal(9, 9, seed=2), 3)),
        Case("a model that gives every caption the same", (torch.ones(6, 6, dtype=torch.float64), 1)),
        Case("two captions alike", (float64([3, 3, 0], [0, 2, 1], [1, 0, 2]), 1)),
        Case("a caption that all pictures like", (normal(7, 7, seed=3) + 5 * float64(1, 0, 0, 0, 0, 0, 0), 2)),
    ),
    slips=(
        Slip(
            "a tie counts against: a model that finds all captions alike has found nothing",
            lambda S, k: ((S.diagonal()[:, None] < S).sum(1) < k).double().mean(),
        ),
        Slip("that is the recall of captions: a picture is a row", lambda S, k: recall(S.T, k)),
        Slip("the k most similar, not the k - 1 most similar", lambda S, k: recall(S, k - 1)),
        Slip("the k most similar, not the k + 1 most similar", lambda S, k: recall(S, k + 1)),
        Slip("a share, not a number", lambda S, k: recall(S, k) * len(S)),
        Slip("the most similar, not the least similar", lambda S, k: recall(-S, k)),
    ),
    hints=(
        "How many captions are at least as similar to picture i as its own is? Its own is one of them.",
        "(S >= S.diagonal()[:, None]).sum(dim=1) - 1 stand before the right one; fewer than k of them is a hit.",
    ),
)

# -- zero-shot ---------------------------------------------------------------------------------------------------------


def zero_shot(u, prompts):
    unit = prompts / prompts.norm(dim=2, keepdim=True)
    classes = unit.mean(dim=1)
    classes = classes / classes.norm(dim=1, keepdim=True)
    return (u @ classes.T).argmax(dim=1)


def _zero_shot(unit=True, again=True, over=1, best=torch.argmax):
    def answer(u, prompts):
        p = prompts / prompts.norm(dim=2, keepdim=True) if unit else prompts
        c = p.mean(dim=over) if over == 1 else p[:, 0]
        c = c / c.norm(dim=1, keepdim=True) if again else c
        return best(u @ c.T, dim=1)

    return answer


_PROMPTS = normal(5, 3, 4, seed=2) * (0.2 + 3 * normal(5, 3, 1, seed=3).abs()) + normal(5, 1, 4, seed=5)

ZERO_SHOT = Exercise(
    name="clip.zero_shot",
    returns="for each picture the class whose prompts, each of length 1, averaged and made of length 1 again, fit best",
    solution=zero_shot,
    cases=(
        Case("five classes of three prompts", (normal(40, 4, seed=1), _PROMPTS)),
        Case("one prompt for each class", (normal(20, 3, seed=6), normal(4, 1, 3, seed=7))),
        Case("a prompt a hundred times as long", (normal(30, 4, seed=8), _PROMPTS * float64(100, 1, 1)[:, None])),
    ),
    slips=(
        Slip(
            "each prompt is made of length 1 before the mean, or a long one drowns the others", _zero_shot(unit=False)
        ),
        Slip("the mean is made of length 1 again: prompts that agree have a longer one", _zero_shot(again=False)),
        Slip("all prompts of a class, not the first alone", _zero_shot(over=0)),
        Slip("the most similar class, not the least similar", _zero_shot(best=torch.argmin)),
    ),
    hints=(
        "Prompts are (C, P, D). Over which dimension is the mean, and what is its length if the prompts disagree?",
        "Divide prompts by their norm(dim=2, keepdim=True), take the mean over dim=1, divide by its norm.",
    ),
)

# -- captions that are shared ------------------------------------------------------------------------------------------


def shared_captions(S, caption):
    same = (caption[:, None] == caption[None, :]).to(S.dtype)
    target = same / same.sum(dim=1, keepdim=True)
    rows = -(target * S.log_softmax(dim=1)).sum(dim=1)
    columns = -(target.T * S.log_softmax(dim=0)).sum(dim=0)
    return 0.5 * (rows.mean() + columns.mean())


def _shared(weight=lambda same: same / same.sum(1, keepdim=True), rows=0.5, columns=0.5):
    def answer(S, caption):
        target = weight((caption[:, None] == caption[None, :]).to(S.dtype))
        one = -(target * S.log_softmax(1)).sum(1).mean()
        other = -(target.T * S.log_softmax(0)).sum(0).mean()
        return rows * one + columns * other

    return answer


SHARED_CAPTIONS = Exercise(
    name="clip.shared_captions",
    returns="the loss in which all pairs of one caption share the target of a row, and of a column, equally",
    solution=shared_captions,
    cases=(
        Case("two pictures of one caption", (3 * normal(5, 5, seed=1), float64(0, 1, 1, 2, 3))),
        Case("three of one and two of another", (2 * normal(6, 6, seed=2), float64(4, 4, 7, 4, 7, 1))),
        Case("all captions differ", (normal(4, 4, seed=3), float64(3, 2, 1, 0))),
    ),
    slips=(
        Slip(
            "the pairs of one caption are still punished for being alike",
            _shared(weight=lambda same: torch.eye(len(same), dtype=same.dtype)),
        ),
        Slip("the targets of a row sum to 1", _shared(weight=lambda same: same)),
        Slip("that asks the rows only", _shared(rows=1.0, columns=0.0)),
        Slip("that asks the columns only", _shared(rows=0.0, columns=1.0)),
        Slip("half of the two, not their sum", _shared(rows=1.0, columns=1.0)),
    ),
    hints=(
        "caption[:, None] == caption[None, :] says which pairs share a caption. What should row i have as its target?",
        "Divide that table by its row sums: F.cross_entropy takes such probabilities as targets, of S and of S.T.",
    ),
)

EXERCISES = (LOSS, SCALE_GRADIENT, RECALL, LOWEST_LOSS, ZERO_SHOT, SHARED_CAPTIONS)
