"""Probes on small real cases, with the fault and without it; what each leaves behind: nothing; and what they cost."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_setups import (
    bert_setup,
    conv_setup,
    convolutional,
    logits,
    pictures,
    tiny_bert,
    trained,
    with_data,
)
from torch import Tensor, nn
from torch.nn import functional as F

from stablelab.doctor.findings import Cause, Finding
from stablelab.doctor.judging import UnknownError
from stablelab.doctor.probes import PROBES, measure_all
from stablelab.doctor.probing import Probe, restoring
from stablelab.doctor.setup import TensorExamples, TrainingSetup

BY_NAME = {probe.name: probe for probe in PROBES}


@pytest.fixture(scope="module")
def conv() -> TrainingSetup:
    return conv_setup()


@pytest.fixture(scope="module")
def bert() -> TrainingSetup:
    return bert_setup()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def asked(name: str, setup: TrainingSetup) -> Finding | None:
    return BY_NAME[name].judge(BY_NAME[name].measure(setup))


def fresh(setup: TrainingSetup) -> TrainingSetup:
    """The same with a copy of the model, without its optimizer."""
    return replace(setup, model=copy.deepcopy(setup.model), optimizer=None)


# -- no trace ----------------------------------------------------------------------------------------------------------


def everything(setup: TrainingSetup) -> dict[str, Any]:
    """All that a probe could have touched, as values, and the identity of the tensors."""
    model, optimizer = setup.model, setup.optimizer
    assert optimizer is not None
    parameters = dict(model.named_parameters())
    return {
        "weights": {name: p.detach().clone() for name, p in parameters.items()},
        "buffers": {name: b.clone() for name, b in model.named_buffers()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in parameters.items()},
        "same": [id(p) for p in parameters.values()] + [id(p.grad) for p in parameters.values()],
        "needed": {name: p.requires_grad for name, p in parameters.items()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "state": copy.deepcopy(optimizer.state_dict()),
        "state_is": [id(value) for held in optimizer.state.values() for value in held.values()],
        "random": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()),
        "global": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()),
        "data": [x.clone() for x in tensors(setup.train.collate(torch.arange(len(setup.train))))],
    }


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [each for part in parts for each in tensors(part)]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def differences(setup: TrainingSetup, before: dict[str, Any]) -> list[str]:
    after = everything(setup)
    return [name for name in before if not same(before[name], after[name])]


@pytest.mark.parametrize("kind", ["conv", "bert"])
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_probe_leaves_no_trace(probe: Probe, kind: str, request: pytest.FixtureRequest) -> None:
    setup = request.getfixturevalue(kind)
    part = next(iter(setup.model.children()))
    part.train(not part.training)  # a part in a mode of its own stays in it
    before = everything(setup)
    try:
        probe.measure(setup)
    except UnknownError as reason:
        assert "\n" not in str(reason) and len(str(reason)) < 160
    assert differences(setup, before) == []


def meddle(setup: TrainingSetup) -> None:
    model, optimizer = setup.model, setup.optimizer
    assert optimizer is not None
    model.eval()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    torch.set_grad_enabled(True)
    model.register_forward_hook(lambda *_: None)
    F.cross_entropy(logits(model, setup.train.collate(torch.arange(8))[0]), setup.train.targets[:8]).backward()
    optimizer.step()
    for group in optimizer.param_groups:
        group["lr"] = 7.0
    next(model.parameters()).requires_grad_(False)
    model.train()
    logits(model, setup.train.collate(torch.arange(8))[0])
    torch.set_default_dtype(torch.float64)


@pytest.mark.parametrize("kind", ["conv", "bert"])
def test_everything_is_restored_also_when_the_probe_raises(kind: str, request: pytest.FixtureRequest) -> None:
    setup = request.getfixturevalue(kind)
    before = everything(setup)
    with restoring(setup):
        meddle(setup)
        torch.set_default_dtype(torch.float32)
        assert {"weights", "state", "hooks", "random", "needed"} <= set(differences(setup, before))
        torch.set_default_dtype(torch.float64)
    assert differences(setup, before) == []
    with pytest.raises(ZeroDivisionError), restoring(setup):
        meddle(setup)
        _ = 1 / 0
    assert differences(setup, before) == []


def test_a_first_step_of_an_optimizer_is_undone_too(conv: TrainingSetup) -> None:
    setup = replace(conv, optimizer=torch.optim.Adam(conv.model.parameters()))
    assert setup.optimizer is not None and not setup.optimizer.state
    BY_NAME["update_ratio"].measure(setup)
    assert not setup.optimizer.state


# -- healthy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["conv", "bert"])
@pytest.mark.slow
def test_a_healthy_training_raises_no_alarm(kind: str, request: pytest.FixtureRequest) -> None:
    alarms, failed = [], []
    for name, numbers in measure_all(request.getfixturevalue(kind)).items():
        if isinstance(numbers, str):
            failed += [numbers] if "failed" in numbers else []
            continue
        try:
            finding = BY_NAME[name].judge(numbers)
        except UnknownError:
            continue
        alarms += [str(finding)] if finding is not None and finding.alarm else []
    assert alarms == [] and failed == []


@pytest.mark.slow
def test_probes_take_less_than_forty_steps(conv: TrainingSetup) -> None:
    """Of a small net on small pictures; half a second is for what does not depend on the net."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
    ]
    big = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 22 * 22, 3))
    data = TensorExamples(torch.randn(128, 3, 24, 24), torch.arange(128) % 3)
    optimizer = torch.optim.AdamW(big.parameters())
    setup = TrainingSetup(big, data, data, optimizer, batch_size=32, classes=3)

    def step() -> None:
        F.cross_entropy(big(data.inputs[:32]), data.targets[:32]).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    measure_all(conv)  # what is imported on the way
    began = time.process_time()
    for _ in range(5):
        step()
    one = (time.process_time() - began) / 5
    began = time.process_time()
    measure_all(setup)
    assert time.process_time() - began < 40 * one + 0.5


# -- with the fault, and without ---------------------------------------------------------------------------------------


class Wrapped(nn.Module):
    def __init__(self, model: nn.Module, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.after = model, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.model(x))


class Maskless(nn.Module):
    def __init__(self, model: nn.Module, mask: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.mask = model, mask

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=self.mask(attention_mask)).logits


def summed(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(conv, loss=lambda a, b: F.cross_entropy(a, b, reduction="sum"))


def softmax_in_model(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(conv, model=Wrapped(conv.model, lambda z: z.softmax(1)))


def softmax_in_loss(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(conv, loss=lambda a, b: F.cross_entropy(a.softmax(1), b))


def head_left_out(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    model = convolutional()
    optimizer = torch.optim.AdamW(model.parameters())
    model[-1] = nn.Linear(96, 3)  # type: ignore[index]
    return replace(conv, model=model, optimizer=optimizer)


def frozen_by_accident(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    model = tiny_bert()
    optimizer = torch.optim.AdamW(model.parameters())
    for p in list(model.parameters())[:-2]:
        p.requires_grad_(False)
    return replace(bert, model=model, optimizer=optimizer)


def resumed(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    model = copy.deepcopy(conv.model)
    late = trained(model, pictures(), pictures(90, seed=1), steps=5)
    return replace(conv, model=model, optimizer=late.optimizer)


def cut_graph(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
            self.head = nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).detach())

    return replace(conv, model=Cut(), optimizer=None)


def never_zeroed(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = convolutional()
    return trained(model, pictures(), pictures(90), steps=80, zero_grad=False, learning_rate=1e-4)


def half(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    """Gradients as half precision leaves them: below its smallest number they are 0."""
    model = copy.deepcopy(conv.model)
    for p, old in zip(model.parameters(), conv.model.parameters(), strict=True):
        assert old.grad is not None
        p.grad = (old.grad * 2**-18).half().float()
    return replace(conv, model=model, optimizer=None, loss=lambda a, b: F.cross_entropy(a, b) * 2**-18)


def leaking(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(conv, model=Wrapped(conv.model, lambda z: z - z.mean(dim=0, keepdim=True)))


def mask_ignored(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(bert, model=Maskless(bert.model, torch.ones_like))


def mask_inverted(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(bert, model=Maskless(bert.model, lambda mask: 1 - mask))


def mask_inverted_in_data(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    inputs = bert.train.inputs  # type: ignore[attr-defined]
    return with_data(bert, train_inputs=inputs | {"attention_mask": 1 - inputs["attention_mask"]})


def validated_in_training_mode(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return trained(convolutional(0.6), pictures(), pictures(90, seed=1), validating=True)


def trained_in_evaluation_mode(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return trained(convolutional(0.6), pictures(), pictures(90, seed=1), training=False, steps=100)


def tiny_batches(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(conv, batch_size=2)


def slow(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return trained(convolutional(), pictures(), pictures(90), learning_rate=1e-7)


def dead(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    model = convolutional()
    with torch.no_grad():
        model[1].bias.fill_(-50.0)  # type: ignore[index]
    return replace(conv, model=model, optimizer=None)


def collapsed(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    other = fresh(conv)
    with torch.no_grad():
        for p in other.model.parameters():
            p.mul_(0.01)
    return other


def decayed(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    model = convolutional()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=40.0)
    return trained(model, pictures(), pictures(90), optimizer=optimizer)


def unlearnable(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    model = convolutional()
    with torch.no_grad():
        model[-1].weight.zero_()  # type: ignore[index]
    return replace(conv, model=Wrapped(model, lambda z: 0 * z), optimizer=None)


def pixels(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return with_data(conv, train_inputs=(pictures().inputs + 3) * 40)  # type: ignore[operator]


def cut_off(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    inputs = bert.train.inputs  # type: ignore[attr-defined]
    return with_data(bert, train_inputs={name: x[:, :4] for name, x in inputs.items()})


class Tokenizer:
    pad_token_id, unk_token_id, cls_token_id = 0, 2, 1

    def get_vocab(self) -> dict[str, int]:
        return {str(i): i for i in range(60)}


def unknown(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    inputs = bert.train.inputs  # type: ignore[attr-defined]
    ids = inputs["input_ids"]
    ids = torch.where((ids > 5) & (ids % 4 == 0), 2, ids)
    return replace(with_data(bert, train_inputs=inputs | {"input_ids": ids}), tokenizer=Tokenizer())


def copies(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    old, learnt = pictures(90, seed=1), pictures()
    near = torch.cat([learnt.inputs[:40] + 1e-3, old.inputs[40:]])  # type: ignore[index,operator]
    return with_data(conv, validation_inputs=near)


def copies_of_text(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(bert, validation=TensorExamples(*bert.train.collate(torch.arange(60))))


def corrupt(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    x = pictures().inputs.clone()  # type: ignore[union-attr]
    x[64:80] *= 200
    return with_data(conv, train_inputs=x)


def shifted(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return with_data(conv, train_targets=conv.train.targets.roll(1))


def shifted_text(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return with_data(bert, train_targets=bert.train.targets.roll(-1))


def says_nothing(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    return replace(conv, model=Wrapped(conv.model, lambda z: 0 * z + torch.tensor([0.2, 0.1, 0.0])), optimizer=None)


def rare_class(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    x, y = pictures(600), pictures(600).targets
    kept = (y > 0) | (torch.arange(600) % 20 == 0)
    part = TensorExamples(x.inputs[kept], y[kept])  # type: ignore[index]
    favours = Wrapped(conv.model, lambda z: z + torch.tensor([-50.0, 0.0, 0.0]))
    return replace(conv, model=favours, train=part, validation=part, optimizer=None)


def flipped(conv: TrainingSetup, bert: TrainingSetup) -> TrainingSetup:
    generator = torch.Generator().manual_seed(3)
    y = conv.train.targets
    wrong = torch.rand(len(y), generator=generator) < 0.4
    return with_data(conv, train_targets=torch.where(wrong, (y + 1) % 3, y))


FAULTS: dict[Callable[[TrainingSetup, TrainingSetup], TrainingSetup], tuple[str, Cause]] = {
    summed: ("sum_of_losses", Cause.SUMMED_LOSS),
    softmax_in_model: ("second_softmax", Cause.SOFTMAX_TWICE),
    softmax_in_loss: ("second_softmax", Cause.SOFTMAX_TWICE),
    head_left_out: ("missing_from_optimizer", Cause.MISSING_FROM_OPTIMIZER),
    frozen_by_accident: ("frozen", Cause.FROZEN),
    resumed: ("young_optimizer", Cause.RESUMED),
    cut_graph: ("no_gradient", Cause.NO_GRADIENT),
    never_zeroed: ("left_over_gradient", Cause.NO_ZERO_GRAD),
    half: ("underflow", Cause.UNDERFLOW),
    leaking: ("batch_leak", Cause.BATCH_LEAK),
    mask_ignored: ("mask", Cause.MASK),
    mask_inverted: ("mask", Cause.MASK),
    mask_inverted_in_data: ("mask", Cause.MASK),
    validated_in_training_mode: ("validation_mode", Cause.MODES),
    trained_in_evaluation_mode: ("running_statistics", Cause.MODES),
    tiny_batches: ("small_batches", Cause.SMALL_BATCHES),
    slow: ("update_ratio", Cause.RATE_TOO_LOW),
    dead: ("dead_units", Cause.SATURATED),
    collapsed: ("collapsed_weights", Cause.WEIGHT_DECAY),
    decayed: ("decayed_weights", Cause.WEIGHT_DECAY),
    unlearnable: ("one_batch", Cause.NO_GRADIENT),
    pixels: ("scale_of_inputs", Cause.SCALE),
    cut_off: ("cut_off", Cause.TOKENIZER),
    unknown: ("unknown_tokens", Cause.TOKENIZER),
    copies: ("duplicates", Cause.DUPLICATES),
    copies_of_text: ("duplicates", Cause.DUPLICATES),
    corrupt: ("odd_examples", Cause.BAD_BATCH),
    shifted: ("unrelated_labels", Cause.WRONG_LABELS),
    shifted_text: ("unrelated_labels", Cause.WRONG_LABELS),
    says_nothing: ("no_information", Cause.SATURATED),
    rare_class: ("frequent_class", Cause.IMBALANCE),
    flipped: ("wrong_labels", Cause.LABEL_NOISE),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_seen_by_its_probe(fault: Any, conv: TrainingSetup, bert: TrainingSetup) -> None:
    name, cause = FAULTS[fault]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        setup = fault(conv, bert)
    finding = asked(name, setup)
    assert finding is not None and finding.alarm and finding.causes[0] == cause, finding
    assert finding.rule == name and finding.source and finding.cure


def test_every_probe_that_alarms_has_seen_its_fault() -> None:
    silent = {"by_heart", "training_mode", "worse_than_control"}  # judged on constructed numbers
    assert {name for name, _ in FAULTS.values()} | silent == set(BY_NAME)
