"""Settings of every test."""

import pytest
import torch

STARTS_PROCESSES = {"test_parallel.py", "test_architecture.py"}

torch.set_num_threads(1)            # tiny shapes gain nothing from more, and thread pools of two processes fight


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: begun last, they would be waited for when every other core has nothing left to do."""
    items.sort(key=lambda item: item.path.name not in STARTS_PROCESSES)
