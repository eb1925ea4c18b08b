"""Every kind of log that the doctor reads, each as the real thing; and what is said of one that cannot be read."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from support.clouds import Clouds, network
from support.constructed import falling
from torch.utils.tensorboard import SummaryWriter
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import stablelab as lab
from stablelab.doctor.column_names import find_columns
from stablelab.doctor.reading import read
from stablelab.training import Run, Settings
from stablelab.training.integrations.transformers import HuggingFaceRun


@pytest.fixture(scope="module")
def run() -> Run:
    settings = Settings(learning_rate=1e-2, max_norm=1.0, schedule="cosine")
    return Run(network(), Clouds(), settings=settings, steps=120, batch_size=20, evaluate_every=10).start().wait(60)


def same_columns(a, b) -> None:
    names = ("steps", "losses", "learning_rates", "norms", "max_norms", "validation_steps", "validation_losses")
    for name in (*names, "accuracies"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6, err_msg=name)


# -- ours --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_brings_its_classes_label_shares_and_settings(run: Run) -> None:
    log = read(run)
    shares = np.bincount(Clouds().train.targets) / 200
    assert (log.classes, log.batch_size, log.steps_per_epoch, log.total_steps, log.over) == (3, 20, 10, 120, True)
    assert log.label_entropy == pytest.approx(-(shares * np.log(shares)).sum())
    assert (log.adam_like, log.bias_correction, log.warmup_steps) == (True, True, 0)
    assert log.losses.tolist() == [step.loss for step in run.history]
    report = lab.examine(run)
    assert report.alarms == () and report.source == "run 'clouds'"
    assert {each.reason for each in report.not_checked} == {"the inputs are no tokens"}, str(report)


@pytest.mark.slow
def test_a_live_run_is_read_as_far_as_it_has_come() -> None:
    run = Run(network(), Clouds(), steps=400, batch_size=20)
    with pytest.raises(ValueError, match="run 'clouds' is empty: it holds no step yet"):
        lab.examine(run)
    run.step(60)
    run.wait_paused()
    report = lab.examine(run)
    run.stop()
    assert any("step 60 of 400; it is judged from its half on" in each.reason for each in report.not_checked)


@pytest.mark.slow
def test_another_loss_is_not_held_against_ln_c() -> None:
    def focal(logits, targets):
        return ((1 - torch.softmax(logits, 1).gather(1, targets[:, None])) ** 2).mean()

    run = Run(network(), Clouds(), steps=60, batch_size=20, loss=focal).start().wait(60)
    reasons = {each.rule: each.reason for each in lab.examine(run).not_checked}
    assert "its loss is focal, not plain cross-entropy" in reasons["first_loss"]


def test_the_table_that_a_run_exports_is_the_run(run: Run, tmp_path: Path) -> None:
    run.history.to_csv(tmp_path / "run.csv")
    same_columns(read(tmp_path / "run.csv"), read(run))
    same_columns(read(run.history), read(run))
    same_columns(read(run.history.frame()), read(run))
    assert read(tmp_path / "run.csv").steps_per_epoch == 10
    assert lab.examine(tmp_path / "run.csv", classes=3, batch_size=20).alarms == ()


def test_a_run_that_was_not_finite_says_so_in_its_table_too(tmp_path: Path) -> None:
    settings = Settings(learning_rate=1e30, optimizer="sgd")
    run = Run(network(), Clouds(), settings=settings, steps=10, batch_size=20)
    run.start().wait(60)  # it stands still
    run.stop()
    run.history.to_csv(tmp_path / "run.csv")
    for what in (run, tmp_path / "run.csv"):
        assert "not_finite" in [each.rule for each in lab.examine(what, classes=3).alarms], what


def test_a_watched_loop_live_over_and_saved(tmp_path: Path) -> None:
    def train(live):
        for loss in falling(80, seed=3):
            live.record(loss=float(loss), gradient_norm=1.0)
        live.evaluate(loss=0.5, accuracy=0.9)

    from stablelab.training.own_loop import OwnLoop

    watched = OwnLoop(train, (), {"learning_rate": 1e-3, "max_norm": 0.5}, total_steps=80, name="mine")
    watched.start().wait(60)
    log = read(watched)
    assert (len(log), log.over, log.max_norms[0], log.learning_rates[0]) == (80, True, 0.5, 1e-3)
    watched.save(tmp_path / "mine.json")
    same_columns(read(tmp_path / "mine.json"), log)
    assert "almost every step is clipped" in str(lab.examine(tmp_path / "mine.json", classes=10))


# -- Hugging Face ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainer(tmp_path_factory) -> Trainer:
    folder = tmp_path_factory.mktemp("trainer")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**shape, vocab_size=50, num_labels=2))
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(2, 50, (200, 6), generator=generator)
    data = [{"input_ids": each, "labels": (each[0] > 25).long()} for each in words]
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=6,
        learning_rate=1e-2,
        per_device_train_batch_size=16,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model, arguments, train_dataset=data[40:], eval_dataset=data[:40])
    with pytest.raises(ValueError, match="this Trainer has logged nothing yet"):
        lab.examine(trainer)
    trainer.train()
    return trainer


@pytest.mark.slow
def test_a_trainer_and_its_state_on_disk(trainer: Trainer) -> None:
    log = read(trainer)
    assert (log.classes, log.batch_size, log.total_steps, log.over, log.averaged) == (2, 16, 60, True, 1)
    assert (len(log), len(log.validation_losses), log.steps_per_epoch, log.max_norms[0]) == (60, 6, 10, 1.0)
    assert log.adam_like and log.begins
    report = lab.examine(trainer)
    assert {each.rule for each in report.alarms} == {"cut_off"}, str(report)  # texts of 6 tokens each
    assert any("logging_nan_inf_filter" in each.reason for each in report.not_checked)
    folder = Path(trainer.args.output_dir) / "checkpoint-60"
    for path in (folder, folder / "trainer_state.json", str(folder)):
        state = read(path)
        np.testing.assert_array_equal(state.losses, log.losses)
        assert (state.classes, state.batch_size, state.over) == (None, 16, True)
    assert lab.examine(folder, classes=2).alarms == ()


@pytest.mark.slow
def test_a_watched_trainer_knows_its_classes(trainer: Trainer) -> None:
    again = Trainer(trainer.model, trainer.args, train_dataset=trainer.train_dataset, eval_dataset=[])
    again.args.eval_strategy, again.args.save_strategy = "no", "no"
    again.args.max_steps = 12
    watched = HuggingFaceRun(again).start().wait(60)
    assert (read(watched).classes, len(read(watched)), read(watched).over) == (2, 12, True)


# -- tables of others --------------------------------------------------------------------------------------------------


def test_columns_are_told_by_their_names() -> None:
    foreign = {
        "loss": ("Train Loss", "train/loss", "trainLoss", "loss", "training_loss", "cross_entropy", "train_loss_step"),
        "validation_loss": ("val_loss", "Valid Loss", "eval/loss", "validation_loss", "loss_val"),
        "accuracy": ("val_acc", "accuracy", "eval_accuracy", "Val Accuracy"),
        "learning_rate": ("lr", "learning_rate", "lr-AdamW", "train/learning_rate"),
        "norm": ("grad_norm", "gradient_norm", "train/grad_norm", "norm_before"),
        "step": ("step", "global_step", "Iteration", "iter"),
        "epoch": ("epoch", "Epoch", "train/epoch"),
    }
    for i in range(7):
        names = {kind: each[i % len(each)] for kind, each in foreign.items()}
        found = find_columns([*names.values(), "seconds", "norm_after", "note"], "it")
        assert {kind: getattr(found, kind) for kind in names} == names
    both = find_columns(["epoch", "step", "train_loss_epoch", "train_loss_step", "val_loss"], "it")
    assert both.loss == "train_loss_step"
    assert find_columns(["cls_loss", "box_loss", "total_loss"], "it").loss == "total_loss"
    assert find_columns(["d_loss", "g_loss"], "it", "g_loss").loss == "g_loss"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log.csv' cannot be read as a table: it is empty"),
        ("step,loss\n", "log.csv is empty: it has columns, but no line of numbers"),
        ("1,2.3\n2,2.2\n", "its first line has no names of columns, such as step,loss"),
        ("step,d_loss,g_loss\n1,2,3\n", "several columns that may be the training loss, 'd_loss', 'g_loss': name one"),
        ("step,speed,heat\n1,2,3\n", "no column of a training loss; found were 'step', 'speed', 'heat': name it"),
        ("step,loss\n1,\n2,\n", "no finite number in the column 'loss', in none of 2 lines"),
        ("step,loss\n1,nan\n2,NaN\n", "no finite number in the column 'loss', in none of 2 lines"),
        ("step,loss\n1,hello\n2,you\n", "no finite number in the column 'loss', in none of 2 lines"),
        ('step,loss\n1,"2\n', "log.csv' cannot be read as a table: "),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError) as refused:
        lab.examine(tmp_path / "log.csv")
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_other_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "picture.csv").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "half.json").write_text('{"log_history": [')
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"eval_loss": 1.0, "step": 5}], "max_steps": 5}')
    (tmp_path / "empty").mkdir()
    for what, message in {
        tmp_path / "none.csv": "there is no file",
        tmp_path / "picture.csv": "cannot be read as a table: it is not a table of text",
        tmp_path / "list.json": "neither a trainer_state.json",
        tmp_path / "half.json": "is not JSON",
        tmp_path / "trainer_state.json": "has no training loss in its log",
        tmp_path / "empty": "holds neither a trainer_state.json nor a file of TensorBoard",
        7: "lab.examine takes a run, .*; this is int",
        None: "or model=... and task=... without a log",
    }.items():
        with pytest.raises(ValueError, match=message) as refused:
            lab.examine(what)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="classes is 1; it must be a whole number, 2 or more"):
        lab.examine(pandas.DataFrame({"loss": [1.0]}), classes=1)
    with pytest.raises(ValueError, match="this table has no column 'los'; found were 'loss'"):
        lab.examine(pandas.DataFrame({"loss": [1.0]}), loss="los")


def test_one_line_is_a_report_of_what_could_not_be_checked(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,2.3\n")
    report = lab.examine(tmp_path / "log.csv")
    reasons = {each.rule: each.reason for each in report.not_checked}
    assert report.findings == () and reasons["diverged"] == "1 step is too few; it takes 10"
    assert reasons["schedule"] == "the learning rate is not in the log"


def test_a_log_of_another_kind_says_that_there_is_no_ln_c() -> None:
    frame = pandas.DataFrame({"step": range(1, 101), "loss": falling(100), "mae": 1.0, "lr": 1e-3})
    reasons = {each.rule: each.reason for each in lab.examine(frame).not_checked}
    assert "the column of mae says that this is no classification" in reasons["failed_run"]


def test_epochs_and_rows_are_not_taken_for_steps(tmp_path: Path) -> None:
    epochs = pandas.DataFrame({"epoch": range(20), "loss": falling(20), "val_loss": falling(20), "accuracy": 0.9})
    epochs.to_csv(tmp_path / "keras.csv", index=False)
    log = read(tmp_path / "keras.csv")
    assert (log.unit, len(log.validation_losses), log.steps_per_epoch) == ("epoch", 20, None)
    reasons = {each.rule: each.reason for each in lab.examine(tmp_path / "keras.csv", classes=10).not_checked}
    assert reasons["first_loss"] == "the log has a line per epoch, and no loss of the first step"
    assert read(pandas.DataFrame({"loss": falling(20)})).unit == "row"


def test_lines_of_validation_between_those_of_training_and_a_nan_that_is_written(tmp_path: Path) -> None:
    lines = ["epoch,step,train_loss,val_loss,val_acc"]
    for k in range(100):
        lines.append(f"{k // 10},{k},{2.3 / (k + 1)},,")
        if k % 10 == 9:
            lines.append(f"{k // 10},{k},,{2.0 / (k + 1)},0.9")
    (tmp_path / "metrics.csv").write_text("\n".join(lines))
    log = read(tmp_path / "metrics.csv")
    assert (len(log), len(log.validation_losses), log.not_finite, log.steps[0]) == (100, 10, None, 1)
    assert log.steps_per_epoch == 10
    (tmp_path / "metrics.csv").write_text("\n".join([*lines, "10,100,nan,,"]))
    assert read(tmp_path / "metrics.csv").not_finite == 101
    frame = pandas.DataFrame({"step": range(1, 21), "loss": [*falling(15), *[math.nan] * 5]})
    assert read(frame).not_finite == 16
    (tmp_path / "semicolons.csv").write_text("step; loss\n1; 2.3\n2; inf\n")
    assert read(tmp_path / "semicolons.csv").not_finite == 2


@pytest.mark.slow
def test_a_million_lines_in_two_seconds(tmp_path: Path) -> None:
    rows = 10**6
    columns = {"step": np.arange(1, rows + 1), "loss": falling(rows).astype(np.float32), "lr": 1e-3, "grad_norm": 1.0}
    frame = pandas.DataFrame(columns)
    frame.to_csv(tmp_path / "long.csv", index=False)
    lab.examine(frame.head(1000))  # what is imported once
    began = time.process_time()
    report = lab.examine(tmp_path / "long.csv", classes=10, batch_size=8, steps_per_epoch=1000)
    assert time.process_time() - began < 2
    assert report.alarms == ()


# -- TensorBoard -------------------------------------------------------------------------------------------------------


def test_a_folder_of_tensorboard(tmp_path: Path) -> None:
    losses = falling(60)
    with SummaryWriter(str(tmp_path / "first")) as writer:
        for k, loss in enumerate(losses):
            writer.add_scalar("Loss/train", loss, k)
            writer.add_scalar("lr", 1e-3, k)
            if k % 10 == 9:
                writer.add_scalar("Loss/val", loss + 0.1, k)
                writer.add_scalar("Accuracy/val", 0.9, k)
    log = read(tmp_path)
    np.testing.assert_allclose(log.losses, losses, rtol=1e-6)
    assert (log.steps[0], len(log.learning_rates), log.validation_steps.tolist()) == (1, 60, [10, 20, 30, 40, 50, 60])
    assert log.accuracies[-1] == pytest.approx(0.9)
    assert lab.examine(next((tmp_path / "first").iterdir()), classes=10).alarms == ()
    with SummaryWriter(str(tmp_path / "second")) as writer:
        writer.add_scalar("loss", 1.0, 0)
    with pytest.raises(ValueError, match=r"holds 2 runs of TensorBoard \(first, second\): give one of them"):
        lab.examine(tmp_path)
    with SummaryWriter(str(tmp_path / "third")) as writer:
        writer.add_scalar("D/loss", 1.0, 0)
        writer.add_scalar("G/loss", 1.0, 0)
    with pytest.raises(ValueError, match="third has several columns that may be the training loss"):
        lab.examine(tmp_path / "third")
    assert len(read(tmp_path / "third", "D/loss")) == 1


def test_without_tensorboard_one_line_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", 1.0, 0)
    for name in [each for each in sys.modules if each.startswith("tensorboard.backend.event_processing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing", None)
    with pytest.raises(ValueError, match=r"python -m pip install tensorboard"):
        lab.examine(tmp_path)


# -- the report --------------------------------------------------------------------------------------------------------


def test_a_report_prints_renders_and_is_data() -> None:
    frame = pandas.DataFrame({"step": range(1, 101), "<b>loss</b>": np.full(100, 2.4), "lr": 1e-3})
    report = lab.examine(frame, classes=10, batch_size=8, loss="<b>loss</b>")
    finding = report.findings[0]
    assert (finding.rule, finding.alarm, finding.confidence) == ("failed_run", True, "certain")
    assert finding.evidence.startswith("Its mean over the last quarter is 2.4") and finding.steps == (1, 100)
    assert "Mosbach" in finding.source and finding.cure and finding.numbers["guessing"] == math.log(10)
    text = str(report)
    assert text.splitlines()[0] == "this table: the loss does not come away from that of guessing"
    assert "likely: 1. the learning rate is too low" in text and "could not be checked:" in text
    html = report._repr_html_()
    assert "What could not be checked, and why" in html and finding.evidence.split("(")[0] in html
    assert json.loads(json.dumps(report.to_dict()))["findings"][0]["causes"][0] == "the learning rate is too low"


def test_names_of_files_are_escaped_in_a_page(tmp_path: Path) -> None:
    (tmp_path / "<script>.csv").write_text("step,loss\n1,2.3\n")
    html = lab.examine(tmp_path / "<script>.csv")._repr_html_()
    assert "&lt;script&gt;" in html and "<script>" not in html
