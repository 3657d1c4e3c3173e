"""Every YAML that the project ships is a valid sweep, in the eyes of the loader and of an editor."""

import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from cogito_ray.commands.shared_options import app
from cogito_ray.commands.sweep import promote
from cogito_ray.losses.diversity_regularisers import RegulariserSpec
from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.concept_latents import LatentsSpec
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.yaml_io.json_schema import sweep_schema
from cogito_ray.sweeps.yaml_io.yaml_loader import load, load_run
from cogito_ray.sweeps.yaml_io.yaml_writer import diff
from cogito_ray.text.shards.row_packing import PACKERS

FOLDER = Path(__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))
PROXIES, PARTS = (sorted(FOLDER.glob(f"{kind}/*.yaml")) for kind in ("proxies", "parts"))
WALKTHROUGHS = ("quickstart", "wikipedia")
"""Not of the research group's questions."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_sweep_is_valid_and_says_what_it_asks(file):
    sweep = load(file)
    assert sweep.name == file.stem
    assert sweep.question.endswith("?")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_editor_finds_no_fault_in_a_shipped_sweep(file):
    tree = yaml.safe_load(file.read_text())
    assert [error.message for error in Draft202012Validator(sweep_schema()).iter_errors(tree)] == []


@pytest.mark.parametrize("file", PROXIES, ids=lambda file: file.stem)
def test_what_search_spaces_extend_is_a_sound_run_that_several_share(file):
    assert load_run(file)
    assert extending(file) > 1


@pytest.mark.parametrize("file", PARTS, ids=lambda file: file.stem)
def test_a_part_is_shared_by_several_sweeps(file):
    assert extending(file) > 1
    assert {file.parent for file in FOLDER.glob("*/**/*.yaml")} == {FOLDER / "proxies", FOLDER / "parts"}


def test_the_quickstart_needs_no_download_and_varies_what_it_promises():
    sweep = load(FOLDER / "quickstart.yaml")
    (corpus,) = sweep.search_space.corpora()
    assert {source.kind for source in corpus.sources.values()} == {"python-docs"}
    assert {"objective.rate", "model.concepts", "model.token_width"} < set(sweep.space)
    assert sweep.budget.trials >= 8
    assert sweep.policy().rungs


def test_one_grid_holds_every_objective_with_every_decoder_that_fits_it():
    grid = load(FOLDER / "decoders.yaml").search_space.grid_points()
    held = {(point["objective"], point["model.decoder"]) for point in grid}
    objectives, decoders = (members_of(union) for union in (ObjectiveSpec, DecoderSpec))
    fitting = {(o, d) for (o, what), (d, reader) in product(objectives, decoders) if reader.needs <= what.provides}
    assert held == fitting


@pytest.mark.parametrize("file", [file for file in FILES if file.stem not in WALKTHROUGHS], ids=lambda file: file.stem)
def test_a_grid_says_what_it_takes_as_a_proxy_and_in_full(file):
    comment = " ".join(line.removeprefix("#").strip() for line in file.read_text().split("name: ")[0].splitlines())
    assert re.search(r"Proxy: .*(core|GPU).* a trial", comment)
    assert load(file).promote.overrides["training.steps"] >= 10_000


def test_concept_losses_are_weighed_in_every_way_that_has_a_lower_bound():
    terms = {
        (regulariser, run.loss.weighting.kind)
        for run in runs("concept_losses")
        for regulariser in [r.kind for r in run.loss.regularisers] or ["none"]
    }
    named = {"orthogonality", "vicreg", "nearest_neighbour", "mst", "combined"}
    bounded = {kind for kind, regulariser in members_of(RegulariserSpec) if regulariser.floor >= 0}
    scaled = {(kind, "kendall_gal") for kind in named & bounded}
    assert terms == {("none", "fixed"), *product(named, ["fixed", "capped"]), *scaled}


def test_the_dimension_inversion_pairs_stand_in_the_grid_at_a_quarter_and_whole_at_full_size():
    pairs = {(512, 512), (128, 512), (64, 512), (32, 512), (64, 1024), (32, 1024)}
    assert pairs <= {(4 * run.model.token_width, 4 * run.model.width) for run in runs("dimension_inversion")}
    assert pairs <= {(run.model.token_width, run.model.width) for run in full_runs("dimension_inversion")}


def test_concept_counts_keep_their_share_of_the_tokens_at_full_size():
    assert {(run.data.length, run.model.concepts) for run in full_runs("concept_counts")} == {
        (512, count) for count in (16, 32, 64, 128, 256)
    }


def test_texts_reach_the_lengths_that_their_file_promises_at_full_size():
    full = {(run.data.length, run.model.concepts) for run in full_runs("start_length_objective")}
    assert full == {(128, 32), (256, 64), (512, 128)}


def test_recursion_sets_one_block_k_times_beside_k_blocks():
    drawn = {(run.model.encoder.depth, run.model.encoder.tied) for run in runs("recursion")}
    assert drawn == set(product([2, 4, 6, 8, 12], [True, False]))


def test_encoders_hold_every_block_and_the_funnel():
    encoders = [run.model.encoder for run in runs("encoders")]
    assert {encoder.block.kind for encoder in encoders} == {kind for kind, _ in members_of(BlockSpec)}
    assert {encoder.tokens.kind for encoder in encoders} == {"raw", "funnel"}


def test_concept_positions_hold_every_kind_of_latents():
    known = {kind for kind, _ in members_of(LatentsSpec)}
    assert {run.model.latents.kind for run in runs("concept_positions")} == known


def test_a_pretrained_model_is_read_with_its_own_tokenizer_beside_plain_embeddings():
    tokenizers, stages = zip(
        *((run.data.tokenizer, run.model.encoder.tokens) for run in runs("pretrained_tokens")), strict=True
    )
    models = {stage.model for stage in stages if stage.kind == "pretrained"}
    assert {"raw", "pretrained"} == {stage.kind for stage in stages}
    assert {tokenizer.name for tokenizer in tokenizers} == models


def test_start_length_and_objective_are_crossed_with_contrast_and_concepts_grow_with_texts():
    drawn = runs("start_length_objective")
    assert {run.data.length / run.model.concepts for run in drawn} == {4}
    crossed = {
        (run.model.latents.kind, run.data.length, run.objective.kind, run.loss.contrast is not None) for run in drawn
    }
    assert crossed == set(product(["anchored", "plain"], [32, 64, 128], ["tsdae", "mlm"], [False, True]))


def test_packing_holds_every_packing_with_every_reading_that_differs():
    shared, own = {"concatenate", "best_fit"}, ("document", "row")
    drawn = {(run.data.packing, run.model.attention) for run in runs("packing")}
    assert drawn == {*product(shared, ["row", "document"]), own}
    assert {packing for packing, _ in drawn} == set(PACKERS)


def extending(file):
    """How many search spaces name this file."""
    return sum(f"extends: {file.relative_to(FOLDER)}" in sweep.read_text() for sweep in FILES)


def runs(name):
    """Every run of a shipped grid."""
    sweep = load(FOLDER / f"{name}.yaml")
    return [sweep.trial(cell) for cell in sweep.search_space.grid_points()]


def test_the_example_of_promote_names_a_file_that_says_what_to_promote():
    [command] = [command for command in app.registered_commands if command.callback is promote]
    [file] = re.findall(r"search_spaces/(\S+)", command.epilog)
    assert load(FOLDER / file).promote is not None


def full_runs(name):
    """What `promote` would make of every trial of a shipped grid; in nothing undeclared does it differ."""
    sweep = load(FOLDER / f"{name}.yaml")
    space = sweep.search_space
    found = [RunSpec.model_validate(sweep.promote.trees(space, point)[0]) for point in space.grid_points()]
    for cell, run in zip(space.grid_points(), found, strict=True):
        changes = diff(sweep.trial(cell).model_dump(mode="json"), run.model_dump(mode="json"))
        assert sweep.promote.undeclared(changes, space) == []
    return found


def members_of(union):
    """(kind, class) of every member of a union of specs."""
    return [(member.model_fields["kind"].default, member) for member in get_args(get_args(union)[0])]
