"""A run starts from exactly what it names of a checkpoint, says what that was, or is refused with a list."""

import json
import os
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.testing.tiny_runs import VOCABULARY, build, run
from cogito_ray.training.checkpoints.checkpoint_store import BadCheckpoint, Checkpoints, State
from cogito_ray.training.checkpoints.initial_weights import InitialWeights, StartFromSpec

SPEC = TypeAdapter(StartFromSpec)
BOTH = ["encoder", "decoder"]


def trained(spec, seed=5):
    """A model of this run with weights of its own."""
    torch.manual_seed(seed)
    total = build(spec)
    with torch.no_grad():
        for parameter in total.parameters():
            parameter.normal_()
    return total


def saved(total, folder):
    return Checkpoints(folder, run_digest="abc").save(State(3), total, torch.optim.SGD(total.parameters()))


def start(folder, **settings):
    settings = {"kind": "checkpoint", "parts": ["encoder"]} | settings
    return InitialWeights.read(SPEC.validate_python(settings | {"folder": str(folder)}))


@pytest.mark.parametrize("parts", [["encoder"], BOTH])
def test_what_is_named_is_loaded_exactly_and_the_rest_stays(tmp_path, parts):
    source, total, untouched = trained(run()), build(run()), build(run())
    said = start(saved(source, tmp_path), parts=parts).load(total)
    taken = tuple(f"model.{part}." for part in parts) + (("model.head.",) if parts == BOTH else ())
    for name, parameter in total.named_parameters():
        expected = source if name.startswith(taken) else untouched
        assert torch.equal(parameter, expected.get_parameter(name)), name
    assert f"loaded {' and '.join(parts)}, " in said
    assert ("model.head.bias" in said.split("at random: ")[1].split(";")[0]) is (parts == ["encoder"])


def test_a_misfit_is_refused_with_every_name_and_shape_and_nothing_is_loaded(tmp_path):
    source = saved(trained(run()), tmp_path)
    total = build(run(model={"encoder": {"depth": 3}, "concepts": 5}))
    before = {name: parameter.clone() for name, parameter in total.named_parameters()}
    with pytest.raises(ValueError, match="does not fit this run's model") as refused:
        start(source).load(total)
    assert "model.encoder.latents.vectors: 6x16 there, 5x16 here" in str(refused.value)
    assert "missing: model.encoder.blocks.2.tokens_norm.weight 16" in str(refused.value)
    assert all(torch.equal(parameter, before[name]) for name, parameter in total.named_parameters())


def test_another_kind_of_decoder_is_refused_but_the_encoder_can_be_had(tmp_path):
    source = saved(trained(run()), tmp_path)
    total = build(run(model={"decoder": {"kind": "weighted"}}))
    with pytest.raises(ValueError, match=r"missing: model\.decoder\.|left over: model\.decoder\."):
        start(source, parts=BOTH).load(total)
    assert "loaded encoder" in start(source).load(total)


def test_a_table_learned_there_and_computed_here_is_refused(tmp_path):
    source = trained(run(model={"embedding": {"positions": {"kind": "learned"}}}))
    with pytest.raises(ValueError, match=r"positions.table: computed here, but with other values there"):
        start(saved(source, tmp_path)).load(build(run()))


OWN_POSITIONS = "model.decoder.queries.own_positions.table"


def at_length(length, **model):
    torch.manual_seed(0)
    spec = run(model=model, data={"length": length})
    return TotalLoss(spec.model.build(VOCABULARY, length), spec.loss)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
def test_stretched_to_its_own_length_a_model_is_what_it_was(tmp_path, positions):
    model = {"embedding": {"positions": {"kind": positions}}, "token_width": 16}
    source = trained(run(model=model))
    total = at_length(16, **model)
    start(saved(source, tmp_path), parts=BOTH, positions="stretch").load(total)
    for name, parameter in total.named_parameters():
        torch.testing.assert_close(parameter, source.get_parameter(name), rtol=1e-5, atol=1e-5)


def test_stretched_concepts_stand_as_far_from_the_codes_of_their_new_places_as_they_did_from_the_old(tmp_path):
    source = at_length(16)
    with torch.no_grad():
        source.model.encoder.latents.vectors.add_(torch.arange(6.0)[:, None])
    total = at_length(64)
    start(saved(source, tmp_path), parts=BOTH, positions="stretch").load(total)
    learned = []
    for model in (source.model, total.model):
        latents, places = model.encoder.latents, model.encoder.embedding.positions
        learned.append(latents.vectors - places.code(latents.centres, 16))
    torch.testing.assert_close(learned[1], learned[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"embedding": {"positions": {"kind": "learned"}}}, "model.encoder.embedding.positions.table"),
        ({"decoder": {"kind": "position", "positions": {"kind": "learned"}}}, OWN_POSITIONS),
        ({"decoder": {"kind": "weighted"}}, "model.decoder.scores"),
    ],
    ids=["tokens", "queries", "scores"],
)
def test_a_stretched_table_has_what_it_had_at_every_other_place_of_rows_twice_as_long(tmp_path, model, name):
    source, total = trained(run(model=model)), at_length(32, **model)
    start(saved(source, tmp_path), parts=BOTH, positions="stretch").load(total)
    torch.testing.assert_close(total.get_parameter(name)[::2], source.get_parameter(name))


def test_rows_of_another_length_are_refused_with_the_way_to_stretch(tmp_path):
    with pytest.raises(ValueError, match=r"positions.table: computed here.*of another length \(positions: stretch\)"):
        start(saved(at_length(16), tmp_path)).load(at_length(64))


TIES = [("first", lambda blocks: blocks[0]), ("mean", lambda blocks: sum(blocks) / len(blocks))]


@pytest.mark.parametrize(("tie", "expected"), TIES)
def test_blocks_of_an_untied_encoder_become_one(tmp_path, tie, expected):
    source, tied = trained(run()), build(run(model={"encoder": {"tied": True}}))
    said = start(saved(source, tmp_path), tie=tie).load(tied)
    [block], blocks = tied.model.encoder.blocks, source.model.encoder.blocks
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(parameter.data, expected([b.get_parameter(name).data for b in blocks]))
    assert f"({tie} of the blocks)" in said


def test_how_blocks_become_one_must_be_said_and_only_there(tmp_path):
    source = saved(trained(run()), tmp_path)
    with pytest.raises(ValueError, match="2 blocks there, one here: say how they become one, tie: mean or tie: first"):
        start(source).load(build(run(model={"encoder": {"tied": True}})))
    with pytest.raises(ValueError, match="2 there and 2 here; leave it out"):
        start(source, tie="mean").load(build(run()))


def test_a_checkpoint_that_is_torn_or_not_there_is_named(tmp_path):
    with pytest.raises(BadCheckpoint, match="missing or torn"):
        start(tmp_path)
    folder = saved(trained(run()), tmp_path)
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors: altered"):
        start(folder)


def test_a_relative_folder_and_a_decoder_without_its_encoder_are_refused():
    with pytest.raises(ValidationError, match="write the whole path"):
        SPEC.validate_python({"kind": "checkpoint", "folder": "here", "parts": ["encoder"]})
    with pytest.raises(ValidationError):
        SPEC.validate_python({"kind": "checkpoint", "folder": "/here", "parts": ["decoder"]})


SEED = Path(os.environ.get("COGITO_PARITY_DIR", Path(__file__).parents[1] / "golden" / "parity"))
CASES = sorted(name for name in json.loads((SEED / "index.json").read_text()) if "posonly" in name)


def write_seed(folder: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's folder -> its weights."""
    case = CASES[0]
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((SEED / "index.json").read_text())[case]["config"]
    weights = load_file(SEED / f"{case}.safetensors")
    own = {key.removeprefix("weights."): w for key, w in weights.items() if key.startswith("weights.")}
    save_file(own, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return own


def test_a_checkpoint_of_the_earlier_implementation_gives_its_encoder(tmp_path):
    own = write_seed(tmp_path)
    begun = start(tmp_path, kind="seed", reads="position")
    theirs = begun.weights["model.encoder.norm.weight"]
    assert torch.equal(theirs, own["encoder.output_layer_norm.weight"])
    assert any("model.encoder" in fault for fault in begun.faults(build(run())))    # another shape, and it says so


def test_the_hub_gives_a_checkpoint_of_the_earlier_implementation_by_its_name(tmp_path, monkeypatch):
    """Offline, from the cache, laid out as a download leaves it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--group--encoder", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    write_seed(repository / "snapshots" / commit)
    named = start("group/encoder", kind="seed", reads="position")
    assert named.origin == start(repository / "snapshots" / commit, kind="seed", reads="position").origin
    assert "model.encoder.norm.weight" in named.weights


def test_ours_are_no_repositories_of_the_hub():
    with pytest.raises(ValidationError, match="'group/encoder' is relative"):
        start("group/encoder")
