"""What a driver shows of its trials: those that run, by their numbers, and how many stand where. No cluster."""

import pytest
from call_counts import Calls

from cogito_ray.records.ledger import Reported, SweepOpened, TrialEnded, TrialPaused, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.metrics_export import MetricsExporter
from cogito_ray.sweeps.budget_spec import BudgetSpec, Spent

SPEC = {"training": {"steps": 40}}


def started(trial, number, **told):
    return TrialStarted(at=0, trial=trial, number=number, sample={}, spec=SPEC, **told)


def reported(trial, step, **metrics):
    return Reported(trial=trial, step=step, seconds=1, metrics=metrics or {"loss/total": 2.0})


def ended(trial, status="completed", cause=""):
    return TrialEnded(at=1, trial=trial, status=status, step=10, cause=cause)


@pytest.fixture
def exporter(tmp_path):
    with MetricsExporter("s", tmp_path) as made:
        made._closed.set()
        made._thread.join()                 # the test asks itself
        yield made


def figures(exporter):
    return {(name, *labels): value for name, value, labels in exporter.shown()}


def test_a_trial_is_shown_by_its_number_and_a_further_run_of_it_apart(exporter):
    for event in (started("a", 7), started("abcdefgh", 7, replicates="a"), reported("a", 10), reported("abcdefgh", 20)):
        exporter.tell(event)
    shown = figures(exporter)
    assert (shown["step", "7"], shown["step", "7-abcdef"]) == (10, 20)
    assert (shown["loss_nats", "7", "total"], shown["progress_share", "7"]) == (2.0, 0.25)


def test_what_ended_is_shown_once_more_and_never_again(exporter):
    for event in (started("a", 0), reported("a", 10), ended("a")):
        exporter.tell(event)
    assert figures(exporter)["step", "0"] == 10
    assert [name for name in figures(exporter) if name[0] == "step"] == []


def test_trials_are_counted_by_state(exporter):
    for number in range(4):
        exporter.tell(started(str(number), number))
    exporter.tell(TrialPaused(at=1, trial="1", step=5, cause=""))
    exporter.tell(ended("2", "failed", "divergence at step 9: loss=3"))
    exporter.tell(ended("3"))
    exporter.tell(started("1", 1))
    counted = {name[1]: value for name, value in figures(exporter).items() if name[0] == "trials"}
    assert counted == {"running": 2, "waiting": 0, "completed": 1, "stopped": 0, "failed": 1}


def test_a_sweep_that_is_taken_up_again_counts_what_was_done_before(tmp_path):
    origin = Provenance(commit=None, dirty=False, versions={}, host="h")
    opened = SweepOpened(at=0, spec={}, sweep="s", provenance=origin)
    known = fold([opened, started("a", 0), ended("a"), started("b", 1)])
    with MetricsExporter("s", tmp_path, known=known) as exporter:
        assert figures(exporter)["trials", "completed"] == 1
        assert figures(exporter)["trials", "waiting"] == 1


def test_of_a_budget_what_is_bounded_is_left(tmp_path):
    budget = BudgetSpec(trials=9, cpu_hours=4, disk="1kB")
    with MetricsExporter("s", tmp_path) as exporter:
        exporter.spending(budget, Spent(cpu_hours=1, wall_s=7200, disk_bytes=100))
        shown = figures(exporter)
    assert (shown["budget_spent_hours", "cpu_hours"], shown["budget_spent_hours", "wall"]) == (1, 2)
    assert {name[1]: value for name, value in shown.items() if name[0] == "budget_left_hours"} == {"cpu_hours": 3}
    assert {name[1]: value for name, value in shown.items() if name[0] == "budget_spent_share"} == {
        "cpu_hours": 0.25,
        "disk": 0.1,
    }
    assert shown["trials_planned",] == 9


def test_the_thousandth_trial_costs_what_the_first_did(exporter):
    """In calls, of which a walk over all trials would make one more for each of them."""

    calls = Calls()

    def lived(number):
        name = str(number)
        for event in (started(name, number), reported(name, 10), ended(name)):
            exporter.tell(event)
        exporter.shown()

    lived(0)
    calls.during("first", lived, 1)
    for number in range(2, 1000):
        exporter.tell(started(str(number), number))
        exporter.tell(ended(str(number)))
    exporter.shown()
    calls.during("thousandth", lived, 1000)
    assert 0 < calls.made["thousandth"] <= calls.made["first"] + 20
