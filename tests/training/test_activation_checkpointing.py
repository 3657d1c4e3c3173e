"""Blocks that are computed again on the way back: less memory, the same numbers."""

import pytest
import torch

from cogito_ray.testing.tiny_runs import build, losses_of, run


@pytest.mark.parametrize("block", ["cross", "slot", "bixt"])
@pytest.mark.parametrize("attention", ["row", "document"])
def test_blocks_are_computed_twice_and_no_number_changes(block, attention):
    settings = run(model={"encoder": {"block": {"kind": block}, "depth": 3}, "attention": attention})
    gradients, calls = [], []
    for recomputed in (False, True):
        total, called = build(settings), []
        total.model.encoder.activation_checkpointing = recomputed
        for one in total.model.encoder.blocks:
            one.register_forward_pre_hook(lambda *_, called=called: called.append(1))
        losses_of(settings, total).total.backward()
        gradients.append([parameter.grad for parameter in total.parameters()])
        calls.append(len(called))
    assert calls == [3, 6]
    assert all(map(torch.equal, *gradients))
