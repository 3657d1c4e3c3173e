"""A sweep with two goals, a constraint and gates, from its spec to its report."""

import pytest
from optuna.trial import TrialState
from test_sweep import study_of, sweep_spec

from cogito_ray.records.pages.report_page import write
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.runtime.tune.sweep_driver import run_sweep

pytestmark = [pytest.mark.usefixtures("ray_cluster")]
NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"


def test_two_goals_give_a_front_a_told_study_and_judged_gates(tmp_path):
    spec = sweep_spec(
        tmp_path,
        goals=[{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}],
        constraints={RANK: ">= 0.5"},
        gates=[{"if": f"{RANK} < 100", "then": "more concepts"}, {"if": f"{RANK} > 100", "then": "fewer"}],
        early_stopping={"kind": "pareto_asha", "first_rung": 4, "eta": 2},
    )
    record = run_sweep(spec, tmp_path)
    ranking = rank(record)
    assert ranking.winner is None
    assert {row.status for row in ranking.best} == {"completed"}
    assert [gate.holds for gate in record.gates] == [True, False]
    assert set(record.gates[0].seen) == {row.trial for row in ranking.best}
    told = {trial.user_attrs["trial"]: trial for trial in study_of(tmp_path / "tiny").trials}
    for trial in record.trials.values():
        reports = {str(step): [report.metrics[NATS], report.metrics[RANK]] for step, report in trial.reports.items()}
        assert told[trial.id].user_attrs["reports"] == reports
        if trial.status == "completed":
            assert told[trial.id].values == reports["12"]
            assert list(told[trial.id].constraints) == [RANK]
        else:
            assert told[trial.id].state is TrialState.PRUNED
            assert "not among the best 1/2 at rung" in trial.cause
    assert "more concepts" in write(tmp_path / "tiny").read_text()
