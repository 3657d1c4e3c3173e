"""What runs out of memory is named, and not tried again: killed by Ray's memory monitor, or raising in one worker."""

import os
import subprocess
import sys

import pytest
from corpora import prepared_run

from cogito_ray import plugins
from cogito_ray.records.ledger import NAME, TrialEnded, TrialStarted, events
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

HUNGRY = """
import os
from pathlib import Path
import torch
backward, calls = torch.Tensor.backward, []

def hungry(tensor, *given, **named):
    calls.append(0)
    if os.environ.get("RANK") == "1" and len(calls) > 4:
        with open(Path(__file__).with_name("died"), "a") as file:
            file.write("once\\n")
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    return backward(tensor, *given, **named)

torch.Tensor.backward = hungry
"""


@pytest.fixture
def hungry(tmp_path):
    """A plugin by which the second of two workers runs out of memory after some steps."""
    (tmp_path / "hungry.py").write_text(HUNGRY)
    yield str(tmp_path / "hungry.py")
    plugins.unload()


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("ray_cluster")
def test_a_run_of_which_one_of_two_workers_lacks_memory_ends_by_name_and_is_not_tried_again(tmp_path, hungry):
    run = RunSpec.model_validate(prepared_run(tmp_path) | {"workers": 2, "plugins": [hungry]})
    [trial] = pretrain(run, "hungry", tmp_path).trials.values()
    assert (trial.status, trial.step) == ("failed", 4)
    assert trial.cause.startswith("out of memory: worker 1: ")
    assert "Tried to allocate 9 GiB" in trial.cause
    assert (tmp_path / "died").read_text() == "once\n"


@pytest.mark.timeout(180)
def test_a_trial_that_rays_memory_monitor_kills_is_infeasible_and_not_tried_again(tmp_path):
    tree = {
        "name": "cramped",
        "run": prepared_run(tmp_path),
        "space": {"model.width": {"choice": [16, 32]}},
        "search": {"start_with": [{"model.width": 16}]},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 2},
        "concurrency": 1,
    }
    file = tmp_path / "cramped.yaml"
    file.write_text(dump(SweepSpec.model_validate(tree).model_dump(mode="json")))
    always = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "250"}    # memory is used up
    command = [sys.executable, "-m", "cogito_ray", "sweep", str(file), "--storage", str(tmp_path), "--json"]
    subprocess.run(command, env=os.environ | always, capture_output=True, timeout=150)
    told = events(tmp_path / "cramped" / NAME)
    [ended] = [event for event in told if isinstance(event, TrialEnded)]
    assert ended.cause.startswith("out of memory")
    assert sum(isinstance(event, TrialStarted) for event in told) <= 1    # it may be killed before; none is larger
