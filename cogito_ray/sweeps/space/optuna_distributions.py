"""What Optuna draws from for each domain of a space. Apart from the domains, which records are read with: they need no
Optuna, and it takes a while to import."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from cogito_ray.sweeps.space import domains


def distribution(domain: domains.Domain) -> BaseDistribution:
    """What a sampler draws from."""
    match domain:
        case domains.Choice(choice=values) | domains.Grid(grid=values):
            return CategoricalDistribution(values)
        case domains.Preset(preset=named) | domains.Bundle(bundle=named):
            return CategoricalDistribution(tuple(named))
        case domains.Uniform(step=step):
            low, high = (float(str(bound)) for bound in domain.extremes())
            return FloatDistribution(low, high, step=step)
        case domains.LogUniform(loguniform=bounds):
            return FloatDistribution(*bounds, log=True)
        case domains.RandInt(step=whole_step):
            first, last = (int(str(bound)) for bound in domain.extremes())
            return IntDistribution(first, last, step=whole_step)
        case domains.Ratio(ratio=fraction):
            return distribution(fraction.fractions())


def contains(drawn: BaseDistribution, value: domains.Scalar) -> bool:
    """Could a sampler draw `value`?"""
    try:
        return drawn._contains(drawn.to_internal_repr(value))
    except (TypeError, ValueError):
        return False
