from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stablelab.models.fractals.training import read_checkpoint, remove_checkpoints, write_checkpoint


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_the_newest_is_read_and_the_one_before_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "weights.checkpoint"
    assert read_checkpoint(file) is None
    for step in (1, 2, 3):
        write_checkpoint(file, {"step": step, "weights": torch.full((3,), float(step))})
    found = read_checkpoint(file)
    assert found is not None and found["step"] == 3 and found["weights"].tolist() == [3, 3, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["weights.checkpoint", "weights.checkpoint.older"]
    (tmp_path / "weights.checkpoint.new").touch()  # killed in mid-write
    assert (read_checkpoint(file) or {})["step"] == 3
    remove_checkpoints(file)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage", [flip_a_byte, lambda file: file.write_bytes(file.read_bytes()[:-40]), lambda file: file.write_bytes(b"")]
)
def test_a_damaged_one_is_said_and_the_older_one_used(
    damage: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a"
    for step in (1, 2):
        write_checkpoint(file, {"step": step})
    damage(file)
    assert read_checkpoint(file) == {"step": 1}
    assert capsys.readouterr().out == f"the checkpoint {file} is damaged; it is not used\n"


def test_killed_between_the_two_renames(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_checkpoint(file, {"step": 1})
    file.replace(tmp_path / "a.older")
    assert read_checkpoint(file) == {"step": 1}


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    write_checkpoint(file, {"step": 1})

    def full(self: Path, mode: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(file, {"step": 2})
    monkeypatch.undo()
    assert read_checkpoint(file) == {"step": 1}
