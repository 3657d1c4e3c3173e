"""The doctor at two nodes: what it finds where all is well, and what where they are not what they say."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(200)
# In a process of its own: a process in which a cluster was started asks that one, also after joining another.
NODES = """
import sys
from ray.cluster_utils import Cluster
nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
nodes.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)
print(f"address={nodes.address}", flush=True)
sys.stdin.read()
nodes.shutdown()
"""


@pytest.fixture
def two_nodes():
    """Address of a head that says it has a GPU, and a node that says so, too, and has a small object store."""
    command = [sys.executable, "-c", NODES]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nodes:
        yield next(line for line in nodes.stdout if line.startswith("address=")).strip().removeprefix("address=")
        nodes.stdin.close()


def test_two_nodes_share_storage_and_sums_and_lack_the_gpus_that_they_promise(two_nodes, tmp_path):
    given = [sys.executable, "-m", "cogito_ray", "doctor", "--address", two_nodes, "--json", "--storage", tmp_path]
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(given, env=os.environ | offline, capture_output=True, text=True, timeout=180)
    found = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind
    told = {(one["level"], one["what"]) for one in found}
    assert {("ok", what) for what in ("python", "ray", "torch", "code", "storage", "all-reduce, gloo")} <= told
    assert ("warning", "object store") in told
    [gpus] = {one["text"].partition(" has ")[2] for one in found if one["what"] == "GPUs"}
    assert gpus == "0, of which Ray knows 1"
    assert {what for level, what in told if level == "fault"} == {"all-reduce, nccl"}
