"""Every kind with every kind that a user may name together, as whole runs on a tiny model.

A new kind is found through its union: it is covered as soon as it exists.
"""

import itertools
from typing import Any

import pytest
import torch
from kinds import LENGTH, MODELS, SETTINGS, VOCABULARY, build, fitting, kinds, losses_of, name, rows, run
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor

from cogito_ray.losses.loss_terms import ContrastSpec
from cogito_ray.losses.loss_weighting import WeightingSpec
from cogito_ray.losses.regularisers import RegulariserSpec
from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.run_spec import RunSpec


def untrained(spec: RunSpec) -> list[str]:
    """Names of parameters without a finite, non-zero gradient after one step's backward pass."""
    total = build(spec)
    for parameter in total.model.parameters():
        with torch.no_grad():
            parameter.add_(0.05 * torch.randn_like(parameter))      # gates that start at 0 hide what is behind
    losses_of(spec, total).total.backward()
    return [
        path
        for path, parameter in total.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]


def encoded(model: ConceptModel, ids: Tensor) -> Tensor:
    """All tokens visible -> concepts (B, C, D)."""
    return model.encoder(ids, torch.arange(ids.shape[1]).expand_as(ids), ids != VOCABULARY.pad_id)


GRID = [
    (name(block), tied, name(decoder), name(objective))
    for block, tied, decoder, objective in itertools.product(
        kinds(BlockSpec), (False, True), kinds(DecoderSpec), kinds(ObjectiveSpec)
    )
    if decoder.needs <= objective.provides
]
every_model = pytest.mark.parametrize(
    ("place", "kind"), MODELS, ids=lambda part: part if isinstance(part, str) else part[-1]
)


@pytest.mark.parametrize(("block", "tied", "decoder", "objective"), GRID)
def test_every_allowed_combination_trains_every_parameter(block: str, tied: bool, decoder: str, objective: str):
    encoder = {"block": {"kind": block} | SETTINGS.get(("block", block), dict)(), "depth": 2, "tied": tied}
    model = {"encoder": encoder, "decoder": {"kind": decoder} | SETTINGS.get(("decoder", decoder), dict)()}
    assert untrained(run(model=model, objective={"kind": objective})) == []


@every_model
def test_every_choice_in_a_model_trains_every_parameter(place: tuple[str, ...], kind: str):
    assert untrained(fitting(place, kind)) == []


@every_model
def test_saving_and_loading_is_exact(place: tuple[str, ...], kind: str):
    spec = fitting(place, kind)
    one, two = build(spec).model.eval(), build(spec).model.eval()
    for parameter in two.parameters():
        torch.nn.init.zeros_(parameter)
    two.load_state_dict(load(save({key: value.clone() for key, value in one.state_dict().items()})))
    assert torch.equal(encoded(one, rows()), encoded(two, rows()))


@every_model
def test_rows_of_a_batch_do_not_influence_each_other(place: tuple[str, ...], kind: str):
    model = build(fitting(place, kind)).model.eval()
    torch.testing.assert_close(encoded(model, rows())[2:3], encoded(model, rows()[2:3]), rtol=1e-4, atol=1e-5)


@every_model
def test_padding_does_not_matter(place: tuple[str, ...], kind: str):
    model = build(fitting(place, kind)).model.eval()
    ids = rows()
    positions, visible = torch.arange(LENGTH).expand_as(ids), ids != VOCABULARY.pad_id
    other = torch.where(visible, ids, 42)
    torch.testing.assert_close(model.encoder(other, positions, visible), model.encoder(ids, positions, visible))


@every_model
def test_concepts_do_not_depend_on_the_order_in_which_tokens_are_listed(place: tuple[str, ...], kind: str):
    if kind in ORDERED:
        pytest.skip(f"'{kind}' reads neighbours")
    model = build(fitting(place, kind)).model.eval()
    ids = rows()
    positions, visible = torch.arange(LENGTH).expand_as(ids), ids != VOCABULARY.pad_id
    turned = model.encoder(ids.flip(1), positions.flip(1), visible.flip(1))
    torch.testing.assert_close(turned, model.encoder(ids, positions, visible), rtol=1e-4, atol=1e-5)


ORDERED: set[str] = {"funnel", "pretrained"}
"""Token stages that pool neighbours or read tokens as a sequence."""


@every_model
def test_the_last_of_every_layer_is_what_the_encoder_returns(place: tuple[str, ...], kind: str):
    model = build(fitting(place, kind)).model.eval()
    ids = rows()
    seen = (ids, torch.arange(LENGTH).expand_as(ids), ids != VOCABULARY.pad_id)
    *_, last = model.encoder.every_layer(*seen)
    assert torch.equal(last, model.encoder(*seen))


HIDING = [
    (name(decoder), name(objective))
    for decoder, objective in itertools.product(kinds(DecoderSpec), kinds(ObjectiveSpec))
    if decoder.needs <= objective.provides and name(objective) in ("mlm", "span", "prefix")
]


@pytest.mark.parametrize(("decoder", "objective"), HIDING)
def test_a_prediction_does_not_depend_on_the_hidden_token_it_predicts(decoder: str, objective: str):
    spec = run(
        model={"decoder": {"kind": decoder} | SETTINGS.get(("decoder", decoder), dict)()}, objective={"kind": objective}
    )
    model = build(spec).model.eval()
    ids = rows()
    view = spec.objective.corrupt(ids, VOCABULARY, torch.Generator().manual_seed(0))
    swapped = torch.where(view.weights > 0, 67 - view.targets, view.targets)       # another ordinary token
    changed = _replaced(ids, view.target_positions, view.weights > 0, swapped)
    other = spec.objective.corrupt(changed, VOCABULARY, torch.Generator().manual_seed(0))

    def hidden(view: View) -> Tensor:
        concepts = model.encoder(view.visible_ids, view.visible_positions, view.visible)
        return model.decoder(concepts, view.target_positions, view.query_ids, view.noise)

    assert not torch.equal(view.targets, other.targets)
    assert torch.equal(hidden(view), hidden(other))


def _replaced(ids: Tensor, places: Tensor, used: Tensor, tokens: Tensor) -> Tensor:
    out = ids.clone()
    for row, (at_places, which, new) in enumerate(zip(places, used, tokens, strict=True)):
        out[row, at_places[which]] = new[which]
    return out


PRESSED = [
    (name(regulariser), name(weighting), layers)
    for regulariser, weighting, layers in itertools.product(
        kinds(RegulariserSpec), kinds(WeightingSpec), ("last", "every")
    )
    if regulariser.floor >= 0 or not weighting.needs_nonnegative
]


@pytest.mark.parametrize(("regulariser", "weighting", "layers"), PRESSED)
def test_every_regulariser_under_every_weighting_trains_every_parameter(regulariser: str, weighting: str, layers: str):
    loss = {"regularisers": [{"kind": regulariser, "layers": layers}], "weighting": {"kind": weighting}}
    assert untrained(run(loss=loss)) == []


@pytest.mark.parametrize("objective", [name(spec) for spec in kinds(ObjectiveSpec)])
@pytest.mark.parametrize("contrast", [name(spec) for spec in kinds(ContrastSpec)])
def test_contrast_goes_with_every_objective(contrast: str, objective: str):
    spec = run(loss={"contrast": {"kind": contrast}}, objective={"kind": objective})
    assert untrained(spec) == []


@pytest.mark.parametrize("concepts", [1, 2])
@pytest.mark.parametrize("rows_of_a_pass", [1, 2])
@pytest.mark.parametrize("regulariser", [name(spec) for spec in kinds(RegulariserSpec)])
def test_a_regulariser_of_few_concepts_has_a_value_and_a_gradient_or_is_refused(
    regulariser: str, rows_of_a_pass: int, concepts: int
):
    settings = {
        "loss": {"regularisers": [{"kind": regulariser}]},
        "model": {"concepts": concepts},
        "training": {"batch": 8, "micro_batch": rows_of_a_pass},
    }
    pairs = regulariser not in {"variance", "covariance", "vicreg"}
    if concepts == 1 and (pairs or rows_of_a_pass == 1):
        fault = "model.concepts is 1; make it 2" if pairs else "a pass has one; make training.micro_batch 2"
        with pytest.raises(ValidationError, match=fault):
            run(**settings)
        return
    spec = run(**settings)
    total, ids = build(spec), rows()[:rows_of_a_pass]
    losses = total(*spec.loss.views(spec.objective, ids, VOCABULARY, torch.Generator().manual_seed(0)))
    losses.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in total.parameters())
    assert losses.terms[regulariser].isfinite()


REFUSALS = [
    (
        {"loss": {"weighting": {"kind": "fixed", "weights": {"reconstruction": 0}}}},
        r"loss\.weighting\.weights: \['reconstruction'\] weigh 0, so that no task trains the encoder",
    ),
    (
        {"loss": {"contrast": {"kind": "halves"}}, "training": {"batch": 4, "micro_batch": 1}},
        r"loss\.contrast 'halves' tells a text from the others .* make training\.micro_batch 2 or more",
    ),
    (
        {"loss": {"contrast": {"kind": "halves"}}, "training": {"batch": 4}, "workers": 4},
        r"make training\.micro_batch 2 or more",
    ),
    (
        {"loss": {"regularisers": [{"kind": "vicreg", "variance": 0, "covariance": 0}]}},
        "both weights are 0, so that nothing is regularised",
    ),
    (
        {"model": {"decoder": {"kind": "perceiver"}}, "objective": {"kind": "tsdae"}},
        r"model\.decoder 'perceiver' reads \['ids'\], which objective 'tsdae' does not give",
    ),
    ({"model": {"decoder": None}}, "model.decoder: nothing trains the encoder; set it, loss.contrast, or both"),
    (
        {"loss": {"regularisers": [{"kind": "mst"}], "weighting": {"kind": "kendall_gal"}}},
        r"loss\.weighting 'kendall_gal' would give \['mst'\] the largest weight",
    ),
    (
        {"loss": {"weighting": {"kind": "fixed", "weights": {"vicreg": 0.1}}}},
        r"loss\.weighting\.weights names \['vicreg'\], but the terms of this run are \['reconstruction'\]",
    ),
    (
        {"model": {"concepts": 17}, "loss": {"regularisers": [{"kind": "orthogonality"}]}},
        "'orthogonality' cannot be met by 17 concepts of width 16; use at most 16 concepts or 'soft_orthogonality'",
    ),
    ({"model": {"width": 15}}, "width 15 is not divisible by 2 heads"),
    ({"model": {"widht": 16}}, "Extra inputs are not permitted"),
    ({"objective": {"kind": "mlm", "random_share": 0.7, "kept_share": 0.7}}, "is 1.4, more than the chosen tokens"),
    ({"objective": {"kind": "cloze"}}, "'mlm'"),
    ({"training": {"batch": 10}, "workers": 4}, r"training\.batch 10 cannot be shared by 4 workers"),
]


@pytest.mark.parametrize(("over", "message"), REFUSALS, ids=lambda part: part[:40] if isinstance(part, str) else "")
def test_a_run_that_cannot_work_is_refused_with_its_reason(over: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        run(**over)


def test_several_faults_of_a_run_are_told_at_once():
    with pytest.raises(ValidationError) as refused:
        run(loss={"weighting": {"kind": "fixed", "weights": {"vicreg": 1}}}, training={"batch": 10}, workers=4)
    assert "loss.weighting.weights" in str(refused.value)
    assert "training.batch" in str(refused.value)
