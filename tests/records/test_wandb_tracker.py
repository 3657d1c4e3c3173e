"""The tracker gets every report once, whenever it is asked."""

import json
import struct
import time

import pytest

from cogito_ray.records.ledger import NAME, Ledger, Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.wandb_tracker import NoTracker, publish


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A sweep of one trial with two reports, open for more; wandb writes files only."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    provenance = Provenance(host="h", commit=None, dirty=False, versions={})
    with Ledger(tmp_path / NAME) as written:
        written.append(SweepOpened(at=0, spec={"name": "s"}, sweep="d", provenance=provenance))
        written.append(TrialStarted(at=0, trial="t1", number=0, sample={"x": 1}, spec={"training": {"steps": 30}}))
        for step in (10, 20):
            written.append(Reported(trial="t1", step=step, seconds=1, metrics={"loss/total": 1 / step}))
        yield written


def messages(file):
    """What a .wandb file holds: 7 bytes, then blocks of 32 KiB of pieces (checksum, length, kind), as LevelDB logs."""
    from wandb.proto.wandb_internal_pb2 import Record as Message  # half a second

    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = 2**15 - at % 2**15
        _, length, kind = struct.unpack_from("<IHB", data, at) if room >= 7 else (0, 0, 0)
        piece = data[at + 7 : at + 7 + length]
        at += 7 + length if kind else room
        whole = piece if kind in (1, 2) else whole + piece
        if kind in (1, 4):
            yield Message.FromString(whole)


def sent(folder, count):
    """(step, loss) of every report in wandb's files, in the order they were written; its service may lag behind."""
    deadline = time.monotonic() + 60
    while len(told := written(folder)) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return told


def written(folder):
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    told = [message.history.item for file in files for message in messages(file) if message.history.item]
    reports = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in items} for items in told]
    return [(report["step"], report["loss/total"]) for report in reports]


def test_each_report_is_sent_once_also_while_the_sweep_grows(ledger, tmp_path):
    publish(tmp_path, "p")
    publish(tmp_path, "p")
    ledger.append(Reported(trial="t1", step=30, seconds=2, metrics={"loss/total": 0.5}))
    ledger.append(TrialEnded(at=3, trial="t1", status="completed", step=30))
    publish(tmp_path, "p")
    assert sent(tmp_path, 3) == [(10, 0.1), (20, 0.05), (30, 0.5)]


def test_another_project_gets_everything(ledger, tmp_path):
    publish(tmp_path, "one")
    publish(tmp_path, "two")
    assert sorted(sent(tmp_path, 4)) == [(10, 0.1), (10, 0.1), (20, 0.05), (20, 0.05)]


def test_without_a_key_publishing_says_how_to_get_one(ledger, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    import wandb

    wandb.teardown()  # it reads the environment once a process
    with pytest.raises(NoTracker, match=r"No API key configured.*WANDB_API_KEY.*WANDB_MODE=offline"):
        publish(tmp_path, "p")
    assert not (tmp_path / "published.json").exists()
