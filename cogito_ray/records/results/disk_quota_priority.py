"""What each trial's checkpoints are still good for, told from the ledger."""

import sys

from cogito_ray.records.ledger import Status
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record
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


def retention_priorities(record: Record) -> dict[str, RetentionPriority]:
    """Of every trial and further run, by name."""
    ranking = rank(record)
    best = {row.trial for row in ranking.best}
    places = {row.trial: place for place, row in enumerate(ranking.rows)}
    found = {}
    for name, trial in record.runs.items():
        worth = Worth.NEEDED if trial.end is None or name in best else ENDED[trial.end.status]
        found[name] = RetentionPriority(worth, places.get(name, len(places)))
    return found
