"""One Ray instance for all tests of this folder: starting one takes seconds."""

import logging
from collections.abc import Iterator

import pytest
import ray

import cogito_ray.runtime  # noqa: F401  (sets what Ray reads from the environment)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
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
