"""Room for trials in a cluster whose machines come, go and are drained; an autoscaler is told what there is need of."""

import json
import time
from collections.abc import Iterable

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.experimental.internal_kv import _internal_kv_get

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import PATIENCE_S, free, machines
from cogito_ray.runtime.trial_capacity import SPARE_CPUS, Shape, refusal, room

LOOKS_EVERY_S = 2.0
REPEATS_EVERY_S = 30.0
"""A request for machines: the last one of the whole cluster holds, so another sweep's may have replaced it."""
ANSWER_S = 15.0
"""For an autoscaler to start a machine. It looks every 5 s."""


class ElasticRoom:
    """How many of these runs fit at once beside what others do in the cluster, as it is now."""

    def __init__(self, runs: Iterable[RunSpec], *, requested: int | None, in_sweep: bool = True):
        """NoRoom where fewer than `requested` fit (None: none at all), and no autoscaler starts machines for them. What
        an earlier run of ours is about to give back is waited for."""
        self._shapes = {Shape.of(run, in_sweep=in_sweep) for run in runs}
        self._looked, self._told, self._told_at = time.monotonic(), 0, 0.0
        self.most: int | None = None
        """Never more at once, however much room there is; None = no such bound."""
        self._room = fits = room(machines(), self._shapes)
        wanted, deadline = requested or 1, time.monotonic() + PATIENCE_S
        while wanted <= self._room and (fits := room(free(), self._shapes)) < (requested or self._room):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        self._taken = self._room - fits
        """By others, in trials."""
        if fits < wanted and not self._is_given(self._taken + wanted):
            raise refusal(free() if wanted <= self._room else machines(), self._shapes, wanted)

    def __enter__(self) -> "ElasticRoom":
        return self

    def __exit__(self, *reason: object) -> None:
        """Nothing more is wanted."""
        self.request(0)

    def fits(self, requested: int | None = None) -> int:
        """At once, of `requested` on the whole cluster (None = as many as there is room for beside others). Never none:
        one that waits for room is what an autoscaler sees."""
        if time.monotonic() - self._looked > LOOKS_EVERY_S:
            self._looked, self._room = time.monotonic(), room(machines(), self._shapes)
        fits = self._room - self._taken if requested is None else min(requested, self._room)
        return max(1, fits if self.most is None else min(fits, self.most))

    def refuse_more(self, requested: int) -> None:
        """NoRoom where the cluster would not hold so many at once if nobody else used it, and no autoscaler starts
        machines for them."""
        if room(machines(), self._shapes) < requested and not self._is_given(requested):
            raise refusal(machines(), self._shapes, requested)

    def request(self, trials: int) -> None:
        """Tell an autoscaler, if there is one, that so many would run at once if there was room."""
        if trials == self._told and (not trials or time.monotonic() - self._told_at < REPEATS_EVERY_S):
            return
        self._told, self._told_at = trials, time.monotonic()
        largest = max(self._shapes, key=lambda shape: (shape.workers * shape.gpus, shape.workers * shape.cpus))
        worker = {name: amount for name, amount in {"CPU": largest.cpus, "GPU": largest.gpus}.items() if amount}
        count, spare = trials * largest.workers, [{"CPU": float(SPARE_CPUS)}] if trials else []
        labels = [dict(largest.labels)] * count + [{} for _ in spare]
        request_resources(bundles=[worker] * count + spare, bundle_label_selectors=labels)

    def _is_given(self, trials: int) -> bool:
        """Does an autoscaler start machines for so many?"""
        before, deadline = {node["NodeID"] for node in ray.nodes()}, time.monotonic() + ANSWER_S
        self.request(trials)
        while time.monotonic() < deadline:
            if _are_starting() or any(node["Alive"] and node["NodeID"] not in before for node in ray.nodes()):
                return True
            time.sleep(0.5)
        self.request(0)
        return False


def _are_starting() -> bool:
    """Are machines on their way, as the autoscaler of either generation tells?"""
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    said = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}").get("autoscaler_report") or {}
    starting = [status.pending_launches, status.pending_nodes, said.get("pending_launches"), said.get("pending_nodes")]
    return any(starting)
