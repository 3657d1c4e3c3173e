"""cluster/slurm.sh under a real Slurm, of one machine and without its keys, that asks for the job's place."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora import tiny_run

import cogito_ray as cr
from cogito_ray.records.ledger import NAME
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[3]
CONFIGURATION = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def wait_until(happens, *, seconds, what):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not after {seconds} s: {what()}"
        time.sleep(0.5)


@pytest.fixture
def slurm(tmp_path):
    """Environment of its users."""
    if not all(map(shutil.which, ("slurmctld", "slurmd", "sbatch"))) or os.geteuid() != 0:
        pytest.skip("Slurm is not installed here (Debian: slurm-wlm), or may not be started")
    folder = tmp_path / "slurm"
    for part in ("state", "spool"):
        (folder / part).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    told = {"host": host, "user": "root", "folder": folder, "cpus": os.cpu_count()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**told))
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment = os.environ | path | {"SLURM_CONF": str(folder / "slurm.conf"), "HF_HUB_OFFLINE": "1"}
    # As on a machine of its own: Ray refuses to start where it sees processes of another instance.
    daemons = [
        "unshare",
        "--pid",
        "--mount-proc",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        "slurmctld -D & exec slurmd -D",
    ]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(daemons, env=environment, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        yield environment
        process.kill()  # and with it all that it started


def test_a_job_that_runs_out_of_time_goes_back_into_the_queue_and_resumes(slurm, tmp_path):
    def asked(*words):
        return subprocess.run(words, env=slurm, cwd=ROOT, capture_output=True, text=True).stdout

    run = tiny_run(tmp_path)
    run["training"] |= {"steps": 600, "report_every": 20, "checkpoint_every": 20}
    sweep = {
        "name": "queued",
        "run": run,
        "space": {"objective.rate": {"choice": [0.4, 0.6]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 2},
    }
    (tmp_path / "sweep.yaml").write_text(dump(sweep))
    log, ledger = tmp_path / "job.log", tmp_path / "runs" / "queued" / NAME
    wait_until(lambda: "idle" in asked("sinfo"), seconds=30, what=lambda: asked("sinfo"))
    options = ["--nodes=1", "--gpus-per-node=0", f"--output={log}", "--parsable"]
    command = ["cluster/slurm.sh", "sweep", tmp_path / "sweep.yaml", "--storage", tmp_path / "runs"]
    job = asked("sbatch", *options, *command).strip()
    assert job

    def state():
        return asked("scontrol", "show", "job", job)

    def reported():
        return ledger.exists() and b'"reported"' in ledger.read_bytes()

    def said():
        return state() + (log.read_text() if log.exists() else "")

    wait_until(lambda: reported() or re.search("JobState=(COMPLETED|FAILED)", state()), seconds=400, what=said)
    assert reported(), said()
    asked("scancel", "--batch", "--signal=USR1", job)  # as Slurm does before the time is over
    wait_until(lambda: "JobState=PENDING" in state(), seconds=120, what=said)
    asked("scontrol", "update", f"JobId={job}", "StartTime=now")  # else it is held for two minutes
    wait_until(lambda: re.search("JobState=(COMPLETED|FAILED)", state()), seconds=400, what=said)
    assert re.search(r"JobState=COMPLETED(.|\n)*Restarts=1(.|\n)*ExitCode=0:0", state()), said()
    record = cr.load(ledger.parent).record
    assert len(record.openings) == 2
    assert [trial.status for trial in record.trials.values()] == ["completed", "completed"]
