"""A run that was trained for no step, with its corpus, ledger and checkpoint, as they lie in a storage folder."""

import time
from pathlib import Path

import pytest
import torch
from corpora import data_spec, two_sources

from cogito_ray.losses.total import TotalLoss
from cogito_ray.records.ledger import Ledger, TrialStarted
from cogito_ray.run import RunSpec
from cogito_ray.text.prepare import prepare_with
from cogito_ray.training.checkpoint import Checkpoints, State


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[RunSpec, Path, TotalLoss]:
    """(run, its folder in the storage, what was saved)."""
    storage = tmp_path_factory.mktemp("storage")
    run = RunSpec.model_validate(
        {
            "data": data_spec(two_sources(tmp_path_factory.mktemp("sources"))),
            "model": {"width": 16, "heads": 2, "concepts": 4, "decoder": {"kind": "position"}},
            "objective": {"kind": "tsdae"},
        }
    )
    corpus = prepare_with(lambda work: ((number, call()) for number, call in enumerate(work)), run.data, storage)
    folder = storage / "mine"
    with Ledger(folder / "ledger.jsonl") as ledger:
        spec = run.model_dump(mode="json")
        ledger.append(TrialStarted(at=time.time(), trial=run.digest(), number=0, sample={}, spec=spec))
    torch.manual_seed(3)
    total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
    checkpoints = Checkpoints(folder / "checkpoints", run.digest())
    for step in (10, 20):
        checkpoints.save(State(step=step), total, torch.optim.SGD(total.parameters()))
    return run, folder, total
