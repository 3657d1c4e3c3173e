"""The copy of a study: complete however it was left, nothing is read from it, and no password is anywhere in it."""

import sys

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from pydantic import ValidationError
from ray import cloudpickle
from test_searcher import ONE, RANK, TWO, measured, run, sweep

from cogito_ray.runtime.search.optuna_storage_copy import JOURNAL, StudyCopy
from cogito_ray.runtime.trial_recorder import progress
from cogito_ray.testing.search_driver import Driven


def copied(folder, spec, log=()):
    """A search whose study is copied, as a driver starts it."""
    search = Driven(spec, log)
    search.search.follow(StudyCopy(spec, folder, search.trials).update)
    return search


def told(study):
    """All that a dashboard shows, times aside."""
    fields = ("number", "state", "values", "params", "distributions", "intermediate_values", "user_attrs")
    return [(trial.constraints, *(getattr(trial, field) for field in fields)) for trial in study]


def journal(folder):
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name=None, storage=storage).get_trials()


def database(spec, url):
    return optuna.load_study(study_name=spec.identity(), storage=url).get_trials()


@pytest.mark.parametrize("goals", [ONE, TWO], ids=["one goal", "two goals"])
def test_a_journal_in_the_sweeps_folder_tells_what_the_study_does(tmp_path, goals):
    spec = sweep(goals=goals, constraints={RANK: ">= 6"})
    search = copied(tmp_path, spec)
    run(search, "a")
    run(search, "b", step=50)
    search.suggest("c")
    assert told(journal(tmp_path)) == told(search.trials)
    assert [trial.state for trial in journal(tmp_path)] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]


def test_the_copy_has_the_times_of_the_ledger_also_when_it_is_made_anew(tmp_path):
    first = copied(tmp_path, sweep())
    run(first, "a")
    before = journal(tmp_path)[0]
    (tmp_path / JOURNAL).unlink()
    copied(tmp_path, sweep(), first.log)
    after = journal(tmp_path)[0]
    assert abs(after.datetime_start - before.datetime_start).total_seconds() < 1
    assert abs(after.datetime_complete - before.datetime_complete).total_seconds() < 1


@pytest.mark.parametrize("kept", [None, 0.0, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_a_journal_that_was_deleted_or_torn_anywhere_is_whole_again_and_changes_no_proposal(tmp_path, kept):
    spec = sweep(search={"sampler": "random"})
    undisturbed = Driven(spec)
    expected = [run(undisturbed, f"t{n}")["sample"] for n in range(4)]
    first = copied(tmp_path, spec)
    samples = [run(first, f"t{n}")["sample"] for n in range(2)]
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(whole[: int(len(whole) * kept)])
    second = copied(tmp_path, spec, first.log)
    samples += [run(second, f"t{n}")["sample"] for n in range(2)]
    assert samples == expected
    assert told(journal(tmp_path)) == told(second.trials)


def test_a_database_is_brought_up_to_date_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path / "study.db"))
    spec = sweep(search={"storage": "sqlite:///${WHERE}"})
    first = copied(tmp_path, spec)
    run(first, "a")
    first.suggest("b")
    log = list(first.log)
    away = Driven(spec, log)                                        # while the database is away
    again = away.suggest("b")
    away.report("b", 50, measured(again))
    away.end("b", progress(50, measured(again)))
    run(away, "c")
    last = copied(tmp_path, spec, away.log)
    assert told(database(spec, f"sqlite:///{tmp_path}/study.db")) == told(last.trials)
    assert not (tmp_path / JOURNAL).exists()


def test_a_study_in_a_database_that_is_not_how_this_one_began_is_made_anew(tmp_path):
    spec = sweep(search={"storage": f"sqlite:///{tmp_path}/study.db"})
    first = copied(tmp_path, spec)
    run(first, "a")
    run(first, "b")
    [one, two] = database(spec, spec.search.storage)
    optuna.delete_study(study_name=spec.identity(), storage=spec.search.storage)
    mixed = optuna.create_study(study_name=spec.identity(), storage=spec.search.storage, direction="minimize")
    mixed.add_trial(two)
    mixed.add_trial(one)
    second = copied(tmp_path, spec, first.log)
    assert told(database(spec, spec.search.storage)) == told(second.trials)


def test_what_a_folder_does_not_know_of_in_a_database_is_refused(tmp_path):
    spec = sweep(search={"storage": f"sqlite:///{tmp_path}/study.db"})
    run(copied(tmp_path, spec), "t")
    with pytest.raises(ValueError, match="that this folder's ledger does not know"):
        copied(tmp_path / "elsewhere", spec)


def test_a_copy_that_cannot_be_written_ends_no_sweep_and_names_no_secret(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WHERE", str(tmp_path / "hunter2" / "study.db"))
    spec = sweep(search={"storage": "sqlite:///${WHERE}"})
    search = copied(tmp_path, spec)
    assert run(search, "a")
    assert "the copy of the study in sqlite:///${WHERE} is not written" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_secret_is_in_nothing_that_is_pickled(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path / "hunter2.db"))
    spec = sweep(search={"storage": "sqlite:///${WHERE}"})
    search = copied(tmp_path, spec)
    run(search, "a")
    copy = StudyCopy(spec, tmp_path, search.trials)
    assert b"hunter2" not in cloudpickle.dumps((search.search, copy, copy.update))


def test_a_database_whose_driver_is_not_installed_is_refused_by_the_drivers_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    spec = sweep(search={"storage": "postgresql+psycopg2://me@host/optuna"})
    with pytest.raises(ValueError, match=r"search\.storage: this database needs a driver .* psycopg2"):
        StudyCopy(spec, tmp_path, [])


def test_a_secret_that_is_not_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    spec = sweep(search={"storage": "postgresql://me:${DB_PASSWORD}@host/optuna"})
    with pytest.raises(ValueError, match="DB_PASSWORD is not set in the environment"):
        StudyCopy(spec, tmp_path, [])


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgresql://me:hunter2@host/optuna", "holds a password"),
        ("postgresql://host/optuna?user=me&password=hunter2", "holds a password"),
        ("somewhere", "is no URL of a database"),
    ],
)
def test_a_url_with_a_password_is_refused_without_repeating_it(url, fault):
    with pytest.raises(ValidationError, match=fault) as error:
        sweep(search={"storage": url})
    assert "hunter2" not in "".join(one["msg"] for one in error.value.errors())
