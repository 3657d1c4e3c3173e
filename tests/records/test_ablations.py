"""Which of a winner's settings matter: what is run for it, what is said of it, and the file that is left."""

import pytest
from corpora import unread_run

from cogito_ray.records.ledger import IDLE, Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.pages import winner_file
from cogito_ray.records.pages.report_page import render
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.ablations import NEEDED, UNTOLD, ablated
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.further_runs import ablation_runs
from cogito_ray.sweeps.follow_ups.derived_runs import other_seeds
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_parser import parse

NATS = "eval/reconstruction_nats"
SWEEP = SweepSpec.model_validate(
    {
        "name": "tiny",
        "run": unread_run(steps=10) | {"objective": {"kind": "tsdae", "rate": 0.6}},
        "space": {
            "objective.rate": {"choice": [0.3, 0.6]},                  # needed
            "training.optimizer.beta2": {"choice": [0.95, 0.98]},      # not needed
            "training.optimizer.weight_decay": {"choice": [0.01, 0.1]},
            "training.optimizer.clip": {"choice": [0.5, 1.0]},         # what the base run has: nothing to take back
        },
        "goals": [{"metric": NATS, "mode": "min"}],
        "simplify": {"seeds": 3},
        "budget": {"trials": 1},
    }
)
SAMPLE = {
    "objective.rate": 0.3,
    "training.optimizer.beta2": 0.95,
    "training.optimizer.weight_decay": 0.1,
    "training.optimizer.clip": 1.0,
}


def nats(run, unsteady=0.0):
    """What a run reaches: the rate matters, the seed moves all alike, and some only where `unsteady`."""
    seed, optimizer = run["seed"] % 7, run["training"]["optimizer"]
    signs = dict(zip(other_seeds(0, 3), (1, -1, 0), strict=True))
    odd = unsteady * signs[run["seed"]] if optimizer["weight_decay"] == 0.01 else 0.0
    return 4.0 + 0.5 * (run["objective"]["rate"] == 0.6) + 0.1 * seed + odd


def ran(config, value, number=0):
    name, run = config["trial"], config["run"]
    how = {key: config[key] for key in ("replicates", "changes") if key in config}
    return [
        TrialStarted(at=0.0, trial=name, number=number, sample=SAMPLE, spec=run, **how),
        Reported(trial=name, step=10, seconds=1.0, metrics={NATS: value}),
        TrialEnded(at=1.0, trial=name, status="completed", step=10),
    ]


def searched():
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    run = SWEEP.trial(SAMPLE)
    opened = SweepOpened(at=0.0, spec=SWEEP.model_dump(mode="json"), sweep="s", provenance=origin)
    return [opened, *ran({"trial": run.digest(), "run": run.model_dump(mode="json")}, 4.0)]


def gone_through(unsteady=0.0):
    """The events of both rounds, and what was due in each."""
    told, due = searched(), []
    for _ in range(2):
        configs = ablation_runs(SWEEP, fold(told))
        due.append(configs)
        told += [event for config in configs for event in ran(config, nats(config["run"], unsteady))]
        told += ablated(SWEEP, fold(told))
    return told, due


def test_every_setting_that_differs_from_the_base_run_is_taken_back_alone_under_the_same_seeds_as_the_winner():
    alone, together = gone_through()[1]
    changed = [config.get("changes", {}) for config in alone]
    assert changed[:3] == [{}, {}, {}]
    assert changed[3::3] == [
        {"objective.rate": 0.6},
        {"training.optimizer.beta2": 0.98},
        {"training.optimizer.weight_decay": 0.01},
    ]
    seeds = [config["run"]["seed"] for config in alone]
    assert seeds == seeds[:3] * 4
    assert SWEEP.trial(SAMPLE).seed not in seeds
    both = {"training.optimizer.beta2": 0.98, "training.optimizer.weight_decay": 0.01}
    assert [config["changes"] for config in together] == [both] * 3


def test_what_a_seed_moves_alike_hides_nothing_and_what_is_not_needed_goes(tmp_path):
    told, _ = gone_through()
    record = fold(told)
    verdicts = {tuple(one.changes): one.verdict for one in record.ablations}
    assert verdicts == {
        ("objective.rate",): NEEDED,
        ("training.optimizer.beta2",): IDLE,
        ("training.optimizer.weight_decay",): IDLE,
        ("training.optimizer.beta2", "training.optimizer.weight_decay"): IDLE,
    }
    assert record.ablations[0].cost == pytest.approx(0.5 / 4.2, rel=0.1)
    assert not list(ablated(SWEEP, record))
    assert not ablation_runs(SWEEP, record)
    assert "What each setting is worth" in render(record, tmp_path)
    winner_file.write(record, tmp_path)
    simplified = parse((tmp_path / winner_file.SIMPLIFIED).read_bytes()).tree
    assert simplified["training"]["optimizer"]["beta2"] == 0.98
    assert simplified["objective"]["rate"] == 0.3


def test_a_setting_of_which_the_seeds_do_not_agree_is_kept():
    told, _ = gone_through(unsteady=0.2)
    verdicts = {tuple(one.changes): one.verdict for one in fold(told).ablations}
    assert verdicts["training.optimizer.weight_decay",] == UNTOLD


def test_without_the_key_nothing_is_taken_back():
    spec = SWEEP.model_copy(update={"simplify": None})
    assert not ablation_runs(spec, fold(searched()))
    assert not list(ablated(spec, fold(searched())))
