"""Compiled models take the same steps, and nothing of them is left out."""

from collections import Counter

import pytest
import torch

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, build, losses_of, run, two_documents
from cogito_ray.training.training_loop import CorpusFacts, fit


def weights(compiled):
    return trained(run(training={"steps": 2, "batch": 4, "report_every": 2, "compile": compiled})).state_dict()


def trained(settings):
    return fit(
        settings,
        CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=lambda done: (torch.from_numpy(ROWS[4 * step : 4 * step + 4].copy()) for step in range(done, 2)),
        evaluate=lambda model: {"concepts/effective_rank": 4.0},
        on_report=lambda report: None,
    )


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
    "documents apart, pressure on every layer": {
        "model": {"attention": "document", "encoder": {"depth": 2, "tokens": {"kind": "funnel"}}},
        "loss": {"regularisers": [{"kind": "vicreg", "layers": "every"}]},
    },
    "documents apart, tokens that attend": {"model": {"attention": "document", "encoder": {"block": {"kind": "bixt"}}}},
    "one score matrix": {"model": {"encoder": {"block": {"kind": "bixt", "shared": True}}}},
    "slots, tied": {"model": {"encoder": {"block": {"kind": "slot"}, "tied": True}}},
    "diffusion": {"model": {"decoder": {"kind": "diffusion"}}, "objective": {"kind": "diffusion"}},
}


@pytest.mark.parametrize("settings", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_configuration_compiles_encoder_and_decoder_in_one_graph_each_and_runs_them(settings):
    spec = run(**settings)
    total, runs = counted(spec)
    for _ in range(2):
        losses_of(spec, total).total.backward()
    parts = [part for part in ("encoder", "decoder") if getattr(total.model, part) is not None]
    assert runs == Counter({(part, 1): 2 for part in parts})


def test_rows_with_padding_cost_the_encoder_one_more_graph_and_evaluation_takes_none_away():
    spec = run(model={"attention": "document"})
    total, runs = counted(spec)
    padded = two_documents()
    full, held_out = padded.clamp_min(VOCABULARY.separator_id), HeldOutLoss(padded, spec.reference, VOCABULARY)
    for ids in (full, padded, full, padded):
        total(*spec.views(ids, VOCABULARY, torch.Generator().manual_seed(0))).total.backward()
        held_out(total.model)
    of_encoder = {("encoder", 1): 2, ("encoder", 2): 4, ("encoder", 3): 2}              # full; held-out; padded
    assert runs == of_encoder | {("decoder", 1): 4, ("decoder", 2): 8}


def test_a_compiled_encoder_whose_blocks_are_computed_again_is_one_graph_too():
    torch._dynamo.reset()
    settings, gradients = run(model={"encoder": {"depth": 2}}), []
    for compiled in (False, True):
        total = build(settings)
        if compiled:
            total.model.encoder.activation_checkpointing = True
            total.model.encoder.compile(backend="aot_eager", fullgraph=True)
        losses_of(settings, total).total.backward()
        gradients.append([parameter.grad for parameter in total.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("tf32", [True, False])
def test_float32_matrices_are_multiplied_in_tf32_on_cuda_unless_refused(tf32):
    trained(run(training={"steps": 1, "batch": 4, "report_every": 1, "tf32": tf32}, gpus_per_worker=1))
    matrix = torch.randn(512, 512, dtype=torch.float64, device="cuda")
    error = (matrix.float() @ matrix.float() - matrix @ matrix).abs().max()
    assert (error > 1e-3) == tf32                           # mantissas of 10 bits, or of 23


def counted(spec):
    """The run's model, compiled, and how often each graph of its parts ran: (part, number of the graph)."""
    torch._dynamo.reset()
    total, runs, made = build(spec), Counter(), Counter()
    parts = {id(weight): part for part in ("encoder", "decoder") for weight in _own(total.model, part)}

    def backend(graph, examples):
        seen = {parts[id(example)] for example in examples if id(example) in parts}
        part = "decoder" if "decoder" in seen else "encoder"                    # decoders may read the encoder's tables
        made[part] += 1
        key = part, made[part]

        def compiled(*given):
            runs[key] += 1
            return graph(*given)

        return compiled

    total.model.compile(backend=backend)
    return total, runs


def _own(model, part):
    """Weights that only this part has."""
    whole = (model.encoder, model.decoder)
    theirs = {id(weight) for other in whole if other is not None and other is not getattr(model, part)
              for weight in other.parameters()}
    mine = getattr(model, part)
    return [weight for weight in mine.parameters() if id(weight) not in theirs] if mine is not None else []
