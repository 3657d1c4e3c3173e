"""Compiled models take the same steps; slow, because a compiler runs."""

import pytest
import torch
from kinds import ROWS, VOCABULARY, run

from cogito_ray.training.loop import Facts, fit


def weights(compiled):
    settings = run(training={"steps": 2, "batch": 4, "report_every": 2, "compile": compiled})
    model = fit(
        settings,
        Facts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=lambda done: (torch.from_numpy(ROWS[4 * step : 4 * step + 4].copy()) for step in range(done, 2)),
        evaluate=lambda model: {"concepts/effective_rank": 4.0},
        tell=lambda report: None,
    )
    return model.state_dict()


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_compiled_model_takes_the_same_steps_under_the_same_names():
    plain, compiled = weights(False), weights(True)
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=2e-4)    # AdamW turns rounding into such steps
