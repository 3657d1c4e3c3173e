"""Every objective keeps what all promise of their views."""

import pytest
import torch

from cogito_ray.nn.attention import document_starts
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.position_sampling import cropped
from cogito_ray.testing import ObjectiveSuite, tiny_runs
from cogito_ray.testing.objective_suite import PLAIN, rows
from cogito_ray.testing.tiny_runs import kinds

KINDS = [kind() for kind in kinds(ObjectiveSpec)]
DENSE = [kind.model_copy(update={"target_rate": 1.0}) for kind in KINDS if "target_rate" in type(kind).model_fields]


@pytest.mark.parametrize("objective", KINDS + DENSE, ids=lambda spec: spec.kind)
class TestObjectives(ObjectiveSuite):
    def least_tokens(self, objective):
        return 2 if objective.kind == "prefix" else 1       # a prefix of one token leaves no rest

    def steady(self, objective):
        lengths = {"shortest": 0.4, "longest": 0.4} if objective.kind == "prefix" else {}
        return objective.model_copy(update=lengths)


def test_only_what_needs_collocations_asks_for_them():
    for kind in KINDS:
        if "collocations" not in kind.needs:
            kind.corrupt(rows(), PLAIN, torch.Generator())


def test_a_document_starts_after_the_separator_before_it_and_keeps_what_follows_it() -> None:
    starts_of = {
        (9, 9, 2, 9, 2, 9, 9): [0, 0, 0, 3, 3, 5, 5],
        (9, 9, 9, 9, 9, 0, 0): [0, 0, 0, 0, 0, 0, 0],
        (9, 9, 2, 9, 9, 2, 0): [0, 0, 0, 3, 3, 3, 3],
        (2, 9, 2, 2, 0, 0, 0): [0, 1, 1, 1, 1, 1, 1],
        (9, 9, 9, 9, 9, 9, 2): [0, 0, 0, 0, 0, 0, 0],
        (0, 0, 0, 0, 0, 0, 0): [0, 0, 0, 0, 0, 0, 0],
    }
    assert document_starts(torch.tensor(list(starts_of)), PLAIN).tolist() == list(starts_of.values())


@pytest.mark.parametrize(
    ("settings", "padded", "masked"),
    [
        ({}, False, [False]),
        ({}, True, [True]),
        ({"objective": {"kind": "prefix"}}, False, [True]),
        ({"loss": {"contrast": {"kind": "corruptions"}}}, False, [False, False]),
        ({"loss": {"contrast": {"kind": "dropout"}}}, False, [True, True]),
    ],
)
def test_a_view_of_training_has_a_mask_only_where_something_is_hidden(settings, padded, masked):
    ids = tiny_runs.rows()[:4] if padded else tiny_runs.rows()[1:5]
    views = tiny_runs.run(**settings).views(ids, tiny_runs.VOCABULARY, torch.Generator().manual_seed(0))
    assert [view.mask is not None for view in views if view is not None] == masked


def test_cropped_rows_end_after_a_tenth_or_later_and_are_as_many_as_asked():
    ids = torch.randint(3, 40, (2000, 30), generator=torch.Generator().manual_seed(0))
    cut = cropped(ids, 0.5, 0, torch.Generator().manual_seed(1))
    lengths = (cut != 0).sum(dim=1)
    assert torch.equal(cut, ids * (torch.arange(30) < lengths[:, None]))                # only what is behind is gone
    assert int(lengths.min()) == 3
    assert (lengths < 30).float().mean() == pytest.approx(0.5 * 27 / 28, abs=0.04)
