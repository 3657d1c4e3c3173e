"""Every YAML that the project ships is a valid sweep, in the eyes of the loader and of an editor."""

from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jsonschema import Draft202012Validator

from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.sweeps.files import load
from cogito_ray.sweeps.schema import sweep_schema

FOLDER = Path(__file__).parents[1] / "search_spaces"
FILES = sorted(FOLDER.glob("**/*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_sweep_is_valid_and_says_what_it_asks(file):
    sweep = load(file)
    assert sweep.name == file.stem
    assert sweep.question.endswith("?")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_editor_finds_no_fault_in_a_shipped_sweep(file):
    tree = yaml.safe_load(file.read_text())
    assert [error.message for error in Draft202012Validator(sweep_schema()).iter_errors(tree)] == []


def test_the_quickstart_needs_no_download_and_varies_what_it_promises():
    sweep = load(FOLDER / "quickstart.yaml")
    (corpus,) = sweep.corpora()
    assert {source.kind for source in corpus.sources.values()} == {"python-docs"}
    assert {"objective.rate", "model.concepts", "model.token_width"} < set(sweep.space)
    assert sweep.budget.trials >= 8
    assert sweep.policy().rungs


def test_the_shipped_grids_hold_every_objective_with_every_decoder_that_fits_it():
    held = set()
    for name in ("objectives", "decoders", "diffusion_decoders"):
        space = load(FOLDER / f"{name}.yaml").space
        held |= set(product(space["objective"].values(), space["model.decoder"].values()))
    objectives, decoders = (members_of(union) for union in (ObjectiveSpec, DecoderSpec))
    fitting = {(o, d) for (o, what), (d, reader) in product(objectives, decoders) if reader.needs <= what.provides}
    assert held == fitting


def members_of(union):
    """(kind, class) of every member of a union of specs."""
    return [(member.model_fields["kind"].default, member) for member in get_args(get_args(union)[0])]
