"""What a plan would cost if every gate held: each phase as its own command forecasts it, from short measured runs."""

from collections.abc import Iterator
from pathlib import Path

from cogito_ray.plans.plan_file import Plan
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.tune.cost_measurement import forecast
from cogito_ray.sweeps.sweep_spec import SweepSpec


def forecast_plan(plan: Plan, storage: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Each phase that trains, with wall_s, cpu_hours and gpu_hours, at most. Nothing is written below `storage`.

    Full runs and the rungs of a ladder are taken for as many as there are of the largest, at a corner of the space.
    """
    for name, settings in plan.settings.items():
        trees, top, command = [], 1, plan.spec.phases[name].command
        if isinstance(settings, RunSpec):
            trees = [settings.model_dump(mode="json")]
        elif settings.promote is not None and command in ("scale", "promote"):
            space, promote, top = settings.search_space, settings.promote, settings.promote.top
            corner, ladder = next(iter(space.corners())), settings.scale if command == "scale" else None
            rungs = ladder.trees(space, corner, promote.rules) if ladder else ()
            trees = [tree for _, tree in rungs] or promote.trees(space, corner)
        if trees:    # a sweep of one run, because sweeps are what is forecast
            goal = {"metric": "loss/total", "mode": "min"}
            alone = {"name": "alone", "run": trees[-1], "space": {"seed": {"choice": [0]}}, "budget": {"trials": 1}}
            settings = SweepSpec.model_validate(alone | {"goals": [goal]})
        assert isinstance(settings, SweepSpec)
        found, times = forecast(settings, storage), max(1, len(trees)) * top
        costs = {"wall_s": found.wall_s, "cpu_hours": found.cpu_hours, "gpu_hours": found.gpu_hours}
        yield name, {unit: cost.high * times for unit, cost in costs.items()}
