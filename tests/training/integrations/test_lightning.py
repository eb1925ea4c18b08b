"""A Lightning Trainer under the dashboard: its own numbers, our sliders, and all put back afterwards."""

from __future__ import annotations

import logging
import warnings

import lightning.pytorch as pl
import pytest
import torch
from support.helpers import same_weights, until
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from stablelab.training.integrations.lightning import LightningRun

PLANS = [
    {},
    {"accumulate_grad_batches": 2, "gradient_clip_val": None},
    {"num_sanity_val_steps": 0, "val_check_interval": 3, "gradient_clip_algorithm": "value"},
]


class Module(pl.LightningModule):
    def __init__(self, net: nn.Module, rate: float = 1e-2) -> None:
        super().__init__()
        self.net, self.rate = net, rate
        self.losses: list[float] = []

    def training_step(self, batch, _):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, _):
        logits = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=0.1)
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 10)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def fit(clouds, make_network, tmp_path):
    """Make a Trainer and what its ``fit`` is given."""

    def make(**changes):
        arguments = {"max_epochs": 2, "gradient_clip_val": 0.5, "logger": False, "enable_checkpointing": False}
        trainer = pl.Trainer(**arguments | changes, accelerator="cpu", default_root_dir=tmp_path)
        torch.manual_seed(5)
        train = TensorDataset(clouds.train.inputs, clouds.train.targets)
        validation = TensorDataset(clouds.validation.inputs, clouds.validation.targets)
        loaders = DataLoader(train, 25, shuffle=True), DataLoader(validation, 25)
        return trainer, (Module(make_network()), *loaders)

    return make


def paused_after(run: LightningRun, steps: int) -> LightningRun:
    run.step(steps)
    run.wait_paused()
    return run


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.slow
def test_untouched_it_has_the_numbers_of_the_trainer_alone(fit, plan, capfd) -> None:
    alone, given = fit(**plan)
    alone.fit(*given)
    watched, again = fit(**plan)
    before = list(watched.callbacks)
    capfd.readouterr()
    run = LightningRun(watched, again).start().wait(120)
    assert "it/s" not in "".join(capfd.readouterr())
    assert watched.callbacks == before
    assert same_weights(given[0], again[0]) and given[0].losses == again[0].losses
    each = plan.get("accumulate_grad_batches", 1)
    assert (run.state, len(run.history), run.total_steps) == ("finished", 16 // each, 16 // each)
    means = [sum(again[0].losses[i : i + each]) / each for i in range(0, 16, each)]
    assert [step.loss for step in run.history] == pytest.approx(means, rel=1e-6)
    assert run.history.interventions() == ()
    scored = run.history.evaluations()
    assert scored[-1].loss == float(watched.callback_metrics["val_loss"])
    assert [each.step for each in scored] == (
        [3, 6, 11, 14] if "val_check_interval" in plan else [8 // each, 16 // each]
    )
    assert {step.max_norm for step in run.history} == {plan.get("gradient_clip_val", 0.5)}
    assert {step.clip for step in run.history} == {plan.get("gradient_clip_algorithm", "norm")}


@pytest.mark.parametrize("clipping", ["Lightning's", "the module's own"])
def test_where_lightning_clips_by_the_norm_it_is_computed_once(fit, clipping, monkeypatch) -> None:
    computed = []
    clip, total = torch.nn.utils.clip_grad_norm_, torch.nn.utils.get_total_norm
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *a: computed.append(clip(*a)) or computed[-1])
    monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda *a: computed.append(total(*a)) or computed[-1])
    trainer, given = fit()
    if clipping == "the module's own":
        given[0].__class__ = type("Own", (Module,), {"configure_gradient_clipping": lambda *_, **__: None})
    run = LightningRun(trainer, given).start().wait(120)
    assert [step.norm_before for step in run.history] == [float(each) for each in computed]
    assert "clip_grad_by_norm" not in vars(trainer.precision_plugin)


def test_a_change_acts_from_the_next_step_on_and_the_schedule_keeps_its_shape(fit) -> None:
    trainer, given = fit()
    planned = [1e-2 * (1 - 0.09 * min(k, 10)) for k in range(16)]
    run = paused_after(LightningRun(trainer, given), 4)
    run.control.change(learning_rate=0.1, max_norm=1e-3, weight_decay=0.3)
    paused_after(run, 2)
    assert trainer.optimizers[0].param_groups[0]["weight_decay"] == 0.3
    run.control.change(learning_rate=1e-2, max_norm=None)
    run.resume()
    run.wait(120)
    rates = [step.learning_rates[0] for step in run.history]
    assert rates == pytest.approx([rate * (10 if k in (4, 5) else 1) for k, rate in enumerate(planned)], rel=1e-9)
    assert [step.max_norm for step in run.history] == [0.5] * 4 + [1e-3] * 2 + [None] * 10
    assert [step.clipped for step in run.history][4:8] == [True, True, False, False]


@pytest.mark.parametrize("plan", [{}, {"min_epochs": 2}])
def test_pause_one_step_and_stop(fit, plan) -> None:
    trainer, given = fit(**plan)
    run = paused_after(LightningRun(trainer, given), 8)
    assert (run.state, len(run.history), len(run.history.evaluations())) == ("paused", 8, 1)
    paused_after(run, 1)
    run.stop()
    assert (run.state, run.error, trainer.global_step) == ("stopped", None, 9)


def test_stopped_while_it_runs(fit) -> None:
    trainer, given = fit(max_epochs=10_000)
    run = LightningRun(trainer, given).start()
    until(lambda: len(run.history) > 3)
    run.stop()
    assert (run.state, run.error) == ("stopped", None)
    assert len(run.history) == trainer.global_step < 80_000


def test_knobs_show_what_the_optimizers_say_where_that_was_not_known_before(fit) -> None:
    trainer, given = fit()

    def needs_trainer():
        assert given[0].trainer.estimated_stepping_batches == 16
        return torch.optim.SGD(given[0].parameters(), lr=0.5)

    given[0].configure_optimizers = needs_trainer
    run = LightningRun(trainer, given)
    assert run.control.settings.learning_rate == 1e-3
    paused_after(run, 1)
    assert run.control.settings.learning_rate == run.history[0].learning_rates[0] == 0.5
    assert run.version > 0
    run.stop()
    assert run.history.interventions() == ()


def test_what_cannot_be_watched_is_refused_in_one_line(fit) -> None:
    trainer, given = fit()
    for wrong in ((), (given[1],)):
        with pytest.raises(ValueError, match=r"give lab.watch what trainer.fit is given: lab.watch\(trainer, module"):
            LightningRun(trainer, wrong)
    run = LightningRun(trainer, given)
    with pytest.raises(ValueError, match="Module is watched already: start that run"):
        LightningRun(fit()[0], given)
    run.start().wait(120)
    with pytest.raises(ValueError, match="this Trainer has trained 16 steps already"):
        LightningRun(trainer, given)


def test_an_exception_is_kept_and_all_is_put_back(fit) -> None:
    trainer, given = fit()
    before = list(trainer.callbacks)
    given[0].training_step = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        LightningRun(trainer, given).start().wait(120)
    assert trainer.callbacks == before
