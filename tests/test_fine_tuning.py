from __future__ import annotations

import dataclasses
import inspect
import re
import threading
import typing

import pytest
import torch
import torchvision
import transformers
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
@pytest.mark.slow
def test_a_frozen_body_is_not_changed_running_statistics_included(digits, cached, monkeypatch, capsys):
    model = lab.resnet(digits.classes)
    before, head = body_of(model, "fc"), model.fc.weight.detach().clone()
    if not cached:
        monkeypatch.setattr(
            "stablelab.fine_tuning.cached_features", lambda *_: (_ for _ in ()).throw(ValueError("no cache"))
        )
    run = lab.fine_tune(model, digits, train="head", learning_rate=0.01, steps=6, batch_size=16)
    run.start().wait(120)
    assert all(torch.equal(value, before[name]) for name, value in body_of(model, "fc").items())
    assert not torch.equal(model.fc.weight, head)
    assert ("the frozen body runs at every step: no cache" in capsys.readouterr().out) is not cached


@pytest.mark.slow
def test_cached_features_give_the_losses_of_the_ordinary_frozen_loop(movies, monkeypatch):
    records = []
    for cached in (True, False):
        if not cached:
            monkeypatch.setattr(
                "stablelab.fine_tuning.cached_features", lambda *_: (_ for _ in ()).throw(ValueError("no"))
            )
        run = lab.fine_tune(lab.bert(movies.classes), movies, train="head", learning_rate=0.01, steps=8, batch_size=8)
        records.append([step.loss for step in run.start().wait(120).history])
    assert records[0] == pytest.approx(records[1], abs=1e-5)


@pytest.mark.slow
def test_training_all_after_the_head_moves_the_body_again(digits):
    model = lab.resnet(digits.classes)
    lab.fine_tune(model, digits, train="head", steps=2, batch_size=16).start().wait(120)
    before = model.conv1.weight.detach().clone()
    lab.fine_tune(model, digits, steps=2, batch_size=16).start().wait(120)
    assert not torch.equal(model.conv1.weight, before)


@pytest.mark.slow
def test_bert_trains_the_same_bit_for_bit_twice(movies):
    def losses() -> list[float]:
        run = lab.fine_tune(lab.bert(movies.classes), movies, steps=5, batch_size=8, learning_rate=1e-4)
        return [step.loss for step in run.start().wait(120).history]

    assert losses() == losses()


@pytest.mark.slow
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


def small_network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        below = [nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=3), nn.Flatten()]
        return nn.Sequential(*below, nn.Linear(24, 10))


@pytest.mark.slow
def test_layers_go_by_their_names(digits, movies):
    network = torchvision.models.resnet18(num_classes=10)
    run = lab.fine_tune(network, digits, steps=2, batch_size=16)
    assert run.layers.names == ("head", "layer4", "layer3", "layer2", "layer1", "stem")
    assert run.layers[0] == ("fc",) and len(run.layers) == 6
    bert = lab.fine_tune(lab.bert(movies.classes), movies, steps=2, batch_size=8)
    assert bert.layers.names == ("head", *(f"block {i}" for i in range(6, 0, -1)), "embeddings")


@pytest.mark.slow
def test_what_a_run_has_controls_for(digits, movies):
    layers, pictures = {"unfrozen", "unfreeze_every", "layer_decay"}, {"noise", "crop", "rotation", "flip"}

    def folded(model: nn.Module, task: lab.training.Task, **arguments: object) -> set[str]:
        run = lab.fine_tune(model, task, steps=2, batch_size=8, **arguments)
        board = lab.Dashboard(run)
        board.close()
        always = {"clip", "warmup_steps", "implementation", "precision", "accumulation"}
        return set(board.controls.folded) - always

    assert folded(small_network(), digits) == {*layers, *pictures, "early_stopping"}
    assert folded(small_network(), digits, train="head") == {"early_stopping"}
    assert folded(small_network(), digits, evaluate_every=0) == {*layers, *pictures}
    assert folded(lab.bert(movies.classes), movies) == {*layers, "early_stopping"}


@pytest.mark.slow
def test_layers_train_one_after_another_and_pictures_are_changed(digits):
    def losses(**settings: object) -> tuple[list[float], nn.Module]:
        model = small_network()
        run = lab.fine_tune(model, digits, learning_rate=0.01, steps=6, batch_size=16, **settings)
        return [step.loss for step in run.start().wait(60).history], model

    plain, _ = losses()
    assert losses()[0] == plain
    for name, value in {"noise": 0.2, "crop": 0.2, "rotation": 40.0, "flip": 1.0}.items():
        changed, _ = losses(**{name: value})
        assert changed[0] != plain[0], name
    first = small_network().state_dict()
    _, model = losses(unfrozen=1, unfreeze_every=4, layer_decay=0.5)
    same = {name: torch.equal(value, first[name]) for name, value in model.state_dict().items()}
    assert not same["5.weight"] and not same["3.weight"], "the head, and from step 5 on the layer under it"
    assert same["0.weight"] and same["1.running_mean"]


@pytest.mark.slow
def test_a_log_is_done_again_by_the_front_desk(digits):
    for train, settings in (("all", {"noise": 0.1, "layer_decay": 0.5, "unfrozen": 2}), ("head", {})):
        run = lab.fine_tune(small_network(), digits, train=train, steps=12, batch_size=16, seed=3, **settings)
        run.step(5)
        run.wait_paused()
        run.control.change(learning_rate=0.02, **({"unfrozen": None} if train == "all" else {}))
        run.resume()
        run.wait(60)
        again = lab.replay(run.log(), small_network(), digits, train=train).start().wait(60)
        assert [step.loss for step in again.history] == [step.loss for step in run.history]
        assert again.history.interventions() == run.history.interventions() != ()
        assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), run.model.parameters(), strict=True))


def test_a_loaded_run_knows_its_layers(digits, tmp_path):
    run = lab.fine_tune(small_network(), digits, steps=2, batch_size=16, unfrozen=1)
    run.start().wait(60)
    run.save(tmp_path / "run")
    again = lab.load(tmp_path / "run", small_network(), digits)
    assert again.layers.names == run.layers.names and again.augment is run.augment
    assert again.control.settings.unfrozen == 1


@pytest.mark.parametrize("train", ["all", "head"])
@pytest.mark.slow
def test_a_run_that_was_ended_too_early_goes_on_to_the_same_numbers(train, digits, tmp_path, capsys):
    arguments = {"train": train, "steps": 12, "batch_size": 16, **({"unfrozen": 2} if train == "all" else {})}
    whole = lab.fine_tune(small_network(), digits, **arguments).start().wait(60)
    ended = lab.fine_tune(small_network(), digits, folder=tmp_path / "run", **arguments)
    ended.step(5)
    ended.wait_paused()
    ended.stop()
    again = lab.reopen(tmp_path / "run", small_network(), digits, train=train)
    assert "reopened at step" in capsys.readouterr().out
    again.start().wait(60)
    assert [step.loss for step in again.history] == [step.loss for step in whole.history]
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), whole.model.parameters(), strict=True))


def test_memory_for_checkpoints_is_passed_on(digits):
    run = lab.fine_tune(small_network(), digits, steps=2, batch_size=16, checkpoint_memory=12_345)
    assert run.checkpoints.memory == 12_345


def test_a_setting_that_would_change_nothing_is_refused(digits, movies):
    class Mine:
        name, classes, fingerprint = "mine", digits.classes, "mine-1"
        train, validation, test, batches = digits.train, digits.validation, digits.test, digits.batches

    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    bert = transformers.BertForSequenceClassification(
        transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    )
    for model, task, arguments, said in (
        (small_network(), digits, {"train": "head", "unfrozen": 1}, 'unfrozen is 1, but train="head" trains one'),
        (small_network(), digits, {"train": "head", "layer_decay": 0.5}, 'layer_decay is 0.5, but train="head"'),
        (small_network(), digits, {"train": "head", "noise": 0.1}, 'noise is 0.1, but train="head" looks at each'),
        (small_network(), digits, {"unfrozen": 9}, "unfrozen is 9, but this model has 3 layers: head, "),
        (small_network(), digits, {"unfreeze_every": 5}, "all layers train from the start; .* unfrozen=1"),
        (flat, digits, {"early_stopping": 2, "evaluate_every": 0}, "early_stopping is 2, but it looks at validations"),
        (flat, digits, {"layer_decay": 0.5}, "layer_decay is 0.5, but this model has one layer only"),
        (flat, Mine(), {"flip": 0.5}, 'flip is 0.5, but mine does not say that it holds pictures .*kind = "image"'),
        (bert, movies, {"rotation": 9.0}, "rotation is 9.0, but it changes pictures, and .* holds texts"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            lab.fine_tune(model, task, **arguments)
        assert "\n" not in str(caught.value)
        assert all(p.requires_grad for p in model.parameters()), "a call that is refused freezes nothing"


def test_shift_tab_shows_every_setting_and_every_argument_of_a_run_with_its_default():
    shown = inspect.signature(lab.fine_tune).parameters
    settings = {field.name: field.default for field in dataclasses.fields(lab.Settings)}
    of_runs = {name: each for name, each in inspect.signature(lab.Run).parameters.items() if name in shown}
    defaults = settings | {name: each.default for name, each in of_runs.items() if name not in ("model", "task")}
    assert {name: shown[name].default for name in defaults} == defaults
    assert set(shown) == {*settings, *of_runs, "train", "device"}
    assert set(inspect.signature(lab.Run).parameters) - set(shown) == {"settings", "trains", "layers", "augment"}
    assert shown["learning_rate"].annotation is float and shown["max_norm"].annotation == float | None
    hints = typing.get_type_hints(lab.Settings)
    assert {name: shown[name].annotation for name in hints} == hints


@pytest.mark.parametrize("function", [lab.fine_tune, lab.replay, lab.load, lab.reopen, lab.range_test])
def test_a_function_names_its_arguments_and_says_what_each_means(function):
    parameters = inspect.signature(function).parameters.values()
    assert not [each for each in parameters if each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    meanings = inspect.getdoc(function)  # indented alike on all Pythons
    section = re.search(r"Args:\n(.*?)\n\n", meanings, re.DOTALL)[1]
    explained = ", ".join(re.findall(r"^ {4}(\w+(?:, \w+)*): \S", section, re.MULTILINE))
    assert sorted(explained.split(", ")) == sorted(each.name for each in parameters)


def test_a_wrong_name_is_answered_by_every_function_that_makes_a_run(digits, tmp_path):
    for function, first in ((lab.replay, None), (lab.load, tmp_path), (lab.reopen, tmp_path)):
        with pytest.raises(ValueError, match=rf"{function.__name__} has no argument 'los'; did you mean loss"):
            function(first, small_network(), digits, los=None)


def test_a_run_goes_on_with_the_loss_that_it_is_given(digits, tmp_path):
    def doubled(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 2 * nn.functional.cross_entropy(logits, targets)

    run = lab.fine_tune(small_network(), digits, steps=4, batch_size=16, loss=doubled, folder=tmp_path / "run")
    run.start().wait(60)
    again = lab.replay(run.log(), small_network(), digits, loss=doubled, checkpoint_memory=12_345)
    assert [step.loss for step in again.start().wait(60).history] == [step.loss for step in run.history]
    assert again.checkpoints.memory == 12_345
    for function in (lab.load, lab.reopen):
        assert function(tmp_path / "run", small_network(), digits, loss=doubled).loss is doubled


@pytest.mark.slow
def test_what_cannot_be_is_said_in_one_line_and_starts_nothing(digits):
    threads = threading.active_count()
    model = lab.resnet(digits.classes)
    for arguments, message in (
        ({"lr": 0.1}, r"fine_tune has no argument 'lr'; did you mean learning_rate\?"),
        ({"max_nrom": 1.0}, r"no argument 'max_nrom'; did you mean max_norm\?"),
        ({"verbosity": 1}, "no argument 'verbosity'; there are .*batch_size, .*learning_rate"),
        ({"train": "body"}, 'train is \'body\'; it must be "all" or "head"'),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"batch_size": 1000}, "batch"),
        ({"batch_size": 0}, "batch"),
        ({"precision": "float16"}, "unknown precision 'float16': there are fp32, bf16, fp16"),
        ({"accumulation": 3, "batch_size": 16}, "accumulation is 3, which does not divide the batch of 16; it can be"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            lab.fine_tune(model, digits, **arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="10 classes, but the head of .* has 3"):
        lab.fine_tune(lab.resnet(3), digits)
    assert threading.active_count() == threads


def test_precision_and_accumulation_start_a_run_and_a_slow_precision_is_said(digits, capsys, monkeypatch):
    run = lab.fine_tune(small_network(), digits, steps=3, batch_size=16, precision="bf16", accumulation=4)
    run.start().wait(60)
    assert {step.optimizer for step in run.history} == {"AdamW · torch fused · bf16"}
    assert run.control.settings.accumulation == 4
    capsys.readouterr()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    lab.fine_tune(small_network(), digits, steps=3, batch_size=16)
    assert capsys.readouterr().out == ""
    lab.fine_tune(small_network(), digits, steps=3, batch_size=16, precision="bf16")
    said = capsys.readouterr().out
    assert said.startswith("bf16 is slower than fp32 here") and said.count("\n") == 1


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="no 'finetune'; it has .*fine_tune"):
        lab.finetune  # noqa: B018
