"""What every objective promises of its views, whatever its kind. The argument `objective` is its Spec."""

from dataclasses import fields, replace

import numpy as np
import torch
from torch import Size, Tensor

from cogito_ray.losses.reconstruction_and_contrast import ContrastSpec
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.spec_registry import name_of
from cogito_ray.testing.tiny_runs import kinds, needs_of, run, untrained
from cogito_ray.text.pmi_collocations import find_collocations
from cogito_ray.text.vocabulary_info import Vocabulary

SPECIAL = (0, 1, 2, 3)
PLAIN = Vocabulary(size=64, pad_id=0, mask_id=1, separator_id=2, special_ids=SPECIAL)
CORPUS = np.random.default_rng(0).integers(4, 12, (200, 24))
VOCABULARY = replace(PLAIN, collocations=find_collocations(CORPUS, PLAIN, least_count=2))


def rows(count: int = 16, length: int = 24) -> Tensor:
    """Full rows, then a short one, an empty one, one of a single token, one of separators, one of alternating ones."""
    ids = torch.randint(4, VOCABULARY.size, (count, length), generator=torch.Generator().manual_seed(7))
    ids[:, 10] = VOCABULARY.separator_id
    ids[1, 13:], ids[2], ids[3, 1:], ids[4] = 0, 0, 0, VOCABULARY.separator_id
    ids[5, ::2] = VOCABULARY.separator_id
    return ids


def view_of(objective: ObjectiveSpec, ids: Tensor, seed: int = 0) -> View:
    """The view of ids (B, N) that this seed draws, with the vocabulary of tiny runs."""
    return objective.corrupt(ids, VOCABULARY, torch.Generator().manual_seed(seed))


class ObjectiveSuite:
    """What every objective promises of its views: inherit it, and parametrize the class over `objective`."""

    def least_tokens(self, objective: ObjectiveSpec) -> int:
        """Ordinary tokens that a row must have so that something is asked of it."""
        return 1

    def steady(self, objective: ObjectiveSpec) -> ObjectiveSpec:
        """The same where how much is asked does not vary with the draw."""
        return objective

    def test_targets_are_the_clean_tokens_of_their_places_and_never_special(self, objective: ObjectiveSpec) -> None:
        ids = rows()
        view = view_of(objective, ids)
        asked = view.weights > 0
        assert torch.equal(view.targets[asked], ids.gather(1, view.target_positions)[asked])
        assert not torch.isin(view.targets[asked], torch.tensor(SPECIAL)).any()

    def test_a_place_is_asked_for_at_most_once(self, objective: ObjectiveSpec) -> None:
        view = view_of(objective, rows())
        for places, weights in zip(view.target_positions, view.weights, strict=True):
            asked = places[weights > 0]
            assert len(asked.unique()) == len(asked)

    def test_every_row_with_text_is_asked_something_and_one_without_is_not(self, objective: ObjectiveSpec) -> None:
        ids = rows()
        asked = (view_of(objective, ids).weights > 0).any(dim=1)
        text = (~torch.isin(ids, torch.tensor(SPECIAL))).sum(dim=1)
        assert torch.equal(asked, text >= self.least_tokens(objective))

    def test_every_row_shows_the_encoder_something_and_never_padding(self, objective: ObjectiveSpec) -> None:
        ids = rows()
        view = view_of(objective, ids)
        assert view.visible.any(dim=1).all()
        written = (ids != VOCABULARY.pad_id).any(dim=1)
        assert (view.visible_ids[written][view.visible[written]] != VOCABULARY.pad_id).all()

    def test_visible_tokens_stand_in_reading_order(self, objective: ObjectiveSpec) -> None:
        view = view_of(objective, rows())
        places = view.visible_positions.masked_fill(~view.visible, 1000)
        assert (places.diff(dim=1) >= 0).all()

    def test_the_decoder_is_never_shown_its_answer(self, objective: ObjectiveSpec) -> None:
        query = view_of(objective, rows()).query_ids
        assert query is None or (query == VOCABULARY.mask_id).all()

    def test_it_gives_what_it_says_it_provides(self, objective: ObjectiveSpec) -> None:
        view = view_of(objective, rows())
        parts = {"ids": view.query_ids, "noise": view.noise, "row": view.noisy_ids}
        given = {name for name, part in parts.items() if part is not None}
        assert given == objective.provides

    def test_shapes_do_not_depend_on_the_rows_nor_on_the_draw(self, objective: ObjectiveSpec) -> None:
        def shapes(view: View) -> list[Size]:
            parts = [getattr(view, field.name) for field in fields(view)]
            return [part.shape for part in parts if isinstance(part, Tensor)]

        assert shapes(view_of(objective, rows(), seed=1)) == shapes(view_of(objective, rows().flip(0), seed=2))

    def test_the_same_generator_state_gives_the_same_view(self, objective: ObjectiveSpec) -> None:
        one, two = (view_of(objective, rows(), seed=5) for _ in range(2))
        for field in fields(View):
            first, second = getattr(one, field.name), getattr(two, field.name)
            assert torch.equal(first, second) if isinstance(first, Tensor) else first == second

    def test_weights_are_an_unbiased_stand_in_for_every_place_that_may_be_asked(self, objective: ObjectiveSpec) -> None:
        """The divisor of the loss does not vary with the draw."""
        objective = self.steady(objective)
        sums = [view_of(objective, rows(), seed=seed).weights.sum() for seed in range(3)]
        torch.testing.assert_close(torch.stack(sums), sums[0].expand(3))

    def test_every_parameter_is_trained_with_every_decoder_that_it_gives_what_it_reads(
        self, objective: ObjectiveSpec
    ) -> None:
        for decoder in kinds(DecoderSpec):
            if needs_of(decoder) <= objective.provides:
                spec = run(model={"decoder": {"kind": name_of(decoder)}}, objective=objective.model_dump())
                assert untrained(spec) == [], name_of(decoder)

    def test_every_parameter_is_trained_with_every_contrast(self, objective: ObjectiveSpec) -> None:
        for contrast in kinds(ContrastSpec):
            spec = run(loss={"contrast": {"kind": name_of(contrast)}}, objective=objective.model_dump())
            assert untrained(spec) == [], name_of(contrast)
