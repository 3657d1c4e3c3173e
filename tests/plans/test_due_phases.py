"""What is due of a plan, and what will not come, as decided from records alone."""

import pytest

from cogito_ray.plans.due_phases import decide
from cogito_ray.plans.plan_spec import PlanSpec
from cogito_ray.records.ledger import PhaseEnded, PhaseStarted, PlanOpened
from cogito_ray.records.plan_record import PlanRecord

RUN = {"kind": "run", "file": "run.yaml"}


def spec(phases, **more):
    return PlanSpec.model_validate(
        {"name": "road", "phases": {name: RUN | phase for name, phase in phases.items()}, **more}
    )


def record(**ended):
    """Of phases that are over: figures of each best run, or False for one that failed, or None for one under way."""
    told = PlanRecord()
    told.add(PlanOpened(at=0, spec={}))
    for name, figures in ended.items():
        told.add(PhaseStarted(at=0, phase=name, work={}, command=(), folder=""))
        if figures is not None:
            best = figures if isinstance(figures, list) else [figures or {}]
            known = {f"r{number}": values for number, values in enumerate(best)}
            state = "failed" if figures is False else "complete"
            told.add(PhaseEnded(at=0, phase=name, state=state, figures=known))
    return told


def settled(plan, told):
    """(what may start, why each other one will not come)."""
    reasons = {}
    while (found := decide(plan, told)) and found[0].state != "due":
        for one in found:
            told.add(PhaseEnded(at=0, **vars(one)))
            reasons[one.phase] = one.why
    return [one.phase for one in found], reasons


GATED = {"a": {}, "b": {"if": "a.rank > 30", "then": "scale up"}, "c": {"else": "b"}, "d": {"after": ["b"]}}


@pytest.mark.parametrize(
    ("told", "may_start", "never"),
    [
        (record(), ["a"], []),
        (record(a=None), [], []),
        (record(a={"rank": 40.0}), ["b"], []),
        (record(a={"rank": 20.0}), ["c"], ["b", "d"]),
        (record(a={"rank": 40.0}, b=None), [], ["c"]),
        (record(a={"rank": 40.0}, b={}), ["d"], ["c"]),
        (record(a={"rank": 40.0}, b=False), [], ["c", "d"]),
        (record(a=False), [], ["b", "c", "d"]),
        (record(a={}), [], ["b", "c", "d"]),
        (record(a=[{"rank": 40.0}, {"rank": 31.0}]), ["b"], []),
        (record(a=[{"rank": 40.0}, {"rank": 29.0}]), ["c"], ["b", "d"]),
    ],
)
def test_a_gate_chooses_a_branch_or_its_other_and_what_fails_chooses_none(told, may_start, never):
    started, reasons = settled(spec(GATED, concurrency=9), told)
    assert (started, list(reasons)) == (may_start, never)


def test_decisions_say_the_condition_the_figures_and_what_follows():
    plan = spec(GATED)
    [started] = decide(plan, record(a={"rank": 40.0, "other": 1.0}))
    assert started.why == "a.rank > 30: holds (a: rank 40); scale up"
    assert started.seen == {"a": {"rank": 40.0}}
    _, reasons = settled(plan, record(a={"rank": 20.0}))
    assert reasons == {"b": "a.rank > 30: does not hold (a: rank 20)", "d": "b is refused"}


def test_one_phase_is_compared_with_another():
    plan = spec({"a": {}, "b": {}, "c": {"if": "a.rank > b.rank and a.sts >= b.sts - 2 %"}}, concurrency=2)
    assert settled(plan, record(a={"rank": 3.0, "sts": 0.59}, b={"rank": 2.0, "sts": 0.6}))[0] == ["c"]
    assert settled(plan, record(a={"rank": 3.0, "sts": 0.5}, b={"rank": 2.0, "sts": 0.6}))[0] == []
    assert settled(plan, record(a={"rank": 3.0, "sts": 0.59}, b=None))[0] == []


@pytest.mark.parametrize(("join", "may_start"), [("all", []), ("any", ["d"])])
def test_a_join_waits_for_every_branch_and_goes_on_after_all_or_after_one(join, may_start):
    phases = {"a": {}, "b": {"if": "a.rank > 30"}, "c": {"after": ["a"]}, "d": {"after": ["b", "c"], "join": join}}
    assert settled(spec(phases), record(a={"rank": 1.0}))[0] == ["c"]
    assert settled(spec(phases), record(a={"rank": 1.0}, c={}))[0] == may_start


def test_where_a_gate_stops_the_plan_nothing_further_starts():
    plan = spec({"a": {}, "b": {"if": "a.rank > 30", "stop": True}, "c": {"after": ["a"]}})
    assert settled(plan, record(a={"rank": 40.0}))[0] == ["b"]
    assert settled(plan, record(a={"rank": 20.0}))[0] == []


def test_phases_start_by_priority_and_then_in_order_as_pools_have_room():
    phases = {"a": {}, "b": {"priority": 2}, "c": {"pool": "p"}, "d": {"pool": "p"}, "e": {"pool": "p"}}
    plan = spec(phases, pools={"p": {}})
    assert settled(plan, record())[0] == ["b", "c"]
    assert settled(plan, record(b=None, c={}))[0] == ["d"]
    assert settled(plan, record(b={}, c=None))[0] == ["a"]


def test_opened_again_a_plan_keeps_what_is_complete_or_under_way_and_asks_again_for_all_else():
    plan = spec({"a": {}, "b": {"if": "a.rank > 30"}, "c": {}, "d": {}})
    told = record(a={"rank": 20.0}, c=False, d=None)
    settled(plan, told)
    assert [told.state(name) for name in "abcd"] == ["complete", "refused", "failed", "running"]
    told.add(PlanOpened(at=1, spec={}))
    assert [told.state(name) for name in "abcd"] == ["complete", "waiting", "waiting", "running"]
