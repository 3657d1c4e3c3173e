"""Provenance: by what a sweep was made."""

import platform
import subprocess

import pytest

from cogito_ray.records.ledger import NAME, Ledger, Reported, SweepClosed, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.notebook.notebook_page import read
from cogito_ray.records.pages.report_page import numbered, origins, render
from cogito_ray.records.provenance import Provenance, collect
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import fold

NATS = "eval/reconstruction_nats"


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_clean_checkout_is_named_by_its_commit(checkout):
    folder, commit = checkout
    found = collect(host="here", source=folder)
    assert (found.commit, found.dirty, found.host) == (commit, False, "here")


def test_changes_that_no_commit_holds_are_confessed(checkout):
    folder, _ = checkout
    (folder / "file").write_text("two")
    assert collect(host="here", source=folder).dirty


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    found = collect(host="here", source=tmp_path)
    assert (found.commit, found.dirty) == (None, False)


def test_versions_name_python_and_what_is_installed():
    versions = collect(host="here").versions
    assert versions["python"] == platform.python_version()
    assert {"torch", "optuna", "cogito-ray"} <= set(versions)


def test_changes_that_no_commit_holds_are_told_apart_by_the_sources(checkout):
    folder, commit = checkout
    (folder / "file").write_text("two")
    one = collect(host="here", source=folder)
    assert one.code == f"{commit[:12]} with changes ({one.source})"
    other = one.model_copy(update={"source": "0" * 12})
    assert one.changes(other) == [f"code: {one.code} -> {other.code}"]
    assert one.changes(one.model_copy(update={"host": "there"})) == []


def test_packages_that_changed_are_named_with_both_versions():
    one = Provenance(commit="a" * 40, dirty=False, versions={"torch": "2.12", "ray": "2.60"}, host="here")
    other = one.model_copy(update={"versions": {"torch": "2.13", "ray": "2.60", "optuna": "5.0"}})
    assert one.changes(other) == ["torch: 2.12 -> 2.13", "optuna: none -> 5.0"]


def test_gpus_of_another_kind_are_named_where_both_are_known():
    one = Provenance(commit="a" * 40, dirty=False, versions={}, host="here")
    here, there = (one.model_copy(update={"gpus": gpus}) for gpus in ((), ("A100", "H100")))
    assert here.changes(there) == ["GPUs: none -> A100, H100"]
    assert one.changes(there) == there.changes(one) == here.changes(here) == []


def began(number):
    spec = {"training": {"steps": 10}, "seed": 0}
    return TrialStarted(at=0.0, trial=f"t{number}", number=number, sample={"seed": 0}, spec=spec)


def ended(number, value):
    reported = Reported(trial=f"t{number}", step=10, seconds=1.0, metrics={NATS: value})
    return [reported, TrialEnded(at=1.0, trial=f"t{number}", status="completed", step=10)]


def drivers(*commits):
    spec = {"name": "tiny", "goals": [{"metric": NATS, "mode": "min"}], "space": {"seed": {"choice": [0]}}}
    origins = [Provenance(commit=commit * 40, dirty=False, versions={}, host="here") for commit in commits]
    return [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin) for origin in origins]


def test_each_trial_is_set_beside_the_code_that_made_it_and_readers_are_warned(tmp_path):
    first, second = drivers("a", "b")
    told = [first, began(0), *ended(0, 4.0), began(1), second, began(1), *ended(1, 5.0), began(2), *ended(2, 6.0)]
    record = fold([*told, SweepClosed(at=9.0, cause="complete")])
    ranking = rank(record)
    assert [row.code for row in ranking.rows] == [("a" * 12,), ("a" * 12, "b" * 12), ("b" * 12,)]
    assert "made by different code" in ranking.footnote
    assert record.trials["t1"].notes == [
        f"step 0: goes on with other code, packages or GPUs: code: {'a' * 12} -> {'b' * 12}"
    ]
    assert [(one.provenance.commit[0], one.trials) for one in origins(record)] == [("a", (0, 1)), ("b", (1, 2))]
    page = render(record, tmp_path)
    assert f"<code>{'a' * 40}</code>: trials 0, 1" in page
    assert f"<code>{'b' * 40}</code>: trials 1, 2" in page
    folder = tmp_path / "tiny"
    with Ledger(folder / NAME) as ledger:
        for event in told:
            ledger.append(event)
    [best] = read([tmp_path])[0]
    assert best.cells["code"] == "a" * 12


def test_where_the_code_stayed_the_same_nothing_is_said_of_it(tmp_path):
    first, second = drivers("a", "a")
    record = fold([first, began(0), second, began(0), *ended(0, 4.0)])
    assert record.trials["t0"].notes == []
    assert rank(record).footnote == ""
    assert len(origins(record)) == 1


@pytest.mark.parametrize(
    ("trials", "said"),
    [((), "no trial"), ((3,), "trial 3"), ((0, 1), "trials 0, 1"), ((0, 1, 2, 5, 7, 8), "trials 0 to 2, 5, 7, 8")],
)
def test_trials_in_a_row_are_named_by_their_ends(trials, said):
    assert numbered(trials) == said
