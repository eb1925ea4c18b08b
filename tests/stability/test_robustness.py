"""Robustness on a model small enough to count its mistakes by hand, and contrast pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from stablelab.stability import Robustness, across, contrast, corruption_errors, mean_corruption_error, robustness


@dataclass
class Numbers:
    """Numbers to tell apart by their sign, in batches that come from the last to the first."""

    x: Tensor
    targets: Tensor
    classes: tuple[str, ...] = ("negative", "positive")

    def __len__(self) -> int:
        return len(self.x)

    def order(self) -> Tensor:
        return torch.arange(len(self)).flip(0)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for positions in self.order().split(batch_size):
            yield self.x[positions, None], self.targets[positions]


def numbers(n: int = 120) -> Numbers:
    x = torch.linspace(-2, 2, n)
    return Numbers(x, (x > 0).long())


def above(threshold: float) -> nn.Module:
    """Says "positive" of what lies above the threshold."""
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [1.0]]))
        model.bias.copy_(torch.tensor([0.0, -threshold]))
    return model


def pushed(name: str, severity: int) -> Numbers:
    split = numbers()
    return Numbers(split.x + (0.3 if name == "up" else -0.2) * severity, split.targets)


def measured(*thresholds: float, name: str = "model", severities: tuple[int, ...] = (1, 2, 3)) -> Robustness:
    models = [above(threshold) for threshold in thresholds]
    return robustness(models, numbers(), pushed, ("up", "down"), severities, name)


def _by_hand(threshold: float, name: str, severity: int) -> list[bool]:
    split = pushed(name, severity)
    return [bool((x > threshold) != (t == 1)) for x, t in zip(split.x, split.targets, strict=True)]


def test_every_mistake_is_where_it_is_whatever_order_the_batches_come_in() -> None:
    found = measured(0.0, 0.25)
    assert found.clean.shape == (2, 120) and found.corrupted.shape == (2, 2, 3, 120)
    for m, threshold in enumerate((0.0, 0.25)):
        for k, name in enumerate(("up", "down")):
            for s in range(3):
                assert found.corrupted[m, k, s].tolist() == _by_hand(threshold, name, s + 1)
    assert found.clean_error == pytest.approx((0 + 7 / 120) / 2)  # 7 of the numbers lie between 0 and 0.25
    assert found.errors[0, 2] == pytest.approx(np.mean([_by_hand(0.0, "up", 3), _by_hand(0.25, "up", 3)]))
    assert str(found).startswith("model: clean error 0.029, corrupted ")


def test_the_table_has_a_row_for_each_with_wilsons_interval_and_the_spread() -> None:
    one, two = measured(0.0).frame(), measured(0.0, 0.25).frame()
    assert one[["corruption", "severity"]].values.tolist()[:3] == [["clean", 0], ["up", 1], ["up", 2]]
    assert len(one) == 7 and one["std"].isna().all()
    for row in one.itertuples():
        interval = binomtest(round(120 * row.error), 120).proportion_ci(method="wilson")
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    rates = [np.mean(_by_hand(threshold, "down", 2)) for threshold in (0.0, 0.25)]
    assert two["error"][5] == pytest.approx(np.mean(rates)) and two["std"][5] == pytest.approx(np.std(rates, ddof=1))


def test_mce_compares_with_a_reference_and_has_an_interval() -> None:
    ours, reference = measured(0.1), measured(0.25)
    sums = [[found.errors[k].sum() for k in range(2)] for found in (ours, reference)]
    expected = [a / b for a, b in zip(*sums, strict=True)]
    assert list(ours.corruption_errors(reference).items()) == [
        ("up", pytest.approx(expected[0])),
        ("down", pytest.approx(expected[1])),
    ]
    found = ours.mce(reference)
    assert found.value == pytest.approx(np.mean(expected)) and found.n == 120 and found.of == "example"
    assert found.low < found.value < found.high
    assert ours.mce(reference) == found != ours.mce(reference, seed=1)
    relative = ours.corruption_errors(measured(-0.05), relative=True)["up"]
    clean, other = ours.clean_error, measured(-0.05).clean_error
    assert relative == pytest.approx((sums[0][0] - 3 * clean) / (measured(-0.05).errors[0].sum() - 3 * other))


def test_a_model_beside_itself_is_worth_one_and_has_no_interval() -> None:
    found = measured(0.1).mce(measured(0.1))
    assert found.value == 1 and found.low is None and "do not differ" in found.note


def test_a_reference_with_a_handful_of_mistakes_gives_no_interval() -> None:
    found = measured(0.25).mce(measured(0.25, -0.05), relative=True)
    assert found.value > 0 and found.low is None
    assert found.note.startswith("too few mistakes of the reference under ")


def test_the_bootstrap_interval_is_that_of_drawing_examples_anew() -> None:
    ours, reference = measured(0.1), measured(0.25)
    generator = np.random.default_rng(0)
    wrong = [found.corrupted[0].sum(axis=1) for found in (ours, reference)]  # (K, N)
    drawn = generator.integers(120, size=(4000, 120))
    ratios = np.mean(wrong[0][:, drawn].sum(-1) / wrong[1][:, drawn].sum(-1), axis=0)
    found = ours.mce(reference)
    assert (found.low, found.high) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), rel=0.05)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (measured(0.0, severities=(1, 2)), r"^the severities are 1, 2, 3, those of the reference 1, 2$"),
        (
            robustness(above(0.0), numbers(), lambda *_: numbers(), ("up", "down"), (1, 2, 3)),
            r"^'up' has no corruption error: the reference model makes no mistake under it; leave it out$",
        ),
        (
            robustness(above(0.0), numbers(20), lambda *_: numbers(20), ("up", "down"), (1, 2, 3)),
            r"^measured on 120 examples, the reference on 20; give both the same split$",
        ),
    ],
)
def test_a_reference_that_is_none_is_said(reference: Robustness, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        measured(0.1).mce(reference)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(ValueError, match=r"^models must be a model, or a list of at least one$"):
        robustness([], numbers(), pushed, ("up",))
    with pytest.raises(ValueError, match=r"^corruptions is 'up'; give at least one, and each once$"):
        robustness(above(0), numbers(), pushed, "up")
    with pytest.raises(ValueError, match=r"^severities is \(1, 1\); give at least one, and each once$"):
        robustness(above(0), numbers(), pushed, ("up",), (1, 1))
    with pytest.raises(ValueError, match=r"^what corrupt gave has other targets than the clean examples; "):
        robustness(above(0), numbers(), lambda *_: numbers(20), ("up",))


def test_domains_stand_one_under_the_other() -> None:
    table = across([above(0.0), above(0.25)], {"home": numbers(), "away": numbers(80)})
    assert table.index.tolist() == ["home", "away"] and table["examples"].tolist() == [120, 80]
    wrong = [int(((numbers(n).x > 0) & (numbers(n).x <= 0.25)).sum()) for n in (120, 80)]
    assert table["error"].tolist() == pytest.approx([wrong[0] / 240, wrong[1] / 160])
    assert table["std"].tolist() == pytest.approx([wrong[0] / 120 / 2**0.5, wrong[1] / 80 / 2**0.5])
    assert np.isnan(across(above(0.0), {"home": numbers()})["std"]["home"])
    with pytest.raises(ValueError, match=r"^splits is empty; give at least one kind of examples, as \{name: split\}$"):
        across(above(0), {})
    other = Numbers(numbers().x, numbers().targets, ("bad", "good"))
    with pytest.raises(ValueError, match=r"^'away' has the classes \('bad', 'good'\), 'home' \('negative', 'positive'"):
        across(above(0), {"home": numbers(), "away": other})
    with pytest.raises(ValueError, match=r"^level is 1\.5; "):
        across(above(0), {"home": numbers()}, level=1.5)


def test_a_pair_counts_as_a_whole() -> None:
    #            right, right  wrong, right  right, wrong  wrong, wrong
    x = torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
    found = contrast(above(0.0), Numbers(x, torch.tensor([1, 0, 1, 0, 1, 0, 1, 0])))
    assert found.right.tolist() == [[True, True], [False, True], [True, False], [False, False]]
    assert found.flipped.tolist() == [True, False, False, True]
    assert found.accuracy == (0.5, 0.5) and found.consistency.value == 0.25 and found.flips.value == 0.5
    interval = binomtest(1, 4).proportion_ci(method="wilson")
    assert (found.consistency.low, found.consistency.high) == pytest.approx((interval.low, interval.high))
    assert (found.consistency.n, found.consistency.of) == (4, "pair")
    assert str(found) == (
        "4 pairs: both right 0.250, answer flips 0.500; accuracy 0.500 on the first, 0.500 on the second"
    )


def test_pairs_that_are_none_are_said() -> None:
    three = Numbers(torch.ones(3), torch.tensor([1, 0, 1]))
    with pytest.raises(ValueError, match=r"^there are 3 examples; pairs are examples 2p and 2p \+ 1, an even number"):
        contrast(above(0), three)
    alike = Numbers(torch.ones(4), torch.tensor([1, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"^examples 2 and 3 have the same label; the labels of a pair must differ$"):
        contrast(above(0), alike)


E = [[0.1, 0.2, 0.3], [0.2, 0.4, 0.9]]
REFERENCE = [[0.2, 0.4, 0.6], [0.3, 0.6, 0.6]]


def test_ce_is_a_fraction_of_sums_and_mce_their_mean() -> None:
    assert corruption_errors(E, REFERENCE).tolist() == pytest.approx([0.6 / 1.2, 1.5 / 1.5])
    assert mean_corruption_error(E, REFERENCE) == pytest.approx(0.75)
    assert mean_corruption_error(REFERENCE, REFERENCE) == pytest.approx(1)


def test_the_relative_one_takes_the_clean_errors_off() -> None:
    # (0.6 - 3 · 0.05) / (1.2 - 3 · 0.1) and (1.5 - 0.15) / (1.5 - 0.3)
    assert corruption_errors(E, REFERENCE, 0.05, 0.1).tolist() == pytest.approx([0.45 / 0.9, 1.35 / 1.2])
    assert mean_corruption_error(E, REFERENCE, 0.05, 0.1) == pytest.approx((0.5 + 1.125) / 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            (E, [[0.0, 0, 0], [0.1, 0.2, 0.3]]),
            r"^corruption 0 has no corruption error: the reference model makes no mis",
        ),
        (
            (E, REFERENCE, 0.1, 0.5),
            r"^corruption 0 has no .*: the reference model is no worse under it than without; le",
        ),
        ((E, REFERENCE, 0.1), r"^give both clean and reference_clean, for the relative corruption error, or neither$"),
        ((E, REFERENCE[:1]), r"^errors \(2, 3\) and reference \(1, 3\) must both be \(corruptions, severities\)$"),
        ((E[0], REFERENCE[0]), r"^errors \(3,\) and reference \(3,\) must both be"),
        (([[10.0, 20.0]], [[20.0, 30.0]]), r"^errors must hold error rates from 0 to 1$"),
        ((E, [[np.nan] * 3] * 2), r"^reference must hold error rates from 0 to 1$"),
        (([], []), r"^errors must hold error rates from 0 to 1$"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mean_corruption_error(*arguments)


def test_the_corruption_is_called_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"^'case' has no corruption error"):
        corruption_errors([[0.1], [0.1]], [[0.1], [0.0]], names=("typos", "case"))
