"""Disks that fill up and files that rot, without Ray: a worker in this process."""

import contextlib
import os
import subprocess

import pytest
from ordeal import BY_ITSELF

from cogito_ray.runtime.train.train_worker import Job, Place, train
from cogito_ray.runtime.verification.fault_injection import Drill, Result
from cogito_ray.text.preparation_plan import prepared

pytestmark = [pytest.mark.quick, pytest.mark.timeout(300)]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(file):
    """To the last byte."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


def test_a_disk_full_for_a_while_costs_checkpoints_and_nothing_else(base, bare, storage, small_disk, record_property):
    record_property("fault", "the disk of checkpoints is full for a while")
    ballast, told = small_disk / "ballast", []

    def tell(report):
        told.append(report)
        if report.step == 60:
            fill(ballast)
        if report.step == 140:
            ballast.unlink()

    drill = Drill(base, "run", small_disk)
    train(Job(base, storage, prepared(base.data, storage).digests, drill.experiment.folder), tell, Place())
    assert [note for report in told for note in report.notes if "checkpoint not written" in note]
    result = Result(drill.weights(), told[-1].rows, told[-1].step)
    assert result.rows == bare.rows
    assert result.distance(bare) == 0
    record_property("outcome", BY_ITSELF)
