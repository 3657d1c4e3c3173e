"""How much of all trials' steps a sweep does. Pure; needs no torch.

What early stopping saves is estimated by asking the sweep's own policy about made-up trials whose order never changes;
real ones cross, which moves the estimate by less than the range between the cheapest and the dearest trial does.
"""

import numpy as np

from cogito_ray.sweeps.early_stopping.policy import PolicySpec
from cogito_ray.sweeps.goals.goal_spec import Aim
from cogito_ray.sweeps.statistics.seed_intervals import FINALISTS


def share_left(stopping: PolicySpec, aim: Aim, steps: int, *, trials: int, seed: int = 0) -> float:
    """The share of all steps that is left to be done when trials come one after the other, in random order of merit."""
    policy, done = stopping.policy(steps, aim), dict[str, int]()
    stops = [*stopping.rungs(steps), steps]
    merits = np.random.default_rng(seed).random((trials, len(aim.goals)))
    held = {metric: bound.number for metric, bound in aim.constraints.items()}

    def go_on(trial: str) -> None:
        drawn = zip(aim.goals, merits[int(trial)], strict=True)
        metrics = held | {goal.metric: float(value) for goal, value in drawn}
        for step in (step for step in stops if step > done.get(trial, 0)):
            done[trial] = step
            if not policy.report(trial, step, metrics).keep:
                return

    def promote(*, idle: bool) -> None:
        while trial := policy.promoted(policy.waiting, idle=idle):
            policy.resumed(trial)
            go_on(trial)

    for number in range(len(merits)):
        go_on(str(number))
        promote(idle=False)
    promote(idle=True)
    return sum(done.values()) / (steps * trials)


def further_runs(trials: int, *, goals: int, seeds: int) -> int:
    """Of the finalists of so many trials, under other seeds."""
    return seeds * min(FINALISTS, trials if goals > 1 else max(2, trials // 2))
