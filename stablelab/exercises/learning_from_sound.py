"""The exercises of notebook 13b: frames, hidden spans, the losses of wav2vec 2.0, and CTC."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from .exercise import Case, Exercise, Slip, normal


def frames(samples, kernels, strides):
    reach, apart = 1, 1
    for kernel, stride in zip(kernels, strides):  # noqa: B905, as a learner writes it
        samples = (samples - kernel) // stride + 1
        reach = reach + (kernel - 1) * apart
        apart = apart * stride
    return samples, reach


def _frames(count=lambda n, k, s: (n - k) // s + 1, widen=lambda r, k, s, a: r + (k - 1) * a):
    """Frames and reach with one thing done otherwise."""

    def answer(samples, kernels, strides):
        reach, apart = 1, 1
        for kernel, stride in zip(kernels, strides, strict=True):
            samples, reach = count(samples, kernel, stride), widen(reach, kernel, stride, apart)
            apart *= stride
        return samples, reach

    return answer


FRAMES = Exercise(
    name="sound.frames",
    returns="how many frames come out, and how many samples one of them has seen",
    solution=frames,
    cases=(
        Case("the tiny model", (4200, (10, 8, 4, 4), (5, 4, 2, 2))),
        Case("the paper's, a second at 16 kHz", (16000, (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))),
        Case("one convolution", (103, (7,), (3,))),
        Case("strides of 1", (50, (5, 5), (1, 1))),
    ),
    slips=(
        Slip("a convolution without padding loses its kernel at the end", _frames(lambda n, k, s: n // s)),
        Slip("the first place counts as well: + 1", _frames(lambda n, k, s: (n - k) // s)),
        Slip("a place that does not fit whole is left out: round down", _frames(lambda n, k, s: -((k - n) // s) + 1)),
        Slip(
            "neighbours of the second convolution are as far apart as the strides before it multiply to",
            _frames(widen=lambda r, k, s, a: r + k - 1),
        ),
        Slip("k places are k - 1 steps apart", _frames(widen=lambda r, k, s, a: r + k * a)),
        Slip(
            "the reach grows by steps of the strides before, not of its own",
            _frames(widen=lambda r, k, s, a: r + (k - 1) * a * s),
        ),
    ),
    hints=(
        "Take one convolution first: how often does a kernel of k fit into n samples if it moves on by s each time?",
        "n becomes (n - k) // s + 1. One frame reaches (k - 1) · a further, a the product of the strides before it.",
    ),
)


def begin_probability(share, span):
    return 1 - (1 - share) ** (1 / span)


BEGIN_PROBABILITY = Exercise(
    name="sound.begin_probability",
    returns="the probability p with which each frame begins a span, so that this share of the frames is hidden",
    solution=begin_probability,
    cases=(
        Case("the paper's share", (0.489, 10)),
        Case("half of it, spans of 5", (0.5, 5)),
        Case("spans of one frame", (0.3, 1)),
        Case("nearly all", (0.99, 4)),
    ),
    slips=(
        Slip("spans overlap, so the shares do not add up: p is more than share / M", lambda s, M: s / M),
        Slip("that is the share of frames that stay visible", lambda s, M: 1 - s ** (1 / M)),
        Slip("that is the share that p hides, not the p that hides a share", lambda s, M: 1 - (1 - s) ** M),
        Slip("that is the probability that a frame begins none", lambda s, M: (1 - s) ** (1 / M)),
        Slip("that is right only where p is small", lambda s, M: -math.log(1 - s) / M),
    ),
    hints=(
        "A frame stays visible if none of M frames begins a span. What is the probability of that?",
        "(1 - p)^M = 1 - share. Solve it for p.",
    ),
)


def contrastive(c, q, distractors, kappa):
    candidates = torch.cat([q[:, None], distractors], dim=1)  # (M, 1 + K, D)
    scores = torch.cosine_similarity(c[:, None], candidates, dim=-1) / kappa  # (M, 1 + K)
    return (scores.logsumexp(dim=1) - scores[:, 0]).mean()


def _contrastive(sim=None, divisor=lambda scores: scores.logsumexp(1), kappa=lambda k: 1 / k, of=torch.mean):
    """The contrastive loss with one thing done otherwise."""

    def answer(c, q, distractors, k):
        candidates = torch.cat([q[:, None], distractors], dim=1)
        like = torch.cosine_similarity(c[:, None], candidates, dim=-1) if sim is None else sim(c[:, None], candidates)
        scores = like * kappa(k)
        return of(divisor(scores) - scores[:, 0])

    return answer


CONTRASTIVE = Exercise(
    name="sound.contrastive",
    returns="the contrastive loss, the mean over the M hidden frames",
    solution=contrastive,
    cases=(
        Case(
            "four frames, six distractors, κ = 0.1",
            (*(normal(4, 5, seed=s) for s in (1, 2)), normal(4, 6, 5, seed=3), 0.1),
        ),
        Case("one distractor, κ = 1", (*(normal(3, 4, seed=s) for s in (4, 5)), normal(3, 1, 4, seed=6), 1.0)),
        Case(
            "what is said is what was there", (normal(2, 3, seed=7), normal(2, 3, seed=7), normal(2, 4, 3, seed=8), 0.5)
        ),
        Case(
            "κ = 0.0002: exp of the scores is infinite",
            (*(normal(2, 6, seed=s) for s in (9, 10)), normal(2, 3, 6, seed=11), 0.0002),
        ),
    ),
    slips=(
        Slip("sim is the cosine, not the product", _contrastive(lambda a, b: (a * b).sum(-1))),
        Slip("the scores are divided by κ, not multiplied", _contrastive(kappa=lambda k: k)),
        Slip("κ is missing", _contrastive(kappa=lambda k: 1.0)),
        Slip("the true one stands in the sum below as well", _contrastive(divisor=lambda s: s[:, 1:].logsumexp(1))),
        Slip("that is the sum over the frames, not the mean", _contrastive(of=torch.sum)),
        Slip("exp of a large score is infinite: take logsumexp", _contrastive(divisor=lambda s: s.exp().sum(1).log())),
    ),
    hints=(
        "Lay q in front of its distractors, (M, 1 + K, D); take torch.cosine_similarity(c[:, None], …, dim=-1) / κ.",
        "The loss of a frame is logsumexp of its scores minus the first of them; then the mean.",
    ),
)


def codewords_in_use(p):
    mean = p.mean(dim=0)  # (G, V)
    entropy = -torch.special.xlogy(mean, mean).sum(dim=1)  # (G,)
    return entropy.exp().sum()


def _entropy(p, dim=-1):
    return -torch.special.xlogy(p, p).sum(dim)


_SURE = torch.eye(4, dtype=torch.float64)[[0, 1, 1, 2, 3, 3]]

CODEWORDS_IN_USE = Exercise(
    name="sound.codewords_in_use",
    returns="Σ_g exp(H(p̄_g)), how many codewords are in use over all codebooks",
    solution=codewords_in_use,
    cases=(
        Case("two codebooks of five", (normal(7, 2, 5, seed=1).softmax(-1),)),
        Case("sure of each frame, so that most probabilities are 0", (torch.stack([_SURE, _SURE.flip(1)], dim=1),)),
        Case("one codebook", ((3 * normal(4, 1, 3, seed=2)).softmax(-1),)),
        Case("one codeword alone", (_SURE[:1, None].expand(5, 2, 4).clone(),)),
    ),
    slips=(
        Slip("first the mean over the frames, then the entropy", lambda p: _entropy(p).mean(0).exp().sum()),
        Slip("exp of each codebook's entropy, and then the sum", lambda p: _entropy(p.mean(0)).sum().exp()),
        Slip("exp is missing: that is the sum of the entropies", lambda p: _entropy(p.mean(0)).sum()),
        Slip("the sum over the codebooks, not the mean", lambda p: _entropy(p.mean(0)).exp().mean()),
        Slip(
            "0 · log 0 counts as 0, not as nan: torch.special.xlogy",
            lambda p: (-(p.mean(0) * p.mean(0).log()).sum(-1)).exp().sum(),
        ),
        Slip("entropy has a minus sign", lambda p: (-_entropy(p.mean(0))).exp().sum()),
    ),
    hints=(
        "p is (M, G, V). The mean over the M frames comes first; H is taken over the V entries of each codebook.",
        "H = -xlogy(mean, mean).sum(dim=1), one number for each codebook; exp of each, and their sum.",
    ),
)


def distractors(hidden, u):
    found = []
    begin = 0  # of this sound's hidden frames, among all that are hidden
    row = 0
    for sound in hidden:
        n = int(sound.sum())
        for own in range(n):
            drawn = (u[row] * (n - 1)).long()
            drawn = drawn + (drawn >= own).long()  # all but the frame itself
            found.append(begin + drawn)
            row += 1
        begin += n
    return torch.stack(found)


def _distractors(of=lambda n: n - 1, over=lambda drawn, own: (drawn >= own).long(), begins=True):
    """Distractors with one thing done otherwise."""

    def answer(hidden, u):
        found, begin, row = [], 0, 0
        for n in hidden.sum(1).tolist():
            for own in range(n):
                drawn = (u[row] * of(n)).long()
                found.append(begin * begins + drawn + over(drawn, own))
                row += 1
            begin += n
        return torch.stack(found)

    return answer


_HIDDEN = torch.tensor([[1, 1, 0, 0, 1, 0], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]], dtype=torch.bool)


def _uniform(*shape, seed):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


DISTRACTORS = Exercise(
    name="sound.distractors",
    returns="for each hidden frame the positions of its distractors among all hidden frames, (M, K)",
    solution=distractors,
    cases=(
        Case("three sounds with 3, 5 and 2 hidden frames", (_HIDDEN, _uniform(10, 6, seed=1))),
        Case("one sound, all hidden", (torch.ones(1, 7, dtype=torch.bool), _uniform(7, 9, seed=2))),
        Case("numbers near 1", (_HIDDEN, 1 - 1e-3 * _uniform(10, 2, seed=3))),
    ),
    slips=(
        Slip(
            "the frame itself is among its distractors: n - 1 are left to draw from",
            _distractors(of=lambda n: n, over=lambda drawn, own: 0),
        ),
        Slip(
            "without the frame itself the last one is never drawn: those from it on move up by one",
            _distractors(over=lambda drawn, own: 0),
        ),
        Slip("≥, not >: the frame itself moves up as well", _distractors(over=lambda drawn, own: (drawn > own).long())),
        Slip("of n there are n - 1 left, or the last one is overrun", _distractors(of=lambda n: n)),
        Slip("distractors are of the same sound: add where its hidden frames begin", _distractors(begins=False)),
    ),
    hints=(
        "Draw from the n - 1 others: floor(u · (n - 1)) is 0 to n - 2. Which frames are those, if your own is skipped?",
        "Numbers from your own position on stand for the frame behind: add 1 where drawn >= own.",
    ),
)


def fewest_frames(labels):
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:]))  # noqa: B905, RUF007


FEWEST_FRAMES = Exercise(
    name="sound.fewest_frames",
    returns="how many frames a path must have at least to collapse to these labels",
    solution=fewest_frames,
    cases=(
        Case("all different", ([3, 1, 4],)),
        Case("a pair", ([1, 1, 2],)),
        Case("three alike", ([5, 5, 5],)),
        Case("one comes back, but not at once", ([2, 7, 2],)),
        Case("none", ([],)),
        Case("two pairs", ([1, 1, 2, 2, 1],)),
    ),
    slips=(
        Slip("labels that repeat at once need a blank between them", lambda y: len(y)),
        Slip("only equal neighbours need a blank between them, not all", lambda y: max(0, 2 * len(y) - 1)),
        Slip("blanks before, between and behind may be there, but need not", lambda y: 2 * len(y) + 1),
        Slip(
            "a label that comes back later has another one between: no blank is needed",
            lambda y: 2 * len(y) - len(set(y)),
        ),
        Slip(
            "merged repetitions are one label: they are not shorter, but longer",
            lambda y: len(y) - sum(a == b for a, b in pairwise(y)),
        ),
    ),
    hints=(
        "Write the shortest path for 3 1 4, and for 1 1 2. What does the path 1 1 2 collapse to?",
        "One frame for each label, and a blank between two that are equal and stand side by side.",
    ),
)


def ctc(log_probs, labels, blank):
    path = [blank]
    for label in labels:
        path += [label, blank]  # l', 2 S + 1 symbols
    alpha = torch.full((len(path),), -math.inf, dtype=log_probs.dtype)
    alpha[:2] = log_probs[0, path[:2]]
    for t in range(1, len(log_probs)):
        before = alpha.clone()
        for s in range(len(path)):
            ways = [before[s]]
            if s > 0:
                ways.append(before[s - 1])
            if s > 1 and path[s] != blank and path[s] != path[s - 2]:
                ways.append(before[s - 2])
            alpha[s] = log_probs[t, path[s]] + torch.stack(ways).logsumexp(0)
    return -alpha[-2:].logsumexp(0)


def _ctc(start=2, skips=lambda path, s, blank: path[s] != blank and path[s] != path[s - 2], ends=2, total=None):
    """The forward algorithm with one thing done otherwise."""
    total = total or (lambda ways: ways.logsumexp(0))

    def answer(log_probs, labels, blank):
        path = [blank, *(symbol for label in labels for symbol in (label, blank))]
        alpha = torch.full((len(path),), -math.inf, dtype=log_probs.dtype)
        alpha[:start] = log_probs[0, path[:start]]
        for t in range(1, len(log_probs)):
            before = alpha.clone()
            for s in range(len(path)):
                ways = [before[s], *before[max(0, s - 1) : s]]
                ways += [before[s - 2]] if s > 1 and skips(path, s, blank) else []
                alpha[s] = log_probs[t, path[s]] + total(torch.stack(ways))
        return -alpha[-ends:].logsumexp(0)

    return answer


CTC = Exercise(
    name="sound.ctc",
    returns="-log of the probability of the labels, summed over all paths that collapse to them",
    solution=ctc,
    cases=(
        Case("two labels, six frames", (normal(6, 4, seed=1).log_softmax(1), [2, 1], 0)),
        Case("a label twice", (normal(7, 3, seed=2).log_softmax(1), [1, 1, 2], 0)),
        Case("the blank is the last class", (normal(5, 4, seed=3).log_softmax(1), [0, 2], 3)),
        Case("as many frames as labels", (normal(3, 4, seed=4).log_softmax(1), [3, 1, 2], 0)),
        Case("400 frames, each path next to impossible", (normal(400, 5, seed=5).log_softmax(1), [1, 4], 0)),
    ),
    slips=(
        Slip("a path may begin with the blank or with the first label", _ctc(start=1)),
        Slip("a path may end with the last label or with the blank behind it", _ctc(ends=1)),
        Slip(
            "between two equal labels the blank must not be skipped",
            _ctc(skips=lambda path, s, blank: path[s] != blank),
        ),
        Slip("two steps at once are allowed, where a blank is skipped", _ctc(skips=lambda path, s, blank: False)),
        Slip(
            "from blank to blank a label would be skipped",
            _ctc(skips=lambda path, s, blank: path[s] == blank or path[s] != path[s - 2]),
        ),
        Slip("that is the best path alone, not the sum over all", _ctc(total=lambda ways: ways.max(0).values)),
    ),
    hints=(
        "Put blanks before, between and behind the labels. alpha[s] is of all paths so far that end at path[s].",
        "alpha[s] = log y_t(path[s]) + logsumexp of before[s], before[s-1], and before[s-2] where you may jump.",
        "At t = 0 only the first two are possible; at the end the last two count.",
    ),
)

EXERCISES = (FRAMES, BEGIN_PROBABILITY, DISTRACTORS, CONTRASTIVE, CODEWORDS_IN_USE, FEWEST_FRAMES, CTC)
