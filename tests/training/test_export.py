"""An exported run: train.py really runs where there is no workbook, and comes to the same losses."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.disk import file_size_limit, read_only_folder
from support.helpers import until
from support.token_ids import TokenIds
from torch import Tensor

import stablelab as lab
from stablelab.data.tasks import make_task
from stablelab.formulas import optimizers
from stablelab.training import Run, Settings, export

LAYERS = (("4",), ("1", "0"))
BUILD = "model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), " + (
    "torch.nn.Dropout(0.3), torch.nn.Linear(16, 3))"
)
WITHOUT = "import runpy, sys; sys.modules['stablelab'] = None; runpy.run_path('train.py', run_name='__main__')"
KINDS = {
    "AdamW, cosine": ({"schedule": "cosine", "warmup_steps": 4, "weight_decay": 0.1, "max_norm": 0.3}, {}),
    "SGD, linear": ({"optimizer": "sgd", "schedule": "linear", "warmup_steps": 3}, {}),
    "linear without warm-up": ({"schedule": "linear"}, {"schedule": "cosine"}),
    "momentum, plateau": ({"optimizer": "momentum", "schedule": "plateau", "patience": 0, "beta1": 0.8}, {}),
    "Nesterov by hand": ({"optimizer": "nesterov", "implementation": "workbook", "weight_decay": 0.01}, {}),
    "Adam by hand": ({"optimizer": "adam", "bias_correction": False, "clip": "tensor", "max_norm": 0.1}, {}),
    "frozen, then thawed": ({"unfrozen": 1, "unfreeze_every": 5, "layer_decay": 0.5, "schedule": "exponential"}, {}),
    "changed by hand": (
        {"warmup_steps": 3},
        {"optimizer": "sgd", "max_norm": 0.2, "clip": "value", "unfrozen": 1, "schedule": "exponential"},
    ),
    "from one hand to the other": (
        {"implementation": "workbook"},
        {"implementation": "torch", "optimizer": "nesterov"},
    ),
    "in bf16 for a while": ({"precision": "bf16", "max_norm": 0.3}, {"precision": "fp32"}),
    "in micro-batches, then in bf16 too": ({"accumulation": 5}, {"accumulation": 2, "precision": "bf16"}),
    "by hand after all": ({"eps": 1e-6}, {"optimizer": "sgd", "implementation": "workbook", "weight_decay": 0.1}),
}


def trained(run: Run, at: int = 0, **changes) -> Run:
    """Train to the end, with settings changed after this many steps."""
    if changes:
        run.step(at)
        until(lambda: run.state == "paused" and len(run.history) >= at)
        run.control.change(**changes)
        run.resume()
        return run.wait(60)
    return run.start().wait(60)


def losses_of(folder) -> list[float]:
    """What the script comes to in a process that cannot import the workbook."""
    there = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", WITHOUT], cwd=folder, check=True, capture_output=True, timeout=300, env=there)
    return json.loads((folder / "losses.json").read_text())


@pytest.fixture
def here(monkeypatch):
    """Run a script in this process, which saves the seconds that importing torch takes."""

    def run_it(folder) -> list[float]:
        monkeypatch.chdir(folder)
        with torch.random.fork_rng(devices=[]):
            exec(compile((folder / "train.py").read_text(), "train.py", "exec"), {})
        return json.loads((folder / "losses.json").read_text())

    return run_it


def task_of(kind: str, stores) -> object:
    targets = {name: torch.arange(len(store)) % 2 for name, store in stores.items()}
    return make_task(kind, kind, ("no", "yes"), stores, targets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_the_script_comes_to_the_same_losses(kind, clouds, make_network, tmp_path, here):
    settings, changes = KINDS[kind]
    run = Run(
        make_network(),
        clouds,
        settings=Settings(learning_rate=0.02, **settings),
        steps=25,
        evaluate_every=3,
        batch_size=30,
        seed=5,
        layers=LAYERS,
    )
    trained(run, 9, **changes)
    export(run, tmp_path / "plain", BUILD)
    assert here(tmp_path / "plain") == [step.loss for step in run.history]
    end = load_file(tmp_path / "plain" / "trained.safetensors")
    assert all(torch.equal(tensor, end[name]) for name, tensor in run.model.state_dict().items())


@pytest.mark.parametrize("kind", ["AdamW, cosine", "Adam by hand", "frozen, then thawed", "from one hand to the other"])
@pytest.mark.slow
def test_a_script_that_was_cut_off_goes_on_from_its_checkpoint(kind, clouds, make_network, tmp_path, here, monkeypatch):
    settings, changes = KINDS[kind]
    run = Run(make_network(), clouds, settings=Settings(**settings), steps=25, batch_size=30, layers=LAYERS)
    trained(run, 9, **changes)
    script = Path(export(run, tmp_path / "plain", BUILD))
    script.write_text(script.read_text().replace("CHECKPOINT_EVERY = 60", "CHECKPOINT_EVERY = 0"))

    def interrupted(line: str, **_: object) -> None:
        if line.startswith("step   14 "):
            raise KeyboardInterrupt

    monkeypatch.chdir(script.parent)
    with torch.random.fork_rng(devices=[]), pytest.raises(KeyboardInterrupt):
        exec(script.read_text(), {"print": interrupted})
    assert torch.load("checkpoint.pt", weights_only=True)["step"] == 13
    assert here(script.parent) == [step.loss for step in run.history]
    end = load_file("trained.safetensors")
    assert all(torch.equal(tensor, end[name]) for name, tensor in run.model.state_dict().items())
    assert not Path("checkpoint.pt").exists()


def test_a_script_by_hand_quotes_the_formulas(clouds, make_network, tmp_path):
    settings = Settings(implementation="workbook", schedule="cosine", max_norm=0.3)
    run = trained(Run(make_network(), clouds, settings=settings, steps=6), 3, optimizer="momentum")
    text = Path(export(run, tmp_path / "plain", BUILD)).read_text()
    for formula in ("adamw_", "adam_direction_", "momentum_", "plus_decay"):
        assert inspect.getsource(getattr(optimizers, formula)) in text
    assert "gradient_descent_" not in text and "{{" not in text and "{%" not in text
    assert "\n\n\n\n" not in text and text.endswith("way out\n")
    assert "    accelerator.end_training()\n    os._exit(0)" in text


def test_the_best_weights_are_those_that_early_stopping_kept(clouds, make_network, tmp_path, here):
    settings = Settings(learning_rate=0.3, early_stopping=2)
    run = Run(make_network(), clouds, settings=settings, steps=60, evaluate_every=2, batch_size=30, layers=LAYERS)
    trained(run)
    assert run.history[-1].kept
    export(run, tmp_path / "plain", BUILD)
    assert here(tmp_path / "plain") == [step.loss for step in run.history]
    end = load_file(tmp_path / "plain" / "trained.safetensors")
    assert all(torch.equal(tensor, end[name]) for name, tensor in run.model.state_dict().items())


@pytest.mark.parametrize("name", ["start.safetensors", "data.safetensors"])
def test_a_script_does_not_train_on_what_was_not_written_with_it(clouds, make_network, tmp_path, here, name):
    folder = Path(export(trained(Run(make_network(), clouds, steps=3)), tmp_path / "plain", BUILD)).parent
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(SystemExit, match=f"^{name} is damaged or of another export; export the run again$"):
        here(folder)


def test_an_export_that_the_disk_refuses_leaves_the_one_before(clouds, make_network, tmp_path, here):
    run = trained(Run(make_network(), clouds, steps=3))
    export(run, tmp_path / "plain", BUILD)
    with file_size_limit(2_000), pytest.raises(OSError) as caught:
        export(run, tmp_path / "plain", BUILD)
    assert str(caught.value) == f"the run cannot be exported to {tmp_path / 'plain'}: file too large"
    assert here(tmp_path / "plain") == [step.loss for step in run.history]
    with read_only_folder() as folder, pytest.raises(OSError, match="cannot be exported to .*: permission denied$"):
        export(run, folder / "plain", BUILD)


@pytest.mark.slow
def test_a_resnet_without_the_workbook(tmp_path):
    class Noise(TokenIds):
        lengths = None

        def take(self, positions: Tensor) -> Tensor:
            return self.ids[positions]

    generator = torch.Generator().manual_seed(1)
    task = task_of("image", {s: Noise(torch.randn(24, 3, 8, 8, generator=generator)) for s in lab.data.tasks.SPLITS})
    model = lab.resnet(task, seed=3)
    run = lab.fine_tune(model, task, steps=6, batch_size=5, learning_rate=1e-3, max_norm=1.0, device="cpu")
    trained(run, 3, learning_rate=3e-3)
    script = lab.export(run, tmp_path / "plain")
    assert losses_of(tmp_path / "plain") == [step.loss for step in run.history]
    assert 'get_model("resnet18", weights=None, num_classes=2)' in Path(script).read_text()


@pytest.mark.slow
def test_our_efficientnet_without_the_workbook(tmp_path, digits):
    model = lab.efficientnet(digits, weights="random")
    run = trained(lab.fine_tune(model, digits, steps=4, batch_size=6, learning_rate=1e-3, device="cpu"))
    script = lab.export(run, tmp_path / "plain")
    assert losses_of(tmp_path / "plain") == [step.loss for step in run.history]
    assert "from efficientnet import EfficientNetLite0\n\nmodel = EfficientNetLite0(10)" in Path(script).read_text()


@pytest.mark.slow
def test_a_bert_without_the_workbook(tmp_path):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 90, (60, 12), generator=generator)
    ids[torch.arange(12) >= torch.randint(4, 13, (60, 1), generator=generator)] = 0
    task = task_of(
        "text", {"train": TokenIds(ids[:40]), "validation": TokenIds(ids[40:50]), "test": TokenIds(ids[50:])}
    )
    config = transformers.BertConfig(
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    run = lab.fine_tune(model, task, steps=12, batch_size=8, learning_rate=1e-3, schedule="cosine", device="cpu")
    trained(run, 5, learning_rate=3e-3, max_norm=0.5)
    script = lab.export(run, tmp_path / "plain")
    assert losses_of(tmp_path / "plain") == [step.loss for step in run.history]
    assert "6: dict(learning_rate=0.003, max_norm=0.5)," in Path(script).read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"optimizer": "lamb"}, "torch has no LAMB"), ({"noise": 0.1}, r"changed at random \(noise\)")],
)
def test_what_a_few_lines_cannot_say_is_refused(settings, message, clouds, make_network, tmp_path):
    run = Run(make_network(), clouds, settings=Settings(**settings), steps=3, augment=lambda inputs, _: inputs)
    with pytest.raises(ValueError, match="it has not done a step yet"):
        export(run, tmp_path / "plain", BUILD)
    trained(run)
    with pytest.raises(ValueError, match=f"cannot be exported as a few plain lines: .*{message}"):
        export(run, tmp_path / "plain", BUILD)


def test_a_model_that_nobody_knows_how_to_build(clouds, make_network, tmp_path):
    run = trained(Run(make_network(), clouds, steps=3))
    with pytest.raises(ValueError, match="nobody knows how to build this Sequential anew: give build="):
        lab.export(run, tmp_path / "plain")
    with pytest.raises(ValueError, match="make another model than the one that was trained: '0.bias' differs"):
        lab.export(run, tmp_path / "plain", build="model = torch.nn.Linear(4, 3)")
    with pytest.raises(ValueError, match="the lines in build= fail: NameError: name 'modle'"):
        lab.export(run, tmp_path / "plain", build="modle.nonsense")
    lab.export(run, tmp_path / "plain", build=BUILD)
    lab.export(run, tmp_path / "plain", build=BUILD)  # again, in its own place
    (tmp_path / "plain" / "chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds something else \(chapter.txt\)"):
        lab.export(run, tmp_path / "plain", build=BUILD)
