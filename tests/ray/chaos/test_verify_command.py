"""What users are told to check holds here, and the command says so."""

import json
import subprocess
import sys

import pytest

from cogito_ray.sweeps.yaml_io.yaml_writer import dump

TRAININGS = {"resume": 2, "chaos": 2, "order": 4}


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("check", TRAININGS)
def test_a_sound_run_is_verified(base, storage, check):
    file = storage / "verified.yaml"
    file.write_text(dump(base.model_dump(mode="json")))
    asked = [check, str(file), "--storage", str(storage), "--steps", "200", "--json"]
    done = subprocess.run([sys.executable, "-m", "cogito_ray", "verify", *asked], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["holds"]
    assert len(told["trainings"]) == TRAININGS[check]
    assert len({training["rows"] for training in told["trainings"]}) == 1
