from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.disk import file_size_limit, read_only_folder
from support.helpers import timeless, until

from stablelab._files import seal, sha256_of
from stablelab.training import Run, Settings, load
from stablelab.training.history import History
from stablelab.training.saving import FORMAT, read, write


@pytest.fixture
def finished(clouds, make_network) -> Run:
    run = Run(make_network(), clouds, settings=Settings(learning_rate=0.02), steps=12, batch_size=20, name="first")
    run.step(5)
    until(lambda: len(run.history) >= 5)
    run.control.change(learning_rate=0.01)
    run.resume()
    run.wait(60)
    return run


def test_a_saved_run_comes_back_whole(finished, clouds, make_network, tmp_path):
    folder = finished.save(tmp_path / "run")
    loaded = load(folder, make_network(seed=9), clouds)
    assert list(loaded.history) == list(finished.history)
    assert loaded.control.settings == finished.control.settings
    assert loaded.settings == finished.settings
    assert [str(i) for i in loaded.history.interventions()] == ["step 6: learning rate 0.02 → 0.01"]
    assert loaded.state == "finished" and loaded.name == "first"
    for key, value in finished.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value)


def test_saving_again_replaces_and_leaves_nothing_else_behind(finished, tmp_path):
    finished.save(tmp_path / "run")
    finished.save(tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_is_no_saved_run_is_never_overwritten(finished, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not a saved run"):
        finished.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_a_save_that_fails_half_way_leaves_the_earlier_one(finished, tmp_path, monkeypatch):
    finished.save(tmp_path / "run")
    monkeypatch.setattr("stablelab.training.saving.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        finished.save(tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert len(read(tmp_path / "run").history) == 12


@pytest.mark.parametrize("name", ["history.jsonl", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_file_is_named_in_one_line(finished, tmp_path, clouds, make_network, name, damage):
    file = tmp_path / "run" / name
    finished.save(tmp_path / "run")
    content = file.read_bytes()
    middle = len(content) // 2
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(
            content[:middle] if damage == "cut" else content[:middle] + b"\x00\xff" + content[middle + 2 :]
        )
    model = make_network(seed=9)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"damaged: {name}") as caught:
        load(tmp_path / "run", model, clouds)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def sealed(folder, **changes) -> None:
    """Change what run.json says and make all checksums fit again, as someone would who means harm."""
    about = {**json.loads((folder / "run.json").read_text()), **changes}
    about["sha256"] = {name: sha256_of(folder / name) for name in about["sha256"]}
    about = {name: value for name, value in about.items() if value is not ... and name not in ("format", "checksum")}
    (folder / "run.json").write_text(json.dumps(seal(FORMAT, about)))


class Harm:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_nothing_in_a_hostile_checkpoint_is_executed(finished, tmp_path):
    folder, harmed = Path(finished.save(tmp_path / "run")), tmp_path / "harmed"
    for hostile in (lambda file: torch.save({"step": Harm(harmed)}, file), lambda file: file.write_bytes(b"no zip")):
        hostile(folder / "state.pt")
        sealed(folder)
        with pytest.raises(ValueError, match="is damaged: state.pt cannot be read$") as caught:
            read(folder)
        assert "\n" not in str(caught.value)
    assert not harmed.exists()


@pytest.mark.parametrize("name", ["settings", "log", "written", "classes"])
def test_a_run_json_with_something_missing_or_of_another_kind(finished, tmp_path, name):
    folder = Path(finished.save(tmp_path / "run"))
    sealed(folder, **{name: 7.5 if name == "classes" else ["?"]})
    with pytest.raises(ValueError, match=rf"is damaged: run\.json\.{name} is .*; it must be \w+$"):
        read(folder)
    sealed(folder, **{name: ...})
    with pytest.raises(ValueError, match=f"is damaged: run.json has no '{name}'$"):
        read(folder)


def test_an_edited_run_json_is_not_trained_on(finished, tmp_path):
    folder = Path(finished.save(tmp_path / "run"))
    text = (folder / "run.json").read_text()
    for old, new in (('"learning_rate": 0.02', '"learning_rate": 0.03'), ('"seed": 0', '"seed": 1')):
        assert old in text
        (folder / "run.json").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match="is damaged: run.json is not what was written$"):
            read(folder)
    (folder / "run.json").write_text(text.replace("\n", " "))  # says the same
    assert read(folder).log == finished.log()


def test_a_history_of_other_types_is_refused(finished, tmp_path):
    folder = Path(finished.save(tmp_path / "run"))
    lines = (folder / "history.jsonl").read_text().splitlines()
    odd = {'"step": 1': '"step": "1"', '"clipped": ': '"cut": ', '"interventions": []': '"interventions": 3'}
    for old, new in odd.items():
        assert old in lines[0]
        (folder / "history.jsonl").write_text("\n".join([lines[0].replace(old, new), *lines[1:]]))
        sealed(folder)
        with pytest.raises(ValueError, match=r"is damaged: history\.jsonl cannot be read$"):
            read(folder)


# What a process does that is killed in the middle of replacing an earlier save.
KILLED = """
import os, pathlib, signal, sys
from stablelab.training import saving
replace, left = os.replace, [{renames}]

def fatal(*places):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    replace(*places)

os.replace = fatal
folder = pathlib.Path({folder!r})
saving.write(folder, saving.read(folder))
"""


@pytest.mark.parametrize("renames", [0, 1])
@pytest.mark.parametrize("name", ["run", "checkpoint-12"])
@pytest.mark.slow
def test_a_kill_while_a_save_is_replaced_leaves_one_to_load(
    finished, clouds, make_network, tmp_path, capsys, renames, name
):
    folder = Path(finished.save(tmp_path / name))
    code = KILLED.format(renames=renames, folder=str(folder))
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == -signal.SIGKILL
    assert folder.exists() == (renames == 0) and len(list(tmp_path.iterdir())) == 2
    where = folder if name == "run" else tmp_path
    assert timeless(load(where, make_network(seed=9), clouds).history) == timeless(finished.history)
    said = f"the process that saved {folder} was killed while it did; what it had written is in place\n"
    assert capsys.readouterr().out == said * renames
    finished.save(folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_save_after_a_kill_restores_the_place(finished, tmp_path):
    folder = Path(finished.save(tmp_path / "run"))
    folder.rename(tmp_path / ".run-abcd_123-old")
    (tmp_path / ".run-half0000").mkdir()
    (tmp_path / ".run-mine0000").mkdir()
    (tmp_path / ".run-mine0000" / "notes.txt").write_text("not ours")
    finished.save(folder)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".run-mine0000", "run"]


def test_a_save_that_the_disk_refuses_is_said_in_one_line(finished, tmp_path):
    """The disk refuses in the middle of each of the files in turn, whoever writes it."""
    snapshot = finished.snapshot()
    large = replace(snapshot.checkpoint, weights={"w": torch.zeros(10_000)})
    history = History(snapshot.history.since(11))
    snapshot = replace(snapshot, weights={"w": torch.zeros(5_000)}, history=history, checkpoint=large)
    sizes = {file.name: file.stat().st_size for file in write(tmp_path / "whole", snapshot).iterdir()}
    assert sorted(sizes, key=sizes.get)[-2:] == ["weights.safetensors", "state.pt"]
    place = re.escape(str(tmp_path / "run"))
    for limit in (100, sizes["weights.safetensors"] - 1, sizes["state.pt"] - 1):
        with file_size_limit(limit), pytest.raises(OSError, match=f"cannot be saved to {place}: file too large$"):
            write(tmp_path / "run", snapshot)
    assert [each.name for each in tmp_path.iterdir()] == ["whole"]


def test_a_save_to_a_folder_that_is_read_only_is_said_in_one_line(finished):
    with read_only_folder() as folder, pytest.raises(OSError) as caught:
        finished.save(folder / "run")
    assert str(caught.value) == f"the run cannot be saved to {folder / 'run'}: permission denied"


def test_a_checkpoint_keeps_the_order_in_memory(finished, tmp_path):
    """Optimizers walk over a weight and its state side by side in memory."""
    weights = {"w": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), "t": torch.randn(3, 4).T}
    checkpoint = replace(finished.checkpoints.newest, weights=weights)
    kept = read(write(tmp_path / "run", replace(finished.snapshot(), checkpoint=checkpoint))).checkpoint
    for name, tensor in weights.items():
        assert torch.equal(kept.weights[name], tensor) and kept.weights[name].stride() == tensor.stride()
    assert kept.settings == checkpoint.settings and kept.validation_losses == checkpoint.validation_losses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{not json", "is damaged: run.json cannot be read$"),
        ("[]", "is damaged: run.json cannot be read$"),
        ("[" * 100_000, "is damaged: run.json cannot be read$"),
        ('{"format": 3, "sha256": {}}', "is of another version: run.json has format 3; this version of .* reads 4$"),
    ],
)
def test_a_run_json_that_cannot_be_read(finished, tmp_path, text, message):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "run")


def test_no_run_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no run\.json"):
        read(tmp_path)


def test_other_data_or_another_model_is_refused(finished, tmp_path, clouds, make_network):
    folder = finished.save(tmp_path / "run")
    with pytest.raises(ValueError, match="do not fit this model|another model"):
        load(folder, torch.nn.Linear(4, 3), clouds)
    clouds.fingerprint = "clouds-2"
    with pytest.raises(ValueError, match="other data"):
        load(folder, make_network(), clouds)


def test_run_json_is_plain_to_read(finished, tmp_path):
    finished.save(tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["settings"]["learning_rate"] == 0.01
    assert about["interventions"] == ["step 6: learning rate 0.02 → 0.01"]


def test_a_loaded_run_goes_back_only_as_far_as_it_was_saved(finished, tmp_path, clouds, make_network):
    folder = finished.save(tmp_path / "run")
    loaded = load(folder, make_network(seed=9), clouds)
    for attempt in (lambda: loaded.branch(3), loaded.reset):
        with pytest.raises(ValueError, match="the weights that 'first' began with were not saved with it"):
            attempt()
    branch = loaded.branch(11).start().wait(60)  # after the checkpoint that was saved with it
    assert [s.loss for s in branch.history] == [s.loss for s in finished.history]


def test_a_run_with_a_folder_goes_back_to_its_start_after_it_was_loaded(tmp_path, clouds, make_network):
    run = Run(make_network(), clouds, steps=12, batch_size=20, folder=tmp_path / "run").start().wait(60)
    branch = load(tmp_path / "run", make_network(seed=9), clouds).branch(3).start().wait(60)
    assert [s.loss for s in branch.history] == [s.loss for s in run.history]
