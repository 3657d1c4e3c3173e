"""A sweep: a base run, the dotted paths that vary, how to search them, what to rank by. Knows no Ray."""

from functools import cached_property
from typing import Self

from pydantic import Field, JsonValue, PositiveInt, model_validator

from cogito_ray.base_spec import Spec, TrackerName, digest
from cogito_ray.gate_spec import GateSpec, placed
from cogito_ray.plugins import Reference, importing
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import BudgetSpec
from cogito_ray.sweeps.early_stopping.policy import Policy
from cogito_ray.sweeps.early_stopping.stopping_spec import NoStoppingSpec, StoppingSpec
from cogito_ray.sweeps.experiment_names import FolderName
from cogito_ray.sweeps.follow_ups.derived_runs import MOST_SEEDS
from cogito_ray.sweeps.follow_ups.follow_up_specs import PromoteSpec, ScaleSpec, SimplifySpec
from cogito_ray.sweeps.goals.goal_spec import Aim, BoundText, GoalSpec
from cogito_ray.sweeps.search_spec import SearchSpec
from cogito_ray.sweeps.space.domains import Domain, Sample
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.search_space import Space
from cogito_ray.sweeps.sweep_validation import faults

ELASTIC = frozenset(
    {"budget", "concurrency", "seeds", "promote", "scale", "simplify", "notify", "plugins", "track", "conclusion"}
)
"""What may change while a sweep keeps its name: how much is spent on it and where its code is, not what it is."""


class SweepSpec(Spec):
    """Points of the space are tried as runs when a sweep is read: values that the file names must make valid ones."""

    name: FolderName
    """Names the sweep's folder."""
    question: str = ""
    """What this sweep asks, in a sentence; opens the report."""
    conclusion: str = Field(default="", exclude_if=lambda text: not text)
    """As that of a run."""
    run: Tree
    """A RunSpec, or one that `space` completes."""
    space: dict[str, Domain] = Field(min_length=1)
    """How each dotted path of the run varies; or, with `bundle`, several paths together, under a name."""
    exclude: tuple[Sample, ...] = ()
    """Combinations that are left out, such as `{objective: tsdae, model.decoder: perceiver}`: every point of the space
    that has all the values of one of them."""
    search: SearchSpec = SearchSpec()
    goals: tuple[GoalSpec, ...]
    """What trials are ranked by. Several give no winner but a front: trials that no other beats in every goal."""
    constraints: dict[str, BoundText] = {}
    """Bounds such as `>= 0.45` per metric. A trial that breaks one at its end is no result."""
    gates: tuple[GateSpec, ...] = ()
    """What to conclude when the sweep ends."""
    early_stopping: StoppingSpec = NoStoppingSpec()
    seeds: int = Field(default=0, ge=0, le=MOST_SEEDS)
    """Further runs of each finalist, with other seeds, once the search is over; 0 = none. They show which differences
    are larger than chance."""
    promote: PromoteSpec | None = None
    """Full runs that `cogito-ray promote` derives from the best trials."""
    scale: ScaleSpec | None = None
    """A ladder of smaller runs that foretells those full runs, trained once the search is over."""
    simplify: SimplifySpec | None = None
    """Which of the winner's settings matter, asked once the search is over."""
    budget: BudgetSpec
    concurrency: PositiveInt | None = None
    """Trials at a time; None = as many as the machine has room for."""
    notify: str | None = Field(default=None, min_length=1, exclude_if=lambda command: command is None)
    """A command for the shell, called when a guard ends a trial, when a gate holds, and when the sweep ends. Its
    environment has COGITO_OCCASION (guard, gate or end), COGITO_TEXT, COGITO_SWEEP, COGITO_FOLDER and COGITO_TRIAL. One
    that fails, or takes more than a minute, costs a note in the ledger."""
    track: tuple[TrackerName, ...] = Field(default=(), exclude_if=lambda track: not track)
    """Trackers that are sent what happens while it happens: wandb, mlflow, tensorboard."""
    plugins: tuple[Reference, ...] = Field(default=(), exclude_if=lambda plugins: not plugins)
    """Modules that define kinds of your own, by name, or as files of Python by their paths from the folder of this
    file. Every process that reads the sweep, or a trial, imports them."""

    _with_plugins = model_validator(mode="wrap")(importing)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        found = faults(
            self.search_space,
            self.aim,
            search=self.search,
            gates=self.judged_gates,
            early_stopping=self.early_stopping,
            budget=self.budget,
            seeds=self.seeds,
            promote=self.promote,
            scale=self.scale,
        )
        if self.simplify is not None and len(self.goals) > 1:
            found.append("simplify: asks what one goal loses, and there are several; leave it out")
        for name in ("track", "gates", "question", "conclusion"):
            if name in self.run:
                found.append(f"run.{name}: belongs to a sweep as a whole; write it beside `run`")
        if found:
            raise ValueError("\n".join(found))
        return self

    def identity(self) -> str:
        """Names the sweep: equal for two that differ in nothing but what may be spent on them."""
        return digest({name: value for name, value in self.settled().items() if name not in ELASTIC})

    @property
    def judged_gates(self) -> dict[str, GateSpec]:
        """Its own and those of its promotion, by their places."""
        return placed("gates", self.gates) | placed("promote.gates", self.promote.gates if self.promote else ())

    @property
    def aim(self) -> Aim:
        """What makes a trial good."""
        return Aim.of(self.goals, self.constraints)

    @cached_property
    def search_space(self) -> Space:
        """What varies, and over which run."""
        named = self.run.get("plugins", [])
        plugins: list[JsonValue] = [*(named if isinstance(named, list) else []), *self.plugins]
        run = self.run | ({"plugins": plugins} if plugins else {})
        return Space(run, self.space, self.exclude, is_grid=self.search.is_grid)

    def trial(self, sample: Sample) -> RunSpec:
        """The run that one point of the space describes. Raises ValueError if it is none."""
        return self.search_space.trial(sample)

    @cached_property
    def most_steps(self) -> int:
        """Of the longest trial of any corner of the space."""
        return max(self.trial(corner).training.steps for corner in self.search_space.corners())

    def policy(self) -> Policy:
        """A fresh early-stopping policy for this sweep's trials."""
        return self.early_stopping.policy(self.most_steps, self.aim, self.search.seed)
