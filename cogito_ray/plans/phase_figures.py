"""Figures of a phase that gates may ask for: which there can be, and what was recorded."""

import json
from pathlib import Path

from cogito_ray.evaluation.score_names import LABELLED, score_names
from cogito_ray.plans.plan_spec import AnalysisPhase, EvaluationPhase, LadderPhase, PlanSpec, PromotionPhase
from cogito_ray.records.ledger import NAME, PROMOTED, Figures
from cogito_ray.records.pages.analysis_page import DATA
from cogito_ray.records.results.gate_results import best_metrics
from cogito_ray.records.sweep_record import read
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import PEAK, cost_metrics
from cogito_ray.sweeps.sweep_spec import SweepSpec


def known(plan: PlanSpec, name: str, settings: SweepSpec | RunSpec | None) -> list[str]:
    """Names of all figures that a phase can have. `settings`: of what it trains, or is of."""
    phase = plan.phases[name]
    if isinstance(phase, EvaluationPhase):
        return list(score_names(phase.tasks, phase.kinds))
    goals = [goal.metric for goal in settings.goals] if isinstance(settings, SweepSpec) else []
    if isinstance(phase, LadderPhase):
        return [f"forecast/{goal}/{part}" for goal in goals for part in ("value", "low", "high")]
    runs = [settings] if isinstance(settings, RunSpec) else []
    if isinstance(settings, SweepSpec):
        space, promote = settings.search_space, settings.promote
        runs = [settings.trial(corner) for corner in space.corners()]
        if isinstance(phase, PromotionPhase) and promote is not None:
            runs = [RunSpec.model_validate(tree) for point in space.corners() for tree in promote.trees(space, point)]
    each = [_of_run(run) for run in runs]
    common = [name for name in each[0] if all(name in names for names in each)] if each else []
    if isinstance(phase, AnalysisPhase):
        deeper = [one for one in common if one.startswith(("eval/", "concepts/"))]
        return [*_analysed(), *(f"iterations/{times}/{metric}" for times in phase.iterations for metric in deeper)]
    judged = ("proxy/{}/tau", "proxy/{}/regret", "forecast/{}/error", "forecast/{}/inside")
    return [*common, *(said.format(goal) for goal in goals for said in judged if isinstance(phase, PromotionPhase))]


def _of_run(run: RunSpec) -> dict[str, None]:
    asked = run.evaluation.labelled
    scores = score_names(asked.tasks, asked.kinds) if asked else ()
    return dict.fromkeys([*run.metrics, *cost_metrics(run.model_dump(mode="json"), 0.0), PEAK, *scores])


def _analysed() -> list[str]:
    import torch

    from cogito_ray.analysis.metrics_by_name import concept_metrics

    probes = ("word_content_auc", "word_order_accuracy", "length_explained")
    return [*concept_metrics(torch.eye(4).expand(4, 4, 4)), *probes]


def recorded(plan: PlanSpec, name: str, storage: Path) -> Figures:
    """What was recorded of a phase whose command has ended well."""
    phase, folder = plan.phases[name], storage / plan.experiment(name)
    if isinstance(phase, AnalysisPhase):
        [analysis] = json.loads((storage / plan.name / name / DATA).read_text())
        deeper = {f"iterations/{one['depth']}/{metric}": value for one in analysis["iterations"]
                  for metric, value in one["metrics"].items()}  # fmt: skip
        return {analysis["run"]: analysis["metrics"] | deeper}
    record = read(folder / NAME)
    if isinstance(phase, LadderPhase):
        return {run: {f"forecast/{goal}/{part}": value for (of, goal), sealed in record.forecasts.items() if of == run
                      for part in ("value", "low", "high") if (value := getattr(sealed, part)) is not None}
                for run, _ in record.forecasts}  # fmt: skip
    if isinstance(phase, PromotionPhase):
        found = {f"forecast/{goal}/error": score.error for (_, goal), score in record.scores.items()}
        found |= {f"forecast/{goal}/inside": float(score.inside) for (_, goal), score in record.scores.items()}
        for goal, one in record.certified.items():
            numbers = {"tau": one.tau, "regret": one.regret}
            found |= {f"proxy/{goal}/{part}": value for part, value in numbers.items() if value is not None}
        return {run: values | found for run, values in _promoted(folder).items()}
    if isinstance(phase, EvaluationPhase):
        asked = _promoted(folder) if plan.phases[phase.of].command == "promote" else best_metrics(record)
        return {run: {one: value for one, value in values.items() if one.startswith(LABELLED)}
                for run, values in asked.items()}  # fmt: skip
    return best_metrics(record)


def _promoted(folder: Path) -> Figures:
    """Of full runs, each as its own ledger tells."""
    ledgers = sorted(folder.glob(f"{PROMOTED}/*/{NAME}"))
    return {ledger.parent.name: values for ledger in ledgers for values in best_metrics(read(ledger)).values()}
