"""Settings of every test, and what several ask for."""

import resource
import signal

import pytest
import torch

SLOW = {
    f"test_{name}.py"
    for name in ("distributed", "interrupted_search", "interrupted_training", "compile", "architecture")
}

torch.set_num_threads(1)            # tiny shapes gain nothing from more, and thread pools of two processes fight


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: begun last, they would be waited for when every other core has nothing left to do."""
    items.sort(key=lambda item: item.path.name not in SLOW)


@pytest.fixture
def little_room():
    """The system refuses to let a file grow past 64 bytes, as a full disk does."""
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, handler)
