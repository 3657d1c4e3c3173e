"""An export writes over nothing but an earlier export."""

import resource
import sys

import pytest
from safetensors import SafetensorError

from cogito_ray.cli import main
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.training.checkpoints.manifest import verify

NEWEST = "checkpoints/step-00000020"


@pytest.fixture
def export(trained, monkeypatch, capsys):
    """(exit status, standard error) of `cogito-ray export` of the run, or of one of its checkpoints."""

    def call(folder, checkpoint=""):
        monkeypatch.setattr(sys, "argv", ["cogito-ray", "export", str(trained[1] / checkpoint), str(folder)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().err

    return call


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", [NEWEST, "checkpoints/step-00000030", f"{NEWEST}/exported", "checkpoints"])
def test_no_export_is_written_among_checkpoints(trained, export, place):
    before = content(trained[1])
    status, error = export(trained[1] / place)
    assert status == 2
    assert "checkpoints to resume from; export into a folder outside of it" in error
    assert content(trained[1]) == before
    verify(trained[1] / NEWEST)


def test_no_file_of_somebody_elses_is_written_over(export, tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("mine")
    monkeypatch.chdir(tmp_path)
    status, error = export(".")
    assert status == 2
    assert error == f"{tmp_path}: holds what no export wrote (README.md); give a new or an empty folder\n"
    assert content(tmp_path) == {(tmp_path / "README.md").relative_to(tmp_path): b"mine"}
    status, error = export("README.md")
    assert (status, error) == (2, f"{tmp_path}/README.md: this is a file; export into a new folder\n")


def test_an_earlier_export_is_replaced_and_what_was_added_to_it_stays(export, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export(".", "checkpoints/step-00000010")[0] == 0
    (tmp_path / "notes.txt").write_text("mine")
    first = content(tmp_path)
    assert export(".")[0] == 0
    second = content(tmp_path)
    assert second.keys() == first.keys()
    assert {str(name) for name in first if first[name] != second[name]} == {"README.md", "export.json"}    # the step


def test_what_was_changed_in_an_earlier_export_is_not_lost(export, tmp_path):
    export(tmp_path / "new")
    with (tmp_path / "new" / "README.md").open("a") as card:
        card.write("My own words.")
    status, error = export(tmp_path / "new")
    assert status == 2
    assert "changed since it was exported (README.md); move that away, or give a new folder" in error
    assert (tmp_path / "new" / "README.md").read_text().endswith("My own words.")


@pytest.mark.parametrize("name", ["earlier", "new"])
def test_an_export_onto_a_full_disk_leaves_what_was_there(trained, tmp_path, name):
    opened = TrainedModel.open(trained[1])
    opened.export(tmp_path / "earlier")
    before, limits = content(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises((OSError, SafetensorError), match="File too large"):
            opened.export(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["earlier"]
