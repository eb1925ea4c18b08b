"""The exercises of notebook 14: what is wrong with the data, and what that does to a number."""

from __future__ import annotations

import math

import torch

from .exercise import Case, Exercise, Slip, float64, normal


def _whole(*numbers):
    return torch.tensor(numbers, dtype=torch.int64)


def measured_accuracy(accuracy, rate, classes):
    return accuracy * (1 - rate) + (1 - accuracy) * rate / (classes - 1)


MEASURED_ACCURACY = Exercise(
    name="data.measured_accuracy",
    returns="the accuracy that labels measure of which the share ρ is wrong, by any other class with equal chances",
    solution=measured_accuracy,
    cases=(
        Case("two classes, a tenth wrong", (0.9, 0.1, 2)),
        Case("ten classes, two fifths wrong", (0.8, 0.4, 10)),
        Case("three classes, a model that is never right", (0.0, 0.3, 3)),
        Case("no wrong labels", (0.73, 0.0, 5)),
    ),
    slips=(
        Slip("a wrong answer can meet a wrong label, and then counts as right", lambda a, r, c: a * (1 - r)),
        Slip(
            "a wrong answer meets a wrong label only where both are the same one of C - 1 classes",
            lambda a, r, c: a * (1 - r) + (1 - a) * r,
        ),
        Slip(
            "a wrong label is one of C - 1 other classes, not of C",
            lambda a, r, c: a * (1 - r) + (1 - a) * r / c,
        ),
        Slip("errors of the model and of the labels do not simply add up", lambda a, r, c: a - r),
    ),
    hints=(
        "The answer counts as right in two cases: it is right and the label is; or it is wrong and the label is wrong.",
        "In the second case both have to be wrong in the same way: a chance of 1 / (C - 1).",
    ),
)


def confident_joint(labels, probabilities):
    C = probabilities.shape[1]
    t = torch.stack([probabilities[labels == j, j].mean() for j in range(C)])
    joint = torch.zeros(C, C, dtype=torch.int64)
    for i, p in zip(labels.tolist(), probabilities, strict=True):
        reached = p >= t
        if reached.any():
            j = int(torch.where(reached, p, -1.0).argmax())
            joint[i, j] += 1
    return joint


def _joint(threshold=lambda p, y, j: p[y == j, j].mean(), transposed=False, nobody_counts=False):
    """The joint with one thing done otherwise."""

    def answer(labels, probabilities):
        C = probabilities.shape[1]
        t = torch.stack([torch.as_tensor(threshold(probabilities, labels, j)) for j in range(C)])
        joint = torch.zeros(C, C, dtype=torch.int64)
        for i, p in zip(labels.tolist(), probabilities, strict=True):
            reached = p >= t
            if reached.any() or nobody_counts:
                j = int(torch.where(reached, p, -1.0).argmax()) if reached.any() else i
                joint[i, j] += 1
        return joint.T if transposed else joint

    return answer


def _each_class(labels, probabilities):
    C = probabilities.shape[1]
    t = torch.stack([probabilities[labels == j, j].mean() for j in range(C)])
    return torch.stack([(probabilities[labels == i] >= t).sum(0) for i in range(C)])


_LABELS = _whole(0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 1)

CONFIDENT_JOINT = Exercise(
    name="data.confident_joint",
    returns="a matrix (C, C): how many examples with label i (row) confidently belong to class j (column)",
    solution=confident_joint,
    cases=(
        Case("three classes, a blurred model", (_LABELS, normal(12, 3, seed=36).softmax(1))),
        Case(
            "three classes, a sharper one that favours class 0",
            (_LABELS, (2 * normal(12, 3, seed=8) + float64(1.5, 0.0, 0.0)).softmax(1)),
        ),
        Case("two classes", (_whole(0, 0, 1, 1, 1, 0, 0), normal(7, 2, seed=3).softmax(1))),
    ),
    slips=(
        Slip("rows are the given labels, columns the classes that are found", _joint(transposed=True)),
        Slip(
            "t_j is the mean of p_j over those that are labelled j, not over all examples",
            _joint(lambda p, y, j: p[:, j].mean()),
        ),
        Slip(
            "each class has its own threshold, and it is not 1 / 2",
            _joint(lambda p, y, j: torch.tensor(0.5, dtype=p.dtype)),
        ),
        Slip("an example counts once, for the most probable of the classes that it reaches", _each_class),
        Slip("an example that reaches no threshold is not counted", _joint(nobody_counts=True)),
        Slip(
            "the most probable class counts only if it reaches its threshold",
            _joint(lambda p, y, j: torch.tensor(0.0, dtype=p.dtype)),
        ),
    ),
    hints=(
        "First the thresholds: t_j is the mean of probabilities[labels == j, j].",
        "Then for each example: which classes have p_j ≥ t_j? None: skip it. Else the most probable of them is j.",
    ),
)


def without_leak(measured, seen, share):
    return (measured - share * seen) / (1 - share)


WITHOUT_LEAK = Exercise(
    name="data.without_leak",
    returns="the accuracy on the test examples that do not stand in the training data",
    solution=without_leak,
    cases=(
        Case("half of the test split leaks", (0.9, 1.0, 0.5)),
        Case("a tenth leaks", (0.83, 0.95, 0.1)),
        Case("nothing leaks", (0.8, 0.0, 0.0)),
        Case("the leak does not help", (0.7, 0.6, 0.25)),
    ),
    slips=(
        Slip("what is left has the share 1 - s of the test split: divide by it", lambda m, a, s: m - s * a),
        Slip("only the leaked share was seen: take s · seen away, not all of it", lambda m, a, s: (m - a) / (1 - s)),
        Slip("this mixes once more; turn the formula round", lambda m, a, s: (1 - s) * m + s * a),
        Slip("divide by 1 - s, not by s", lambda m, a, s: (m - s * a) / s if s else math.inf),
    ),
    hints=(
        "The measured accuracy is s · seen + (1 - s) · new. Solve for new.",
        "(measured - s · seen) / (1 - s).",
    ),
)


def split_by_group(group, order, size):
    test = torch.zeros(len(group), dtype=torch.bool)
    for i in order.tolist():
        if int(test.sum()) >= size:
            break
        test |= group == group[i]
    return test


def _torn(group, order, size):
    test = torch.zeros(len(group), dtype=torch.bool)
    test[order[:size]] = True
    return test


def _firsts(group, order, size):
    test = torch.zeros(len(group), dtype=torch.bool)
    for g in list(dict.fromkeys(group[order].tolist()))[:size]:
        test |= group == g
    return test


def _without_their_copies(group, order, size):
    test, seen = torch.zeros(len(group), dtype=torch.bool), set()
    for i in order.tolist():
        if int(test.sum()) < size and int(group[i]) not in seen:
            seen.add(int(group[i]))
            test[i] = True
    return test


def _after(group, order, size):
    test = _torn(group, order, size)
    return torch.isin(group, group[test])


_GROUPS = _whole(0, 1, 0, 3, 4, 3, 0, 7, 8, 7)

SPLIT_BY_GROUP = Exercise(
    name="data.split_by_group",
    returns="(N,) True for the test split: whole groups, in the order given, until it has at least so many examples",
    solution=split_by_group,
    cases=(
        Case("ten examples, six groups, 4 to test", (_GROUPS, _whole(5, 2, 9, 0, 1, 8, 3, 7, 4, 6), 4)),
        Case("a large group comes first", (_GROUPS, _whole(6, 7, 5, 1, 2, 3, 0, 4, 9, 8), 2)),
        Case("a group comes up again before the split is full", (_GROUPS, _whole(7, 9, 3, 5, 1, 0, 2, 4, 6, 8), 5)),
    ),
    slips=(
        Slip("the groups are torn: a copy of a test example stays in the training data", _torn),
        Slip("size counts examples, not groups", _firsts),
        Slip("the other members of a group have to follow the first into the test split", _without_their_copies),
        Slip("stop as soon as there are enough: whole groups fill the split before its last examples come", _after),
        Slip("True is for the test split", lambda group, order, size: ~split_by_group(group, order, size)),
    ),
    hints=(
        "Begin with an empty mask, and go through the order. Is the mask large enough already? Then stop.",
        "Else add all members of the group of this example: mask |= group == group[i].",
    ),
)


def mean_gap(first, second, quantile):
    d = first - second
    half = quantile * d.std() / math.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


def _gap(centre=lambda d: d.mean(), half=lambda d, q: q * d.std() / math.sqrt(len(d)), change=lambda d: d):
    """The interval with one thing done otherwise."""

    def answer(first, second, quantile):
        d = change(first - second)
        return centre(d), centre(d) - half(d, quantile), centre(d) + half(d, quantile)

    return answer


def _unpaired(first, second, quantile):
    d = first.mean() - second.mean()
    half = quantile * torch.sqrt((first.var() + second.var()) / len(first))
    return d, d - half, d + half


_BASE = 3 * normal(12, seed=4)

MEAN_GAP = Exercise(
    name="data.mean_gap",
    returns="the mean difference first - second over the pairs, and the low and the high end of its t interval",
    solution=mean_gap,
    cases=(
        Case("pairs that vary much and differ little", (_BASE + 0.2 + 0.1 * normal(12, seed=5), _BASE, 2.201)),
        Case("five pairs", (normal(5, seed=6), normal(5, seed=7), 2.776)),
    ),
    slips=(
        Slip("the pairs belong together: take the spread of the differences, not of both lists", _unpaired),
        Slip("the mean is less spread than one pair is: divide by √n", _gap(half=lambda d, q: q * d.std())),
        Slip(
            "the standard deviation of a sample divides by n - 1",
            _gap(half=lambda d, q: q * d.std(correction=0) / math.sqrt(len(d))),
        ),
        Slip("the sign says in whose favour the gap is: no absolute value", _gap(change=lambda d: d.abs())),
        Slip("first - second, not second - first", _gap(change=lambda d: -d)),
        Slip("divide by √n, not by n", _gap(half=lambda d, q: q * d.std() / len(d))),
    ),
    hints=(
        "Take the difference of each pair first; from there on it is one list of n numbers.",
        "Half of the interval is quantile · s / √n, with s = d.std().",
    ),
)


def exchanged(tokens, first, second):
    new = tokens.clone()
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        new[tokens == a] = b
        new[tokens == b] = a
    return new


def _one_after_the_other(tokens, first, second):
    new = tokens.clone()
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        new[new == a] = b
        new[new == b] = a
    return new


def _one_way(tokens, first, second):
    new = tokens.clone()
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        new[tokens == a] = b
    return new


def _first_pair(tokens, first, second):
    return exchanged(tokens, first[:1], second[:1])


def _first_found(tokens, first, second):
    new, flat = tokens.clone().flatten(), tokens.flatten()
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        for old, other in ((a, b), (b, a)):
            new[(flat == old).nonzero().flatten()[:1]] = other
    return new.view(tokens.shape)


EXCHANGED = Exercise(
    name="data.exchanged",
    returns="the tokens with each of first exchanged for its partner in second, and each of second for its in first",
    solution=exchanged,
    cases=(
        Case("one pair, both words occur", (_whole(7, 3, 9, 4, 3, 7), _whole(3), _whole(4))),
        Case("two pairs", (_whole(7, 3, 9, 4, 5, 6, 6, 7), _whole(3, 5), _whole(4, 6))),
        Case(
            "two sentences, and a word that does not occur",
            (torch.tensor([[2, 3], [4, 4]]), _whole(3, 8), _whole(4, 9)),
        ),
    ),
    slips=(
        Slip("the second replacement turns the first one back: look for both in the old tokens", _one_after_the_other),
        Slip("both ways: what is in second becomes its partner in first", _one_way),
        Slip("all pairs, not the first alone", _first_pair),
        Slip("every place where the word stands, not the first alone", _first_found),
    ),
    hints=(
        "After new[new == a] = b, what does new[new == b] = a find?",
        "Look for the words in tokens, which stays as it is, and write into a copy.",
    ),
)

EXERCISES = (WITHOUT_LEAK, SPLIT_BY_GROUP, MEASURED_ACCURACY, CONFIDENT_JOINT, MEAN_GAP, EXCHANGED)
