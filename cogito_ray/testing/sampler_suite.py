"""What every sampler promises. The argument `sampler` is its Spec.

Sweeps of tiny runs are searched as they are on a cluster, but nothing is trained: what trials measure is made up.
"""

import math
from typing import Any, TypeAlias

import pytest

from cogito_ray.records.ledger import Event, GridPointExhausted, SampleRejected, Status, TrialEnded, TrialProposed
from cogito_ray.runtime.trial_recorder import death, progress
from cogito_ray.sweeps.samplers import SamplerSpec
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.optuna_distributions import contains
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven
from cogito_ray.testing.tiny_runs import run

Tree: TypeAlias = dict[str, Any]
NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE = [{"metric": NATS, "mode": "min"}]
RATE, LEARNING, WIDTH, LATENTS = "objective.rate", "training.optimizer.learning_rate", "model.width", "model.latents"
SPACE: Tree = {RATE: {"uniform": [0.3, 0.9]}, LEARNING: {"loguniform": [1e-4, 1e-2]}}
CONDITIONAL: Tree = SPACE | {
    LATENTS: {"preset": {"plain": {"kind": "plain"}, "anchored": {"kind": "anchored"}}},
    "training.batch": {"randint": [4, 64]},
    RATE: {"uniform": [0.3, 0.9], "when": {LATENTS: "anchored"}},
}
UNEVEN: Tree = {RATE: {"uniform": [0.3, 0.9]}, WIDTH: {"randint": [64, 128], "step": 4}}
"""Most widths are no multiple of eight heads."""
STEPS, HALF = 100, 50
DRAWN = (TrialProposed, SampleRejected, GridPointExhausted)


def measured(sample: Sample, step: int) -> dict[str, float]:
    """Curves that cross, as a high rate falls faster; the second goal fights the first."""
    rate, learning = (float(sample.get(path) or usual) for path, usual in ((RATE, 0.5), (LEARNING, 1e-3)))
    return {NATS: 5 + rate * (1 - step / HALF) + abs(math.log10(learning) + 3) / 9, RANK: 10 * rate}


def searched(spec: SweepSpec, at_once: int = 3) -> list[Event]:
    """The ledger of a search with so many trials under way, of which another one than the oldest ends first."""
    search, running = Driven(spec), list[str]()
    for turn in range(3 * spec.budget.trials):
        if isinstance(search.suggest(f"t{turn}"), dict):
            running.append(f"t{turn}")
        elif not running:
            return search.log
        if len(running) == at_once or f"t{turn}" not in running:
            finish(search, running.pop(turn * 7 % len(running)))
    raise AssertionError(f"the search did not end within {3 * spec.budget.trials} turns")


def finish(search: Driven, name: str) -> None:
    """Let a trial come to its end. Of eight, two are stopped half-way and one dies."""
    config = search.configs[name]
    last = HALF if config["number"] % 4 == 1 else STEPS
    result = progress(HALF, measured(config["sample"], HALF))
    for step in range(HALF, last + 1, HALF):
        result = progress(step, measured(config["sample"], step))
        search.report(name, step, measured(config["sample"], step))
    search.end(name, death(last, "gradient norm 947") if config["number"] % 8 == 2 else result)


def samples(log: list[Event]) -> list[Sample]:
    """Of all trials, in order."""
    return [event.sample for event in log if isinstance(event, TrialProposed)]


def assert_resumable(spec: SweepSpec, log: list[Event]) -> None:
    """Killed before any draw, a search draws what it would have drawn."""
    for index, event in enumerate(log):
        if isinstance(event, DRAWN):
            again = Driven(spec, log[:index])
            while len(again.log) == index + 1 and isinstance(again.search.suggest(), dict):
                """Those under way come first."""
            assert again.log[index + 1].model_copy(update={"at": event.at}) == event


class SamplerSuite:
    """What every sampler promises: inherit it, and parametrize the class over `sampler`."""

    trials = 10
    """Of a sweep, so many that a sampler learns from some before it draws others."""

    def sweep(self, sampler: SamplerSpec, *, seed: int = 0, **changed: Any) -> SweepSpec:
        """One that it searches."""
        model = {"width": 64, "heads": 8, "concepts": 4}
        tiny = run(model=model, objective={"kind": "tsdae"}, training={"steps": STEPS, "report_every": HALF})
        tree = {"name": "tiny", "run": tiny.model_dump(mode="json"), "space": SPACE, "goals": ONE}
        search = {"sampler": sampler.model_dump(), "seed": seed}
        return SweepSpec.model_validate(tree | {"search": search, "budget": {"trials": self.trials}} | changed)

    def test_it_draws_every_axis_within_its_domain_where_it_varies_and_nowhere_else(self, sampler: SamplerSpec) -> None:
        spec = self.sweep(sampler, space=CONDITIONAL)
        domains, drawn = spec.search_space.distributions(), samples(searched(spec))
        assert {sample[LATENTS] for sample in drawn} == {"plain", "anchored"}
        for sample in drawn:
            assert sample.keys() == set(spec.search_space.varying(sample))
            assert all(contains(domains[path], value) for path, value in sample.items())

    def test_another_seed_draws_other_samples(self, sampler: SamplerSpec) -> None:
        first, other = (Driven(self.sweep(sampler, seed=seed)).suggest("t") for seed in (0, 1))
        assert first != other

    @pytest.mark.parametrize("space", [SPACE, CONDITIONAL], ids=["plain", "conditional"])
    def test_killed_before_any_draw_it_draws_what_it_would_have(self, sampler: SamplerSpec, space: Tree) -> None:
        spec = self.sweep(sampler, space=space)
        assert_resumable(spec, searched(spec))

    def test_trials_that_fail_are_stopped_or_are_no_runs_do_not_end_it(self, sampler: SamplerSpec) -> None:
        spec = self.sweep(sampler, space=UNEVEN)
        log = searched(spec)
        ended = {event.status for event in log if isinstance(event, TrialEnded)}
        assert ended == {Status.COMPLETED, Status.STOPPED, Status.FAILED}
        assert any(isinstance(event, SampleRejected) for event in log)
        assert len({event.trial for event in log if isinstance(event, TrialProposed)}) == self.trials
        assert_resumable(spec, log)

    @pytest.mark.parametrize(
        ("asked", "changed"),
        [
            ("many_goals", {"goals": [*ONE, {"metric": RANK, "mode": "max"}]}),
            ("constraints", {"constraints": {RANK: ">= 6"}}),
        ],
        ids=["several goals", "constraints"],
    )
    def test_it_searches_sweeps_that_it_says_it_is_for_and_others_are_refused(
        self, sampler: SamplerSpec, asked: str, changed: Tree
    ) -> None:
        if getattr(sampler.abilities, asked):
            spec = self.sweep(sampler, **changed)
            assert_resumable(spec, searched(spec))
        else:
            with pytest.raises(ValueError, match=rf"search\.sampler: {sampler.kind} "):
                self.sweep(sampler, **changed)

    def test_started_anew_for_every_trial_it_throws_no_draw_away(self, sampler: SamplerSpec) -> None:
        spec, log = self.sweep(sampler), list[Event]()
        for number in range(self.trials):
            search = Driven(spec, log)
            assert isinstance(search.suggest(f"t{number}"), dict)
            finish(search, f"t{number}")
            log = search.log
        assert search.exhausted
        assert not any(isinstance(event, SampleRejected) for event in log)
