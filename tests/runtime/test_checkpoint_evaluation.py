"""What is told of questions at scale."""

from pathlib import Path

from corpora import tiny_run

from cogito_ray.evaluation.checkpoint_loader import Checkpoint
from cogito_ray.evaluation.protocols.task_runner import Question, protocols_of
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.evaluation.checkpoint_evaluation import Unit, faults_of_data
from cogito_ray.text.data_digests import DataDigests


def test_units_of_two_variants_have_two_names(tmp_path):
    run = RunSpec.model_validate(tiny_run(tmp_path))
    checkpoint = Checkpoint(tmp_path, run, 1, DataDigests("t", {}), tmp_path / "ledger.jsonl")
    variants = [{}, {"head": {"kind": "attention"}}, {"epochs": 2}]
    units = [
        Unit(checkpoint, "w", Question(TASKS["rte"], protocol, 0), None, "k")
        for protocol in protocols_of({"kind": "fine-tune"} | variant for variant in variants)
    ]
    assert [str(unit).removeprefix(f"{run.digest()} ") for unit in units] == [
        "rte fine-tune, seed 0",
        "rte fine-tune {head: {kind: attention, temperature: 1.0}}, seed 0",
        "rte fine-tune {epochs: 2}, seed 0",
    ]


def test_what_data_lack_is_told_of_every_split_that_any_protocol_reads(tmp_path):
    """And each fault once."""
    asked = [Question(TASKS["stsb"], protocol, 0) for protocol in protocols_of(["probe", "fine-tune", "zero-shot"])]
    files = [Path(fault.split()[0]).name for fault in faults_of_data(asked, tmp_path)]
    assert files == ["train.parquet", "validation.parquet"]
