"""How many trials a cluster holds, and what is refused because it holds fewer than that. No cluster."""

import pytest
import ray
from kinds import run

from cogito_ray.runtime.cluster import NoRoom, concurrency


@pytest.fixture
def cluster_of(monkeypatch):
    """Ray says that it has these resources."""
    return lambda **has: monkeypatch.setattr(ray, "cluster_resources", lambda: has)


def sized(**settings):
    return run().model_copy(update=settings)


def test_as_many_of_the_largest_as_there_is_room_for_beside_the_spare_cpu(cluster_of):
    cluster_of(CPU=8.0, GPU=2.0)
    assert concurrency([sized(), sized(cpus_per_worker=2.0)], asked=None) == 3
    assert concurrency([sized(gpus_per_worker=0.7)], asked=None) == 2
    assert concurrency([sized(gpus_per_worker=0.1)], asked=None) == 7
    assert concurrency([sized(cpus_per_worker=0.07)], asked=None) == 100    # though 7 / 0.07 is a little less
    assert concurrency([sized()], asked=3) == 3


@pytest.fixture
def two_kinds_of_machines(cluster_of, monkeypatch):
    """One with 8 old GPUs, two with 2 new ones each, and one of these that is gone."""
    cluster_of(CPU=16.0, GPU=12.0)
    old = {"Alive": True, "Labels": {"gpu": "old", "room": "1"}, "Resources": {"CPU": 8.0, "GPU": 8.0}}
    new = {"Alive": True, "Labels": {"gpu": "new", "room": "1"}, "Resources": {"CPU": 4.0, "GPU": 2.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [old, new, new, new | {"Alive": False}])


@pytest.mark.usefixtures("two_kinds_of_machines")
def test_only_machines_with_all_labels_of_a_run_count():
    of_new, of_old = ({"gpus_per_worker": 1.0, "labels": {"gpu": kind}} for kind in ("new", "old"))
    assert concurrency([sized(**of_new)], asked=None) == 4
    assert concurrency([sized(**of_old)], asked=None) == 8
    assert concurrency([sized(**of_old), sized(**of_new)], asked=None) == 4
    assert concurrency([sized(labels={"room": "1"})], asked=None) == 15  # the spare CPU is kept
    with pytest.raises(NoRoom, match="need 1 CPU of 0, 0 GPU of 0 on machines labelled gpu=new, room=2 "):
        concurrency([sized(labels={"gpu": "new", "room": "2"})], asked=None)


@pytest.mark.parametrize(
    ("settings", "asked", "said"),
    [
        ({"cpus_per_worker": 9.0}, None, "1 trial(s) at once need 9 CPU of 8, 0 GPU of 2"),
        ({"workers": 3, "gpus_per_worker": 1.0}, None, "1 trial(s) at once need 3 CPU of 8, 3 GPU of 2"),
        ({"cpus_per_worker": 3.0}, 3, "3 trial(s) at once need 9 CPU of 8"),
    ],
)
def test_what_a_cluster_cannot_hold_is_refused_with_what_it_has(cluster_of, settings, asked, said):
    cluster_of(CPU=9.0, GPU=2.0)
    with pytest.raises(NoRoom) as refused:
        concurrency([sized(**settings)], asked=asked)
    assert str(refused.value).startswith(said)
    assert "or join a larger cluster" in str(refused.value)
