"""A run survives: the process killed, the disk full, the folder gone, a checkpoint damaged."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from jupyter_client.manager import KernelManager
from support.disk import nobody
from support.helpers import same_weights, timeless, until

import stablelab as lab
from stablelab.training import Run, Settings, reopen

LAYERS = (("4",), ("1", "0"))
SETTINGS = Settings(learning_rate=0.02, schedule="cosine", warmup_steps=4, max_norm=0.5, layer_decay=0.8)
STEPS = 120
# What the process that is going to be killed does: as `begun` below, but slowly.
SCRIPT = """
import sys, time
from stablelab.training import Run, Settings, saving
sys.path.insert(0, {tests!r})
from support import clouds
saving.WAIT_FACTOR = 0  # each checkpoint is written, however long writing takes here

def slow(inputs, settings):
    time.sleep({seconds})
    return inputs

run = Run(clouds.network(), clouds.Clouds(), settings=Settings(**{settings}), steps={steps}, evaluate_every=7,
          batch_size=20, seed=5, layers={layers}, augment=slow, folder={folder!r})
run.step(25)
while run.state != "paused":
    time.sleep(0.001)
run.control.change(learning_rate=0.1, optimizer="momentum")
run.resume()
"""


def newest(folder: Path) -> int:
    return max((int(each.name.partition("-")[2]) for each in folder.glob("checkpoint-*")), default=0)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@pytest.fixture
def make_run(clouds, make_network):
    runs = []

    def make(folder=None, **arguments) -> Run:
        given = {"settings": SETTINGS, "steps": STEPS, "evaluate_every": 7, "seed": 5, "layers": LAYERS}
        runs.append(Run(make_network(), clouds, batch_size=20, folder=folder, **{**given, **arguments}))
        return runs[-1]

    yield make
    for run in runs:
        run.stop()


@pytest.fixture
def begun(make_run):
    """A run that is paused after 25 steps, with settings changed there by hand."""

    def make(folder=None, **arguments) -> Run:
        run = make_run(folder, **arguments)
        run.step(25)
        until(lambda: run.state == "paused")
        run.control.change(learning_rate=0.1, optimizer="momentum")
        return run

    return make


def script(folder: Path, seconds: float, steps: int = STEPS) -> str:
    given = {"settings": SETTINGS.to_dict(), "steps": steps, "layers": LAYERS}
    return SCRIPT.format(tests=str(Path(__file__).parents[1]), folder=str(folder), seconds=seconds, **given)


def done(run: Run) -> Run:
    run.resume()
    return run.wait(60)


@pytest.mark.slow
def test_a_run_whose_kernel_is_killed_goes_on_as_if_nothing_had_been(begun, make_network, clouds, tmp_path, capsys):
    folder = tmp_path / "run"
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive(script(folder, seconds=0.02), timeout=60)
        assert reply["content"]["status"] == "ok"
        until(lambda: newest(folder) > 40)
    finally:
        manager.shutdown_kernel(now=True)  # SIGKILL
        client.stop_channels()
    undisturbed = done(begun())
    run = reopen(folder, make_network(seed=9), clouds, layers=LAYERS)
    before = len(run.history)
    assert 40 < before < STEPS and run.state == "ready"
    assert f"reopened at step {before} of {STEPS} (checkpoint of " in capsys.readouterr().out
    assert timeless(run.history) == timeless(undisturbed.history)[:before]
    run.start().wait(60)
    assert timeless(run.history) == timeless(undisturbed.history)
    assert same_weights(run.model, undisturbed.model)
    assert run.log().to_dict() == undisturbed.log().to_dict()
    assert (run.best.step, run.best.loss) == (undisturbed.best.step, undisturbed.best.loss)
    assert timeless(run.branch(11).start().wait(60).history)[:25] == timeless(undisturbed.history)[:25]


@pytest.fixture
def every(monkeypatch):
    """Each checkpoint is written, however long writing takes on this machine."""
    monkeypatch.setattr("stablelab.training.saving.WAIT_FACTOR", 0)


def damage(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / name).write_bytes(bytes(content))


@pytest.mark.slow
def test_the_first_checkpoint_and_the_newest_two_stay(make_run, tmp_path, every):
    make_run(tmp_path / "run", steps=40).start().wait(60)
    assert names(tmp_path / "run") == ["checkpoint-1", "checkpoint-39", "checkpoint-40"]


def test_writing_takes_a_small_share_of_the_time(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr("stablelab.training.saving.WAIT_FACTOR", 1e9)
    make_run(tmp_path / "run", steps=40).start().wait(60)
    assert names(tmp_path / "run") == ["checkpoint-1", "checkpoint-40"]  # the first is not known to be slow


@pytest.mark.parametrize("name", ["run.json", "history.jsonl", "weights.safetensors", "state.pt"])
@pytest.mark.slow
def test_where_the_newest_is_damaged_the_one_before_is_used(begun, make_network, clouds, tmp_path, capsys, every, name):
    undisturbed = done(begun(steps=60))
    begun(tmp_path / "run", steps=60)  # and never heard of again
    damage(tmp_path / "run" / "checkpoint-25", name)
    run = reopen(tmp_path / "run", make_network(seed=9), clouds, layers=LAYERS)
    said = capsys.readouterr().out.splitlines()
    assert f"checkpoint-25 is damaged: {name} " in said[0] and said[0].endswith("; an older checkpoint is used")
    assert said[1].startswith("reopened at step 24 of 60 ")
    run.step()
    until(lambda: run.state == "paused" and len(run.history) == 25)
    run.control.change(learning_rate=0.1, optimizer="momentum")  # what the older one does not know
    assert timeless(done(run).history) == timeless(undisturbed.history)
    assert "checkpoint-25" not in names(tmp_path / "run")


@pytest.mark.slow
def test_nothing_that_can_be_used_or_nothing_at_all(begun, make_network, clouds, tmp_path, every):
    with pytest.raises(FileNotFoundError, match="no saved run in"):
        reopen(tmp_path / "run", make_network(), clouds)
    begun(tmp_path / "run")
    for each in (tmp_path / "run").iterdir():
        damage(each, "weights.safetensors")
    with pytest.raises(ValueError, match="no checkpoint in .*run can be used: .*checkpoint-25 is damaged") as caught:
        reopen(tmp_path / "run", make_network(), clouds)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_said_in_one_line(begun, make_network, clouds, tmp_path):
    begun(tmp_path / "run")
    with pytest.raises(ValueError, match="trained other weights than this one would: '0.bias'"):
        reopen(tmp_path / "run", torch.nn.Linear(4, 3), clouds)
    with pytest.raises(ValueError, match="give the same layers="):
        reopen(tmp_path / "run", make_network(), clouds)
    clouds.fingerprint = "clouds-2"
    with pytest.raises(ValueError, match="trained on other data"):
        reopen(tmp_path / "run", make_network(), clouds)


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_a_finished_one_stays_finished(begun, make_network, clouds, tmp_path, capsys):
    undisturbed = done(begun(steps=60))
    run = begun(tmp_path / "run", steps=60)
    run.stop()
    again = reopen(tmp_path / "run", make_network(seed=9), clouds, layers=LAYERS)
    assert same_weights(again.model, run.model) and again.message == "ready: 60 steps, the first 25 already done"
    assert timeless(again.start().wait(60).history) == timeless(undisturbed.history)
    over = reopen(tmp_path / "run", make_network(seed=9), clouds, layers=LAYERS)
    assert "finished at step 60 of 60 (checkpoint of " in capsys.readouterr().out
    assert over.state == "finished" and timeless(over.history) == timeless(undisturbed.history)
    assert same_weights(over.model, undisturbed.model)
    again.reset()  # to the very start, with the weights the first process began with
    assert len(again.history) == 0 and same_weights(again.model, make_network())


@pytest.mark.slow
def test_what_save_wrote_can_be_reopened_too(begun, make_run, make_network, clouds, tmp_path):
    undisturbed = done(begun(steps=60))
    run = begun(steps=60)
    run.save(tmp_path / "run")
    again = reopen(tmp_path / "run", make_network(seed=9), clouds, layers=LAYERS)
    assert timeless(again.start().wait(60).history) == timeless(undisturbed.history)
    make_run(steps=60).save(tmp_path / "new")  # it has not even started
    new = reopen(tmp_path / "new", make_network(seed=9), clouds, layers=LAYERS)
    assert new.message == "ready: 60 steps" and same_weights(new.model, make_network())


@pytest.mark.slow
def test_a_divergence_after_reopening_leads_back_to_the_same_weights(begun, make_network, clouds, tmp_path):
    def diverge(run):
        run.control.change(learning_rate=1e38, optimizer="sgd", schedule="constant")
        run.resume() if run.alive else run.start()
        run.wait(60)
        run.control.change(learning_rate=0.01)
        return done(run)

    undisturbed = diverge(begun(steps=60))
    begun(tmp_path / "run", steps=60)
    again = diverge(reopen(tmp_path / "run", make_network(seed=9), clouds, layers=LAYERS))
    assert any(step.diverged for step in again.history)
    assert timeless(again.history) == timeless(undisturbed.history)


@pytest.mark.slow
def test_a_full_disk_is_said_and_training_goes_on(begun, tmp_path, monkeypatch, every):
    undisturbed = done(begun(steps=60))
    run = begun(tmp_path / "run", steps=60)
    assert run.trouble == ""

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("stablelab.training.saving.save_file", full)
        run.step(20)
        until(lambda: run.state == "paused" and len(run.history) == 45)
    assert run.trouble == (
        f"no checkpoint could be written to {tmp_path / 'run'} (no space left on device); "
        "training goes on, the last one there is of step 25"
    )
    assert names(tmp_path / "run") == ["checkpoint-1", "checkpoint-24", "checkpoint-25"]  # no halves
    assert timeless(done(run).history) == timeless(undisturbed.history)
    assert run.trouble == "" and "checkpoint-60" in names(tmp_path / "run")


def test_a_folder_that_is_deleted_meanwhile_is_made_again(begun, tmp_path):
    run = begun(tmp_path / "run", steps=60)
    shutil.rmtree(tmp_path / "run")
    done(run)
    assert run.trouble == "" and names(tmp_path / "run") == ["checkpoint-60"]


def test_a_folder_that_turns_into_something_else_is_said(begun, tmp_path):
    run = begun(tmp_path / "run", steps=60)
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("in the way")
    done(run)
    assert run.state == "finished" and run.trouble.endswith("; training goes on, there is none there yet")


def test_a_folder_that_cannot_be_used_is_refused_before_training(make_run, begun, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"which holds something else \(chapter.txt\); give a new one"):
        make_run(tmp_path / "thesis")
    with pytest.raises(ValueError, match="which cannot be written to: not a directory|file exists"):
        make_run(tmp_path / "thesis" / "chapter.txt")
    begun(tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run that has not ended .step 25 of 120.: reopen it"):
        make_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors"])
@pytest.mark.slow
def test_a_damaged_checkpoint_does_not_give_away_the_whole_one_beside_it(
    make_run, begun, make_network, clouds, tmp_path, every, name
):
    begun(tmp_path / "run", steps=60)
    damage(tmp_path / "run" / "checkpoint-25", name)
    there = r"a run that has not ended \(step 24 of 60, newer ones are damaged \(.*checkpoint-25 is damaged: " + name
    with pytest.raises(ValueError, match=there) as caught:
        make_run(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert len(reopen(tmp_path / "run", make_network(), clouds, layers=LAYERS).history) == 24
    damage(tmp_path / "run" / "checkpoint-1", name)
    damage(tmp_path / "run" / "checkpoint-24", name)
    with pytest.raises(ValueError, match=r"which holds nothing whole \(.* is damaged: .*\); give another, or delete"):
        make_run(tmp_path / "run")
    assert names(tmp_path / "run") == ["checkpoint-1", "checkpoint-24", "checkpoint-25"]


@pytest.mark.parametrize("mode", [0o000, 0o333, 0o555])
@pytest.mark.slow
def test_a_folder_that_can_no_longer_be_used_is_said_and_training_goes_on(begun, every, mode):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        run = begun(folder, steps=60)
        Path(folder).chmod(mode)
        with nobody():
            done(run)
        Path(folder).chmod(0o777)
    assert run.state == "finished" and "(permission denied); training goes on, " in run.trouble


@pytest.mark.slow
def test_a_new_run_takes_the_place_of_one_that_is_over(make_run, begun, tmp_path, every):
    done(begun(tmp_path / "run", steps=60))
    make_run(tmp_path / "run", steps=30).start().wait(60)
    assert names(tmp_path / "run") == ["checkpoint-1", "checkpoint-29", "checkpoint-30"]


@pytest.mark.slow
def test_a_run_that_was_put_back_to_its_start_leaves_nothing_of_before(begun, tmp_path, every):
    run = done(begun(tmp_path / "run", steps=30))
    run.reset()
    run.step(5)
    until(lambda: run.state == "paused" and len(run.history) == 5)
    assert names(tmp_path / "run") == ["checkpoint-1", "checkpoint-4", "checkpoint-5"]


@pytest.mark.slow
def test_from_the_front_desk(make_network, clouds, tmp_path):
    given = {"steps": 30, "batch_size": 20, "max_norm": 0.5, "device": "cpu"}
    undisturbed = lab.fine_tune(make_network(), clouds, **given).start().wait(60)
    run = lab.fine_tune(make_network(), clouds, folder=tmp_path / "run", **given)
    run.step(13)
    until(lambda: run.state == "paused")
    run.stop()
    again = lab.reopen(tmp_path / "run", make_network(seed=9), clouds, device="cpu").start().wait(60)
    assert timeless(again.history) == timeless(undisturbed.history)


@pytest.mark.slow
def test_a_branch_writes_nothing_to_the_folder_of_its_parent(begun, tmp_path):
    run = begun(tmp_path / "run")
    before = names(tmp_path / "run")
    run.branch(11).start().wait(60)
    assert names(tmp_path / "run") == before


@pytest.mark.slow
def test_a_disk_that_is_really_full(tmp_path):
    """A process that may write no file over 20 kB: as a full disk, the system refuses in the middle of one."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    end = "run.wait(60)\nprint(run.state, len(run.history), run.trouble)\n"
    code = limit + script(tmp_path / "run", seconds=0.0, steps=45) + end
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert said.startswith("finished 45 no checkpoint could be written to") and "(file too large)" in said
    assert 25 <= newest(tmp_path / "run") < 45  # later ones have a history that is too long
