import json
import math
import pickle
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from cogito_ray.testing.tiny_runs import run
from cogito_ray.training.guards import (
    MEMORY,
    CollapseSpec,
    DivergenceSpec,
    ExplosionSpec,
    GuardedRun,
    GuardReport,
    Guards,
    GuardsSpec,
    MutedSpec,
    RunDied,
)

HEALTHY = {
    "loss/total": 5.0,
    "loss/reconstruction": 5.0,
    "loss/contrast": 1.0,
    "loss/reconstruction_gradient_share": 0.6,
    "loss/contrast_gradient_share": 0.3,
    "optimizer/gradient_norm": 1.0,
    "optimizer/skipped_share": 0.0,
    "concepts/effective_rank": 14.0,
    "concepts/nuclear_rank": 6.0,
    "eval/reconstruction_nats": 5.0,
    "eval/shuffled_reconstruction_nats": 8.0,
    "eval/unigram_nats": 7.0,
}
DEFAULTS = GuardsSpec()
RUN = GuardedRun(steps=100, tasks=("reconstruction",), bound=0.0, rank=16)


def verdicts(reports, spec=DEFAULTS, watched=RUN):
    """Of each report, given as what differs from a healthy one; the run ends with the last of them."""
    guards = Guards(spec, watched)
    first = watched.steps - len(reports) + 1
    return [guards.judge(step, HEALTHY | changed) for step, changed in enumerate(reports, start=first)]


def causes(*arguments, **settings):
    return [verdict and verdict.cause for verdict in verdicts(*arguments, **settings)]


def loss(nats, norm=1.0):
    return {"loss/total": nats, "loss/reconstruction": nats, "optimizer/gradient_norm": norm}


def share(value, nats=5.0):
    return {"loss/reconstruction_gradient_share": value, "loss/reconstruction": nats}


def rank(value):
    return {"concepts/effective_rank": value}


DEATHS = {
    "skipped": ("non-finite", [{}, {"optimizer/skipped_share": 0.2}]),
    "explosion": ("gradient-explosion", [loss(2.0), loss(0.5), loss(0.009), loss(5.0, norm=947.0), *[loss(5.0)] * 2]),
    "divergence": ("divergence", [*[loss(2.0)] * 4, *[loss(3.5)] * 4]),
    "bound": ("below-bound", [loss(-0.01)] * 3),
    "muted": ("muted-task", [share(0.001)] * 5),
    "collapse": ("rank-collapse", [rank(1.3), rank(1.2), rank(1.3)]),
    "leak": ("leak", [{"eval/shuffled_reconstruction_nats": 0.01}]),
}


@pytest.mark.parametrize("guard", DEATHS)
def test_each_guard_convicts_at_the_last_report_and_no_other_guard_does(guard):
    cause, reports = DEATHS[guard]
    assert causes(reports) == [None] * (len(reports) - 1) + [cause]
    assert causes(reports, GuardsSpec.model_validate({guard: None})) == [None] * len(reports)


def test_every_guard_has_its_death():
    assert set(DEATHS) == set(GuardsSpec.model_fields)


def test_a_conviction_tells_the_numbers_behind_it():
    [*_, explosion] = verdicts(DEATHS["explosion"][1])
    assert explosion.numbers == {
        "optimizer/gradient_norm": 947.0,
        "optimizer/gradient_norm_median": 1.0,
        "loss/reconstruction": 5.0,
        "loss/reconstruction_held": 0.5,
    }
    [*_, muted] = verdicts(DEATHS["muted"][1])
    assert muted.numbers == {"loss/reconstruction_gradient_share": 0.001, "loss/reconstruction": 5.0}


@pytest.mark.parametrize("guard", DEATHS)
def test_only_what_smaller_steps_may_cure_counts_as_divergence(guard):
    [*_, last] = verdicts(DEATHS[guard][1])
    assert last.diverged == (guard in ("skipped", "explosion", "divergence"))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_always_convicts(broken):
    off = GuardsSpec.model_validate(dict.fromkeys(GuardsSpec.model_fields))
    [last] = verdicts([loss(broken)], off)
    assert last.cause == "non-finite"
    assert last.diverged


def test_what_guards_do_not_look_at_may_be_undefined():
    assert causes([{"eval/some_correlation": math.nan}]) == [None]


def test_a_burst_of_the_gradient_alone_is_clipped_and_forgiven():
    assert causes([loss(5.0)] * 5 + [loss(5.0, norm=947.0)] * 5) == [None] * 10


def test_a_burst_is_measured_by_the_run_itself_and_not_by_its_first_reports():
    warm_up = [loss(9.0, norm=0.01), loss(9.6, norm=2.0)]           # 200 times, and up: but there is nothing to go by
    assert causes(warm_up) == [None, None]
    falling = [*warm_up, loss(8.0), loss(7.0), loss(6.0)]
    assert causes([*falling, loss(11.0, norm=29.0), loss(11.0), loss(11.0)]) == [None] * 8
    assert causes([*falling, loss(11.0, norm=31.0), loss(11.0), loss(11.0)])[-1] == "gradient-explosion"


def test_a_burst_whose_loss_heals_is_forgiven():
    assert causes([loss(5.0)] * 5 + [loss(9.0, norm=947.0), loss(9.0), loss(5.0)]) == [None] * 8


def test_a_loss_that_rises_in_the_report_after_the_burst_is_an_explosion_too():
    assert causes([loss(5.0)] * 5 + [loss(5.1, norm=947.0)] + [loss(5.9)] * 3)[-1] == "gradient-explosion"


def test_a_spike_of_the_loss_that_heals_is_forgiven():
    spike = [*[loss(2.0)] * 4, *[loss(4.0)] * (DivergenceSpec().reports - 1), loss(2.5)]
    assert causes(spike * 3) == [None] * 24


def test_a_loss_that_rises_without_a_break_is_a_divergence_however_slowly():
    assert "divergence" in causes([loss(2.0 + 0.05 * report) for report in range(40)])


def test_a_solved_task_is_not_muted():
    assert causes([share(0.001, nats=0.05)] * 10) == [None] * 10
    assert causes([share(0.001, nats=0.05)] * 10, GuardsSpec(muted=MutedSpec(solved=0.0)))[4] == "muted-task"


def test_a_task_that_is_heard_now_and_then_is_not_muted():
    assert causes(([share(0.0)] * 4 + [share(0.02)]) * 3) == [None] * 15


def test_each_task_is_heard_for_itself():
    two = GuardedRun(steps=100, tasks=("reconstruction", "contrast"), bound=0.0, rank=16)
    [*_, last] = verdicts([{"loss/contrast_gradient_share": 0.001}] * 5, watched=two)
    assert last.numbers == {"loss/contrast_gradient_share": 0.001, "loss/contrast": 1.0}


def test_the_bound_is_that_of_the_run():
    negative = GuardedRun(steps=100, tasks=("reconstruction",), bound=-4.0, rank=16)
    assert causes([loss(-3.9)] * 5, watched=negative) == [None] * 5
    assert causes([loss(-4.1)] * 3, watched=negative)[-1] == "below-bound"


def test_what_rounding_does_to_a_total_at_its_bound_is_no_violation():
    assert causes([loss(-0.0005)] * 5) == [None] * 5


def test_a_collapse_is_no_death_before_half_of_the_run():
    early = [rank(1.2)] * 80                                        # of 100 steps: from step 21 on
    said = causes(early)
    assert said[: 50 - 21 + 2] == [None] * 31
    assert said[31] == "rank-collapse"                              # the third report from step 50 on


def test_a_rank_that_is_rising_is_left_alone():
    assert causes([rank(1.2)] + [rank(1.6 + 0.05 * report) for report in range(15)]) == [None] * 16


def test_rank_is_judged_by_what_is_possible():
    one = GuardedRun(steps=100, tasks=("reconstruction",), bound=0.0, rank=1)
    assert causes([rank(1.0)] * 10, watched=one) == [None] * 10
    many = GuardedRun(steps=100, tasks=("reconstruction",), bound=0.0, rank=128)
    assert causes([rank(12.0)] * 3, watched=many)[-1] == "rank-collapse"
    nuclear = GuardsSpec(collapse=CollapseSpec(measure="nuclear_rank", share=0.5))
    assert causes([{}] * 3, nuclear)[-1] == "rank-collapse"         # 6 of 16, where the effective rank is 14


def test_a_leak_needs_something_to_be_measured_by():
    without = {name: value for name, value in HEALTHY.items() if name != "eval/unigram_nats"}
    assert Guards(DEFAULTS, RUN).judge(1, without | {"eval/shuffled_reconstruction_nats": 0.0}) is None


def test_rebuilding_held_out_text_from_its_own_concepts_is_no_leak_however_well_it_is_done():
    assert causes([{"eval/reconstruction_nats": 0.0}] * 3) == [None] * 3


FAR = [*[loss(2.0)] * 4, *[loss(20.0)] * 4]
STORY = [loss(2.0), *[loss(3.5)] * 3, loss(2.1), share(0.001), *[share(0.001)] * 3, loss(1.9), *FAR]


@pytest.mark.parametrize("cut", range(len(STORY)))
def test_an_interruption_changes_no_verdict(cut):
    whole, before, after = (Guards(DEFAULTS, RUN) for _ in range(3))
    said = [whole.judge(step, HEALTHY | report) for step, report in enumerate(STORY)]
    resumed = [before.judge(step, HEALTHY | report) for step, report in enumerate(STORY[:cut])]
    after.remember(before.seen)
    resumed += [after.judge(step, HEALTHY | report) for step, report in enumerate(STORY[cut:], start=cut)]
    assert said == resumed
    assert said[-1] is not None


def test_what_is_remembered_does_not_grow():
    guards = Guards(DEFAULTS, RUN)
    for step in range(3 * MEMORY):
        guards.judge(step, HEALTHY)
    assert len(guards.seen) == MEMORY


def test_what_is_remembered_over_an_interruption_does_not_grow_either():
    guards = Guards(DEFAULTS, RUN)
    guards.remember([GuardReport(step, HEALTHY) for step in range(2 * MEMORY)])
    assert len(guards.seen) == MEMORY


def test_only_what_guards_look_at_is_remembered():
    guards = Guards(DEFAULTS, RUN)
    guards.judge(1, HEALTHY | {"eval/some_correlation": math.nan})
    assert guards.seen == (GuardReport(1, HEALTHY),)


def test_divergence_is_suspected_from_its_first_report_on():
    guards, said = Guards(DEFAULTS, RUN), []
    for step, report in enumerate([*[loss(2.0)] * 4, loss(2.3), loss(3.1), loss(2.0), rank(1.0)]):
        guards.judge(step, HEALTHY | report)
        said.append(guards.suspect_divergence())
    assert said == [False] * 5 + [True, False, True]                # the last one's loss is 5 again


def test_who_has_judged_nothing_suspects_nothing():
    assert not Guards(DEFAULTS, RUN).suspect_divergence()           # every worker but the first


def test_what_smaller_steps_do_not_cure_is_no_beginning_of_a_divergence():
    guards = Guards(DEFAULTS, RUN)
    guards.judge(99, HEALTHY | rank(1.0) | {"loss/total": -1.0} | share(0.0))
    assert not guards.suspect_divergence()


# Recorded on two CPU cores with the quickstart's settings: (step, reconstruction nats, gradient norm, share of
# reconstruction, effective rank, held-out nats). The first has 32 concepts; the second has 16 and a plain start, and
# leaves the plateau of collapse half-way.
ANCHORED = [
    (25, 6.10, 1.49, 0.983, 26.2, 6.18), (50, 5.05, 1.23, 0.985, 26.9, 5.94), (75, 4.81, 1.29, 0.984, 27.0, 5.85),
    (100, 4.62, 1.17, 0.986, 26.8, 5.75), (150, 4.31, 1.15, 0.989, 26.7, 5.67), (200, 4.10, 1.17, 0.988, 26.7, 5.52),
    (250, 3.89, 1.18, 0.990, 26.7, 5.36), (300, 3.57, 1.13, 0.994, 26.7, 5.23),
]  # fmt: skip
PLAIN = [
    (25, 6.80, 0.70, 0.978, 2.06, 6.84), (50, 6.70, 0.63, 0.976, 1.81, 6.79), (75, 6.70, 0.66, 0.980, 1.88, 6.73),
    (100, 6.67, 0.55, 0.980, 1.77, 6.70), (125, 6.61, 0.54, 0.980, 1.75, 6.67), (150, 6.58, 0.50, 0.993, 2.52, 6.63),
    (175, 6.56, 0.51, 0.995, 3.28, 6.59), (200, 6.49, 0.52, 0.996, 3.44, 6.58), (225, 6.43, 0.52, 0.997, 3.74, 6.57),
]  # fmt: skip


@pytest.mark.parametrize(("recorded", "rank"), [(ANCHORED, 32), (PLAIN, 16)], ids=["anchored", "plain"])
def test_recorded_healthy_runs_are_left_alone(recorded, rank):
    guards = Guards(DEFAULTS, GuardedRun(steps=300, tasks=("reconstruction",), bound=0.0, rank=rank))
    for step, nats, norm, share_, effective, held_out in recorded:
        measured = loss(nats, norm) | share(share_, nats) | {"concepts/effective_rank": effective}
        assert guards.judge(step, HEALTHY | measured | {"eval/reconstruction_nats": held_out}) is None


NOISY = json.loads((Path(__file__).parents[1] / "golden" / "noisy_curves.json").read_text())
"""Of healthy runs of contrast alone on a made language, a report a step: [loss, gradient norm] of 80 reports each."""


@pytest.mark.parametrize("curve", NOISY)
def test_recorded_runs_whose_few_rows_make_their_loss_noisy_are_left_alone(curve):
    alone = GuardedRun(steps=80, tasks=("contrast",), bound=0.0, rank=16)
    reports = [loss(nats, norm) | {"loss/contrast": nats} for nats, norm in NOISY[curve]]
    assert causes(reports, GuardsSpec(muted=None), alone) == [None] * 80


def noisy(level, deviation):
    draw = random.Random(0)
    return [loss(nats + deviation * draw.gauss(0, 1)) for nats in level]


FALLING = [4 + 6 * 0.8**report for report in range(30)]


@pytest.mark.parametrize("deviation", [0.0, 0.05, 0.3, 0.6])
def test_noise_around_a_loss_that_falls_and_then_stays_is_no_divergence(deviation):
    assert causes(noisy(FALLING + [4.0] * 300, deviation)) == [None] * 330


@pytest.mark.parametrize(
    ("level", "reports"),
    [
        ([*FALLING, *[7.0] * 8], 4),
        ([*FALLING, *[5.6] * 8], 4),
        ([*FALLING, *[4 * 1.3**report for report in range(1, 9)]], 4),
        ([5.0] * 4 + [7.0] * 8, 3 + 4),
        ([4 + 0.1 * report for report in range(30)], 20),
        ([7 * 1.15**report for report in range(20)], 12),
    ],
    ids=["far jump", "near jump", "exponential", "early jump", "slow rise", "from the start"],
)
@pytest.mark.parametrize("deviation", [0.0, 0.05])
def test_a_loss_that_rises_and_stays_dies_within_few_reports(level, reports, deviation):
    dead = causes(noisy(level, deviation)).index("divergence")
    lowest = level.index(min(level[: len(FALLING)]))
    assert dead - lowest <= reports


IDLE = [
    ({"guards": {"muted": {"share": 0.2}}}, {}, "guards.muted has no effect: a single loss term"),
    ({"guards": {"leak": {"share": 0.2}}}, {"decoder": None}, "guards.leak has no effect: without model.decoder"),
    (
        {"steps": 1000, "report_every": 500, "guards": {"collapse": {"share": 0.5}}},
        {},
        r"guards.collapse has no effect: it needs 3 reports from step 500 on, but the run has 2: lower training\.",
    ),
    ({"guards": {"collapse": {"after": 1.0}}}, {}, "it needs 3 reports from step 1000 on, but the run has 1"),
    ({"guards": {"collapse": {"share": 0.5}}}, {"concepts": 1}, "guards.collapse has no effect: a single direction"),
    ({"guards": {"divergence": {"reports": 30}}}, {}, "guards.divergence has no effect: it needs 34 reports"),
    ({"guards": {"explosion": {"after": 18}}}, {}, "guards.explosion has no effect: it needs 21 reports, but .* 20"),
    ({"steps": 150, "guards": {"bound": {"reports": 4}}}, {}, "guards.bound has no effect: it needs 4 reports, but"),
]


@pytest.mark.parametrize(("training", "model", "message"), IDLE, ids=lambda part: part if isinstance(part, str) else "")
def test_a_guard_without_effect_is_refused(training, model, message):
    with pytest.raises(ValidationError, match=message):
        run(training=training, model=model, loss={"contrast": {"kind": "dropout"}} if "decoder" in model else {})


def test_guards_at_their_defaults_stand_in_every_run_however_it_is_written():
    spec = run()
    assert type(spec).model_validate(spec.model_dump(mode="json")) == spec


CONTRAST = {"contrast": {"kind": "dropout"}}


@pytest.mark.parametrize(("loss", "model"), [({}, {}), (CONTRAST, {"decoder": None})], ids=["plain", "contrast"])
def test_null_switches_a_guard_off_also_where_it_would_have_no_effect(loss, model):
    off = {"skipped": None, "muted": None, "leak": None, "bound": None}
    guards = run(training={"guards": off}, loss=loss, model=model).training.guards
    assert [type(guard) for guard in guards.active()] == [ExplosionSpec, DivergenceSpec, CollapseSpec]


def test_a_guard_may_be_set_wherever_it_can_have_an_effect():
    guards = {"muted": {"share": 0.2}, "leak": {"share": 0.2}, "bound": {"reports": 9}}
    assert run(training={"guards": guards}, loss=CONTRAST).training.guards == GuardsSpec.model_validate(guards)


def test_a_dead_run_crosses_process_borders_whole():
    died = pickle.loads(pickle.dumps(RunDied("divergence", 40, {"loss/total": 9.5})))
    assert str(died) == "divergence at step 40: loss/total=9.5"
    assert (died.cause, died.step, died.numbers) == ("divergence", 40, {"loss/total": 9.5})


def test_an_explosion_needs_reports_to_compare_with():
    first = [loss(5.0, norm=1e-6), loss(9.0, norm=1e6), *[loss(9.0)] * 2]
    assert causes(first, GuardsSpec(explosion=ExplosionSpec(after=2))) == [None] * 4
    assert causes(first, GuardsSpec(explosion=ExplosionSpec(after=1))) == [None] * 3 + ["gradient-explosion"]
