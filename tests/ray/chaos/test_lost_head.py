"""A head whose state is in an external Redis is lost under a sweep and comes back: the sweep goes on."""

import secrets
import shutil
import subprocess
import sys
import time

import pytest
from corpora import prepared_run
from machines import HEAD, HERE, cluster_in, reports, wait_until

import cogito_ray as cr
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
PASSWORD = secrets.token_hex(16)


@pytest.mark.skipif(not shutil.which("redis-server"), reason="Redis is not installed here (Debian: redis-server)")
def test_a_sweep_whose_driver_is_on_another_machine_outlives_the_head(tmp_path_factory):
    temp = tmp_path_factory.mktemp("h")    # short: sockets lie below it
    run, storage = prepared_run(temp, temp / "runs"), temp / "runs"
    run["training"] |= {"steps": 400, "report_every": 20, "checkpoint_every": 100}
    run["evaluation"]["word_probes"] = None
    sweep = {
        "name": "sent",
        "run": run,
        "space": {"objective.rate": {"choice": [0.3, 0.4, 0.5, 0.6]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
        "concurrency": 2,
    }
    (temp / "sweep.yaml").write_text(dump(sweep))
    given = {"RAY_REDIS_ADDRESS": f"{HERE}:6379", "RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
    redis = ["redis-server", "--bind", HERE, "--requirepass", PASSWORD, "--save", "", "--dir", temp]
    with cluster_in(temp, **given) as cluster:
        cluster.running.callback(subprocess.Popen(redis).kill)
        options = [f"--redis-password={PASSWORD}", "--include-dashboard=false"]
        head = cluster.start_head(*options)
        first, _ = cluster.join(2), cluster.join(3)
        command = [sys.executable, "-m", "cogito_ray", "sweep", temp / "sweep.yaml", "--storage", storage]
        log = temp / "driver.log"
        driver = first.run("env", f"RAY_ADDRESS={HEAD}:6379", *command, log=log)
        wait_until(lambda: reports(storage / "sent") >= 2 or driver.poll() is not None, seconds=300, what="reports")
        head.lose()
        time.sleep(5)  # all stands still meanwhile: Ray waits for its head
        (temp / head.name / "ray_current_cluster").unlink()  # beside raylets of other "machines" a head is held to live
        cluster.start_head(*options)
        assert driver.wait(timeout=500) == 0, log.read_text()
    record = cr.load(storage / "sent").record
    assert len(record.openings) == 1
    assert [trial.status for trial in record.trials.values()] == ["completed"] * 4
