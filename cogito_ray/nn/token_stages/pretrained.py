"""Layers of a pretrained language model give tokens context before concepts read them.

Its vectors are projected and added to the embedding's own, so that position codes, and with them the anchored start,
keep working, and a random projection starts as a small disturbance. Causal models can be read in both directions
(LLM2Vec, arXiv:2404.05961).
"""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import same
from cogito_ray.nn.token_stages.token_stage_interface import Tokens, TokenStage


class PretrainedSpec(Spec):
    """A Hugging Face model, whole or its first layers, frozen or trained along."""

    kind: Literal["pretrained"] = "pretrained"
    tokens_attend: ClassVar[bool] = False
    respects_documents: ClassVar[bool] = True
    model: str
    """Name or folder of a Hugging Face causal or masked language model. The run's tokenizer must be this model's."""
    layers: PositiveInt | None = None
    """Its first layers that are used; None = all."""
    causal: bool = False
    """True: tokens see earlier tokens only. False: all of them, whatever the model was trained for."""
    frozen: bool = True
    """Its weights do not change."""
    config: dict[str, Any] | None = None
    """What its config.json would hold: such a model, started at random, of which nothing is fetched (exports hold all
    weights, and so this); None = as `model` has been trained."""

    def width_out(self, token_width: int, width: int) -> int:
        """Width of the tokens that concepts read, from the token width (T) and that of concepts (D)."""
        return token_width

    def build(self, *, token_width: int, width: int, heads: int, vocabulary_size: int) -> "Pretrained":
        """Loads the model. ValueError where it has fewer layers, or knows fewer words than the tokenizer; OSError where
        there is no such model."""
        backbone = self._backbone()
        if vocabulary_size > backbone.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {vocabulary_size} words, but encoder.tokens.model '{self.model}' knows "
                f"{backbone.config.vocab_size}: use that model's own tokenizer"
            )
        return Pretrained(backbone, token_width, causal=self.causal, frozen=self.frozen)

    def _backbone(self) -> Any:
        from transformers import AutoConfig, AutoModel  # half a second and 200 MB: only for those who use it

        config = AutoConfig.for_model(**self.config) if self.config else AutoConfig.from_pretrained(self.model)
        if self.layers is not None:
            if self.layers > config.num_hidden_layers:
                raise ValueError(f"'{self.model}' has {config.num_hidden_layers} layers, not {self.layers}")
            config.num_hidden_layers = self.layers
        taken: Any = AutoModel.from_config if self.config else partial(AutoModel.from_pretrained, self.model)
        backbone = taken(config=config)
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None                     # reads one token for a task that nobody has here
        return backbone


class Pretrained(TokenStage):
    """Token vectors plus a projection of the pretrained model's last hidden states."""

    def __init__(self, backbone: Any, token_width: int, *, causal: bool, frozen: bool):
        super().__init__()
        self.backbone, self.causal = backbone.requires_grad_(not frozen), causal
        hidden = backbone.get_input_embeddings().weight.shape[1]
        self.norm, self.project = nn.LayerNorm(hidden), nn.Linear(hidden, token_width, bias=False)

    def train(self, mode: bool = True) -> Self:
        """The backbone leaves nothing out by itself, as `model.dropout` alone says what is left out."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, ids: Tensor, tokens: Tokens) -> Tokens:
        visible = torch.ones_like(ids, dtype=torch.bool) if tokens.visible is None else tokens.visible
        seen = visible[:, None, None, :]                                   # (B, 1, 1, K)
        if self.causal:
            seen = seen & (tokens.positions[:, None, :, None] >= tokens.positions[:, None, None, :])
        if tokens.starts is not None:
            seen = seen & same(tokens.starts, tokens.starts)[:, None]
        itself = torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
        mask = seen | itself                                               # (B, 1, K, K); padding sees itself
        hidden = self.backbone(input_ids=ids, position_ids=tokens.positions, attention_mask=mask).last_hidden_state
        return replace(tokens, vectors=tokens.vectors + self.project(self.norm(hidden)))   # (B, K, T)
