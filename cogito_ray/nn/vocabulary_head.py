"""From decoded vectors to words, tied to the token table or not."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import init_identity
from cogito_ray.nn.vocabulary_loss import chunked


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

    def build(self, token: nn.Embedding, width: int, log_unigram: Tensor | None) -> "VocabularyHead":
        """A head for hidden vectors of this width (D). token: the encoder's table (V, T); log_unigram (V,): log
        frequency of each word, where the bias starts, None = at 0."""
        bias = torch.zeros(token.num_embeddings) if log_unigram is None else log_unigram.detach().float().clone()
        return VocabularyHead(
            token, width, tied=self.tied, norm=self.norm, bias=nn.Parameter(bias) if self.bias else None
        )


class VocabularyHead(nn.Module):
    """Norm, projection to the width of the table, product with the table, bias; losses never hold all the logits (see
    `nn.vocabulary_loss`)."""

    parameter_roles: ClassVar[Mapping[str, str]] = {"own.weight": "head"}
    token: nn.Embedding
    own: nn.Linear | None

    def __init__(self, token: nn.Embedding, width: int, *, tied: bool, norm: bool, bias: nn.Parameter | None):
        super().__init__()
        narrow = tied and token.embedding_dim != width
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.narrow = init_identity(nn.Linear(width, token.embedding_dim, bias=False)) if narrow else nn.Identity()
        self.own = None if tied else nn.Linear(width, token.num_embeddings, bias=False)
        self.bias = bias
        object.__setattr__(self, "token", token)               # the encoder owns its parameters

    @property
    def weight(self) -> Tensor:
        """(V, D or T) whose rows score the words."""
        return self.token.weight if self.own is None else self.own.weight

    def forward(self, hidden: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """hidden (B, M, D), targets (B, M) -> cross-entropy of each target (B, M), in nats."""
        features = self.narrow(self.norm(hidden)).flatten(0, -2)
        nats = chunked.nats(
            features, self.weight, bias=self.bias, targets=targets.flatten(), label_smoothing=label_smoothing
        )
        return nats.view_as(targets)

    def weighted_mean(
        self,
        hidden: Tensor,
        targets: Tensor,
        weights: Tensor,
        label_smoothing: float = 0.0,
        *,
        divisor: Tensor | None = None,
    ) -> Tensor:
        """The mean of `forward`'s nats under weights (B, M), a scalar: faster, for weights are known before backward.

        The weighted sum is divided by the sum of the weights, or by `divisor` where they are part of a larger batch. 0
        where all weights are 0.
        """
        features = self.narrow(self.norm(hidden)).flatten(0, -2)
        total = chunked.weighted_sum(
            features,
            self.weight,
            bias=self.bias,
            targets=targets.flatten(),
            weights=weights.flatten(),
            penalties=chunked.Penalties(label_smoothing),
        )
        return total / (weights.sum() if divisor is None else divisor).clamp_min(1e-8)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> (..., V). For reading a few places; losses never need it."""
        return nn.functional.linear(self.narrow(self.norm(hidden)), self.weight, self.bias)
