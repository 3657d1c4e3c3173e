"""Dotted paths: which exist in a run, what stands there, how they are set."""

import pytest

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.dotted_paths import default_at, every_path, get, kinds_at, near, overlap, put


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("model.width", {int}),
        ("model.token_width", {int, type(None)}),
        ("objective.rate", {float}),
        ("objective.kind", {str}),
        ("loss.weighting.weights.variance", {float}),
        ("loss.regularisers", {tuple}),
        ("loss.regularisers.0.layers", {str}),
        ("data.sources.anything.weight", {float, str}),
        ("model.decoder.depth", {int}),
    ],
)
def test_a_path_is_known_with_its_types_through_unions_lists_and_mappings(path, kinds):
    assert kinds_at(RunSpec, path) == kinds


@pytest.mark.parametrize("path", ["model.widht", "model.width.more", "loss.regularisers.first", "", "model."])
def test_a_path_that_no_run_has_is_unknown(path):
    assert kinds_at(RunSpec, path) == set()


@pytest.mark.parametrize(
    ("meant", "written"),
    [
        ("model.width", "model.widht"),
        ("training.optimizer.learning_rate", "learning_rate"),
        ("training.optimizer.learning_rate", "training.learning_rate"),
        ("model.decoder", "model.decder"),
    ],
)
def test_a_misspelt_path_is_answered_with_the_one_that_was_meant(meant, written):
    assert near(RunSpec, written)[0] == meant


def test_every_listed_path_is_known():
    assert all(kinds_at(RunSpec, path) for path in every_path(RunSpec))


def test_defaults_are_found_below_parts_that_have_none():
    assert default_at(RunSpec, "model.width") == RunSpec.model_fields["model"].annotation.model_fields["width"].default
    assert default_at(RunSpec, "training.optimizer.beta1") == 0.9
    assert default_at(RunSpec, "data.length") is None


def test_put_makes_mappings_and_reaches_into_lists():
    tree = {"loss": {"regularisers": [{"kind": "variance"}]}}
    put(tree, "loss.regularisers.0.layers", "every")
    put(tree, "training.steps", 3)
    assert tree == {"loss": {"regularisers": [{"kind": "variance", "layers": "every"}]}, "training": {"steps": 3}}
    assert get(tree, "loss.regularisers.0.layers") == "every"
    assert get(tree, "loss.regularisers.1.layers") is None


@pytest.mark.parametrize("path", ["model.decoder.depth", "loss.regularisers.3.layers"])
def test_put_says_what_blocks_the_way(path):
    with pytest.raises(ValueError, match=r"should be a mapping, for |has 0 entries, counted from 0"):
        put({"model": {"decoder": None}, "loss": {"regularisers": []}}, path, 1)


def test_paths_overlap_when_one_is_part_of_the_other():
    assert overlap("model", "model.width")
    assert overlap("model.width", "model")
    assert not overlap("model.width", "model.widths")
