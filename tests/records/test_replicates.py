"""Further runs under other seeds: grouped with their trial, and no false winner."""

import math

import pytest

from cogito_ray.python_api import write_pages
from cogito_ray.records.ledger import NAME, Ledger, Reported, SweepClosed, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.pages.report_page import headline, render, write
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.gate_results import judge
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import fold

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE, TWO = [{"metric": NATS, "mode": "min"}], [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]


def story(trials, goals=ONE):
    """trials: (value of the search's run, values of its further runs) each; a value is nats, or (nats, rank), and
    infinite nats are those of a run that failed."""
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    spec = {"name": "tiny", "goals": goals, "space": {"seed": {"choice": [0]}}}
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]

    def ran(name, number, value, replicates=None, seed=0):
        nats, effective = value if isinstance(value, tuple) else (value, 3.0)
        run = {"training": {"steps": 10}, "seed": seed}
        told.append(
            TrialStarted(at=0.0, trial=name, number=number, sample={"seed": 0}, spec=run, replicates=replicates)
        )
        told.append(Reported(trial=name, step=10, seconds=1.0, metrics={NATS: nats, RANK: effective}))
        status = "failed" if math.isinf(nats) else "completed"
        told.append(TrialEnded(at=1.0, trial=name, status=status, step=10, cause="diverged" * (status == "failed")))

    for number, (value, _) in enumerate(trials):
        ran(f"t{number}", number, value)
    for number, (_, again) in enumerate(trials):
        for count, value in enumerate(again):
            ran(f"t{number}-{count}", number, value, replicates=f"t{number}", seed=count + 1)
    return told


def test_a_further_run_is_no_trial_of_the_search():
    record = fold(story([(4.0, [4.1, 4.2]), (5.0, [])]))
    assert list(record.trials) == ["t0", "t1"]
    assert {run.replicates for run in record.replicates.values()} == {"t0"}


def test_the_mean_of_further_runs_ranks_and_the_run_that_was_chosen_for_being_good_does_not():
    result = rank(fold(story([(3.0, [5.0, 5.02]), (3.5, [4.0, 4.02]), (4.5, [])])))
    assert [row.number for row in result.rows] == [1, 0, 2]
    assert result.rows[0].value == pytest.approx(4.01)
    assert result.rows[0].spread[NATS].runs == 2
    assert result.winner.number == 1


def test_where_the_best_cannot_be_told_from_others_there_is_no_winner_but_all_of_them():
    result = rank(fold(story([(3.0, [4.0, 4.4]), (3.1, [4.1, 4.3]), (3.2, [9.0, 9.2])])))
    assert result.winner is None
    assert result.standing == "indistinguishable"
    assert [row.number for row in result.best] == [0, 1] or [row.number for row in result.best] == [1, 0]
    assert {row.number: row.like for row in result.rows} == {0: (1,), 1: (0,), 2: ()}


def test_a_single_further_run_changes_nothing():
    result = rank(fold(story([(4.0, [9.0]), (5.0, [])])))
    assert result.winner.number == 0
    assert result.winner.value == 4.0


def test_on_a_front_two_trials_are_alike_that_can_be_told_apart_in_no_goal():
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


def page(told, tmp_path):
    """The report of a complete sweep."""
    return render(fold([*told, SweepClosed(at=9.0, cause="complete")]), tmp_path)


def test_a_recipe_of_which_a_further_run_failed_ranks_below_all_of_which_none_did_and_says_so(tmp_path):
    told = story([(3.0, [3.1, 3.2, math.inf]), (4.0, [4.0, 4.1, 4.05]), (9.0, [])])
    rows = {row.number: row for row in rank(fold(told)).rows}
    assert [(number, row.rank) for number, row in rows.items()] == [(1, 1), (2, 2), (0, 3)]
    assert {number: row.further for number, row in rows.items()} == {0: (2, 3), 1: (3, 3), 2: None}
    assert rows[0].value == pytest.approx(3.15)
    assert rows[0].note == "1 of 3 further runs failed: diverged"
    assert rank(fold(told)).winner.number == 1
    text = page(told, tmp_path)
    assert "2 of 3" in text
    assert "again, seed 3" in text                                      # among those that failed


def test_of_two_recipes_that_failed_the_one_that_failed_less_comes_first_whatever_the_others_reached():
    told = story([(3.0, [9.9, math.inf, math.inf]), (4.0, [4.1, 4.2, math.inf])])
    assert [row.number for row in rank(fold(told)).rows] == [1, 0]
    assert rank(fold(told)).rows[1].value == 9.9


def test_a_lucky_run_does_not_win_where_two_of_three_further_runs_failed_and_the_third_is_bad():
    told = story([(3.0, [9.9, math.inf, math.inf]), (4.0, [math.inf, math.inf, 4.05])])
    ranking = rank(fold(told))
    assert [(row.number, row.value) for row in ranking.rows] == [(1, 4.05), (0, 9.9)]
    assert headline(ranking).alarm


def test_the_headline_warns_of_a_winner_that_failed_or_was_not_run_again_where_others_were():
    failed = headline(rank(fold(story([(3.0, [3.1, 3.2, math.inf]), (4.0, [math.inf] * 3)]))))
    assert failed.alarm
    assert failed.text.endswith("1 of 3 further runs failed: diverged.")
    lucky = headline(rank(fold(story([(3.0, [3.1, math.inf]), (4.0, [4.1, math.inf]), (9.0, [])]))))
    assert lucky.alarm
    assert "Trial 2 is best" in lucky.text
    assert "was not run again" in lucky.text
    sound = headline(rank(fold(story([(3.0, [3.1, 3.2]), (9.0, [9.1, 9.2])]))))
    assert not sound.alarm


def test_a_further_run_that_measured_nothing_finite_has_failed():
    told = story([(3.0, [3.1, 3.2, math.nan]), (4.0, [4.0, 4.1, 4.05])])
    rows = rank(fold(told)).rows
    assert [(row.number, row.further) for row in rows] == [(1, (3, 3)), (0, (2, 3))]
    assert rows[1].note == "1 of 3 further runs failed: reported no finite value"


def test_differences_under_the_same_seeds_tell_apart_what_intervals_cannot():
    """Each seed moves all finalists alike, by far more than they differ."""
    told = story([(3.0, [3.0, 5.0, 7.0]), (3.1, [3.5, 5.52, 7.49]), (3.2, [3.4, 5.41, 7.42])])
    ranking = rank(fold(told))
    first, second, _ = (row.spread[NATS] for row in ranking.rows)
    assert first.high > second.low
    assert ranking.winner.number == 0


def test_gates_and_constraints_see_the_means_of_further_runs_as_the_ranking_does():
    told = story([((3.0, 9.0), [(3.1, 2.0), (3.2, 2.2)]), ((4.0, 9.0), [(4.1, 9.0), (4.2, 9.0)])])
    told[0].spec["gates"] = [{"if": f"{RANK} > 5", "then": "go on"}]
    [verdict] = judge(fold(told))
    assert verdict.seen == {"t0": {RANK: pytest.approx(2.1)}}
    assert not verdict.holds
    told[0].spec["constraints"] = {RANK: ">= 5"}
    rows = rank(fold(told)).rows
    assert [(row.number, row.rank, row.note) for row in rows] == [(1, 1, ""), (0, None, f"{RANK} 2.1, not >= 5")]
    assert rows[1].metrics[RANK] == pytest.approx(2.1)


def test_the_winners_file_says_how_many_further_runs_ended_in_order(tmp_path):
    told = [*story([(3.0, [3.1, 3.2, math.inf])]), SweepClosed(at=9.0, cause="complete")]
    folder = tmp_path / "tiny"
    with Ledger(folder / NAME) as ledger:
        for event in told:
            ledger.append(event)
    write_pages(fold(told), folder)
    lines = (folder / "winner.yaml").read_text().splitlines()
    assert lines[:3] == [
        f"# trial 0 of tiny: {NATS} 3.150",
        "# 2 of 3 further runs with other seeds ended in order",
        "# 1 of 3 further runs failed: diverged",
    ]
    assert "2 of 3 further runs" in (tmp_path / "notebook.md").read_text()


def test_a_winners_file_goes_when_others_have_come_that_cannot_be_told_from_it(tmp_path):
    folder = tmp_path / "tiny"
    for trials in ([(3.0, [])], [(3.0, [4.0, 4.4]), (3.1, [4.1, 4.3])]):
        told = [*story(trials), SweepClosed(at=9.0, cause="complete")]
        (folder / NAME).unlink(missing_ok=True)
        with Ledger(folder / NAME) as ledger:
            for event in told:
                ledger.append(event)
        write_pages(fold(told), folder)
        assert (folder / "winner.yaml").exists() == (len(trials) == 1)
