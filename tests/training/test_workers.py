"""How many workers may train a run, and what each of them does."""

import pytest
from pydantic import ValidationError

from cogito_ray.testing.tiny_runs import run


def elastic(batch, micro_batch, least, most):
    training = {"batch": batch, "micro_batch": micro_batch}
    return run(training=training, workers={"min": least, "max": most})


def test_workers_of_any_allowed_number_share_the_same_batch():
    spec = elastic(batch=48, micro_batch=4, least=2, most=4)
    assert list(spec.sizes) == [2, 3, 4]
    assert [spec.micro_batches(size) * size * spec.micro_batch for size in spec.sizes] == [48, 48, 48]


def test_without_a_micro_batch_the_most_workers_do_one_pass_each():
    spec = elastic(batch=12, micro_batch=None, least=1, most=2)
    assert (spec.micro_batch, spec.micro_batches(1), spec.micro_batches(2)) == (6, 2, 1)


def test_a_batch_that_some_allowed_number_cannot_share_is_refused_with_one_that_all_can():
    with pytest.raises(ValidationError, match=r"batch 64 cannot be shared by 3 workers .* make it a multiple of 48"):
        elastic(batch=64, micro_batch=4, least=2, most=4)


def test_machines_of_four_and_three_gpus_are_seven_workers_with_a_batch_to_match():
    assert run(training={"batch": 56}, workers=7).micro_batches(7) == 1
    with pytest.raises(ValidationError, match="make it a multiple of 7"):
        run(training={"batch": 64, "micro_batch": 1}, workers=7)


def test_a_span_of_one_number_is_refused():
    with pytest.raises(ValidationError, match="min 2 is not below max 2"):
        run(workers={"min": 2, "max": 2})
