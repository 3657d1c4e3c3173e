"""Regularisers, totals and geometry against tensors recorded from the seed project's published implementation."""

import os
from math import log
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cogito_ray.analysis.concept_geometry import geometry
from cogito_ray.losses.diversity_regularisers import (
    CombinedSpec,
    CovarianceSpec,
    NearestNeighbourSpec,
    OrthogonalitySpec,
    RegulariserSpec,
    SoftOrthogonalitySpec,
    UniformitySpec,
    VarianceSpec,
    VicregSpec,
)
from cogito_ray.losses.loss_weighting import FixedSpec, KendallGalSpec, LearnableSpec

FOLDER = Path(os.environ.get("COGITO_PARITY_DIR", Path(__file__).parents[1] / "golden" / "parity"))
LEARNED = {"reconstruction": 0.4, "vicreg": -0.3, "mst": 0.9}
"""Recorded logits and log-variances."""


def recorded(case: str) -> dict[str, torch.Tensor]:
    return load_file(FOLDER / f"{case}.safetensors")


def same(ours: torch.Tensor, case: str, name: str) -> None:
    torch.testing.assert_close(ours, recorded(case)[f"outputs.{name}"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (OrthogonalitySpec(), "orthogonality"),
        (SoftOrthogonalitySpec(), "soft_orthogonality"),
        (UniformitySpec(), "uniformity"),
        (VarianceSpec(), "variance"),
        (CovarianceSpec(), "covariance"),
        (VicregSpec(), "vicreg"),
        (CombinedSpec(), "combined"),
        (NearestNeighbourSpec(), "t_regs_mst"),
    ],
)
def test_a_regulariser_is_the_recorded_one(spec: RegulariserSpec, name: str):
    same(spec(recorded("concept_losses")["inputs.concepts"]), "concept_losses", name)


def terms() -> dict[str, torch.Tensor]:
    case = recorded("concept_losses")
    parts = ("inputs.task_loss", "outputs.vicreg", "outputs.t_regs_mst")
    return dict(zip(("reconstruction", "vicreg", "mst"), (case[part] for part in parts), strict=True))


def test_the_fixed_total_is_the_recorded_one():
    weighting = FixedSpec(weights={"vicreg": 0.1, "mst": 0.02}).build(["reconstruction"], ["vicreg", "mst"])
    same(weighting(terms()), "concept_losses", "total_fixed")


@pytest.mark.parametrize(
    ("spec", "table", "name"),
    [
        (LearnableSpec(uniform_share=1e-9), "logits", "total_learnable"),
        (KendallGalSpec(), "log_variance", "total_kendall_gal"),
    ],
)
def test_a_learned_total_is_the_recorded_one(spec: LearnableSpec | KendallGalSpec, table: str, name: str):
    weighting = spec.build(["reconstruction"], ["vicreg", "mst"])
    with torch.no_grad():
        getattr(weighting, table).copy_(torch.tensor([LEARNED[term] for term in weighting.terms]))
    same(weighting(terms()).detach(), "concept_losses", name)


GEOMETRY = {
    "norm_mean": "mean_concept_norm",
    "norm_deviation": "std_concept_norm",
    "norm_smallest": "min_concept_norm",
    "norm_largest": "max_concept_norm",
    "cosine_mean": "mean_concept_similarity",
    "cosine_deviation": "std_concept_similarity",
    "cosine_largest": "max_concept_similarity",
    "closeness": "uniformity_loss",
    "dimension_deviation_mean": "mean_dimension_std",
    "dimension_deviation_smallest": "min_dimension_std",
    "dimension_deviation_largest": "max_dimension_std",
    "collapsed_dimensions": "collapsed_dimensions",
    "participation_ratio": "participation_ratio",
    "mean_nuclear_rank": "effective_rank",
    "mean_energy_top_1": "top_1_variance_ratio",
    "mean_energy_top_5": "top_5_variance_ratio",
    "mean_directions_for_95_percent": "dimensions_for_95_variance",
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_figure_of_geometry_is_the_recorded_one(name: str):
    case = recorded("concept_geometry")
    assert geometry(case["inputs.concepts"])[name] == pytest.approx(float(case[f"outputs.{GEOMETRY[name]}"]), rel=1e-5)


def test_isotropy_is_the_recorded_one_up_to_its_rounding():
    """A smallest over a largest variance of 1e-6: float32 rounds the recorded one at about 1e-7 of the largest."""
    case = recorded("concept_geometry")
    ours = geometry(case["inputs.concepts"])["isotropy"]
    assert ours == pytest.approx(float(case["outputs.isotropy"]), abs=1e-8)


def test_a_kendall_gal_total_of_zero_log_variances_is_half_the_sum():
    weighting = KendallGalSpec().build(["reconstruction"], ["vicreg"])
    parts = {"reconstruction": torch.tensor(log(4.0)), "vicreg": torch.tensor(1.0)}
    assert weighting(parts).item() == pytest.approx((log(4.0) + 1) / 2)
