"""What a ladder foretells of full runs stands in the ledger before they start, and is judged by them afterwards."""

import math

import pytest
from corpora import unread_run

from cogito_ray.records.ledger import NAME, Ledger, Promoted, Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.notebook.notebook_page import read
from cogito_ray.records.pages.report_page import render
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.forecast_calibration import JudgedForecast, calibration, judged
from cogito_ray.records.results.promotion_results import promotions
from cogito_ray.records.results.scaling_forecasts import differences, forecasts, past_misses, scored, size
from cogito_ray.records.sweep_record import Trial, fold
from cogito_ray.runtime.search.further_runs import ladder_runs
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import DataDigests

LADDER_DATA = DataDigests("t", {"docs": "d"})
NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
SWEEP = SweepSpec.model_validate(
    {
        "name": "tiny",
        "run": unread_run(steps=40),
        "space": {"objective.rate": {"choice": [0.3, 0.6]}},
        "goals": [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}],
        "promote": {"with": {"training.steps": 400}},
        "scale": {"sizes": {"training.steps": [10, 20, 40]}},
        "budget": {"trials": 2},
    }
)


def nats(steps):
    return 2.0 + 4.0 * steps**-0.5


def ran(trial, number, sample, run, **how):
    steps = run["training"]["steps"]
    metrics = {NATS: nats(steps) + number, RANK: 9.0 - number}
    return [
        TrialStarted(at=0.0, trial=trial, number=number, sample=sample, spec=run, data=LADDER_DATA, **how),
        Reported(trial=trial, step=steps, seconds=1.0, metrics=metrics),
        TrialEnded(at=1.0, trial=trial, status="completed", step=steps),
    ]


def searched():
    """Events of a search that is over; the first trial is better in both goals."""
    told = [SweepOpened(at=0.0, spec=SWEEP.model_dump(mode="json"), sweep="s", provenance=ORIGIN)]
    for number, rate in enumerate([0.3, 0.6]):
        run = SWEEP.trial({"objective.rate": rate})
        told += ran(run.digest(), number, {"objective.rate": rate}, run.model_dump(mode="json"))
    return told


def climbed():
    """The same, once the ladder is trained."""
    told = searched()
    for config in ladder_runs(SWEEP, fold(told)):
        how = {"replicates": config["replicates"], "changes": config["changes"]}
        told += ran(config["trial"], config["number"], config["sample"], config["run"], **how)
    return told


def foretold():
    told = climbed()
    return [*told, *forecasts(SWEEP, fold(told))]


def ended(value, *, complete=True):
    [full] = promotions(SWEEP, fold(searched()))
    metrics = {NATS: value, RANK: 9.0}
    return Promoted(
        at=9.0, trial=full.trial, run=full.run.digest(), folder="f", changes=full.changes, complete=complete,
        metrics=metrics,
    )  # fmt: skip


ORIGIN = Provenance(commit="a" * 40, dirty=False, versions={"torch": "2.11"}, host="here", gpus=("A100",))


def full_trial(data=None, origin=ORIGIN):
    """The full run as its own ledger tells of it."""
    [due] = promotions(SWEEP, fold(searched()))
    spec = due.run.model_dump(mode="json")
    told = [SweepOpened(at=8.0, spec={}, sweep="f", provenance=origin)]
    told.append(TrialStarted(at=8.0, trial=due.run.digest(), number=0, sample={}, spec=spec, data=data))
    return fold(told).trials[due.run.digest()]


def test_the_ladder_is_that_of_the_trials_that_promote_takes_and_what_ran_already_is_not_run_again():
    due = ladder_runs(SWEEP, fold(searched()))
    assert [config["run"]["training"]["steps"] for config in due] == [10, 20]      # the trial itself is the third
    assert {config["sample"]["objective.rate"] for config in due} == {0.3}
    assert not ladder_runs(SWEEP, fold(climbed()))


def test_a_rung_that_was_interrupted_is_still_left():
    told = climbed()
    assert isinstance(told.pop(), TrialEnded)
    assert [config["run"]["training"]["steps"] for config in ladder_runs(SWEEP, fold(told))] == [20]


def test_rungs_are_no_trials_of_the_search():
    record = fold(climbed())
    assert (len(record.trials), len(record.replicates), len(record.variants)) == (2, 0, 2)


def test_each_full_run_is_foretold_once_in_every_goal_from_all_rungs():
    record = fold(foretold())
    loss, rank = (one.sealed for one in judged(record))
    assert (loss.goal, rank.goal) == (NATS, RANK)
    assert [rung.value for rung in loss.ladder] == [nats(steps) for steps in (10, 20, 40)]
    assert loss.low is not None
    assert loss.low < nats(400) < loss.high
    assert rank.value is None
    assert "do not rise or fall" in rank.law                                       # all rungs have the same
    assert not list(forecasts(SWEEP, record))


def test_a_forecast_is_judged_by_the_run_and_the_report_and_the_notebook_say_how_it_fared(tmp_path):
    told = foretold()
    hit, miss = (list(scored(fold(told), ended(value), full_trial())) for value in (nats(400), 9.0))
    assert [score.inside for score in hit] == [True]
    assert [score.inside for score in miss] == [False]
    assert miss[0].error == pytest.approx(judged(fold(told))[0].sealed.value / 9.0 - 1)
    record = fold([*told, *hit])
    assert calibration([record, fold([*told, *miss])]).text.startswith("1 of 2 forecasts")
    assert "What full runs will reach" in render(record, tmp_path)
    assert "inside" in render(record, tmp_path)
    with Ledger(tmp_path / "tiny" / NAME) as ledger:
        for event in [*told, *hit]:
            ledger.append(event)
    rows, opening = read([tmp_path])
    assert "1 of 1 forecasts of full runs" in opening
    assert "inside" in rows[0].cells["forecast"]


def test_a_forecast_whose_interval_holds_what_the_largest_rung_reached_names_rungs_that_would_help():
    [told] = [one for one in judged(fold(foretold())) if one.sealed.goal == NATS]
    rung = told.sealed.ladder[-1]
    assert told.sealed.low < rung.value < told.sealed.high
    parameters, tokens = math.sqrt(told.sealed.parameters * rung.parameters), math.sqrt(10) * rung.tokens
    assert f"too short to trust: its largest rung's {rung.value:.4g} is in that interval, too" in told.text
    assert f"add rungs of up to {parameters:.2g} parameters and {tokens:.2g} tokens" in told.text
    sure = told.sealed.model_copy(update={"high": rung.value - 0.01}).sealed()
    assert "too short" not in JudgedForecast(sure, 0, None).text


def test_misses_of_a_storage_are_those_of_its_scored_forecasts_each_once_and_widen_the_next_interval(tmp_path):
    told = foretold()
    told += scored(fold(told), ended(9.0), full_trial())
    for name in ("tiny", "copy"):
        with Ledger(tmp_path / name / NAME) as ledger:
            for event in told:
                ledger.append(event)
    with (tmp_path / "copy" / NAME).open("ab") as cut:
        cut.write(b'{"event":"forecast_scored","at":')
    [loss, _] = forecasts(SWEEP, fold(climbed()))
    assert past_misses(tmp_path, NATS) == [pytest.approx(math.log(9.0 / loss.value) / math.log(10))]
    assert past_misses(tmp_path, RANK) == []
    [wider, _] = forecasts(SWEEP, fold(climbed()), lambda goal: past_misses(tmp_path, goal))
    assert wider.low < loss.low < loss.high < wider.high


def missed(**differs):
    """The forecast of the loss, whose ladder and full run differ so."""
    told = foretold()
    record = fold([*told, *scored(fold(told), ended(9.0), full_trial(**differs))])
    return judged(record)[0]


def test_a_forecast_that_holds_opens_no_gate():
    told = foretold()
    held = judged(fold([*told, *scored(fold(told), ended(nats(400)), full_trial())]))[0]
    assert not held.missed
    assert held.differs == ""


def test_a_missed_forecast_tells_data_code_packages_and_gpus_that_differ():
    data = DataDigests("t", {"docs": "other"})
    other = Provenance(commit="b" * 40, dirty=False, versions={"torch": "2.12"}, host="there", gpus=("H100",))
    found = missed(data=data, origin=other)
    assert found.missed
    assert found.score.differs == (
        f"data: {LADDER_DATA.digest()} -> {data.digest()}",
        f"code: {'a' * 12} -> {'b' * 12}",
        "torch: 2.11 -> 2.12",
        "GPUs: A100 -> H100",
    )
    assert all(line in found.text for line in found.score.differs)


def test_a_missed_forecast_tells_settings_that_the_ladder_does_not_vary_and_no_others():
    run, full = SWEEP.trial({"objective.rate": 0.3}), full_trial()
    rungs = [Trial(f"t{number}", 0, {}, run.model_dump(mode="json"), 0.0) for number in range(2)]
    rungs[0].spec["training"]["steps"] = 20
    full.spec["training"]["precision"], full.spec["seed"] = "bfloat16", 7
    assert differences(rungs, full) == ["training.precision: float32 -> bfloat16"]


def test_where_nothing_else_differs_the_law_itself_is_doubted():
    assert missed(data=LADDER_DATA).differs.endswith("the law does not reach so far; add rungs")


def test_a_run_that_failed_judges_nothing():
    assert not list(scored(fold(foretold()), ended(3.0, complete=False), full_trial()))


def test_a_forecast_that_was_changed_afterwards_counts_for_nothing():
    told = foretold()
    sealed = next(event for event in told if getattr(event, "goal", "") == NATS)
    changed = [event.model_copy(update={"value": 9.0}) if event is sealed else event for event in told]
    record = fold([*changed, *scored(fold(changed), ended(9.0), full_trial())])
    assert not judged(record)[0].sealed.is_intact
    assert "was changed after it was sealed" in judged(record)[0].text
    assert calibration([record]) is None


def test_parameters_are_counted_without_those_that_grow_with_the_vocabulary():
    run = SWEEP.trial({"objective.rate": 0.3})
    parameters, tokens = size(run)
    wider = run.model.model_copy(update={"width": 2 * run.model.width})
    assert 3 < wider.parameters(run.data.length) / parameters < 4.5
    assert tokens == run.training.steps * run.training.batch * run.data.length
