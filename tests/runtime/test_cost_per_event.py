"""What a driver does for a start, a report and an end does not grow with what came before: calls are counted."""

import math

import pytest
from call_counts import Calls
from corpora import unread_run

from cogito_ray.records.ledger import NAME, Ledger
from cogito_ray.records.sweep_record import SharedRecord
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
GOALS = [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]
RATE, LEARNING = "objective.rate", "training.optimizer.learning_rate"
EARLY, LATE, COUNTED = 20, 110, 10


def sweep(early_stopping, goals):
    return SweepSpec.model_validate({
        "name": "many",
        "run": unread_run(steps=40, report_every=10),
        "space": {RATE: {"uniform": [0.3, 0.9]}, LEARNING: {"loguniform": [1e-4, 1e-2]}},
        "goals": GOALS[:goals],
        "early_stopping": early_stopping,
        "budget": {"trials": LATE + COUNTED},
        "search": {"sampler": "random"},
    })


def calls_of_each_event(spec):
    """Calls for COUNTED trials after EARLY and after LATE ones."""
    search, calls, started = Driven(spec), {EARLY: Calls(), LATE: Calls()}, 0
    steps = {}
    while started < LATE + COUNTED:
        counting = next((calls[first] for first in calls if first <= started < first + COUNTED), None)
        done = counting.during if counting else lambda kind, work, *given: work(*given)
        config = done("start", search.suggest, "now")
        name, sample = config["trial"], config["sample"]
        started += name not in steps
        while True:
            steps[name] = steps.get(name, 0) + 10
            off = abs(math.log10(sample[LEARNING]) + 3)
            metrics = {NATS: 7 - sample[RATE] + off + 10 / steps[name], RANK: 9 * sample[RATE] + off}
            verdict = done("report", search.report, "now", steps[name], metrics)
            if not verdict.keep or steps[name] == 40:
                over = {"step": steps[name], "metrics": (), **({"paused": True} if verdict.waits else {})}
                done("end", search.end, "now", over)
                break
    return calls[EARLY].made, calls[LATE].made


@pytest.mark.parametrize("goals", [1, 2])
@pytest.mark.parametrize("mode", ["stop", "pause"])
def test_a_search_does_as_much_for_a_late_trial_as_for_an_early_one(mode, goals):
    kind = {1: "asha", 2: "pareto_asha"}[goals]
    early, late = calls_of_each_event(sweep({"kind": kind, "first_rung": 10, "eta": 3, "mode": mode}, goals))
    assert late.total() < 1.5 * early.total(), (early, late)


def test_a_median_rule_does_as_much_for_a_late_trial_as_for_an_early_one():
    early, late = calls_of_each_event(sweep({"kind": "median", "first_step": 10}, 1))
    assert late.total() < 1.5 * early.total(), (early, late)


def test_checkpoints_of_trials_that_did_not_run_are_not_listed_again(tmp_path):
    def write(name):
        folder = tmp_path / "trials" / name / "checkpoints" / "step-00000010"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 100)

    with Ledger(tmp_path / NAME) as ledger:
        pruner = CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", quota=1e9)
        made = []
        for first, last in ((0, 10), (10, 200)):
            for number in range(first, last):
                write(f"t{number}")
            pruner.look([f"t{number}" for number in range(first, last)])
            calls = Calls()
            calls.during("look", pruner.look, [f"t{last - 1}"])
            made.append(calls.made["look"])
        assert pruner.bytes == 20_000
        assert made[0] == made[1]
