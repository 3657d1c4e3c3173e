"""What the doctor finds, of machines with injected faults."""

import fcntl
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cogito_ray.cli import main
from cogito_ray.runtime.doctor.examination import AllReduce, Examination
from cogito_ray.runtime.doctor.findings import findings
from cogito_ray.runtime.doctor.node_facts import LOCK, NodeFacts, look, look_again

GIB = 2**30
VERSIONS = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0", "cogito-ray": "0.1.0"}
GPU = "NVIDIA RTX A5000, 24564, 570.86"
SOUND = NodeFacts(
    node="one (10.0.0.1)", port=1, versions=VERSIONS, code="abc", gpus=(GPU,) * 4, ray_gpus=4, cuda="12.8",
    storage_fault="", free=100 * GIB, hub_fault="", has_token=True, object_store=GIB, shm=8 * GIB,
)  # fmt: skip
OTHER = replace(SOUND, node="two (10.0.0.2)", gpus=(GPU,) * 3, ray_gpus=3)


def wrong(*nodes, silent=(), reduced=()):
    """`level what` of all that is not well, each of which has a mend."""
    found = [one for one in findings(Examination(nodes, silent, reduced)) if one.level != "ok"]
    assert all(one.mend for one in found)
    return [f"{one.level} {one.what}" for one in found]


def test_sound_machines_with_different_numbers_of_gpus_are_sound():
    assert wrong(SOUND, OTHER, reduced=(AllReduce("gloo", seconds=0.01), AllReduce("nccl", seconds=0.001))) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": VERSIONS | {"torch": "2.12.0"}}, "fault torch"),
        ({"versions": {name: VERSIONS[name] for name in ("python", "torch", "cogito-ray")}}, "fault ray"),
        ({"code": "def"}, "fault code"),
        ({"ray_gpus": 1}, "warning GPUs"),
        ({"cuda": None}, "fault GPUs"),
        ({"gpus": ("NVIDIA RTX A5000, 24564, 535.1",) * 3}, "warning GPU driver"),
        ({"storage_fault": "no space is left on the device"}, "fault storage"),
        ({"unseen": ("10.0.0.1",)}, "fault storage"),
        ({"lock_fault": "a lock that the driver holds is free here"}, "fault file locks"),
        ({"free": GIB}, "warning disk"),
        ({"skew_s": -3.0}, "warning clock"),
        ({"skew_s": 25.0}, "fault clock"),
        ({"object_store": 9 * GIB}, "warning object store"),
        ({"object_store": 0.1 * GIB}, "warning object store"),
        ({"hub_fault": "https://huggingface.co: unreachable"}, "warning hub"),
        ({"has_token": False}, "warning authentication"),
    ],
)
def test_what_is_wrong_with_one_machine_is_named_with_its_mend(changed, said):
    assert wrong(SOUND, replace(OTHER, **changed)) == [said]


def test_a_network_that_sums_nothing_and_a_machine_without_an_answer_are_faults():
    reduced = (AllReduce("gloo", "timed out"),)
    assert wrong(SOUND, silent=("10.0.0.2: no answer for 60 s",), reduced=reduced) == [
        "fault machine",
        "fault all-reduce, gloo",
    ]


@contextmanager
def small_disk(folder, options):
    """A disk of 256 KiB."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("options", "said"), [("size=256k", "No space left"), ("ro", "Read-only file system")])
def test_a_full_and_a_read_only_disk_are_told(tmp_path, monkeypatch, options, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with small_disk(tmp_path / "disk", options) as disk:
        facts = look(disk / "runs", {})
    assert said in facts.storage_fault
    assert facts.hub_fault == ""  # nobody asked


def test_a_storage_is_written_to_and_its_files_and_locks_are_seen_by_others(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    facts = look(tmp_path, {"GPU": 2.0, "object_store_memory": 5.0})
    address = facts.node.partition("(")[2].rstrip(")")
    assert (facts.storage_fault, facts.ray_gpus, facts.object_store) == ("", 2.0, 5.0)
    assert [file.name for file in tmp_path.iterdir()] == [address]
    with (tmp_path / LOCK).open("w") as lock:
        assert look_again(tmp_path, [address, "10.0.0.9"])[1:] == (
            ("10.0.0.9",),
            "a lock that the driver holds is free here",
        )
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert look_again(tmp_path, [address])[1:] == ((), "")


@pytest.mark.parametrize("status", [200, 403])
def test_a_hub_that_answers_anything_is_reachable_and_one_that_is_not_there_is_not(tmp_path, monkeypatch, status):
    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        assert look(tmp_path, {}).hub_fault == ""
        hub.shutdown()
    assert "refused" in look(tmp_path, {}).hub_fault


def test_an_address_of_nothing_is_refused_with_json(monkeypatch, capsys):
    given = ["cogito-ray", "doctor", "--address", "http://127.0.0.1:9", "--storage", "/s", "--json"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "http://127.0.0.1:9" in json.loads(capsys.readouterr().out)["faults"][0]
