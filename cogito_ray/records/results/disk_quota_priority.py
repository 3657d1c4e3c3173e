"""What each trial's checkpoints are still good for, told from the ledger."""

import sys
from collections.abc import Iterable

from cogito_ray.records.ledger import Status
from cogito_ray.records.results.trial_ranking import in_order
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.disk_quota import RetentionPriority, Worth

ENDED: dict[Status, Worth] = {
    Status.FAILED: Worth.FAILED,
    Status.STOPPED: Worth.STOPPED,
    Status.COMPLETED: Worth.BEATEN,
}


def step_passed(record: Record, members: int) -> int:
    """The last step that every trial under way has done; 0 while one of so many `members`, copies not counted, has not
    started."""
    if sum(trial.branch is None for trial in record.trials.values()) < members:
        return 0
    return min((trial.step for trial in record.trials.values() if trial.end is None), default=sys.maxsize)


def retention_priorities(record: Record, runs: Iterable[Trial]) -> dict[str, RetentionPriority]:
    """Of these trials and further runs among each other, by name. The best of all must be one of them, or none be
    completed."""
    runs = list(runs)
    order = in_order(record, [run for run in runs if run.id in record.trials])
    best = order.best(len(record.goals))
    places = {trial.id: place for place, trial in enumerate([*order.sound, *order.others])}
    found = {}
    for run in runs:
        worth = Worth.NEEDED if run.end is None or run.id in best else ENDED[run.end.status]
        found[run.id] = RetentionPriority(worth, places.get(run.id, len(places)))
    return found
