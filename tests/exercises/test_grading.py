"""The judge accepts every way of writing the right thing, survives everything else, and says what is wrong."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from support.helpers import until
from torch import Tensor

from stablelab.exercises import ALL, Case, Exercise, Slip, check, grading, judge
from stablelab.exercises.comparison import Tolerance, difference, literal
from stablelab.exercises.grading import NOT_ATTEMPTED, NOT_YET, RIGHT, Verdict
from stablelab.training.background import BackgroundThread

STEP = Exercise(
    name="test.step",
    returns="the weights after one step",
    solution=lambda theta, g, learning_rate: theta - learning_rate * g,
    cases=(
        Case("two weights", (torch.tensor([1.0, -2.0]), torch.tensor([0.5, 0.25]), 0.1)),
        Case("a matrix", (torch.ones(2, 2), torch.eye(2), 0.5)),
    ),
    slips=(
        Slip("subtract the gradient", lambda theta, g, learning_rate: theta + learning_rate * g),
        Slip("overflow", lambda theta, g, learning_rate: theta * float("nan")),
    ),
    hints=("downhill", "minus"),
)
STEP_NAME = "descent.step"
PAIR = Exercise(
    name="test.pair",
    returns="a mean and whether it is positive",
    solution=lambda x: (x.mean(), bool(x.mean() > 0)),
    cases=(Case("up", (torch.tensor([1.0, 2.0]),)), Case("down", (torch.tensor([-1.0, -2.0]),))),
    slips=(),
    hints=("two",),
)


def in_place(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
    theta -= learning_rate * g
    return theta


def in_single_precision(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
    return theta.float() - learning_rate * g.float()


def with_numpy(a: Tensor, b: Tensor, c: float) -> np.ndarray:
    return a.numpy() - c * b.numpy()


def as_lists(a: Tensor, b: Tensor, c: float) -> list:
    return (a - c * b).tolist()


def with_a_gradient(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
    return theta.requires_grad_() - learning_rate * g


@pytest.mark.parametrize("answer", [in_place, in_single_precision, with_numpy, as_lists, with_a_gradient])
def test_however_it_is_written_right_is_right(answer: Callable) -> None:
    verdict = judge(STEP, answer)
    assert verdict.status == RIGHT
    assert "two weights; a matrix" in verdict.message


@pytest.mark.parametrize("stub", [..., lambda *_: ..., lambda *_: (..., ...), lambda *_: [...]])
def test_a_stub_is_not_an_attempt_and_gets_no_hint(stub: object) -> None:
    assert judge(STEP, stub) == Verdict(NOT_ATTEMPTED, "return the weights after one step")


@pytest.mark.parametrize("answer", [lambda *_: (), lambda theta, *_: (theta, ...), lambda *_: "..."])
def test_what_is_begun_is_an_attempt(answer: Callable) -> None:
    assert judge(STEP, answer).status == NOT_YET


def test_a_known_slip_is_named_with_the_input_and_both_results() -> None:
    def my_step(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        return theta.add(g, alpha=learning_rate)

    assert judge(STEP, my_step).message == (
        "my_step(tensor([1., -2.]), tensor([0.5, 0.25]), 0.1): expected [0.95, -2.025], got [1.05, -1.975] "
        "(tried: two weights). Likely slip: subtract the gradient"
    )


def test_a_slip_that_gives_nan_is_recognized_too() -> None:
    verdict = judge(STEP, lambda theta, g, learning_rate: theta / 0 * 0)
    assert verdict.slip == 1
    assert "there is nan in it" in verdict.message


def test_an_unknown_mistake_is_shown_without_a_guess() -> None:
    def nothing(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        return theta

    call = "nothing(tensor([1., -2.]), tensor([0.5, 0.25]), 0.1)"
    verdict = Verdict(NOT_YET, f"{call}: expected [0.95, -2.025], got [1, -2] (tried: two weights)")
    assert judge(STEP, nothing) == verdict


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: None, "is a return missing?"),
        (lambda t, g, a: (t - a * g).sum(), "expected a tensor of shape (2,), got one number"),
        (lambda *_: "0.95", "got the text '0.95'"),
        (lambda *_: {}, "got a dict"),
        (lambda t, g, a: t / 0 * 0, "nan"),
        (lambda t: t, "it raised TypeError"),
        (lambda *_: exit(), "it raised SystemExit"),
        (lambda *_: torch.zeros(2, dtype=torch.complex64), "got a Tensor"),
        (torch.tensor([0.95, -2.05]), "without brackets"),
    ],
)
def test_what_cannot_be_right_is_said_in_a_line(answer: object, says: str) -> None:
    verdict = judge(STEP, answer)
    assert verdict.status == NOT_YET
    assert says in verdict.message
    assert "\n" not in verdict.message


def test_a_wrong_result_is_shown_before_an_error_of_a_later_call() -> None:
    def fails_on_matrices(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        if theta.dim() > 1:
            raise ValueError("no matrix")
        return theta

    message = judge(STEP, fails_on_matrices).message
    assert "expected [0.95, -2.025], got [1, -2] (tried: two weights)" in message
    assert "Likely slip" not in message


def test_several_results_are_compared_one_by_one() -> None:
    assert judge(PAIR, lambda x: [x.mean(), x.mean() > 0]).status == RIGHT
    assert judge(PAIR, lambda x: (x.mean(), np.bool_(x.mean() > 0))).status == RIGHT
    assert "expected 2 results, as a tuple" in judge(PAIR, lambda x: x.mean()).message
    assert "expected 2 results, got 3" in judge(PAIR, lambda x: (x.mean(), True, 1)).message
    assert "result 2 of 2: expected False, got True" in judge(PAIR, lambda x: (x.mean(), True)).message
    assert "result 2 of 2: expected True, got 1" in judge(PAIR, lambda x: (x.mean(), 1)).message


def test_the_place_of_the_largest_error_is_named_where_there_are_many_numbers() -> None:
    many = Exercise("test.many", "zeros", lambda x: 0 * x, (Case("ten", (torch.ones(2, 5),)),), (), ("zero",))

    def almost(x: Tensor) -> Tensor:
        x = 0 * x
        x[1, 3] = 2
        return x

    assert "at [1, 3] expected 0, got 2" in judge(many, almost).message


DOUBLE = Tolerance(1e-6)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (0.25, Fraction(1, 4)),
        (torch.tensor([0.25, 0.5]), [Fraction(1, 4), Fraction(1, 2)]),
        (torch.tensor([0.25, 0.5]), np.array([Fraction(1, 4), Fraction(1, 2)])),
        (0.25, Decimal("0.25")),
        (torch.eye(2), [torch.tensor([1.0, 0.0]), torch.tensor([0, 1])]),
        (torch.eye(2), ([1, 0], [0, np.float32(1)])),
        (2, np.longdouble(2)),
        (torch.tensor([2.0]), range(2, 3)),
        ((1.0, 2.0), torch.tensor([1.0, 2.0])),
        ((1.0, 2.0), np.array([1, 2])),
        ((torch.zeros(2), torch.ones(2)), torch.tensor([[0, 0], [1, 1]])),
        (torch.tensor([True, False]), np.array([True, False])),
    ],
)
def test_a_result_counts_by_its_values(expected: object, got: object) -> None:
    assert difference(expected, got, DOUBLE) is None


@pytest.mark.parametrize(
    ("expected", "got", "says"),
    [
        (torch.tensor([True, False]), torch.tensor([1.0, 0.0]), "expected True and False, of type bool, got numbers"),
        (torch.tensor([True, False]), np.array([1, 0]), "of type bool, got numbers of type int64"),
        (torch.tensor([[True]]), torch.tensor([[False]]), "expected [[True]], got [[False]]"),
        (1.0, True, "expected numbers, got True and False"),
        (1.0, torch.ones(1), "expected one number, got a tensor of shape (1,)"),
        (5.0, 5.0001, "expected 5, got 5.0001"),
        (torch.tensor([5.0, 1.0]).double(), [5.0, 1.00004], "expected [5, 1], got [5, 1.00004]"),
        (torch.arange(12.0) + 1e4, torch.arange(12.0) + 1e4 + (torch.arange(12.0) == 3) * 2, "10003, got 10005"),
        ((1.0, 2.0, 3.0), torch.ones(3, 2), "expected 3 results, as a tuple; got a Tensor"),
        ((torch.ones(3), torch.ones(3), torch.ones(3)), torch.ones(3), "expected 3 results, as a tuple; got a Tensor"),
        ((1.0, 2.0), iter([1.0, 2.0]), "expected 2 results, as a tuple; got a list_iterator"),
        (torch.ones(2), [torch.ones(1), torch.ones(2)], "got a list"),
    ],
)
def test_a_result_that_differs_is_described(expected: object, got: object, says: str) -> None:
    assert says in (difference(expected, got, DOUBLE) or "")


def test_an_expected_0_is_met_up_to_the_rounding_of_what_it_is_made_of() -> None:
    cases = (Case("three equal numbers", (torch.tensor([0.2, 0.2, 0.2]),)), Case("one", (torch.tensor([3000.0]),)))
    spread = Exercise("test.spread", "what the mean lacks to the smallest", lambda x: x.mean() - x.min(), cases, (), ())
    for right in (
        lambda x: sum(x.tolist()) / len(x) - x.min(),
        lambda x: x.float().mean() - 1.0000001 * x.float().min(),
    ):
        assert judge(spread, right).status == RIGHT
    for wrong in (lambda x: 1e-8, lambda x: torch.tensor(1e-5, dtype=torch.float32)):
        assert judge(spread, wrong).status == NOT_YET


def test_a_tensor_made_inside_has_the_precision_of_the_arguments() -> None:
    def filled_in(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        new = torch.zeros(theta.shape)
        new[:] = theta - learning_rate * g
        new[theta > 100] = theta[theta > 100]  # raises where the two are of different precision
        return new

    assert judge(STEP, filled_in).status == RIGHT


def test_numbers_of_two_precisions_are_no_mistake_and_other_errors_are_not_tried_twice() -> None:
    calls: list[torch.dtype] = []

    def as_on_the_page(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        calls.append(theta.dtype)
        return theta.flatten() @ torch.eye(theta.numel(), dtype=torch.float32) - learning_rate * g.flatten()

    vector = Exercise(STEP.name, STEP.returns, STEP.solution, STEP.cases[:1], STEP.slips, STEP.hints)
    assert judge(vector, as_on_the_page).status == RIGHT
    assert calls == [torch.float64, torch.float32]
    assert (
        judge(vector, lambda *arguments: 2 * as_on_the_page(*arguments)).message.count("expected [0.95, -2.025]") == 1
    )
    calls.clear()
    assert "ZeroDivisionError" in judge(STEP, lambda theta, *_: calls.append(theta.dtype) or 1 / 0).message
    assert calls == [torch.float64]


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (torch.tensor([1.0, -2.0]), "tensor([1., -2.])"),
        (torch.tensor([[0.1], [1e-8]]), "tensor([[0.1], [1e-08]])"),
        (torch.tensor([3, 4]), "tensor([3, 4])"),
        (torch.tensor(True), "tensor(True)"),
        (torch.zeros(5, 5), "…"),
        (print, "…"),
        ([0.5, (1,)], "[0.5, (1,)]"),
        ({"k": torch.ones(1)}, "{'k': tensor([1.])}"),
    ],
)
def test_an_argument_is_shown_as_it_would_be_typed(value: object, typed: str) -> None:
    assert literal(value) == typed


@pytest.mark.slow
def test_the_longest_arguments_of_a_long_call_are_left_out() -> None:
    message = judge(ALL["attention.mask_tokens"], lambda *_: None).message
    assert re.match(r"your_answer\(tensor\(\[\[1, 20, .*, …, …, .*, 3\): it returned nothing", message)
    assert all(len(judge(exercise, lambda *_: None).message) < 400 for exercise in ALL.values())


def forever(*_: object) -> None:
    while True:
        pass


def forever_swallowing(*_: object) -> None:
    while True:
        try:  # noqa: SIM105  (as a learner would write it)
            time.sleep(0.001)
        except BaseException:
            pass


class HostileError(Exception):
    """Every way of looking at it raises."""

    def _refuse(self, *_: object) -> str:
        raise RuntimeError("not even this")

    __str__ = __repr__ = __len__ = __iter__ = __getitem__ = __float__ = __eq__ = __bool__ = __getattr__ = _refuse
    __hash__ = None


class Nameless:
    """Called like a function, and nothing can be asked of it."""

    @property
    def __class__(self) -> type:
        raise RuntimeError("not even this")

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)

    def __call__(self, *_: object) -> object:
        return self


class EndlessError(Exception):
    def __str__(self) -> str:
        forever()
        return ""


def raises(error: BaseException | type[BaseException]) -> Callable:
    def answer(*_: object) -> None:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (raises(HostileError), "it raised HostileError: no message"),
        (raises(EndlessError), "it raised EndlessError: no message"),
        (raises(ValueError("one\ntwo")), "it raised ValueError: one (tried"),
        (raises(ValueError("x" * 1000)), "x…"),
        (lambda *_: HostileError(), "got a HostileError"),
        (lambda *_: 10**400, "got an int"),
        (lambda *_: torch.zeros(2, device="meta"), "got a Tensor"),
    ],
)
def test_what_raises_when_it_is_looked_at_is_survived(answer: object, says: str) -> None:
    verdict = judge(STEP, answer, time_limit=0.3)
    assert verdict.status == NOT_YET
    assert says in verdict.message
    assert len(verdict.message) < 300


def test_an_answer_that_raises_when_it_is_looked_at_is_survived() -> None:
    assert "without brackets" in judge(STEP, HostileError()).message
    assert "your_answer(tensor([1., -2.]), tensor([0.5, 0.25]), 0.1): expected" in judge(STEP, Nameless()).message


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarms")
@pytest.mark.slow
def test_an_alarm_of_the_caller_goes_on() -> None:
    rung: list[int] = []
    before, others = signal.signal(signal.SIGALRM, lambda *_: rung.append(1)), signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        judge(STEP, forever, time_limit=0.1)
        until(lambda: rung, seconds=10)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *others)


@pytest.mark.parametrize("answer", [forever, forever_swallowing, lambda *_: time.sleep(60)])
def test_an_answer_that_never_ends_is_ended(answer: Callable) -> None:
    began = time.monotonic()
    verdict = judge(STEP, answer, time_limit=0.1)
    assert "it did not come back within 0.1 seconds" in verdict.message
    assert time.monotonic() - began < 20


def test_a_run_that_waits_for_an_answer_waits_a_shorter_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "BESIDE_A_RUN", 0.1)
    over = threading.Event()
    run = BackgroundThread(over.wait, "stablelab run").start()
    try:
        assert "within 0.1 seconds" in judge(STEP, forever).message
    finally:
        over.set()
        run.join()


def test_away_from_the_main_thread_it_is_ended_too() -> None:
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(STEP, forever, time_limit=0.1)), daemon=True)
    thread.start()
    thread.join(20)
    assert "it did not come back" in verdicts[0].message


def test_check_never_raises(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for answer in (Nameless(), HostileError(), raises(HostileError), lambda *_: HostileError, iter, type, print):
        check(STEP_NAME, answer)
    monkeypatch.setattr("stablelab.exercises.notebook.judge", lambda *_: 1 / 0)  # a fault of the judge's own
    check(STEP_NAME, forever)
    assert capsys.readouterr().out.count("not yet · ") == 8


def test_the_stop_button_still_stops() -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(STEP, stopped)


def test_no_answer_sees_what_another_did_to_its_input() -> None:
    case = Case("list", ([torch.ones(2)], {"k": torch.ones(1)}))
    exercise = Exercise("test.copies", "a sum", lambda a, d: a[0].sum() + d["k"].sum(), (case, case), (), ("add",))

    def spoils(a: list[Tensor], d: dict[str, Tensor]) -> Tensor:
        result = a[0].sum() + d["k"].sum()
        a[0].zero_()
        d["k"].zero_()
        return result

    assert judge(exercise, spoils).status == RIGHT
