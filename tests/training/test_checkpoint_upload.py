"""Copies of checkpoints on a filesystem opened by URL."""

import shutil
from threading import Event

import fsspec
import pytest
import torch
from torch import nn

from cogito_ray.training.checkpoints.checkpoint_retention import CheckpointsSpec
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, Snapshot, State
from cogito_ray.training.checkpoints.checkpoint_upload import RemoteFolder


def trained(weight):
    module = nn.Linear(2, 2)
    nn.init.constant_(module.weight, weight)
    return module, torch.optim.SGD(module.parameters())


@pytest.fixture(params=["file", "memory"])
def away(request, tmp_path):
    """(URL, the filesystem, its folder) of a local folder, and of one in memory through fsspec."""
    system = fsspec.filesystem(request.param)
    path = f"/{tmp_path.name}/away" if request.param == "memory" else str(tmp_path / "away")
    return f"{'fsspec+' if request.param == 'memory' else ''}{request.param}://{path}", system, path


def checkpoints(folder, url, told=None):
    note = [].append if told is None else told.append
    return Checkpoints(folder, "abc", CheckpointsSpec(keep=2, upload=url), note=note)


def test_a_run_whose_disk_was_lost_goes_on_from_the_newest_copy(tmp_path, away):
    url, system, path = away
    for step in (1, 2, 3):
        checkpoints(tmp_path / "here", url).save(State(step), *trained(step))
    assert sorted(each.rsplit("/", 1)[1] for each in system.ls(f"{path}/abc", detail=False)) == [
        "step-00000002", "step-00000003"
    ]  # fmt: skip
    shutil.rmtree(tmp_path / "here")
    module, optimizer = trained(0)
    assert checkpoints(tmp_path / "here", url).resume(module, optimizer) == State(3)
    assert torch.equal(module.weight, torch.full((2, 2), 3.0))


def test_a_copy_that_was_not_finished_is_not_taken(tmp_path, away):
    url, system, path = away
    for step in (1, 2):
        checkpoints(tmp_path / "here", url).save(State(step), *trained(step))
    system.rm(f"{path}/abc/step-00000002/manifest.json")
    shutil.rmtree(tmp_path / "here")
    assert checkpoints(tmp_path / "here", url).resume(*trained(0)) == State(1)


def test_where_the_newest_copy_is_torn_the_one_before_is_taken(tmp_path, away):
    url, system, path = away
    for step in (1, 2):
        checkpoints(tmp_path / "here", url).save(State(step), *trained(step))
    system.pipe(f"{path}/abc/step-00000002/model.safetensors", b"torn")
    shutil.rmtree(tmp_path / "here")
    told = []
    assert checkpoints(tmp_path / "here", url, told).resume(*trained(0)) == State(1)
    assert len(told) == 1
    assert "checkpoint passed over, and set aside as damaged-step-00000002: " in told[0]


def test_what_is_newer_here_than_there_is_used(tmp_path, away):
    url, system, path = away
    for step in (1, 2):
        checkpoints(tmp_path / "here", url).save(State(step), *trained(step))
    system.rm(f"{path}/abc/step-00000002", recursive=True)
    assert checkpoints(tmp_path / "here", url).resume(*trained(0)) == State(2)


def test_a_place_that_cannot_be_reached_is_told_and_costs_no_training(tmp_path):
    (tmp_path / "away").write_text("not a folder")
    told = []
    here = checkpoints(tmp_path / "here", f"file://{tmp_path}/away", told)
    here.save_in_background(Snapshot.of(State(1), *trained(1)))
    assert here.settle()
    assert here.resume(*trained(0)) == State(1)
    assert told[0].startswith("checkpoint not uploaded, it stays in ")


def test_a_slow_place_holds_up_no_checkpoint_and_gets_the_newest(tmp_path, monkeypatch):
    begun, may_arrive, put, sent = Event(), Event(), RemoteFolder.put, []

    def slowly(remote, folder, *, last):
        begun.set()
        assert may_arrive.wait(20)
        sent.append(folder.name)
        put(remote, folder, last=last)

    monkeypatch.setattr(RemoteFolder, "put", slowly)
    here = checkpoints(tmp_path / "here", f"file://{tmp_path}/away")
    here.save_in_background(Snapshot.of(State(1), *trained(1)))
    assert begun.wait(20)
    for step in (2, 3, 4):
        here.save_in_background(Snapshot.of(State(step), *trained(step)))
    assert here.wait_written()
    assert not sent
    assert names(tmp_path / "here") == [1, 3, 4]  # what is on its way stays, whatever else is kept
    may_arrive.set()
    assert here.settle()
    assert sent == ["step-00000001", "step-00000004", "step-00000003"]
    assert names(tmp_path / "away" / "abc") == [3, 4]
    here.save(State(5), *trained(5))
    assert (names(tmp_path / "here"), names(tmp_path / "away" / "abc")) == ([4, 5], [4, 5])


def names(folder):
    return sorted(int(each.name.removeprefix("step-")) for each in folder.iterdir())


def test_the_same_trouble_is_told_once(tmp_path):
    (tmp_path / "away").write_text("not a folder")
    told = []
    here = checkpoints(tmp_path / "here", f"file://{tmp_path}/away", told)
    for step in (1, 2, 3):
        here.save(State(step), *trained(step))
    assert len(told) == 1
    (tmp_path / "away").unlink()
    here.save(State(4), *trained(4))
    assert names(tmp_path / "away" / "abc") == [3, 4]  # what could not be sent before comes after


def test_an_unknown_kind_of_place_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="nowhere://"):
        checkpoints(tmp_path, "nowhere://bucket").choose()
