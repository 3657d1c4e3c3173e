"""Where a study is kept: in a journal or a database, and that no password is."""

import sys

import pytest
from optuna.storages import JournalStorage, RDBStorage
from pydantic import ValidationError
from test_searcher import run, sweep

from cogito_ray.records.record import Record
from cogito_ray.runtime.searcher import OptunaSearcher
from cogito_ray.runtime.study import storage_of


def search_in(folder, spec, record):
    storage = storage_of(spec, folder, record)
    return OptunaSearcher(spec, storage, record, policy=spec.policy(), over=lambda name, verdict: None)


def test_a_study_is_kept_in_the_sweeps_folder_unless_a_database_is_named(tmp_path):
    assert isinstance(storage_of(sweep(), tmp_path, Record()), JournalStorage)
    named = sweep(search={"storage": f"sqlite:///{tmp_path}/study.db"})
    assert isinstance(storage_of(named, tmp_path, Record()), RDBStorage)


def test_a_study_in_a_database_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path / "study.db"))
    spec = sweep(search={"storage": "sqlite:///${WHERE}"})
    first = search_in(tmp_path, spec, Record())
    handed = first.suggest("a")
    assert search_in(tmp_path, spec, Record()).suggest("b") == handed


def test_what_a_folder_does_not_know_of_in_a_database_is_refused(tmp_path):
    spec = sweep(search={"storage": f"sqlite:///{tmp_path}/study.db"})
    run(search_in(tmp_path, spec, Record()), "t")
    with pytest.raises(ValueError, match="that this folder's ledger does not know"):
        storage_of(spec, tmp_path / "elsewhere", Record())


def test_a_database_whose_driver_is_not_installed_is_refused_by_the_drivers_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    spec = sweep(search={"storage": "postgresql+psycopg2://me@host/optuna"})
    with pytest.raises(ValueError, match=r"search\.storage: this database needs a driver .* psycopg2"):
        storage_of(spec, tmp_path, Record())


def test_a_secret_that_is_not_set_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    spec = sweep(search={"storage": "postgresql://me:${DB_PASSWORD}@host/optuna"})
    with pytest.raises(ValueError, match="DB_PASSWORD is not set in the environment"):
        storage_of(spec, tmp_path, Record())


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
