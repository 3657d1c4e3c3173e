"""Budgets: what people write is read, and what is spent is noticed."""

import pytest
from pydantic import ValidationError

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import BudgetSpec, Reserved, Spent, duration, seconds, size

RUN = RunSpec.model_validate(
    {
        "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 32},
        "model": {"width": 64, "heads": 4, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
    }
)


@pytest.mark.parametrize(
    ("text", "value"), [("8h", 28800), ("90m", 5400), ("1.5h", 5400), ("1h30m", 5400), ("2d", 172800)]
)
def test_durations_are_read_as_people_write_them(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize(
    ("length", "text"),
    [(0.4, "0 s"), (89, "89 s"), (150, "2 min"), (3599, "1 h 0 min"), (3661, "1 h 1 min"), (7199, "2 h 0 min")],
)
def test_durations_are_written_for_people(length, text):
    assert duration(length) == text


@pytest.mark.parametrize(("text", "value"), [("20GB", 2e10), ("500 MB", 5e8), ("1.5TiB", 1.5 * 2**40)])
def test_sizes_are_read_as_people_write_them(text, value):
    assert size(text) == value


@pytest.mark.parametrize("text", ["8", 8, "h", "8 hours", "-1h", "0h", "", None])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write 8h, 90m"):
        seconds(text)


def test_a_bad_duration_in_a_budget_names_its_place():
    with pytest.raises(ValidationError, match="'8 hours' is no duration; write 8h") as fault:
        BudgetSpec(trials=1, wall="8 hours")
    assert fault.value.errors()[0]["loc"] == ("wall",)


@pytest.mark.parametrize(
    ("budget", "spent", "named"),
    [
        ({"gpu_hours": 24}, Spent(gpu_hours=24.0), "budget.gpu_hours: 24 of 24 hours are used"),
        ({"cpu_hours": 2}, Spent(cpu_hours=2.5), "budget.cpu_hours: 2.5 of 2 hours"),
        ({"wall": "90m"}, Spent(wall_s=5400.0), "budget.wall: 1.5 of 1.5 hours"),
    ],
)
def test_what_is_spent_is_gone_and_named_and_not_a_moment_before(budget, spent, named):
    spec = BudgetSpec(trials=4, **budget)
    assert spec.exhausted(spent).startswith(named)
    just_less = Spent(spent.gpu_hours * 0.99, 1.99 if spent.cpu_hours else 0.0, spent.wall_s * 0.99)
    assert spec.exhausted(just_less) == ""


def test_a_budget_of_trials_alone_is_never_gone():
    assert BudgetSpec(trials=4).exhausted(Spent(1e9, 1e9, 1e9)) == ""


def test_gpu_hours_that_no_trial_can_spend_are_refused():
    spec = BudgetSpec(trials=4, gpu_hours=24)
    [fault] = spec.faults([RUN])
    assert "write cpu_hours" in fault
    assert not list(spec.faults([RUN, RUN.model_copy(update={"gpus_per_worker": 0.5})]))
    assert not list(BudgetSpec(trials=4).faults([RUN]))


@pytest.mark.parametrize("nothing", [{"trials": 0}, {"gpu_hours": 0}, {"cpu_hours": -1}, {"disk": "0GB"}])
def test_a_budget_of_nothing_is_refused(nothing):
    with pytest.raises(ValidationError, match=r"greater than 0|is nothing"):
        BudgetSpec.model_validate({"trials": 4} | nothing)


def test_checkpoints_may_take_all_of_the_disk_and_no_more():
    spec = BudgetSpec(trials=4, disk="1kB")
    assert spec.exhausted(Spent(disk_bytes=1000)) == ""
    said = spec.exhausted(Spent(disk_bytes=1001))
    assert said.startswith("budget.disk: checkpoints that are needed take 1e-06 GB of 1kB")


def test_all_workers_of_a_run_are_reserved():
    assert Reserved.by({"workers": 4, "cpus_per_worker": 2.0, "gpus_per_worker": 0.5}) == Reserved(8.0, 2.0)
    assert Reserved.by({"workers": {"min": 2, "max": 4}, "gpus_per_worker": 1.0}) == Reserved(4.0, 4.0)
    assert Reserved.by(RUN.model_dump(mode="json")) == Reserved(1.0, 0.0)
