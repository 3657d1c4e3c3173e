"""The folder of a sweep: still the same one or refused, and all that is missing is found before anything is spent."""

import copy
import os
from dataclasses import replace

import pytest
from corpora import tiny_run

from cogito_ray.records.file_locks import Busy
from cogito_ray.records.ledger import NAME, Ledger, LedgerFault, Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.experiment_folder import ExperimentFolder, OtherSettings, closing, refuse_missing_text
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.runtime.train.promotion_driver import promote
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import ELASTIC, SweepSpec

GOALS = [{"metric": "eval/reconstruction_nats", "mode": "min"}]


@pytest.fixture
def experiment_of(tmp_path):
    """The experiment of a sweep in one folder, whatever of it is changed."""
    tree = {"name": "tiny", "run": tiny_run(tmp_path), "space": {"seed": {"randint": [0, 9]}}, "goals": GOALS}

    def made(**changed):
        spec = SweepSpec.model_validate(tree | {"budget": {"trials": 4}} | changed)
        return ExperimentFolder(tmp_path / "tiny", spec.model_dump(mode="json"), ELASTIC, {"": SweepSpec})

    return made


def test_a_home_in_which_nothing_was_written_is_new(experiment_of):
    experiment = experiment_of()
    assert experiment.recorded() is None
    with Ledger(experiment.ledger):
        pass
    assert experiment.ledger.name == NAME
    assert experiment.recorded() is None


@pytest.mark.parametrize("kept", [1, 100, -2])
def test_a_home_whose_driver_was_killed_in_its_very_first_write_is_new(experiment_of, kept):
    experiment = experiment_of()
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
    experiment.ledger.write_bytes(experiment.ledger.read_bytes()[:kept])
    assert experiment.recorded() is None
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
    assert len(experiment.recorded().openings) == 1


@pytest.mark.parametrize(
    ("asked", "finished"), [({}, True), ({"budget": {"trials": 5}}, False), ({"seeds": 2}, False), ({"seeds": 0}, True)]
)
def test_a_complete_sweep_is_finished_until_more_trials_or_seeds_are_asked_for(experiment_of, asked, finished):
    experiment = experiment_of()
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
        assert not experiment.is_finished(experiment.recorded())
        ledger.append(closing())
    assert replace(experiment, spec=experiment.spec | asked).is_finished(experiment.recorded()) == finished


@pytest.mark.parametrize("left", ["trials/a/checkpoints", "checkpoints", "study.journal"])
@pytest.mark.parametrize("ledger", [None, b"", b'{"event":"sweep_op'], ids=["deleted", "empty", "torn"])
def test_a_home_that_lost_its_ledger_but_not_what_it_told_of_is_refused_with_a_way_out(experiment_of, left, ledger):
    experiment = experiment_of()
    (experiment.folder / left).mkdir(parents=True)
    if ledger is not None:
        experiment.ledger.write_bytes(ledger)
    with pytest.raises(LedgerFault, match=rf"is missing or empty, but {left.split('/')[0]} .* put the ledger back, or"):
        experiment.recorded()


def test_what_was_started_with_other_settings_is_refused_with_the_difference_and_a_way_out(experiment_of):
    with Ledger(experiment_of().ledger) as ledger:
        ledger.append(experiment_of().opening())
    with pytest.raises(OtherSettings, match=r"question: '' -> why\?\ngive this one another name"):
        experiment_of(question="why?").recorded()


@pytest.mark.parametrize(
    "changed",
    [
        {"budget": {"trials": 9, "wall": "8h"}},
        {"concurrency": 3},
        {"promote": {"with": {"training.steps": 50}}},
    ],
    ids=["budget", "concurrency", "promote"],
)
def test_what_is_spent_on_a_sweep_may_change_while_it_keeps_its_name(experiment_of, changed):
    with Ledger(experiment_of().ledger) as ledger:
        ledger.append(experiment_of().opening())
    assert experiment_of(**changed).recorded().openings[0].spec == experiment_of().spec


def test_all_that_runs_lack_is_told_at_once_and_once(tmp_path):
    tree = tiny_run(tmp_path)
    tree["evaluation"] = {"stsb": str(tmp_path / "stsb")}
    tree["data"]["sources"]["first"]["path"] = str(tmp_path / "lost")
    run = RunSpec.model_validate(tree)
    with pytest.raises(ValueError, match="lost") as refused:
        refuse_missing_text([run.data, run.data], [run, run])
    data, stsb = str(refused.value).splitlines()
    assert data.startswith("data.sources.first.path: ")
    assert stsb.startswith(f"evaluation.stsb: {tmp_path / 'stsb' / 'validation.parquet'} is missing")


def test_a_second_driver_is_refused_with_the_name_of_the_first_and_others_may_write_meanwhile(experiment_of):
    experiment = experiment_of()
    with experiment.driving():
        with pytest.raises(Busy, match=rf"tiny has a driver already \(process {os.getpid()} on "), experiment.driving():
            pass
        with Ledger(experiment.ledger) as ledger:
            ledger.append(experiment.opening())
    with experiment.driving():
        pass


def test_train_sweep_and_promote_are_refused_while_another_one_drives(tmp_path):
    tree = tiny_run(tmp_path)
    run = RunSpec.model_validate(tree)
    driving = ExperimentFolder.of_run(run, "alone", tmp_path).driving()
    with driving, pytest.raises(Busy, match="alone has a driver already"):
        pretrain(run, "alone", tmp_path)
    named = {"name": "tiny", "run": tree, "space": {"seed": {"choice": [0]}}, "goals": GOALS, "budget": {"trials": 1}}
    spec = SweepSpec.model_validate(named | {"promote": {"with": {"training.steps": 50}}})
    experiment = ExperimentFolder.of_sweep(spec, tmp_path)
    with experiment.driving(), pytest.raises(Busy, match="tiny has a driver already"):
        run_sweep(spec, tmp_path)
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
        one = {"trial": (done := spec.trial({"seed": 0})).digest()}
        ledger.append(TrialStarted(at=0.0, number=0, sample={"seed": 0}, spec=done.model_dump(mode="json"), **one))
        ledger.append(Reported(step=6, seconds=1.0, metrics={GOALS[0]["metric"]: 2.0}, **one))
        ledger.append(TrialEnded(at=1.0, status="completed", step=6, **one))
        ledger.append(closing())
    with experiment.driving(), pytest.raises(Busy, match="tiny has a driver already"):
        promote(spec, tmp_path)


def opened(experiment, spec, commit="aaaaaaaaaaaaaaaa"):
    """A ledger that an earlier version opened with this spec."""
    origin = Provenance(commit=commit, dirty=False, versions={"cogito-ray": "0.1.0"}, host="there")
    with Ledger(experiment.ledger) as ledger:
        ledger.append(SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin))


def without(tree, *path):
    """The tree, as a version wrote it that did not have the setting at `path` yet."""
    older = copy.deepcopy(tree)
    inner = older
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return older


@pytest.mark.parametrize("path", [("search", "warm_start"), ("early_stopping",), ("constraints",), ("exclude",)])
def test_a_setting_that_an_older_ledger_lacks_means_its_default(experiment_of, path):
    experiment = experiment_of()
    opened(experiment, without(experiment.spec, *path))
    assert experiment.recorded() is not None


def test_a_setting_that_an_older_ledger_lacks_and_that_is_not_at_its_default_now_is_a_difference(experiment_of):
    opened(experiment_of(), without(experiment_of().spec, "question"))
    with pytest.raises(OtherSettings, match=r"question: '' -> why\?"):
        experiment_of(question="why?").recorded()


def test_a_setting_that_is_gone_is_told_with_its_place_and_a_way_out(experiment_of):
    experiment = experiment_of()
    opened(experiment, experiment.spec | {"search": experiment.spec["search"] | {"patience": 3}, "mood": "grim"})
    with pytest.raises(OtherSettings) as refused:
        experiment.recorded()
    said = str(refused.value)
    assert "was started by other code (aaaaaaaaaaaa), with settings that this version does not read:" in said
    assert "search.patience: " in said
    assert "mood: " in said
    assert said.endswith("go on with the version that started it, or give this one another name")


def test_of_a_single_run_a_setting_that_came_later_means_its_default_and_one_that_is_gone_is_told(tmp_path):
    run = RunSpec.model_validate(tiny_run(tmp_path))
    experiment = ExperimentFolder.of_run(run, "one", tmp_path)
    opened(experiment, without(experiment.spec, "run", "training", "stall_s"))
    assert experiment.recorded() is not None
    experiment = ExperimentFolder.of_run(run, "two", tmp_path)
    opened(experiment, experiment.spec | {"run": experiment.spec["run"] | {"mood": "grim"}})
    with pytest.raises(OtherSettings, match=r"  run\.mood: "):
        experiment.recorded()


def test_whoever_goes_on_with_other_code_is_told_which_and_whoever_does_not_is_told_nothing(experiment_of):
    experiment = experiment_of()
    opened(experiment, experiment.spec)
    assert "code: aaaaaaaaaaaa -> " in experiment.other_code(experiment.recorded())
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
    assert experiment.other_code(experiment.recorded()) == ""


def test_what_other_defaults_made_is_not_taken_up_again(tmp_path):
    run = RunSpec.model_validate(tiny_run(tmp_path))
    told = {"at": 0.0, "number": 0, "sample": {}, "spec": run.model_dump(mode="json")}
    for name, trial in (("same", run.digest()), ("other", "of-other-defaults")):
        experiment = ExperimentFolder.of_run(run, name, tmp_path)
        opened(experiment, experiment.spec)
        with Ledger(experiment.ledger) as ledger:
            ledger.append(TrialStarted(trial=trial, **told))
    assert ExperimentFolder.of_run(run, "same", tmp_path).recorded() is not None
    with pytest.raises(OtherSettings, match=f"trial 0 was run of-other-defaults, and is {run.digest()} by those of"):
        ExperimentFolder.of_run(run, "other", tmp_path).recorded()
