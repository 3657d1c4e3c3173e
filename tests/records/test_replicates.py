"""Further runs under other seeds: grouped with their trial, and no false winner."""

import pytest

from cogito_ray.records.ledger import NAME, Ledger, Reported, SweepClosed, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.ranking import rank
from cogito_ray.records.record import fold
from cogito_ray.records.report import write

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE, TWO = [{"metric": NATS, "mode": "min"}], [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]


def story(trials, goals=ONE):
    """trials: (value of the search's run, values of its further runs) each; a value is nats, or (nats, rank)."""
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    spec = {"name": "tiny", "goals": goals, "space": {"seed": {"choice": [0]}}}
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]

    def ran(name, number, value, replicates=None):
        nats, effective = value if isinstance(value, tuple) else (value, 3.0)
        run = {"training": {"steps": 10}, "seed": 0}
        told.append(
            TrialStarted(at=0.0, trial=name, number=number, sample={"seed": 0}, spec=run, replicates=replicates)
        )
        told.append(Reported(trial=name, step=10, seconds=1.0, metrics={NATS: nats, RANK: effective}))
        told.append(TrialEnded(at=1.0, trial=name, status="completed", step=10))

    for number, (value, _) in enumerate(trials):
        ran(f"t{number}", number, value)
    for number, (_, again) in enumerate(trials):
        for count, value in enumerate(again):
            ran(f"t{number}-{count}", number, value, replicates=f"t{number}")
    return told


def test_a_further_run_is_no_trial_of_the_search():
    record = fold(story([(4.0, [4.1, 4.2]), (5.0, [])]))
    assert list(record.trials) == ["t0", "t1"]
    assert {run.replicates for run in record.replicates.values()} == {"t0"}
    assert {told.trial for told in record.reports} == {"t0", "t1"}


def test_the_mean_of_further_runs_ranks_and_the_run_that_was_chosen_for_being_good_does_not():
    result = rank(fold(story([(3.0, [5.0, 5.02]), (3.5, [4.0, 4.02]), (4.5, [])])))
    assert [row.number for row in result.rows] == [1, 0, 2]
    assert result.rows[0].value == pytest.approx(4.01)
    assert result.rows[0].spread[NATS].runs == 2
    assert result.winner.number == 1


def test_where_intervals_overlap_there_is_no_winner_but_all_of_them():
    result = rank(fold(story([(3.0, [4.0, 4.4]), (3.1, [4.1, 4.3]), (3.2, [9.0, 9.2])])))
    assert result.winner is None
    assert result.standing == "indistinguishable"
    assert [row.number for row in result.best] == [0, 1] or [row.number for row in result.best] == [1, 0]
    assert {row.number: row.like for row in result.rows} == {0: (1,), 1: (0,), 2: ()}


def test_a_single_further_run_changes_nothing():
    result = rank(fold(story([(4.0, [9.0]), (5.0, [])])))
    assert result.winner.number == 0
    assert result.winner.value == 4.0


def test_on_a_front_only_an_overlap_in_every_goal_makes_two_trials_alike():
    near, far = [(4.0, 2.0), (4.2, 2.2)], [(4.1, 9.0), (4.3, 9.2)]
    result = rank(fold(story([((4.0, 2.0), near), ((4.0, 9.0), far), ((4.0, 2.1), near)], goals=TWO)))
    alike = {row.number: row.like for row in result.rows}
    assert alike == {0: (2,), 1: (), 2: (0,)}
    assert result.standing == "front"


def test_the_report_names_who_is_indistinguishable(tmp_path):
    told = [*story([(3.0, [4.0, 4.4]), (3.1, [4.1, 4.3])]), SweepClosed(at=9.0, cause="complete")]
    with Ledger(tmp_path / NAME) as ledger:
        for event in told:
            ledger.append(event)
    page = write(tmp_path).read_text()
    assert "are indistinguishable" in page
    assert "is best:" not in page
