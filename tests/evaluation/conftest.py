"""A run that was trained for no step, with its corpus, ledger and checkpoint, as they lie in a storage folder."""

from pathlib import Path

import pytest
from checkpoints import save, untrained

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.run_spec import RunSpec


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> tuple[RunSpec, Path, TotalLoss]:
    """(run, its folder in the storage, what was saved)."""
    run, storage = untrained(tmp_path_factory.mktemp("trained"))
    folder = storage / "mine"
    return run, folder, save(run, storage, folder, ledger=folder / "ledger.jsonl")
