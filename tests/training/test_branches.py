"""Going back is exact: branches, replays and what if, at any step, whatever state there is."""

from __future__ import annotations

import gc
import random

import pytest
import torch
from support.helpers import same_weights, timeless, until

from stablelab.training import Log, Run, Settings, checkpoints, replay

LAYERS = (("4",), ("1", "0"))
KINDS = {
    "SGD, linear": Settings(optimizer="sgd", learning_rate=0.05, schedule="linear", warmup_steps=3),
    "AdamW, cosine": Settings(learning_rate=0.02, schedule="cosine", warmup_steps=4, weight_decay=0.1),
    "momentum, plateau": Settings(learning_rate=0.1, optimizer="momentum", schedule="plateau", patience=0),
    "own Adam, clipping": Settings(learning_rate=0.02, optimizer="adam", implementation="workbook", max_norm=0.3),
    "LAMB, exponential": Settings(learning_rate=0.05, optimizer="lamb", schedule="exponential"),
    "frozen, then thawed": Settings(learning_rate=0.02, unfrozen=1, unfreeze_every=15, layer_decay=0.5),
    "augmented": Settings(learning_rate=0.02, noise=0.3, optimizer="nesterov"),
    "bf16": Settings(learning_rate=0.02, precision="bf16"),
    "in micro-batches": Settings(learning_rate=0.02, accumulation=4),
    "best kept": Settings(learning_rate=0.05, early_stopping=50),
}


def noisy(inputs, settings):
    return inputs + settings.noise * torch.randn_like(inputs) if settings.noise else inputs


@pytest.fixture
def make_run(clouds, make_network):
    def make(settings=KINDS["AdamW, cosine"], **arguments) -> Run:
        given = {"steps": 37, "evaluate_every": 4, "layers": LAYERS, "augment": noisy, "seed": 5}
        return Run(make_network(), clouds, settings=settings, batch_size=20, **{**given, **arguments})

    return make


def trained(run: Run, changes: dict[int, dict]) -> Run:
    """Train to the end, with settings changed after these numbers of steps."""
    for step in sorted(changes):
        run.step(step - len(run.history))
        run.wait_paused()
        run.control.change(**changes[step])
    if run.alive:
        run.resume()
    return run.start().wait(60) if not run.alive else run.wait(60)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("memory", [0, None], ids=["first and newest checkpoint", "all checkpoints"])
@pytest.mark.slow
def test_a_branch_with_the_same_settings_is_its_parent_bit_for_bit(make_run, kind, memory):
    run = make_run(KINDS[kind], checkpoint_memory=memory).start().wait(60)
    for step in random.Random(kind).sample(range(run.total_steps), 3):
        branch = run.branch(step)
        assert timeless(branch.history) == timeless(run.history)[:step]
        branch.start().wait(60)
        assert timeless(branch.history) == timeless(run.history)
        assert same_weights(branch.model, run.model)
        assert (branch.parent, branch.born) == (run, step)


def test_a_branch_shares_the_past_and_goes_its_own_way(make_run):
    run = make_run().start().wait(60)
    weights = {k: v.clone() for k, v in run.model.state_dict().items()}
    record = timeless(run.history)
    branch = run.branch(13, learning_rate=0.001, max_norm=0.1)
    assert branch.message == "ready: 37 steps, the first 13 already done"
    branch.start().wait(60)
    assert timeless(branch.history)[:13] == record[:13]
    assert [str(each) for each in branch.history.interventions()] == [
        "step 14: learning rate 0.02 → 1e-3",
        "step 14: clip threshold off → 0.1",
    ]
    assert timeless(branch.history)[13:] != record[13:]
    assert timeless(run.history) == record and all(
        torch.equal(v, weights[k]) for k, v in run.model.state_dict().items()
    )
    assert run.branches == [branch]


def test_each_branch_is_told_to_who_wants_to_know(make_run):
    run, told = make_run().start().wait(60), []
    run.branched = told.append
    child = run.branch(5)
    assert told == [child, child.branch(3)]


@pytest.mark.slow
def test_a_branch_of_a_branch_and_one_from_the_very_start(make_run):
    run = make_run().start().wait(60)
    child = run.branch(20, learning_rate=0.003).start().wait(60)
    grandchild = child.branch(28).start().wait(60)
    assert timeless(grandchild.history) == timeless(child.history)
    cousin = child.branch(9).start().wait(60)  # before the change: the first run's way again
    assert timeless(cousin.history) == timeless(run.history)
    restart = run.branch(0, learning_rate=0.003)
    assert len(restart.history) == 0
    restart.start().wait(60)
    assert not restart.history.interventions() and restart.log().settings.learning_rate == 0.003


@pytest.mark.slow
def test_a_running_parent_is_not_disturbed_and_its_frozen_layers_may_thaw_in_the_branch(make_run):
    settings = KINDS["AdamW, cosine"].replace(unfrozen=1)
    expected = make_run(settings).start().wait(60)
    run = make_run(settings)
    run.step(15)
    run.wait_paused()
    branch = run.branch(11, unfrozen=None).start().wait(60)
    frozen, thawed = run.history[10], branch.history[11]
    assert len(thawed.learning_rates) == len(frozen.learning_rates)
    assert not torch.equal(branch.model[0].weight, run.model[0].weight)
    run.resume()
    run.wait(60)
    assert timeless(run.history) == timeless(expected.history)


@pytest.mark.slow
def test_untouched_is_the_run_without_the_last_change_by_hand(make_run):
    quiet = make_run().start().wait(60)
    run = trained(make_run(), {12: {"learning_rate": 0.3}})
    assert timeless(run.history) != timeless(quiet.history)
    what_if = run.untouched()
    assert what_if.born == 12 and what_if.name == "run 2 · untouched at 13"
    assert run.checkpoints.at_or_before(12).step == 12  # kept on purpose: nothing has to be trained again
    what_if.start().wait(60)
    assert timeless(what_if.history) == timeless(quiet.history)


def test_one_drag_of_a_slider_is_one_change(make_run):
    drag = {12: 0.1, 13: 0.2, 15: 0.15, 18: 0.05}
    changes = {step: {"learning_rate": rate, "gesture": 7} for step, rate in drag.items()}
    run = trained(make_run(checkpoint_memory=0), {5: {"max_norm": 0.5}, **changes})
    assert [str(each) for each in run.history.gestures()] == [
        "step 6: clip threshold off → 0.5",
        "steps 13–19: learning rate 0.02 → 0.05",
    ]
    assert [rate for step in run.history if (rate := step.interventions)][1][0].new == 0.1, "a step says what it used"
    assert len(run.history.interventions()) == 5
    assert run.untouched().born == 12 and run.checkpoints.at_or_before(12).step == 12
    assert run.branch(12).untouched().born == 5
    kept = [each.step for each in run.checkpoints]
    assert 12 in kept and not {13, 15, 18} & set(kept), "of a drag, the state before it is what one goes back to"


def test_a_drag_back_to_where_it_began_is_no_change_that_could_be_taken_back(make_run):
    drag = {12: 0.1, 13: 0.3, 14: 0.02}
    run = trained(make_run(), {step: {"learning_rate": rate, "gesture": 7} for step, rate in drag.items()})
    assert len(run.history.interventions()) == 3 and run.history.gestures() == ()
    with pytest.raises(ValueError, match="nothing was changed by hand"):
        run.untouched()


def test_the_runs_of_a_family_have_short_numbers(make_run):
    run = make_run().start().wait(60)
    child = run.branch(20, learning_rate=0.003).start().wait(60)
    names = [each.name for each in (run, child, child.branch(28), run.branch(3), child.untouched())]
    assert names == ["clouds", "run 2 · from 20", "run 3 · from 28", "run 4 · from 3", "run 5 · untouched at 21"]


@pytest.mark.slow
def test_a_branch_is_one_gesture_and_what_follows_another(make_run):
    run = trained(make_run(), {5: {"max_norm": 0.5}})
    branch = run.branch(20, learning_rate=0.003, weight_decay=0.0)
    trained(branch, {25: {"learning_rate": 0.01}})
    assert [(each.first, [name for name, _, _ in each.changes]) for each in branch.history.gestures()] == [
        (6, ["max_norm"]),
        (21, ["learning_rate", "weight_decay"]),
        (26, ["learning_rate"]),
    ]


@pytest.mark.slow
def test_a_divergence_and_what_came_after_it_are_replayed_too(make_run):
    run = make_run(Settings(learning_rate=0.02, optimizer="sgd"), steps=30)
    run.step(14)
    run.wait_paused()
    run.control.change(learning_rate=1e38)
    run.resume()
    run.wait(60)
    assert run.state == "diverged"
    run.control.change(learning_rate=0.01)
    run.resume()
    run.wait(60)
    bad = next(s.step for s in run.history if s.diverged)
    for step in (bad - 1, bad, bad + 3):
        branch = run.branch(step)
        for change in (c for c in run.history.interventions() if c.step > step):
            branch.do_again(run.log())  # the same changes by hand, at the same steps
            if change.step == step + 1:
                branch.control.change(**{change.name: change.new})
        branch.start().wait(60)
        assert timeless(branch.history) == timeless(run.history)


@pytest.mark.slow
def test_replay_of_a_log_gives_the_same_curve(make_run, clouds, make_network):
    changes = {6: {"learning_rate": 0.1}, 17: {"optimizer": "sgd", "max_norm": 0.2}, 25: {"unfrozen": 1}}
    run = trained(make_run(), changes)
    log = Log.from_dict(run.log().to_dict())
    again = replay(log, make_network(), clouds, layers=LAYERS, augment=noisy).start().wait(60)
    assert timeless(again.history) == timeless(run.history)
    assert again.history.gestures() == run.history.gestures(), "the gestures too"
    assert same_weights(again.model, run.model)
    assert str(log).splitlines()[1:] == [str(each) for each in run.history.gestures()]
    branch = run.branch(20, learning_rate=0.5).start().wait(60)
    once_more = replay(branch.log(), make_network(), clouds, layers=LAYERS, augment=noisy).start().wait(60)
    assert timeless(once_more.history) == timeless(branch.history)


def test_a_replay_goes_on_after_a_divergence_as_the_run_did(make_run, clouds, make_network):
    run = make_run(Settings(learning_rate=1e38, optimizer="sgd"), steps=20)
    run.start().wait(60)
    run.control.change(learning_rate=0.05)
    run.resume()
    run.wait(60)
    again = replay(run.log(), make_network(), clouds, layers=LAYERS, augment=noisy).start().wait(60)
    assert again.state == "finished" and timeless(again.history) == timeless(run.history)


@pytest.mark.slow
def test_a_branch_goes_on_where_its_parent_stopped_early(make_run):
    settings = Settings(learning_rate=3.0, optimizer="sgd", early_stopping=1)
    run = make_run(settings, steps=60, evaluate_every=2).start().wait(60)
    end = len(run.history)
    assert run.history[-1].stopped_early and end < 60
    branch = run.branch(end, early_stopping=0, learning_rate=0.01).start().wait(60)
    assert branch.state == "finished" and len(branch.history) == 60


@pytest.mark.slow
def test_a_replay_put_back_to_its_start_replays_again(make_run, clouds, make_network):
    run = trained(make_run(), {6: {"learning_rate": 0.1}})
    again = replay(run.log(), make_network(), clouds, layers=LAYERS, augment=noisy).start().wait(60)
    again.reset()
    again.start().wait(60)
    assert timeless(again.history) == timeless(run.history)


@pytest.mark.slow
def test_reset_of_a_branch_leads_back_to_where_it_was_born(make_run):
    run = make_run().start().wait(60)
    branch = run.branch(13, learning_rate=0.001).start().wait(60)
    record = timeless(branch.history)
    branch.reset()
    assert len(branch.history) == 13
    branch.start().wait(60)
    assert timeless(branch.history) == record


def test_what_cannot_be_is_said_in_one_line(make_run, clouds, make_network):
    run = make_run(steps=10)
    run.step(4)
    run.wait_paused()
    for step, message in ((5, "has done 4 steps"), (-1, "step is -1"), (2.5, "step is 2.5")):
        with pytest.raises(ValueError, match=message):
            run.branch(step)
    with pytest.raises(ValueError, match="there is no setting 'speed'"):
        run.branch(2, speed=3)
    with pytest.raises(ValueError, match="nothing was changed by hand"):
        run.untouched()
    run.resume()
    run.wait(60)
    with pytest.raises(ValueError, match="the end of the run"):
        run.branch(10)
    log = run.log()
    clouds.fingerprint = "clouds-2"
    with pytest.raises(ValueError, match="is of other data"):
        replay(log, make_network(), clouds)
    clouds.fingerprint = log.fingerprint
    with pytest.raises(ValueError, match="trained 163 parameters, this one would train 51; give the same model"):
        whole = make_network()
        replay(log, whole, clouds, trains=whole[4])
    with pytest.raises(ValueError, match="not the log of a run"):
        Log.from_dict({"settings": {}})


@pytest.mark.slow
def test_five_branches_share_one_budget_and_stay_exact_when_their_checkpoints_go(make_run, monkeypatch):
    monkeypatch.setattr("stablelab.training.loop.SHARE_OF_TIME", 1e9)  # a checkpoint after every step
    gc.collect()
    others = checkpoints.memory_in_use()[0]
    expected = make_run().start().wait(60)
    budget = sum(each.nbytes for each in expected.checkpoints)  # what other tests have left may go at any time
    monkeypatch.setattr(checkpoints, "default_memory", lambda: budget)
    run = trained(make_run(), {12: {"learning_rate": 0.3}})
    family, newest = [run], []
    try:
        for step in (5, 7, 15, 20, 25):
            branch = family[-1].branch(step) if step < 15 else run.branch(step)
            branch.step(3)
            newest.append(branch.wait_paused().checkpoints.newest)
            family.append(branch)
            assert branch.checkpoints.newest.step == branch.born + 2
            used, limit = checkpoints.memory_in_use()
            assert limit == budget and used <= budget
        assert len(run.checkpoints) < 35 and run.checkpoints.at_or_before(12).step == 12, "the one before the change"
        assert [each.checkpoints.newest for each in family[1:]] == newest, "the newest of a living run stays"
        for branch in family[1:]:
            branch.resume()
            branch.wait(60)
    finally:
        for each in family:
            each.stop()
    assert checkpoints.memory_in_use()[0] <= budget
    for branch, same in zip(family[1:], (expected, expected, run, run, run), strict=True):
        assert timeless(branch.history) == timeless(same.history) and same_weights(branch.model, same.model)
    assert timeless(run.untouched().start().wait(60).history) == timeless(expected.history)
    family[1].reset()
    assert timeless(family[1].start().wait(60).history) == timeless(expected.history)
    del family, branch, each, newest, expected, run, same

    def given_back() -> bool:  # a thread that has just ended may hold its run for a moment
        gc.collect()
        return checkpoints.memory_in_use()[0] <= others

    until(given_back)


def test_with_no_memory_at_all_going_back_begins_at_the_start(make_run, monkeypatch):
    monkeypatch.setattr(checkpoints, "default_memory", lambda: 0)
    run = make_run().start().wait(60)
    branch = run.branch(20)
    for each in (run, branch):
        each.checkpoints._kept.clear()  # by what other runs needed meanwhile
    branch.start().wait(60)
    assert timeless(branch.history) == timeless(run.history) and same_weights(branch.model, run.model)
