"""What a recorded sweep or run tells in Python: from its ledger alone."""

import subprocess
import sys

import pandas as pd
import pytest
from checkpoints import save, untrained

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.experiment_result import Report, Result
from cogito_ray.python_api import export, load, report
from cogito_ray.records.ledger import (
    NAME,
    Ledger,
    LedgerFault,
    Promoted,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.provenance import Provenance

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE = [{"metric": NATS, "mode": "min"}]
TWO = [*ONE, {"metric": RANK, "mode": "max"}]
HERE = Provenance(commit=None, dirty=False, versions={}, host="here")
SPACE = {
    "objective.rate": {"uniform": [0.0, 1.0]},
    "model.token_width": {"ratio": {"of": "model.width", "choice": [0.25, 0.5]}},
    "model.latents": {"preset": {"plain": {"kind": "plain"}, "anchored": {"kind": "anchored"}}},
}


def opening(name, goals=ONE, space=SPACE):
    return SweepOpened(at=0.0, spec={"name": name, "goals": goals, "space": space}, sweep="s", provenance=HERE)


def started(name, number=0, **settings):
    sample = {"objective.rate": 0.1 * number, "model.token_width": 0.25, "model.latents": "anchored"}
    model = {"width": 64, "token_width": 16, "latents": {"kind": "anchored"}}
    spec = {"training": {"steps": 40}, "objective": {"rate": 0.1 * number}, "model": model} | settings
    return TrialStarted(at=0.0, trial=name, number=number, sample=sample, spec=spec)


def wrote(folder, *events):
    with Ledger(folder / NAME) as ledger:
        for event in events:
            ledger.append(event)
    return folder


def sweep(folder, trials, goals=ONE, cause="complete"):
    """trials: (status or None, its last value of each goal) each."""
    told = [opening(folder.name, goals)]
    for number, (status, *values) in enumerate(trials):
        name = f"t{number}"
        told.append(started(name, number))
        for step, worse in ((20, 1.0), (40, 0.0)) if status == "completed" else ((20, 0.0),):
            metrics = {goal["metric"]: value + worse for goal, value in zip(goals, values, strict=True)}
            told.append(Reported(trial=name, step=step, seconds=float(step), metrics=metrics | {"loss/total": 3.0}))
        if status:
            told.append(TrialEnded(at=60.0, trial=name, status=status, step=step, cause="a reason" * (step < 40)))
    return wrote(folder, *told, *([SweepClosed(at=61.0, cause=cause)] if cause else []))


@pytest.fixture
def result(tmp_path):
    """Of a complete sweep: trial 1 is best, then 0; 2 was stopped, 3 failed."""
    trials = [("completed", 5.0), ("completed", 4.0), ("stopped", 6.0), ("failed", 1.0)]
    return load(sweep(tmp_path / "tiny", trials))


def test_trials_come_best_first_as_in_the_report(result):
    assert [trial.number for trial in result.trials] == [1, 0, 2, 3]
    assert [trial.rank for trial in result.trials] == [1, 2, None, None]
    assert [trial.state for trial in result.trials] == ["completed", "completed", "stopped", "failed"]


def test_the_best_trial_tells_what_it_was_and_what_it_measured(result):
    best = result.best
    assert (best.number, best.name, best.values, best.metrics["loss/total"]) == (1, "t1", {NATS: 4.0}, 3.0)
    assert (best.step, best.steps, best.seconds, best.error) == (40, 40, 60.0, "")
    assert best.config["model"]["width"] == 64
    assert best.path == result.path / "trials" / "t1"
    assert result.front == (best,)


def test_parameters_are_sizes_for_ratios_and_names_for_presets(result):
    assert result.best.params == {"objective.rate": 0.1, "model.token_width": 16, "model.latents": "anchored"}


def test_history_has_a_row_a_report(result):
    told = result.history
    assert told["step"].tolist() == [20, 40]
    assert told[NATS].tolist() == [5.0, 4.0]


def test_the_table_has_a_row_a_trial_with_goals_and_settings_as_columns(result):
    table = result.to_dataframe()
    assert table["number"].tolist() == [1, 0, 2, 3]
    assert table[NATS].tolist() == [4.0, 5.0, 6.0, 1.0]
    assert table["objective.rate"].tolist() == pytest.approx([0.1, 0.0, 0.2, 0.3])
    assert table["rank"].tolist() == [1, 2, pd.NA, pd.NA]
    assert {"state", "model.token_width", "step", "steps", "seconds", "error", "loss/total"} <= set(table.columns)


def test_a_sweep_of_which_nothing_has_started_has_an_empty_table(tmp_path):
    assert load(wrote(tmp_path, opening("none"))).to_dataframe().empty


def test_of_several_goals_there_is_a_front_and_no_best(tmp_path):
    trials = [("completed", 5.0, 9.0), ("completed", 4.0, 2.0), ("completed", 6.0, 1.0)]
    result = load(sweep(tmp_path / "two", trials, TWO))
    assert {trial.number for trial in result.front} == {0, 1}
    with pytest.raises(ValueError, match=r"trials \d, \d beat each other .*: .*/two/trials/t\d, .*/two/trials/t\d"):
        _ = result.best


def test_where_no_trial_ended_soundly_there_is_no_best_and_the_reason_is_said(tmp_path):
    result = load(sweep(tmp_path / "bad", [("failed", 1.0), (None, 2.0)], cause="interrupted with 1 trials under way"))
    assert result.front == ()
    with pytest.raises(ValueError, match=r"no trial of it has ended soundly \(interrupted with 1"):
        _ = result.best


@pytest.mark.parametrize(
    ("cause", "state", "complete"),
    [("complete", "complete", True), ("budget spent", "budget spent", False), (None, "under way, or", False)],
)
def test_a_result_says_whether_anything_is_left_to_do(tmp_path, cause, state, complete):
    result = load(sweep(tmp_path, [("completed", 1.0)], cause=cause))
    assert result.state.startswith(state)
    assert result.is_complete == complete
    assert repr(result) == f"<Result of {tmp_path}: 1 trials, {result.state}>"


def test_the_report_is_written_and_shows_itself_in_a_frame(result):
    page = result.report()
    assert page.path == result.path / "report.html"
    assert page.path.read_text().startswith("<!doctype html>")
    assert page._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert report(result.path) == page


def test_what_a_page_holds_does_not_leave_its_frame(tmp_path):
    (tmp_path / "page.html").write_text('<p title="a">"quoted" &amp; \'more\'</p>')
    shown = Report(tmp_path / "page.html")._repr_html_()
    assert shown.count('"') == 4  # those around srcdoc and style


def test_a_notebook_shows_the_table_and_trusts_no_text(tmp_path):
    odd = "<script>alert(1)</script>"
    told = [opening("odd", space={odd: {"choice": [odd, "b"]}})]
    told.append(TrialStarted(at=0.0, trial="t", number=0, sample={odd: odd}, spec={}))
    shown = load(wrote(tmp_path, *told))._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_a_single_run_is_a_result_whose_metrics_and_history_are_its_own(tmp_path):
    told = [opening("run", space={}), TrialStarted(at=0.0, trial="r", number=0, sample={}, spec={})]
    told += [Reported(trial="r", step=1, seconds=1.0, metrics={"loss/total": 2.0})]
    told += [TrialEnded(at=2.0, trial="r", status="failed", step=1, cause="diverged")]
    result = load(wrote(tmp_path, *told))
    assert (result.metrics, len(result.history), result.checkpoint) == ({"loss/total": 2.0}, 1, None)
    assert (result.trials[0].error, result.trials[0].path) == ("diverged", tmp_path)


def test_full_runs_are_results_of_their_own_wherever_the_storage_lies_now(tmp_path):
    folder = sweep(tmp_path / "tiny", [("completed", 5.0)])
    told = Promoted(at=1.0, trial="t0", run="f", folder="/moved/away", changes=(), complete=True, metrics={})
    wrote(folder, told)
    wrote(folder / "promoted" / "f", opening("f", space={}), started("f"))
    (full,) = load(folder).promoted
    assert full.path == folder / "promoted" / "f"


def test_a_folder_without_a_ledger_and_a_damaged_one_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no ledger\.jsonl"):
        load(tmp_path / "nobody")
    ledger = sweep(tmp_path / "tiny", [("completed", 1.0)]) / NAME
    ledger.write_text("x\n" + ledger.read_text())
    with pytest.raises(LedgerFault, match="line 1 is damaged"):
        load(ledger.parent)


def test_loading_imports_neither_torch_nor_ray(result):
    script = "import sys, cogito_ray as cr\ncr.load(sys.argv[1]).to_dataframe()\n"
    script += "sys.exit(', '.join({'torch', 'ray'} & set(sys.modules)) or 0)"
    ran = subprocess.run([sys.executable, "-c", script, str(result.path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A sweep of two trials with checkpoints, of which the second is best: (its folder, the runs)."""
    run, storage = untrained(tmp_path_factory.mktemp("storage"))
    folder, runs = storage / "sweep", [run.model_copy(update={"seed": seed}) for seed in (0, 1)]
    wrote(folder, opening("sweep", space={"seed": {"choice": [0, 1]}}))
    for number, one in enumerate(runs):
        name = one.digest()
        save(one, storage, folder / "trials" / name, ledger=folder / NAME)
        metrics = {NATS: 5.0 - number}
        last = Reported(trial=name, step=1000, seconds=1.0, metrics=metrics)
        wrote(folder, last, TrialEnded(at=1.0, trial=name, status="completed", step=1000))
    wrote(folder, SweepClosed(at=1.0, cause="complete"))
    return folder, runs


def test_the_winners_checkpoint_is_found_and_loaded(trained):
    folder, runs = trained
    result = load(folder)
    assert result.checkpoint == folder / "trials" / runs[1].digest() / "checkpoints" / "step-00000020"
    assert result.best.run_spec == runs[1]
    assert result.encoder().pooled(["a text"], "mean").shape == (1, 16)
    assert not result.model().training


@pytest.mark.parametrize("given", [str, load], ids=["folder", "result"])
def test_what_is_exported_of_a_sweep_is_its_winner_which_is_said(trained, tmp_path, capsys, given):
    folder, runs = trained
    export(given(folder), tmp_path / "out")
    said = capsys.readouterr().out
    assert f"trial 0 ({runs[1].digest()}), winner: {NATS} 4.000" in said
    assert f"run {runs[1].digest()} at step 20" in said


def test_a_trial_that_is_named_is_exported_itself(trained, tmp_path):
    folder, runs = trained
    worse = load(folder).trials[-1]
    export(worse, tmp_path / "out", verbose=False)
    assert f'"{runs[0].digest()}"' in (tmp_path / "out" / "export.json").read_text()
    assert TrainedModel.open(worse.path).run == runs[0]


def test_of_a_front_nothing_is_exported_until_one_is_chosen(tmp_path):
    folder = sweep(tmp_path / "two", [("completed", 5.0, 9.0), ("completed", 4.0, 2.0)], TWO)
    with pytest.raises(ValueError, match=r"choose one of its `front`: .*/trials/t0"):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_result_is_what_it_was_when_it_was_loaded(result):
    wrote(result.path, started("t9", 9))
    assert isinstance(result, Result)
    assert (len(result.trials), len(load(result.path).trials)) == (4, 5)


def test_a_notebook_shows_what_was_varied_and_the_goals_but_not_every_metric(result):
    shown = result._repr_html_()
    assert "objective.rate" in shown
    assert NATS in shown
    assert "loss/total" not in shown
