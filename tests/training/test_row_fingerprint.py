"""Rows read are named by a sum that does not depend on how the work was cut."""

import time

import pytest
import torch

from cogito_ray.testing.tiny_runs import ROWS
from cogito_ray.training.row_fingerprint import NONE_READ, combined, hash_rows

IDS = torch.from_numpy(ROWS)
WHOLE = combined(NONE_READ, hash_rows(IDS, first=100))


@pytest.mark.parametrize("cut", [1, 7, 20, 39])
def test_parts_add_up_to_the_whole_in_any_order_and_in_any_process(cut):
    one, two = hash_rows(IDS[:cut], first=100), hash_rows(IDS[cut:], first=100 + cut)
    assert combined(NONE_READ, one, two) == combined(combined(NONE_READ, two), one) == WHOLE


def test_a_row_lost_repeated_or_moved_changes_the_name():
    lost, repeated = hash_rows(IDS[1:], first=101), hash_rows(IDS, first=100) + hash_rows(IDS[:1], first=100)
    moved, swapped = hash_rows(IDS, first=101), hash_rows(IDS.flip(0), first=100)
    names = {combined(NONE_READ, each) for each in (lost, repeated, moved, swapped)} | {WHOLE}
    assert len(names) == 5
    assert all(len(name) == 32 for name in names)


def test_a_changed_token_changes_the_name():
    changed = IDS.clone()
    changed[3, 2] += 1
    assert combined(NONE_READ, hash_rows(changed, first=100)) != WHOLE


def test_a_row_of_512_tokens_costs_less_than_a_percent_of_its_step():
    ids = torch.randint(0, 50_000, (256, 512))
    took = []
    for _ in range(3):
        began = time.process_time()
        hash_rows(ids, first=0)
        took.append(time.process_time() - began)
    assert min(took) / len(ids) < 50e-6                             # a GPU's fastest step takes some 1000 us a row
