"""Sweeps and pretraining of concept encoders on Ray: from YAML to a ranked, recorded result.

    import cogito_ray as cr

    result = cr.sweep("search_spaces/quickstart.yaml", storage="runs")
    result.to_dataframe()
    cr.export(result, "build/encoder")

Everything here is imported when it is asked for: `import cogito_ray` takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogito_ray.control.sweep_control import SweepStatus, add, budget, concurrency, pause, resume, status, stop
    from cogito_ray.experiment_result import (
        AnalysisReport,
        Checked,
        Interrupted,
        Report,
        Result,
        Scores,
        TrialResult,
        load,
    )
    from cogito_ray.losses.total_loss import LossSpec
    from cogito_ray.nn.model import ModelSpec
    from cogito_ray.python_api import (
        analyse,
        certify,
        check,
        dashboard,
        doctor,
        evaluate,
        export,
        fill,
        forecast,
        note,
        notebook,
        plan,
        plan_forecast,
        prepare,
        promote,
        promotions,
        publish,
        push,
        queue,
        report,
        submit,
        sweep,
        train,
        verify,
    )
    from cogito_ray.run_spec import EvaluationSpec, RunSpec, TrainingSpec
    from cogito_ray.sweeps.budget_spec import BudgetSpec
    from cogito_ray.sweeps.follow_ups.follow_up_specs import PromoteSpec
    from cogito_ray.sweeps.goals.goal_spec import GoalSpec
    from cogito_ray.sweeps.search_spec import SearchSpec
    from cogito_ray.sweeps.sweep_spec import SweepSpec
    from cogito_ray.text.data_spec import DataSpec

__all__ = [
    "AnalysisReport", "BudgetSpec", "Checked", "DataSpec", "EvaluationSpec", "GoalSpec", "Interrupted", "LossSpec",
    "ModelSpec", "PromoteSpec", "Report", "Result", "RunSpec", "Scores", "SearchSpec", "SweepSpec", "SweepStatus",
    "TrainingSpec", "TrialResult", "add", "analyse", "budget", "certify", "check", "concurrency", "dashboard", "doctor",
    "evaluate", "export", "fill", "forecast", "load", "note", "notebook", "pause", "plan", "plan_forecast", "prepare",
    "promote", "promotions", "publish", "push", "queue", "report", "resume", "status", "stop", "submit", "sweep",
    "train", "verify",
]  # fmt: skip
_RESULTS = ("AnalysisReport", "Checked", "Interrupted", "Report", "Result", "Scores", "TrialResult", "load")
_CONTROLS = ("SweepStatus", "add", "budget", "concurrency", "pause", "resume", "status", "stop")
_ELSEWHERE = {
    **dict.fromkeys(_CONTROLS, "cogito_ray.control.sweep_control"),
    **dict.fromkeys(_RESULTS, "cogito_ray.experiment_result"),
    **dict.fromkeys(("EvaluationSpec", "RunSpec", "TrainingSpec"), "cogito_ray.run_spec"),
    "BudgetSpec": "cogito_ray.sweeps.budget_spec",
    "DataSpec": "cogito_ray.text.data_spec",
    "GoalSpec": "cogito_ray.sweeps.goals.goal_spec",
    "LossSpec": "cogito_ray.losses.total_loss",
    "ModelSpec": "cogito_ray.nn.model",
    "SearchSpec": "cogito_ray.sweeps.search_spec",
    "SweepSpec": "cogito_ray.sweeps.sweep_spec",
    "PromoteSpec": "cogito_ray.sweeps.follow_ups.follow_up_specs",
}
"""Modules of names that are not in `cogito_ray.python_api`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "cogito_ray.python_api")), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
