"""The search, driven as Tune drives it but without a cluster: what it proposes and what it tells the study."""

import math

import pytest
from corpora import unread_run
from optuna.trial import TrialState

from cogito_ray.records.ledger import NAME, Ledger, Reported, TrialEnded, TrialStarted
from cogito_ray.runtime.preflight_checks import MissingInputs, refuse_missing_inputs
from cogito_ray.runtime.search.searcher import FINISHED
from cogito_ray.runtime.trial_recorder import death, paused, progress
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import READ, Driven, opening
from cogito_ray.text.data_digests import DataDigests

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE = [{"metric": NATS, "mode": "min"}]
TWO = [*ONE, {"metric": RANK, "mode": "max"}]
STEPS = 100
AXES = {
    "objective.rate": {"uniform": [0.3, 0.9]},
    "training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]},
    "model.concepts": {"choice": [4, 8]},
}


def sweep(**changed):
    tree = {
        "name": "tiny",
        "run": unread_run(steps=STEPS, batch=8),
        "space": AXES,
        "goals": ONE,
        "budget": {"trials": 6},
    }
    return SweepSpec.model_validate(tree | changed)


def measured(config):
    """Made-up metrics: the second goal fights the first."""
    rate = config["sample"].get("objective.rate", 0.5)
    return {NATS: 5 + rate, RANK: 10 * rate}


def run(search, name, *, step=STEPS, metrics=None):
    """One trial from ask to tell; None when there is no other."""
    config = search.suggest(name)
    if config == FINISHED:
        return None
    for at in range(50, step + 1, 50):
        result = progress(at, measured(config) if metrics is None else metrics)
        search.report(name, at, dict(result["metrics"]))
    search.end(name, result)
    return config


def told(search):
    return search.trials


def test_a_small_space_is_walked_to_its_end_by_a_sampler_that_likes_one_corner():
    space = {"model.concepts": {"choice": [4, 8]}, "objective.rate": {"choice": [0.3, 0.6, 0.9]}}
    search = Driven(sweep(space=space, budget={"trials": 30}))
    samples = [config["sample"] for n in range(30) if (config := run(search, f"t{n}"))]
    assert len({tuple(sample.values()) for sample in samples}) == len(samples) == 6
    assert search.exhausted
    assert {trial.state for trial in told(search)} == {TrialState.COMPLETE, TrialState.FAIL}  # FAIL: repeats


def test_as_soon_as_the_budgets_last_trial_is_out_nothing_is_left_to_hand_out():
    search = Driven(sweep(budget={"trials": 1}))
    assert not search.exhausted
    run(search, "t")
    assert search.exhausted


def test_a_trial_that_was_handed_out_and_never_started_is_left_to_do():
    search = Driven(sweep(budget={"trials": 1}))  # its driver is interrupted while the trial waits for room
    assert isinstance(search.search.suggest(), dict)
    assert not search.exhausted


def test_a_searcher_that_is_ended_hands_out_nothing_though_something_is_left():
    search = Driven(sweep())
    run(search, "t0")
    search.search.close("budget.wall is spent")
    assert search.suggest("t1") == FINISHED
    assert not search.exhausted


def test_a_completed_trial_is_told_with_every_goal_and_its_reports():
    search = Driven(sweep(goals=TWO))
    config = run(search, "t")
    [trial] = told(search)
    values = [measured(config)[NATS], measured(config)[RANK]]
    assert (trial.state, trial.values) == (TrialState.COMPLETE, values)
    assert trial.user_attrs["reports"] == {"50": values, "100": values}


@pytest.mark.parametrize("goals", [ONE, TWO], ids=["one goal", "two goals"])
def test_a_stopped_trial_is_pruned_with_what_it_reported(goals):
    search = Driven(sweep(goals=goals))
    config = run(search, "t", step=50)
    [trial] = told(search)
    assert trial.state is TrialState.PRUNED
    if goals is ONE:
        assert trial.intermediate_values == {50: measured(config)[NATS]}
    else:
        assert trial.user_attrs["reports"] == {"50": [measured(config)[NATS], measured(config)[RANK]]}


def test_a_stopped_trial_is_told_no_constraint_which_may_hold_at_its_end():
    search = Driven(sweep(constraints={RANK: ">= 6"}))
    run(search, "t", step=50)
    assert told(search)[0].constraints == {}


def test_a_trial_killed_by_a_guard_fails_with_its_cause_and_a_broken_constraint():
    search = Driven(sweep())
    search.suggest("t")
    search.end("t", death(40, "gradient norm 947 at step 40"))
    [trial] = told(search)
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["cause"] == "gradient norm 947 at step 40"
    assert sum(value > 0 for value in trial.constraints.values()) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_fails_and_never_stays_running(value):
    search = Driven(sweep(goals=TWO))
    run(search, "t", metrics={NATS: 5.0, RANK: value})
    [trial] = told(search)
    assert trial.state is TrialState.FAIL
    assert sum(value > 0 for value in trial.constraints.values()) == 1


def test_constraints_are_told_by_how_far_they_are_broken():
    search = Driven(sweep(constraints={RANK: ">= 6"}))
    config = run(search, "t")
    [trial] = told(search)
    assert trial.constraints == {RANK: pytest.approx(6 - measured(config)[RANK])}


def test_a_sampler_keeps_to_where_constraints_hold():
    def kept(**constraints):
        search = Driven(sweep(budget={"trials": 50}, **constraints))
        return sum(run(search, f"t{n}")["sample"]["objective.rate"] >= 0.6 for n in range(50))

    assert kept(constraints={RANK: ">= 6"}) > 1.5 * kept()  # the goal alone pulls the rate down


def test_the_points_to_start_with_come_first_and_once():
    points = [{"objective.rate": 0.5, "model.concepts": 8}, {"training.optimizer.learning_rate": 0.001}]
    spec = sweep(search={"start_with": points})
    search = Driven(spec)
    samples = [run(search, f"t{n}")["sample"] for n in range(3)]
    assert [samples[n].items() >= point.items() for n, point in enumerate(points)] == [True, True]
    again = run(Driven(spec, search.log), "t3")["sample"]
    assert not any(again.items() >= point.items() for point in points)


def test_crossed_axes_go_round_whatever_the_sampler_repeats():
    space = {"model.concepts": {"grid": [4, 8]}, "objective.rate": {"choice": [0.3, 0.6, 0.9]}}
    search = Driven(sweep(space=space))
    configs = [run(search, f"t{n}") for n in range(6)]
    assert [config["sample"]["model.concepts"] for config in configs] == [4, 8] * 3
    assert [config["number"] for config in configs] == [*range(6)]
    assert len({config["trial"] for config in configs}) == 6


def test_what_was_under_way_is_handed_out_again_and_what_the_ledger_ended_is_told():
    spec = sweep(goals=TWO)
    first = Driven(spec)
    _, lost = first.suggest("a"), first.suggest("b")
    first.report("a", 50, measured(first.configs["a"]))
    first.end("a", progress(50, measured(first.configs["a"])))
    second = Driven(spec, first.log)
    assert second.suggest("c") == lost
    states = [trial.state for trial in told(second)]
    assert states == [TrialState.PRUNED, TrialState.RUNNING]
    assert list(told(second)[0].user_attrs["reports"]) == ["50"]


def test_a_trial_under_way_is_left_to_hand_out_after_a_kill_though_the_budget_of_trials_is_used_up():
    first = Driven(sweep(budget={"trials": 1}))
    first.suggest("a")
    assert not Driven(sweep(budget={"trials": 1}), first.log).exhausted


def started(config, **more):
    return TrialStarted(at=0, trial=config["trial"], number=0, sample=config["sample"], spec=config["run"], **more)


def test_a_trial_taken_up_again_is_told_with_what_it_reported_before_and_each_step_once():
    spec = sweep(goals=TWO)
    first = Driven(spec)
    config = first.suggest("a")
    first.report("a", 20, {NATS: 5.5})                              # not every goal was measured
    first.report("a", 50, {NATS: 5.0, RANK: 3.0})
    search = Driven(spec, first.log)
    assert search.suggest("b") == config
    for step, nats in ((50, 9.0), (100, 4.0)):                      # from a checkpoint before step 50
        search.report("b", step, {NATS: nats, RANK: 3.0})
    search.end("b", progress(STEPS, {NATS: 4.0, RANK: 3.0}))
    assert told(search)[0].user_attrs["reports"] == {"50": [5.0, 3.0], "100": [4.0, 3.0]}


def test_a_trial_whose_last_report_came_before_the_kill_and_that_has_nothing_more_to_say_is_complete():
    first = Driven(sweep())
    config = first.suggest("a")
    first.report("a", STEPS, measured(config))
    second = Driven(sweep(), first.log)
    assert second.suggest("b") == config
    second.end("b", {})
    [end] = [event for event in second.log if isinstance(event, TrialEnded)]
    assert (end.status, end.step) == ("completed", STEPS)


@pytest.fixture
def earlier(tmp_path):
    """A folder with the ledger of a sweep whose trials ran, and the values of its completed ones."""

    def written(spec, trials=4):
        search = Driven(spec)
        with Ledger(tmp_path / NAME) as ledger:
            ledger.append(opening(spec))
            for number in range(trials):
                config, completed = search.suggest(f"t{number}"), number % 2 == 0
                name, step = config["trial"], STEPS if completed else 50
                asked = {"trial": name, "number": number, "sample": config["sample"], "spec": config["run"]}
                ledger.append(TrialStarted(at=0, data=READ, **asked))
                ledger.append(Reported(trial=name, step=step, seconds=1, metrics=measured(config)))
                status = "completed" if completed else "stopped"
                ledger.append(TrialEnded(at=1, trial=name, status=status, step=step))
        return tmp_path

    return written


@pytest.mark.parametrize("goals", [ONE, TWO], ids=["one goal", "two goals"])
def test_an_earlier_sweeps_trials_are_known_but_use_up_no_budget(earlier, goals):
    folder = earlier(sweep(goals=goals, constraints={RANK: ">= 6"}))
    warm = sweep(name="next", goals=goals, constraints={RANK: ">= 6"}, search={"warm_start": [str(folder)]})
    search = Driven(warm)
    known = told(search)
    assert [trial.state for trial in known] == [TrialState.COMPLETE, TrialState.PRUNED] * 2
    assert [list(trial.constraints) for trial in known] == [[RANK], []] * 2
    configs = [config for n in range(9) if (config := run(search, f"n{n}"))]
    assert [config["number"] for config in configs] == [*range(6)]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"goals": TWO}, "which are not the goals here"),
        ({"space": AXES | {"objective.rate": {"uniform": [0.1, 0.2]}}}, "lies in this space"),
        ({"space": AXES | {"seed": {"choice": [1, 2]}}}, "lies in this space"),
    ],
)
def test_an_earlier_sweep_that_does_not_fit_is_refused(earlier, changed, fault):
    folder = earlier(sweep())
    with pytest.raises(ValueError, match=fault):
        Driven(sweep(name="next", search={"warm_start": [str(folder)]}, **changed))


def test_trials_measured_on_other_rows_teach_nothing(earlier):
    folder = earlier(sweep())
    run = sweep().run | {"evaluation": {"rows": 7}}
    with pytest.raises(ValueError, match="under the same evaluation"):
        Driven(sweep(name="next", run=run, search={"warm_start": [str(folder)]}))


def test_a_search_that_has_begun_needs_the_earlier_sweeps_no_more(earlier, tmp_path):
    folder = earlier(sweep())
    warm = sweep(name="next", search={"warm_start": [str(folder)]})
    begun = Driven(warm)
    (folder / NAME).unlink()
    with pytest.raises(MissingInputs, match=r"search\.warm_start\.0: "):
        refuse_missing_inputs(warm, tmp_path)
    with Ledger(tmp_path / "next" / NAME) as ledger:
        for event in begun.log:
            ledger.append(event)
    refuse_missing_inputs(warm, tmp_path)
    assert Driven(warm, begun.log).suggest("t")["sample"] == begun.suggest("t")["sample"]


def test_trials_that_read_other_text_under_the_same_settings_teach_nothing(earlier):
    warm = sweep(name="next", search={"warm_start": [str(earlier(sweep()))]})
    assert len(told(Driven(warm))) == 4
    with pytest.raises(ValueError, match="reads the same text"):
        Driven(warm, read=DataDigests(READ.tokenizer, {"docs": "2c" * 6}))


@pytest.mark.parametrize(
    ("status", "value", "settings"),
    [("failed", 4.0, {}), ("completed", math.nan, {}), ("completed", 4.0, {"colour": "red"})],
    ids=["failed", "not finite", "of other settings"],
)
def test_trials_that_came_to_nothing_or_are_no_runs_any_more_teach_nothing(tmp_path, status, value, settings):
    spec = sweep()
    config = Driven(spec).suggest("t")
    config["run"] |= settings
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(opening(spec))
        ledger.append(started(config))
        ledger.append(Reported(trial=config["trial"], step=STEPS, seconds=1, metrics={NATS: value}))
        ledger.append(TrialEnded(at=1, trial=config["trial"], status=status, step=STEPS))
    with pytest.raises(ValueError, match="no finished trial"):
        Driven(sweep(name="next", search={"warm_start": [str(tmp_path)]}))


PAUSE = {"kind": "pareto_asha", "first_rung": 50, "eta": 2}


def pausing(trials, log=()):
    """A search whose trials pause at step 50."""
    return Driven(sweep(early_stopping=PAUSE, budget={"trials": trials}), log)


def pause(search, number, value):
    """One trial that reports `value` at the rung and leaves, as it is told to."""
    config = search.suggest(f"t{number}")
    assert search.report(f"t{number}", 50, {NATS: value}).waits
    search.end(f"t{number}", paused(50))
    return config["trial"]


def test_a_paused_trial_stays_open_until_it_is_promoted_before_any_new_one():
    search = pausing(trials=6)
    good = pause(search, 0, 1.0)
    assert told(search)[0].state is TrialState.RUNNING
    pause(search, 1, 2.0)
    assert search.suggest("t2")["trial"] == good
    search.report("t2", STEPS, {NATS: 0.5})
    search.end("t2", progress(STEPS, {NATS: 0.5}))
    assert (told(search)[0].state, told(search)[0].value) == (TrialState.COMPLETE, 0.5)
    assert told(search)[0].intermediate_values == {50: 1.0, 100: 0.5}


def test_with_nothing_new_left_the_search_waits_for_those_under_way_and_then_gives_up_who_still_waits():
    search = pausing(trials=2)
    search.suggest("t0")
    worse = pause(search, 1, 2.0)
    assert search.suggest("t2") is None
    search.report("t0", 50, {NATS: 1.0})
    search.report("t0", STEPS, {NATS: 0.5})
    search.end("t0", progress(STEPS, {NATS: 0.5}))
    assert search.suggest("t3") == FINISHED
    ends = [event for event in search.log if isinstance(event, TrialEnded)]
    assert [(end.trial, end.status, end.step) for end in ends[1:]] == [(worse, "stopped", 50)]
    assert "not among the best 1/2 at rung 50" in ends[1].cause
    assert [trial.state for trial in told(search)] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert search.exhausted


def test_after_a_killed_driver_who_waited_still_waits_and_is_promoted_like_before():
    first = pausing(trials=6)
    names = [pause(first, 0, 1.0)]
    second = pausing(trials=6, log=first.log)
    names.append(pause(second, 1, 2.0))
    assert len(set(names)) == 2
    assert second.suggest("t2")["trial"] == names[0]


def test_after_a_killed_driver_who_had_been_promoted_goes_on_though_better_ones_have_come():
    first = pausing(trials=6)
    good = pause(first, 0, 1.0)
    pause(first, 1, 2.0)
    assert first.suggest("t2")["trial"] == good
    better = first.suggest("t3")
    first.report("t3", 50, {NATS: 0.1})
    second = pausing(trials=6, log=first.log)
    assert [second.suggest(name)["trial"] for name in ("t4", "t5")] == [good, better["trial"]]
    assert second.report("t4", 75, {NATS: 0.9}).keep


def test_who_waits_is_left_to_hand_out_though_the_budget_of_trials_is_used_up():
    search = pausing(trials=1)
    pause(search, 0, 1.0)
    assert not search.exhausted


@pytest.mark.parametrize(("rung", "left"), [(50, False), (20, True)], ids=["had not left yet", "left for the budget"])
def test_after_a_killed_driver_who_does_not_wait_goes_on_at_once(rung, left):
    spec = sweep(early_stopping=PAUSE)
    first = Driven(spec)
    config = first.suggest("t0")
    first.report("t0", rung, {NATS: 1.0})
    if left:
        first.end("t0", paused(rung))
    second = Driven(spec, first.log, written=lambda trial, step: False)
    assert second.suggest("t1")["trial"] == config["trial"]


def test_who_was_to_be_stopped_when_the_driver_was_killed_is_stopped_and_trains_no_more():
    spec = sweep(early_stopping={"kind": "asha", "first_rung": 50, "eta": 2, "mode": "stop"})
    first = Driven(spec)
    first.suggest("t0")
    bad = first.suggest("t1")
    assert first.report("t0", 50, {NATS: 1.0}).keep
    assert not first.report("t1", 50, {NATS: 2.0}).keep
    second = Driven(spec, first.log)
    [end] = [event for event in second.log if isinstance(event, TrialEnded)]
    assert (end.trial, end.status, end.step) == (bad["trial"], "stopped", 50)
    assert second.suggest("t2")["trial"] == first.configs["t0"]["trial"]
    assert second.suggest("t3")["trial"] not in {first.configs["t0"]["trial"], bad["trial"]}


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_no_sampler_hands_out_what_the_sweep_does_without(kind):
    space = {"model.concepts": {"choice": [4, 8]}, "objective.rate": {"choice": [0.3, 0.6, 0.9]}}
    hole = {"model.concepts": 4, "objective.rate": 0.6}
    search = Driven(sweep(space=space, exclude=[hole], search={"sampler": kind}, budget={"trials": 30}))
    samples = [config["sample"] for n in range(30) if (config := run(search, f"t{n}"))]
    assert len(samples) == 5
    assert hole not in samples


DEPENDENT = {
    "model.latents": {"preset": {"plain": {"kind": "plain"}, "anchored": {"kind": "anchored"}}},
    "objective.rate": {"uniform": [0.3, 0.9], "when": {"model.latents": "anchored"}},
    "training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]},
}


def test_what_a_sweep_with_conditions_learned_serves_the_next(earlier):
    folder = earlier(sweep(space=DEPENDENT), trials=6)
    search = Driven(sweep(name="next", space=DEPENDENT, search={"warm_start": [str(folder)]}))
    assert len(told(search)) == 6
    assert all(("objective.rate" in t.params) == (t.params["model.latents"] == "anchored") for t in told(search))
