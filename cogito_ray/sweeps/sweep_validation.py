"""What is wrong with a sweep, all of it at once, as dotted lines, before anything is spent."""

import difflib
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError

from cogito_ray.base_spec import brief, did_you_mean
from cogito_ray.evaluation.score_names import LABELLED, all_score_names, without_settings
from cogito_ray.gate_spec import GateSpec, placed
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import PEAK, BudgetSpec, cost_metrics
from cogito_ray.sweeps.early_stopping.policy import PlannedTrials
from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec
from cogito_ray.sweeps.follow_ups.follow_up_specs import PromoteSpec, ScaleSpec
from cogito_ray.sweeps.goals.comparability import MUST_AGREE, SAME_LOSS, asked_at
from cogito_ray.sweeps.goals.goal_spec import Aim
from cogito_ray.sweeps.search_spec import SearchSpec
from cogito_ray.sweeps.space import space_points
from cogito_ray.sweeps.space.domains import (
    Bundle,
    Domain,
    Sample,
    Scalar,
    is_inexact,
    is_unordered,
    is_whole,
    reads,
    written,
)
from cogito_ray.sweeps.space.dotted_paths import Tree, kinds_at, near
from cogito_ray.sweeps.space.search_space import Space
from cogito_ray.sweeps.space.valid_points import Tried, certain, refused, tried

BUNDLE_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
MOST_GRID_POINTS, MOST_CORPORA = 100_000, 256
SHOWN, ALIKE = 12, 3
"""Values of an axis, and faults that differ in numbers alone, that are shown at once."""
KNOWN_OF_ALL = "eval/word_content_auc"
"""A metric that compares across decoders and objectives, to be proposed."""


def faults(
    space: Space,
    aim: Aim,
    *,
    search: SearchSpec,
    gates: Mapping[str, GateSpec],
    early_stopping: StoppingSpec,
    budget: BudgetSpec,
    seeds: int,
    promote: PromoteSpec | None,
    scale: ScaleSpec | None,
) -> list[str]:
    """Of a sweep of these parts, each as `dotted place: what is wrong; way out`, no line twice."""
    found = [line for path in space.axes for line in (*_axis_faults(space, path), *_when_faults(space, path))]
    found += [*_cycle(space), *_branch_faults(space)]
    if not found:
        found = list(_exclude_faults(space)) or list(_size_faults(space))
    if not found:
        seen = tried(space, certain(space))
        found += [*_grid_faults(space, search, budget), *_run_faults(seen, space)]
        if seen.runs and not found:
            found += promote.faults(space, seen.points) if promote else []
            found += scale.faults(space, seen.points, promote) if scale else []
        if runs := list(seen.runs.values()):
            planned = PlannedTrials(space, runs, budget.trials, seeds, promote is not None)
            found += [*_metric_faults(judged_by(aim, gates), runs), *early_stopping.faults(planned)]
            found += budget.faults(runs)
    found += [*_goal_faults(aim, early_stopping), *_sampler_faults(space, aim, search)]
    return _in_short([*found, *_start_faults(space, search), *_seed_faults(space, seeds)])


def _exclude_faults(space: Space) -> Iterator[str]:
    for index, hole in enumerate(space.exclude):
        if len(hole) < 2:
            yield f"exclude.{index}: names {len(hole)} axes, but a combination has two; change the axis itself instead"
        for path, value in hole.items():
            yield from _value_faults(space, f"exclude.{index}.{path}", path, (value,))
    if all(space.exclude) and next(space.corners(), None) is None:
        yield "exclude: leaves nothing of the space; take out one of its combinations"


def _value_faults(space: Space, place: str, path: str, values: tuple[Scalar, ...]) -> Iterator[str]:
    """What is wrong with asking at `place` whether an axis has one of these values."""
    if path not in space.axes:
        yield f"{place}: no axis of this space; name one of {', '.join(space.axes)}"
        return
    if is_inexact(space.axes[path]):
        yield f"{place}: a sampler draws its numbers inexactly; list them with choice"
        return
    listed = space.axes[path].values() or ()
    for value in values:
        if value not in listed:
            known = ", ".join([*map(repr, listed[:SHOWN]), *(["..."] if len(listed) > SHOWN else [])])
            yield f"{place}: {value!r} is not one of its values [{known}]"


def _when_faults(space: Space, path: str) -> Iterator[str]:
    crossed = space.crossed()
    for other, values in space.axes[path].conditions().items():
        place = f"space.{path}.when.{other}"
        yield from _value_faults(space, place, other, values)
        listed = space.axes[other].values() if other in space.axes else None
        if listed is not None and len(listed) <= len(values) and set(values) >= set(listed):
            yield f"{place}: holds for every value of {other}; leave it out"
        if path in crossed and other in space.axes and other not in crossed:
            yield f"{place}: grids are crossed before {other} is drawn; make that a grid too, or this one a choice"


def _branch_faults(space: Space) -> Iterator[str]:
    if "branch" in space.run or any(space.sets(axis, "branch") for axis in space.axes):
        yield "run.branch: nobody but a population settles where its copies branch off; leave it out"


def _goal_faults(aim: Aim, early_stopping: StoppingSpec) -> Iterator[str]:
    count, named = len(aim.goals), [goal.metric for goal in aim.goals]
    if not count:
        yield "goals: at least one is needed to rank by; write {metric: eval/reconstruction_nats, mode: min}"
    if repeats := sorted({metric for metric in named if named.count(metric) > 1}):
        yield f"goals: {', '.join(repeats)} stands here more than once; keep one"
    if count > 1 and not early_stopping.many_goals:
        yield f"early_stopping.kind: {early_stopping.kind} compares by one goal, got {count}; use pareto_asha"


def _sampler_faults(space: Space, aim: Aim, search: SearchSpec) -> Iterator[str]:
    kind, able = search.sampler.kind, search.sampler.abilities
    if len(aim.goals) > 1 and not able.many_goals:
        yield f"search.sampler: {kind} searches for one goal, got {len(aim.goals)}; use tpe, gp or nsga2"
    if aim.constraints and not able.constraints:
        yield f"search.sampler: {kind} knows no constraints; use tpe, gp or nsga2"
    numbers, least = sum(not is_unordered(domain) for domain in space.drawn().values()), able.least_numbers
    if numbers < least:
        yield f"search.sampler: {kind} needs at least {least} axes of numbers (no choice), got {numbers}; use tpe or gp"


def _seed_faults(space: Space, seeds: int) -> Iterator[str]:
    if seeds == 1:
        yield "seeds: a single further run shows no spread; write 2 or more, or leave it out"
    if seeds and (varied := [axis for axis in space.axes if space.sets(axis, "seed")]):
        yield f"seeds: space.{varied[0]} varies the seed already; leave one of them out"


def _start_faults(space: Space, search: SearchSpec) -> Iterator[str]:
    for index, point in enumerate(search.start_with):
        yield from point_faults(space, point, f"search.start_with.{index}", space.drawn())


def point_faults(space: Space, point: Sample, where: str, axes: Mapping[str, Domain]) -> Iterator[str]:
    """What is wrong with values for some of `axes`, which are those that may be named `where`."""
    for path, value in point.items():
        place = f"{where}.{path}"
        if path not in axes:
            yield f"{place}: no axis that is drawn; name one of {', '.join(axes) or 'none: all are crossed'}"
        elif not _holds(axes[path], value):
            yield f"{place}: {value!r} is not in its domain {_said(space.axes[path])}"
        for other, values in space.axes[path].conditions().items() if path in axes else ():
            if other in point and point[other] not in values:
                yield f"{place}: does not vary where {other} is {point[other]!r}; leave it out of this point"


def _bundle_faults(space: Space, axis: str, bundle: Bundle) -> Iterator[str]:
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
        if others := [f"space.{other}" for other in space.axes if path in written(other, space.axes[other])][1:]:
            yield f"{others[0]}: sets {path}, as another axis does; take it out of one of them"


def _holds(domain: Domain, value: Scalar) -> bool:
    from cogito_ray.sweeps.space import optuna_distributions as optuna  # which knows best, but few sweeps ask it

    return optuna.contains(optuna.distribution(domain), value)


def _axis_faults(space: Space, path: str) -> Iterator[str]:
    domain, kinds, place = space.axes[path], kinds_at(RunSpec, path), f"space.{path}"
    if isinstance(domain, Bundle):
        yield from _bundle_faults(space, path, domain)
        return
    values = domain.values()
    if not kinds:
        yield f"{place}: there is no such setting in a run; {_meant(path)}"
        return
    if values is None and space.is_grid:
        yield f"{place}: the grid sampler needs values it can list; give a step, use choice, or sampler: tpe"
    if values is None and space.makes_corpora(path):
        yield f"{place}: each value makes a corpus that is tokenised before the sweep starts; list them with choice"
    if int in kinds and float not in kinds and not reads(domain) and not is_whole(domain):
        yield f"{place}: a whole number is wanted here; use randint or choice"
    for read in reads(domain):
        if not {int, float} & kinds_at(RunSpec, read):
            yield f"{place}.ratio.of: {read} is no number of a run; {_meant(read)}"


def _meant(path: str) -> str:
    known = near(RunSpec, path)
    return f"did you mean {' or '.join(known)}?" if known else "see `cogito-ray check --help` for how to list them"


def _cycle(space: Space) -> list[str]:
    try:
        _ = space.ordered
    except CycleError as error:
        return [f"space: axes depend on each other in a circle: {', '.join(error.args[1])}; fix one of them under run"]
    return []


def _size_faults(space: Space) -> Iterator[str]:
    """What is listed in full must not be too much: it is counted first."""
    if (crossed := space_points.count(space.ordered, space.listed(space.crossed()))) > MOST_GRID_POINTS:
        yield (
            f"space: the grid has {crossed:,} points, and at most {MOST_GRID_POINTS:,} can be walked; list fewer "
            "values, or let a sampler draw them"
        )
    if (corpora := space_points.count(space.ordered, axes := space.corpus_axes())) > MOST_CORPORA:
        named = " x ".join(path for path, values in axes.items() if len(values) > 1)
        yield (
            f"space: {named} makes {corpora:,} corpora, and at most {MOST_CORPORA} are tokenised before a sweep "
            "starts; list fewer values with choice"
        )


def _grid_faults(space: Space, search: SearchSpec, budget: BudgetSpec) -> Iterator[str]:
    crossed, trials = len(space.grid_points()), budget.trials
    if space.is_grid:
        if trials != crossed:
            yield f"budget.trials: the grid has {crossed} points, got {trials}; write {crossed}"
    elif not space.drawn():
        yield f"search.sampler: {search.sampler.kind} has nothing to draw, for every axis is a grid; write grid"
    elif trials % crossed:
        yield (
            f"budget.trials: the grids cross to {crossed} points, got {trials} trials; make it a multiple of {crossed}"
        )


def _run_faults(seen: Tried, space: Space) -> list[str]:
    found = list(refused(seen, space))
    if any(run.evaluation.labelled for run in seen.runs.values()):
        found.append(
            "run.evaluation.labelled: a sweep's trials are not asked; ask their full runs "
            "(promote: {with: {evaluation.labelled: {...}}}), or rank by evaluation.stsb"
        )
    return found


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


def judged_by(aim: Aim, gates: Mapping[str, GateSpec]) -> Iterator[tuple[str, str]]:
    """Each place that names a metric by which trials are judged, with the metric. `gates`: by their places."""
    yield from ((f"goals.{index}.metric", goal.metric) for index, goal in enumerate(aim.goals))
    yield from ((f"constraints.{metric}", metric) for metric in aim.constraints)
    yield from ((f"{place}.if", metric) for place, gate in gates.items() for metric in gate.metrics)


def asked_by_gates(run: RunSpec) -> Iterator[tuple[str, str]]:
    """The same of the gates of a run on its own."""
    return judged_by(Aim((), {}), placed("gates", run.gates))


def gate_faults(run: RunSpec) -> Iterator[str]:
    """Of gates of a run on its own that ask for what it does not report."""
    return _metric_faults(asked_by_gates(run), [run])


def _metric_faults(judged: Iterator[tuple[str, str]], runs: list[RunSpec]) -> Iterator[str]:
    trees: list[Tree] = [run.model_dump(mode="json") for run in runs]
    reported = [[*run.metrics, *cost_metrics(tree, 0.0), PEAK] for run, tree in zip(runs, trees, strict=True)]
    known = list(dict.fromkeys(name for names in reported for name in names))
    for place, metric in judged:
        if metric.startswith(LABELLED) and place.endswith(".if"):    # what is asked afterwards
            if without_settings(metric) not in (scores := all_score_names()):
                close = difflib.get_close_matches(metric, scores, n=3, cutoff=0.4)
                yield f"{place}: there is no score {metric}; {did_you_mean(close, [LABELLED + 'task/protocol/metric'])}"
        elif metric not in known:
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
