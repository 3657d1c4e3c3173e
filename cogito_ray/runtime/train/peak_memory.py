"""The most memory that a worker has held since its run began: the GPU's tensors, or all of the process without one."""

import re
import resource
from contextlib import suppress
from pathlib import Path

import torch

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def begin() -> None:
    """Forget what the runs before took, for Tune uses a process again."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):    # where the system does not let it, the peak is that of all runs of the process
            FORGET.write_text("5")


def peak_gb() -> float:
    """Since `begin`."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    told = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return (int(told[1]) if told else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024 / 1e9
