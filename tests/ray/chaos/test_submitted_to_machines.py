"""Jobs on a head and two more machines, each a network namespace of its own, one of which is lost on the way."""

import re
from pathlib import Path

import pytest
from corpora import tiny_run
from machines import asked, cluster_in, reports, submitted, wait_until

import cogito_ray as cr
from cogito_ray.records.plan_record import read as read_plan
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder that all machines see; the machines; and what adds one."""
    temp = tmp_path_factory.mktemp("s")
    with cluster_in(temp) as cluster:
        cluster.start_head()
        yield temp, [cluster.join(number) for number in (2, 3)], cluster.join


def test_a_sweep_and_a_run_on_two_machines_outlive_one_of_them(there):
    temp, machines, join = there
    run, storage = tiny_run(temp), temp / "runs"
    run["training"] |= {"steps": 400, "report_every": 20, "checkpoint_every": 20}
    run["evaluation"]["word_probes"] = None
    sweep = {
        "name": "sent",
        "run": run | {"cpus_per_worker": 1.5},
        "space": {"objective.rate": {"choice": [0.3, 0.4, 0.5, 0.6]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
    }
    (temp / "sweep.yaml").write_text(dump(sweep))
    client = submitted("sweep", temp / "sweep.yaml", "--storage", storage)
    wait_until(lambda: reports(storage / "sent") >= 4 or client.poll() is not None, seconds=300, what="reports")
    machines.pop().lose()
    said = client.communicate(timeout=400)[0]
    assert client.returncode == 0, said
    assert said.count("all-reduce, gloo") == 1
    assert "fault " not in said
    assert [trial.status for trial in cr.load(storage / "sent").record.trials.values()] == ["completed"] * 4

    machines.append(join(4))
    (temp / "pair.yaml").write_text(dump(run | {"workers": 2, "cpus_per_worker": 1.5}))
    client = submitted("train", temp / "pair.yaml", "--no-doctor", "--storage", storage)
    wait_until(lambda: reports(storage / "pair") >= 4 or client.poll() is not None, seconds=300, what="reports")
    machines.pop().lose()
    machines.append(join(5))
    said = client.communicate(timeout=400)[0]
    assert client.returncode == 0, said
    [trial] = cr.load(storage / "pair").record.trials.values()
    assert (trial.status, trial.step) == ("completed", 400)


def test_a_plan_that_loses_a_machine_goes_on_under_its_gates_and_ends_with_their_verdict(there):
    temp, machines, join = there
    run, storage, nats = tiny_run(temp / "plan"), temp / "runs", "eval/reconstruction_nats"
    run["training"] |= {"steps": 1000, "report_every": 20, "checkpoint_every": 100}
    run["evaluation"]["word_probes"] = None
    run["cpus_per_worker"] = 1.5
    rates = {
        "run": run,
        "space": {"objective.rate": {"choice": [0.4, 0.6]}},
        "goals": [{"metric": nats, "mode": "min"}],
        "budget": {"trials": 2},
    }
    shorter = {"settings": run | {"cpus_per_worker": 1}, "with": {"training.steps": 40}}  # a run leaves drivers a CPU
    phases = {
        "rates": {"kind": "sweep", "settings": rates},
        "confirm": {"kind": "run", "if": f"rates.{nats} > 0", **shorter},
        "longer": {"kind": "run", "if": f"confirm.{nats} < 0", "stop": True, **shorter},
    }
    (temp / "plan.yaml").write_text(dump({"name": "road", "phases": phases}))
    while len(machines) < 2:
        machines.append(join(8))
    client = submitted("plan", temp / "plan.yaml", "--no-doctor", "--storage", storage)
    wait_until(lambda: reports(storage / "road-rates") >= 4 or client.poll() is not None, seconds=300, what="reports")
    machines.pop().lose()
    said = client.communicate(timeout=500)[0]
    assert client.returncode == 1, said
    assert "road: stopped at longer" in said
    record = read_plan(storage / "road")
    states = {name: record.state(name) for name in phases}
    assert states == {"rates": "complete", "confirm": "complete", "longer": "refused"}
    assert record.started["confirm"].seen["rates"].keys() == {nats}
    assert record.ended["longer"].seen["confirm"][nats] > 0
    assert [trial.status for trial in cr.load(storage / "road-rates").record.trials.values()] == ["completed"] * 2


def test_a_machine_that_does_not_see_the_storage_is_named(there):
    temp, machines, join = there
    while len(machines) < 2:
        machines.append(join(9))
    (temp / "blocked").write_text("no folder")
    found = asked("doctor", "--storage", str(temp / "blocked" / "runs"))
    assert found.returncode == 1
    assert len(re.findall(r"fault +storage", found.stdout)) == 3


@pytest.mark.parametrize("command", [("doctor",), ("submit", "plan", "plan.yaml")])
def test_a_client_without_the_token_is_refused(there, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("plan.yaml").write_text("name: road\nphases: {decide: {kind: gate}}\n")
    refused = asked(*command, "--storage", "/tmp/none", RAY_AUTH_TOKEN="no" * 24)
    assert refused.returncode == 2
    assert "the one given is wrong" in refused.stderr
