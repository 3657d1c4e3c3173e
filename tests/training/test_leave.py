"""A run that is asked to end leaves a checkpoint, and goes on from it as if nothing had happened."""

import pytest
import torch
from kinds import ROWS, VOCABULARY, run

from cogito_ray.evaluation.held_out import HeldOut
from cogito_ray.training.checkpoint import Checkpoints
from cogito_ray.training.loop import Facts, RunLeft, fit

RUN = run(objective={"kind": "tsdae"}, training={"steps": 6, "batch": 4, "report_every": 2, "checkpoint_every": 100})


def train(folder, leave_after=None):
    """(steps reported, weights at the end); asked to leave once `leave_after` steps are reported."""
    told = []

    def feed(done):
        for step in range(done, RUN.training.steps):
            yield torch.from_numpy(ROWS[step * 4 : step * 4 + 4].copy())

    model = fit(
        RUN,
        Facts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=feed,
        evaluate=HeldOut(torch.from_numpy(ROWS[-4:].copy()), RUN.reference, VOCABULARY),
        tell=lambda report: told.append(report.step),
        checkpoints=Checkpoints(folder, RUN.digest()),
        leave=lambda: leave_after is not None and told[-1] >= leave_after,
    )
    return told, model.state_dict()


def test_it_leaves_after_the_next_report_though_no_checkpoint_was_due_and_comes_back_to_the_same_weights(tmp_path):
    _, undisturbed = train(tmp_path / "straight")
    with pytest.raises(RunLeft) as left:
        train(tmp_path / "left", leave_after=2)
    assert left.value.step == 2
    told, resumed = train(tmp_path / "left")
    assert told == [4, 6]
    assert all(torch.equal(resumed[name], value) for name, value in undisturbed.items())


def test_asked_at_its_last_report_it_is_simply_over(tmp_path):
    told, _ = train(tmp_path, leave_after=6)
    assert told == [2, 4, 6]
