"""What does not fit is said before training begins, for models and tasks of one's own too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d, Inception3, InceptionAux

import stablelab as lab
from stablelab import data, models


class Own:
    """A task of one's own, as README says that one may bring it: no store, no kind."""

    def __init__(self, change: Callable[[Tensor, Tensor], Any] = lambda x, y: (x, y)) -> None:
        self.name = self.fingerprint = "own"
        self.classes = ("left", "right")
        self.train = self.validation = self.test = OwnSplit(change)

    def batches(self, seed: int, batch_size: int) -> Any:
        return OwnBatches(self.train, seed, batch_size)


class OwnSplit:
    def __init__(self, change: Callable[[Tensor, Tensor], Any]) -> None:
        self.inputs = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
        self.targets, self.change = (self.inputs[:, 0] > 0).long(), change

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, batch_size: int) -> Any:
        for i in range(0, len(self), batch_size):
            yield self.change(self.inputs[i : i + batch_size], self.targets[i : i + batch_size])


class OwnBatches:
    def __init__(self, split: OwnSplit, seed: int, batch_size: int) -> None:
        self.split, self.seed, self.batch_size = split, seed, batch_size
        self.per_epoch = len(split) // batch_size

    def __call__(self, k: int) -> Any:
        chosen = torch.randint(48, (self.batch_size,), generator=torch.Generator().manual_seed(1000 * self.seed + k))
        return self.split.change(self.split.inputs[chosen], self.split.targets[chosen])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def test_the_head_alone_is_trained_on_a_task_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = lab.fine_tune(model, Own(), train="head", steps=6, batch_size=8).start().wait(60)
    assert "the frozen body runs at every step: own is a task of your own" in capsys.readouterr().out
    assert len(run.history) == 6 and all(math.isfinite(step.loss) for step in run.history)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"2.weight", "2.bias"}


@pytest.mark.parametrize("missing", ["name", "classes", "fingerprint", "train", "batches", "validation"])
def test_a_task_that_lacks_something_is_told_what(missing: str) -> None:
    task: Any = Own()
    lacking = type("Lacking", (), {name: getattr(task, name) for name in (*vars(task), "batches") if name != missing})()
    with pytest.raises(ValueError, match=rf"^the task, a Lacking, has no {missing}; a task of your own needs"):
        lab.fine_tune(net(), lacking, steps=2)


def test_who_never_validates_needs_no_validation_split() -> None:
    task = Own()
    del task.validation
    assert len(lab.fine_tune(net(), task, steps=2, batch_size=8, evaluate_every=0).start().wait(60).history) == 2


@pytest.mark.parametrize(("change", "message"), [
    (lambda x, y: (x, y.numpy()), r"the targets of own\.batches\(seed, batch_size\)\(k\) are a ndarray; they must"),
    (lambda x, y: (x.numpy(), y), "the inputs of own.* are a ndarray; they must be a torch tensor"),
    (lambda x, y: (x, y.int()), "the targets of own.* are torch.int32 up to .; they must be int64 from 0 to 1"),
    (lambda x, y: (x, y + 2), "the targets of own.* are torch.int64 up to [23]; they must be int64 from 0 to 1"),
    (lambda x, y: x, "own.* gives a Tensor; it must be a pair"),
    (lambda x, y: (x[:, :3], y), r"Sequential cannot take the inputs of own, \(2, 3\): .*mat1 and mat2"),
])  # fmt: skip
def test_batches_that_are_none(change: Callable[[Tensor, Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        lab.fine_tune(net(), Own(change), steps=2)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


class Returns(nn.Module):
    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(192, 10), change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.layer(x.flatten(1)))


@pytest.mark.parametrize(("change", "message"), [
    (lambda logits: (logits, logits), r"^Returns returns a tuple; it must return the logits \(B, C\) alone"),
    (lambda logits: logits.detach().numpy(), "^Returns returns a ndarray; it must return the logits"),
    (lambda logits: None, "^Returns returns nothing; it must return the logits"),
    (lambda logits: logits[:, :3], r"returns \(2, 3\) for 2 examples; for the 10 classes of digits it must be \(2,"),
    (lambda logits: logits.mean(), r"returns \(\) for 2 examples"),
])  # fmt: skip
def test_models_that_return_no_logits(change: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab.fine_tune(Returns(change), data.digits(train=40, validation=20, test=20, size=8), steps=2)


def test_trying_a_model_out_changes_nothing_of_it() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 10))
    model[3].eval()
    before, drawn = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.get_rng_state()
    models.check_fits(model, data.digits(train=40, validation=20, test=20, size=8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [module.training for module in model] == [True, True, True, False, True]


@pytest.mark.parametrize(("name", "size", "right"), [
    pytest.param("inception_v3", 96, "at least 299 × 299", marks=pytest.mark.slow),  # draws its weights slowly
    ("vit_b_16", 32, "224 × 224"), ("alexnet", 32, "at least 64 × 64"),
    ("vgg11", 16, "at least 32 × 32"),
])  # fmt: skip
def test_pictures_too_small_for_a_family_are_refused_with_the_size_that_it_takes(
    name: str, size: int, right: str
) -> None:
    task = data.digits(train=40, validation=20, test=20, size=size)
    with torch.device("meta"):
        model = models.resnet(10, name, weights="random")
    least = right.split()[-1]
    with pytest.raises(ValueError, match=f"^{name} takes pictures of {right} pixels, but digits has {size} × {size}; "
                                         f"make it with size={least}$"):  # fmt: skip
        lab.fine_tune(model, task, steps=2)


@pytest.mark.slow
def test_a_head_on_kept_features_needs_only_what_the_body_needs_to_judge() -> None:
    with torch.device("meta"):
        model = models.resnet(10, "inception_v3", weights="random")
    models.check_fits(model, data.digits(train=40, validation=20, test=20, size=96), training=False)


def inception() -> nn.Module:
    """Inception's own plan, its auxiliary head included, with blocks of one thin convolution each."""

    def thin(out: int, stride: int = 1) -> Callable[..., nn.Module]:
        return lambda channels, **_: BasicConv2d(channels, out, kernel_size=3 if stride > 1 else 1, stride=stride)

    widths = iter((256, 288, 288))
    same = iter((1280, 2048, 2048))
    blocks: list[Any] = [
        lambda i, o, **kw: BasicConv2d(i, o, **kw),
        lambda channels, **_: thin(next(widths))(channels),
        thin(768, 2),
        lambda channels, **_: thin(768)(channels),
        lambda channels, **_: thin(next(same), 2)(channels),
        lambda channels, **_: thin(next(same))(channels),
        InceptionAux,
    ]
    return Inception3(10, inception_blocks=blocks, init_weights=False)


@pytest.mark.slow
def test_inception_trains_with_its_auxiliary_head() -> None:
    torch.manual_seed(0)
    model, task = inception(), data.digits(train=20, validation=10, test=10, size=299)
    assert models.layer_names(model)[0] == "head"
    run = lab.fine_tune(model, task, steps=2, batch_size=2, evaluate_every=0).start().wait(120)
    assert len(run.history) == 2 and all(math.isfinite(step.loss) for step in run.history)
    kept = models.cached_features(task, model).collate(torch.arange(2))[0]
    assert kept.shape == (2, 2048) and np.isfinite(kept.numpy()).all()
