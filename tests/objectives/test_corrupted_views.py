"""What every objective promises of its views, whatever its kind."""

from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.text.collocations import find_collocations
from cogito_ray.text.vocabulary import Vocabulary

SPECIAL = (0, 1, 2, 3)
PLAIN = Vocabulary(size=64, pad_id=0, mask_id=1, separator_id=2, special_ids=SPECIAL)
CORPUS = np.random.default_rng(0).integers(4, 12, (200, 24))
VOCABULARY = replace(PLAIN, collocations=find_collocations(CORPUS, PLAIN, least_count=2))
KINDS = [kind() for kind in get_args(get_args(ObjectiveSpec)[0])]
DENSE = [kind.model_copy(update={"target_rate": 1.0}) for kind in KINDS if "target_rate" in type(kind).model_fields]
every_kind = pytest.mark.parametrize("objective", KINDS + DENSE, ids=lambda spec: spec.kind)


def rows(count: int = 16, length: int = 24) -> Tensor:
    """Full rows, then a short one, an empty one, one of a single token, one of separators, one of alternating ones."""
    ids = torch.randint(4, VOCABULARY.size, (count, length), generator=torch.Generator().manual_seed(7))
    ids[:, 10] = VOCABULARY.separator_id
    ids[1, 13:], ids[2], ids[3, 1:], ids[4] = 0, 0, 0, VOCABULARY.separator_id
    ids[5, ::2] = VOCABULARY.separator_id
    return ids


def view_of(objective: ObjectiveSpec, ids: Tensor, seed: int = 0) -> View:
    return objective.corrupt(ids, VOCABULARY, torch.Generator().manual_seed(seed))


@every_kind
def test_targets_are_the_clean_tokens_of_their_places_and_never_special(objective: ObjectiveSpec):
    ids = rows()
    view = view_of(objective, ids)
    asked = view.weights > 0
    assert torch.equal(view.targets[asked], ids.gather(1, view.target_positions)[asked])
    assert not torch.isin(view.targets[asked], torch.tensor(SPECIAL)).any()


@every_kind
def test_a_place_is_asked_for_at_most_once(objective: ObjectiveSpec):
    view = view_of(objective, rows())
    for places, weights in zip(view.target_positions, view.weights, strict=True):
        asked = places[weights > 0]
        assert len(asked.unique()) == len(asked)


@every_kind
def test_every_row_with_text_is_asked_something_and_one_without_is_not(objective: ObjectiveSpec):
    ids = rows()
    asked = (view_of(objective, ids).weights > 0).any(dim=1)
    text = (~torch.isin(ids, torch.tensor(SPECIAL))).sum(dim=1)
    enough = text > 1 if objective.kind == "prefix" else text > 0          # a prefix of one token leaves no rest
    assert torch.equal(asked, enough)


@every_kind
def test_every_row_shows_the_encoder_something_and_never_padding(objective: ObjectiveSpec):
    ids = rows()
    view = view_of(objective, ids)
    assert view.visible.any(dim=1).all()
    written = (ids != VOCABULARY.pad_id).any(dim=1)
    assert (view.visible_ids[written][view.visible[written]] != VOCABULARY.pad_id).all()


@every_kind
def test_visible_tokens_stand_in_reading_order(objective: ObjectiveSpec):
    view = view_of(objective, rows())
    places = view.visible_positions.masked_fill(~view.visible, 1000)
    assert (places.diff(dim=1) >= 0).all()


@every_kind
def test_the_decoder_is_never_shown_its_answer(objective: ObjectiveSpec):
    query = view_of(objective, rows()).query_ids
    assert query is None or (query == VOCABULARY.mask_id).all()


@every_kind
def test_it_gives_what_it_says_it_provides(objective: ObjectiveSpec):
    view = view_of(objective, rows())
    given = {name for name, part in (("ids", view.query_ids), ("noise", view.noise)) if part is not None}
    assert given == objective.provides


@every_kind
def test_shapes_do_not_depend_on_the_rows_nor_on_the_draw(objective: ObjectiveSpec):
    def shapes(view: View) -> list[torch.Size]:
        parts = [getattr(view, field.name) for field in fields(view)]
        return [part.shape for part in parts if isinstance(part, Tensor)]

    assert shapes(view_of(objective, rows(), seed=1)) == shapes(view_of(objective, rows().flip(0), seed=2))


@every_kind
def test_the_same_generator_state_gives_the_same_view(objective: ObjectiveSpec):
    one, two = (view_of(objective, rows(), seed=5) for _ in range(2))
    for field in fields(View):
        first, second = getattr(one, field.name), getattr(two, field.name)
        assert torch.equal(first, second) if isinstance(first, Tensor) else first == second


@every_kind
def test_weights_are_an_unbiased_stand_in_for_every_place_that_may_be_asked(objective: ObjectiveSpec):
    """The divisor of the loss does not vary with the draw, except where a prefix's length does."""
    if objective.kind == "prefix":
        objective = objective.model_copy(update={"shortest": 0.4, "longest": 0.4})
    sums = [view_of(objective, rows(), seed=seed).weights.sum() for seed in range(3)]
    torch.testing.assert_close(torch.stack(sums), sums[0].expand(3))


def test_only_what_needs_collocations_asks_for_them():
    for kind in KINDS:
        if "collocations" not in kind.needs:
            kind.corrupt(rows(), PLAIN, torch.Generator())
