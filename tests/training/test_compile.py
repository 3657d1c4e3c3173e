"""Compiled models take the same steps, and nothing of them is left out."""

from collections import Counter

import pytest
import torch

from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, build, losses_of, run
from cogito_ray.training.training_loop import CorpusFacts, fit


def weights(compiled):
    settings = run(training={"steps": 2, "batch": 4, "report_every": 2, "compile": compiled})
    model = fit(
        settings,
        CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=lambda done: (torch.from_numpy(ROWS[4 * step : 4 * step + 4].copy()) for step in range(done, 2)),
        evaluate=lambda model: {"concepts/effective_rank": 4.0},
        on_report=lambda report: None,
    )
    return model.state_dict()


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_compiled_model_takes_the_same_steps_under_the_same_names():
    plain, compiled = weights(False), weights(True)
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=2e-4)    # AdamW turns rounding into such steps


CONFIGURATIONS = {
    "plain": {},
    "contrast alone": {"loss": {"contrast": {"kind": "dropout"}}, "model": {"decoder": None}},
    "pressure on the last layer": {"loss": {"regularisers": [{"kind": "vicreg"}]}},
    "pressure on every layer": {"loss": {"regularisers": [{"kind": "vicreg", "layers": "every"}, {"kind": "mst"}]}},
}


@pytest.mark.parametrize("settings", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_configuration_compiles_encoder_and_decoder_in_one_graph_each_and_runs_them(settings):
    torch._dynamo.reset()
    spec, runs = run(**settings), Counter()
    total = build(spec)
    parts = {id(weight): part for part in ("encoder", "decoder") for weight in _own(total.model, part)}

    def backend(graph, examples):
        part = next(parts[id(example)] for example in examples if id(example) in parts)

        def compiled(*given):
            runs[part] += 1
            return graph(*given)

        return compiled

    total.model.compile(backend=backend)
    for _ in range(2):
        losses_of(spec, total).total.backward()
    assert runs == Counter({part: 2 for part in ("encoder", "decoder") if getattr(total.model, part) is not None})


def _own(model, part):
    """Weights that only this part has."""
    whole = (model.encoder, model.decoder)
    theirs = {id(weight) for other in whole if other is not None and other is not getattr(model, part)
              for weight in other.parameters()}
    mine = getattr(model, part)
    return [weight for weight in mine.parameters() if id(weight) not in theirs] if mine is not None else []
