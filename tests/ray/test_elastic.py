"""A run that takes as many workers as there is room for ends with the same rows and weights as one that did not."""

import threading
import time

import pytest
import ray
import torch
from corpora import prepared_run
from safetensors.torch import load_file

from cogito_ray.records.ledger import NAME
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.pretraining_driver import pretrain

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("ray_cluster"), pytest.mark.chaos]
STEPS = 600


def run_spec(folder, workers):
    tree = prepared_run(folder)
    tree["training"] |= {"steps": STEPS, "micro_batch": 4, "report_every": 20, "checkpoint_every": 20}
    tree["training"]["guards"] = {"collapse": None}
    return RunSpec.model_validate(tree | {"workers": workers})


@ray.remote(num_cpus=2)
class Tenant:
    """Takes up room."""

    def here(self):
        return True


def test_a_run_grows_when_room_comes_free_and_ends_like_an_undisturbed_one(tmp_path):
    spec = run_spec(tmp_path, {"min": 1, "max": 2, "check_every_s": 2})
    tenant = Tenant.remote()
    ray.get(tenant.here.remote())
    ledger = tmp_path / "elastic" / NAME

    def move_out():
        while not (ledger.exists() and b'"reported"' in ledger.read_bytes()):
            time.sleep(0.1)
        ray.kill(tenant)

    moving = threading.Thread(target=move_out)
    moving.start()
    [grown] = pretrain(spec, "elastic", tmp_path).trials.values()
    moving.join()
    [fixed] = pretrain(spec.model_copy(update={"workers": 1}), "fixed", tmp_path).trials.values()
    assert (grown.status, grown.rows) == (fixed.status, fixed.rows)
    one, other = (
        load_file(tmp_path / name / "checkpoints" / f"step-{STEPS:08d}" / "model.safetensors")
        for name in ("elastic", "fixed")
    )
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-2, atol=1e-3)        # sums in another order, 600 steps
