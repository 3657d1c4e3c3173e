"""On CUDA, too, a run that is run again ends with the same bits, of which exact resume is made."""

import pytest
import torch
from model_choices import MODELS, fitting

from cogito_ray.losses.diversity_regularisers import RegulariserSpec
from cogito_ray.losses.reconstruction_and_contrast import ContrastSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import VOCABULARY, kinds, merged, run_with
from cogito_ray.training.training_loop import CorpusFacts, fit

LENGTH, STEPS, BATCH = 256, 4, 8
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def long(spec, precision):
    """The same run of texts, concepts and heads that are long and wide enough for sums of several thread blocks."""
    steps = {"steps": STEPS, "batch": BATCH, "report_every": STEPS, "precision": precision}
    guards = {"schedule": {"kind": "wsd", "warmup_steps": 0}, "guards": {"collapse": None}}
    over = {"data": {"length": LENGTH}, "training": steps | guards, "gpus_per_worker": 1.0}
    concepts = {} if "pretrained" in str(spec.model.encoder.tokens) else {"concepts": 96, "width": 96}
    return RunSpec.model_validate(merged(spec.model_dump(mode="json"), over | {"model": concepts}))


def weights(spec):
    def feed(done):
        for step in range(done, STEPS):
            ids = torch.randint(4, 64, (BATCH, LENGTH), generator=torch.Generator().manual_seed(step))
            ids[0, 100:] = VOCABULARY.pad_id                            # so that there are masks
            ids[:, 60] = VOCABULARY.separator_id
            yield ids

    facts = CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size))
    model = fit(spec, facts, feed=feed, evaluate=lambda model: {}, on_report=lambda report: None)
    return {name: weight.clone() for name, weight in model.state_dict().items()}


LOSSES = {"objective": ObjectiveSpec, "regulariser": RegulariserSpec, "contrast": ContrastSpec}
RUNS = {(place, kind): lambda place=place, kind=kind: fitting(place, kind) for place, kind in MODELS} | {
    (union, spec): lambda union=union, spec=spec: run_with(**{union: spec()})
    for union, specs in LOSSES.items() for spec in kinds(specs)
}  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("made", RUNS.values(), ids=map(str, RUNS))
def test_a_run_on_cuda_gives_the_same_bits_again(made, precision):
    spec = long(made(), precision)
    first, again = weights(spec), weights(spec)
    assert [name for name in first if not torch.equal(first[name], again[name])] == []
