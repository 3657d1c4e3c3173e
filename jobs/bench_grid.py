"""Does an early-stopped search find what the whole grid finds, on real curves? 36 tiny runs, all ended once and kept.

    python jobs/bench_grid.py                     replay the recorded curves through searcher and policy, 20 seeds
    python jobs/bench_grid.py --real 100 101      search for real with these seeds, and compare with the record
    python jobs/bench_grid.py --reference         train the whole grid anew and record it (again to resume)

A search succeeds if, with at most 30 % of the grid's steps, one of its completed trials is within 2 % of the grid's
best held-out nats. The space is that of bench_grid.yaml, as is "ours"; replays take no account of what steps cost.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep_simulator import simulate

from cogito_ray.records.sweep_record import Record
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_loader import load

HERE = Path(__file__).parent
FILE = HERE / "bench_grid.yaml"
REFERENCE = HERE.parent / "tests" / "golden" / "grid.json"
NATS = "eval/reconstruction_nats"
SHARE, CLOSE = 0.3, 1.02
"""Of the grid's steps that a search may take; how far above the grid's best it may end."""
WORKERS = 2
FIRST_SEED = 100
"""Lower ones were used to try the benchmark out."""
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"search": {"sampler": "random"}, "early_stopping": {"kind": "none"}},
    "tpe": {"early_stopping": {"kind": "none"}},
    "ours, stopping": {"early_stopping": {"kind": "asha", "first_rung": 15, "eta": 2, "mode": "stop"}},
    "ours": {},
}


@dataclass(frozen=True)
class Grid:
    """The recorded curves of every point."""

    curves: dict[str, dict[int, float]]
    """Point, as `key` names it -> step -> nats."""

    @classmethod
    def read(cls) -> "Grid":
        told = json.loads(REFERENCE.read_text())["curves"]
        return cls({point: {int(step): nats for step, nats in curve.items()} for point, curve in told.items()})

    def __call__(self, sample: Sample, step: int) -> dict[str, float]:
        return {NATS: self.curves[key(sample)][step]}

    @property
    def ends(self) -> list[float]:
        """Final nats, best first."""
        return sorted(curve[max(curve)] for curve in self.curves.values())

    @property
    def steps(self) -> int:
        return sum(max(curve) for curve in self.curves.values())


def key(sample: Sample) -> str:
    return json.dumps(sample, sort_keys=True)


def changed(**parts: Any) -> SweepSpec:
    """The sweep of the file with other parts."""
    return SweepSpec.model_validate(load(FILE).model_dump() | parts)


def reference(storage: Path) -> None:
    grid = changed(
        name="grid", search={"sampler": "grid"}, early_stopping={"kind": "none"}, budget={"trials": 36}
    )
    record = run_sweep(grid, storage)
    if not record.is_complete:
        raise SystemExit("interrupted; the same command goes on from here")
    curves = {
        key(trial.sample): {step: round(nats, 4) for step, nats in trial.curve(NATS)}
        for trial in record.trials.values()
    }
    provenance = record.opened.provenance.model_dump(mode="json", include={"commit", "versions"})
    made = {"by": "python jobs/bench_grid.py --reference", **provenance}
    lines = [f"  {json.dumps(point)}: {json.dumps(curve)}" for point, curve in sorted(curves.items())]
    body = ",\n".join(lines)
    REFERENCE.write_text(f'{{"made": {json.dumps(made)},\n"curves": {{\n{body}\n}}}}\n')


def replay(grid: Grid, seeds: int) -> None:
    """A line per search: how close to the grid's best it came, and how often close enough."""
    print(f"{'search':16} {'found / best':>24} {'completed':>10} {'steps':>16} {'within 2 %':>11}")
    for name, parts in SEARCHES.items():
        gaps, shares, completed = [], [], []
        for seed in range(FIRST_SEED, FIRST_SEED + seeds):
            search = load(FILE).search.model_dump() | parts.get("search", {}) | {"seed": seed}
            ended = simulate(
                changed(**parts | {"search": search}), grid, workers=WORKERS, limit=int(SHARE * grid.steps)
            )
            inside = [trial for trial in ended if trial.completed and trial.spent <= SHARE * grid.steps]
            gaps.append(min((trial.metrics[NATS] for trial in inside), default=float("inf")) / grid.ends[0])
            shares.append(ended[-1].spent / grid.steps)
            completed.append(len(inside))
        print(
            f"{name:16} {statistics.median(gaps):.3f} [{min(gaps):.3f}, {max(gaps):.3f}] "
            f"{statistics.median(completed):10g} {statistics.median(shares):6.2f} [.., {max(shares):.2f}] "
            f"{sum(gap <= CLOSE for gap in gaps):8}/{seeds}"
        )


def real(grid: Grid, storage: Path, seed: int) -> None:
    """Search once, training and all."""
    search = load(FILE).search.model_dump() | {"seed": seed}
    record = run_sweep(changed(name=f"ours-{seed}", search=search), storage)
    spent = sum(trial.step for trial in record.trials.values()) / grid.steps
    ended = [trial.known[NATS] for trial in record.trials.values() if trial.status == "completed"]
    print(
        f"seed {seed}: best of {len(ended)} completed trials {min(ended):.4f} nats, {min(ended) / grid.ends[0]:.3f} x "
        f"the grid's {grid.ends[0]:.4f}, with {spent:.1%} of its steps; {apart(grid, record):.4f} nats from the record"
    )


def apart(grid: Grid, record: Record) -> float:
    """Largest difference between what was measured now and what was recorded."""
    return max(
        abs(nats - grid.curves[key(trial.sample)][step])
        for trial in record.trials.values()
        for step, nats in trial.curve(NATS)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, default=Path("/tmp/cogito-ray-grid"))
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--real", type=int, nargs="*", default=[], metavar="SEED")
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    if asked.reference:
        reference(asked.storage)
    grid = Grid.read()
    ends = grid.ends
    close = sum(end <= CLOSE * ends[0] for end in ends)
    print(f"{len(ends)} points from {ends[0]:.3f} to {ends[-1]:.3f} nats, {close} within 2 % of the best")
    for seed in asked.real:
        real(grid, asked.storage, seed)
    if not (asked.real or asked.reference):
        replay(grid, asked.seeds)


if __name__ == "__main__":
    main()
