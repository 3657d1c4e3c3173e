"""What encoder blocks, token stages, concept latents and decoders promise, tried in whole runs of a tiny model.

The argument `tiny` is a run that has the part, such as `run_with(block=MyBlockSpec())`.
"""

from dataclasses import replace

import torch
from safetensors.torch import load, save
from torch import Tensor

from cogito_ray.nn.attention import places_of
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import name_of
from cogito_ray.testing.tiny_runs import (
    LENGTH,
    VOCABULARY,
    build,
    by_documents,
    disturbed,
    encoded,
    kinds,
    losses_of,
    needs_of,
    provided_by,
    rows,
    run,
    two_documents,
    untrained,
)

HIDING = ("mlm", "span", "prefix")
"""Objectives whose corruption does not depend on the tokens that it hides."""


def _seen() -> tuple[Tensor, Tensor, Tensor]:
    """All tokens of some rows, their places, and which are no padding."""
    ids = rows()
    return ids, torch.arange(LENGTH).expand_as(ids), ids != VOCABULARY.pad_id


class ModelSuite:
    """Of every part of a model."""

    def reads_order(self, tiny: RunSpec) -> bool:
        """Does it read neighbours, or tokens as a sequence?"""
        return False

    def test_it_trains_every_parameter(self, tiny: RunSpec) -> None:
        assert untrained(tiny) == []

    def test_saving_and_loading_is_exact(self, tiny: RunSpec) -> None:
        one, two = build(tiny).model.eval(), build(tiny).model.eval()
        for parameter in two.parameters():
            torch.nn.init.zeros_(parameter)
        two.load_state_dict(load(save({key: value.clone() for key, value in one.state_dict().items()})))
        assert torch.equal(encoded(one, rows()), encoded(two, rows()))

    def test_rows_of_a_batch_do_not_influence_each_other(self, tiny: RunSpec) -> None:
        model = build(tiny).model.eval()
        torch.testing.assert_close(encoded(model, rows())[2:3], encoded(model, rows()[2:3]), rtol=1e-4, atol=1e-5)

    def test_padding_does_not_matter(self, tiny: RunSpec) -> None:
        encoder = build(tiny).model.eval().encoder
        ids, positions, visible = _seen()
        other = torch.where(visible, ids, 42)
        torch.testing.assert_close(encoder(other, positions, visible), encoder(ids, positions, visible))

    def test_concepts_do_not_depend_on_the_order_in_which_tokens_are_listed(self, tiny: RunSpec) -> None:
        if self.reads_order(tiny):
            return
        encoder = build(tiny).model.eval().encoder
        ids, positions, visible = _seen()
        turned = encoder(ids.flip(1), positions.flip(1), visible.flip(1))
        torch.testing.assert_close(turned, encoder(ids, positions, visible), rtol=1e-4, atol=1e-5)

    def test_documents_of_a_row_do_not_influence_each_other(self, tiny: RunSpec) -> None:
        spec = by_documents(tiny)
        if spec is None:
            return
        model = disturbed(build(spec)).model.eval()
        view, _ = spec.views(two_documents(), VOCABULARY, torch.Generator().manual_seed(0))
        starts, centres = view.starts, model.encoder.latents.centres
        assert starts is not None
        assert centres is not None
        second = [starts.gather(1, view.visible_positions) > 0, places_of(starts, centres) > 0]
        if model.decoder is not None:
            second.append(starts.gather(1, view.target_positions) > 0)
        for changed in (True, False):
            other_tokens = (view.visible_ids + 7) % 60 + 4
            swapped = torch.where(second[0] == changed, other_tokens, view.visible_ids)
            before, after = (_results(model, each) for each in (view, replace(view, visible_ids=swapped)))
            for one, other, belongs in zip(before, after, second[1:], strict=True):
                assert torch.equal(one[belongs != changed], other[belongs != changed])
                assert not torch.equal(one[belongs == changed], other[belongs == changed])

    def test_one_document_a_row_is_read_as_a_whole_row_bit_for_bit(self, tiny: RunSpec) -> None:
        spec = by_documents(tiny)
        if spec is None:
            return
        whole, single = disturbed(build(tiny)), disturbed(build(spec))
        one, other = losses_of(tiny, whole).total, losses_of(spec, single).total
        assert torch.equal(one, other)
        expected, found = (
            torch.autograd.grad(loss, list(total.model.parameters())) for loss, total in ((one, whole), (other, single))
        )
        assert all(map(torch.equal, expected, found))

    def test_the_last_of_every_layer_is_what_the_encoder_returns(self, tiny: RunSpec) -> None:
        encoder = build(tiny).model.eval().encoder
        *_, last = encoder.every_layer(*_seen())
        assert torch.equal(last, encoder(*_seen()))


class BlockSuite(ModelSuite):
    """Of an encoder's block."""

    def test_it_trains_every_parameter_with_every_decoder_under_every_objective_that_fits(self, tiny: RunSpec) -> None:
        for decoder in kinds(DecoderSpec):
            for objective in kinds(ObjectiveSpec):
                if needs_of(decoder) <= provided_by(objective):
                    model = tiny.model.model_dump() | {"decoder": {"kind": name_of(decoder)}}
                    spec = run(model=model, objective={"kind": name_of(objective)})
                    assert untrained(spec) == [], (name_of(decoder), name_of(objective))


class DecoderSuite(ModelSuite):
    """Of a decoder."""

    def test_it_trains_every_parameter_under_every_objective_that_fits(self, tiny: RunSpec) -> None:
        for objective in self._fitting(tiny):
            assert untrained(run(model=tiny.model.model_dump(), objective={"kind": objective})) == [], objective

    def test_a_prediction_does_not_depend_on_the_hidden_token_it_predicts(self, tiny: RunSpec) -> None:
        model, ids = build(tiny).model.eval(), rows()
        for kind in set(self._fitting(tiny)) & set(HIDING):
            objective = run(model=tiny.model.model_dump(), objective={"kind": kind}).objective
            view = objective.corrupt(ids, VOCABULARY, torch.Generator().manual_seed(0))
            swapped = torch.where(view.weights > 0, 67 - view.targets, view.targets)       # another ordinary token
            changed = _replaced(ids, view.target_positions, view.weights > 0, swapped)
            other = objective.corrupt(changed, VOCABULARY, torch.Generator().manual_seed(0))
            assert not torch.equal(view.targets, other.targets)
            assert torch.equal(_decoded(model, view), _decoded(model, other)), kind

    @staticmethod
    def _fitting(tiny: RunSpec) -> list[str]:
        """Kinds of objectives that give what its decoder reads."""
        assert tiny.model.decoder is not None
        needs = needs_of(type(tiny.model.decoder))
        return [name_of(objective) for objective in kinds(ObjectiveSpec) if needs <= provided_by(objective)]


def _decoded(model: ConceptModel, view: View) -> Tensor:
    """What is told of each target, (B, T, D)."""
    assert model.decoder is not None
    return _results(model, view)[1]


def _results(model: ConceptModel, view: View) -> list[Tensor]:
    """Concepts (B, C, D), and with a decoder what is told of each target (B, M, D)."""
    concepts = model.encoder(view.visible_ids, view.visible_positions, view.visible, view.starts)
    if model.decoder is None:
        return [concepts]
    query_ids = view.queries(whole=model.decoder.reads_rows)
    return [concepts, model.decoder(concepts, view.target_positions, query_ids, view.noise, view.starts)]


def _replaced(ids: Tensor, places: Tensor, used: Tensor, tokens: Tensor) -> Tensor:
    out = ids.clone()
    for row, (at_places, which, new) in enumerate(zip(places, used, tokens, strict=True)):
        out[row, at_places[which]] = new[which]
    return out
