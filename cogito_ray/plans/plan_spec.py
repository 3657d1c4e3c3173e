"""A research plan: sweeps, runs, evaluations and more, what they wait for, and gates that choose among them."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from cogito_ray.base_spec import Spec, Worded
from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
from cogito_ray.gate_spec import Condition, ConditionText
from cogito_ray.run_spec import Label
from cogito_ray.sweeps.budget_spec import DurationText
from cogito_ray.sweeps.experiment_names import FolderName
from cogito_ray.sweeps.follow_ups.follow_up_specs import PromoteSpec, ScaleSpec
from cogito_ray.sweeps.space.dotted_paths import Tree

NAME = "a phase's name has 1 to 32 letters, digits, '_' and '-', a letter first, and is no word of conditions"
PhaseName = Annotated[str, Worded("(?!(and|or|not)$)[A-Za-z][A-Za-z0-9_-]{0,31}", NAME)]


class _PhaseSpec(Spec):
    model_config = ConfigDict(serialize_by_alias=True)

    command: ClassVar[str] = ""
    may_be_of: ClassVar[tuple[str, ...]] = ()
    after: tuple[str, ...] = ()
    """Phases that must be complete. One that fails, or does not come, ends the branch, unless `join` is any."""
    join: Literal["all", "any"] = "all"
    """any: one of `after` is enough, once it is known what becomes of each."""
    condition: ConditionText | None = Field(default=None, alias="if", examples=["mlm.concepts/nuclear_rank > 30"])
    """A gate, over figures named with their phases: `diffusion.concepts/nuclear_rank > mlm.concepts/nuclear_rank`. Of
    several best runs of a phase, it must hold for each."""
    then: str = ""
    other: str | None = Field(default=None, alias="else")
    """A phase in whose place this one comes where the gate of that one does not hold."""
    stop: bool = False
    """Where the gate does not hold, nothing further starts at all: people decide, and change the plan."""
    pool: str | None = None
    priority: int = 0
    """Of phases that are due, the largest goes first; of equal ones, that which stands first."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Phases whose results it works on."""
        return ()

    @property
    def asks(self) -> list[tuple[str, str]]:
        """(phase, figure) of all that its gate asks for."""
        names = Condition(self.condition).metrics if self.condition else ()
        return [(phase, figure) for phase, _, figure in (name.partition(".") for name in names)]

    @property
    def parents(self) -> dict[str, str]:
        """Phases of which must be known what became before anything can be said of it, each with the key there."""
        named = {name: f"after.{number}" for number, name in enumerate(self.after)}
        named |= dict.fromkeys(self.reads, "of" if self.may_be_of else "start_from.phase")
        named |= {self.other: "else"} if self.other else {}
        return named | {phase: "if" for phase, _ in self.asks}


class PhaseWeights(Spec):
    """First weights, out of another phase's newest checkpoint."""

    phase: str
    parts: tuple[Literal["encoder"]] | tuple[Literal["encoder"], Literal["decoder"]] = ("encoder",)
    tie: Literal["mean", "first"] | None = None
    positions: Literal["exact", "stretch"] = "exact"


class RunPhase(_PhaseSpec):
    """A run: `cogito-ray train`."""

    kind: Literal["run"] = "run"
    command: ClassVar[str] = "train"
    file: str | None = None
    """Its YAML, by its path from the folder of the plan's file; or else `settings`."""
    settings: Tree | None = None
    overrides: dict[str, JsonValue] = Field(default={}, alias="with", examples=[{"training.steps": 400}])
    """What it has instead, by dotted path."""
    start_from: PhaseWeights | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.start_from.phase,) if self.start_from else ()

    @model_validator(mode="after")
    def _described(self) -> Self:
        if (self.file is None) == (self.settings is None):
            raise ValueError("takes either file or settings; write one of them")
        return self


class SweepPhase(RunPhase):
    """A sweep: `cogito-ray sweep`. It is called `<plan>-<phase>`."""

    kind: Literal["sweep"] = "sweep"  # type: ignore[assignment]
    command: ClassVar[str] = "sweep"


class _FollowUpSpec(_PhaseSpec):
    of: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)


class PromotionPhase(_FollowUpSpec):
    """A sweep's best trials at full size: `cogito-ray promote`."""

    kind: Literal["promotion"] = "promotion"
    command: ClassVar[str] = "promote"
    may_be_of: ClassVar[tuple[str, ...]] = ("sweep", "ladder")
    promote: PromoteSpec | None = None
    """The full runs; None = as the sweep says."""


class LadderPhase(PromotionPhase):
    """A ladder of sizes below a sweep's full runs, which it foretells: `cogito-ray scale`."""

    kind: Literal["ladder"] = "ladder"  # type: ignore[assignment]
    command: ClassVar[str] = "scale"
    scale: ScaleSpec


class EvaluationPhase(_FollowUpSpec, LabelledEvaluationSpec):
    """Labelled tasks, asked of a phase's best runs: `cogito-ray evaluate`."""

    kind: Literal["evaluation"] = "evaluation"
    command: ClassVar[str] = "evaluate"
    may_be_of: ClassVar[tuple[str, ...]] = ("run", "sweep", "promotion")
    data: str | None = None


class AnalysisPhase(_FollowUpSpec):
    """Geometry, probes and attention of a phase's best run: `cogito-ray analyse`."""

    kind: Literal["analysis"] = "analysis"
    command: ClassVar[str] = "analyse"
    may_be_of: ClassVar[tuple[str, ...]] = ("run", "sweep", "promotion")
    texts: int = Field(default=256, ge=2)
    iterations: tuple[PositiveInt, ...] = ()


class GatePhase(_PhaseSpec):
    """A decision alone, for others to come after."""

    kind: Literal["gate"] = "gate"


PhaseSpec = Annotated[
    RunPhase | SweepPhase | LadderPhase | PromotionPhase | EvaluationPhase | AnalysisPhase | GatePhase,
    Field(discriminator="kind"),
]


class SizeSpec(Spec):
    """What the plan has instead at one size, all by dotted path."""

    runs: dict[str, JsonValue] = Field(default={}, examples=[{"training.steps": 50000}])
    """Of every run, also the base run of every sweep."""
    sweeps: dict[str, JsonValue] = Field(default={}, examples=[{"budget.trials": 24}])
    phases: dict[str, dict[str, JsonValue]] = {}
    """Of single phases' settings, by their names."""


class PlanSpec(Spec):
    """Phases that run when they are due, as many at a time as there is room for."""

    name: FolderName
    """Of its folder, and of those of its phases: `<plan>-<phase>`."""
    question: str = ""
    conclusion: str = Field(default="", exclude_if=lambda text: not text)
    """As that of a run."""
    phases: dict[PhaseName, PhaseSpec] = Field(min_length=1)
    size: str | None = None
    """Which of `sizes`; None = as phases say."""
    sizes: dict[str, SizeSpec] = {}
    pools: dict[str, dict[Label, Label]] = Field(default={}, examples=[{"large": {"machine": "a"}}])
    """Labels of machines, whose Ray was started with such `--labels`. One phase at a time runs in each pool."""
    concurrency: PositiveInt = 1
    """Phases of no pool at a time."""
    budget: dict[Literal["gpu_hours", "cpu_hours", "wall"], PositiveFloat | DurationText] = {}
    """Over all phases, as a sweep counts its own. When any of it is spent, no further phase starts."""

    def source(self, name: str) -> str:
        """The run or sweep that a phase is, or is of."""
        phase = self.phases[name]
        return self.source(phase.of) if isinstance(phase, _FollowUpSpec) else name

    def experiment(self, name: str) -> str:
        """That of its folder."""
        return f"{self.name}-{self.source(name)}"

    def instead(self, name: str) -> dict[str, JsonValue]:
        """What the settings of a phase have instead of what its file says, by dotted path. The later counts."""
        phase, size = self.phases[name], self.sizes[self.size] if self.size else SizeSpec()
        own = size.phases.get(name, {})
        if isinstance(phase, PromotionPhase):
            parts = {key: getattr(phase, key, None) for key in ("promote", "scale")}
            dumped = {key: part.model_dump(mode="json") for key, part in parts.items() if part}
            return self.instead(phase.of) | dumped | own
        assert isinstance(phase, RunPhase)
        pool: Tree = {"labels": {**self.pools[phase.pool]}} if phase.pool else {}
        if isinstance(phase, SweepPhase):
            runs = {f"run.{path}": value for path, value in {**size.runs, **pool}.items()}
            return {**runs, **size.sweeps, **phase.overrides, "name": self.experiment(name), **own}
        return {**size.runs, **pool, **phase.overrides, **own}

    def faults(self) -> Iterator[str]:
        """What in it does not fit together, as `place: fault`."""
        if self.size not in (None, *self.sizes):
            yield f"size: there is no size {self.size}; write one of {', '.join(self.sizes) or 'those in sizes'}"
        for size, spec in self.sizes.items():
            unknown = [one for one in spec.phases if one not in self.phases]
            yield from (f"sizes.{size}.phases.{one}: there is no such phase" for one in unknown)
        for name, phase in self.phases.items():
            place = f"phases.{name}"
            if phase.pool not in (None, *self.pools):
                yield f"{place}.pool: there is no pool {phase.pool}; add it to pools"
            for parent, key in phase.parents.items():
                if (found := self.phases.get(parent)) is None:
                    yield f"{place}.{key}: there is no phase {parent}"
                elif key == "of" and found.kind not in phase.may_be_of:
                    yield f"{place}.of: a phase of kind {found.kind} has nothing for kind {phase.kind}"
                elif key == "else" and found.condition is None:
                    yield f"{place}.else: {parent} has no gate that might not hold; write if there"
