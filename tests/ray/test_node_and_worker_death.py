"""Guards where several workers train one run: the first one judges, all of them act."""

import pytest
import torch
from corpora import prepared_run
from safetensors.torch import load_file

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.pretraining_driver import pretrain

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.chaos]
ABSURD = {"learning_rate": 1e30, "clip": 1e30}


def two_workers(folder, **training):
    tree = prepared_run(folder)
    return RunSpec.model_validate(tree | {"workers": 2, "training": tree["training"] | {"steps": 6} | training})


def test_a_run_of_two_workers_that_diverges_ends_by_name(tmp_path):
    [trial] = pretrain(two_workers(tmp_path, optimizer=ABSURD), "dead", tmp_path).trials.values()
    assert trial.status == "failed"
    assert trial.cause.startswith("non-finite at step 2: ")
    assert trial.reports == {}                                      # nobody hears of a report that convicts


def test_two_workers_go_back_together(tmp_path):
    back = {"kind": "rollback", "times": 1, "factor": 1e-32}
    pretrain(two_workers(tmp_path, optimizer=ABSURD, on_divergence=back), "back", tmp_path)
    slow = ABSURD | {"learning_rate": 1e30 * 1e-32}
    pretrain(two_workers(tmp_path / "again", optimizer=slow), "slow", tmp_path)
    rolled, straight = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006" / "model.safetensors") for name in ("back", "slow")
    )
    assert all(torch.equal(rolled[name], value) for name, value in straight.items())
