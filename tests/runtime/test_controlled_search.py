"""What is asked of a search while it runs: trials that are stopped, held and added, the same after a killed driver."""

import pytest
from corpora import unread_run
from optuna.trial import TrialState

from cogito_ray.records.control_requests import AddPoint, ChangeBudget, PauseTrial, ResumeTrial, StopTrial
from cogito_ray.records.ledger import Controlled, TrialEnded, TrialPaused
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.searcher import FINISHED
from cogito_ray.runtime.search.trial_state_machine import Phase
from cogito_ray.runtime.trial_recorder import paused, progress
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven

NATS = "eval/reconstruction_nats"
SPACE = {"objective.rate": {"uniform": [0.3, 0.9]}, "model.concepts": {"choice": [4, 8]}}


def sweep(**changed):
    tree = {"name": "tiny", "run": unread_run(steps=100, report_every=10, batch=8), "space": SPACE}
    tree |= {"goals": [{"metric": NATS, "mode": "min"}], "budget": {"trials": 3}}
    return SweepSpec.model_validate(tree | changed)


class Asked(Driven):
    """Whose trials are called a, b, c, ..."""

    def ask(self, request):
        """What the driver does with a request: considered, on record, obeyed."""
        self.search.consider(request)
        event = Controlled(at=0.0, id="1", by="me", request=request, accepted=True, outcome="")
        self.log.append(event)
        self.search.controlled(event)

    def named(self, name):
        return self.configs[name]["trial"]

    def phase(self, name):
        return self.search.phases[self.named(name)]

    def leave(self, name, step):
        """As the trial does that was asked to."""
        self.end(name, paused(step))

    def again(self, spec=None):
        """After a kill of the driver."""
        there = Asked(spec or sweep(), self.log)
        there.configs = self.configs
        return there


@pytest.fixture
def search():
    """Two trials run, and have reported 5 and 6 nats at step 10."""
    search = Asked(sweep())
    for name, nats in (("a", 5.0), ("b", 6.0)):
        search.suggest(name)
        search.report(name, 10, {NATS: nats})
    return search


def test_a_trial_is_stopped_at_its_next_report_and_told_pruned_with_what_it_reached(search):
    search.ask(StopTrial(trial=search.named("a")))
    assert search.phase("a") is Phase.RUNNING
    verdict = search.report("a", 20, {NATS: 4.5})
    assert (verdict.keep, verdict.waits, verdict.cause) == (False, False, "stopped on request")
    search.end("a", progress(20, {NATS: 4.5}))
    [told, _] = search.trials
    assert (told.state, told.intermediate_values) == (TrialState.PRUNED, {10: 5.0, 20: 4.5})
    assert search.log[-1].cause == "stopped on request"
    assert search.report("b", 20, {NATS: 6.0}).keep


def test_at_its_last_step_a_trial_that_was_to_stop_is_complete(search):
    search.ask(StopTrial(trial=search.named("a")))
    assert search.report("a", 100, {NATS: 4.5}).keep
    search.end("a", progress(100, {NATS: 4.5}))
    assert search.log[-1].complete


def test_who_was_to_stop_when_the_driver_died_is_stopped_when_the_next_one_starts(search):
    search.ask(StopTrial(trial=search.named("a")))
    there = search.again()
    assert there.phase("a") is Phase.OVER
    assert (there.log[-1].trial, there.log[-1].step) == (search.named("a"), 10)
    assert sum(isinstance(event, TrialEnded) for event in there.again().log) == 1


def test_a_held_trial_leaves_at_its_next_report_and_is_not_handed_out_until_it_is_resumed(search):
    search.ask(PauseTrial(trial=search.named("a")))
    assert search.report("a", 20, {NATS: 4.5}).waits
    search.leave("a", 20)
    assert isinstance(search.log[-1], TrialPaused)
    assert search.log[-1].cause == "paused on request"
    assert search.phase("a") is Phase.HELD
    assert search.suggest("c")["trial"] != search.named("a")
    search.end("b", progress(100, {NATS: 4.0}))
    search.end("c", progress(100, {NATS: 4.0}))
    assert search.suggest("d") == FINISHED
    assert not search.exhausted
    assert search.search.on_hold
    search.ask(ResumeTrial(trial=search.named("a")))
    assert search.suggest("a")["trial"] == search.named("a")
    assert search.report("a", 30, {NATS: 4.4}).keep


def test_a_held_trial_is_held_after_a_kill_also_before_it_could_leave(search):
    search.ask(PauseTrial(trial=search.named("a")))
    there = search.again()
    assert there.phase("a") is Phase.HELD
    assert there.suggest("b")["trial"] == search.named("b")


def test_a_pause_that_is_taken_back_before_the_next_report_is_none(search):
    search.ask(PauseTrial(trial=search.named("a")))
    search.ask(ResumeTrial(trial=search.named("a")))
    assert search.report("a", 20, {NATS: 4.5}).keep


def test_who_waits_at_a_rung_and_is_held_waits_there_again_when_it_is_resumed():
    spec = sweep(early_stopping={"kind": "asha", "first_rung": 10, "eta": 2})
    search = Asked(spec)
    for name, nats in (("a", 5.0), ("b", 6.0)):
        search.suggest(name)
        search.report(name, 10, {NATS: nats})
        search.leave(name, 10)
    search.ask(PauseTrial(trial=search.named("a")))
    assert search.suggest("c")["trial"] not in (search.named("a"), search.named("b"))
    search.ask(ResumeTrial(trial=search.named("a")))
    assert search.phase("a") is Phase.WAITING
    assert search.again(spec).phase("a") is Phase.WAITING
    search.report("c", 10, {NATS: 7.0})
    search.leave("c", 10)
    assert search.suggest("a")["trial"] == search.named("a")    # promoted: the best of three


def test_who_waits_is_stopped_at_once(search):
    search.ask(PauseTrial(trial=search.named("a")))
    search.report("a", 20, {NATS: 4.5})
    search.leave("a", 20)
    search.ask(StopTrial(trial=search.named("a")))
    assert search.phase("a") is Phase.OVER
    assert search.trials[0].state is TrialState.PRUNED


def test_a_point_that_is_added_comes_next_and_besides_the_budget(search):
    search.ask(AddPoint(point={"objective.rate": 0.5, "model.concepts": 8}))
    assert search.suggest("c")["sample"] == {"objective.rate": 0.5, "model.concepts": 8}
    assert search.suggest("d")["sample"]["objective.rate"] != 0.5
    for name in "abcd":
        search.end(name, progress(100, {NATS: 4.0}))
    assert search.exhausted


def test_what_a_point_leaves_out_is_drawn(search):
    search.ask(AddPoint(point={"objective.rate": 0.5}))
    assert search.suggest("c")["sample"].keys() == SPACE.keys()


def test_a_killed_driver_neither_forgets_an_added_point_nor_draws_it_twice(search):
    search.ask(AddPoint(point={"objective.rate": 0.5, "model.concepts": 8}))
    there = search.again()
    handed_out = [there.suggest(name) for name in "xyz"]
    assert [config["trial"] for config in handed_out[:2]] == [search.named("a"), search.named("b")]
    assert handed_out[2]["sample"]["objective.rate"] == 0.5
    last = there.again()
    samples = [config["sample"] for name in "efgh" if isinstance(config := last.suggest(name), dict)]
    assert [sample["objective.rate"] for sample in samples].count(0.5) == 1
    assert len(samples) == 4


def test_points_to_begin_with_are_tried_whatever_is_added():
    search = Asked(sweep(search={"start_with": [{"objective.rate": 0.4}, {"objective.rate": 0.7}]}))
    rates = [search.suggest("a")["sample"]["objective.rate"]]
    search.ask(AddPoint(point={"objective.rate": 0.5}))
    rates += [search.suggest(name)["sample"]["objective.rate"] for name in "bc"]
    assert rates == [0.4, 0.5, 0.7]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"objective.rat": 0.5}, "point.objective.rat: no axis"),
        ({"objective.rate": 2.0}, "is not in its domain"),
        ({"objective.rate": 0.5, "model.concepts": 5}, "point.model.concepts: 5 is not in its domain"),
    ],
)
def test_a_point_that_is_none_is_refused_with_why(search, point, said):
    with pytest.raises(ValueError, match=said):
        search.ask(AddPoint(point=point))


def test_a_point_that_was_had_is_refused_with_whose_it_is(search):
    with pytest.raises(ValueError, match="the same run as trial 0"):
        search.ask(AddPoint(point=search.configs["a"]["sample"]))


def test_a_point_of_a_grid_is_whole_and_is_not_tried_again():
    grid = {"space": {"model.concepts": {"choice": [4, 8]}, "objective.rate": {"choice": [0.3, 0.6]}}}
    search = Asked(sweep(search={"sampler": "grid"}, budget={"trials": 4}, **grid))
    with pytest.raises(ValueError, match=r"point.objective.rate: is not drawn, so it must be given"):
        search.ask(AddPoint(point={"model.concepts": 8}))
    search.ask(AddPoint(point={"model.concepts": 8, "objective.rate": 0.6}))
    samples = [config["sample"] for name in "abcde" if isinstance(config := search.suggest(name), dict)]
    assert samples[0] == {"model.concepts": 8, "objective.rate": 0.6}
    assert len(samples) == 4


def test_more_trials_may_be_asked_for_and_fewer(search):
    search.ask(ChangeBudget(changes=("trials=+1",)))
    assert all(isinstance(search.suggest(name), dict) for name in "cd")
    search.ask(ChangeBudget(changes=("trials=2",)))
    there = search.again()
    assert sum(isinstance(there.suggest(name), dict) for name in "uvwxyz") == 4    # those that had begun


def test_a_budget_that_was_raised_holds_until_the_file_names_another(search):
    search.ask(ChangeBudget(changes=("trials=+1",)))
    assert fold(search.again().log).limits.budget.trials == 4
    assert fold(search.again(sweep(budget={"trials": 7})).log).limits.budget.trials == 7


@pytest.mark.parametrize("kind", [StopTrial, PauseTrial, ResumeTrial])
def test_what_cannot_be_asked_of_a_trial_is_refused(search, kind):
    with pytest.raises(ValueError, match="not one of this sweep"):
        search.ask(kind(trial="nobody"))
    search.end("a", progress(100, {NATS: 4.0}))
    with pytest.raises(ValueError, match="is over"):
        search.ask(kind(trial=search.named("a")))
    with pytest.raises(ValueError, match="is not paused on request"):
        search.ask(ResumeTrial(trial=search.named("b")))
