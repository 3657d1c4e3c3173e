"""Shipped plans are sound at every size."""

from pathlib import Path

import pytest

from cogito_ray.plans.plan_file import read

PLANS = sorted((Path(__file__).parents[2] / "plans").glob("*.yaml"))


@pytest.mark.parametrize("size", ["smallest", "laptop", "full"])
@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_a_shipped_plan_is_sound_at_every_size(file: Path, size: str):
    read(file, [f"size={size}"])
