"""What an answer does to its kernel ends with the call, and what a page has set before does not change a verdict."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stablelab.exercises import ALL, check, judge
from stablelab.exercises.grading import NOT_YET, RIGHT
from stablelab.training.reproducibility import one_step_at_a_time

STEP = ALL["descent.step"]


def state() -> dict[str, Any]:
    """All that an answer could leave behind, as something that can be compared."""
    return {
        "device": torch.get_default_device(),
        "where the next tensor goes": torch.zeros(1).device,
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state(legacy=False)),
        "random": random.getstate(),
        "torch prints": torch._tensor_str.get_printoptions(),
        "numpy prints": np.get_printoptions(),
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
        "folder": os.getcwd(),
    }


def upset(folder: Path) -> None:
    """Change everything that ``state`` looks at."""
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    torch.set_printoptions(precision=1, sci_mode=True)
    np.set_printoptions(precision=1)
    np.seterr(all="raise")
    warnings.simplefilter("error")
    os.chdir(folder)


@contextmanager
def put_back() -> Iterator[None]:
    """By hand, one by one, as a test of the judge must not trust what it tests."""
    folder, threads, prints, numpy_prints = os.getcwd(), torch.get_num_threads(), state()["torch prints"], np.geterr()
    with warnings.catch_warnings(), np.printoptions():
        try:
            yield
        finally:
            torch.set_default_device(None)
            torch.set_default_dtype(torch.float32)
            torch.set_grad_enabled(True)
            torch.use_deterministic_algorithms(False)
            torch.set_num_threads(threads)
            torch.set_printoptions(**prints)
            np.seterr(**numpy_prints)
            os.chdir(folder)


def test_the_test_sees_every_change(tmp_path: Path) -> None:
    with put_back():
        before = state()
        upset(tmp_path)
        assert [name for name, value in state().items() if value == before[name]] == []


def test_an_answer_leaves_no_trace(tmp_path: Path) -> None:
    def right(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        result = theta - learning_rate * g
        upset(tmp_path)
        return result

    def raising(*_: object) -> None:
        upset(tmp_path)
        raise ValueError

    def endless(*_: object) -> None:
        upset(tmp_path)
        while True:
            pass

    def wrong(*_: object) -> Tensor:
        upset(tmp_path)
        return torch.zeros(1)

    with put_back():
        before = state()
        assert judge(STEP, right).status == RIGHT
        for answer in (wrong, raising, endless):
            assert judge(STEP, answer, time_limit=0.2).status == NOT_YET
        after = state()
        assert {name: value for name, value in after.items() if value != before[name]} == {}
        torch.set_default_device("meta")  # the page can still set and unset one
        torch.set_default_device(None)
        assert torch.zeros(1).device.type == "cpu"


@pytest.mark.slow
def test_what_an_answer_leaves_behind_spoils_no_other(tmp_path: Path) -> None:
    with put_back():
        for exercise in ALL.values():

            def answer(*arguments: Any, solution: Callable = exercise.solution) -> Any:
                result = solution(*arguments)
                upset(tmp_path)
                return result

            assert judge(exercise, answer).status == RIGHT, exercise.name


@pytest.mark.slow
def test_what_the_page_has_set_is_kept_and_changes_no_verdict(tmp_path: Path) -> None:
    with put_back():
        upset(tmp_path)
        before = {**state(), "where the next tensor goes": "meta"}
        for exercise in ALL.values():
            assert judge(exercise, exercise.solution).status == RIGHT, exercise.name
            for number, slip in enumerate(exercise.slips):
                assert judge(exercise, slip.answer).slip == number, exercise.name
        assert {**state(), "where the next tensor goes": "meta"} == before
        assert torch.zeros(1).device.type == "meta"
        torch.set_default_device(None)
        assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_device_that_the_page_is_inside_of_is_kept(device: str) -> None:
    def answer(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        result = theta - learning_rate * g + torch.zeros(1)
        torch.set_default_device("meta")
        return result

    with torch.device(device):
        assert judge(STEP, answer).status == RIGHT
        assert torch.zeros(1).device.type == device
    assert torch.zeros(1).device.type == "cpu"


def test_gradients_are_recorded_even_where_the_page_does_not() -> None:
    def by_autograd(z: Tensor, g: Tensor) -> Tensor:
        z.requires_grad_()
        torch.softmax(z, 0).backward(g)
        return z.grad

    for off in (torch.no_grad(), torch.inference_mode()):
        with off:
            assert judge(ALL["attention.softmax_gradient"], by_autograd).status == RIGHT
            assert not torch.is_grad_enabled()


def test_no_run_in_the_background_takes_a_step_while_an_answer_is_called() -> None:
    """Dropout draws from the generator of the whole process, which the answer may seed."""
    begun: list[bool] = []

    def answer(theta: Tensor, g: Tensor, learning_rate: float) -> Tensor:
        thread = threading.Thread(target=lambda: begun.append(one_step_at_a_time.acquire(blocking=False)))
        thread.start()
        thread.join()
        return theta - learning_rate * g

    assert judge(STEP, answer).status == RIGHT
    assert begun == [False] * len(STEP.cases)


def test_a_folder_that_is_gone_is_survived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone, folder = tmp_path / "gone", os.getcwd()
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        check(STEP.name, STEP.solution)
    finally:
        os.chdir(folder)
    assert capsys.readouterr().out.startswith("right")


def test_away_from_the_main_thread_no_trace_is_left_either(tmp_path: Path) -> None:
    found: list[object] = []

    def judged() -> None:
        before = state()
        found.append(judge(STEP, lambda theta, g, learning_rate: (upset(tmp_path), theta)[1]).status)
        found.append({name: value for name, value in state().items() if value != before[name]})

    with put_back():
        thread = threading.Thread(target=judged)
        thread.start()
        thread.join(60)
    assert found == [NOT_YET, {}]


@pytest.mark.slow
def test_exercises_opened_on_a_page_that_works_elsewhere_are_the_same() -> None:
    """The inputs are made on import, which the front desk puts off until the first check."""
    code = """
import torch
torch.set_default_device("meta")
torch.set_default_dtype(torch.float16)
import stablelab as lab
lab.check("descent.floor", lambda rate, curve, variance, n: rate * variance / n / (curve * (2 - rate * curve)))
lab.check("ensembles.vote", lambda logits: torch.mode(logits.argmax(-1), 0).values)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("right · ") == 2, done.stdout
