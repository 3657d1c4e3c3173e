"""`cogito-ray init`: a project that works as it is written."""

import json
import sys
from pathlib import Path

import pytest

from cogito_ray.cli import main
from cogito_ray.sweeps.yaml_io.yaml_loader import load, load_run

QUICKSTART = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"


@pytest.fixture
def init(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cogito-ray", "init", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


@pytest.fixture
def project(init, tmp_path):
    assert init(tmp_path / "new" / "project")[0] == 0
    return tmp_path / "new" / "project"


def test_the_projects_sweep_is_the_quickstart_under_another_name(project):
    own, quickstart = load(project / "sweep.yaml"), load(QUICKSTART)
    parts = {"exclude": {"name", "run", "promote", "scale"}}    # a base run may say something else than an axis sets
    assert own.model_dump(**parts) == quickstart.model_dump(**parts)
    corners = list(own.search_space.corners())
    assert [own.trial(corner) for corner in corners] == [quickstart.trial(corner) for corner in corners]


def test_every_yaml_of_the_project_is_sound(project):
    runs = {file.relative_to(project).as_posix() for file in project.rglob("*.yaml")} - {"sweep.yaml"}
    assert runs == {"run.yaml", "proxies/small.yaml"}
    assert all(load_run(project / file) for file in runs)


def test_what_is_written_by_running_it_is_ignored_by_git(project):
    assert "runs/" in (project / ".gitignore").read_text().splitlines()
    assert not (project / "gitignore").exists()


def test_the_readme_names_the_files_that_are_there(project):
    text = (project / "README.md").read_text()
    assert all(f"`{file.relative_to(project).as_posix()}`" in text for file in project.rglob("*.yaml"))


def test_a_folder_that_holds_something_is_refused_and_left_as_it_is(init, tmp_path):
    (tmp_path / "mine").write_text("kept")
    for place in (tmp_path, tmp_path / "mine"):
        status, _, complaints = init(place)
        assert status == 2
        assert complaints == f"{place} is not an empty folder; name one that is empty, or not there yet\n"
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_files_are_told_as_json(init, tmp_path):
    told = json.loads(init(tmp_path, "--json")[1])
    assert sorted(told["files"]) == sorted(str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file())
