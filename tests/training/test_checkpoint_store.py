import resource
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread

import pytest
import torch
from torch import nn

from cogito_ray.text.data_digests import DataDigests
from cogito_ray.training.checkpoints.checkpoint_retention import BestSpec, CheckpointsSpec
from cogito_ray.training.checkpoints.checkpoint_store import (
    BadCheckpoint,
    Checkpoints,
    Snapshot,
    State,
    bytes_of,
    verify,
)
from cogito_ray.training.guards import GuardReport


def trained(steps, seed=0):
    """A small module and its optimizer after some steps."""
    torch.manual_seed(seed)
    module = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    for _ in range(steps):
        module(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return module, optimizer


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", run_digest="abc", spec=CheckpointsSpec(keep=2))


def test_resuming_restores_weights_optimizer_and_state_exactly(checkpoints):
    module, optimizer = trained(steps=3)
    seen = (GuardReport(2, {"loss/total": 0.1}), GuardReport(3, {"loss/total": 1 / 3}))
    state = State(3, rollbacks=1, seen=seen, rows="1f" * 16)
    state = replace(state, data=DataDigests("0a" * 6, {"docs": "1b" * 6}))
    checkpoints.save(state, module, optimizer)
    other, other_optimizer = trained(steps=0, seed=1)
    assert checkpoints.resume(other, other_optimizer) == state
    assert torch.equal(other.weight, module.weight)
    saved, loaded = (o.state_dict()["state"][0]["exp_avg_sq"] for o in (optimizer, other_optimizer))
    assert torch.equal(saved, loaded)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_bytes_of_a_checkpoint_are_known_before_it_is_written(checkpoints, frozen):
    module = nn.Sequential(nn.Linear(256, 256).requires_grad_(not frozen), nn.Linear(256, 256))
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad])
    module(torch.ones(2, 256)).sum().backward()
    optimizer.step()
    written = sum(path.stat().st_size for path in checkpoints.save(State(1), module, optimizer).iterdir())
    assert bytes_of(module) == pytest.approx(written, rel=0.02)     # names, hashes and counts besides


def test_without_a_checkpoint_there_is_nothing_to_resume(checkpoints):
    assert checkpoints.resume(*trained(steps=0)) is None


def test_only_the_newest_are_kept(checkpoints):
    for step in (1, 2, 3):
        checkpoints.save(State(step), *trained(steps=step))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000002", "step-00000003"]


def test_a_checkpoint_of_the_same_step_is_replaced(checkpoints):
    checkpoints.save(State(1), *trained(steps=1))
    checkpoints.save(State(1, rollbacks=1), *trained(steps=2))
    module, optimizer = trained(steps=0)
    assert checkpoints.resume(module, optimizer) == State(1, rollbacks=1)
    assert torch.equal(module.weight, trained(steps=2)[0].weight)


def damage_by_tearing(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def damage_by_altering(folder):
    file = folder / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-1] + b"x")


def damage_by_losing_a_file(folder):
    (folder / "state.json").unlink()


def damage_by_losing_the_manifest(folder):
    (folder / "manifest.json").unlink()


DAMAGES = {
    damage_by_tearing: "model.safetensors: altered",
    damage_by_altering: "optimizer.pt: altered",
    damage_by_losing_a_file: "state.json: missing",
    damage_by_losing_the_manifest: "manifest.json: missing or torn",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(checkpoints, damage, caplog):
    checkpoints.save(State(1), *trained(steps=1))
    newest = checkpoints.save(State(2), *trained(steps=2))
    damage(newest)
    with pytest.raises(BadCheckpoint, match=DAMAGES[damage]):
        verify(newest)
    module, optimizer = trained(steps=0)
    assert checkpoints.resume(module, optimizer) == State(1)
    assert torch.equal(module.weight, trained(steps=1)[0].weight)
    assert DAMAGES[damage] in caplog.text


def test_a_damaged_checkpoint_takes_no_place_among_those_that_stay(tmp_path):
    """Else the one that is written next would be deleted as the older one."""
    checkpoints = Checkpoints(tmp_path, "abc", CheckpointsSpec(keep=2))
    for step in (10, 20):
        newest = checkpoints.save(State(step), *trained(steps=1))
    damage_by_tearing(newest)
    last = Checkpoints(tmp_path, "abc", CheckpointsSpec(keep=1))
    assert last.resume(*trained(steps=0)) == State(10)
    last.save(State(15), *trained(steps=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-step-00000020", "step-00000015"]
    assert last.resume(*trained(steps=0)) == State(15)


def test_a_torn_state_of_an_earlier_checkpoint_ends_no_run(checkpoints):
    damage = checkpoints.save(State(1), *trained(steps=1)) / "state.json"
    damage.write_text('{"step": 1, "ro')
    for step in (2, 3):
        checkpoints.save(State(step), *trained(steps=1))
    assert checkpoints.resume(*trained(steps=0)) == State(3)


def test_a_process_killed_while_it_replaced_a_checkpoint_leaves_the_old_one(checkpoints):
    old = checkpoints.save(State(1), *trained(steps=1))
    old.rename(checkpoints.folder / f".replaced-{old.name}")
    (checkpoints.folder / ".partial-step-00000001-0a1b2c3d").mkdir()
    assert checkpoints.resume(*trained(steps=0)) == State(1)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_an_old_process_that_still_writes_beside_its_successor_damages_nothing(tmp_path):
    """Both write the same steps, as processes of a driver that was killed do for a while."""
    faults = []

    def write():
        own = Checkpoints(tmp_path, "abc", note=lambda text: None)
        for step in range(1, 30):
            own.save_in_background(Snapshot.of(State(step), module, optimizer))
            try:
                own.settle()
            except Exception as fault:
                faults.append(fault)

    module, optimizer = trained(steps=1)
    both = [Thread(target=write) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert faults == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000028", "step-00000029"]
    for folder in tmp_path.iterdir():
        verify(folder)


def test_a_checkpoint_being_written_is_never_taken_for_one(checkpoints):
    whole = checkpoints.save(State(1), *trained(steps=1))
    whole.rename(checkpoints.folder / ".partial-00000001")
    assert checkpoints.resume(*trained(steps=0)) is None


def test_the_checkpoint_of_another_run_is_refused(checkpoints):
    checkpoints.save(State(1), *trained(steps=1))
    stranger = Checkpoints(checkpoints.folder, run_digest="xyz")
    with pytest.raises(BadCheckpoint, match="belongs to run abc, not xyz"):
        stranger.resume(*trained(steps=0))


def test_a_checkpoint_of_another_model_is_refused_key_for_key(checkpoints):
    checkpoints.save(State(1), *trained(steps=1))
    wider = nn.Linear(4, 3, bias=False)
    with pytest.raises(RuntimeError, match="bias"):
        checkpoints.resume(wider, torch.optim.AdamW(wider.parameters()))


def test_a_checkpoint_written_in_the_background_is_of_the_moment_it_was_asked_for(checkpoints):
    module, optimizer = trained(steps=1)
    checkpoints.save_in_background(Snapshot.of(State(1), module, optimizer))
    with torch.no_grad():
        module.weight.zero_()
    assert checkpoints.settle()
    assert checkpoints.resume(module, optimizer) == State(1)
    assert torch.equal(module.weight, trained(steps=1)[0].weight)


def test_weights_shared_by_two_names_are_stored_once_and_come_back_shared(checkpoints):
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    optimizer = torch.optim.SGD(module.parameters())
    folder = checkpoints.save(State(1), module, optimizer)
    expected = module[0].weight.clone()
    with torch.no_grad():
        module[0].weight.zero_()
    checkpoints.resume(module, optimizer)
    assert torch.equal(module[1].weight, expected)
    assert (folder / "model.safetensors").read_bytes().count(b'"0.weight":{') == 1


def test_the_best_stays_though_it_is_old(tmp_path):
    best = Checkpoints(tmp_path, "abc", CheckpointsSpec(keep=1, best=BestSpec(metric="m")))
    for step, score in ((1, 2.0), (2, 1.0), (3, 3.0), (4, 4.0)):
        best.save(State(step, score=score), *trained(steps=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000004"]


@pytest.fixture
def full_disk():
    """While this context lasts, no file may grow beyond 600 bytes, and writing fails as on a full disk."""

    @contextmanager
    def full():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full


def test_a_full_disk_costs_a_checkpoint_and_is_told_once(tmp_path, full_disk):
    told = []
    checkpoints = Checkpoints(tmp_path, "abc", note=told.append)
    checkpoints.save(State(1), *trained(steps=1))
    with full_disk():
        for step in (2, 3):
            checkpoints.save_in_background(Snapshot.of(State(step), *trained(steps=step)))
            assert not checkpoints.settle()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]          # no partial one either
    assert len(told) == 1
    assert told[0].startswith("checkpoint not written, training goes on with the one before: [Errno 27] File too large")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        checkpoints.retry_last()
    checkpoints.retry_last()
    assert checkpoints.resume(*trained(steps=0)) == State(3)
    checkpoints.save_in_background(Snapshot.of(State(4), *trained(steps=4)))
    assert checkpoints.settle()
    assert checkpoints.resume(*trained(steps=0)) == State(4)
