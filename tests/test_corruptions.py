"""The front desk's way from a model and a task to its robustness."""

from __future__ import annotations

import pytest
import torch

import stablelab as lab


@pytest.fixture(scope="module")
def task() -> lab.data.Task:
    return lab.digits(train=20, validation=20, test=20, size=16)


def test_a_model_is_measured_under_the_corruptions_that_are_named(task: lab.data.Task) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 10))
    found = lab.robustness(model, task, ("noise", "crop"), (2, 5), seed=1, name="linear")
    assert found.corrupted.shape == (1, 2, 2, 20) and str(found).startswith("linear: clean error ")
    answers = lab.diagnose(model, lab.corrupted(task.validation, "crop", 5, seed=1))
    assert found.errors[1, 1] == pytest.approx(1 - answers.accuracy)
    assert lab.robustness(model, task.test, severities=(4,)).corruptions == lab.data.corruptions_of(task)
    with pytest.raises(ValueError, match="there is no corruption 'fog' here; there are noise"):
        lab.robustness(model, task, ("fog",))


def test_an_example_is_shown_under_each(task: lab.data.Task, capsys: pytest.CaptureFixture[str]) -> None:
    lab.show_corruptions(task, 1, ("noise", "blur"), (1, 5))
    assert capsys.readouterr().out == "one example under noise, blur, each at severity 1, 5, beside it as it is\n"
    with pytest.raises(ValueError, match=r"^i is 20; the examples are 0 to 19$"):
        lab.show_corruptions(task, 20)
