"""Checkpoints and prepared text whose only lasting place is an object store."""

import shutil

import pytest
import torch
from corpora import data_spec, two_sources
from torch import nn

from cogito_ray.object_storage.object_store import ObjectStore
from cogito_ray.object_storage.storage_mirror import CACHE, join, local, mirror_of
from cogito_ray.text.preparation_plan import prepare_with, prepared, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.training.checkpoints.checkpoint_retention import CheckpointsSpec
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State, is_written


@pytest.fixture
def machine(s3, tmp_path):
    """Makes one more machine's mirror of the same storage."""

    def storage(name):
        join(tmp_path / name, f"s3://bucket/{tmp_path.name}")
        return tmp_path / name

    return storage


def trained(weight):
    module = nn.Linear(2, 2)
    nn.init.constant_(module.weight, weight)
    return module, torch.optim.SGD(module.parameters())


def checkpoints(storage, told=None):
    note = [].append if told is None else told.append
    return Checkpoints(storage / "run" / "checkpoints", "abc", CheckpointsSpec(keep=2), note=note)


def stored(storage):
    return sorted({name.split("/")[2] for name in mirror_of(storage).store.sizes("run")})


def test_a_run_goes_on_on_another_machine_from_the_newest_checkpoint(machine):
    for step in (1, 2, 3):
        checkpoints(machine("a")).save(State(step), *trained(step))
    assert stored(machine("a")) == ["step-00000002", "step-00000003"]
    module, optimizer = trained(0)
    assert checkpoints(machine("b")).resume(module, optimizer) == State(3)
    assert torch.equal(module.weight, torch.full((2, 2), 3.0))


@pytest.mark.parametrize("puts", range(5))
def test_after_a_kill_between_any_two_puts_of_a_checkpoint_the_run_goes_on_from_a_whole_one(
    machine, monkeypatch, puts
):
    """Of four files, the manifest last."""
    checkpoints(machine("a")).save(State(1), *trained(1))
    upload, left = ObjectStore.upload, iter(range(puts))

    def upload_some(self, file, name):
        if next(left, None) is None:
            raise ConnectionError
        upload(self, file, name)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "upload", upload_some)
        checkpoints(machine("a")).save(State(2), *trained(2))
    assert checkpoints(machine("b")).resume(*trained(0)) == State(2 if puts == 4 else 1)


def test_a_checkpoint_of_the_same_step_takes_the_place_of_the_one_before(machine):
    checkpoints(machine("a")).save(State(1), *trained(1))
    checkpoints(machine("a")).save(State(1), *trained(5))
    module, optimizer = trained(0)
    checkpoints(machine("b")).resume(module, optimizer)
    assert torch.equal(module.weight, torch.full((2, 2), 5.0))


def test_what_is_to_stay_stays_when_a_run_goes_on_on_another_machine(machine):
    spec = CheckpointsSpec(keep=1, milestone_every=2, best={"metric": "loss/total"})
    for storage, steps in (("a", {1: 0.1, 2: 0.5, 3: 0.4}), ("b", {4: 0.3, 5: 0.2})):
        kept = Checkpoints(machine(storage) / "run" / "checkpoints", "abc", spec)
        kept.resume(*trained(0))
        for step, score in steps.items():
            kept.save(State(step, score=score), *trained(step))
    assert [int(name[-2:]) for name in stored(machine("a"))] == [1, 2, 4, 5]


def test_a_checkpoint_that_is_torn_in_the_store_is_passed_over(machine):
    for step in (1, 2):
        checkpoints(machine("a")).save(State(step), *trained(step))
    mirror_of(machine("a")).store.write("run/checkpoints/step-00000002/model.safetensors", b"torn")
    told = []
    assert checkpoints(machine("b"), told).resume(*trained(0)) == State(1)
    assert "passed over" in told[0]


def test_a_checkpoint_counts_as_written_once_every_machine_can_have_it(machine):
    folder = machine("a") / "run" / "checkpoints" / "step-00000001"
    assert not is_written(folder)
    checkpoints(machine("b")).save(State(1), *trained(1))
    assert is_written(folder)


@pytest.mark.parametrize("fault", ["fails_every", "resets_every"])
def test_faults_of_the_store_cost_a_checkpoint_time_alone(machine, s3, fault):
    setattr(s3, fault, 3)
    told = []
    checkpoints(machine("a"), told).save(State(1), *trained(1))
    assert checkpoints(machine("b"), told).resume(*trained(0)) == State(1)
    assert told == []


def test_text_that_was_prepared_on_one_machine_is_read_on_another_without_its_sources(machine, tmp_path):
    data = data_spec(two_sources(tmp_path / "text"))
    made = prepare_with(serially, data, machine("a"))
    again = prepare_with(refuse, data, machine("b"))
    assert again.digests == made.digests == prepared(data, machine("c")).digests
    shutil.rmtree(tmp_path / "text")
    there = Corpus.open(data, machine("d"), made.digests)
    assert (there.held_out_rows(8) == made.held_out_rows(8)).all()
    assert there.tokenizer.digest() == made.tokenizer.digest()


def refuse(work):
    assert not work, "nothing is to be built again"
    return []


def test_a_url_below_a_storage_is_a_path_in_the_mirror_of_that_storage(s3, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path))
    root = local(url := f"s3://bucket/{tmp_path.name}")
    mirror_of(root).begin()
    assert local(f"{url}/run/checkpoints") == local(local_path(url) / "run" / "checkpoints") == root / "run/checkpoints"
    assert mirror_of(local(f"{url}/run")).url == url


def local_path(url):
    """As the command line reads it."""
    return type(local("x"))(url)


def test_a_path_stays_a_path_and_a_file_url_becomes_one(tmp_path):
    assert local("runs") == local(local("runs")) == type(tmp_path)("runs")
    assert local(tmp_path.as_uri()) == tmp_path
