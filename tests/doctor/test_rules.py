"""Each rule of the doctor on a curve of known shape, on either side of its threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.constructed import falling, log_of, noisy

from stablelab.doctor.data_rules import not_shuffled, odd_batch, overfitting
from stablelab.doctor.examination import examine_log
from stablelab.doctor.findings import Cause
from stablelab.doctor.gradient_rules import clipped_away, growing_gradient, schedule, vanishing_gradient, warm_up
from stablelab.doctor.judging import UnknownError
from stablelab.doctor.progress_rules import diverged, failed_run, no_progress, not_finite, runaway, spikes
from stablelab.doctor.start_rules import first_loss, first_loss_range, softmax_floor, softmax_twice, summed_loss
from stablelab.formulas import cosine, linear

LN10 = math.log(10)


def cause(finding) -> Cause:
    """The first cause of an alarm."""
    assert finding is not None and finding.alarm, finding
    return finding.causes[0]


def starting_at(first: float, **known):
    return log_of([first, *falling(start=2.3)], classes=10, **known)


# -- the start ---------------------------------------------------------------------------------------------------------


def test_a_fresh_head_of_the_widest_usual_weights_stays_within_the_range() -> None:
    generator = np.random.default_rng(0)
    low, high = first_loss_range(10, LN10, 32)
    for _ in range(500):
        logits = math.sqrt(2) * generator.normal(size=(32, 10))
        mine = logits[np.arange(32), generator.integers(10, size=32)]
        assert low < np.mean(np.log(np.exp(logits).sum(axis=1)) - mine) < high


def test_first_loss_on_either_side() -> None:
    low, high = first_loss_range(10, LN10, 32)
    assert first_loss(starting_at(high - 0.01, batch_size=32)) is None
    assert cause(first_loss(starting_at(high + 0.01, batch_size=32))) == Cause.BROKEN_HEAD
    below = first_loss(starting_at(low - 0.01, batch_size=32))
    assert below is not None and not below.alarm and below.causes[0] == Cause.KNOWS_ALREADY
    assert first_loss(starting_at(low + 0.01, batch_size=32)) is None
    with pytest.raises(UnknownError, match="the log begins at step 7"):
        first_loss(log_of([9.0, 8.0], classes=10, steps=np.array([7.0, 8.0])))
    with pytest.raises(UnknownError, match="each line is the mean of 10 steps"):
        first_loss(log_of([9.0, 8.0], classes=10, averaged=10))
    with pytest.raises(UnknownError, match="number of classes is not in the log"):
        first_loss(log_of([9.0, 8.0]))


def test_summed_loss_on_either_side() -> None:
    high = first_loss_range(10, LN10, 16)[1]
    assert cause(summed_loss(starting_at(16 * LN10, batch_size=16))) == Cause.SUMMED_LOSS
    assert cause(summed_loss(starting_at(16 * 0.901 * LN10, batch_size=16))) == Cause.SUMMED_LOSS
    assert summed_loss(starting_at(16 * 0.899 * LN10, batch_size=16)) is None
    assert summed_loss(starting_at(16 * high + 0.1, batch_size=16)) is None
    assert summed_loss(starting_at(LN10, batch_size=16)) is None
    with pytest.raises(UnknownError, match="with batches of 2"):
        summed_loss(starting_at(2 * LN10, batch_size=2))


def test_the_floor_of_a_softmax_applied_twice_is_the_lowest_loss_there_is() -> None:
    assert [round(softmax_floor(C), 3) for C in (2, 10)] == [0.313, 1.461]
    probabilities = np.random.default_rng(0).dirichlet(0.05 * np.ones(10), size=5000)
    losses = np.log(np.exp(probabilities).sum(axis=1)) - probabilities[:, 0]
    assert softmax_floor(10) <= losses.min() < softmax_floor(10) + 1e-3
    assert losses.max() <= softmax_floor(10) + 1


def on_the_floor(lift: float = 0.0):
    """A loss that comes down to the floor of 10 classes and lies on it from one side."""
    return softmax_floor(10) + lift + 0.8 * np.exp(-np.arange(200) / 15) + np.abs(noisy(np.zeros(200), 0.03))


def test_softmax_twice_on_either_side() -> None:
    assert cause(softmax_twice(log_of(on_the_floor(), classes=10))) == Cause.SOFTMAX_TWICE
    assert softmax_twice(log_of(on_the_floor(lift=-0.01), classes=10)) is None  # a loss below the floor
    assert softmax_twice(log_of(on_the_floor(lift=0.06), classes=10)) is None  # never on it
    assert (
        softmax_twice(log_of(falling(end=softmax_floor(10), scatter=0.05), classes=10)) is None
    )  # on both sides of it
    assert softmax_twice(log_of(falling(start=2.3, end=1.47, scatter=0)[:60], classes=10)) is None  # on its way down
    near = noisy(np.full(200, softmax_floor(10) + 0.05), 0.005)  # about that height, but no wall
    assert softmax_twice(log_of(np.concatenate([falling(100, 2.3, 1.6), near]), classes=10)) is None


# -- progress ----------------------------------------------------------------------------------------------------------


def test_not_finite_and_what_came_before() -> None:
    assert not_finite(log_of(falling())) is None
    at_once = log_of([*falling(100), math.nan, math.nan], not_finite=101)
    assert cause(not_finite(at_once)) == Cause.OVERFLOW
    after_growth = log_of([*falling(50), *np.geomspace(0.3, 50, 20), math.nan], not_finite=71)
    found = not_finite(after_growth)
    assert cause(found) == Cause.RATE_TOO_HIGH and found.steps == (71, 71) and found.confidence == "certain"


def test_runaway_on_either_side_of_ten_times() -> None:
    def thrown(to: float):
        losses = falling(100)
        losses[5:15] = to
        return log_of(losses, classes=10)

    limit = 10 * thrown(1.0).losses[0]
    assert cause(runaway(thrown(1.01 * limit))) == Cause.RATE_TOO_HIGH
    assert runaway(thrown(1.01 * limit)).steps == (10, 15)
    assert runaway(thrown(0.99 * limit)) is None
    learnt = log_of(np.concatenate([falling(100), np.full(10, 50.0), falling(100)]), classes=10)
    assert runaway(learnt) is None and spikes(learnt) is not None  # a spike that recovers
    assert runaway(log_of(np.concatenate([falling(100), np.full(60, 50.0)]), classes=10)) is not None
    assert runaway(log_of(np.where(np.arange(100) == 20, 100.0, falling(100)), classes=10)) is None  # one batch


def test_diverged_on_either_side_of_half_given_back() -> None:
    def comes_back(share: float):
        return log_of(np.concatenate([falling(150, 2.3, 0.3), noisy(np.full(60, 0.3 + share * 2.0), 0.03)]), classes=10)

    assert cause(diverged(comes_back(0.6))) == Cause.RATE_TOO_HIGH
    assert diverged(comes_back(0.4)) is None
    assert diverged(comes_back(1.5)).confidence == "certain"
    assert diverged(log_of(noisy(np.full(200, 0.02), 0.01), classes=10)) is None  # lies at its floor
    assert diverged(log_of(noisy(np.full(200, 2.3), 0.1), classes=10)) is None


def test_failed_run_on_either_side_and_its_causes() -> None:
    flat = lambda level, **more: log_of(noisy(np.full(200, level), 0.02), classes=10, **more)  # noqa: E731
    assert cause(failed_run(flat(LN10 + 0.05))) == Cause.RATE_TOO_LOW
    assert failed_run(flat(0.97 * LN10)) is None
    assert failed_run(flat(0.99 * LN10)) is not None
    thrown = np.concatenate([[2.4, 9.0, 30.0, 12.0], noisy(np.full(200, 2.35), 0.1)])
    assert cause(failed_run(log_of(thrown, classes=10))) == Cause.RATE_TOO_HIGH
    learns_shares = np.concatenate([np.linspace(3.0, LN10, 40), noisy(np.full(200, LN10), 0.02)])
    assert cause(failed_run(log_of(learns_shares, classes=10))) == Cause.WRONG_LABELS
    unbalanced = -(0.95 * math.log(0.95) + 0.05 * math.log(0.05))
    assert failed_run(log_of(noisy(np.full(200, 0.198), 0.05), classes=2, label_entropy=unbalanced)) is not None
    assert failed_run(log_of(noisy(np.full(200, 0.198), 0.05), classes=2)) is None  # ln 2 does not know the shares
    with pytest.raises(UnknownError, match="it takes 50"):
        failed_run(log_of(np.full(49, LN10), classes=10))
    with pytest.raises(UnknownError, match="step 200 of 1000; it is judged from its half on"):
        failed_run(flat(LN10, over=False, total_steps=1000))
    warming = np.minimum(1, np.arange(200) / 300)  # half of the highest rate is not far behind
    assert failed_run(flat(LN10, learning_rates=warming)) is not None


def test_no_progress_on_either_side() -> None:
    slowly = lambda end: log_of(noisy(np.linspace(2.3, end, 200), 0.02), classes=10)  # noqa: E731
    assert cause(no_progress(slowly(2.05))) == Cause.RATE_TOO_LOW
    assert no_progress(slowly(1.9)) is None
    assert no_progress(slowly(2.3)) is None  # a failed run, which says more
    said = no_progress(log_of(noisy(np.full(200, 3.0), 0.02)))
    assert said is not None and not said.alarm  # without the number of classes it may be its floor
    assert no_progress(log_of(falling())) is None


def with_jump(height: float, recovers: bool, rows: int = 300):
    losses = falling(rows, 2.3, 0.3)
    tail = np.exp(-np.arange(rows - 150) / 10) if recovers else np.ones(rows - 150)
    losses[150:] += height * tail
    return log_of(losses, classes=10)


def test_spikes_on_either_side_and_whether_they_recover() -> None:
    recovered = spikes(with_jump(2.0, True))
    assert recovered is not None and not recovered.alarm and 150 <= recovered.steps[0] <= 156
    assert (recovered.numbers["count"], recovered.numbers["recovered"]) == (1, 1)
    assert cause(spikes(with_jump(0.9, False))) == Cause.RATE_TOO_HIGH
    assert spikes(with_jump(0.3, True)) is None  # less than a quarter of what was gained
    assert spikes(log_of(falling(300))) is None
    hard = falling(300, 2.3, 0.01, 0.003)
    hard[200] = 0.6  # one hard batch at 99 % accuracy
    assert spikes(log_of(hard)) is None
    restarts = with_jump(0.9, False)
    rates = np.where(np.arange(300) < 150, 1e-4, 1e-2)
    assert not spikes(log_of(restarts.losses, learning_rates=rates)).alarm


# -- gradients and rates -----------------------------------------------------------------------------------------------


def test_clipping_on_either_side() -> None:
    stands = noisy(np.full(100, 2.3), 0.02)
    clipped = lambda left, losses=stands, **more: log_of(losses, norms=1.0, max_norms=left, optimizer="SGD", **more)  # noqa: E731
    assert cause(clipped_away(clipped(0.09))) == Cause.CLIPPED_AWAY
    assert not clipped_away(clipped(0.11)).alarm
    assert not clipped_away(clipped(0.09, falling(100))).alarm  # it learns all the same
    assert clipped_away(clipped(1.1)) is None
    adam = lambda threshold: log_of(  # noqa: E731
        stands, norms=1.0, max_norms=threshold, optimizer="AdamW · torch fused", parameters=10_000
    )
    assert not clipped_away(adam(1e-3)).alarm
    assert cause(clipped_away(adam(0.9e-5))) == Cause.CLIPPED_AWAY  # 1e-7 = 10 ε for each of √P = 100
    with pytest.raises(UnknownError, match="norm of the gradient is not in the log"):
        clipped_away(log_of(stands))


def test_vanishing_gradient_on_either_side() -> None:
    stands = noisy(np.full(200, 2.3), 0.02)
    norms = lambda last: np.concatenate([np.ones(60), np.full(140, last)])  # noqa: E731
    assert cause(vanishing_gradient(log_of(stands, norms=norms(0.9e-2)))) == Cause.SATURATED
    assert vanishing_gradient(log_of(stands, norms=norms(1.1e-2))) is None
    assert vanishing_gradient(log_of(falling(), norms=norms(1e-3))) is None
    assert cause(vanishing_gradient(log_of(stands, norms=0.0))) == Cause.NO_GRADIENT


def test_growing_gradient_on_either_side() -> None:
    rows = np.arange(200)
    assert cause(growing_gradient(log_of(falling(), norms=1.0 + rows / 10))) == Cause.NO_ZERO_GRAD
    rough = np.geomspace(1, 40, 200) * np.exp(noisy(np.zeros(200), 0.5))
    assert cause(growing_gradient(log_of(falling(), norms=rough))) == Cause.RATE_TOO_HIGH
    assert growing_gradient(log_of(falling(), norms=1.0 + rows / 25)) is None


def test_schedule_on_either_side() -> None:
    linearly = lambda total: [linear(k, total) if k < total else 0.0 for k in range(200)]  # noqa: E731
    assert cause(schedule(log_of(falling(), learning_rates=linearly(178)))) == Cause.SCHEDULE_OVER
    assert schedule(log_of(falling(), learning_rates=linearly(182))) is None
    assert schedule(log_of(falling(), learning_rates=[cosine(k, 200) for k in range(200)])) is None
    early = schedule(log_of(falling(), learning_rates=linearly(400), over=True))
    assert early is not None and not early.alarm and early.causes[0] == Cause.SCHEDULE_TOO_LONG
    assert schedule(log_of(falling(), learning_rates=linearly(400))) is None  # it may go on
    assert cause(schedule(log_of(falling(), learning_rates=0.0))) == Cause.SCHEDULE_OVER


def test_warm_up_only_where_the_settings_say_it() -> None:
    adam = {"optimizer": "AdamW · workbook", "learning_rates": 1e-3}
    with pytest.raises(UnknownError, match="whether Adam corrects its bias is not in the log"):
        warm_up(log_of(falling(), **adam))
    assert warm_up(log_of(falling(), bias_correction=True, **adam)) is None
    assert warm_up(log_of(falling(), bias_correction=False, warmup_steps=20, **adam)) is None
    assert not warm_up(log_of(falling(), bias_correction=False, warmup_steps=0, **adam)).alarm
    thrown = np.concatenate([[2.3, 3.0, 4.0], falling()])
    assert cause(warm_up(log_of(thrown, bias_correction=False, warmup_steps=0, **adam))) == Cause.NO_WARMUP
    assert warm_up(log_of(falling(), optimizer="SGD")) is None


# -- data --------------------------------------------------------------------------------------------------------------


def test_not_shuffled_on_either_side() -> None:
    places = np.tile(np.random.default_rng(1).normal(size=20), 10)
    of = lambda weight: log_of(  # noqa: E731
        np.exp(np.log(falling(200, scatter=0)) + noisy(weight * places, 0.1)), steps_per_epoch=20
    )
    assert cause(not_shuffled(of(0.3))) == Cause.NOT_SHUFFLED
    assert not_shuffled(of(0.0)) is None
    within = np.tile(np.linspace(0, 0.5, 20), 10)  # a slow rise within each epoch is no order of the batches
    assert not_shuffled(log_of(falling(200, 2.3, 1.0) + within, steps_per_epoch=20)) is None
    with pytest.raises(UnknownError, match="2 whole epochs; it takes 3"):
        not_shuffled(log_of(falling(50), steps_per_epoch=20))
    restarts = [1 + math.cos(math.pi * (k % 20) / 20) for k in range(200)]
    with pytest.raises(UnknownError, match="the learning rate moves within each epoch"):
        not_shuffled(log_of(falling(), learning_rates=restarts, steps_per_epoch=20))


def test_shuffled_data_raise_one_false_alarm_in_ten_thousand() -> None:
    found = [not_shuffled(log_of(falling(120, scatter=0.05, seed=seed), steps_per_epoch=12)) for seed in range(500)]
    assert sum(each is not None for each in found) <= 1


def test_an_odd_batch_on_either_side() -> None:
    def of(*losses: float, base: float = 0.3, **known):
        curve = base + noisy(np.zeros(80), 0.02)
        curve[50 : 50 + len(losses)] = losses
        return odd_batch(log_of(curve, classes=10, **known))

    found = of(4.5)
    assert cause(found) == Cause.BAD_BATCH and found.steps == (51, 51) and found.numbers["count"] == 1
    assert of(3.6) is None  # 1.43 times the loss of guessing above its neighbours
    assert of(4.5, 3.0) is None and of(4.5, 2.0, 1.0) is None  # it does not come back at once: a step was too large
    assert of(6.0, base=1.5) is None  # where little is learnt yet, batches differ
    assert odd_batch(log_of(noisy(np.full(80, 0.3), 0.5), classes=10)) is None
    with pytest.raises(UnknownError, match="log every step"):
        of(4.5, averaged=10)
    with pytest.raises(UnknownError, match="29 steps are too few; it takes 30"):
        odd_batch(log_of(falling(29), classes=10))


def judged(losses, accuracies=None, training=0.05, **known):
    losses = np.asarray(losses, dtype=float)
    steps = np.linspace(20, 200, len(losses))
    accuracies = np.full(len(losses), math.nan) if accuracies is None else np.asarray(accuracies, dtype=float)
    scores = {"validation_steps": steps, "validation_losses": losses, "accuracies": accuracies}
    return overfitting(log_of(falling(end=training), classes=10, **scores, **known))


def test_overfitting_on_either_side() -> None:
    falls, rises = np.linspace(1.5, 0.8, 5), np.linspace(0.85, 1.3, 5)
    both = np.concatenate([falls, rises])
    worse, same, better = (np.concatenate([np.linspace(0.5, 0.8, 5), np.full(5, 0.8) + d]) for d in (-0.3, 0, 0.03))
    assert judged(both, worse).confidence == "certain" and cause(judged(both, worse)) == Cause.OVERFITTING
    assert not judged(both - 0.2, same).alarm  # 0.67 to 0.99 is not doubled
    assert cause(judged(both - 0.6, same)) == Cause.OVERFITTING  # 0.27 to 0.59 is more than doubled
    assert not judged(both - 0.6, better).alarm
    assert not judged(both + 2.0, same).alarm  # 3.3 is 1.43 times it
    assert cause(judged(both + 2.4, same)) == Cause.OVERFITTING  # above 1.5 times
    assert not judged(both + 2.4, better).alarm
    assert not judged(both, better).alarm and judged(both, better).causes[0] == Cause.CONFIDENCE
    assert not judged(both - 0.2).alarm  # 0.65 to 1.0 is not doubled
    assert cause(judged(both - 0.6)) == Cause.OVERFITTING  # 0.3 to 0.6 is more than doubled
    assert judged(np.linspace(1.5, 0.8, 10), better) is None
    assert judged(both, worse, training=1.0) is None  # the training loss is up there, too
    apart = judged(np.concatenate([falls, np.full(5, 0.8)]), same, training=0.01)
    assert "stays far above" in apart.symptom and not apart.alarm
    with pytest.raises(UnknownError, match="4 validations are too few"):
        judged(falls[:4])
    with pytest.raises(UnknownError, match="no validation loss is in the log"):
        overfitting(log_of(falling()))


@pytest.mark.parametrize("finite", [1, 3, 12, 60, 110])
def test_a_run_most_of_whose_losses_are_not_finite_is_examined(finite: int) -> None:
    losses = np.concatenate([falling(finite), np.full(200, math.nan)])
    report = examine_log(log_of(losses, classes=10, batch_size=8, norms=1.0, learning_rates=0.1, not_finite=finite + 1))
    assert report.alarms[0].rule == "not_finite"
