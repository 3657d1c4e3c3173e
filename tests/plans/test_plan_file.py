"""Plans from files: what is refused, with its place, and what phases come to."""

import pytest
from corpora import unread_run

from cogito_ray.plans.plan_file import read, self_contained
from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

RUN = unread_run(steps=40)
NATS = "eval/reconstruction_nats"
SWEEP = {
    "run": RUN,
    "space": {"objective.rate": {"choice": [0.3, 0.6]}},
    "goals": [{"metric": NATS, "mode": "min"}],
    "budget": {"trials": 2},
    "promote": {"with": {"training.steps": 80}},
}


def run(**more):
    return {"kind": "run", "settings": RUN, **more}


def plan(phases, **more):
    return {"name": "road", "phases": phases, **more}


def faults(phases, **more):
    with pytest.raises(SweepFault) as refused:
        read(plan(phases, **more))
    return refused.value.faults


def test_all_faults_of_all_phases_are_told_at_once():
    told = faults(
        {
            "one": run(**{"with": {"training.steps": "many"}}),
            "two": {"kind": "sweep", "settings": SWEEP | {"goals": [{"metric": "eval/nothing", "mode": "min"}]}},
        }
    )
    assert [fault.partition(":")[0] for fault in told] == [
        "phases.one.settings.training.steps",
        "phases.two.settings.goals.0.metric",
    ]


@pytest.mark.parametrize(
    ("phases", "fault"),
    [
        ({"a": run(after=["b"])}, "phases.a.after.0: there is no phase b"),
        ({"a": run(), "b": run(**{"if": "c.x < 1"})}, "phases.b.if: there is no phase c"),
        ({"a": run(), "b": run(**{"else": "a"})}, "phases.b.else: a has no gate that might not hold; write if there"),
        ({"a": run(pool="big")}, "phases.a.pool: there is no pool big; add it to pools"),
        (
            {"a": run(after=["b"]), "b": run(after=["a"])},
            "phases.a: waits for itself, in a circle: a -> b -> a; take one of these out",
        ),
        (
            {"a": {"kind": "gate", "if": "b.x < 1"}, "b": {"kind": "promotion", "of": "c"}, "c": run()},
            "phases.b.of: a phase of kind run has nothing for kind promotion",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_with_its_place(phases, fault):
    assert fault in faults(phases)


@pytest.mark.parametrize(
    ("other", "figure", "meant"),
    [
        (run(), "eval/recons_nats", "did you mean"),
        (run(), "labelled/stsb/zero-shot/mean/spearman", "has no figure"),
        ({"kind": "gate", "if": "base.concepts/nuclear_rank > 1"}, NATS, "write one of another phase"),
        ({"kind": "analysis", "of": "base"}, NATS, "has no figure"),
        ({"kind": "evaluation", "of": "base", "tasks": ["stsb"]}, "labelled/mrpc/probe/mean/f1", "has no figure"),
    ],
)
def test_a_gate_over_a_figure_that_a_phase_cannot_have_is_refused(other, figure, meant):
    [fault] = faults({"base": run(), "other": other, "late": run(**{"if": f"other.{figure} < 1"})})
    assert fault.startswith("phases.late.if: other has no figure")
    assert meant in fault


def test_gates_may_ask_for_figures_of_every_kind_of_phase():
    phases = {
        "mlm": run(),
        "search": {"kind": "sweep", "settings": SWEEP},
        "rungs": {"kind": "ladder", "of": "search", "scale": {"sizes": {"training.steps": [10, 20, 30]}}},
        "full": {"kind": "promotion", "of": "rungs"},
        "asked": {"kind": "evaluation", "of": "search", "tasks": ["stsb"], "protocols": ["zero-shot"]},
        "seen": {"kind": "analysis", "of": "mlm"},
        "last": run(
            **{
                "if": f"search.{NATS} < mlm.{NATS} and rungs.forecast/{NATS}/high < 3 and full.proxy/{NATS}/tau > 50 % "
                "and asked.labelled/stsb/zero-shot/mean/spearman > asked.labelled/stsb/zero-shot/token_means/spearman "
                "and seen.cosine_mean < 0.5 and full.concepts/nuclear_rank > 64/128",
            }
        ),
    }
    read(plan(phases))


def test_a_size_changes_every_run_every_sweep_and_single_phases():
    sizes = {
        "small": {
            "runs": {"training.steps": 10, "data.length": 16},
            "sweeps": {"budget.trials": 1},
            "phases": {"b": {"training.steps": 20}, "full": {"promote.with": {"training.steps": 30}}},
        }
    }
    phases = {
        "a": run(),
        "b": run(**{"with": {"training.batch": 4}}),
        "s": {"kind": "sweep", "settings": SWEEP},
        "full": {"kind": "promotion", "of": "s"},
    }
    found = read(plan(phases, sizes=sizes, size="small")).settings
    assert [found[name].training.steps for name in "ab"] == [10, 20]
    assert (found["b"].training.batch, found["b"].data.length) == (4, 16)
    assert (found["s"].budget.trials, found["s"].trial({"objective.rate": 0.3}).training.steps) == (1, 10)
    assert found["s"].name == found["full"].name == "road-s"
    assert found["full"].promote.overrides == {"training.steps": 30}


def test_a_pool_sends_runs_to_machines_with_its_labels():
    found = read(plan({"a": run(pool="big")}, pools={"big": {"gpu": "a5000"}}))
    assert found.settings["a"].labels == {"gpu": "a5000"}


def test_what_a_phase_does_leaves_out_when_it_does_it():
    one = read(plan({"a": run(), "g": {"kind": "gate", "if": "a.concepts/nuclear_rank > 1"}}))
    other = read(plan({"a": run(priority=3), "g": {"kind": "gate", "if": "a.concepts/nuclear_rank > 9", "stop": True}}))
    assert [one.work(name) for name in "ag"] == [other.work(name) for name in "ag"]
    changed = read(plan({"a": run(**{"with": {"training.steps": 50}})}))
    assert one.work("a") != changed.work("a")


def test_a_self_contained_plan_says_the_same_without_the_files_of_its_phases(tmp_path):
    (tmp_path / "base.yaml").write_text(dump(RUN))
    (tmp_path / "more.yaml").write_text("extends: base.yaml\ntraining: {steps: 60}\n")
    phases = {
        "a": {"kind": "run", "file": "more.yaml"},
        "b": {"kind": "sweep", "settings": SWEEP | {"run": {"extends": "base.yaml"}}, "if": "a.loss/total < 9"},
        "c": {"kind": "ladder", "of": "b", "scale": {"sizes": {"training.steps": [10, 20, 30]}}},
        "d": {"kind": "gate", "else": "b"},
    }
    sizes = {"size": "small", "sizes": {"small": {"runs": {"training.batch": 2}}}}
    (tmp_path / "plan.yaml").write_text(dump(plan(phases, **sizes)))
    there = tmp_path / "elsewhere"
    there.mkdir()
    name, document = self_contained(tmp_path / "plan.yaml")
    (there / "plan.yaml").write_text(dump(document.composed.tree))
    here, sent = read(tmp_path / "plan.yaml"), read(there / "plan.yaml")
    assert name == "road"
    assert [sent.work(phase) for phase in phases] == [here.work(phase) for phase in phases]
    assert sent.settings == here.settings
