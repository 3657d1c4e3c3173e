"""Which phases of a plan are due, and which will not come: decided from what is recorded alone. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from cogito_ray.gate_spec import Condition
from cogito_ray.plans.plan_spec import PlanSpec
from cogito_ray.records.ledger import Figures
from cogito_ray.records.plan_record import PlanRecord


@dataclass(frozen=True)
class Decision:
    """Of one phase."""

    phase: str
    state: Literal["due", "refused", "skipped"]
    why: str = ""
    seen: Figures = field(default_factory=dict)


def decide(plan: PlanSpec, record: PlanRecord) -> list[Decision]:
    """What can be said by now: phases that will not come, or else, where there are none, those that may start, the
    first first, as many as their pools have room for."""
    found = [one for name in plan.phases if (one := _decision(plan, record, name)) is not None]
    if never := [one for one in found if one.state != "due"]:
        return never
    if any(phase.stop and record.state(name) == "refused" for name, phase in plan.phases.items()):
        return []
    room = Counter[str | None](plan.pools.keys())
    room[None] = plan.concurrency
    room.subtract(plan.phases[name].pool for name in plan.phases if record.state(name) == "running")
    may_start = []
    for one in sorted(found, key=lambda one: -plan.phases[one.phase].priority):
        phase = plan.phases[one.phase]
        if not phase.command or room[phase.pool] > 0:
            room[phase.pool] -= bool(phase.command)
            may_start.append(one)
    return may_start


def _decision(plan: PlanSpec, record: PlanRecord, name: str) -> Decision | None:
    """None: nothing can be said yet, or any more."""
    phase, states = plan.phases[name], {parent: record.state(parent) for parent in plan.phases[name].parents}
    begun = {phase.other} if states.get(phase.other or "") == "running" else set()
    if record.state(name) != "waiting" or {"waiting", "running"} & {states[one] for one in states.keys() - begun}:
        return None
    if barred := "; ".join(_barred(plan, record, name)):
        return Decision(name, "skipped", barred)
    if phase.condition is None:
        return Decision(name, "due")
    condition, asked = Condition(phase.condition), dict.fromkeys(parent for parent, _ in phase.asks)
    known = {parent: record.figures(parent) or {"": {}} for parent in asked}
    truths = set()
    for runs in product(*known.values()):
        best = zip(known, runs, strict=True)
        values = {f"{one}.{figure}": known[one][run][figure] for one, run in best for figure in known[one][run]}
        truths.add(condition.judge(values))
    verdict = "does not hold" if False in truths else "cannot be judged" if None in truths else "holds"
    seen = {
        f"{parent} {run}" if len(runs) > 1 else parent: {one: runs[run][one] for of, one in phase.asks
                                                        if of == parent and one in runs[run]}
        for parent, runs in known.items() for run in runs
    }  # fmt: skip
    told = ", ".join(f"{where}: {one} {value:.4g}" for where, values in seen.items() for one, value in values.items())
    said = f"{phase.condition}: {verdict} ({told or 'nothing was measured'})"
    if verdict == "holds":
        return Decision(name, "due", f"{said}; {phase.then}" if phase.then else said, seen)
    return Decision(name, "refused" if False in truths else "skipped", said, seen)


def _barred(plan: PlanSpec, record: PlanRecord, name: str) -> Iterator[str]:
    phase = plan.phases[name]
    lost = [parent for parent in phase.after if record.state(parent) != "complete"]
    needed = [parent for parent in phase.reads if record.state(parent) != "complete"]
    needed += lost if phase.join == "all" or len(lost) == len(phase.after) else []
    needed += [phase.other] if phase.other and record.state(phase.other) != "refused" else []
    yield from (f"{parent} is {record.state(parent)}" for parent in dict.fromkeys(needed))


