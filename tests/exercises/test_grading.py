"""The judge accepts every way of writing the right thing, survives everything else, and says what is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stablelab.exercises import Case, Exercise, Slip, judge
from stablelab.exercises.grading import NOT_ATTEMPTED, NOT_YET, RIGHT, Verdict

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
    message = judge(STEP, lambda t, g, a: t.add(g, alpha=a)).message
    assert message == (
        "expected [0.95, -2.025], got [1.05, -1.975] (tried: two weights). Likely slip: subtract the gradient"
    )


def test_a_slip_that_gives_nan_is_recognized_too() -> None:
    verdict = judge(STEP, lambda theta, g, learning_rate: theta / 0 * 0)
    assert verdict.slip == 1
    assert "there is nan in it" in verdict.message


def test_an_unknown_mistake_is_shown_without_a_guess() -> None:
    verdict = judge(STEP, lambda theta, g, learning_rate: theta)
    assert verdict == Verdict(NOT_YET, "expected [0.95, -2.025], got [1, -2] (tried: two weights)")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: None, "is a return missing?"),
        (lambda t, g, a: (t - a * g).sum(), r"expected shape (2,), got shape ()"),
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
        (lambda *_: 10**400, "got a int"),
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


@pytest.mark.parametrize("answer", [forever, forever_swallowing, lambda *_: time.sleep(60)])
def test_an_answer_that_never_ends_is_ended(answer: Callable) -> None:
    began = time.monotonic()
    verdict = judge(STEP, answer, time_limit=0.1)
    assert "it did not come back within 0.1 seconds" in verdict.message
    assert time.monotonic() - began < 20


def test_away_from_the_main_thread_it_is_ended_too() -> None:
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(STEP, forever, time_limit=0.1)), daemon=True)
    thread.start()
    thread.join(20)
    assert "it did not come back" in verdicts[0].message


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
