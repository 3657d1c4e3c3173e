"""Provenance: by what a sweep was made."""

import platform
import subprocess

import pytest

from cogito_ray.records.provenance import collect


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
