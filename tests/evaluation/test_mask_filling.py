"""Words for the blanks of a text: what is kept, what is told of each blank, and what a model cannot do."""

import json
import sys
from pathlib import Path

import pytest
import torch

import cogito_ray as cr
from cogito_ray.cli import main
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.mask_filling import FilledText, fill
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.nn.generation import GenerationSpec
from cogito_ray.nn.model import ModelSpec

TEXT = "A [MASK],  or\na [MASK]."


@pytest.fixture(scope="module")
def encoder(trained) -> SentenceEncoder:
    return TrainedModel.open(trained[1]).sentence_encoder


@pytest.fixture(scope="module")
def denoising(encoder) -> SentenceEncoder:
    torch.manual_seed(0)
    spec = ModelSpec(width=16, heads=2, concepts=4, decoder={"kind": "denoising"})
    model = spec.build(encoder.tokenizer.vocabulary, encoder.length).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)                   # else gates at 0 hide what is read
    return SentenceEncoder(model, encoder.tokenizer, encoder.length)


def filled(encoder: SentenceEncoder, text: str = TEXT, like: str | None = None, **settings: object) -> FilledText:
    return fill(encoder, text, GenerationSpec.model_validate({"temperature": 0, "candidates": 3} | settings), like=like)


def test_the_text_stays_as_it_is_around_the_likeliest_word_of_each_blank(encoder):
    told = filled(encoder)
    words = [likely[0][0] for likely in told.blanks]
    assert told.text == f"A {words[0]},  or\na {words[1]}."


def test_likely_words_are_told_in_order_with_their_probabilities(encoder):
    told = filled(encoder, candidates=10**6)
    for likely in told.blanks:
        chances = [chance for _, chance in likely]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1, abs=1e-5)


def test_a_denoising_decoder_reads_what_earlier_steps_filled_in(denoising):
    at_once, refined = (filled(denoising, "word [MASK] [MASK] [MASK] [MASK]", steps=steps) for steps in (1, 4))
    first = max(range(4), key=lambda blank: at_once.blanks[blank][0][1])
    assert refined.blanks[first] == at_once.blanks[first]           # the most confident one is filled in first
    assert sum(one == other for one, other in zip(refined.blanks, at_once.blanks, strict=True)) == 1


def test_concepts_of_another_text_fill_one_that_is_all_blank(encoder):
    one, other = (filled(encoder, "[MASK] [MASK]", like=like) for like in ("concept token", "moment radius delta"))
    assert one.blanks != other.blanks


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("no blank", {}, r"has no blank; write \[MASK\]"),
        ("[MASK] [MASK]", {}, "gives no word to encode"),
        ("a [MASK] " * 99, {}, "tokens, but this model reads"),
        (TEXT, {"steps": 2}, "decoder answers the same in each; use steps 1"),
    ],
)
def test_what_a_model_cannot_fill_is_refused(encoder, text: str, settings: dict[str, int], said: str):
    with pytest.raises(ValueError, match=said):
        filled(encoder, text, **settings)


def test_the_command_tells_what_an_export_of_the_checkpoint_tells(trained, tmp_path: Path, monkeypatch, capsys):
    cr.export(trained[1], tmp_path / "encoder", verbose=False)
    told = cr.fill(tmp_path / "encoder", TEXT, words=2)
    monkeypatch.setattr(sys, "argv", ["cogito-ray", "fill", str(trained[1]), TEXT, "--words", "2", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    [said] = json.loads(capsys.readouterr().out)
    assert said["text"] == told[0].text
    for one, other in zip(said["blanks"], told[0].blanks, strict=True):
        assert [word for word, _ in one] == [word for word, _ in other]
        assert [chance for _, chance in one] == pytest.approx([chance for _, chance in other], rel=1e-4)
