"""Settings of every test, and what several ask for."""

import os
import resource
import signal

import pytest

SLOW = (
    "distributed", "compile", "interrupted_training", "interrupted_search", "contract", "model_flops",
    "streamed_rows", "bad_settings", "architecture", "file_formats", "samplers", "cleaning", "wandb_tracker",
)
"""Files of tests that take seconds, longest first."""

# Of torch, in processes that tests start as well: tiny shapes gain nothing from more, and the pools of two processes
# fight. Set before anybody imports torch, which pytest's own process, that gives others their tests, never does.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: begun last, they would be waited for when every other core has nothing left to do."""
    places = {f"test_{name}.py": place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: places.get(item.path.name, len(SLOW)))


@pytest.fixture(autouse=True, scope="session")
def without_waiting_for_the_disk():
    """A process that is killed loses nothing of what it has written: only a machine without power does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def little_room():
    """The system refuses to let a file grow past 64 bytes, as a full disk does."""
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, handler)
