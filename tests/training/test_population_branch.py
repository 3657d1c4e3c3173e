"""Runs that branch off others: the whole state is taken over, and what the run sets itself is its own."""

import json

import pytest
import torch

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.run_spec import BranchSpec
from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, run
from cogito_ray.training.checkpoints.checkpoint_store import (
    STATE,
    BadCheckpoint,
    BranchPoint,
    Checkpoints,
    Snapshot,
    folder_of,
)
from cogito_ray.training.training_loop import CorpusFacts, Request, RunPreempted, fit

FACTS = CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size))
NOTHING_KEPT = {"milestone_every": 4, "keep": 1}


def spec(**training):
    return run(
        objective={"kind": "tsdae"},
        training={"steps": 10, "batch": 4, "report_every": 2, "checkpoint_every": 2, "checkpoints": NOTHING_KEPT}
        | training,
    )


def train(settings, folder, *, origin=None, leave_at=None):
    """(weights, reports) of a run."""
    told = []

    def feed(done):
        for step in range(done, settings.training.steps):
            yield torch.from_numpy(ROWS[step * 4 % len(ROWS) :][:4].copy())

    model = fit(
        settings,
        FACTS,
        feed=feed,
        evaluate=HeldOutLoss(torch.from_numpy(ROWS[-4:].copy()), settings.reference, VOCABULARY),
        on_report=told.append,
        checkpoints=Checkpoints(folder, settings.digest(), settings.training.checkpoints, origin=origin),
        requested=lambda: Request.PREEMPT if told[-1].step == leave_at else Request.CONTINUE,
    )
    return model.state_dict(), told


def copied(parent, folder, step=4, **training):
    """A copy of `parent`, and where it branches off."""
    branch = BranchSpec(run=parent.digest(), step=step)
    return spec(**training).model_copy(update={"branch": branch}), BranchPoint(folder_of(folder, step), parent.digest())


def measured(reports):
    """All that does not depend on the clock."""
    return {r.step: (r.rows, {n: v for n, v in r.metrics.items() if not n.startswith("time/")}) for r in reports}


def test_a_copy_without_other_settings_goes_on_bit_for_bit_as_its_parent_did(tmp_path):
    parent = spec()
    weights, reports = train(parent, tmp_path / "parent")
    settings, origin = copied(parent, tmp_path / "parent")
    assert settings.digest() != parent.digest()
    again, later = train(settings, tmp_path / "copy", origin=origin)
    assert measured(later) == {step: told for step, told in measured(reports).items() if step > 4}
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_copy_takes_its_parents_moments_and_not_its_settings(tmp_path):
    parent = spec()
    train(parent, tmp_path / "parent")
    changed = {"optimizer": {"learning_rate": 3e-3, "weight_decay": 0.5, "beta1": 0.5}, "steps": 6}
    settings, origin = copied(parent, tmp_path / "parent", **changed)
    train(settings, tmp_path / "copy", origin=origin)
    stored = torch.load(tmp_path / "copy" / "step-00000006" / "optimizer.pt", weights_only=True)
    decays = {(group["weight_decay"], group["betas"]) for group in stored["param_groups"]}
    assert decays == {(0.5, (0.5, 0.98)), (0.0, (0.5, 0.98))}
    assert {float(state["step"]) for state in stored["state"].values()} == {6.0}


def test_a_copy_that_was_interrupted_goes_on_from_its_own_checkpoint_when_its_origin_is_gone(tmp_path):
    parent = spec()
    train(parent, tmp_path / "parent")
    settings, origin = copied(parent, tmp_path / "parent", optimizer={"learning_rate": 1e-3})
    weights, _ = train(settings, tmp_path / "straight", origin=origin)
    with pytest.raises(RunPreempted):
        train(settings, tmp_path / "copy", origin=origin, leave_at=6)
    gone = BranchPoint(tmp_path / "gone", parent.digest())
    resumed, _ = train(settings, tmp_path / "copy", origin=gone)
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


def test_a_copy_whose_origin_is_gone_or_of_another_run_does_not_start_anew(tmp_path):
    parent = spec()
    train(parent, tmp_path / "parent")
    settings, origin = copied(parent, tmp_path / "parent")
    with pytest.raises(BadCheckpoint, match="missing or torn"):
        train(settings, tmp_path / "copy", origin=BranchPoint(tmp_path / "gone", parent.digest()))
    with pytest.raises(BadCheckpoint, match="belongs to run"):
        train(settings, tmp_path / "copy", origin=BranchPoint(origin.folder, "another"))
    with pytest.raises(BadCheckpoint, match="nor was one told to branch off from"):
        train(settings, tmp_path / "copy")


def test_every_milestone_leaves_a_checkpoint_however_the_run_was_interrupted(tmp_path):
    settings = spec(checkpoint_every=4)
    with pytest.raises(RunPreempted):
        train(settings, tmp_path, leave_at=2)                      # from here on, every fourth step is 6, 10
    train(settings, tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["step-00000004", "step-00000008", "step-00000010"]


def test_a_copy_is_not_judged_by_losses_that_other_settings_gave(tmp_path):
    parent = spec()
    train(parent, tmp_path / "parent")
    settings, origin = copied(parent, tmp_path / "parent")
    assert json.loads((origin.folder / STATE).read_text())["seen"]
    own = Checkpoints(tmp_path / "copy", settings.digest(), origin=origin)
    assert own.read(own.choose(), Snapshot.read).state.seen == ()


def test_settings_that_are_not_used_leave_a_runs_name_what_it_was():
    tree = run(objective={"kind": "tsdae"}).model_dump(mode="json")
    assert "branch" not in tree
    assert "milestone_every" not in tree["training"]["checkpoints"]
