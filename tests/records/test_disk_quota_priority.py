"""What checkpoints are good for: the worth of every trial and of every further run."""

from test_replicates import story

from cogito_ray.records.ledger import TrialStarted
from cogito_ray.records.results.disk_quota_priority import retention_priorities
from cogito_ray.records.sweep_record import fold
from cogito_ray.sweeps.disk_quota import RetentionPriority, Worth


def priorities(history):
    record = fold(history)
    return retention_priorities(record, record.runs.values())


def test_the_best_is_needed_and_the_others_follow_in_order_of_merit():
    found = priorities(story([(5.0, []), (4.0, []), (6.0, [])]))
    worths = {"t1": Worth.NEEDED, "t0": Worth.BEATEN, "t2": Worth.BEATEN}
    assert found == {name: RetentionPriority(worth, place) for place, (name, worth) in enumerate(worths.items())}


def test_what_is_not_over_is_needed_however_bad():
    again = TrialStarted(at=2.0, trial="t0", number=0, sample={"seed": 0}, spec={})
    assert priorities([*story([(5.0, []), (4.0, [])]), again])["t0"].worth is Worth.NEEDED


def test_further_runs_go_before_any_completed_trial():
    found = priorities(story([(4.0, [4.1, 4.2]), (5.0, [])]))
    assert found["t0-0"] == found["t0-1"] == RetentionPriority(Worth.BEATEN, 2)
