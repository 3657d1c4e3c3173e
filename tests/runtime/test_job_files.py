"""What goes to a cluster with a submitted job, and what Ray leaves in a home, by Ray's own code."""

from pathlib import Path

from ray._private.authentication.authentication_token_setup import _get_default_token_path

from cogito_ray import plugins
from cogito_ray.plans.plan_file import read, self_contained
from cogito_ray.runtime.jobs.job_files import gathered
from cogito_ray.runtime.jobs.submitted_job import job_name
from cogito_ray.sweeps.yaml_io.yaml_loader import Document, load

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"


def sent(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_settings_go_as_one_file_with_plugins_beside_it_and_nothing_else_of_their_folder(tmp_path):
    (tmp_path / "base.yaml").write_text(QUICKSTART.read_text())
    for name in (".env", "id_rsa", "notes.txt"):
        (tmp_path / name).write_text("secret")
    (tmp_path / "sent_kind.py").write_text("TOLD = 1\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nname: mine\nrun: {plugins: [./sent_kind.py]}\n")
    document = Document.read(tmp_path / "mine.yaml", ["budget.trials=3"])
    with gathered(document, package=False) as files:
        assert sent(files.folder) == {"mine.yaml", "sent_kind.py"}
        assert str(files) == "mine.yaml, sent_kind.py (0.0 MB)"
        plugins.unload()
        there = load(files.folder / "mine.yaml", ["run.plugins=null"])
        assert (there.name, there.budget.trials) == ("mine", 3)
        assert "plugins: [sent_kind]" in (files.folder / "mine.yaml").read_text()


def test_the_package_goes_along_whole_and_without_what_was_compiled(tmp_path):
    with gathered(None, package=True) as files:
        assert {name for name in sent(files.folder) if name.endswith(".pyc")} == set()
        assert {"cogito_ray/cli.py", "cogito_ray/text/sources/packages.txt"} <= sent(files.folder)
        assert {Path(name).parts[0] for name in sent(files.folder)} == {"cogito_ray"}


def test_two_jobs_are_the_same_where_their_settings_are(tmp_path):
    digests = []
    for overrides in ([], [], ["budget.trials=3"]):
        with gathered(Document.read(QUICKSTART, overrides), package=False) as files:
            digests.append(files.digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_job_is_named_by_its_command_name_and_storage():
    names = {job_name(*asked) for asked in (("sweep", "a", "/s"), ("train", "a", "/s"), ("sweep", "a", "/t"))}
    assert len(names) == 3
    assert job_name("sweep", "a", "/s") in names


def test_the_documentation_names_the_file_that_ray_leaves_at_home():
    token = _get_default_token_path().relative_to(Path.home())
    assert f"`~/{token}`" in (ROOT / "docs" / "how-to" / "resume.md").read_text()


def test_a_plan_goes_as_one_file_with_the_settings_and_plugins_of_its_phases(tmp_path):
    (tmp_path / "planned_kind.py").write_text("TOLD = 1\n")
    (tmp_path / "mine.yaml").write_text(f"extends: {QUICKSTART}\nrun: {{plugins: [./planned_kind.py]}}\n")
    (tmp_path / "plan.yaml").write_text("name: road\nphases: {search: {kind: sweep, file: mine.yaml}}\n")
    name, document = self_contained(tmp_path / "plan.yaml")
    with gathered(document, package=False) as files:
        assert (name, sent(files.folder)) == ("road", {"plan.yaml", "planned_kind.py"})
        plugins.unload()
        there = read(files.folder / "plan.yaml", ["phases.search.settings.run.plugins=[]"])
        assert there.settings["search"].budget.trials == load(QUICKSTART).budget.trials
        assert "plugins: [planned_kind]" in (files.folder / "plan.yaml").read_text()
