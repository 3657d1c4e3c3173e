"""Token stages: what concepts are given to read."""

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from cogito_ray.nn.token_stages.funnel import pooled
from cogito_ray.nn.token_stages.pretrained import Pretrained, PretrainedSpec
from cogito_ray.nn.token_stages.token_stage_interface import Tokens

IDS = torch.randint(4, 64, (2, 6), generator=torch.Generator().manual_seed(0))
PLACES = torch.arange(6).expand_as(IDS)
VISIBLE = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])


def test_a_funnel_averages_pairs_of_visible_neighbours():
    vectors = torch.tensor([1.0, 3, 5, 100, 100]).view(1, 5, 1)
    half = pooled(Tokens(vectors, torch.tensor([[0, 4, 8, 0, 0]]), torch.tensor([[True] * 3 + [False] * 2])))
    assert half.vectors.flatten().tolist() == [2, 5, 0]
    assert half.positions.flatten().tolist() == [2, 8, 0]
    assert half.visible.tolist() == [[True, True, False]]


@pytest.fixture(scope="module", params=["Llama", "Bert"], ids=["causal", "masked"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny language model of a family."""
    torch.manual_seed(0)
    model, config = (getattr(transformers, f"{request.param}{part}") for part in ("Model", "Config"))
    path = tmp_path_factory.mktemp("model")
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model(config(vocab_size=64, max_position_embeddings=8, pad_token_id=0, **sizes)).save_pretrained(path)
    return path


def stage(folder: Path, **settings: object) -> Pretrained:
    spec = PretrainedSpec.model_validate({"model": str(folder)} | settings)
    return spec.build(token_width=4, width=8, heads=2, vocabulary_size=64).eval()


def read(stage: Pretrained, ids: Tensor) -> Tensor:
    return stage(ids, Tokens(torch.zeros(2, 6, 4), PLACES, VISIBLE)).vectors


@pytest.mark.parametrize("causal", [False, True])
def test_tokens_of_a_pretrained_model_see_what_they_may(folder: Path, causal: bool):
    model, later = stage(folder, causal=causal), IDS.clone()
    later[:, 3] = 67 - later[:, 3]
    changed = (read(model, IDS) - read(model, later)).abs().amax(dim=-1) > 1e-6
    assert changed[:, 3].all()
    assert changed[1, 4:].all()
    assert changed[:, :3].all() != causal
    assert changed[:, :3].any() != causal


def test_padding_of_a_pretrained_model_does_not_matter(folder: Path):
    model = stage(folder)
    other = torch.where(VISIBLE, IDS, 5)
    assert torch.equal(read(model, other)[VISIBLE], read(model, IDS)[VISIBLE])


def test_a_frozen_model_trains_its_projection_alone(folder: Path):
    trained = [name for name, parameter in stage(folder).named_parameters() if parameter.requires_grad]
    assert sorted(trained) == ["norm.bias", "norm.weight", "project.weight"]


def test_only_the_layers_asked_for_are_kept(folder: Path):
    def layers(model: Pretrained) -> set[str]:
        return {name.split(".layer")[1].split(".")[1] for name, _ in model.named_parameters() if ".layer" in name}

    assert layers(stage(folder, layers=1)) == {"0"}


def test_a_tokenizer_and_a_depth_that_the_model_lacks_are_refused(folder: Path):
    with pytest.raises(ValueError, match=r"the tokenizer has 100 words, but .* knows 64: use that"):
        PretrainedSpec(model=str(folder)).build(token_width=4, width=8, heads=2, vocabulary_size=100)
    with pytest.raises(ValueError, match="has 2 layers, not 3"):
        stage(folder, layers=3)


def test_a_pretrained_model_leaves_nothing_out_while_it_is_trained(folder: Path):
    model = stage(folder, frozen=False).train()
    assert torch.equal(read(model, IDS), read(model, IDS))
    assert model.norm.training
