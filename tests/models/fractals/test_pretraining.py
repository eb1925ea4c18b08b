from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stablelab import data, models
from stablelab.models.fractals import __main__ as command
from stablelab.models.fractals import evaluation
from stablelab.models.fractals.__main__ import main, pretrain
from stablelab.models.fractals.training import COOL_DOWN, Pretraining, Recipe, write_checkpoint
from stablelab.models.fractals.weights import load_body

TINY = Recipe(classes=3, variations=8, size=16, epochs=2, batch_size=12, precision="float32")
OPTIONS = [
    "--classes=3", "--variations=8", "--size=16", "--epochs=2", "--batch-size=12", "--precision=float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(TINY, tmp_path_factory.mktemp("undisturbed") / "a.safetensors")


def stopped(folder: Path, steps: int, recipe: Recipe = TINY) -> Path:
    """Where a run would write its weights that was stopped after so many steps, with a checkpoint after each."""
    out = folder / "a.safetensors"
    pretraining = Pretraining(recipe)
    for _ in range(steps):
        pretraining.train_step()
        write_checkpoint(folder / "a.safetensors.checkpoint", pretraining.state_dict())
    return out


@pytest.mark.slow
def test_the_weights_are_the_body_of_a_resnet_in_half_precision(undisturbed: Path) -> None:
    body = load_file(undisturbed)
    assert {value.dtype for value in body.values()} == {torch.float16, torch.int64}
    assert undisturbed.stat().st_size < 25e6 and list(undisturbed.parent.iterdir()) == [undisturbed]
    model = load_body(models.resnet(10, weights="random"), undisturbed)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.conv1.weight.half(), body["conv1.weight"])
    assert torch.equal(model.fc.weight, models.resnet(10, weights="random").fc.weight)


@pytest.mark.slow
def test_a_killed_process_ends_with_the_weights_of_an_undisturbed_one(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, checkpoint = tmp_path / "a.safetensors", tmp_path / "a.safetensors.checkpoint"
    command = [sys.executable, "-m", "stablelab.models.fractals", *OPTIONS, "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([*command, "--checkpoint-every", "0"], env=environment, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL and checkpoint.exists() and not out.exists()
    assert main([*OPTIONS, "--out", str(out)]) == 0
    assert "going on from step" in capsys.readouterr().out
    assert out.read_bytes() == undisturbed.read_bytes()
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_a_terminal_gets_a_progress_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    pretrain(replace(TINY, epochs=1), tmp_path / "a.safetensors")
    lines = capsys.readouterr().out.splitlines()  # a carriage return ends a line, too
    for start in ("██████████░░░░░░░░░░ step 1 of 2 · loss ", "████████████████████ step 2 of 2 · loss "):
        assert any(line.startswith(start) for line in lines)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_said_and_the_older_one_used(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = stopped(tmp_path, 2)
    checkpoint = tmp_path / "a.safetensors.checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    assert main([*OPTIONS, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"the checkpoint {checkpoint} is damaged; it is not used"
    assert said[1] == "going on from step 1"
    assert said[2] == "resnet18 · 3 formulas × 8 variations · 4 steps on cpu"
    assert said[3].startswith("step 2 of 4 · loss ") and said[-1] == f"wrote {out} (22.4 MB)"
    assert out.read_bytes() == undisturbed.read_bytes()


@pytest.mark.slow
def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = stopped(tmp_path, 1, replace(TINY, seed=5, learning_rate=0.1))
    assert main([*OPTIONS, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "was made with learning_rate 0.1, seed 5; use the same, another --out, or --no-resume" in said


def test_the_number_of_epochs_may_change_before_the_learning_rate_falls() -> None:
    long, short = replace(TINY, epochs=500), replace(TINY, epochs=250)
    turn = round((1 - COOL_DOWN) * short.steps)
    assert [long.learning_rate_at(k) for k in range(turn)] == [short.learning_rate_at(k) for k in range(turn)]
    assert short.differences(vars(long), turn) == long.differences(vars(short), turn) == ""
    assert short.differences(vars(long), turn + 1) == "epochs 500"
    assert 0 < short.learning_rate_at(short.steps - 1) < 0.01 * short.learning_rate


@pytest.mark.slow
def test_a_disk_that_is_full_does_not_stop_the_training(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "write_checkpoint", full)
    out = pretrain(TINY, tmp_path / "a.safetensors", seconds=0)
    assert "no checkpoint could be written ([Errno 28] No space left on device); training goes on" in (
        capsys.readouterr().out
    )
    assert out.read_bytes() == undisturbed.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "1"], "error: classes is 1; it must be a whole number, 2 or more\n"),
        (["--size", "8"], "error: size is 8; it must be a whole number, 16 or more\n"),
        (["--learning-rate", "-1"], "error: learning_rate is -1.0; it must be above 0\n"),
        (["--batch-size", "25"], "error: batch_size is 25, but there are only 24 pictures\n"),
        (["--out", "no/such/folder/a"], "error: there is no folder no/such/folder\n"),
        (["--device", "abacus"], "error: there is no device 'abacus' here; use cpu"),
        (["--evaluate", "nothing.safetensors"], "error: there is no file nothing.safetensors\n"),
    ],
)
def test_bad_input_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OPTIONS, *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(message) and said.count("\n") == 1


@pytest.mark.slow
def test_a_batch_is_a_pure_function_of_its_number() -> None:
    one, other = Pretraining(TINY), Pretraining(TINY)
    one.batch(0), one.batch(3)
    (inputs, targets), (again, same) = one.batch(2), other.batch(2)
    assert torch.equal(inputs, again) and torch.equal(targets, same)
    assert inputs.shape == (12, 3, 16, 16) and inputs.min() > -2.2 and inputs.max() < 2.7  # as the workbook's tasks
    epoch = torch.cat([one.batch(k)[1] for k in range(TINY.per_epoch)])
    assert epoch.bincount().tolist() == [8, 8, 8]
    assert not torch.equal(one.batch(0)[0], one.batch(2)[0])


@pytest.mark.slow
def test_it_learns_in_mixed_precision() -> None:
    pretraining = Pretraining(replace(TINY, precision="bfloat16", batch_size=24, epochs=20))
    losses = [pretraining.train_step()[0] for _ in range(9)]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.slow
def test_the_bundled_weights_see_more_in_digits_than_random_ones() -> None:
    task = data.digits(train=200, validation=10, test=300)
    random = evaluation.probed(models.resnet(task, weights="random"), task)
    fractal = evaluation.probed(models.resnet(task, weights="fractals"), task)
    assert fractal > random + 6


@pytest.mark.slow
def test_evaluating_says_the_table(
    undisturbed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "VALIDATION", 20)
    monkeypatch.setattr(evaluation, "TRIALS", 2)
    found = evaluation.evaluate(undisturbed, seeds=2, steps=1, size=16, test=50, learning_rates=(1e-4,))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "accuracy in % on 50 digits, 200 others labelled, mean ± standard deviation over 2 seeds"
    assert said[1].startswith("random weights  · linear probe on frozen features: ")
    assert [line.split(":")[0] for line in said[4:]] == [
        "fractal weights · linear probe on frozen features",
        "fractal weights · 1 steps at 0.0001, validation over 2 seeds",
        "fractal weights · 1 steps at 0.0001, test over 2 seeds",
    ]
    assert found["random weights"].probed.shape == found["fractal weights"].tuned.shape == (2,)


def test_the_learning_rate_is_chosen_on_the_validation_split(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = {1e-3: (90.0, 50.0), 1e-4: (80.0, 99.0)}  # validation, test
    monkeypatch.setattr(evaluation, "probed", lambda model, task: 40.0)
    monkeypatch.setattr(evaluation, "fine_tuned", lambda model, task, seed, steps, rate: outcomes[rate])
    found = evaluation.score("any", lambda seed: torch.nn.Identity(), [data.digits(10, 10, 10)] * 4, 1, (1e-4, 1e-3))
    assert found.learning_rate == 1e-3 and found.tuned.tolist() == [50] * 4
    with pytest.raises(ValueError, match=r"^seeds is 2; it must be at least 3, over which the learning rate is chosen"):
        evaluation.evaluate(seeds=2)
