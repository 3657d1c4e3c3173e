"""How many trials machines hold at once, and what is refused because they hold fewer than that. No cluster."""

import pytest

from cogito_ray.run_spec import ElasticSpec
from cogito_ray.runtime.trial_capacity import Machine, Shape, refusal, room
from cogito_ray.testing.tiny_runs import run


def shape(in_sweep=False, **settings):
    return Shape.of(run().model_copy(update=settings), in_sweep=in_sweep)


def labelled(cpus, gpus, **labels):
    return Machine(cpus, gpus, frozenset(labels.items()))


def test_as_many_of_the_largest_as_there_is_room_for_beside_the_spare_cpu():
    one = [Machine(8.0, 2.0)]
    assert room(one, [shape(), shape(cpus_per_worker=2.0)]) == 3
    assert room(one, [shape(cpus_per_worker=0.07)]) == 100     # though 7 / 0.07 is a little less
    assert room(one, [shape(gpus_per_worker=1.0)]) == 2


@pytest.mark.parametrize(("machines", "fits"), [([4.0, 4.0], 2), ([2.0, 2.0, 2.0, 3.0], 1), ([2.0] * 40, 0)])
def test_a_worker_does_not_stand_on_two_machines(machines, fits):
    assert room([Machine(cpus) for cpus in machines], [shape(cpus_per_worker=3.0)]) == fits


@pytest.mark.parametrize(("machines", "fits"), [([5.0], 1), ([2.0, 3.0], 1), ([2.0, 2.0], 0), ([3.0, 4.0], 1)])
def test_the_workers_of_a_trial_may_stand_on_several(machines, fits):
    assert room([Machine(cpus) for cpus in machines], [shape(workers=2, cpus_per_worker=2.0)]) == fits


def test_a_process_that_waits_for_its_workers_may_take_the_place_of_one_on_its_machine():
    two_workers = [shape(workers=2, in_sweep=True)]
    assert room([Machine(2.0)] * 4, two_workers) == 2      # three would need six of eight places, and take three
    assert room([Machine(2.5)] * 4, two_workers) == 4
    assert room([Machine(2.0)] * 4, [shape(workers=2)]) == 3
    assert room([Machine(2.0)] * 4, [shape(in_sweep=True)]) == 7


def test_an_elastic_run_needs_room_for_the_fewest_workers_it_may_have():
    assert room([Machine(5.0)], [shape(workers=ElasticSpec(min=2, max=4))]) == 2


@pytest.mark.parametrize(
    ("share", "gpus", "fits"), [(0.7, 2.0, 2), (0.4, 2.0, 4), (0.1, 2.0, 20), (0.25, 1.5, 6), (0.4, 1.3, 2)]
)
def test_a_share_of_a_gpu_is_a_share_of_one_device(share, gpus, fits):
    assert room([Machine(64.0, gpus)], [shape(gpus_per_worker=share)]) == fits


def test_only_machines_with_all_labels_of_a_run_count():
    new = labelled(4.0, 2.0, gpu="new", room="1")
    machines = [labelled(8.0, 8.0, gpu="old", room="1"), new, new]
    of_new, of_old = (shape(gpus_per_worker=1.0, labels={"gpu": kind}) for kind in ("new", "old"))
    assert room(machines, [of_new]) == 4
    assert room(machines, [of_old]) == 8
    assert room(machines, [of_old, of_new]) == 4
    assert room(machines, [shape(labels={"room": "1"})]) == 15  # the spare CPU is kept
    nowhere = shape(labels={"gpu": "new", "room": "2"})
    assert room(machines, [nowhere]) == 0
    said = str(refusal(machines, [nowhere], 1))
    assert "on machines labelled gpu=new, room=2: 0 would fit" in said
    assert "2 x (4 CPU, 2 GPU, gpu=new, room=1); 1 x (8 CPU, 8 GPU, gpu=old, room=1)" in said


def test_what_does_not_fit_is_refused_with_what_is_free_and_a_way_out():
    said = str(refusal([Machine(2.0)] * 4 + [Machine(1.0, 1.0)], [shape(), shape(cpus_per_worker=3.0)], 2))
    assert said.startswith("2 trial(s) at once, each of 1 worker with 3 CPU, 0 GPU: 0 would fit on what is free")
    assert "4 x (2 CPU, 0 GPU); 1 x (1 CPU, 1 GPU)" in said
    assert said.endswith("or join a larger cluster")


def test_no_machine_is_no_room():
    assert room([], [shape()]) == 0
    assert "which is no machine" in str(refusal([], [shape()], 1))
