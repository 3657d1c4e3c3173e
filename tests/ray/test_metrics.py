"""What a real Prometheus is told by a real sweep: every panel of the dashboard has something to draw."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from corpora import prepared_run

from cogito_ray.records.ledger import NAME, RAY_DASHBOARD
from cogito_ray.records.monitoring.metrics_table import METRICS
from cogito_ray.records.monitoring.monitoring_folder import MonitoringFolder
from cogito_ray.records.monitoring.prometheus_files import CONFIG, DISCOVERY, RULES
from cogito_ray.records.sweep_record import read
from cogito_ray.runtime.cluster import DASHBOARD
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def short_folder():
    """Ray's sockets lie in it, whose paths may be 107 bytes long."""
    with tempfile.TemporaryDirectory(prefix="m") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def sweep(short_folder):
    """The storage of a sweep that goes on until it is interrupted, one of whose trials diverges at once."""
    tree = prepared_run(short_folder, short_folder / "runs")
    tree["training"] |= {"steps": 10**6, "micro_batch": 4, "report_every": 20, "checkpoint_every": 100}
    tree["loss"] = {"regularisers": [{"kind": "variance"}]}
    settings = {
        "name": "shown",
        "run": tree,
        "space": {"training.optimizer.learning_rate": {"choice": [1e-3, 1e30]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "search": {"sampler": "grid"},
        "early_stopping": {"kind": "asha", "first_rung": 20, "eta": 10, "mode": "stop"},
        "budget": {"trials": 2, "wall": "1h"},
        "track": ["tensorboard"],
    }
    (short_folder / "sweep.yaml").write_text(dump(settings))
    command = [sys.executable, "-m", "cogito_ray", "sweep", "sweep.yaml", "--json"]
    quick = {"RAY_TMPDIR": str(short_folder), "RAY_metrics_report_interval_ms": "1000", DASHBOARD: "on"}
    with subprocess.Popen(command, cwd=short_folder, env=os.environ | quick, stdout=subprocess.DEVNULL) as process:
        yield short_folder / "runs"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def prometheus(short_folder, sweep):
    """The URL of one that scrapes every second what that sweep's Ray says, found by the link that is its driver's."""
    folder = MonitoringFolder(short_folder / "monitoring")
    folder.write(short_folder / "ray" / DISCOVERY.replace("*", "-*"))
    config = folder.path / CONFIG
    config.write_text(config.read_text().replace("10s", "1s"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [*folder.prometheus[:-1], f"--web.listen-address={address}", "--log.level=error"]
    with subprocess.Popen(command) as process:
        yield f"http://{address}"
        process.terminate()
        process.wait(timeout=30)


def asked(prometheus, query):
    """Series that a query gives now; none while Prometheus is not up."""
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}") as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.URLError as fault:
        if isinstance(fault.reason, ConnectionError):
            return []
        raise


def panels(folder):
    """(title, query) of each, with every experiment and trial chosen."""
    board = json.loads((folder / "monitoring" / "grafana" / "dashboards" / "cogito-ray.json").read_text())
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    return {title: query.replace("$experiment", "shown").replace("$trial", ".*") for title, query in found}


def test_every_panel_has_something_to_draw(prometheus, short_folder):
    left, deadline = panels(short_folder), time.monotonic() + PATIENCE_S
    assert len(left) == len(METRICS)
    while left and time.monotonic() < deadline:
        left = {title: query for title, query in left.items() if not asked(prometheus, query)}
        time.sleep(1)
    assert left == {}


def test_figures_are_told_by_the_names_that_people_know(prometheus):
    [died] = asked(prometheus, "ray_cogito_guard_kills_total")
    assert (died["metric"]["experiment"], died["metric"]["cause"], died["value"][1]) == ("shown", "non-finite", "1")
    states = asked(prometheus, "max by (state) (ray_cogito_trials)")
    assert {one["metric"]["state"]: int(one["value"][1]) for one in states if one["value"][1] != "0"} == {
        "running": 1,
        "failed": 1,
    }


def test_the_series_of_a_trial_end_with_it(prometheus):
    running = asked(prometheus, "count by (trial) (ray_cogito_step)")
    assert [one["metric"]["trial"] for one in running] == ["0"]


def test_an_ended_run_raises_an_alert(prometheus):
    deadline = time.monotonic() + 30
    while not (fired := asked(prometheus, 'ALERTS{alertstate="firing"}')) and time.monotonic() < deadline:
        time.sleep(1)
    assert {one["metric"]["alertname"] for one in fired} >= {"RunDiverged"}


def test_the_ledger_says_where_the_dashboard_is(prometheus, sweep):
    url = read(sweep / "shown" / NAME).links[RAY_DASHBOARD, None]
    with urllib.request.urlopen(url) as page:
        assert b"Ray Dashboard" in page.read()


def test_a_tracker_is_told_while_the_sweep_runs(prometheus, sweep):
    deadline = time.monotonic() + 30
    while not (told := read(sweep / "shown" / NAME)).tracked(next(iter(told.trials))) and time.monotonic() < deadline:
        time.sleep(1)
    assert {Path(url).name for trial in told.trials for _, url in told.tracked(trial)} == {"shown-0", "shown-1"}
    assert [*(sweep / "shown" / "tensorboard" / "shown-0").glob("events*")]


@pytest.mark.parametrize(("what", "file"), [("rules", RULES), ("config", CONFIG)])
def test_promtool_finds_nothing_wrong(prometheus, short_folder, what, file):
    command = ["promtool", "check", what, short_folder / "monitoring" / file]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
