"""Runs that were trained for no step, with corpus, ledger and checkpoints, as they lie in a storage folder."""

import time
from pathlib import Path

import torch
from corpora import data_spec, two_sources

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.records.ledger import Ledger, TrialStarted
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.preparation_plan import prepare_with, prepared, serially
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State


def untrained(folder: Path) -> tuple[RunSpec, Path]:
    """(a tiny run, the storage below `folder` in which its text is prepared)."""
    run = RunSpec.model_validate(
        {
            "data": data_spec(two_sources(folder / "text")),
            "model": {"width": 16, "heads": 2, "concepts": 4, "decoder": {"kind": "position"}},
            "objective": {"kind": "tsdae"},
            "evaluation": {"rows": 32},
        }
    )
    prepare_with(serially, run.data, folder / "storage")
    return run, folder / "storage"


def save(run: RunSpec, storage: Path, folder: Path, *, ledger: Path, steps: tuple[int, ...] = (10, 20)) -> TotalLoss:
    """Writes checkpoints of the run into `folder`, and its start into the ledger."""
    corpus = prepared(run.data, storage)
    with Ledger(ledger) as record:
        spec = run.model_dump(mode="json")
        names = {"trial": run.digest(), "number": 0, "sample": {}, "data": corpus.digests}
        record.append(TrialStarted(at=time.time(), spec=spec, **names))
    torch.manual_seed(run.seed)
    total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
    checkpoints = Checkpoints(folder / "checkpoints", run.digest())
    for step in steps:
        checkpoints.save(State(step=step, data=corpus.digests), total, torch.optim.SGD(total.parameters()))
    return total
