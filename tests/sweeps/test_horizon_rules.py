"""What full runs derive from their trials by rules with names: what each rule keeps, and what a person set."""

import math

import pytest
from corpora import unread_run
from pydantic import ValidationError

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.follow_ups.horizon_rules import RULES
from cogito_ray.sweeps.space.validation_messages import explain
from cogito_ray.sweeps.sweep_spec import SweepSpec

POINT = {"objective.rate": 0.5, "training.optimizer.learning_rate": 0.004}
TRAINING = {"steps": 100, "batch": 8, "report_every": 10, "schedule": {"kind": "wsd", "warmup_steps": 20}}
OPTIMIZER = {"weight_decay": 0.1, "groups": {"embeddings": {"weight_decay": 0.02}, "head": {"weight_decay": 0.0}}}


def sweep(promote, **changed):
    tree = {
        "name": "tiny",
        "run": unread_run(**TRAINING, optimizer=OPTIMIZER),
        "space": {
            "objective.rate": {"choice": [0.3, 0.5]},
            "training.optimizer.learning_rate": {"loguniform": [1e-3, 1e-2]},
        },
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
        "promote": promote,
    }
    return SweepSpec.model_validate(tree | changed)


def full(promote):
    """Training of the first full run of the point, and the rules by which settings of it follow."""
    spec = sweep(promote)
    run = RunSpec.model_validate(spec.promote.trees(spec.search_space, POINT)[0])
    return run.training, spec.promote.reasons(spec.search_space, POINT)


def time_scale(training, decay):
    """Share of the steps over which AdamW's weights are an average."""
    return 1 / (training.optimizer.learning_rate * decay * training.steps)


def test_without_rules_nothing_follows():
    training, reasons = full({"with": {"training.steps": 5000, "training.batch": 64}})
    assert training.optimizer == sweep(None).trial(POINT).training.optimizer
    assert reasons == {}


@pytest.mark.parametrize("rules", [["decay_by_time_scale"], list(RULES)], ids=["alone", "with all"])
@pytest.mark.parametrize("longer", [{"training.steps": 5000}, {"training.steps": 700, "training.batch": 64}])
def test_the_time_scale_is_kept_for_all_roles(rules, longer):
    trial = sweep(None).trial(POINT).training
    rules = [rule for rule in rules if "training.batch" in longer or rule != "rate_by_batch"]
    training, _ = full({"with": longer, "rules": rules})
    assert time_scale(training, training.optimizer.weight_decay) == pytest.approx(time_scale(trial, 0.1), rel=1e-3)
    embeddings = training.optimizer.groups.embeddings.weight_decay
    assert time_scale(training, embeddings) == pytest.approx(time_scale(trial, 0.02), rel=1e-3)
    assert training.optimizer.groups.head.weight_decay == 0.0
    assert training.optimizer.groups.latents.weight_decay is None


def test_the_rate_goes_with_the_root_of_the_batch_and_with_a_power_of_the_tokens():
    longer = {"training.steps": 500, "training.batch": 32}
    assert full({"with": longer, "rules": ["rate_by_batch"]})[0].optimizer.learning_rate == pytest.approx(0.008)
    by_tokens = full({"with": longer, "rules": ["rate_by_tokens"]})[0].optimizer.learning_rate
    assert by_tokens == pytest.approx(0.004 * 20**-0.32, rel=1e-3)
    training, reasons = full({"with": longer, "rules": ["rate_by_tokens", "rate_by_batch"]})
    assert training.optimizer.learning_rate == pytest.approx(0.004 * math.sqrt(4) * 20**-0.32, rel=1e-3)
    assert reasons["training.optimizer.learning_rate"] == ["rate_by_batch", "rate_by_tokens"]


def test_a_warm_up_keeps_its_share_of_the_steps():
    training, reasons = full({"with": {"training.steps": 5000}, "rules": ["warmup_by_steps"]})
    assert training.schedule.warmup_steps == 1000
    assert list(reasons) == ["training.schedule.warmup_steps"]


def test_what_a_person_set_stays_and_others_follow_from_it():
    overrides = {"training.steps": 5000, "training.optimizer.learning_rate": 1e-3}
    space, point = {"objective.rate": {"choice": [0.3, 0.5]}}, {"objective.rate": 0.5}
    spec = sweep({"with": overrides, "rules": ["decay_by_time_scale"]}, space=space)
    trial, [tree] = spec.trial(point).training, spec.promote.trees(spec.search_space, point)
    training = RunSpec.model_validate(tree).training
    assert training.optimizer.learning_rate == 1e-3
    assert time_scale(training, training.optimizer.weight_decay) == pytest.approx(time_scale(trial, 0.1), rel=1e-3)
    scaled, reasons = full(
        {"scale": {"training.steps": 50, "training.optimizer.learning_rate": 0.5}, "rules": ["warmup_by_steps"]}
    )
    assert scaled.optimizer.learning_rate == 0.002
    assert list(reasons) == ["training.schedule.warmup_steps"]


def test_rungs_follow_the_rules_of_the_full_run():
    sizes = {"training.steps": [100, 200, 400]}
    spec = sweep({"with": {"training.steps": 5000}, "rules": ["decay_by_time_scale"]}, scale={"sizes": sizes})
    trees = spec.scale.trees(spec.search_space, POINT, spec.promote.rules)
    runs = [RunSpec.model_validate(tree).training for _, tree in trees]
    assert [run.optimizer.weight_decay for run in runs] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize(
    ("promote", "said"),
    [
        ({"with": {"training.steps": 500}, "rules": ["rate_by_batch"]}, "promote.rules: rate_by_batch changes no full"),
        ({"with": {"training.precision": "bfloat16"}, "rules": ["warmup_by_steps"]}, "warmup_by_steps changes no full"),
        ({"with": {"training.steps": 500}, "rules": ["rate_by_steps"]}, "promote.rules.0"),
        ({"with": {"training.batch": 7, "workers": 2}, "rules": ["rate_by_batch"]}, "batch 7 cannot be shared"),
    ],
)
def test_rules_without_effect_and_runs_that_are_none_are_refused_when_the_file_is_read(promote, said):
    with pytest.raises(ValidationError) as fault:
        sweep(promote)
    assert said in "\n".join(explain(fault.value))
