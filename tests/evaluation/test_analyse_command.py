import json
import sys
from pathlib import Path

import pytest
import torch

from cogito_ray.cli import main
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.inspection.recursion_depth import metrics_by_depth
from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.python_api import names_of
from cogito_ray.records.ledger import Ledger, TrialStarted
from cogito_ray.run_spec import RunSpec
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State


@pytest.fixture
def analyse(monkeypatch, capsys):
    """Calls `cogito-ray analyse`: (exit status, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cogito-ray", "analyse", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


@pytest.fixture
def recursive(trained) -> Path:
    """The folder of a run like `trained`, whose encoder has one block applied twice."""
    tree = trained[0].model_dump(mode="json")
    tree["model"]["encoder"]["tied"] = True
    run, folder = RunSpec.model_validate(tree), trained[1].parent / "recursive"
    if not folder.exists():
        started = TrialStarted(at=0.0, trial=run.digest(), number=0, sample={}, spec=run.model_dump(mode="json"))
        with Ledger(folder / "ledger.jsonl") as ledger:
            ledger.append(started)
        torch.manual_seed(4)
        model = TrainedModel.open(trained[1])
        total = TotalLoss(run.model.build(model.vocabulary, run.data.length), run.loss)
        checkpoints = Checkpoints(folder / "checkpoints", run.digest())
        checkpoints.save(State(step=5, data=model.data), total, torch.optim.SGD(total.parameters()))
    return folder


def test_page_and_data_lie_beside_the_checkpoint(trained, analyse):
    status, out, _ = analyse(trained[1])
    checkpoint = trained[1] / "checkpoints" / "step-00000020"
    assert status == 0
    assert f"Page: {checkpoint / 'analysis.html'}" in out
    assert "effective rank of a text's concepts" in out
    (told,) = json.loads((checkpoint / "analysis.json").read_text())
    assert (told["step"], told["concepts"], told["run"]) == (20, 4, trained[0].digest())
    assert len(told["plots"]["attention_map"]["weights"]) == 4


def test_two_steps_of_one_run_are_told_apart_by_their_steps(trained, analyse, tmp_path):
    steps = [trained[1] / "checkpoints" / step for step in ("step-00000010", "step-00000020")]
    status, out, _ = analyse(*steps, "--out", tmp_path, "--json", "--texts", 40)
    told = json.loads(out)
    assert status == 0
    assert [one["name"] for one in told["checkpoints"]] == ["step-00000010", "step-00000020"]
    assert Path(told["page"]) == tmp_path / "analysis.html"


def test_two_runs_are_told_apart_by_their_names():
    assert names_of([Path("/x/a/checkpoints/step-1"), Path("/x/b/checkpoints/step-1")]) == ["a", "b"]
    same = [Path("/x/a/checkpoints/step-1"), Path("/y/a/checkpoints/step-1")]
    assert names_of(same) == [str(folder) for folder in same]


def test_a_tied_encoder_is_iterated_and_what_it_was_trained_with_is_said(recursive, analyse, tmp_path):
    status, out, _ = analyse(recursive, "--iterations", "1,2,4", "--out", tmp_path, "--json")
    assert status == 0
    told = json.loads(out)["checkpoints"][0]["iterations"]
    assert [(one["depth"], one["trained"]) for one in told] == [(1, False), (2, True), (4, False)]
    assert len({one["metrics"]["eval/reconstruction_nats"] for one in told}) == 3


def test_iterating_leaves_the_encoder_as_it_was(recursive):
    opened = TrainedModel.open(recursive)
    once, _ = list(metrics_by_depth(opened, [2, 6]))
    assert opened.model.encoder.depth == 2
    (again,) = metrics_by_depth(opened, [2])
    assert again == once


def test_an_untied_checkpoint_is_not_iterated(trained, analyse, tmp_path):
    status, out, error = analyse(trained[1], "--iterations", "2,4", "--out", tmp_path)
    assert (status, out) == (2, "")
    assert "only a tied encoder can be iterated; this one has 2 blocks of its own" in error


@pytest.mark.parametrize("given", ["0", "2,x", "2,,4"])
def test_iterations_that_are_no_numbers_are_refused(trained, analyse, given: str):
    status, _, error = analyse(trained[1], "--iterations", given)
    assert status == 2
    assert "--iterations wants numbers of 1 or more" in error
