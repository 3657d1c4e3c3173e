"""A run that is asked to end leaves a checkpoint, and goes on from it as if nothing had happened."""

import pytest
import torch

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, run
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints
from cogito_ray.training.training_loop import CorpusFacts, Request, RunPreempted, fit

RUN = run(objective={"kind": "tsdae"}, training={"steps": 6, "batch": 4, "report_every": 2, "checkpoint_every": 100})


def leave_after(steps):
    return lambda step: Request.PREEMPT if step >= steps else Request.CONTINUE


def train(folder, requested=lambda step: Request.CONTINUE):
    """(steps reported, weights at the end); `requested` says what is asked of it after a step that was reported."""
    told = []

    def feed(done):
        for step in range(done, RUN.training.steps):
            yield torch.from_numpy(ROWS[step * 4 : step * 4 + 4].copy())

    model = fit(
        RUN,
        CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=feed,
        evaluate=HeldOutLoss(torch.from_numpy(ROWS[-4:].copy()), RUN.reference, VOCABULARY),
        on_report=lambda report: told.append(report.step),
        checkpoints=Checkpoints(folder, RUN.digest()),
        requested=lambda: requested(told[-1]),
    )
    return told, model.state_dict()


def test_it_leaves_after_the_next_report_though_no_checkpoint_was_due_and_comes_back_to_the_same_weights(tmp_path):
    _, undisturbed = train(tmp_path / "straight")
    with pytest.raises(RunPreempted) as left:
        train(tmp_path / "left", leave_after(2))
    assert left.value.step == 2
    told, resumed = train(tmp_path / "left")
    assert told == [4, 6]
    assert all(torch.equal(resumed[name], value) for name, value in undisturbed.items())


def test_asked_at_its_last_report_it_is_simply_over(tmp_path):
    told, _ = train(tmp_path, leave_after(6))
    assert told == [2, 4, 6]


def test_a_run_whose_machine_will_be_lost_writes_a_checkpoint_and_goes_on(tmp_path):
    told, _ = train(tmp_path, requested=lambda step: Request.CHECKPOINT if step == 2 else Request.CONTINUE)
    assert told == [2, 4, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000006"]
