"""Files in cluster/, against the schemas of those who read them and by the linters of their languages.

kuberay_1.7.0.json.xz holds the OpenAPI schemas of RayCluster and RayJob (v1, without descriptions and status) from
ray-operator/config/crd/bases of github.com/ray-project/kuberay at v1.7.0, which is under the Apache License 2.0.
"""

import copy
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FILES = sorted(file for file in CLUSTER.rglob("*") if file.is_file())
SCRIPTS = sorted(CLUSTER.glob("*.sh"))
LAUNCHERS = ("two_hosts.yaml", "aws.yaml", "gcp.yaml")
KUBERAY = json.loads(lzma.decompress(Path(__file__).with_name("kuberay_1.7.0.json.xz").read_bytes()))
COMMANDS = (
    "bash ",
    "sbatch ",
    "ray up ",
    "kubectl ",
    "docker build ",
    "RAY_AUTH_TOKEN=$(openssl rand -hex 32) sky jobs ",
)


def closed(schema):
    """As Kubernetes reads a schema under strict validation: what it does not name is a fault; a quantity is a number or
    text."""
    schema = copy.deepcopy(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        return {"type": ["integer", "string"]}
    for name, part in schema.get("properties", {}).items():
        schema["properties"][name] = closed(part)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            schema[name] = closed(schema[name])
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


def documents(file):
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def linter(name):
    """Of the development requirements, or of the machine."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return found or pytest.skip(f"{name} is not installed")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CLUSTER)))
def test_a_file_opens_with_the_command_that_uses_it(file):
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#!")]
    command = lines[0].removeprefix("# ")
    assert lines[0].startswith("# ")
    assert command.startswith(COMMANDS)
    assert f"cluster/{file.relative_to(CLUSTER)}" in command
    assert lines[1] == "#"


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_up_takes_the_file(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    prepared = prepare_config(yaml.safe_load((CLUSTER / name).read_text()))
    validate_config(prepared)
    assert prepared["max_workers"] >= 1


def test_ray_up_refuses_a_planted_key():
    with pytest.raises(jsonschema.ValidationError, match="planted"):
        validate_config(prepare_config(yaml.safe_load((CLUSTER / "aws.yaml").read_text()) | {"planted": 1}))


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_kuberay_takes_the_file(name):
    file = CLUSTER / "kuberay" / name
    checked = [document for document in documents(file) if document["apiVersion"] == "ray.io/v1"]
    assert len(checked) == 1
    jsonschema.Draft202012Validator(closed(KUBERAY[checked[0]["kind"]])).validate(checked[0])


def test_kuberay_refuses_a_planted_key():
    [cluster, *_] = documents(CLUSTER / "kuberay" / "raycluster.yaml")
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["planted"] = 1
    faults = jsonschema.Draft202012Validator(closed(KUBERAY["RayCluster"])).iter_errors(cluster)
    assert ["planted" in fault.message for fault in faults] == [True]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CLUSTER)))
def test_whoever_starts_ray_asks_for_a_token_and_no_dashboard_is_open_to_all(file):
    text = file.read_text()
    starts = re.findall(r"ray (?:start|symmetric-run) ", text)
    assert not starts or "export RAY_AUTH_MODE=token" in text
    assert all(spec["authOptions"] == {"mode": "token"} for spec in ray_clusters(file))
    assert not re.search(
        r"dashboard-host[ =]0\.0\.0\.0|RAY_AUTH_MODE=disabled|^\s*ray start --head(?!.*--dashboard-host)", text
    )
    assert not re.search(r"(token|password)[\"']?\s*[:=]\s*[\"']?[0-9a-f]{16,}", text, re.IGNORECASE)


def ray_clusters(file):
    kinds = {"RayCluster": lambda spec: spec, "RayJob": lambda spec: spec["rayClusterSpec"]}
    found = documents(file) if file.suffix == ".yaml" else []
    return [kinds[one["kind"]](one["spec"]) for one in found if one.get("kind") in kinds]


def test_files_that_name_a_version_of_ray_name_the_locked_one():
    locked = re.search(r"^ray==(.+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    named = [spec["rayVersion"] for file in FILES for spec in ray_clusters(file)]
    assert named == [locked[1]] * 2


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_shellcheck_finds_nothing_in_a_script(script):
    done = subprocess.run([linter("shellcheck"), script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", LAUNCHERS)
def test_shellcheck_finds_nothing_in_the_commands_of_a_launcher(name, tmp_path):
    tree = yaml.safe_load((CLUSTER / name).read_text())
    for step in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        (tmp_path / step).write_text("\n".join(["#!/usr/bin/env bash", *tree.get(step, [])]) + "\n")
        given = [linter("shellcheck"), "--exclude=SC2086,SC2154,SC2164", tmp_path / step]  # RAY_HEAD_IP is Ray's
        done = subprocess.run(given, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = subprocess.run([linter("hadolint"), CLUSTER / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_of_the_oldest_python_that_is_served():
    served = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert f"FROM python:{served}-slim" in (CLUSTER / "Dockerfile").read_text()
