"""One Ray instance for all tests of this folder: starting one takes seconds."""

import logging
import os
from collections.abc import Iterator

import pytest
import ray

from cogito_ray.runtime.cluster import DASHBOARD, NOTICES_OF_NODES

os.environ.setdefault(DASHBOARD, "off")     # a second of CPU for each of the many instances that drivers start


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    os.environ.setdefault(NOTICES_OF_NODES, "0")
    ray.init(
        "local",  # whatever else runs on this machine, or was left there
        num_cpus=4,
        include_dashboard=True,  # Ray's cleaner of nested trainers asks it
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()
