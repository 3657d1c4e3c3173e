"""Plans from YAML files: every phase with its settings, all faults of all of them at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from cogito_ray.base_spec import Spec, did_you_mean, nearest
from cogito_ray.evaluation.score_names import without_settings
from cogito_ray.plans.phase_figures import known
from cogito_ray.plans.plan_spec import EvaluationPhase, PlanSpec, PromotionPhase, RunPhase, SweepPhase
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_loader import Document, Overrides

WHEN = {"after", "join", "if", "then", "else", "stop", "pool", "priority"}
"""Keys of a phase that say when it comes and where, and not what it does."""


@dataclass(frozen=True)
class Plan:
    """A sound plan, with the settings of everything that it trains."""

    spec: PlanSpec
    settings: Mapping[str, SweepSpec | RunSpec]
    """Of sweeps, runs, ladders and promotions, by phase."""

    def work(self, name: str) -> Tree:
        """What a phase does, as it is recorded."""
        work: Tree = self.spec.phases[name].model_dump(mode="json")
        kept = {key: value for key, value in work.items() if key not in {*WHEN, "file", "with", "promote", "scale"}}
        return kept | ({"settings": self.settings[name].model_dump(mode="json")} if name in self.settings else {})


def read(settings: Path | str | Mapping[str, object] | Spec, overrides: Overrides = ()) -> Plan:
    """The plan that a file or mapping says, with these settings changed. Raises SweepFault with all that is wrong."""
    document = Document.of(settings, overrides)
    spec = document.validated(PlanSpec)
    if faults := [*spec.faults(), *_cycles(spec)]:
        raise document.refused(faults)
    found: dict[str, SweepSpec | RunSpec] = {}
    for name, phase in spec.phases.items():
        try:
            if isinstance(phase, RunPhase | PromotionPhase):
                found[name] = _settings(spec, name, document.file)
        except SweepFault as fault:
            place = f"phases.{name}.settings." if fault.file == document.file else f"phases.{name}: {fault.file}: "
            faults += [f"{place}{one}" for one in fault.faults]
    if faults := faults or [*_gate_faults(spec, found), *_protocol_faults(spec)]:
        raise document.refused(faults)
    return Plan(spec, found)


def self_contained(file: Path, overrides: Overrides = ()) -> tuple[str, Document]:
    """A plan's name, and all that it says, with the settings of phases in place of their files. Raises SweepFault."""
    plan = read(file, overrides).spec
    said = {name: {"file": None, "settings": _document(phase, file).composed.tree}
            for name, phase in plan.phases.items() if isinstance(phase, RunPhase)}  # fmt: skip
    phases = {name: phase.model_copy(update=said.get(name)) for name, phase in plan.phases.items()}
    return plan.name, Document.inside(file, plan.model_copy(update={"phases": phases}))


def _settings(plan: PlanSpec, name: str, file: Path) -> SweepSpec | RunSpec:
    phase, instead = plan.phases[plan.source(name)], plan.instead(name)
    assert isinstance(phase, RunPhase)
    document = _document(phase, file, instead)
    return document.sweep() if isinstance(phase, SweepPhase) else document.run()


def _document(phase: RunPhase, file: Path, instead: Overrides = ()) -> Document:
    if phase.file is not None:
        return Document.read(file.parent / phase.file, instead)
    return Document.inside(file, phase.settings or {}, instead)


def _cycles(plan: PlanSpec) -> Iterator[str]:
    try:
        TopologicalSorter({name: phase.parents for name, phase in plan.phases.items()}).prepare()
    except CycleError as fault:
        around = " -> ".join(reversed(fault.args[1]))
        yield f"phases.{fault.args[1][0]}: waits for itself, in a circle: {around}; take one of these out"


def _gate_faults(plan: PlanSpec, settings: Mapping[str, SweepSpec | RunSpec]) -> Iterator[str]:
    asked = {phase for one in plan.phases.values() for phase, _ in one.asks}
    have = {name: known(plan, name, settings.get(name) or settings.get(plan.phases[name].reads[0])
                        if name in settings or plan.phases[name].reads else None) for name in asked}  # fmt: skip
    for name, phase in plan.phases.items():
        for other, figure in phase.asks:
            if without_settings(figure) not in have[other]:
                way_out = did_you_mean(nearest(figure, have[other]), have[other][:12] or ["another phase"])
                yield f"phases.{name}.if: {other} has no figure {figure or '(none)'}; {way_out}"


def _protocol_faults(plan: PlanSpec) -> Iterator[str]:
    from cogito_ray.evaluation.protocols.retrieval_and_choice import questions_of

    for name, phase in plan.phases.items():
        if isinstance(phase, EvaluationPhase):
            try:
                questions_of(phase)
            except ValueError as fault:
                yield f"phases.{name}.protocols: {fault}"
