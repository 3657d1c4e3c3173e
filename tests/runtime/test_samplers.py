"""Every sampler does what all must; without a cluster."""

import pytest

from cogito_ray.spec_registry import name_of
from cogito_ray.sweeps.samplers import CmaEsSpec, GpSpec, Nsga2Spec, RandomSpec, SamplerSpec, TpeSpec
from cogito_ray.testing import SamplerSuite
from cogito_ray.testing.sampler_suite import samples, searched
from cogito_ray.testing.tiny_runs import kinds


@pytest.mark.parametrize(
    "sampler", [TpeSpec(), Nsga2Spec(), CmaEsSpec(), RandomSpec()], ids=["tpe", "nsga2", "cmaes", "random"]
)
class TestSamplers(SamplerSuite):
    pass


@pytest.mark.parametrize("sampler", [GpSpec(startup_trials=2)], ids=["gp"])
class TestGaussianProcess(SamplerSuite):
    trials = 5          # a fifth of a second each, once two are known


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (TpeSpec(startup_trials=1), TpeSpec(startup_trials=6)),
        (GpSpec(startup_trials=2), GpSpec(startup_trials=6)),
        (Nsga2Spec(population_size=2), Nsga2Spec(population_size=6)),
    ],
    ids=lambda sampler: sampler.kind,
)
def test_what_is_set_of_a_sampler_shows_in_what_it_draws(small, large):
    specs = [SamplerSuite().sweep(sampler, budget={"trials": 6}) for sampler in (small, large)]
    first, other = (samples(searched(spec, at_once=1)) for spec in specs)
    assert first != other


def test_every_kind_that_draws_is_tried():
    assert [name_of(kind) for kind in kinds(SamplerSpec)] == ["tpe", "gp", "nsga2", "cmaes", "random", "grid"]
