"""How little of a grid a search needs: hypervolume found against steps spent, on made-up learning curves.

    python jobs/bench_search.py --seeds 20            searches against each other and the grid
    python jobs/bench_search.py --seeds 20 --modes    successive halving that stops against one that pauses

Every search runs with the project's own searcher and policies; only training is replaced by curves. Each seed draws
another landscape over the same 144-point grid: nats to minimise, rank to maximise, and they fight, for the pressure
that buys rank costs nats. Hypervolume counts completed trials alone, up to the worst corner of the grid's own front
plus a tenth (not of the whole grid, by which anything looks good), and is given as a share of what the whole grid
reaches; steps as a share of what the whole grid takes. It is told twice: of what was measured, where the grid has the
luckiest of 144 draws of noise on its side, and of what the same trials are truly worth.

Ray's ASHA is ray.tune.schedulers.AsyncHyperBandScheduler itself, fed with the same reports.

`--modes` gives both modes the same rungs, and tells the regret in the first goal, in nats without noise: how far the
completed trial that measured best lies above the grid's best point. With two goals it is the share of the grid's
hypervolume that is missing. Pausing is told twice: with as many trials, and with as many more of them as take about the
steps that stopping took.
"""

import argparse
import itertools
import math
import multiprocessing
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from sweep_simulator import Ended, simulate

from cogito_ray.sweeps.early_stopping.policy import Policy, Verdict
from cogito_ray.sweeps.goals.pareto_fronts import hypervolume
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.sweep_spec import SweepSpec

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
GOALS = [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]
STEPS, EVERY = 810, 30
SPACE = {
    "loss.weighting.weights.variance": {"choice": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]},
    "objective.rate": {"uniform": [0.3, 0.8], "step": 0.1},
    "model.concepts": {"randint": [8, 32], "step": 8},
}
AXES: dict[str, tuple[float, ...]] = {
    "loss.weighting.weights.variance": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "objective.rate": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "model.concepts": (8, 16, 24, 32),
}
SHAPE = (6, 6, 4)
POINTS = math.prod(SHAPE)
FIRST_SEED = 100
"""Lower ones were used to try the benchmark out."""
UNIGRAM = 7.3
WORKERS = 4
LIMIT = 0.25
"""Share of the grid's steps after which a search is cut off."""
GOAL = 0.95
"""Share of the grid's hypervolume that is good enough."""


@dataclass(frozen=True)
class Family:
    """A kind of landscape."""

    noise: float = 0.03
    """Standard deviation of a report's nats, and of rank in units of ten."""
    crossing: float = 0.0
    """How much slower a setting learns that ends well: early order says less."""
    plateau: float = 0.0
    """Share of settings that learn nothing until a random step in the first third."""


FAMILIES = {
    "parallel": Family(),
    "noisy": Family(noise=0.15),
    "crossing": Family(crossing=1.0),
    "plateau": Family(plateau=0.3),
}
FIRST_RUNG, ETA = STEPS // 27, 3


class RaysAsha(Policy):
    """Ray's scheduler as one of our policies. It ranks by one metric."""

    def __init__(self) -> None:
        self.scheduler: Any = AsyncHyperBandScheduler(  # which is given stand-ins for Ray's own trials
            time_attr="step", metric=NATS, mode="min", max_t=STEPS, grace_period=FIRST_RUNG, reduction_factor=ETA
        )
        self.trials: dict[str, SimpleNamespace] = {}

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        if trial not in self.trials:
            self.trials[trial] = SimpleNamespace(trial_id=trial)
            self.scheduler.on_trial_add(None, self.trials[trial])
        decision = self.scheduler.on_trial_result(None, self.trials[trial], {"step": step, **metrics})
        return Verdict(keep=decision == TrialScheduler.CONTINUE)


HALVING = {"kind": "pareto_asha", "first_rung": FIRST_RUNG, "eta": ETA}
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"search": {"sampler": "random"}},
    "tpe": {"search": {"sampler": "tpe"}},
    "ray's asha": {"search": {"sampler": "random"}, "goals": GOALS[:1]},
    "ours, stopping": {
        "search": {"sampler": "tpe"},
        "early_stopping": HALVING | {"mode": "stop", "first_rung": 3 * FIRST_RUNG},
    },
    "ours": {"search": {"sampler": "tpe"}, "early_stopping": HALVING},
}
COMPARED = ["random", "tpe", "ray's asha", "ours"]
POLICIES = {"ray's asha": RaysAsha}
"""In the place of the sweep's own."""


@dataclass
class Landscape:
    """Curves of every point of the grid, drawn once per seed."""

    family: Family
    seed: int
    _noise: dict[tuple[int, ...], np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = np.random.default_rng((7, self.seed))
        self.centre = draw.uniform(0.15, 0.85, 3)           # where nats are lowest
        self.curvature = draw.uniform(0.5, 2.5, 3)
        self.cost = draw.uniform(0.4, 1.2)                  # nats that full pressure costs
        self.bend = draw.uniform(0.6, 2.0)
        self.ripple = draw.normal(0, 0.08, SHAPE)       # what no smooth model explains
        self.spread = draw.normal(0, 0.6, SHAPE)
        self.wake = np.where(draw.random(SHAPE) < self.family.plateau, draw.uniform(0, STEPS / 3, SHAPE), 0.0)

    def __call__(self, sample: Sample, step: int) -> dict[str, float]:
        place = tuple(_nearest(values, float(str(sample[path]))) for path, values in AXES.items())
        nats, rank, slowness = self._ends(place)
        done = max(0.0, step - self.wake[place])
        decay = (1 + done / (25 * slowness)) ** -1.0
        wobble = self._wobble(place)[:, step // EVERY - 1] * self.family.noise
        first, last = 0.5 * AXES["model.concepts"][place[2]], rank
        return {
            NATS: UNIGRAM - (UNIGRAM - nats) * (1 - decay) + wobble[0],
            RANK: last + (first - last) * math.exp(-done / (90 * slowness)) + 10 * wobble[1],
        }

    def _ends(self, place: tuple[int, ...]) -> tuple[float, float, float]:
        """Nats and rank after endless training, and how slowly they are reached."""
        at = np.array([index / (len(values) - 1) for index, values in zip(place, AXES.values(), strict=True)])
        bowl = float((self.curvature * (at - self.centre) ** 2).sum())
        pressure = float(at[0])
        nats = 4.0 + bowl + self.cost * pressure**self.bend + self.ripple[place]
        concepts = float(AXES["model.concepts"][place[2]])
        rank = concepts * (0.1 + 0.85 * pressure ** (1 / self.bend) - 0.1 * float(at[1])) + self.spread[place]
        return nats, rank, 1 + self.family.crossing * max(0.0, 2 - bowl)

    def _wobble(self, place: tuple[int, ...]) -> np.ndarray[Any, Any]:
        if place not in self._noise:
            self._noise[place] = np.random.default_rng((self.seed, *place)).normal(size=(2, STEPS // EVERY))
        return self._noise[place]


def _nearest(values: tuple[float, ...], value: float) -> int:
    return min(range(len(values)), key=lambda index: abs(values[index] - value))


def sweep(seed: int, **changed: Any) -> SweepSpec:
    """The real spec that the searcher and the policy are given."""
    search = changed.pop("search", {}) | {"seed": seed}
    run = {
        "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 64},
        "model": {"width": 64, "heads": 4, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "loss": {"regularisers": [{"kind": "variance"}]},
        "training": {"steps": STEPS, "report_every": EVERY, "batch": 32},
    }
    tree = {
        "name": "bench",
        "run": run,
        "space": SPACE,
        "goals": GOALS,
        "budget": {"trials": POINTS},
        "search": search,
    }
    return SweepSpec.model_validate(tree | changed)


def every_point() -> list[Sample]:
    return [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]


def costs(metrics: list[dict[str, float]]) -> np.ndarray[Any, Any]:
    return np.array([[told[NATS], -told[RANK]] for told in metrics]).reshape(-1, 2)


def share_curve(landscape: Landscape, ended: list[Ended]) -> Callable[[float], float]:
    """Share of the grid's steps -> share of the grid's hypervolume that completed trials had reached by then."""
    grid = costs([landscape(point, STEPS) for point in every_point()])
    front = grid[[not ((grid <= row).all(1) & (grid < row).any(1)).any() for row in grid]]
    worst = list(front.max(axis=0) + 0.1 * np.ptp(front, axis=0))
    whole, total = hypervolume(grid, worst), len(grid) * STEPS

    def share(spent: float) -> float:
        found = costs([trial.metrics for trial in ended if trial.completed and trial.spent <= spent * total])
        return hypervolume(found, worst) / whole

    return share


@dataclass(frozen=True)
class Found:
    """What one search found, as shares of the grid's hypervolume, and how soon."""

    tenth: float
    """At 10 % of the grid's steps."""
    quarter: float
    truly: float
    """At 25 %, of what the trials are worth without noise."""
    reached: float
    """Share of the grid's steps at which 95 % were reached."""


def found(family: Family, name: str, seed: int) -> Found:
    landscape, total = Landscape(family, seed), POINTS * STEPS
    policy = POLICIES[name]() if name in POLICIES else None
    spec = sweep(seed, **SEARCHES[name])
    ended = simulate(spec, landscape, workers=WORKERS, limit=int(LIMIT * total), policy=policy)
    share, truth = share_curve(landscape, ended), Landscape(replace(family, noise=0.0), seed)
    truly = share_curve(truth, [replace(trial, metrics=truth(trial.sample, trial.step)) for trial in ended])
    reached = (trial.spent / total for trial in ended if trial.completed and share(trial.spent / total) >= GOAL)
    return Found(share(0.1), share(LIMIT), truly(LIMIT), next(reached, math.inf))


@dataclass(frozen=True)
class Halved:
    """What successive halving in one mode came to."""

    regret: float
    steps: float
    """Taken, in whole trials."""


KINDS = {1: "asha", 2: "pareto_asha"}
"""By the number of goals."""
MODES = ("stop", "pause", "pause, as many steps")


def halved(family: Family, seed: int, goals: int, sampler: str, trials: int) -> list[Halved]:
    """One for each of MODES."""
    stop, pause = (_halved(family, seed, mode, goals, sampler, trials) for mode in MODES[:2])
    return [stop, pause, _halved(family, seed, "pause", goals, sampler, round(trials * stop.steps / pause.steps))]


def _halved(family: Family, seed: int, mode: str, goals: int, sampler: str, trials: int) -> Halved:
    stopping = {"kind": KINDS[goals], "first_rung": FIRST_RUNG, "eta": ETA, "mode": mode}
    spec = sweep(
        seed, goals=GOALS[:goals], early_stopping=stopping, search={"sampler": sampler}, budget={"trials": trials}
    )
    landscape, truth = Landscape(family, seed), Landscape(replace(family, noise=0.0), seed)
    ended = simulate(spec, landscape, workers=WORKERS, limit=POINTS * STEPS)
    regret = regret_in_nats if goals == 1 else missing_hypervolume
    return Halved(regret(truth, ended), sum(trial.step for trial in ended) / STEPS)


def regret_in_nats(truth: Landscape, ended: list[Ended]) -> float:
    chosen = min((trial for trial in ended if trial.completed), key=lambda trial: trial.metrics[NATS])
    return truth(chosen.sample, STEPS)[NATS] - min(truth(point, STEPS)[NATS] for point in every_point())


def missing_hypervolume(truth: Landscape, ended: list[Ended]) -> float:
    told = [replace(trial, metrics=truth(trial.sample, trial.step)) for trial in ended]
    return 1 - share_curve(truth, told)(math.inf)


def compare_modes(seeds: range) -> None:
    print(f"mean of {len(seeds)} seeds (standard error); steps in whole trials")
    print(f"{'curves':9} goals sampler trials {'mode':20} {'regret':>14} {'steps':>6}")
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        cases = itertools.product(FAMILIES, KINDS, ("random", "tpe"), (12, 36))
        jobs = {
            (family, goals, sampler, trials): [
                pool.submit(halved, FAMILIES[family], seed, goals, sampler, trials) for seed in seeds
            ]
            for family, goals, sampler, trials in cases
        }
        for (family, goals, sampler, trials), several in jobs.items():
            for mode, told in zip(MODES, zip(*(job.result() for job in several), strict=True), strict=True):
                regrets = [one.regret for one in told]
                regret = f"{statistics.fmean(regrets):.3f} ({statistics.stdev(regrets) / math.sqrt(len(told)):.3f})"
                steps = statistics.fmean(one.steps for one in told)
                print(f"{family:9} {goals:5} {sampler:7} {trials:6} {mode:20} {regret:>14} {steps:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=COMPARED)
    parser.add_argument("--modes", action="store_true")
    asked = parser.parse_args()
    if asked.modes:
        return compare_modes(range(FIRST_SEED, FIRST_SEED + asked.seeds))
    print(f"median of {asked.seeds} seeds; shares of the grid's hypervolume (lowest seed) and of its steps")
    print(f"{'curves':9} {'search':14}   at 10 %        at 25 %  truly at 25 %  reaches 95 % at  within 25 %  truly")
    seeds = range(FIRST_SEED, FIRST_SEED + asked.seeds)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {
            (family, search): [pool.submit(found, FAMILIES[family], search, seed) for seed in seeds]
            for family, search in itertools.product(asked.families, asked.searches)
        }
        for (family, search), several in jobs.items():
            print(f"{family:9} {search:14} {line([job.result() for job in several])}", flush=True)


def line(told: list[Found]) -> str:
    quarter, truly = [one.quarter for one in told], [one.truly for one in told]
    reached = statistics.median_high(one.reached for one in told)
    return (
        f"{statistics.median(one.tenth for one in told):9.3f} "
        f"{statistics.median(quarter):7.3f} ({min(quarter):.2f}) {statistics.median(truly):7.3f} ({min(truly):.2f}) "
        f"{f'{reached:.2f}' if math.isfinite(reached) else 'not in 0.25':>16} "
        f"{sum(share >= GOAL for share in quarter):9}/{len(told)} {sum(share >= GOAL for share in truly):3}/{len(told)}"
    )


if __name__ == "__main__":
    main()
