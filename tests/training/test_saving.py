from __future__ import annotations

import json
import time

import pytest
import torch

from stablelab.training import Run, Settings, load
from stablelab.training.saving import read


@pytest.fixture
def finished(clouds, make_network) -> Run:
    run = Run(make_network(), clouds, settings=Settings(learning_rate=0.02), steps=12, batch_size=20, name="first")
    run.step(5)
    while len(run.history) < 5:
        time.sleep(0.001)
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


@pytest.mark.parametrize(
    ("text", "message"),
    [("{not json", "run.json cannot be read"), ("[]", "cannot be read"), ('{"format": 99, "sha256": {}}', "format 99")],
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
