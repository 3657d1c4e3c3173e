"""No sample ends a sweep: what is no run, or one that there is, is noted, and the search goes on. No cluster."""

import pytest
from corpora import unread_run

from cogito_ray.records.ledger import GridPointExhausted, SampleRejected
from cogito_ray.runtime.search.searcher import FINISHED
from cogito_ray.runtime.trial_recorder import progress
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven

NATS = "eval/reconstruction_nats"
STEPS = 100


def sweep(run=None, **changed):
    tree = {"name": "tiny", "run": run or unread_run(steps=STEPS, batch=8), "goals": [{"metric": NATS, "mode": "min"}]}
    return SweepSpec.model_validate(tree | changed)


def walk(spec, log=()):
    """Every trial of what is left of a sweep, one at a time; (samples, search)."""
    search, samples = Driven(spec, log), []
    for number in range(100):
        if (config := search.suggest(f"t{number}")) == FINISHED:
            return samples, search
        search.report(f"t{number}", STEPS, {NATS: 5.0 + number})
        search.end(f"t{number}", progress(STEPS, {NATS: 5.0 + number}))
        samples.append(config["sample"])
    raise AssertionError("100 trials did not end it")


def of_kind(search, kind):
    return [event for event in search.log if isinstance(event, kind)]


def wide(**changed):
    """Eight heads, and a range of more widths than are tried beforehand: most are no multiple of the heads."""
    run = unread_run(steps=STEPS, batch=8)
    run["model"] |= {"width": 64, "heads": 8, "concepts": 4}
    space = {"model.width": {"randint": [64, 128], "step": 4}, "objective.rate": {"uniform": [0.3, 0.9]}}
    return sweep(run, **{"space": space, "budget": {"trials": 12}} | changed)


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "random"])
def test_a_point_that_is_no_run_is_noted_with_its_cause_told_as_failed_and_drawn_again(kind):
    samples, search = walk(wide(search={"sampler": kind}))
    assert len(samples) == 12
    assert {sample["model.width"] % 8 for sample in samples} == {0}
    rejected = of_kind(search, SampleRejected)
    causes = [event.cause for event in rejected if not event.cause.startswith("the same run as trial ")]
    assert causes
    assert all("is not divisible by 8 heads" in cause for cause in causes)
    failed = [trial for trial in search.trials if trial.state.name == "FAIL"]
    assert [trial.user_attrs["cause"] for trial in failed] == [event.cause for event in rejected]
    assert search.exhausted
    assert search.search.shortfall == ""


def test_points_to_start_with_that_are_no_runs_are_passed_over_and_those_after_them_are_not():
    start = [{"model.width": width} for width in (68, 76, 84, 92, 100, 108)]  # more than a sampler is asked in a row
    start.append({"model.width": 72, "objective.rate": 0.5})
    samples, _ = walk(wide(search={"start_with": start}))
    assert samples[0].items() >= start[-1].items()


def test_a_space_with_too_few_runs_ends_with_what_was_wrong_and_goes_no_further_when_given_again():
    run = unread_run(steps=STEPS, batch=8)
    run["model"] |= {"width": 6400, "heads": 6400}
    space = {"model.width": {"randint": [6400, 12800]}, "objective.rate": {"uniform": [0.3, 0.9]}}   # two in 6,401
    spec = sweep(run, space=space, budget={"trials": 12})
    samples, search = walk(spec)
    assert samples == []
    assert search.exhausted
    assert "only 0 of 12 trials could be drawn: 200 points are no runs, such as: " in search.search.shortfall
    assert "heads" in search.search.shortfall
    _, again = walk(spec, search.log)
    assert again.search.shortfall == search.search.shortfall
    assert len(of_kind(again, SampleRejected)) == len(of_kind(search, SampleRejected))


EQUAL = {
    "numbers": {"model.concepts": {"choice": [8, 8.0, 16]}},
    "presets": {
        "objective": {"preset": {"default": {"kind": "tsdae"}, "sixty": {"kind": "tsdae", "rate": 0.6}, "few": {
            "kind": "tsdae", "rate": 0.3
        }}},
    },
    "ratios": {"model.token_width": {"ratio": {"of": "model.width", "choice": [0.5, 0.501, 1.0]}}},
}


@pytest.mark.parametrize("domain", EQUAL)
def test_points_of_a_grid_that_are_one_run_count_once_and_the_others_run(domain):
    samples, search = walk(sweep(space=EQUAL[domain], search={"sampler": "grid"}, budget={"trials": 3}))
    assert len(samples) == 2
    [same] = of_kind(search, GridPointExhausted)
    assert same.cause.startswith("the same run as trial ")
    assert search.exhausted
    assert search.search.shortfall == ""


def test_one_exhausted_cell_does_not_end_the_sweep():
    space = {"model.concepts": {"grid": [4, 8]}, "objective.rate": {"choice": [0.3, 0.6, 0.9]}}
    holes = [{"model.concepts": 4, "objective.rate": rate} for rate in (0.3, 0.6)]
    samples, search = walk(sweep(space=space, exclude=holes, budget={"trials": 4}))
    assert sorted((sample["model.concepts"], sample["objective.rate"]) for sample in samples) == [
        (4, 0.9), (8, 0.3), (8, 0.6), (8, 0.9)
    ]
    assert [event.point for event in of_kind(search, GridPointExhausted)] == [{"model.concepts": 4}]


def test_a_space_that_can_be_listed_is_walked_to_its_very_last_point():
    values = [round(0.3 + 0.005 * n, 3) for n in range(90)]
    spec = sweep(space={"objective.rate": {"choice": values}}, search={"sampler": "random"}, budget={"trials": 99})
    samples, search = walk(spec)
    assert sorted(sample["objective.rate"] for sample in samples) == values
    assert of_kind(search, GridPointExhausted)[0].cause == "90 points are trials already"


def test_an_exhausted_cell_stays_exhausted_for_the_next_driver():
    space = {"model.concepts": {"grid": [4, 8]}, "objective.rate": {"choice": [0.3, 0.6]}}
    spec = sweep(space=space, budget={"trials": 10})
    samples, search = walk(spec)
    assert len(samples) == 4
    more, again = walk(spec, search.log)
    assert more == []
    assert of_kind(again, GridPointExhausted) == of_kind(search, GridPointExhausted)
