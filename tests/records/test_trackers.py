"""Trackers get everything once, whenever they are asked, and read back by their own readers it is what was reported."""

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cogito_ray.records.ledger import (
    NAME,
    Evaluated,
    Ledger,
    Promoted,
    Reported,
    SweepOpened,
    TaskScore,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import read
from cogito_ray.records.tracking import follower
from cogito_ray.records.tracking.follower import publish, tracked
from cogito_ray.records.tracking.trackers import TRACKERS, NoTracker

ORIGIN = Provenance(host="h", commit=None, dirty=False, versions={})
SPEC = {"training": {"steps": 30}}


def opened(folder):
    ledger = Ledger(folder / NAME)
    ledger.append(SweepOpened(at=0, spec={"name": "s"}, sweep="d", provenance=ORIGIN))
    return ledger


def started(trial, number=0, **more):
    return TrialStarted(at=0, trial=trial, number=number, sample={"x": 1}, spec=SPEC, **more)


def reported(trial, step):
    return Reported(trial=trial, step=step, seconds=1, metrics={"loss/total": 1 / step})


@pytest.fixture
def folder(tmp_path):
    """Of the experiment: its storage is a folder of its own."""
    (tmp_path / "s").mkdir()
    return tmp_path / "s"


@pytest.fixture
def ledger(folder, monkeypatch):
    """A sweep of one trial with two reports, open for more; wandb writes files only."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with opened(folder) as written:
        written.append(started("t1"))
        for step in (10, 20):
            written.append(reported("t1", step))
        yield written


def grow(ledger, folder):
    """The rest of a sweep: an evaluation, the end, another seed, a full run."""
    score = TaskScore(vectors="mean", baseline=False, metric="spearman", value=0.5, low=0.4, high=0.6)
    asked = {"task": "stsb", "protocol": "probe", "settings": {}, "seed": 0, "examples": 9, "seconds": 1}
    named = {"key": "k", "checkpoint": "c", "code": "d"}
    ledger.append(Evaluated(at=2, trial="t1", step=20, scores=(score,), **asked, **named))
    ledger.append(reported("t1", 30))
    ledger.append(TrialEnded(at=3, trial="t1", status="completed", step=30))
    ledger.append(started("t2seed", replicates="t1"))
    ledger.append(TrialEnded(at=3, trial="t2seed", status="failed", step=10, cause="divergence"))
    own = folder / "promoted" / "full"
    own.mkdir(parents=True)
    with opened(own) as full:
        full.append(started("full"))
        full.append(reported("full", 10))
        full.append(TrialEnded(at=4, trial="full", status="completed", step=10))
    ledger.append(
        Promoted(at=5, trial="t1", run="full", folder=str(own), changes=(), complete=True, metrics={"loss/total": 0.1})
    )


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
    while len(told := reports_in(wandb_files(folder))) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return told


def finished(folder, count):
    """All messages in wandb's files, once so many runs have ended in them."""
    deadline = time.monotonic() + 60
    while True:
        found = [message for file in wandb_files(folder) for message in messages(file)]
        if sum(message.HasField("exit") for message in found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def wandb_files(folder):
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)


def reports_in(files):
    told = [message.history.item for file in files for message in messages(file) if message.history.item]
    reports = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in items} for items in told]
    return [(report["step"], report["loss/total"]) for report in reports]


def test_each_report_is_sent_once_also_while_the_sweep_grows(ledger, folder):
    publish(folder, project="p")
    publish(folder, project="p")
    grow(ledger, folder)
    publish(folder, project="p")
    assert sent(folder, 4) == [(10, 0.1), (20, 0.05), (30, 1 / 30), (10, 0.1)]


def test_wandb_knows_groups_tags_scores_and_ends(ledger, folder):
    grow(ledger, folder)
    publish(folder, project="p")
    found = finished(folder, 3)
    runs = {message.run.run_id: message.run for message in found if message.run.run_id}
    assert {run.run_group for run in runs.values()} == {"s"}
    assert [(key, runs[key].display_name, list(runs[key].tags)) for key in sorted(runs)] == [
        ("full", "s-0-full", ["promoted"]),
        ("t1", "s-0", []),
        ("t2seed", "s-0-t2seed", ["replicate"]),
    ]
    summary = {item.key: json.loads(item.value_json) for message in found for item in message.summary.update}
    assert summary["stsb/probe/mean/spearman"] == 0.5
    assert sorted(message.exit.exit_code for message in found if message.HasField("exit")) == [0, 0, 1]


def test_another_project_gets_everything(ledger, folder):
    publish(folder, project="one")
    publish(folder, project="two")
    assert sorted(sent(folder, 4)) == [(10, 0.1), (10, 0.1), (20, 0.05), (20, 0.05)]


def test_mlflow_has_what_was_reported(ledger, folder):
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    publish(folder, "mlflow", "p")
    grow(ledger, folder)
    publish(folder, "mlflow", "p")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder.parent}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    runs = {run.data.tags["cogito_run"]: run for run in found}
    assert {key: (run.info.run_name, run.info.status) for key, run in runs.items()} == {
        "t1": ("s-0", "FINISHED"),
        "t2seed": ("s-0-t2seed", "FAILED"),
        "full": ("s-0-full", "FINISHED"),
    }
    history = client.get_metric_history(runs["t1"].info.run_id, "loss/total")
    assert [(one.step, one.value) for one in history] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert runs["t1"].data.metrics["stsb/probe/mean/spearman"] == 0.5
    assert runs["t1"].data.params == {"x": "1"}
    assert "replicate" in runs["t2seed"].data.tags
    assert runs["t2seed"].data.tags["cause"] == "divergence"


def test_tensorboard_has_what_was_reported(ledger, folder):
    reason = "tensorboard, which alone reads its files, is not installed"
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=reason)
    publish(folder, "tensorboard")
    grow(ledger, folder)
    publish(folder, "tensorboard")
    assert sorted(run.name for run in (folder / "tensorboard").iterdir()) == ["s-0", "s-0-full", "s-0-t2seed"]
    told = reader.EventAccumulator(str(folder / "tensorboard" / "s-0")).Reload()
    assert [(one.step, one.value) for one in told.Scalars("loss/total")] == [
        (10, pytest.approx(0.1)),
        (20, pytest.approx(0.05)),
        (30, pytest.approx(1 / 30)),
    ]
    assert [one.step for one in told.Scalars("stsb/probe/mean/spearman")] == [20]


def test_the_record_says_where_each_trial_is(ledger, folder):
    grow(ledger, folder)
    publish(folder, "tensorboard")
    links = {trial: Path(url).name for (_, trial), url in read(folder / NAME).links.items()}
    assert links == {"t1": "s-0", "t2seed": "s-0-t2seed", "full": "s-0-full"}


def test_without_a_key_publishing_says_how_to_get_one(ledger, folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    import wandb

    wandb.teardown()  # it reads the environment once a process
    with pytest.raises(NoTracker, match=r"No API key configured.*WANDB_API_KEY.*WANDB_MODE=offline"):
        publish(folder, project="p")
    assert not (folder / "published.json").exists()


def test_a_tracker_beside_a_driver_is_told_all_by_its_end(folder, monkeypatch):
    with tracked(folder, ["tensorboard"]), opened(folder) as ledger:
        ledger.append(started("t1"))
        ledger.append(reported("t1", 10))
    assert [*(folder / "tensorboard" / "s-0").glob("events*")]
    assert read(folder / NAME).trials["t1"].notes == []


@pytest.fixture
def silent_server():
    """The URL of one that takes every request and answers none."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["wandb", "mlflow"])
def test_a_tracker_that_hangs_costs_a_note(folder, monkeypatch, silent_server, kind):
    pytest.importorskip(kind, reason=f"{kind} is not installed")
    settings = {"WANDB_BASE_URL": silent_server, "WANDB_API_KEY": "a" * 40, "WANDB_MODE": "online"}
    for name, value in {**settings, "MLFLOW_TRACKING_URI": silent_server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(follower, "PATIENCE_S", 2.0)
    assert_note(folder, kind, "nothing moved for 2 s")


ENDS = [(signal.SIGKILL, "its process died", 30.0), (signal.SIGSTOP, "nothing moved for 0.3 s", 0.3)]


@pytest.mark.parametrize("kind", TRACKERS)
@pytest.mark.parametrize(("sent", "why", "patience_s"), ENDS, ids=["dies", "stands still"])
def test_a_tracker_whose_process_dies_or_stands_still_costs_a_note(folder, monkeypatch, kind, sent, why, patience_s):
    monkeypatch.setattr(follower, "PATIENCE_S", patience_s)
    assert_note(folder, kind, why, sent)


def assert_note(folder, kind, why, befalls=None):
    """A driver that works beside it ends as if it were not there, and the record says why it got nothing.

    `befalls`: a signal that the process which follows gets.
    """
    with tracked(folder, [kind]), opened(folder) as ledger:
        if befalls is not None:
            while not (found := [one for one in psutil.Process().children() if str(folder) in one.cmdline()]):
                time.sleep(0.01)    # it has no command line until the kernel has loaded its program
            [process] = found
            process.send_signal(befalls)
        began = time.monotonic()
        ledger.append(started("t1"))
        ledger.append(reported("t1", 10))
        assert time.monotonic() - began < 1
    [note] = read(folder / NAME).trials["t1"].notes
    assert note.startswith(f"step 10: {kind} was not told all (")
    assert why in note


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        ("wandb", {"WANDB_MODE": "online", "WANDB_API_KEY": "", "HOME": "/nonexistent"}, "No API key configured"),
        ("mlflow", {"MLFLOW_TRACKING_URI": "nothing://there"}, "is MLFLOW_TRACKING_URI right?"),
        ("tensorboard", {}, "Not a directory"),
    ],
)
def test_a_tracker_that_is_not_set_up_costs_a_note(folder, monkeypatch, kind, settings, why):
    if kind != "tensorboard":
        pytest.importorskip(kind, reason=f"{kind} is not installed")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (folder / "tensorboard").write_text("a file where a folder should be")
    assert_note(folder, kind, why)


def test_the_process_beside_a_driver_ends_with_it(folder):
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom cogito_ray.records.tracking.follower import _started\n"
        "print(_started(Path(sys.argv[1]), 'tensorboard').pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=False)
    pid, deadline = int(done.stdout), time.monotonic() + 30
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(pid)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
