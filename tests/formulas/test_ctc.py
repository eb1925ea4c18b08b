from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.helpers import normal

from stablelab.formulas import collapse, ctc_loss


@pytest.mark.parametrize(
    ("frames", "labels", "blank"),
    [(12, [1, 2, 3], 0), (12, [2, 2, 2], 0), (7, [1, 1, 2, 2], 3), (1, [2], 0), (9, [], 1), (60, [1, 3, 3, 2, 1], 0)],
)
def test_the_loss_and_its_gradient_are_torchs(frames: int, labels: list[int], blank: int) -> None:
    logits = [(3 * normal(frames, 4, seed=frames)).requires_grad_() for _ in range(2)]
    ours = ctc_loss(logits[0].log_softmax(1), labels, blank)
    sizes = torch.tensor([frames]), torch.tensor([len(labels)])
    wanted = torch.tensor([labels], dtype=torch.int64)
    theirs = F.ctc_loss(logits[1].log_softmax(1)[:, None], wanted, *sizes, blank, reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(logits[0].grad, logits[1].grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("labels", [[1, 2], [1, 1], [], [2]])
def test_it_is_the_sum_over_all_paths_that_collapse_to_the_labels(labels: list[int]) -> None:
    log_probs = normal(5, 3, seed=2).log_softmax(1)
    total = sum(
        math.exp(sum(float(log_probs[t, s]) for t, s in enumerate(path)))
        for path in itertools.product(range(3), repeat=5)
        if collapse(path) == labels
    )
    assert float(ctc_loss(log_probs, labels)) == pytest.approx(-math.log(total), abs=1e-12)


def test_where_the_frames_are_too_few_it_is_infinite_and_its_gradient_finite() -> None:
    logits = normal(3, 4).requires_grad_()
    loss = ctc_loss(logits.log_softmax(1), [1, 1, 2])  # 1 blank 1 2 takes four
    assert loss.item() == math.inf
    assert math.isfinite(float(ctc_loss(normal(4, 4).log_softmax(1), [1, 1, 2])))


def test_collapse_merges_first_and_drops_blanks_then() -> None:
    assert collapse([0, 1, 1, 0, 1, 2, 2, 0]) == [1, 1, 2]
    assert collapse(torch.tensor([3, 3, 0, 0]), blank=3) == [0] and collapse([]) == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ctc_loss(normal(4), [1]), "(T, C) of at least one frame, not (4,)"),
        (lambda: ctc_loss(normal(0, 3), [1]), "at least one frame"),
        (lambda: ctc_loss(normal(4, 3), [1, 0]), "labels are [1, 0]; they must be classes from 0 to 2 other than the"),
        (lambda: ctc_loss(normal(4, 3), [3]), "classes from 0 to 2"),
        (lambda: ctc_loss(normal(4, 3), [1], blank=3), "blank is 3"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)
