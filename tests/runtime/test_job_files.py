"""What goes to a cluster with a submitted job, and what Ray leaves in a home, by Ray's own code."""

import zipfile
from pathlib import Path

import yaml
from ray._private.authentication.authentication_token_setup import _get_default_token_path
from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).parents[2]
SECRETS = [".env", ".env.local", "deep/er/.env", ".netrc", "host.pem", "keys/host.key", "id_rsa", ".aws/credentials"]
LOCAL = ["runs/quickstart/ledger.jsonl", ".venv/bin/python", "build/x"]
SENT = ["cogito_ray/cli.py", "jobs/sweep.py", "search_spaces/quickstart.yaml", "deep/environment.py"]


def sent(folder, excludes):
    for name in SECRETS + LOCAL + SENT:
        (folder / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "work" / name).write_text(name)
    package = folder / "package.zip"
    create_package(str(folder / "work"), package, include_gitignore=True, excludes=excludes)
    with zipfile.ZipFile(package) as opened:
        return {name for name in opened.namelist() if not name.endswith("/")}


def test_a_job_takes_the_package_along_but_no_secret_and_no_result(tmp_path):
    assert sent(tmp_path, yaml.safe_load((ROOT / "jobs" / "runtime_env.yaml").read_text())["excludes"]) == set(SENT)


def test_without_the_jobs_own_excludes_env_files_are_kept_back_by_what_git_ignores(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    names = {Path(name).name for name in sent(tmp_path, [])}
    assert not names & {".env", ".env.local", ".netrc", "host.pem", "host.key"}


def test_the_documentation_names_the_file_that_ray_leaves_at_home():
    token = _get_default_token_path().relative_to(Path.home())
    assert f"`~/{token}`" in (ROOT / "docs" / "how-to" / "resume.md").read_text()
