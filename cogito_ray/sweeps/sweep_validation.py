"""What is wrong with a sweep, all of it at once, as dotted lines, before anything is spent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from graphlib import CycleError
from typing import TYPE_CHECKING

from cogito_ray.base_spec import brief, did_you_mean
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.comparability import MUST_AGREE, SAME_LOSS, asked_at
from cogito_ray.sweeps.space import space_points
from cogito_ray.sweeps.space.domains import Bundle, Domain, Scalar, is_inexact, is_unordered, is_whole, reads, written
from cogito_ray.sweeps.space.dotted_paths import Tree, kinds_at, near
from cogito_ray.sweeps.space.valid_points import certain, refused, tried

if TYPE_CHECKING:
    from cogito_ray.sweeps.sweep_spec import SweepSpec

BUNDLE_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
MOST_CELLS, MOST_CORPORA = 100_000, 256
SHOWN, ALIKE = 12, 3
"""Values of an axis, and faults that differ in numbers alone, that are shown at once."""
KNOWN_OF_ALL = "eval/word_content_auc"
"""A metric that compares across decoders and objectives, to be proposed."""


def faults(sweep: SweepSpec) -> list[str]:
    """Each as `dotted place: what is wrong; way out`, no line twice."""
    found = [line for path in sweep.space for line in (*_axis_faults(sweep, path), *_when_faults(sweep, path))]
    found += [*_cycle(sweep), *_branch_faults(sweep)]
    if not found:
        found = list(_without_faults(sweep)) or list(_size_faults(sweep))
    if not found:
        found += [*_grid_faults(sweep), *_run_faults(sweep)]
    return _in_short([*found, *_many_goals_faults(sweep), *_start_faults(sweep), *_seed_faults(sweep)])


def _without_faults(sweep: SweepSpec) -> Iterator[str]:
    for index, hole in enumerate(sweep.without):
        if len(hole) < 2:
            yield f"without.{index}: names {len(hole)} axes, but a combination has two; change the axis itself instead"
        for path, value in hole.items():
            yield from _value_faults(sweep, f"without.{index}.{path}", path, (value,))
    if all(sweep.without) and next(sweep.corners(), None) is None:
        yield "without: leaves nothing of the space; take out one of its combinations"


def _value_faults(sweep: SweepSpec, place: str, path: str, values: tuple[Scalar, ...]) -> Iterator[str]:
    """What is wrong with asking at `place` whether an axis has one of these values."""
    if path not in sweep.space:
        yield f"{place}: no axis of this space; name one of {', '.join(sweep.space)}"
        return
    if is_inexact(sweep.space[path]):
        yield f"{place}: a sampler draws its numbers inexactly; list them with choice"
        return
    listed = sweep.space[path].values() or ()
    for value in values:
        if value not in listed:
            known = ", ".join([*map(repr, listed[:SHOWN]), *(["..."] if len(listed) > SHOWN else [])])
            yield f"{place}: {value!r} is not one of its values [{known}]"


def _when_faults(sweep: SweepSpec, path: str) -> Iterator[str]:
    crossed = sweep.crossed()
    for other, values in sweep.space[path].conditions().items():
        place = f"space.{path}.when.{other}"
        yield from _value_faults(sweep, place, other, values)
        listed = sweep.space[other].values() if other in sweep.space else None
        if listed is not None and len(listed) <= len(values) and set(values) >= set(listed):
            yield f"{place}: holds for every value of {other}; leave it out"
        if path in crossed and other in sweep.space and other not in crossed:
            yield f"{place}: grids are crossed before {other} is drawn; make that a grid too, or this one a choice"


def _branch_faults(sweep: SweepSpec) -> Iterator[str]:
    if "branch" in sweep.run or any(sweep.sets(axis, "branch") for axis in sweep.space):
        yield "run.branch: nobody but a population settles where its copies branch off; leave it out"


def _many_goals_faults(sweep: SweepSpec) -> Iterator[str]:
    count, named = len(sweep.goals), [goal.metric for goal in sweep.goals]
    if not count:
        yield "goals: at least one is needed to rank by; write {metric: eval/reconstruction_nats, mode: min}"
    if repeats := sorted({metric for metric in named if named.count(metric) > 1}):
        yield f"goals: {', '.join(repeats)} stands here more than once; keep one"
    if count > 1 and not sweep.early_stopping.many_goals:
        yield f"early_stopping.kind: {sweep.early_stopping.kind} compares by one goal, got {count}; use pareto_asha"
    if sweep.search.sampler == "cmaes":
        if count > 1:
            yield f"search.sampler: cmaes searches for one goal, got {count}; use tpe, gp or nsga2"
        if sweep.constraints:
            yield "search.sampler: cmaes knows no constraints; use tpe, gp or nsga2"
        numbers = [path for path, domain in sweep.drawn().items() if not is_unordered(domain)]
        if len(numbers) < 2:
            yield f"search.sampler: cmaes needs two axes of numbers (no choice), got {len(numbers)}; use tpe or gp"


def _seed_faults(sweep: SweepSpec) -> Iterator[str]:
    if sweep.seeds == 1:
        yield "seeds: a single further run shows no spread; write 2 or more, or leave it out"
    if sweep.seeds and (varied := [axis for axis in sweep.space if sweep.sets(axis, "seed")]):
        yield f"seeds: space.{varied[0]} varies the seed already; leave one of them out"


def _start_faults(sweep: SweepSpec) -> Iterator[str]:
    drawn = sweep.drawn()
    for index, point in enumerate(sweep.search.start_with):
        for path, value in point.items():
            place = f"search.start_with.{index}.{path}"
            if path not in drawn:
                yield f"{place}: no axis that is drawn; name one of {', '.join(drawn) or 'none: all are crossed'}"
            elif not _holds(drawn[path], value):
                yield f"{place}: {value!r} is not in its domain {_said(sweep.space[path])}"
            for other, values in sweep.space[path].conditions().items() if path in drawn else ():
                if other in point and point[other] not in values:
                    yield f"{place}: does not vary where {other} is {point[other]!r}; leave it out of this point"


def _bundle_faults(sweep: SweepSpec, axis: str, bundle: Bundle) -> Iterator[str]:
    """What is wrong with the name of a bundle, and with the settings in it."""
    if not re.fullmatch(BUNDLE_NAME, axis):
        yield f"space.{axis}: a bundle has a name of its own, of letters, digits, '_' and '-'; {brief(axis)} is none"
    if axis in RunSpec.model_fields:
        yield f"space.{axis}: is a setting of a run; give the bundle another name"
    for option, settings in bundle.bundle.items():
        for path in settings:
            if not kinds_at(RunSpec, path):
                yield f"space.{axis}.bundle.{option}.{path}: there is no such setting in a run; {_meant(path)}"
    for path in written(axis, bundle):
        if others := [f"space.{other}" for other in sweep.space if path in written(other, sweep.space[other])][1:]:
            yield f"{others[0]}: sets {path}, as another axis does; take it out of one of them"


def _holds(domain: Domain, value: Scalar) -> bool:
    from cogito_ray.sweeps.space import optuna_distributions as optuna  # which knows best, but few sweeps ask it

    return optuna.contains(optuna.distribution(domain), value)


def _axis_faults(sweep: SweepSpec, path: str) -> Iterator[str]:
    domain, kinds, place = sweep.space[path], kinds_at(RunSpec, path), f"space.{path}"
    if isinstance(domain, Bundle):
        yield from _bundle_faults(sweep, path, domain)
        return
    values = domain.values()
    if not kinds:
        yield f"{place}: there is no such setting in a run; {_meant(path)}"
        return
    if values is None and sweep.search.is_grid:
        yield f"{place}: the grid sampler needs values it can list; give a step, use choice, or sampler: tpe"
    if values is None and sweep.makes_corpora(path):
        yield f"{place}: each value makes a corpus that is tokenised before the sweep starts; list them with choice"
    if int in kinds and float not in kinds and not reads(domain) and not is_whole(domain):
        yield f"{place}: a whole number is wanted here; use randint or choice"
    for read in reads(domain):
        if not {int, float} & kinds_at(RunSpec, read):
            yield f"{place}.ratio.of: {read} is no number of a run; {_meant(read)}"


def _meant(path: str) -> str:
    known = near(RunSpec, path)
    return f"did you mean {' or '.join(known)}?" if known else "see `cogito-ray check --help` for how to list them"


def _cycle(sweep: SweepSpec) -> list[str]:
    try:
        sweep.order()
    except CycleError as error:
        return [f"space: axes depend on each other in a circle: {', '.join(error.args[1])}; fix one of them under run"]
    return []


def _size_faults(sweep: SweepSpec) -> Iterator[str]:
    """What is listed in full must not be too much: it is counted first."""
    if (cells := space_points.count(sweep.ordered, sweep.listed(sweep.crossed()))) > MOST_CELLS:
        yield (
            f"space: the grid has {cells:,} points, and at most {MOST_CELLS:,} can be walked; list fewer values, or "
            "let a sampler draw them"
        )
    if (corpora := space_points.count(sweep.ordered, axes := sweep.corpus_axes())) > MOST_CORPORA:
        named = " x ".join(path for path, values in axes.items() if len(values) > 1)
        yield (
            f"space: {named} makes {corpora:,} corpora, and at most {MOST_CORPORA} are tokenised before a sweep "
            "starts; list fewer values with choice"
        )


def _grid_faults(sweep: SweepSpec) -> Iterator[str]:
    cells, trials = len(sweep.cells()), sweep.budget.trials
    if sweep.search.is_grid:
        if trials != cells:
            yield f"budget.trials: the grid has {cells} points, got {trials}; write {cells}"
    elif not sweep.drawn():
        yield f"search.sampler: {sweep.search.sampler} has nothing to draw, for every axis is a grid; write grid"
    elif trials % cells:
        yield f"budget.trials: the grids cross to {cells} cells, got {trials} trials; make it a multiple of {cells}"


def _run_faults(sweep: SweepSpec) -> list[str]:
    seen = tried(sweep, certain(sweep))
    found = list(refused(seen, sweep))
    if not seen.runs:
        return found
    runs = list(seen.runs.values())
    if any(run.evaluation.labelled for run in runs):
        found.append(
            "run.evaluation.labelled: a sweep's trials are not asked; ask their full runs "
            "(promote: {with: {evaluation.labelled: {...}}}), or rank by evaluation.stsb"
        )
    if sweep.promote is not None and not found:
        found = list(sweep.promote.faults(sweep, seen.points))
    return [*found, *_goal_faults(sweep, runs), *sweep.early_stopping.faults(sweep, runs), *sweep.budget.faults(runs)]


def _in_short(lines: list[str]) -> list[str]:
    """Of faults that differ in numbers alone the first ones, and how many more there are."""
    alike: dict[str, list[str]] = {}
    for line in dict.fromkeys(lines):
        alike.setdefault(re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", line), []).append(line)
    return [line for kind in alike.values() for line in _shown(kind)]


def _shown(lines: list[str]) -> list[str]:
    more = len(lines) - ALIKE
    if more < 2:
        return lines
    place = re.split("[:= ]", lines[0], maxsplit=1)[0]
    return [*lines[:ALIKE], f"{place}: and {more} more faults like these {ALIKE}"]


def _said(domain: Domain) -> str:
    """As the file says it."""
    return str(domain.model_dump(mode="json", exclude_defaults=True))


def judged_by(sweep: SweepSpec) -> Iterator[tuple[str, str]]:
    """Each place that names a metric by which trials are judged, with the metric."""
    yield from ((f"goals.{index}.metric", goal.metric) for index, goal in enumerate(sweep.goals))
    yield from ((f"constraints.{metric}", metric) for metric in sweep.constraints)
    for index, gate in enumerate(sweep.gates):
        yield from ((f"gates.{index}.if", metric) for metric, _ in gate.parts())


def _goal_faults(sweep: SweepSpec, runs: list[RunSpec]) -> Iterator[str]:
    reported = [run.metrics for run in runs]
    known = list(dict.fromkeys(name for names in reported for name in names))
    trees: list[Tree] = [run.model_dump(mode="json") for run in runs]
    for place, metric in judged_by(sweep):
        if metric not in known:
            close = difflib.get_close_matches(metric, known, n=3, cutoff=0.4)
            yield f"{place}: no run reports {metric}; {did_you_mean(close, known)}"
        elif not all(metric in names for names in reported):
            yield f"{place}: only some trials report {metric}; rank by what all report, such as {KNOWN_OF_ALL}"
        alike = next((places for family, places in MUST_AGREE.items() if metric.startswith(family)), ())
        if moved := [at for at in alike if any(asked_at(tree, at) != asked_at(trees[0], at) for tree in trees)]:
            yield (
                f"{place}: {metric} asks something else of each trial, because {', '.join(moved)} "
                f"var{'y' if len(moved) > 1 else 'ies'}; {_instead(metric, moved)}"
            )


def _instead(metric: str, moved: list[str]) -> str:
    if metric.startswith("loss/") and not set(moved) - set(SAME_LOSS):
        return "rank by eval/reconstruction_nats"
    if metric.startswith(("concepts/", "eval/word_", "eval/stsb_")):
        return "fix it under run"
    return f"fix it under run, or rank by what is asked of the concepts themselves, such as {KNOWN_OF_ALL}"
