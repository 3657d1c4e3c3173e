"""What every kind must do, as suites of tests that kinds outside of the package inherit, and tiny runs to try them in.

Each suite is a class for pytest whose tests take the thing under test as an argument: give it by a fixture, or by
parametrize.

    from cogito_ray.testing import RegulariserSuite

    class TestSpread(RegulariserSuite):
        @pytest.fixture
        def regulariser(self):
            return SpreadSpec(margin=0.5)
"""

import sys

SUITES = ("model_suite", "objective_suite", "regulariser_suite", "sampler_suite", "stopping_suite")
if "pytest" in sys.modules:  # so that a failed assertion shows its values
    sys.modules["pytest"].register_assert_rewrite(*(f"{__name__}.{module}" for module in SUITES))

from cogito_ray.testing.model_suite import BlockSuite, DecoderSuite, ModelSuite  # noqa: E402
from cogito_ray.testing.objective_suite import ObjectiveSuite  # noqa: E402
from cogito_ray.testing.regulariser_suite import RegulariserSuite  # noqa: E402
from cogito_ray.testing.sampler_suite import SamplerSuite  # noqa: E402
from cogito_ray.testing.stopping_suite import StoppingSuite  # noqa: E402

__all__ = [
    "BlockSuite",
    "DecoderSuite",
    "ModelSuite",
    "ObjectiveSuite",
    "RegulariserSuite",
    "SamplerSuite",
    "StoppingSuite",
]
