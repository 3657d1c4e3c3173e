"""What one machine of a cluster says of itself, in a task of Ray's there: versions, GPUs, storage, clock, hub."""

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray.util import get_node_ip_address

from cogito_ray.atomic_files import explain_os_error
from cogito_ray.records.file_locks import is_held
from cogito_ray.records.provenance import collect

LOCK = "lock"
"""A file that the driver holds the lock of, beside those of the machines."""
SHOW_GPUS = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class NodeFacts:
    """Amounts in bytes, times in seconds. Faults are empty where there is none.

    `node`: host name and address. `port`: free. `code`: digest of the package's source. `gpus`: name, MiB and driver of
    each; `ray_gpus`: those that Ray counts; `cuda`: of torch's build. `free`: of the storage's disk. `skew_s`: how far
    this clock is, at least, from the driver's. `unseen`: machines whose files in the storage are not seen here.
    """

    node: str
    port: int
    versions: dict[str, str]
    code: str
    gpus: tuple[str, ...]
    ray_gpus: float
    cuda: str | None
    storage_fault: str
    free: int
    hub_fault: str
    has_token: bool
    object_store: float
    shm: int
    skew_s: float = 0.0
    unseen: tuple[str, ...] = ()
    lock_fault: str = ""


def look(folder: Path, resources: dict[str, float]) -> NodeFacts:
    """The facts of here, but for what takes the others. Leaves a file in `folder`. `resources`: as Ray counts."""
    import torch

    found = collect(host="")
    fault = _storage_fault(folder, address := get_node_ip_address())
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    return NodeFacts(
        node=f"{socket.gethostname()} ({address})",
        port=port,
        versions=found.versions,
        code=found.source or "",
        gpus=_gpus(),
        ray_gpus=resources.get("GPU", 0.0),
        cuda=torch.version.cuda,
        storage_fault=fault,
        free=0 if fault else shutil.disk_usage(folder).free,
        hub_fault=_hub_fault(),
        has_token=is_token_auth_enabled(),
        object_store=resources.get("object_store_memory", 0.0),
        shm=shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else 0,
    )


def look_again(folder: Path, addresses: list[str]) -> tuple[float, tuple[str, ...], str]:
    """The time of now; which of these machines' files are not seen here; what is wrong with locks."""
    now = time.time()
    try:
        unseen = tuple(one for one in addresses if not (folder / one).is_file())
        return now, unseen, "" if is_held(folder / LOCK) else "a lock that the driver holds is free here"
    except OSError as fault:
        return now, tuple(addresses), explain_os_error(fault)


def _storage_fault(folder: Path, name: str) -> str:
    """Why a file cannot be written, read and moved in it."""
    draft, content = folder / f"{name}.{secrets.token_hex(4)}", os.urandom(2**20)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        whole = draft.read_bytes() == content
        draft.replace(folder / name)
    except OSError as fault:
        return explain_os_error(fault)
    return "" if whole else "what was written is not what is read back"


def _gpus() -> tuple[str, ...]:
    try:
        said = subprocess.run(SHOW_GPUS, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(said.stdout.strip().splitlines())


def _hub_fault() -> str:
    if os.environ.get("HF_HUB_OFFLINE"):
        return ""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except OSError as fault:
        return "" if isinstance(fault, urllib.error.HTTPError) else f"{address}: {fault}"  # which is an answer
    return ""
