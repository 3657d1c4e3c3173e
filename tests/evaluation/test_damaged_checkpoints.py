"""No command takes a torn or altered checkpoint for a whole one."""

import os
import shutil
import sys

import pytest

from cogito_ray.cli import main
from cogito_ray.evaluation.checkpoint_loader import TrainedModel, newest_of_each

NEWEST = "checkpoints/step-00000020"


def altered(folder):
    """Bytes in the midst of the weights, as a bad disk leaves them."""
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-200, os.SEEK_END)
        file.write(bytes(range(100)))
    return "model.safetensors: altered (sha256 "


def torn(folder):
    os.truncate(folder / "model.safetensors", 100)
    return "model.safetensors: altered (sha256 "


def torn_state(folder):
    os.truncate(folder / "state.json", 9)
    return "state.json: altered (sha256 "


def torn_manifest(folder):
    os.truncate(folder / "manifest.json", 40)
    return "manifest.json: missing or torn, so the checkpoint was not finished"


def emptied_manifest(folder):
    (folder / "manifest.json").write_text("{}")
    return "manifest.json: says nothing of model.safetensors, optimizer.pt, state.json"


def lost(folder):
    (folder / "model.safetensors").unlink()
    return "model.safetensors: missing"


COMMANDS = {
    "export": lambda run, out: [run, out / "exported"],
    "analyse": lambda run, out: [run, "--out", out],
    "evaluate": lambda run, out: [run, "--tasks", "stsb", "--data", out],
}


@pytest.fixture
def call(trained, tmp_path, monkeypatch, capsys):
    """(exit status, standard error) of a command that is given a run whose newest checkpoint was damaged."""

    def call(command, damage):
        run = shutil.copytree(trained[1], trained[1].parent / f"damaged-{command}-{damage.__name__}")
        said = damage(run / NEWEST)
        monkeypatch.setattr(sys, "argv", ["cogito-ray", command, *map(str, COMMANDS[command](run, tmp_path))])
        with pytest.raises(SystemExit) as end:
            main()
        shutil.rmtree(run)
        return end.value.code, capsys.readouterr().err, f"{run / NEWEST}/{said}"

    return call


@pytest.mark.parametrize("damage", [altered, torn, torn_state, torn_manifest, emptied_manifest, lost])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_checkpoint_is_refused_with_its_file_and_a_way_out(call, command, damage):
    status, error, said = call(command, damage)
    assert status == 2
    assert error.startswith(said)
    assert "; name another checkpoint, or delete step-00000020 and use the one before\n" in error


def test_a_run_with_settings_of_another_version_is_told_with_its_ledger(trained, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    ledger = next(file for folder in (run, *trained[1].parents) if (file := folder / "ledger.jsonl").is_file())
    (run / "ledger.jsonl").write_text(ledger.read_text().replace('"kind":"tsdae"', '"kind":"later"'))
    with pytest.raises(ValueError, match=r"ledger\.jsonl: run \w+ has settings that this version does not read \(obj"):
        TrainedModel.open(run)


def test_what_is_no_checkpoint_is_not_taken_for_one(trained, tmp_path):
    """An export, and a run with a like name, below a folder of runs."""
    runs = shutil.copytree(trained[1], tmp_path / "runs" / "step-by-step").parent
    TrainedModel.open(trained[1]).export(runs / "exported")
    assert newest_of_each(runs) == [runs / "step-by-step" / NEWEST]
    with pytest.raises(FileNotFoundError, match="exported: no checkpoint is there; give a run's folder"):
        TrainedModel.open(runs / "exported")
