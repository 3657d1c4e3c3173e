"""Generation: what it keeps, what it fills, and that it can be repeated."""

import pytest
import torch
from torch import Generator, Tensor

from cogito_ray.nn.generation import GenerationSpec, generate, infill
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.text.vocabulary_info import Vocabulary

WORDS = Vocabulary(12, 0, 1, 2, (0, 1, 2))
MASKED = torch.tensor([[5, 1, 1, 7, 1, 3], [4, 1, 9, 0, 0, 0]])


def build(**changed: object) -> ConceptModel:
    """A diffusion model whose every place wants word 8."""
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "concepts": 3, "decoder": {"kind": "diffusion"}}
    model = ModelSpec.model_validate(settings | changed).build(WORDS, length=6)
    with torch.no_grad():
        model.head.bias[8] = 4.0
        model.head.bias[:3] = 50.0                             # special ids: likeliest by far, never to be drawn
    return model


def filled(seed: int = 0, **settings: object) -> Tensor:
    spec = GenerationSpec.model_validate(settings)
    return infill(build(), MASKED, vocabulary=WORDS, spec=spec, generator=Generator().manual_seed(seed)).ids


@pytest.mark.parametrize(("attention", "same"), [("document", True), ("row", False)])
def test_a_document_is_filled_in_by_what_stands_in_it_alone_where_documents_are_read_apart(attention: str, same: bool):
    model = build(attention=attention)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=4)                           # else gates at 0 hide what is read
    rows = torch.cat([torch.tensor([1, 1, 2]).expand(20, -1), torch.randint(3, 12, (20, 3))], dim=1)
    spec, words = GenerationSpec(temperature=9.0), set()
    for row in rows.split(1):
        seeded = Generator().manual_seed(0)
        words.add(str(infill(model, row, vocabulary=WORDS, spec=spec, generator=seeded).ids[0, :2]))
    assert (len(words) == 1) == same


def test_a_denoising_decoder_reads_the_words_in_its_window_and_no_others():
    model = build(decoder={"kind": "denoising", "window": 2, "depth": 1})
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.normal_(std=0.5)                         # else gates at 0 hide what is read
    concepts, place, noise = torch.randn(1, 3, 8), torch.tensor([[1]]), torch.tensor([0.2])

    def hidden(row: list[int]) -> Tensor:
        return model.decoder(concepts, place, torch.tensor([row]), noise)

    read = hidden([5, 1, 4, 4, 4, 4])
    assert torch.equal(hidden([5, 1, 4, 4, 9, 9]), read)
    assert not torch.allclose(hidden([6, 1, 4, 4, 4, 4]), read)
    assert not torch.allclose(hidden([5, 1, 4, 9, 4, 4]), read)


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_given_words_and_padding_stay_and_every_mask_becomes_a_word(steps: int):
    rows = filled(steps=steps)
    wanted = WORDS.mask_id == MASKED
    assert torch.equal(rows[~wanted], MASKED[~wanted])
    assert (rows[wanted] >= 3).all()


def test_the_same_generator_gives_the_same_text_and_another_one_another():
    draws = [filled(seed, temperature=5.0) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_k": 1, "temperature": 5.0}])
def test_without_temperature_or_with_one_candidate_the_likeliest_word_is_taken(settings: dict[str, float]):
    rows = filled(**settings)
    assert (rows[WORDS.mask_id == MASKED] == 8).all()


def test_from_scratch_all_places_are_filled():
    blank = torch.full((2, 6), WORDS.mask_id)
    rows = generate(
        build(), torch.randn(2, 3, 8), blank, vocabulary=WORDS, spec=GenerationSpec(), generator=Generator()
    ).ids
    assert (rows >= 3).all()


def test_a_row_without_words_has_nothing_to_encode():
    blank = torch.full((1, 6), WORDS.mask_id)
    with pytest.raises(ValueError, match="1 rows give no word to encode"):
        infill(build(), blank, vocabulary=WORDS, spec=GenerationSpec(), generator=Generator())
