"""Hugging Face faces: what is saved is what comes back, for every Auto class and for sentence-transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor

from cogito_ray import plugins
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.text.vocabulary_info import Vocabulary

WORDS = Vocabulary(8, 0, 1, 2, (0, 1, 2))
IDS = torch.tensor([[3, 4, 5, 6], [7, 1, 0, 0]])
MUP = {"kind": "mup", "base_width": 4, "base_depth": 1, "base_heads": 2}
MODELS = [
    {"decoder": {"kind": "perceiver"}},
    {"decoder": {"kind": "diffusion"}, "token_width": 4},
    {"decoder": {"kind": "position"}, "embedding": {"positions": {"kind": "rotary"}}, "head": {"tied": False}},
    {"decoder": {"kind": "perceiver"}, "parametrisation": MUP},
]


def tokenizer() -> Any:
    words = ["[PAD]", "[MASK]", "[SEP]", "a", "red", "green", "hat", "boat"]
    raw = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="a"))
    raw.pre_tokenizer = Whitespace()
    special = {"pad_token": "[PAD]", "mask_token": "[MASK]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **special)


def exported(folder: Path, settings: dict[str, Any]) -> ConceptModel:
    """A model with random weights, also written to `folder`."""
    from cogito_ray.nn.interop.transformers_model import ConceptConfig, export  # seconds

    torch.manual_seed(0)
    spec = ModelSpec.model_validate({"width": 8, "heads": 2, "concepts": 3} | settings)
    model = spec.build(WORDS, length=6).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    export(model, ConceptConfig.of(spec, WORDS, length=6), tokenizer(), folder)
    return model


def concepts_of(model: ConceptModel, ids: Tensor) -> Tensor:
    return model.encoder(ids, torch.arange(ids.shape[1]).expand_as(ids), ids != WORDS.pad_id)


OWN_LATENTS = """\
from typing import Literal

from cogito_ray.spec_registry import register
from cogito_ray.nn.concept_latents import PlainLatentsSpec


@register("latents")
class OwnLatentsSpec(PlainLatentsSpec):
    kind: Literal["own"] = "own"
"""


def test_an_export_that_holds_a_kind_of_a_plugin_imports_it_where_it_is_loaded(tmp_path: Path):
    (tmp_path / "own_latents.py").write_text(OWN_LATENTS)
    plugins.load([str(tmp_path / "own_latents.py")])
    model = exported(tmp_path / "export", {"latents": {"kind": "own"}, "decoder": {"kind": "position"}})
    plugins.unload()
    loaded = transformers.AutoModel.from_pretrained(tmp_path / "export")
    assert torch.equal(loaded(IDS).last_hidden_state, concepts_of(model, IDS))
    plugins.unload()


@pytest.mark.parametrize("settings", MODELS, ids=str)
def test_auto_model_gives_the_concepts_of_the_saved_model(settings: dict[str, Any], tmp_path: Path):
    model = exported(tmp_path, settings)
    assert torch.equal(transformers.AutoModel.from_pretrained(tmp_path)(IDS).last_hidden_state, concepts_of(model, IDS))


@pytest.mark.parametrize("settings", MODELS, ids=str)
def test_auto_model_for_masked_lm_gives_the_logits_of_the_saved_model(settings: dict[str, Any], tmp_path: Path):
    model = exported(tmp_path, settings)
    noise = torch.tensor([0.0, 0.5])                           # half of the second text's two words are masked
    hidden = model.decoder(concepts_of(model, IDS), torch.arange(4).expand(2, 4), IDS, noise)
    asked = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path)(IDS, labels=torch.where(IDS > 2, IDS, -100))
    assert torch.equal(asked.logits, model.head.logits(hidden))
    nats = model.head(hidden, IDS)[IDS > 2].mean()
    torch.testing.assert_close(asked.loss, nats)


def test_a_classifier_keeps_the_encoder_and_starts_the_rest(tmp_path: Path):
    model = exported(tmp_path, MODELS[0])
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    classifier.save_pretrained(tmp_path / "tuned")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned")
    assert torch.equal(concepts_of(classifier.concept_model, IDS), concepts_of(model, IDS))
    assert torch.equal(again(IDS).logits, classifier(IDS).logits)
    assert classifier(IDS, labels=torch.tensor([0, 2])).loss < 3.0      # a start near log 3, not garbage


def test_a_resized_model_comes_back_at_its_new_length(tmp_path: Path):
    exported(tmp_path, MODELS[0])
    model, longer = transformers.AutoModel.from_pretrained(tmp_path), IDS.repeat(1, 3)
    model.resize(12)
    model.save_pretrained(tmp_path / "longer")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "longer").max_position_embeddings == 12
    again = transformers.AutoModel.from_pretrained(tmp_path / "longer")
    assert torch.equal(again(longer).last_hidden_state, model(longer).last_hidden_state)


def test_a_model_without_decoder_predicts_no_words():
    from cogito_ray.nn.interop.transformers_model import ConceptConfig, ConceptForMaskedLM

    config = ConceptConfig.of(ModelSpec(width=8, heads=2, concepts=3), WORDS, length=6)
    with pytest.raises(ValueError, match="has no decoder, so it predicts no words"):
        ConceptForMaskedLM(config)


def test_sentence_transformers_gives_mean_concepts(tmp_path: Path):
    library = pytest.importorskip("sentence_transformers")
    model = exported(tmp_path, MODELS[0])
    vectors = library.SentenceTransformer(str(tmp_path), device="cpu").encode(["a red green hat", "boat a"])
    ids = torch.tensor([[3, 4, 5, 6], [7, 3, 0, 0]])
    torch.testing.assert_close(torch.from_numpy(vectors), concepts_of(model, ids).mean(dim=1).detach())
