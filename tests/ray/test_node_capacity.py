"""Room is what single machines have free: on a cluster of several, in a process of its own."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(120)
COUNT = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import ray
from cogito_ray.testing.tiny_runs import run
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from cogito_ray.runtime import elastic_room
from cogito_ray.runtime.trial_capacity import NoRoom

elastic_room.PATIENCE_S = elastic_room.ANSWER_S = 0.5
nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for kind in ("old", "new"):
    nodes.add_node(num_cpus=2, num_gpus=1, labels={"gpu": kind})
ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=0, num_gpus=1, label_selector={"gpu": "new"})
class Tenant:
    def here(self):
        return True

def held(**settings):
    try:
        return elastic_room.ElasticRoom([run().model_copy(update=settings)], requested=None).fits()
    except NoRoom as fault:
        return str(fault)

told = {"wide": held(cpus_per_worker=3.0), "two": held(workers=2), "any": held(gpus_per_worker=1.0)}
tenant = Tenant.remote()
ray.get(tenant.here.remote())
told |= {"free": held(gpus_per_worker=1.0), "taken": held(gpus_per_worker=1.0, labels={"gpu": "new"})}
room, seen = elastic_room.ElasticRoom([run()], requested=None), []
elastic_room.LOOKS_EVERY_S = 0.0
leaving = nodes.add_node(num_cpus=4)
seen.append(room.fits())
drain = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, "taken away", time.time_ns() // 10**6 + 60_000
GcsClient(address=nodes.address).drain_node(leaving.node_id, *drain)
seen += [room.fits(), room.fits(2)]
room.most = 1
print("told " + json.dumps(told | {"seen": [*seen, room.fits()]}), flush=True)
ray.shutdown()
nodes.shutdown()
"""


def test_room_is_counted_node_by_node_from_what_is_free(request):
    command = [sys.executable, "-c", COUNT, str(request.config.rootpath / "tests")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    [told] = [json.loads(line.removeprefix("told ")) for line in said.splitlines() if line.startswith("told ")]
    assert "each of 1 worker with 3 CPU, 0 GPU: 0 would fit" in told["wide"]
    assert "2 x (2 CPU, 1 GPU)" in told["wide"]
    assert (told["two"], told["any"], told["free"]) == (1, 2, 1)
    assert "on machines labelled gpu=new: 0 would fit" in told["taken"]
    assert told["seen"] == [7, 3, 2, 1]    # of four CPUs, eight, and four that stay; two were asked for; one is allowed
