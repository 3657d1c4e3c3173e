"""Which further runs are left after an interruption, told from the ledger."""

from corpora import unread_run

from cogito_ray.records.ledger import Reported, SweepOpened, TrialEnded, TrialPaused, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.further_runs import FurtherRuns, seed_replicates
from cogito_ray.runtime.trial_recorder import TrialRecorder, paused, progress
from cogito_ray.sweeps.sweep_spec import SweepSpec

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ORIGIN = Provenance(commit=None, dirty=False, versions={}, host="here")
SWEEP = SweepSpec.model_validate(
    {
        "name": "tiny",
        "run": unread_run(steps=10),
        "space": {"objective.rate": {"choice": [0.3, 0.4, 0.5, 0.6]}},
        "goals": [{"metric": NATS, "mode": "min"}],
        "seeds": 2,
        "budget": {"trials": 4},
    }
)


def searched():
    """Events of a search that is over; its best trials have the least rates."""
    told = [SweepOpened(at=0.0, spec=SWEEP.model_dump(mode="json"), sweep="s", provenance=ORIGIN)]
    for number, rate in enumerate([0.3, 0.4, 0.5, 0.6]):
        sample = {"objective.rate": rate}
        run = SWEEP.trial(sample)
        told += ran(run.digest(), number, sample, run.model_dump(mode="json"), value=4 + rate)
    return told


def ran(name, number, sample, spec, *, value, rank=0.0, replicates=None, ended=True):
    told = [
        TrialStarted(at=0.0, trial=name, number=number, sample=sample, spec=spec, replicates=replicates),
        Reported(trial=name, step=10, seconds=1.0, metrics={NATS: value, RANK: rank}),
        TrialEnded(at=1.0, trial=name, status="completed", step=10),
    ]
    return told if ended else told[:2]


def again(config, *, ended):
    named = (config["trial"], config["number"], config["sample"], config["run"])
    return ran(*named, value=5.0, replicates=config["replicates"], ended=ended)


def test_the_better_half_is_due_under_every_other_seed_and_differs_in_nothing_else():
    due = seed_replicates(SWEEP, fold(searched()))
    assert [config["number"] for config in due] == [0, 0, 1, 1]
    assert len({config["trial"] for config in due}) == 4
    for config in due:
        first = SWEEP.trial(config["sample"])
        assert config["replicates"] == first.digest()
        assert config["run"] == first.model_copy(update={"seed": config["run"]["seed"]}).model_dump(mode="json")
        assert config["run"]["seed"] != first.seed


def test_after_a_kill_those_that_ended_are_not_run_twice_and_those_that_did_not_are_taken_up_again():
    one, two, *others = seed_replicates(SWEEP, fold(searched()))
    record = fold([*searched(), *again(one, ended=True), *again(two, ended=False)])
    assert seed_replicates(SWEEP, record) == [two, *others]


def test_what_further_runs_came_to_does_not_change_who_is_run_again():
    one, two, *others = seed_replicates(SWEEP, fold(searched()))
    bad = fold([*searched(), *again(one, ended=True), *again(two, ended=True)])  # trial 0 is now worse than all
    assert seed_replicates(SWEEP, bad) == others


def test_of_several_goals_the_front_of_the_search_is_run_again_whatever_its_further_runs_come_to():
    goals = [*SWEEP.goals, {"metric": RANK, "mode": "max"}]
    spec = SweepSpec.model_validate(SWEEP.model_dump(mode="json") | {"goals": goals, "seeds": 3})
    told = [SweepOpened(at=0.0, spec=spec.model_dump(mode="json"), sweep="s", provenance=ORIGIN)]
    for number, (rate, rank) in enumerate([(0.3, 3.0), (0.4, 4.0), (0.5, 5.0), (0.6, 1.0)]):
        sample, run = {"objective.rate": rate}, spec.trial({"objective.rate": rate})
        tree = run.model_dump(mode="json")
        told += ran(run.digest(), number, sample, tree, value=4 + rate, rank=rank)
    due = seed_replicates(spec, fold(told))
    assert sorted(config["number"] for config in due) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [config["number"] for config in due[:2]] == [0, 0]
    bad = [event for config in due[:2] for event in again(config, ended=True)]  # trial 0 is now beaten by others
    assert seed_replicates(spec, fold(told + bad)) == due[2:]


def test_a_list_is_handed_out_in_order_and_when_closed_nothing_more(tmp_path):
    recorder = TrialRecorder(lambda event: None, tmp_path)
    first, second = (FurtherRuns([{"trial": name} for name in names], recorder) for names in ("ab", "a"))
    assert [first.suggest(), first.suggest()] == [{"trial": "a"}, {"trial": "b"}]
    assert (first.suggest(), first.exhausted) == (None, False)  # both are under way
    second.close("budget.wall is spent")
    assert (second.suggest(), second.exhausted) == ("FINISHED", False)


def test_what_becomes_of_a_further_run_is_on_record(tmp_path):
    told = []
    [config, *_] = seed_replicates(SWEEP, fold(searched()))
    stage = FurtherRuns([config], TrialRecorder(told.append, tmp_path))
    stage.started(stage.suggest())
    assert stage.report(config, progress(10, {NATS: 4.0})).keep
    assert not stage.exhausted
    stage.ended(config, progress(10, {NATS: 4.0}))
    assert stage.exhausted
    assert [type(event) for event in told] == [TrialStarted, Reported, TrialEnded]
    assert told[0].replicates == config["replicates"]


def test_a_further_run_that_was_handed_out_and_left_is_left_to_do(tmp_path):
    [config, *_] = seed_replicates(SWEEP, fold(searched()))
    stage = FurtherRuns([config], TrialRecorder([].append, tmp_path))
    stage.started(stage.suggest())
    stage.ended(config, paused(0))
    assert not stage.exhausted


def test_the_last_further_run_is_handed_out_again_when_its_process_dies_and_only_its_end_ends_the_stage(tmp_path):
    told = []
    [config, *_] = seed_replicates(SWEEP, fold(searched()))
    stage = FurtherRuns([config], TrialRecorder(told.append, tmp_path))
    stage.started(stage.suggest())
    assert stage.suggest() is None    # Tune asks no more once it has heard FINISHED
    stage.lost(config, "its process died")
    assert stage.suggest() == config
    stage.started(config)
    stage.ended(config, progress(10, {NATS: 4.0}))
    assert (stage.suggest(), stage.exhausted) == ("FINISHED", True)
    assert [type(event) for event in told] == [TrialStarted, TrialPaused, TrialStarted, TrialEnded]
