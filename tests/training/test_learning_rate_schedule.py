import pytest

from cogito_ray.training.learning_rate_schedule import CosineSpec, StableDecaySpec


def factors(schedule, steps):
    return [schedule.factor(step, steps) for step in range(1, steps + 1)]


def test_a_stable_stretch_does_not_depend_on_the_planned_number_of_steps():
    schedule = StableDecaySpec(warmup_steps=10, decay=0.2)
    assert factors(schedule, 100)[:80] == factors(schedule, 1000)[:80]


def test_stable_decay_rises_to_one_and_falls_to_its_floor():
    values = factors(StableDecaySpec(warmup_steps=10, decay=0.25, floor=0.1), 100)
    assert values[0] == pytest.approx(0.1)
    assert values[9:76] == [1.0] * 67
    assert values[-1] == pytest.approx(0.1 + 0.9 / 25)


def test_cosine_is_half_way_down_in_the_middle_of_its_fall():
    values = factors(CosineSpec(warmup=0.2, floor=0.0), 100)
    assert values[19] == pytest.approx(1.0)
    assert values[59] == pytest.approx(0.5)
    assert values[99] == pytest.approx(0.0)


SCHEDULES = [StableDecaySpec(), StableDecaySpec(decay=0.0), CosineSpec(), CosineSpec(warmup=0.0)]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 7, 300])
def test_every_factor_is_a_share(schedule, steps):
    assert all(0 <= value <= 1 for value in factors(schedule, steps))
