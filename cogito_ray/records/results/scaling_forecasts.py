"""What a sweep's ladder foretells of its full runs, and how that fared."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import JsonValue, ValidationError

from cogito_ray.records.ledger import NAME, ForecastScored, ForecastSealed, LadderRun, Promoted, Status
from cogito_ray.records.results.promotion_results import promotions, winners
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.follow_ups.derived_runs import SEED
from cogito_ray.sweeps.goals.goal_spec import GoalSpec
from cogito_ray.sweeps.statistics.scaling_law import (
    Rung,
    Unforecastable,
    forecast_loss,
    forecast_trend,
    miss,
)
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import diff

Ladder = list[tuple[dict[str, JsonValue], RunSpec]]
"""Rungs, each with its run."""


def ladders(sweep: SweepSpec, record: Record) -> dict[str, Ladder]:
    """Of each trial that `promote` takes, by its name; empty where the sweep has no ladder, or no trial a rank."""
    if sweep.scale is None:
        return {}
    found = {}
    for row in winners(sweep, record):
        rules = sweep.promote.rules if sweep.promote else ()
        trees = sweep.scale.trees(sweep.search_space, record.trials[row.trial].sample, rules)
        found[row.trial] = [(rung, RunSpec.model_validate(tree)) for rung, tree in trees]
    return found


def forecasts(
    sweep: SweepSpec, record: Record, past: Callable[[str], Sequence[float]] = lambda goal: ()
) -> Iterator[ForecastSealed]:
    """Of every full run that is due and every goal, where none was sealed yet. Builds models, to count parameters.

    `past`: misses of earlier forecasts of a goal (see `past_misses`).
    """
    known = ladders(sweep, record)
    for promotion in promotions(sweep, record) if known else ():
        run, trial = promotion.run, record.trials[promotion.trial]
        goals = [goal for goal in sweep.goals if (run.digest(), goal.metric) not in record.forecasts]
        ended = _ended(known[trial.id], record) if goals else []
        parameters, tokens = size(run) if goals else (0, 0)
        for goal in goals:
            seen = list(_seen(ended, goal))
            yield ForecastSealed(
                at=time.time(),
                trial=trial.id,
                run=run.digest(),
                goal=goal.metric,
                parameters=parameters,
                tokens=tokens,
                ladder=tuple(seen),
                code=record.opened.provenance.code,
                data=trial.data.digest() if trial.data else "",
                **_foretold(goal, seen, parameters, tokens, past),
            ).sealed()


def past_misses(storage: Path, goal: str) -> list[float]:
    """Of all forecasts of this goal that were sealed and scored below a storage (see `scaling_law.miss`). Reads every
    ledger there, but parses no other lines: those of a large sweep take half a minute."""
    sealed, misses = dict[str, ForecastSealed](), dict[str, float]()
    for ledger in sorted(storage.glob(f"*/{NAME}")):
        for line in ledger.read_bytes().splitlines():
            with suppress(ValidationError):     # a crash cut it short, or a newer version wrote it: whoever reads
                if line.startswith(b'{"event":"forecast_sealed"'):                       # that ledger is told
                    told = ForecastSealed.model_validate_json(line)
                    sealed[told.seal] = told
                elif line.startswith(b'{"event":"forecast_scored"'):
                    score = ForecastScored.model_validate_json(line)
                    misses |= _miss(sealed[score.seal], score) if score.goal == goal and score.seal in sealed else {}
    return list(misses.values())


def _miss(told: ForecastSealed, score: ForecastScored) -> dict[str, float]:
    """By its seal, so that a copied folder counts once; none where it lay within its ladder, or was changed."""
    beyond = told.parameters * told.tokens / max(rung.parameters * rung.tokens for rung in told.ladder)
    if beyond <= 1 or not told.is_intact or told.value is None:
        return {}
    return {told.seal: miss(score.value, told.value, beyond)}


def scored(record: Record, ended: Promoted, full: Trial) -> Iterator[ForecastScored]:
    """How the forecasts of a full run fared, which has ended; `full`: what its own ledger says of it."""
    for (run, metric), forecast in record.forecasts.items():
        value = ended.metrics.get(metric)
        if run == ended.run and ended.complete and value and forecast.value is not None:
            assert forecast.low is not None
            assert forecast.high is not None
            inside, error = forecast.low <= value <= forecast.high, forecast.value / value - 1
            rungs = [known for rung in forecast.ladder if (known := record.known(rung.run)) is not None]
            differs = () if inside else tuple(differences(rungs, full))
            told = {"value": value, "error": error, "inside": inside, "differs": differs}
            yield ForecastScored(at=time.time(), run=run, goal=metric, seal=forecast.seal, **told)


def differences(rungs: list[Trial], full: Trial) -> list[str]:
    """How a run differs from the rungs of a ladder, each as `what: old -> new`: in settings that no two rungs have
    otherwise (but the seed), in the text, the code, packages and GPUs."""
    places = {SEED} | {_place(line) for rung in rungs for line in diff(rungs[0].spec, rung.spec)}
    found = [line for line in diff(rungs[-1].spec, full.spec) if _place(line) not in places]
    for rung in rungs:
        if rung.data is not None and full.data is not None and rung.data != full.data:
            found.append(f"data: {rung.data.digest()} -> {full.data.digest()}")
        if rung.made_by and full.made_by:
            found += rung.made_by[-1].changes(full.made_by[-1])
    return list(dict.fromkeys(found))


def _place(line: str) -> str:
    return line.partition(":")[0]


def size(run: RunSpec) -> tuple[int, int]:
    """Its parameters, those of no token table, and the tokens that it reads."""
    return run.model.parameters(run.data.length), run.training.steps * run.training.batch * run.data.length


def _ended(ladder: Ladder, record: Record) -> list[tuple[Trial, tuple[int, int]]]:
    """Rungs that ran to their end, each with its size."""
    found = ((record.known(run.digest()), run) for _, run in ladder)
    return [(known, size(run)) for known, run in found if known is not None and known.status is Status.COMPLETED]


def _seen(ended: list[tuple[Trial, tuple[int, int]]], goal: GoalSpec) -> Iterator[LadderRun]:
    for rung, (parameters, tokens) in ended:
        if (value := rung.known.get(goal.metric)) is not None:
            yield LadderRun(run=rung.id, parameters=parameters, tokens=tokens, value=value)


def _foretold(
    goal: GoalSpec, seen: list[LadderRun], parameters: int, tokens: int, past: Callable[[str], Sequence[float]]
) -> dict[str, float | str | None]:
    rungs = [Rung(one.parameters, one.tokens, one.value) for one in seen]
    try:
        if goal.mode == "min" and ("nats" in goal.metric or goal.metric.startswith("loss/")):
            found = forecast_loss(rungs, parameters, tokens, past=past(goal.metric))
        else:
            found = forecast_trend(rungs, parameters, tokens)
    except Unforecastable as why:
        return {"value": None, "low": None, "high": None, "law": str(why)}
    return {"value": found.value, "low": found.low, "high": found.high, "law": found.law}
