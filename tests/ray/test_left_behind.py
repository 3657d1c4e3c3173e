"""What a sweep must not leave behind is named: actors as well as placement groups."""

import subprocess
import sys

import pytest
import ray
from ray.util import placement_group, remove_placement_group

from cogito_ray.runtime import cluster, elastic_room
from cogito_ray.runtime.cluster import left_behind
from cogito_ray.runtime.elastic_room import ElasticRoom
from cogito_ray.runtime.trial_capacity import NoRoom, Shape
from cogito_ray.testing.tiny_runs import run

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("ray_cluster")]


@ray.remote(num_cpus=0)
class RayTrainWorker:
    """Stands for one that Ray Train forgot; it holds no CPU, so only its name tells."""

    def ready(self):
        return True


def test_an_actor_that_holds_nothing_is_named_until_it_is_gone():
    actor = RayTrainWorker.remote()
    ray.get(actor.ready.remote())
    [held] = left_behind(patience_s=0)
    assert held.startswith(f"actor {actor._actor_id.hex()} (RayTrainWorker")
    ray.kill(actor)
    assert left_behind(patience_s=10) == []


def test_a_placement_group_is_named_until_it_is_gone():
    group = placement_group([{"CPU": 1}])
    ray.get(group.ready())
    held = left_behind(patience_s=0)
    assert f"placement group {group.id.hex()}" in held
    remove_placement_group(group)
    assert left_behind(patience_s=10) == []


OTHER_JOB = """
import sys, time, ray
from ray.util import placement_group
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
ray.get(placement_group([{"CPU": 2}]).ready())
print("holds", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other_job():
    """Another driver on this cluster, that holds two of its four CPUs."""
    here = ray.get_runtime_context().gcs_address
    job = subprocess.Popen([sys.executable, "-c", OTHER_JOB, here], stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "holds\n"
    yield
    job.kill()
    job.wait()


@pytest.mark.usefixtures("other_job")
def test_what_another_job_holds_is_not_ours_to_give_back_nor_to_use(monkeypatch):
    for patience in ("PATIENCE_S", "ANSWER_S"):
        monkeypatch.setattr(elastic_room, patience, 0.5)
    assert cluster.left_behind(patience_s=0) == []
    assert cluster.capacity([Shape.of(run())]) == 3
    assert ElasticRoom([run()], requested=None).fits() == 1
    with pytest.raises(NoRoom, match=r"which is 1 x \(2 CPU, 0 GPU\)"):
        ElasticRoom([run()], requested=2)
