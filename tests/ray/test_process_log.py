"""What processes of a cluster print stands in the folder of the sweep, by the trial that they train."""

import os
import subprocess
import sys

import pytest
import ray

from cogito_ray.records.process_log import PROCESS_LOG

PRINT = """\
import sys, time
from pathlib import Path
import ray
from cogito_ray.runtime.cluster import cluster
from cogito_ray.runtime.train.torch_trainer import label_output

@ray.remote
def train(number):
    label_output(f"trial {number}")
    print("warming up")
    print("short of breath", file=sys.stderr)

folder, deadline = Path(sys.argv[1]), time.monotonic() + 30
with cluster(log=folder):
    ray.get([train.remote(number) for number in (3, 4)])
    log = folder / "processes.log"
    while time.monotonic() < deadline and (not log.exists() or log.read_text().count("\\n") < 4):
        time.sleep(0.1)
print("result")
"""


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(120)
def test_what_workers_print_is_written_down_by_trial_and_not_into_a_commands_result(tmp_path):
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    command = [sys.executable, "-c", PRINT, tmp_path]
    assert subprocess.check_output(command, text=True, env=environment) == "result\n"
    lines = [line[20:] for line in (tmp_path / PROCESS_LOG).read_text().splitlines()]
    assert sorted(lines) == [
        "trial 3: short of breath", "trial 3: warming up", "trial 4: short of breath", "trial 4: warming up",
    ]  # fmt: skip
