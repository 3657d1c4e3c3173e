"""A sweep: a base run, the dotted paths that vary, how to search them, what to rank by. Knows no Ray."""

import copy
import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, partial
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, JsonValue, PositiveInt, field_validator, model_validator

from cogito_ray.base_spec import FROM_ENVIRONMENT, Spec, brief, digest, without_secrets
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import BudgetSpec
from cogito_ray.sweeps.early_stopping.stopping_spec import NoStoppingSpec, Policy, StoppingSpec
from cogito_ray.sweeps.experiment_names import FolderName
from cogito_ray.sweeps.gates import GateSpec
from cogito_ray.sweeps.goals import Aim, BoundText, GoalSpec
from cogito_ray.sweeps.promotion_spec import PromoteSpec
from cogito_ray.sweeps.space import space_points
from cogito_ray.sweeps.space.domains import Domain, Grid, Sample, reads, settings_of, written
from cogito_ray.sweeps.space.dotted_paths import Tree, above, default_at, get, is_weight, kinds_at, overlap, put
from cogito_ray.sweeps.statistics.seed_intervals import MOST_SEEDS
from cogito_ray.sweeps.sweep_validation import faults
from cogito_ray.text.data_spec import DataSpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
"""That Optuna keeps studies in."""


class SearchSpec(Spec):
    sampler: Literal["tpe", "gp", "nsga2", "cmaes", "random", "grid"] = "tpe"
    """tpe: tree-structured Parzen estimator (arXiv:2304.11127); gp: Gaussian process with log expected improvement
    (arXiv:2310.20708), slow but good for few dear trials; nsga2: evolution by fronts (10.1109/4235.996017), for
    hundreds of trials; cmaes: covariance matrix adaptation (arXiv:1604.00772), for one goal over numbers; random; grid:
    every point of the space once."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the sampler; a run's own is `run.seed`."""
    start_with: tuple[Sample, ...] = ()
    """Points to try first, a value per dotted path; paths left out are drawn."""
    storage: str | None = None
    """URL of a database for a copy of Optuna's study, such as `postgresql://me:${DB_PASSWORD}@host/optuna`, where
    `${NAME}` is read from the environment and written nowhere; null = a journal in the sweep's folder.
    `optuna-dashboard` opens both."""
    warm_start: tuple[str, ...] = ()
    """Folders of earlier sweeps with the same goals over the same text, whose trials the sampler is told."""

    @property
    def is_grid(self) -> bool:
        """Is every point of the space tried once, and nothing drawn?"""
        return self.sampler == "grid"

    @field_validator("storage")
    @classmethod
    def _keeps_its_secret(cls, url: str | None) -> str | None:
        """A sweep's settings stand in its ledger and report."""
        if url is None:
            return None
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        without_secrets(url)
        try:
            parts = make_url(url)
        except (ArgumentError, ValueError):
            raise ValueError("is no URL of a database; write for example sqlite:////data/optuna.db") from None
        known = ", ".join(f"{name}://" for name in DATABASES)
        unknown = ValueError(f"Optuna keeps no studies in {brief(parts.drivername)}; write one of {known}")
        if parts.get_backend_name() not in DATABASES:
            raise unknown
        try:
            parts.get_dialect()
        except NoSuchModuleError:
            raise unknown from None
        if parts.port is not None and not 0 < parts.port < 2**16:
            raise ValueError(f"has no port {parts.port}; write one of 1 to 65535, or leave it out")
        if "${" in FROM_ENVIRONMENT.sub("", url):
            raise ValueError("holds a ${ that names no variable; write ${NAME}")
        if parts.get_backend_name() == "sqlite" and parts.database in (None, "", ":memory:"):
            raise ValueError("is a database in memory, which nobody else could open; write sqlite:////data/optuna.db")
        if parts.password and not FROM_ENVIRONMENT.fullmatch(parts.password):
            raise ValueError("holds a password; write ${NAME} instead, and set NAME in the environment")
        return url

    def lacking(self) -> list[str]:
        """What this machine lacks of the database: variables, a driver."""
        if self.storage is None:
            return []
        from sqlalchemy import make_url

        named = sorted(set(re.findall(r"\$\{(\w+)\}", self.storage)) - os.environ.keys())
        faults = [f"search.storage: {name} is not set in the environment; export it" for name in named]
        try:
            make_url(self.storage).get_dialect().import_dbapi()
        except ImportError as missing:
            faults.append(f"search.storage: its driver is not installed here: {missing}; install it with pip")
        return faults or self._without_folder()

    def _without_folder(self) -> list[str]:
        """What keeps a file of sqlite from being made; servers are asked when the sweep starts, and may come later."""
        from sqlalchemy import make_url

        named = make_url(re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], self.storage or ""))
        if named.get_backend_name() != "sqlite" or str(named.database).startswith("file:"):
            return []
        file = str(named.database)
        if os.path.isdir(file):
            return ["search.storage: this is a folder; name a file in it"]
        there = os.path.isdir(os.path.dirname(os.path.abspath(file)))
        return [] if there else ["search.storage: the folder of this file is not there; make it, or name another"]


ELASTIC = frozenset({"budget", "concurrency", "seeds", "promote"})
"""What may change while a sweep keeps its name: how much is spent on it, not what it is."""


class SweepSpec(Spec):
    """Points of the space are tried as runs when a sweep is read: values that the file names must make valid ones."""

    name: FolderName
    """Names the sweep's folder."""
    question: str = ""
    """What this sweep asks, in a sentence; opens the report."""
    run: Tree
    """A RunSpec, or one that `space` completes."""
    space: dict[str, Domain] = Field(min_length=1)
    """How each dotted path of the run varies; or, with `bundle`, several paths together, under a name."""
    without: tuple[Sample, ...] = ()
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
    budget: BudgetSpec
    concurrency: PositiveInt | None = None
    """Trials at a time; None = as many as the machine has room for."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if found := faults(self):
            raise ValueError("\n".join(found))
        return self

    def identity(self) -> str:
        """Names the sweep: equal for two that differ in nothing but what may be spent on them."""
        return digest({name: value for name, value in self.settled().items() if name not in ELASTIC})

    @property
    def aim(self) -> Aim:
        """What makes a trial good."""
        return Aim.of(self.goals, self.constraints)

    def trial(self, sample: Sample) -> RunSpec:
        """The run that one point of the space describes. Raises ValueError if it is none."""
        return RunSpec.model_validate(self.tree(sample))

    def tree(self, sample: Sample) -> Tree:
        """`run` with the sample's values written into it, wide paths before the narrow ones inside them."""
        return self._over(copy.deepcopy(self.run), sample, {})

    def full_trees(self, sample: Sample) -> list[Tree]:
        """The full runs that `promote` makes of a trial, one per seed: its sample over the changed base run."""
        assert self.promote is not None
        base = copy.deepcopy(self.run)
        for path in sorted(self.promote.overrides, key=lambda path: path.count(".")):
            _write(base, path, self.promote.overrides[path])
        return self.promote.seeded(self._over(base, sample, self.promote.scale))

    def _over(self, tree: Tree, sample: Sample, scale: Mapping[str, float]) -> Tree:
        """The sample's values written into `tree`, and these numbers multiplied before a ratio reads them."""
        if odd := sorted(set(sample) ^ set(self.axes(sample))):
            raise ValueError(f"a sample names every axis that varies there and no other; look at {', '.join(odd)}")
        axes = [path for path in self.order() if path in sample]
        last = {number: next((axis for axis in reversed(axes) if self.sets(axis, number)), None) for number in scale}
        for axis in (None, *axes):    # None: first the numbers that no axis sets
            if axis is not None:
                domain = self.space[axis]
                for path, value in settings_of(axis, domain, sample[axis], partial(_number_at, tree)).items():
                    _write(tree, path, _rounded(path, value) if reads(domain) else value)
            for number, factor in scale.items():
                if last[number] == axis:
                    _write(tree, number, _rounded(number, factor * _number_at(tree, number, "promote multiplies")))
        return tree

    def sets(self, axis: str, *paths: str) -> bool:
        """Does an axis set one of these, a part of one, or what it lies in?"""
        return any(overlap(own, path) for own in written(axis, self.space[axis]) for path in paths)

    def axes(self, sample: Sample) -> list[str]:
        """Those that vary at this point."""
        return [path for path, domain in self.space.items() if domain.applies(sample)]

    def within(self, sample: Sample) -> Sample:
        """The sample without axes that do not vary there."""
        return space_points.within(self.ordered, sample)

    def order(self) -> tuple[str, ...]:
        """The axes, each after those it lies in, those its ratio is of and those it depends on. Raises CycleError."""
        return tuple(self.ordered)

    @cached_property
    def ordered(self) -> space_points.Space:
        """The space in that order. Raises CycleError."""
        within = {axis: {part for path in written(axis, domain) for part in above(path)} for axis, domain in
                  self.space.items()}
        after = {
            axis: [
                other
                for other, wide in self.space.items()
                if (other != axis and not within[axis].isdisjoint(written(other, wide)))
                or other in domain.when
                or self.sets(other, *reads(domain))
            ]
            for axis, domain in self.space.items()
        }
        return {axis: self.space[axis] for axis in TopologicalSorter(after).static_order()}

    def corners(self) -> Iterator[Sample]:
        """Points that touch every pair of extremes of every two axes; so many of them, where they are too many."""
        return space_points.corners(self.ordered, self.without)

    def listed(self, paths: Collection[str]) -> space_points.Listed:
        """All values of these axes. Raises ValueError where they cannot be listed."""
        found = {path: domain.values() for path, domain in self.ordered.items() if path in paths}
        if endless := [path for path, values in found.items() if values is None]:
            raise ValueError(f"values of {', '.join(endless)} cannot be listed")
        return {path: values for path, values in found.items() if values is not None}

    def cells(self) -> list[Sample]:
        """What is crossed instead of sampled: all `grid` axes, or the whole space under the grid sampler.

        Trial number n (from 0) takes the values of cell n modulo their number; a sampler draws the rest.
        """
        crossed = self.crossed()
        return space_points.in_order(self.ordered, self.listed(crossed), self.without, crossed)

    def leaves_out(self, sample: Sample) -> bool:
        """Is it one of those that the sweep does `without`?"""
        return space_points.left_out(sample, self.without)

    def crossed(self) -> list[str]:
        """Paths whose values come from `cells`."""
        return [path for path, domain in self.space.items() if self.search.is_grid or isinstance(domain, Grid)]

    def drawn(self) -> dict[str, Domain]:
        """What is left to a sampler: every axis that is not crossed."""
        crossed = self.crossed()
        return {path: domain for path, domain in self.space.items() if path not in crossed}

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """What a sampler draws from, for each of these axes."""
        from cogito_ray.sweeps.space.optuna_distributions import distribution

        return {path: distribution(domain) for path, domain in self.drawn().items()}

    def corpora(self) -> tuple[DataSpec, ...]:
        """Every corpus that some trial reads, each once: they are tokenised before the sweep starts.

        Mixing weights make no new corpus: rows are mixed when they are read.
        """
        found: dict[str, DataSpec] = {}
        for sample in space_points.combined(self.ordered, self.corpus_axes()):
            data = DataSpec.model_validate(self.tree(sample)["data"])
            found.setdefault(corpus_key(data), data)
        return tuple(found.values())

    def corpus_axes(self) -> space_points.Listed:
        """All values of axes that a corpus depends on, extremes where they cannot be listed; of others the first."""
        wanted = {axis for axis in self.space if self.makes_corpora(axis)}
        for path in reversed(self.order()):
            if path in wanted:
                wanted |= {other for other in self.space if self.sets(other, *reads(self.space[path]))}
                wanted |= set(self.space[path].when)
        every = {path: domain.values() or domain.extremes() for path, domain in self.ordered.items()}
        return {path: values if path in wanted else values[:1] for path, values in every.items()}

    def makes_corpora(self, axis: str) -> bool:
        """Is another value of this axis other text? How often a source is read makes none."""
        return any(overlap(path, "data") and not is_weight(path) for path in written(axis, self.space[axis]))

    def policy(self) -> Policy:
        """A fresh early-stopping policy for this sweep's trials."""
        steps = max(self.trial(corner).training.steps for corner in self.corners())
        return self.early_stopping.policy(steps, self.aim, self.search.seed)


def corpus_key(data: DataSpec) -> str:
    """Equal for two corpora that hold the same rows, however they are mixed."""
    sources = {name: source.model_copy(update={"weight": 1.0}) for name, source in data.sources.items()}
    return data.model_copy(update={"sources": sources}).digest()


def _write(tree: Tree, path: str, value: JsonValue) -> None:
    """Set `path` to a copy of `value`, and what it lies in to its default: else that would hold this setting alone."""
    for part in above(path):
        if get(tree, part) is None and (default := default_at(RunSpec, part)) is not None:
            put(tree, part, default)
    put(tree, path, copy.deepcopy(value))    # a preset is written into by the axes inside it


def _number_at(tree: Tree, path: str, asks: str = "a ratio is of") -> float:
    found: JsonValue = get(tree, path)
    found = default_at(RunSpec, path) if found is None else found
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{asks} {path}, which is {found!r}; set a number there under run, or let it vary")
    return found


def _rounded(path: str, value: JsonValue) -> JsonValue:
    """A computed number, whole where the setting at `path` is one."""
    kinds = kinds_at(RunSpec, path)
    return round(value) if isinstance(value, float) and int in kinds and float not in kinds else value
