"""Modelling code that is written beside weights computes what the package computes, and needs nothing of it."""

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from cogito_ray import plugins
from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.concept_latents import LatentsSpec
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.nn.position_encodings import PositionsSpec
from cogito_ray.spec_registry import members, name_of
from cogito_ray.text.vocabulary_info import Vocabulary

WORDS = Vocabulary(12, 0, 1, 2, (0, 1, 2))
IDS = torch.tensor([[3, 4, 5, 2, 6, 7], [7, 1, 8, 0, 0, 0]])
LEFT = torch.tensor([[3, 4, 5, 2, 6, 7], [0, 0, 0, 7, 1, 8]])
KINDS = {
    "encoder.block": BlockSpec, "latents": LatentsSpec, "decoder": DecoderSpec, "embedding.positions": PositionsSpec,
}
MORE = [
    {"encoder": {"tokens": {"kind": "projected"}}},
    {"encoder": {"tokens": {"kind": "funnel"}}},
    {"encoder": {"tied": True, "depth": 3}, "token_width": 4},
    {"head": {"tied": False, "norm": False, "bias": False}, "encoder": {"block": {"kind": "bixt", "shared": True}}},
    {"parametrisation": {"kind": "mup", "base_width": 4, "base_depth": 1, "base_heads": 2}},
    {"attention": "document", "encoder": {"block": {"kind": "bixt"}}},
]
SETTINGS = [
    *({path: {"kind": name_of(kind)}} for path, union in KINDS.items() for kind in members(union)),  # type: ignore[arg-type]
    *MORE,
]
number = itertools.count()


def spec_of(settings: dict[str, Any]) -> ModelSpec:
    tree: dict[str, Any] = {"width": 8, "heads": 2, "concepts": 3, "decoder": {"kind": "position"}}
    for path, value in settings.items():
        outer, _, inner = path.partition(".")
        tree[outer] = {inner: value} if inner else value
    return ModelSpec.model_validate(tree)


def built(spec: ModelSpec) -> ConceptModel:
    torch.manual_seed(0)
    model = spec.build(WORDS, length=6).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def imported(code: str, folder: Path) -> ModuleType:
    """The code as a module of its own, as transformers imports it, where this package and pydantic are not there."""
    (file := folder / f"alone_{next(number)}.py").write_text(code)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("cogito_ray", "pydantic")]:
            patch.setitem(sys.modules, name, None)
        spec.loader.exec_module(module)
    return module


def alone(spec: ModelSpec, folder: Path) -> tuple[ModuleType, Any]:
    """(the module made for models of this spec, the configuration of one, by that module)."""
    from cogito_ray.nn.interop.modeling_code import modeling_code
    from cogito_ray.nn.interop.transformers_model import ConceptConfig  # seconds

    module, config = imported(modeling_code(spec), folder), ConceptConfig.of(spec, WORDS, 6)
    return module, module.ConceptConfig.from_dict(config.to_dict())


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_code_made_for_a_model_gives_its_concepts_and_logits_to_the_bit(settings: dict[str, Any], tmp_path: Path):
    spec = spec_of(settings)
    model, (module, config) = built(spec), alone(spec, tmp_path)
    theirs = module.ConceptForMaskedLM.wrap(model, config).eval()
    starts, noise = model.document_starts(IDS), torch.tensor([0.0, 1 / 3])
    positions = torch.arange(6).expand(2, 6)
    concepts = model.encoder(IDS, positions, IDS != 0, starts)
    logits = model.head.logits(model.decoder(concepts, positions, IDS, noise, starts))
    assert torch.equal(theirs(IDS).logits, logits)
    assert torch.equal(module.ConceptEncoder.wrap(model, config).eval()(IDS).last_hidden_state, concepts)
    moved = theirs(LEFT, attention_mask=LEFT != 0).logits
    torch.testing.assert_close((moved[0], moved[1, 3:]), (logits[0], logits[1, :3]))    # sums in another order


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_model_runs_in_half_precision(settings: dict[str, Any], dtype: torch.dtype, tmp_path: Path):
    from cogito_ray.nn.interop.transformers_model import ConceptConfig, ConceptForMaskedLM  # seconds

    spec = spec_of(settings)
    whole = ConceptForMaskedLM.wrap(built(spec), ConceptConfig.of(spec, WORDS, 6)).eval()
    whole.save_pretrained(tmp_path)
    half = ConceptForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    asked, given = whole(IDS).logits, half(IDS).logits
    assert given.dtype == dtype
    torch.testing.assert_close(given.float(), asked, rtol=0.1, atol=0.1)    # eight bits of mantissa, over some layers


def test_code_holds_no_kind_that_its_model_does_not_use():
    from cogito_ray.nn.interop.modeling_code import modeling_code

    code = modeling_code(spec_of({"encoder.block": {"kind": "slot"}}))
    assert "class SlotBlock" in code
    assert "class SharedBixtBlock" not in code
    assert "class DiffusionDecoder" not in code
    assert "cogito_ray." not in code


OWN_LATENTS = """\
from typing import Literal

from cogito_ray.spec_registry import register
from cogito_ray.nn.concept_latents import Latents, PlainLatentsSpec, Segments


@register("latents")
class OwnLatentsSpec(PlainLatentsSpec):
    kind: Literal["own"] = "own"

    def build(self, width: int, segments: Segments) -> Latents:
        return Latents(2 * super().build(width, segments).vectors.detach())
"""


def test_kinds_of_a_plugin_stand_in_the_code(tmp_path: Path):
    (tmp_path / "own_latents.py").write_text(OWN_LATENTS)
    plugins.load([str(tmp_path / "own_latents.py")])
    spec = spec_of({"latents": {"kind": "own"}})
    model, (module, config) = built(spec), alone(spec, tmp_path)
    plugins.unload()
    concepts = model.encoder(IDS, torch.arange(6).expand(2, 6), IDS != 0)
    assert torch.equal(module.ConceptEncoder.wrap(model, config).eval()(IDS).last_hidden_state, concepts)


def test_two_things_of_one_name_are_refused(tmp_path: Path):
    from cogito_ray.nn.interop.modeling_code import modeling_code

    (tmp_path / "own_latents.py").write_text(OWN_LATENTS.replace("OwnLatentsSpec", "Embedding"))
    plugins.load([str(tmp_path / "own_latents.py")])
    with pytest.raises(ValueError, match="Embedding would be both"):
        modeling_code(spec_of({"latents": {"kind": "own"}}))
    plugins.unload()
