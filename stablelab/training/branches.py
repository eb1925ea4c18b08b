"""Going back: branches of a run, and doing again what was done to one."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from .._validation import whole
from .checkpoints import Checkpoints, live, put_back, trainable_names
from .control import Control
from .history import Log, last_gesture, settings_at
from .protocols import Task
from .records import Step
from .reproducibility import one_step_at_a_time
from .settings import Settings

if TYPE_CHECKING:
    from .loop import Trainer
    from .run import Run


@dataclass(frozen=True, eq=False)
class Past:
    """What a run begins with.

    Arguments:
        checkpoints: of these steps, or of fewer.
        steps: those that are done already; none for a run that starts from the beginning.
        settings: to go on with; the run's own if not given.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    steps: tuple[Step, ...] = ()
    settings: Settings | None = None


def branch(run: Run, step: int, changes: dict[str, Any]) -> Run:
    """See ``Run.branch``."""
    done = len(run.history)
    whole("step", step, of=" of steps done")
    if step > done:
        raise ValueError(f"step is {step}, but the run has done {done} steps; branch at one of them")
    if step >= run.total_steps:
        raise ValueError(f"step is {step}, which is the end of the run; branch at an earlier one")
    before = settings_at(run.settings, run.history.interventions(), step) if done else run.control.settings
    after = before.replace(**changes)
    checkpoints = run.checkpoints.until(step)
    start = run.checkpoints.at_or_before(step)
    if start is None:
        run.need_first_weights("go back that far")
    child = copy.copy(run)
    with one_step_at_a_time:  # no update may fall between two tensors
        child.model, child.trains = copy.deepcopy((run.model, run.trains))
    child.parent, child.branches, child.starters, child.watchers, child.version = run, [], [], [], 0
    if not step:  # nothing to share: it starts from the first weights, with settings of its own
        child.settings = after
    if run._trainer is not None:
        for name, p in child.trains.named_parameters():
            p.requires_grad_(name in run._trainer.trainable)  # the run may hold some of them still at this moment
    if start is not None:
        put_back(start.weights, live(child.trains, trainable_names(child.trains)))
    else:
        child.model.load_state_dict(run._initial)
    child._past = Past(Checkpoints(run.checkpoints.memory, checkpoints), run.history.since(0)[:step], after)
    child._script = child._keeper = None
    child._begin()
    child.name = f"{run.name} from step {step}"
    run.branches.append(child)
    if run.branched is not None:
        run.branched(child)
    return child


def untouched(run: Run) -> Run:
    """See ``Run.untouched``."""
    first = last_gesture(run.history)
    if first is None:
        raise ValueError("nothing was changed by hand in this run, so there is nothing to take back")
    child = branch(run, first - 1, {})
    child.name = f"{run.name}, untouched at step {first}"
    return child


def catch_up(run: Run, trainer: Trainer) -> None:
    """Train again, unseen, the steps between the checkpoint a branch starts from and the step it was born at.

    Their validations are known already.
    """
    if trainer.k >= run.born:
        return
    changes = run.history.interventions()
    past = Control(settings_at(run.settings, changes, trainer.k + 1))
    scored = trainer.evaluate
    if scored is not None:  # a run that was stopped may have left out its last validation
        trainer.evaluate = lambda model, step: run.history[step - 1].evaluation or scored(model, step)
    for step in trainer.steps(past, until=run.born):
        past.publish(settings_at(run.settings, changes, step.step + 1))
        if run.control.stopped:
            past.stop()
    trainer.evaluate = scored
    if run.parent is not None:  # a branch is asked to go on; a killed run that had stopped early stays over
        trainer.go_on()


def log(run: Run) -> Log:
    """See ``Run.log``."""
    return Log(
        name=run.name,
        task=run.task.name,
        fingerprint=run.task.fingerprint,
        seed=run.seed,
        batch_size=run.batch_size,
        total_steps=run.total_steps,
        evaluate_every=run.evaluate_every,
        steps=len(run.history),
        parameters=sum(p.numel() for p in trainable(run)),
        settings=run.settings,
        interventions=run.history.interventions(),
    )


def trainable(run: Run) -> list[nn.Parameter]:
    """The parameters that a run may train, those included that it holds at this moment."""
    if run._trainer is None:
        return [p for p in run.trains.parameters() if p.requires_grad]
    return [p for name, p in run.trains.named_parameters() if name in run._trainer.trainable]


def replay(log: Log, model: nn.Module, task: Task, **arguments: Any) -> Run:
    """A run that does again what a log says, change by change; ready to start.

    Arguments:
        log: of a run, from ``run.log()``.
        model: with the weights that the run of the log began with.
        task: the data of that run.
        arguments: of ``Run`` that the log does not hold, such as ``layers``, ``augment`` and ``loss``.

    Raises:
        ValueError: the task is of other data, or another number of parameters would be trained.
    """
    from .run import Run

    if log.fingerprint != task.fingerprint:
        raise ValueError(f"the log of {log.name!r} is of other data ({log.task}) than {task.name!r} as split here")
    run = Run(
        model,
        task,
        settings=log.settings,
        seed=log.seed,
        steps=log.total_steps,
        batch_size=log.batch_size,
        evaluate_every=log.evaluate_every,
        name=f"{log.name}, again",
        **arguments,
    )
    if sum(p.numel() for p in trainable(run)) != log.parameters:
        raise ValueError(
            f"the run of this log trained {log.parameters} parameters, this one would train "
            f"{sum(p.numel() for p in trainable(run))}; give the same model, and train= as it was then"
        )
    run._script = log
    return run
