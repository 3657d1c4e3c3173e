"""A sweep's search space: a base run, the dotted paths of it that vary and how, and the combinations left out. Pure."""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from pydantic import JsonValue

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space import space_points
from cogito_ray.sweeps.space.domains import Domain, Grid, Sample, reads, sets_always, settings_of, written
from cogito_ray.sweeps.space.dotted_paths import Tree, above, default_at, get, is_weight, kinds_at, overlap, put
from cogito_ray.text.data_spec import DataSpec, corpus_key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Space:
    """Every point is a sample: a value per axis that varies there. What is not sound raises ValueError when it is
    asked for; see `sweeps.faults`."""

    run: Tree
    """The base run, or what of it no axis sets."""
    axes: Mapping[str, Domain]
    """How each dotted path of the run varies."""
    exclude: tuple[Sample, ...] = ()
    """Combinations of values that no point has."""
    is_grid: bool = field(default=False, kw_only=True)
    """Is every point tried once, and nothing drawn?"""

    def trial(self, sample: Sample) -> RunSpec:
        """The run that one point describes. Raises ValueError if it is none."""
        return RunSpec.model_validate(self.tree(sample))

    def tree(self, sample: Sample) -> Tree:
        """The base run with the sample's values written into it."""
        return self.written(copy.deepcopy(self.run), sample)

    def written(self, tree: Tree, sample: Sample, scale: Mapping[str, float] = {}) -> Tree:
        """The sample's values written into `tree`, wide paths before the narrow ones inside them, and these numbers
        multiplied before a ratio reads them."""
        if odd := sorted(set(sample) ^ set(self.varying(sample))):
            raise ValueError(f"a sample names every axis that varies there and no other; look at {', '.join(odd)}")
        axes = [path for path in self.ordered if path in sample]
        last = {number: next((axis for axis in reversed(axes) if self.sets(axis, number)), None) for number in scale}
        for axis in (None, *axes):    # None: first the numbers that no axis sets
            if axis is not None:
                domain = self.axes[axis]
                for path, value in settings_of(axis, domain, sample[axis], partial(_number_at, tree)).items():
                    write(tree, path, _rounded(path, value) if reads(domain) else value)
            for number, factor in scale.items():
                if last[number] == axis:
                    write(tree, number, _rounded(number, factor * _number_at(tree, number, "promote multiplies")))
        return tree

    def sets(self, axis: str, *paths: str) -> bool:
        """Does an axis set one of these, a part of one, or what it lies in?"""
        return any(overlap(own, path) for own in written(axis, self.axes[axis]) for path in paths)

    def overridden(self) -> dict[str, str]:
        """Settings of the base run that no trial has, each with the axis that sets it at every point."""
        always = {axis: domain for axis, domain in self.axes.items() if not domain.when}
        return {
            path: axis
            for axis, domain in always.items()
            for path in written(axis, domain)
            if get(self.run, path) is not None and sets_always(domain, path)
        }

    def varying(self, sample: Sample) -> list[str]:
        """The axes that vary at this point."""
        return [path for path, domain in self.axes.items() if domain.applies(sample)]

    def within(self, sample: Sample) -> Sample:
        """The sample without axes that do not vary there."""
        return space_points.within(self.ordered, sample)

    @cached_property
    def ordered(self) -> space_points.Axes:
        """The axes, each after those it lies in, those its ratio is of and those it depends on. Raises CycleError."""
        wide = {
            axis: {part for path in written(axis, domain) for part in above(path)} for axis, domain in self.axes.items()
        }
        after = {
            axis: [
                other
                for other, around in self.axes.items()
                if (other != axis and not wide[axis].isdisjoint(written(other, around)))
                or other in domain.when
                or self.sets(other, *reads(domain))
            ]
            for axis, domain in self.axes.items()
        }
        return {axis: self.axes[axis] for axis in TopologicalSorter(after).static_order()}

    def corners(self) -> Iterator[Sample]:
        """Points that touch every pair of extremes of every two axes; so many of them, where they are too many."""
        return space_points.corners(self.ordered, self.exclude)

    def listed(self, paths: Collection[str]) -> space_points.Listed:
        """All values of these axes. Raises ValueError where they cannot be listed."""
        found = {path: domain.values() for path, domain in self.ordered.items() if path in paths}
        if endless := [path for path, values in found.items() if values is None]:
            raise ValueError(f"values of {', '.join(endless)} cannot be listed")
        return {path: values for path, values in found.items() if values is not None}

    def grid_points(self) -> list[Sample]:
        """What is crossed instead of sampled: all `grid` axes, or the whole space under the grid sampler.

        Trial number n (from 0) takes the values of point n modulo their number; a sampler draws the rest. Time and
        memory grow with their number.
        """
        crossed = self.crossed()
        return space_points.in_order(self.ordered, self.listed(crossed), self.exclude, crossed)

    def excludes(self, sample: Sample) -> bool:
        """Is it one of the points that are left out?"""
        return space_points.left_out(sample, self.exclude)

    def crossed(self) -> list[str]:
        """Paths whose values come from `grid_points`."""
        return [path for path, domain in self.axes.items() if self.is_grid or isinstance(domain, Grid)]

    def drawn(self) -> dict[str, Domain]:
        """What is left to a sampler: every axis that is not crossed."""
        crossed = self.crossed()
        return {path: domain for path, domain in self.axes.items() if path not in crossed}

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
        wanted = {axis for axis in self.axes if self.makes_corpora(axis)}
        for path in reversed(tuple(self.ordered)):
            if path in wanted:
                wanted |= {other for other in self.axes if self.sets(other, *reads(self.axes[path]))}
                wanted |= set(self.axes[path].when)
        every = {path: domain.values() or domain.extremes() for path, domain in self.ordered.items()}
        return {path: values if path in wanted else values[:1] for path, values in every.items()}

    def makes_corpora(self, axis: str) -> bool:
        """Is another value of this axis other text? How often a source is read makes none."""
        return any(overlap(path, "data") and not is_weight(path) for path in written(axis, self.axes[axis]))


def write(tree: Tree, path: str, value: JsonValue) -> None:
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
