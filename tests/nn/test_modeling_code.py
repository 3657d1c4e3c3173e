"""Modelling code that is written beside weights computes what the package computes, and needs nothing of it."""

import importlib.util
import itertools
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

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


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_model_runs_in_half_precision(settings: dict[str, Any], tmp_path: Path):
    from cogito_ray.nn.interop.transformers_model import ConceptConfig, ConceptForMaskedLM  # seconds

    spec = spec_of(settings)
    whole = ConceptForMaskedLM.wrap(built(spec), ConceptConfig.of(spec, WORDS, 6)).eval()
    whole.save_pretrained(tmp_path)
    asked = whole(IDS).logits
    classes = ConceptForMaskedLM, alone(spec, tmp_path)[0].ConceptForMaskedLM
    for each, dtype in itertools.product(classes, (torch.bfloat16, torch.float16)):
        given = each.from_pretrained(tmp_path, dtype=dtype)(IDS).logits
        assert given.dtype == dtype
        torch.testing.assert_close(given.float(), asked, rtol=0.1, atol=0.1)    # eight bits of mantissa


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Any, ConceptModel]:
    """(an encoder of the code that is exported, the model of this package whose weights it has)."""
    model = built(spec := spec_of({"encoder": {"depth": 3}}))
    module, config = alone(spec, tmp_path)
    return module.ConceptEncoder.wrap(model, config).eval(), model


def test_every_layer_can_be_asked_for_and_what_it_reads(theirs: tuple[Any, ConceptModel]):
    encoder, model = theirs
    read = (IDS, torch.arange(6).expand(2, 6), IDS != 0)
    asked = encoder(IDS, output_hidden_states=True, output_attentions=True)
    assert len(asked.hidden_states) == len(asked.attentions) == 3
    assert all(map(torch.equal, asked.hidden_states, model.encoder.every_layer(*read)))
    assert all(map(torch.equal, asked.attentions, model.encoder.attention_weights(*read)[1]))
    assert torch.equal(asked.hidden_states[-1], asked.last_hidden_state)
    assert "hidden_states" not in encoder(IDS)
    assert len(encoder(IDS, return_dict=False, output_attentions=True)) == 3      # concepts, their mean, attentions
    encoder.config.output_hidden_states = True
    assert all(map(torch.equal, encoder(IDS).hidden_states, asked.hidden_states))


def test_input_of_more_tokens_than_a_row_has_is_refused_with_two_ways_out(theirs: tuple[Any, ConceptModel]):
    longer = IDS.repeat(1, 2)
    with pytest.raises(ValueError, match=r"12 tokens, but this model reads 6: .*truncation=True.*model\.resize\(12\)"):
        theirs[0](longer)
    theirs[0].resize(12)
    assert theirs[0](longer).last_hidden_state.shape == (2, 3, 8)


def test_the_table_of_words_can_be_replaced(theirs: tuple[Any, ConceptModel]):
    encoder, model = theirs
    assert torch.equal(encoder.get_input_embeddings().weight, model.token_table)
    before, swap = encoder(IDS).last_hidden_state, torch.tensor([0, 1, 2, 4, 3, *range(5, 12)])
    encoder.set_input_embeddings(torch.nn.Embedding.from_pretrained(model.token_table[swap]))
    assert torch.equal(encoder(swap[IDS]).last_hidden_state, before)


def test_gradient_checkpointing_keeps_fewer_activations_and_every_gradient(theirs: tuple[Any, ConceptModel]):
    encoder, kept, gradients = theirs[0].train(), [], []
    for switch in (encoder.gradient_checkpointing_disable, encoder.gradient_checkpointing_enable):
        switch()
        encoder.zero_grad()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, to=sizes: (to.append(x.numel()), x)[1], lambda x: x):
            loss = encoder(IDS).last_hidden_state.square().sum()
        loss.backward()
        kept.append(sum(sizes))
        gradients.append([each.grad for each in encoder.parameters() if each.grad is not None])
    assert kept[1] < kept[0]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("kind", ["BertConfig", "LlamaConfig"])
def test_a_pretrained_token_stage_is_loaded_where_its_model_is_not(kind: str, tmp_path: Path):
    import transformers

    from cogito_ray.nn.interop.transformers_model import ConceptConfig, export  # seconds

    config = getattr(transformers, kind)(vocab_size=12, max_position_embeddings=9, pad_token_id=0, **SIZES)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "pretrained")
    stage = {"kind": "pretrained", "model": str(tmp_path / "pretrained"), "layers": 1}
    model = built(spec := spec_of({"encoder.tokens": stage}))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
    export(model, ConceptConfig.of(spec, WORDS, 6), tokenizer, tmp_path / "export")
    shutil.rmtree(tmp_path / "pretrained")
    concepts = model.encoder(IDS, torch.arange(6).expand(2, 6), IDS != 0)
    code = imported((tmp_path / "export" / "modeling_cogito_concepts.py").read_text(), tmp_path)
    for loaded in (transformers.AutoModel, code.ConceptEncoder):
        assert torch.equal(loaded.from_pretrained(tmp_path / "export")(IDS).last_hidden_state, concepts)
    half = code.ConceptEncoder.from_pretrained(tmp_path / "export", dtype=torch.bfloat16)(IDS).last_hidden_state
    torch.testing.assert_close(half.float(), concepts, rtol=0.1, atol=0.1)


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
