from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import stablelab as lab


@pytest.fixture(scope="module")
def digits():
    return lab.digits(train=64, validation=32, test=32)


@pytest.fixture(scope="module")
def movies():
    return lab.reviews("movies", train=48, validation=32, test=32)


def body_of(model: nn.Module, head: str) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items() if not k.startswith(head)}


@pytest.mark.parametrize("cached", [True, False])
def test_a_frozen_body_is_not_changed_running_statistics_included(digits, cached, monkeypatch, capsys):
    model = lab.resnet(digits.classes)
    before, head = body_of(model, "fc"), model.fc.weight.detach().clone()
    if not cached:
        monkeypatch.setattr("stablelab.desk.cached_features", lambda *_: (_ for _ in ()).throw(ValueError("no cache")))
    run = lab.fine_tune(model, digits, train="head", learning_rate=0.01, steps=6, batch_size=16)
    run.start().wait(120)
    assert all(torch.equal(value, before[name]) for name, value in body_of(model, "fc").items())
    assert not torch.equal(model.fc.weight, head)
    assert ("the frozen body runs at every step: no cache" in capsys.readouterr().out) is not cached


def test_cached_features_give_the_losses_of_the_ordinary_frozen_loop(movies, monkeypatch):
    records = []
    for cached in (True, False):
        if not cached:
            monkeypatch.setattr("stablelab.desk.cached_features", lambda *_: (_ for _ in ()).throw(ValueError("no")))
        run = lab.fine_tune(lab.bert(movies.classes), movies, train="head", learning_rate=0.01, steps=8, batch_size=8)
        records.append([step.loss for step in run.start().wait(120).history])
    assert records[0] == pytest.approx(records[1], abs=1e-5)


def test_training_all_after_the_head_moves_the_body_again(digits):
    model = lab.resnet(digits.classes)
    lab.fine_tune(model, digits, train="head", steps=2, batch_size=16).start().wait(120)
    before = model.conv1.weight.detach().clone()
    lab.fine_tune(model, digits, steps=2, batch_size=16).start().wait(120)
    assert not torch.equal(model.conv1.weight, before)


def test_bert_trains_the_same_bit_for_bit_twice(movies):
    def losses() -> list[float]:
        run = lab.fine_tune(lab.bert(movies.classes), movies, steps=5, batch_size=8, learning_rate=1e-4)
        return [step.loss for step in run.start().wait(120).history]

    assert losses() == losses()


def test_a_run_saved_and_loaded_predicts_the_same(movies, tmp_path):
    model = lab.bert(movies.classes)
    run = lab.fine_tune(model, movies, train="head", steps=5, batch_size=8)
    run.start().wait(120)
    run.save(tmp_path / "run")
    again = lab.bert(movies.classes, seed=5)
    lab.load(tmp_path / "run", again, movies)
    assert torch.equal(lab.predict(again, movies.validation)[0], lab.predict(model, movies.validation)[0])


def test_a_model_and_a_task_of_ones_own(digits):
    class Mine:
        name, classes, fingerprint = "mine", digits.classes, "mine-1"
        train, validation, test = digits.train, digits.validation, digits.test

        def batches(self, seed: int, batch_size: int):
            return digits.batches(seed, batch_size)

    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    run = lab.fine_tune(network, Mine(), learning_rate=0.01, steps=4, batch_size=16)
    assert run.start().wait(60).state == "finished"


def test_what_cannot_be_is_said_in_one_line_and_starts_nothing(digits):
    threads = threading.active_count()
    model = lab.resnet(digits.classes)
    for arguments, message in (
        ({"lr": 0.1}, "no argument 'lr'; there are .*learning_rate"),
        ({"train": "body"}, 'train is \'body\'; it must be "all" or "head"'),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"batch_size": 1000}, "batch"),
        ({"batch_size": 0}, "batch"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            lab.fine_tune(model, digits, **arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="10 classes, but the head of .* has 3"):
        lab.fine_tune(lab.resnet(3), digits)
    assert threading.active_count() == threads


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="no 'finetune'; it has .*fine_tune"):
        lab.finetune  # noqa: B018
