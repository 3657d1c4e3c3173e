"""Loads checkpoints of the research group's earlier implementation, key for key.

A key that is missing or left over is an error that names it. Three kinds of keys have no counterpart here because they
never had an effect: biases of keys (softmax cancels them), of pooling scores (likewise), and the token update of the
last BiXT layer (nobody reads it). Biases of values are folded into those of outputs.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cogito_ray.nn.blocks.bixt_block import BixtSpec
from cogito_ray.nn.concept_latents import LearnedLatentsSpec, SinusoidalLatentsSpec
from cogito_ray.nn.concept_pooling import AttentionPoolSpec, Classifier, PairClassifier, ViaDecoderPoolSpec
from cogito_ray.nn.decoders.diffusion_decoder import DiffusionDecoderSpec
from cogito_ray.nn.decoders.weighted_sum import WeightedSumDecoderSpec
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.nn.token_stages.projection import ProjectedSpec
from cogito_ray.text.vocabulary_info import Vocabulary

Config = dict[str, Any]


def load(folder: str | Path, decoder: Literal["position", "perceiver"] | None = None) -> nn.Module:
    """`folder` with config.json and model.safetensors or pytorch_model.bin -> our model, in eval mode.

    A `ConceptModel`, or a `Classifier` or `PairClassifier` around one. `decoder` says what the decoder reads where the
    checkpoint cannot tell: positions alone, or positions and tokens.
    """
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    return convert(config, _read(folder), decoder)


def convert(config: Config, weights: dict[str, Tensor], decoder: str | None = None) -> nn.Module:
    """The same from a config and weights in memory."""
    keys = _StateDict(dict(weights))
    spec = _spec(config, keys, decoder)
    model = spec.build(_vocabulary(config), config["max_sequence_length"])
    if "lm_head.weight" not in keys:
        model.head = None
    state = _encoder(keys, spec) | _decoder(keys, spec)
    if model.head is not None:
        state |= {"head.own.weight": keys.take("lm_head.weight")}
        state |= keys.module("head.norm", "decoder.out_norm") if spec.head.norm else {}
    whole, head_state = _with_classifier(model, keys)
    keys.finish()
    model.load_state_dict(state)
    if head_state:
        whole.load_state_dict({f"model.{key}": value for key, value in state.items()} | head_state)
    return whole.eval()


def weights_file(folder: Path) -> Path:
    """The file of weights in a checkpoint's folder."""
    found = [path for name in ("model.safetensors", "pytorch_model.bin") if (path := folder / name).exists()]
    if not found:
        raise ValueError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")
    return found[0]


def _read(folder: Path) -> dict[str, Tensor]:
    file = weights_file(folder)
    if file.suffix == ".safetensors":
        return load_file(file)
    weights: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return weights


@dataclass
class _StateDict:
    """Weights not yet placed, and the keys that were asked for in vain."""

    weights: dict[str, Tensor]
    missing: list[str] = field(default_factory=list)

    def __contains__(self, key: str) -> bool:
        return key in self.weights

    def any(self, part: str) -> bool:
        return any(part in key for key in self.weights)

    def take(self, key: str) -> Tensor:
        if key not in self.weights:
            self.missing.append(key)
            return torch.empty(0)
        return self.weights.pop(key)

    def module(self, ours: str, theirs: str) -> dict[str, Tensor]:
        """Weight and bias of a norm or linear layer."""
        return {f"{ours}.{part}": self.take(f"{theirs}.{part}") for part in ("weight", "bias")}

    def attention(self, ours: str, theirs: str) -> dict[str, Tensor]:
        weight, bias = self.take(f"{theirs}.in_proj_weight"), self.take(f"{theirs}.in_proj_bias")
        out, out_bias = self.take(f"{theirs}.out_proj.weight"), self.take(f"{theirs}.out_proj.bias")
        if self.missing:
            return {}
        value_bias = bias.chunk(3)[2]
        return {
            f"{ours}.query.weight": weight.chunk(3)[0],
            f"{ours}.query.bias": bias.chunk(3)[0],
            f"{ours}.key_value.weight": torch.cat(weight.chunk(3)[1:]),
            f"{ours}.out.weight": out,
            f"{ours}.out.bias": (out.double() @ value_bias.double() + out_bias).to(out.dtype),
        }

    def drop(self, prefix: str) -> None:
        self.weights = {key: value for key, value in self.weights.items() if not key.startswith(prefix)}

    def finish(self) -> None:
        faults = [f"missing: {key}" for key in self.missing] + [f"left over: {key}" for key in sorted(self.weights)]
        if faults:
            raise ValueError("the checkpoint does not match its config; " + "; ".join(faults))


def _vocabulary(config: Config) -> Vocabulary:
    """A tokenizer without a separator (null, or not named) ends texts with padding."""
    needed = ("pad_token_id", "mask_token_id")
    if unset := [name for name in needed if config.get(name) is None]:
        raise ValueError(f"config.json says no {' and no '.join(unset)}: write the id of that token there")
    pad, mask = (int(config[name]) for name in needed)
    named = config.get("sep_token_id")
    separator = pad if named is None else int(named)
    return Vocabulary(config["vocab_size"], pad, mask, separator, tuple(sorted({pad, mask, separator})))


def _spec(config: Config, keys: _StateDict, decoder: str | None) -> ModelSpec:
    tied = keys.any("encoder.shared_layer.")
    return ModelSpec.model_validate({
        "width": config["hidden_size"],
        "token_width": config.get("token_embedding_dim"),
        "heads": config["num_attention_heads"],
        "concepts": config["concept_num"],
        "expansion": config["intermediate_size"] / config["hidden_size"],
        "embedding": {"scaled": False, "positions": {"kind": "learned"}},
        "latents": {"kind": _LATENTS[config.get("concept_position_type") or "none"]},
        "encoder": {
            "block": {"kind": "bixt" if keys.any("token_concept_attn") else "cross", "token_norm": False},
            "tokens": {"kind": "projected" if keys.any("encoder.token_projection") else "raw"},
            "depth": config["num_iterations"] if tied else config["num_hidden_layers"],
            "tied": tied,
        },
        "decoder": _decoder_kind(config, keys, decoder),
        "head": {"tied": False, "bias": False, "norm": "decoder.out_norm.weight" in keys},
    })


_LATENTS = {"none": "plain", "sinusoidal": "sinusoidal", "learned": "learned", "rotary": "rotary"}


def _decoder_kind(config: Config, keys: _StateDict, asked: str | None) -> dict[str, Any] | None:
    own = {"positions": {"kind": "learned"}}
    if "concept_weights" in keys:
        return {"kind": "weighted"}
    if keys.any("decoder.layers."):
        return {"kind": "diffusion", "depth": config["decoder_layers"], "own_tokens": True} | own
    if not keys.any("decoder_cross_attn"):
        return None
    if config.get("decoder_posonly") is not None:
        asked = "position" if config["decoder_posonly"] else "perceiver"
    if keys.any("decoder_input_projection"):
        asked = "perceiver"
    if asked is None:
        raise ValueError(
            "the checkpoint does not say what its decoder reads; pass decoder='position' or 'perceiver', "
            "or write decoder_posonly: true or false in its config.json"
        )
    return {"kind": asked} | own


def _encoder(keys: _StateDict, spec: ModelSpec) -> dict[str, Tensor]:
    state = {
        "encoder.embedding.token.weight": keys.take("encoder.token_embeddings.weight"),
        "encoder.embedding.positions.table": keys.take("encoder.token_position_embeddings.weight"),
        "encoder.latents.vectors": keys.take("encoder.concept_embeddings.weight"),
        **keys.module("encoder.norm", "encoder.output_layer_norm"),
    }
    if isinstance(spec.latents, SinusoidalLatentsSpec):
        state["encoder.latents.codes"] = keys.take("encoder.concept_position_emb")
    if isinstance(spec.latents, LearnedLatentsSpec):
        state["encoder.latents.codes"] = keys.take("encoder.concept_position_emb.weight")
    if isinstance(spec.encoder.tokens, ProjectedSpec):
        state |= keys.module("encoder.stage.widen", "encoder.token_projection")
    for layer in range(1 if spec.encoder.tied else spec.encoder.depth):
        theirs = "encoder.shared_layer" if spec.encoder.tied else f"encoder.layers.{layer}"
        state |= _block(keys, f"encoder.blocks.{layer}", theirs)
        if isinstance(spec.encoder.block, BixtSpec) and _updates_tokens(spec, layer):
            state |= keys.module(f"encoder.blocks.{layer}.reverse_norm", f"{theirs}.pre_reverse_cross_norm")
            state |= keys.attention(f"encoder.blocks.{layer}.reverse_attention", f"{theirs}.token_concept_attn")
        else:
            keys.drop(f"{theirs}.pre_reverse_cross_norm.")
            keys.drop(f"{theirs}.token_concept_attn.")
    return state


def _updates_tokens(spec: ModelSpec, layer: int) -> bool:
    last = spec.encoder.depth - 1
    return last > 0 if spec.encoder.tied else layer < last


def _block(keys: _StateDict, ours: str, theirs: str) -> dict[str, Tensor]:
    return {
        **keys.module(f"{ours}.cross_norm", f"{theirs}.pre_cross_attn_norm"),
        **keys.module(f"{ours}.self_norm", f"{theirs}.pre_self_attn_norm"),
        **keys.module(f"{ours}.mlp_norm", f"{theirs}.pre_ff_norm"),
        **keys.attention(f"{ours}.cross_attention", f"{theirs}.concept_token_attn"),
        **keys.attention(f"{ours}.self_attention", f"{theirs}.concept_self_attn"),
        **keys.module(f"{ours}.mlp.up", f"{theirs}.Wi"),
        **keys.module(f"{ours}.mlp.down", f"{theirs}.Wo"),
    }


def _decoder(keys: _StateDict, spec: ModelSpec) -> dict[str, Tensor]:
    if spec.decoder is None:
        return {}
    if isinstance(spec.decoder, WeightedSumDecoderSpec):
        return {
            "decoder.scores": keys.take("concept_weights"),
            **keys.module("decoder.norm", "pre_lm_projection.0"),
            **keys.module("decoder.project", "pre_lm_projection.1"),
        }
    if isinstance(spec.decoder, DiffusionDecoderSpec):
        return _diffusion(keys, spec.decoder.depth)
    state = {
        "decoder.queries.own_positions.table": keys.take("decoder_query_embeddings.weight"),
        **keys.module("decoder.layers.0.cross_norm", "decoder_norm"),
        **keys.module("decoder.layers.0.mlp_norm", "post_cross_norm"),
        **keys.attention("decoder.layers.0.cross_attention", "decoder_cross_attn"),
        **keys.module("decoder.layers.0.mlp.up", "decoder_ffn.0"),
        **keys.module("decoder.layers.0.mlp.down", "decoder_ffn.2"),
    }
    if keys.any("decoder_input_projection"):
        state |= keys.module("decoder.queries.token_embedding.widen", "decoder_input_projection")
    return state


def _diffusion(keys: _StateDict, depth: int) -> dict[str, Tensor]:
    state = {
        "decoder.queries.own_positions.table": keys.take("decoder.pos_embed.weight"),
        "decoder.queries.token_embedding.weight": keys.take("decoder.token_embed.weight"),
        **keys.module("decoder.noise_embedding.up", "decoder.t_embed.proj.0"),
        **keys.module("decoder.noise_embedding.down", "decoder.t_embed.proj.2"),
    }
    for layer in range(depth):
        ours = theirs = f"decoder.layers.{layer}"
        state |= keys.module(f"{ours}.cross_norm", f"{theirs}.norm_cross")
        state |= keys.module(f"{ours}.mlp_norm", f"{theirs}.norm_ff")
        state |= keys.attention(f"{ours}.cross_attention", f"{theirs}.cross_attn")
        state |= keys.module(f"{ours}.mlp.up", f"{theirs}.ff_in")
        state |= keys.module(f"{ours}.mlp.down", f"{theirs}.ff_out")
        state |= keys.module(f"{ours}.modulation", f"{theirs}.adaLN")
    return state


def _with_classifier(model: ConceptModel, keys: _StateDict) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model, in the classifier that the checkpoint has, if any; and that classifier's own weights."""
    if "classifier.weight" not in keys:
        return model, {}
    width = model.encoder.norm.normalized_shape[0]
    scored = "concept_scorer.weight" in keys
    pool = (AttentionPoolSpec() if scored else ViaDecoderPoolSpec()).build(width, heads=1)
    state = keys.module("pool.norm", "pool_norm" if scored else "pre_pool_norm")
    if scored:
        state["pool.score.weight"] = keys.take("concept_scorer.weight")
        keys.take("concept_scorer.bias")
    state |= keys.module("classify", "classifier")
    labels, features = state["classify.weight"].shape
    kind = PairClassifier if features == 4 * width else Classifier
    return kind(model, pool, labels), state
