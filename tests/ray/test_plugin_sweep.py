"""A kind from a file outside of the package is swept: workers, a reader elsewhere and the record know of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from corpora import prepared_run

from cogito_ray import plugins
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.yaml_io.yaml_loader import load
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"
OPEN = """\
import sys
from pathlib import Path
from cogito_ray.evaluation.checkpoint_loader import TrainedModel, newest
print(TrainedModel.open(newest(Path(sys.argv[1]))).run.loss.regularisers[0].kind)
"""

SEND = """\
import sys
from pathlib import Path
import ray
from cogito_ray import plugins
from cogito_ray.runtime.cluster import cluster
from cogito_ray.sweeps.yaml_io.yaml_loader import load
run = load(Path(sys.argv[1]) / "sweep.yaml").trial({"loss.regularisers": "spread"})
with cluster():
    Path(run.plugins[0]).unlink()               # as on a machine that shares no folder with the driver's
    print(ray.get(ray.remote(lambda run: run.loss.regularisers[0].kind).remote(run)))
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a plugin and a sweep of it, as the documentation shows them."""
    [code] = re.findall(r'```python title="my_losses.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    (tmp_path / "my_losses.py").write_text(code)
    sweep = {
        "name": "spread",
        "plugins": ["my_losses.py"],
        "run": prepared_run(tmp_path),
        "space": {"loss.regularisers": {"preset": {"none": [], "spread": [{"kind": "spread", "margin": 100.0}]}}},
        "search": {"sampler": "grid"},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 2},
    }
    (tmp_path / "sweep.yaml").write_text(dump(sweep))
    yield tmp_path
    plugins.unload()


def test_a_regulariser_of_a_plugin_is_swept_opened_elsewhere_and_its_changes_are_told(project):
    sweep = load(project / "sweep.yaml")
    record = run_sweep(sweep, project)
    [spread] = [trial for trial in record.trials.values() if trial.sample["loss.regularisers"] == "spread"]
    assert {trial.status for trial in record.trials.values()} == {"completed"}
    assert spread.known["loss/spread"] > 0
    said = subprocess.check_output([sys.executable, "-c", OPEN, project / "spread" / "trials" / spread.id], text=True)
    assert said == "spread\n"
    (project / "my_losses.py").write_text((project / "my_losses.py").read_text() + "# another version\n")
    assert "my_losses" in ExperimentFolder.of_sweep(load(project / "sweep.yaml"), project).other_code(record)


def test_a_file_that_a_machine_does_not_have_is_sent_to_it(project):
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    said = subprocess.check_output([sys.executable, "-c", SEND, project], text=True, env=environment)
    assert said.splitlines()[-1] == "spread"
