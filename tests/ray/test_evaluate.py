"""`cogito-ray evaluate` over Ray: every question is asked once, its answer kept, its fault told."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from checkpoints import save, untrained
from pretrained_folders import write_bert
from pyarrow import parquet

from cogito_ray.cli import main
from cogito_ray.evaluation import pretrained_checkpoint
from cogito_ray.evaluation.checkpoint_loader import Checkpoint, TrainedModel, newest_of_each
from cogito_ray.evaluation.protocols.task_runner import protocols_of, questions
from cogito_ray.evaluation.tasks.sentence_tasks import tasks_of
from cogito_ray.records.ledger import Evaluated, Ledger, Noted, events
from cogito_ray.runtime.evaluation import checkpoint_evaluation as at_scale
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.training.checkpoints.manifest import MANIFEST, seal

pytestmark = pytest.mark.usefixtures("ray_cluster")
QUICK = "{kind: fine-tune, epochs: 1, rows: 20}"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A storage with two trials of a sweep, and data of one task in its folder `labelled`."""
    run, storage = untrained(tmp_path_factory.mktemp("evaluate"))
    for seed in (0, 1):
        trial = run.model_copy(update={"seed": seed})
        folder = storage / "sweep" / "trials" / trial.digest()
        save(trial, storage, folder, ledger=storage / "sweep" / "ledger.jsonl")
    draw = np.random.default_rng(0)
    words = np.array(["concept", "token", "moment", "radius", "delta"])
    one, two = ([" ".join(draw.choice(words, size=4)) for _ in range(40)] for _ in range(2))
    columns = {"sentence_A": one, "sentence_B": two, "relatedness_score": draw.random(40), "label": [0, 1, 2, 1] * 10}
    (storage / "labelled" / "sick").mkdir(parents=True)
    for split in ("train", "test"):
        parquet.write_table(pa.table(columns), storage / "labelled" / "sick" / f"{split}.parquet")
    return storage


@pytest.fixture
def storage(pristine, tmp_path) -> Path:
    return shutil.copytree(pristine, tmp_path / "storage")


@pytest.fixture(autouse=True)
def no_baselines(monkeypatch) -> None:
    """Whatever is installed: answers are counted here."""
    monkeypatch.setattr(pretrained_checkpoint, "BASELINES", {})


@pytest.fixture
def evaluate(storage, monkeypatch, capsys):
    """Calls `cogito-ray evaluate` on the sweep: (exit status, standard output, standard error)."""

    def call(*arguments: str):
        data = storage / "labelled"
        command = ["cogito-ray", "evaluate", str(storage / "sweep"), *arguments, "--data", str(data)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


def evaluated(storage: Path) -> list[Evaluated]:
    return [event for event in events(storage / "sweep" / "ledger.jsonl") if isinstance(event, Evaluated)]


def test_every_trial_is_asked_every_question_once_and_the_second_time_there_is_nothing_to_do(storage, evaluate):
    asked = ("--tasks", "sick-relatedness,sick-entailment", "--protocol", "zero-shot,probe")
    tuned = ("--protocol", QUICK, "--seeds", "2")
    status, out, _ = evaluate(*asked, *tuned)
    assert (status, out.splitlines()[13].split()[:3]) == (0, ["14", "of", "14:"])
    told = [(event.task, event.protocol, event.seed) for event in evaluated(storage)]
    of_one = [("sick-relatedness", "zero-shot", 0)] + [
        (task, protocol, seed)
        for task in ("sick-relatedness", "sick-entailment")
        for protocol, seed in (("probe", 0), ("fine-tune", 0), ("fine-tune", 1))
    ]
    assert sorted(told) == sorted(of_one * 2)
    ledger = (storage / "sweep" / "ledger.jsonl").read_bytes()
    status, again, _ = evaluate(*asked, *tuned)
    assert (status, again.splitlines()[0]) == (0, "nothing to do: all 14 answers are in the ledgers")
    assert again.splitlines()[1:] == out.splitlines()[14:]
    assert (storage / "sweep" / "ledger.jsonl").read_bytes() == ledger


def test_a_table_shows_each_score_with_its_interval_beside_baselines(evaluate):
    _, out, _ = evaluate("--tasks", "sick-entailment", "--protocol", "probe")
    head, *rows = out.splitlines()[2:]
    assert head.split()[:7] == ["trial", "step", "task", "protocol", "vectors", "metric", "score"]
    named = ["mean", "token_means", "bag_of_words", "tf_idf", "majority"]
    assert sorted(row.split()[4] for row in rows) == sorted(named * 2)
    assert [row.split()[6] for row in rows if "majority" in row] == ["0.500", "0.500"]


def test_the_answer_of_a_task_in_the_cluster_is_that_of_the_checkpoint(storage, evaluate):
    _, out, _ = evaluate("--tasks", "sick-relatedness", "--protocol", "zero-shot", "--json")
    rows = json.loads(out)["results"]
    told = {(row["trial"], row["vectors"], row["metric"]): row["value"] for row in rows}
    assert {row["behind"] == 0 for row in rows if row["metric"] == "pearson"} == {True, False}
    assert all(row["indistinguishable"] for row in rows if row["behind"] == 0)
    [question] = questions(tasks_of(["sick-relatedness"]), protocols_of(["zero-shot"]))
    for folder in newest_of_each(storage / "sweep"):
        trained = TrainedModel.open(folder)
        for result in question.ask(trained.sentence_encoder, storage / "labelled"):
            assert result.rows
            assert len(result.score.resamples) == 500
            assert told[trained.run.digest(), result.vectors, result.metric] == pytest.approx(
                result.score.value, abs=1e-6                                # threads sum in orders of their own
            )


def test_only_what_is_missing_is_computed(storage, evaluate):
    for tasks, computed, known in (("sick-entailment", 2, 0), ("sick-entailment,sick-relatedness", 2, 2)):
        _, out, _ = evaluate("--tasks", tasks, "--protocol", "probe", "--json")
        told = json.loads(out)
        assert (told["computed"], told["known"], told["faults"]) == (computed, known, [])


def test_a_model_that_no_run_trained_is_asked_beside_ours_and_its_folder_is_only_read(storage, evaluate, tmp_path):
    bert = write_bert(tmp_path / "bert")
    files = sorted(bert.iterdir())
    asked = (str(bert), "--storage", str(storage), "--tasks", "sick-entailment", "--protocol", "probe", "--json")
    for computed in (3, 0):
        told = json.loads(evaluate(*asked)[1])
        assert (told["computed"], told["faults"]) == (computed, [])
    assert [row["trial"].split("@")[0] for row in told["results"] if row["vectors"] == "mean"][-1] == "bert"
    assert len([*storage.glob("evaluated/*/ledger.jsonl")]) == 1
    assert sorted(bert.iterdir()) == files


def test_an_installed_baseline_answers_once_what_suits_it(storage, evaluate, tmp_path, monkeypatch):
    (tmp_path / "some_encoder").mkdir()
    (tmp_path / "some_encoder" / "__init__.py").touch()
    write_bert(tmp_path / "some_encoder" / "model")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pretrained_checkpoint, "BASELINES", {"some_encoder": "Some-Encoder"})
    asked = ("--storage", str(storage), "--tasks", "sick-entailment", "--protocol", "probe", "--json")
    for more, computed in (((), 3), (("--protocol", QUICK), 2), ((), 0)):      # its head needs a decoder
        told = json.loads(evaluate(*asked, *more)[1])
        assert (told["computed"], told["faults"]) == (computed, [])
    assert {row["trial"].split("@")[0] for row in told["results"]} >= {"Some-Encoder"}


def written_anew(file: Path, content: bytes) -> None:
    """A file of a checkpoint, which is whole again."""
    file.write_bytes(content)
    (file.parent / MANIFEST).unlink()
    seal(file.parent)


@pytest.mark.parametrize("change", ["data", "weights", "code", "settings"])
def test_what_scores_depend_on_is_computed_again_when_it_changes(change: str, storage, evaluate, monkeypatch):
    def weights() -> None:
        for file in storage.glob("sweep/trials/*/checkpoints/*/model.safetensors"):
            content = bytearray(file.read_bytes())
            content[-1] ^= 1
            written_anew(file, content)

    def data() -> None:
        file = storage / "labelled" / "sick" / "test.parquet"
        parquet.write_table(parquet.read_table(file).slice(0, 30), file)

    def code() -> None:
        monkeypatch.setattr(at_scale, "code_version", lambda: "another")

    changes = {"data": data, "weights": weights, "code": code, "settings": lambda: None}
    asked = ("--tasks", "sick-entailment", "--protocol", "probe", "--json")
    evaluate(*asked)
    changes[change]()
    _, out, _ = evaluate(*asked, *(["--limit", "10"] if change == "settings" else []))
    assert (json.loads(out)["computed"], len(evaluated(storage))) == (2, 4)


def test_a_torn_checkpoint_is_told_and_the_others_are_asked(storage, evaluate):
    torn = newest_of_each(storage / "sweep")[0] / "model.safetensors"
    torn.write_bytes(b"not weights")
    status, out, error = evaluate("--tasks", "sick-entailment", "--protocol", "probe", "--json")
    told = json.loads(out)
    assert (status, told["computed"], len(told["faults"])) == (1, 1, 1)
    assert error.startswith(f"{torn}: altered (sha256 ")


def test_a_question_that_fails_is_told_and_the_others_are_answered(storage, evaluate):
    broken = newest_of_each(storage / "sweep")[0]
    written_anew(broken / "model.safetensors", b"no")
    status, out, error = evaluate("--tasks", "sick-entailment", "--protocol", "probe", "--json")
    told = json.loads(out)
    assert (status, told["computed"], len(told["faults"])) == (1, 1, 1)
    assert error.startswith(f"{Checkpoint.at(broken).run.digest()} sick-entailment probe, seed 0: ")


def test_a_missing_file_or_an_unfit_head_ends_the_command_before_anything_is_computed(storage, evaluate):
    status, out, error = evaluate("--tasks", "sick-entailment,rte")
    assert (status, out) == (2, "")
    assert "glue/rte/train.parquet is missing" in error
    status, out, error = evaluate("--tasks", "sick-entailment", "--protocol", "{kind: fine-tune, heat: 1}")
    assert (status, out) == (2, "")
    assert "heat: there is no such setting here" in error
    assert evaluated(storage) == []


def test_a_sweep_may_be_asked_while_its_driver_lives_and_writes(storage):
    found = [Checkpoint.at(folder) for folder in newest_of_each(storage / "sweep")]
    asked = questions(tasks_of(["sick-entailment"]), protocols_of(["probe"]))
    trial = found[0].run.digest()
    experiment = ExperimentFolder(storage / "sweep", {})
    with experiment.driving(), Ledger(experiment.ledger) as ledger:
        driver = iter(range(100))
        at_scale.evaluate(
            found,
            asked,
            storage / "labelled",
            lambda _: ledger.append(Noted(trial=trial, step=next(driver), note="went on")),
        )
    assert len(evaluated(storage)) == next(driver) == 2
