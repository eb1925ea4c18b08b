"""Another cell that seeds or draws while a run trains: the run comes to the same numbers, and it is said."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from support.clouds import Clouds, network
from support.helpers import timeless
from torch import nn
from torch.utils.checkpoint import checkpoint

from stablelab.training import Run, Step


def elsewhere(do: Callable[[], object]) -> None:
    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


class Meddling(nn.Module):
    """Stands between two dropouts; what another cell would do at this very moment is done by a thread of its own."""

    def __init__(self, meddle: Callable[[], object] = lambda: None, at: int = 3) -> None:
        super().__init__()
        self.first, self.second = nn.Dropout(0.3), nn.Dropout(0.3)
        self.meddle, self.at, self.calls = meddle, at, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if self.training:
            self.calls += 1
            if self.calls == self.at:
                elsewhere(self.meddle)
        return self.second(x)


def trained(part: nn.Module) -> Run:
    model = network()
    model.insert(3, part)
    return Run(model, Clouds(), steps=6, batch_size=20, evaluate_every=0).start().wait(60)


def without_marks(run: Run) -> list[str]:
    return [line.replace("disturbed=True", "disturbed=False") for line in timeless(run.history)]


def test_a_cell_that_draws_does_not_change_the_run_and_is_noticed() -> None:
    quiet, busy = trained(Meddling()), trained(Meddling(lambda: torch.rand(3)))
    assert without_marks(busy) == timeless(quiet.history)
    assert [step.disturbed for step in busy.history] == [False, False, True, False, False, False]
    assert "another cell used torch's random numbers during step 3" in busy.trouble and "\n" not in busy.trouble
    assert not quiet.trouble
    assert Step.from_dict(busy.history[2].to_dict()) == busy.history[2]


def test_what_a_cell_seeds_in_the_middle_of_a_step_is_its_own_after_it() -> None:
    quiet = trained(Meddling())
    torch.manual_seed(5)
    busy = trained(Meddling(lambda: torch.manual_seed(11)))
    drawn = torch.rand(4)
    assert without_marks(busy) == timeless(quiet.history) and busy.history[2].disturbed
    torch.manual_seed(11)
    assert torch.equal(drawn, torch.rand(4))


def test_what_a_cell_seeds_in_the_backward_pass_is_its_own_too() -> None:
    class Late(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.requires_grad and self.training:
                x.register_hook(self.meddle)
            return x

        calls = 0

        def meddle(self, gradient: torch.Tensor) -> None:
            self.calls += 1
            if self.calls == 4:
                elsewhere(lambda: torch.manual_seed(11))

    assert trained(Late()).history[3].disturbed
    drawn = torch.rand(4)
    torch.manual_seed(11)
    assert torch.equal(drawn, torch.rand(4))


def test_a_run_leaves_the_generator_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained(Meddling())
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_that_seeds_by_itself_is_left_alone() -> None:
    class Seeds(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(3)
            return x + torch.rand_like(x)

    one, two = trained(Seeds()), trained(Seeds())
    assert timeless(one.history) == timeless(two.history) and not one.trouble


def test_what_is_computed_again_in_the_backward_pass_drops_the_same() -> None:
    class Part(nn.Module):
        def __init__(self, again: bool, reentrant: bool = False) -> None:
            super().__init__()
            self.again, self.reentrant = again, reentrant
            self.inside = nn.Sequential(nn.Dropout(0.5), nn.Tanh(), nn.Dropout(0.5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.inside, x, use_reentrant=self.reentrant) if self.again else self.inside(x)

    plain = [step.loss for step in trained(Part(again=False)).history]
    for reentrant in (False, True):
        run = trained(Part(again=True, reentrant=reentrant))
        assert [step.loss for step in run.history] == plain and not run.trouble


def test_a_step_without_a_draw_is_looked_at_once() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    run = Run(model, Clouds(), steps=5, batch_size=20, evaluate_every=0).start().wait(60)
    assert run._loop is not None and not run._loop._randomness._drew and not run.trouble
