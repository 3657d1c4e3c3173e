"""A cluster of processes that play machines, beside the one that the tests of this folder share."""

import contextlib
from collections.abc import Iterator

import pytest
import ray
from ray._private.worker import global_worker
from ray.cluster_utils import Cluster
from ray.experimental import internal_kv

HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
"""So that what is dead is held to be dead after seconds; Ray's own settings take a minute, against false alarms."""


@contextlib.contextmanager
def cluster_of(nodes: int, *, head_cpus: int = 0) -> Iterator[Cluster]:
    """A head, and so many nodes of two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in HEALTH.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": head_cpus, "include_dashboard": False})
        for _ in range(nodes):
            cluster.add_node(num_cpus=2)
        yield cluster
        for node in [*cluster.worker_nodes, cluster.head_node]:
            cluster.remove_node(node, allow_graceful=False)  # in good order would take long without a head
    if ray.is_initialized():    # this process went over to asking the new head
        internal_kv._initialize_internal_kv(global_worker.gcs_client)
