"""A head without room, and an autoscaler that adds and removes machines of one kind: processes of this machine.

`ray.cluster_utils.AutoscalingCluster` would do, but that it ends every Ray process of the machine, and needs a file
that Ray's wheels lack.
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
from ray.util import get_node_ip_address

RAY = Path(sys.executable).parent / "ray"
QUICK = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": "f" * 51 + "00000",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": "f" * 51 + "00000",
}


@contextlib.contextmanager
def autoscaling(folder: Path, *, cpus: int, most: int, idle_s: float) -> Iterator[dict[str, str]]:
    """An empty cluster that may get so many machines of so many CPUs, each until it is idle for so long. Gives the
    environment of a driver."""
    environment = os.environ | QUICK | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    names = ("--port", "--ray-client-server-port", "--dashboard-agent-listen-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    address = f"{get_node_ip_address()}:{ports['--port']}"
    config = folder / "autoscaler.json"
    config.write_text(json.dumps(_config(address, cpus, most, idle_s)))
    given = [f"{name}={value}" for name, value in ports.items()]
    command = [RAY, "start", "--head", "--block", "--num-cpus=0", *given]
    command += ["--include-dashboard=false", f"--autoscaling-config={config}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
        try:
            yield {name: environment[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")} | {"RAY_ADDRESS": address}
        finally:
            for process in [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def free_ports(count: int) -> list[int]:
    """That nobody listened on just now."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def _config(address: str, cpus: int, most: int, idle_s: float) -> dict[str, object]:
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": cpus}, "node_config": {}, "min_workers": 0, "max_workers": most},
    }
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "gcs_address": address,
        "head_node_id": QUICK["RAY_CLOUD_INSTANCE_ID"],
        "launch_multiple": True,
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    return {
        "cluster_name": "fake",
        "max_workers": most,
        "idle_timeout_minutes": idle_s / 60,
        "upscaling_speed": 1.0,
        "provider": provider,
        "available_node_types": kinds,
        "head_node_type": "ray.head.default",
        "auth": {}, "docker": {}, "setup_commands": [], "initialization_commands": [], "file_mounts": {},
        "cluster_synced_files": [], "file_mounts_sync_continuously": False, "rsync_exclude": [], "rsync_filter": [],
        "head_setup_commands": [], "worker_setup_commands": [],
        "head_start_ray_commands": [], "worker_start_ray_commands": [],
    }  # fmt: skip
