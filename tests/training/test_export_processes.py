"""An exported run under `accelerate launch`: two processes share each batch and come to the numbers of one."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch
import transformers
from support.helpers import until
from support.launches import TWO, furthest, launched, words_of
from support.token_ids import TokenIds

import stablelab as lab
from stablelab.data.tasks import SPLITS, make_task
from stablelab.training import Run, Settings, export

LAYERS = (("3",), ("1", "0"))
BUILD = "model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.LayerNorm(16), torch.nn.ReLU(), " + (
    "torch.nn.Linear(16, 3))"
)
SLOW = "import time\n\n\nclass Slow(torch.nn.Linear):\n    def forward(self, x):\n        time.sleep(0.05)\n" + (
    "        return super().forward(x)\n\n\nmodel = Slow(4, 3)"
)
LOST = (
    r"process (\d) of 2 ends: (?:another process has ended, or does not answer|it was told to, as when another one has "
    + (r"ended)\. Started again, training (goes on from checkpoint\.pt|begins anew)")
)


@pytest.fixture
def small_run(clouds):
    def make(build: str = BUILD, **settings: object) -> Run:
        names = {"torch": torch}
        with torch.random.fork_rng():
            torch.manual_seed(4)
            exec(build, names)
        batch_size, steps = int(settings.pop("batch_size", 30)), int(settings.pop("steps", 20))
        layers = LAYERS if build == BUILD else None
        return Run(
            names["model"], clouds, settings=Settings(**settings), steps=steps, batch_size=batch_size, layers=layers
        )

    return make


@pytest.mark.slow
def test_two_processes_come_to_the_numbers_of_one_for_a_bert(tmp_path):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 90, (60, 12), generator=generator)
    ids[torch.arange(12) >= torch.randint(4, 13, (60, 1), generator=generator)] = 0
    stores = dict(zip(SPLITS, map(TokenIds, (ids[:40], ids[40:50], ids[50:])), strict=True))
    task = make_task(
        "text", "text", ("no", "yes"), stores, {name: torch.arange(len(s)) % 2 for name, s in stores.items()}
    )
    config = transformers.BertConfig(
        vocab_size=90,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    run = lab.fine_tune(
        model, task, steps=12, batch_size=7, learning_rate=1e-3, schedule="cosine", max_norm=0.5, device="cpu"
    )
    run.start().wait(60)
    lab.export(run, tmp_path / "plain")
    words_of(tmp_path / "plain", *TWO)
    assert max(furthest(run, tmp_path / "plain")) < 1e-6


@pytest.mark.slow
def test_shares_of_another_size_micro_batches_and_layers_that_stand_still(small_run, tmp_path):
    settings = {"optimizer": "momentum", "accumulation": 7, "unfrozen": 1, "unfreeze_every": 6, "learning_rate": 0.02}
    run = small_run(batch_size=21, steps=24, **settings)  # of 200: the last batch has 11, micro-batches 3, 3, 3 and 2
    run.step(14)
    until(lambda: run.state == "paused" and len(run.history) >= 14)
    run.control.change(accumulation=21)  # of one example each: nothing is left for the second process
    run.resume()
    run.wait(60)
    export(run, tmp_path / "plain", BUILD)
    words_of(tmp_path / "plain", *TWO)
    assert max(furthest(run, tmp_path / "plain")) < 1e-6


def edited(script: Path, **constants: int) -> None:
    """The script with other constants at its top."""
    text = script.read_text()
    for name, value in constants.items():
        text, found = re.subn(rf"^{name} = \d+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    script.write_text(text)


def process_of_rank(rank: int, launcher: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(launcher.pid).children(recursive=True)
    return next(each for each in children if each.environ().get("RANK") == str(rank))


def wait_for(words: str, launcher: subprocess.Popen[str]) -> None:
    for line in launcher.stdout:
        if words in line:
            return
    raise AssertionError(launcher.stderr.read())


@pytest.mark.slow
def test_where_one_process_is_killed_the_other_says_so_and_started_again_they_go_on(small_run, tmp_path):
    run = small_run(SLOW, steps=60, learning_rate=0.01).start().wait(60)
    script = Path(export(run, tmp_path / "plain", SLOW))
    edited(script, CHECKPOINT_EVERY=0)
    for killed in (1, 0):
        with launched(script.parent, *TWO) as process:
            wait_for("step   15" if killed else "step   30", process)
            process_of_rank(killed, process).send_signal(signal.SIGKILL)
            began = time.monotonic()
            _, error = process.communicate(timeout=60)
        assert time.monotonic() - began < 20  # the launcher too
        assert re.findall(LOST, error) == [(str(1 - killed), "goes on from checkpoint.pt")]
        assert process.returncode != 0 and "Traceback" not in error.split(" ends: ")[0]
    done = torch.load(script.parent / "checkpoint.pt", weights_only=True)["step"]
    assert 29 <= done < 60
    out = words_of(script.parent, *TWO)
    assert out.startswith(f"going on after step {done}, from checkpoint.pt\nstep {done + 1:4d} ")
    assert max(furthest(run, script.parent)) < 1e-6
    assert not (script.parent / "checkpoint.pt").exists()


@pytest.mark.slow
def test_where_one_process_hangs_the_other_ends_when_its_patience_does(small_run, tmp_path):
    script = Path(export(small_run(SLOW, steps=60).start().wait(60), tmp_path / "plain", SLOW))
    edited(script, PATIENCE=5)
    with launched(script.parent, *TWO) as process:
        wait_for("step   15", process)
        hanging = process_of_rank(1, process)
        hanging.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        line = next(line for line in process.stderr if " ends: " in line)
        assert 3 < time.monotonic() - began < 15
        hanging.kill()
        process.communicate(timeout=60)
    assert re.match(LOST, line).groups() == ("0", "begins anew")


@pytest.mark.slow
def test_a_launch_of_no_processes_and_without_a_config_says_what_it_is(small_run, tmp_path):
    run = small_run().start().wait(60)
    folder = Path(export(run, tmp_path / "plain", BUILD)).parent
    line = "accelerate has started one process; two: accelerate launch --multi_gpu --num_processes 2 train.py"
    assert words_of(folder, "--num_processes", "0").splitlines()[0] == line
    assert max(furthest(run, folder)) < 1e-6


def test_a_world_of_no_processes_is_refused(small_run, tmp_path, monkeypatch):
    folder = Path(export(small_run().start().wait(60), tmp_path / "plain", BUILD)).parent
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WORLD_SIZE", "0")
    with pytest.raises(SystemExit, match=r"^WORLD_SIZE is 0; it must be a whole number, 1 or more$"):
        exec((folder / "train.py").read_text(), {})
