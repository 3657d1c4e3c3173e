"""From decoded vectors to words, tied to the token table or not."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import init_identity
from cogito_ray.nn.vocabulary_loss.chunked import Penalties, nats
from cogito_ray.nn.vocabulary_loss.loss_kinds import LOSSES, WeightedSum


class HeadSpec(Spec):
    """How decoded vectors become scores of words."""

    tied: bool = True
    """Words are scored by the token table itself (arXiv:1608.05859). Where tokens are narrower than concepts, hidden
    vectors are first projected to their width (arXiv:1909.11942)."""
    norm: bool = True
    """Layer norm before anything else."""
    bias: bool = True
    """One number per word, started at its log frequency in the training text: training starts at the constant
    predictor."""
    loss: Literal["auto", "chunked", "liger", "cut"] = "auto"
    """How the loss is computed in training; the numbers are the same up to rounding. chunked: in plain torch, anywhere.
    liger: by Liger's kernel, on CUDA. cut: by cut cross-entropy, on CUDA, which takes the least memory. auto: liger on
    CUDA where it is installed (`pip install 'cogito-ray[cuda]'`), else chunked."""
    z_loss: NonNegativeFloat = 0.0
    """Multiplies the squared log-normaliser of each target's scores, which training adds to its nats, so that scores do
    not drift away (arXiv:2204.02311, with 1e-4). Held-out losses are without."""

    def build(self, token: nn.Embedding, width: int, log_unigram: Tensor | None) -> "VocabularyHead":
        """A head for hidden vectors of this width (D). token: the encoder's table (V, T); log_unigram (V,): log
        frequency of each word, where the bias starts, None = at 0."""
        bias = torch.zeros(token.num_embeddings) if log_unigram is None else log_unigram.detach().float().clone()
        return VocabularyHead(
            token,
            width,
            tied=self.tied,
            norm=self.norm,
            bias=nn.Parameter(bias) if self.bias else None,
            loss=LOSSES[self.loss],
            z_loss=self.z_loss,
        )


class VocabularyHead(nn.Module):
    """Norm, projection to the width of the table, product with the table, bias; losses never hold all the logits (see
    `nn.vocabulary_loss`)."""

    parameter_roles: ClassVar[Mapping[str, str]] = {"own.weight": "head"}
    token: nn.Embedding
    own: nn.Linear | None

    def __init__(
        self,
        token: nn.Embedding,
        width: int,
        *,
        tied: bool,
        norm: bool,
        bias: nn.Parameter | None,
        loss: WeightedSum,
        z_loss: float,
    ):
        super().__init__()
        narrow = tied and token.embedding_dim != width
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.narrow = init_identity(nn.Linear(width, token.embedding_dim, bias=False)) if narrow else nn.Identity()
        self.own = None if tied else nn.Linear(width, token.num_embeddings, bias=False)
        self.bias, self.weighted_sum, self.z_loss, self.multiplier = bias, loss, z_loss, 1.0
        object.__setattr__(self, "token", token)               # the encoder owns its parameters

    @property
    def weight(self) -> Tensor:
        """(V, D or T) whose rows score the words."""
        return self.token.weight if self.own is None else self.own.weight

    def forward(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """hidden (B, M, D), targets (B, M) -> cross-entropy of each target (B, M), in nats."""
        features = self._features(hidden).flatten(0, -2)
        flat = nats(features, self.weight, bias=self.bias, targets=targets.flatten(), label_smoothing=label_smoothing)
        return flat.view_as(targets)

    def weighted_mean(
        self,
        hidden: Tensor,
        targets: Tensor,
        weights: Tensor,
        label_smoothing: float = 0.0,
        *,
        divisor: Tensor | None = None,
    ) -> Tensor:
        """The mean of `forward`'s nats and z-loss under weights (B, M), a scalar: faster, as weights are known before
        backward.

        The weighted sum is divided by the sum of the weights, or by `divisor` where they are part of a larger batch. 0
        where all weights are 0.
        """
        features = self._features(hidden).flatten(0, -2)
        total = self.weighted_sum(
            features,
            self.weight,
            bias=self.bias,
            targets=targets.flatten(),
            weights=weights.flatten(),
            penalties=Penalties(label_smoothing, self.z_loss),
        )
        return total / (weights.sum() if divisor is None else divisor).clamp_min(1e-8)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> (..., V). For reading a few places; losses never need it."""
        return nn.functional.linear(self._features(hidden), self.weight, self.bias)

    def _features(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> what is multiplied with the table, (..., D or T)."""
        features: Tensor = self.narrow(self.norm(hidden))
        return features if self.multiplier == 1 else features * self.multiplier
