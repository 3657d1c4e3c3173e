"""What a sweep must not leave behind is named: actors as well as placement groups."""

import pytest
import ray
from ray.util import placement_group, remove_placement_group

from cogito_ray.runtime.cluster import left_behind

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
