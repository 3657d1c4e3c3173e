"""Every model recorded from the seed project's published implementation, loaded key for key and asked the same.

Figures agree to 1e-5 of the largest one recorded, in float32. The regularisers' and geometry's cases are tested in
tests/losses.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cogito_ray.nn.concept_pooling import Classifier, EncoderInput, PairClassifier
from cogito_ray.nn.interop import legacy_checkpoint
from cogito_ray.nn.model import ConceptModel

FOLDER = Path(os.environ.get("COGITO_PARITY_DIR", Path(__file__).parent / "golden" / "parity"))
INDEX = json.loads((FOLDER / "index.json").read_text())
ELSEWHERE = {"concept_losses", "concept_geometry"}


def recorded(case: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Weights, inputs, outputs."""
    tensors = load_file(FOLDER / f"{case}.safetensors")
    weights, inputs, outputs = (
        {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)}
        for part in ("weights.", "inputs.", "outputs.")
    )
    return weights, inputs, outputs


def loaded(case: str) -> torch.nn.Module:
    decoder = "position" if "posonly" in case else "perceiver"
    return legacy_checkpoint.convert(INDEX[case]["config"], recorded(case)[0], decoder)


def text(inputs: dict[str, Tensor], which: str = "") -> EncoderInput:
    ids = inputs[f"input_ids{which}"]
    return EncoderInput(ids, torch.arange(ids.shape[1]).expand_as(ids), inputs[f"attention_mask{which}"].bool())


def rebuilt(model: ConceptModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Masked or deleted tokens: the mean over the labels that are asked for."""
    seen = text(inputs)
    concepts = model.encoder(*seen)
    hidden = model.decoder(concepts, seen.positions, seen.ids, None)
    asked = inputs["labels"] != -100
    nats = model.head(hidden, inputs["labels"].clamp_min(0))
    return {"concepts": concepts, "logits": model.head.logits(hidden), "loss": nats[asked].mean()}


def denoised(model: ConceptModel, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Diffusion: the mean over masked tokens, plain and weighted by 1/t."""
    seen, noise, masked = text(inputs), inputs["t"], inputs["noise_mask"].bool()
    concepts = model.encoder(*seen)
    hidden = model.decoder(concepts, seen.positions, inputs["noisy_ids"], noise)
    weights = (masked / noise.clamp_min(0.1)[:, None]).float()
    return {
        "concepts": concepts,
        "logits": model.head.logits(hidden),
        "loss_plain": model.head.weighted_mean(hidden, seen.ids, masked.float(), 0.1),
        "loss_elbo": model.head.weighted_mean(hidden, seen.ids, weights, 0.1),
    }


def classified(model: Classifier, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"logits": model(text(inputs))}


def compared(model: PairClassifier, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    one, two = text(inputs, "_a"), text(inputs, "_b")
    return {"logits": model(one, two), "cosine": model.similarity(one, two)}


def asked_of(case: str) -> Callable[..., dict[str, Tensor]]:
    if case == "masked_diffusion":
        return denoised
    if case.startswith("pair"):
        return compared
    return classified if case.startswith("cls") else rebuilt


@pytest.mark.parametrize("case", sorted(set(INDEX) - ELSEWHERE))
def test_a_recorded_model_gives_the_recorded_figures(case: str):
    _, inputs, outputs = recorded(case)
    with torch.no_grad():
        ours = asked_of(case)(loaded(case), inputs)
    assert ours.keys() == outputs.keys()
    off = {name: float((ours[name] - theirs).abs().max() / theirs.abs().max()) for name, theirs in outputs.items()}
    assert max(off.values()) <= 1e-5, off


@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_gives_the_model_of_its_weights(form: str, tmp_path: Path):
    weights, inputs, outputs = recorded("weighted_mlm")
    (tmp_path / "config.json").write_text(json.dumps(INDEX["weighted_mlm"]["config"]))
    (save_file if form.endswith("safetensors") else torch.save)(weights, tmp_path / form)
    concepts = legacy_checkpoint.load(tmp_path).encoder(*text(inputs))
    torch.testing.assert_close(concepts, outputs["concepts"], rtol=1e-5, atol=1e-5)


def test_a_missing_and_a_left_over_key_are_named():
    weights, _, _ = recorded("tsdae_posonly")
    weights["encoder.layers.1.gate"] = weights.pop("encoder.layers.1.Wi.bias")
    with pytest.raises(ValueError, match=r"missing: encoder\.layers\.1\.Wi\.bias; left over: encoder\.layers\.1\.gate"):
        legacy_checkpoint.convert(INDEX["tsdae_posonly"]["config"], weights, "position")


def test_a_checkpoint_that_cannot_tell_its_decoder_asks():
    with pytest.raises(ValueError, match="pass decoder='position' or 'perceiver'"):
        legacy_checkpoint.convert(INDEX["tsdae_posonly"]["config"], recorded("tsdae_posonly")[0])


def test_a_folder_without_weights_says_so(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        legacy_checkpoint.load(tmp_path)


@pytest.mark.parametrize("setting", ["sep_token_id", "concept_position_type"])
def test_a_setting_that_is_null_is_one_that_is_not_there(setting: str, tmp_path: Path):
    weights, inputs, outputs = recorded("weighted_mlm")
    (tmp_path / "config.json").write_text(json.dumps(INDEX["weighted_mlm"]["config"] | {setting: None}))
    save_file(weights, tmp_path / "model.safetensors")
    concepts = legacy_checkpoint.load(tmp_path).encoder(*text(inputs))
    torch.testing.assert_close(concepts, outputs["concepts"], rtol=1e-5, atol=1e-5)


def test_a_decoder_that_is_null_is_asked_for():
    config = INDEX["tsdae_posonly"]["config"] | {"decoder_posonly": None}
    with pytest.raises(ValueError, match="pass decoder='position' or 'perceiver'"):
        legacy_checkpoint.convert(config, recorded("tsdae_posonly")[0])


def test_tokens_that_a_checkpoint_must_name_are_named_together():
    config = INDEX["weighted_mlm"]["config"] | {"pad_token_id": None, "mask_token_id": None}
    with pytest.raises(ValueError, match=r"config\.json says no pad_token_id and no mask_token_id"):
        legacy_checkpoint.convert(config, recorded("weighted_mlm")[0])
