"""Attention and feed-forward layers shared by every block and decoder. Norms and residuals are the caller's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cogito_ray.nn.position_encodings import Turns


class Attention(nn.Module):
    """One sequence reads another (arXiv:1706.03762).

    Keys and values have no bias: softmax cancels a key's, and a value's is the output's bias by another name.
    """

    def __init__(self, width: int, source_width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(source_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        source: Tensor,
        *,
        visible: Tensor | None = None,
        turns: Turns | None = None,
        source_turns: Turns | None = None,
    ) -> Tensor:
        """x (B, Q, D) reads source (B, S, T), where visible (B, S) is True -> (B, Q, D)."""
        query, key, value = self.project(x, source, turns=turns, source_turns=source_turns)
        mask = None if visible is None else visible[:, None, None, :]          # (B, 1, 1, S)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(read.transpose(1, 2).flatten(2))

    def project(
        self, x: Tensor, source: Tensor, *, turns: Turns | None = None, source_turns: Turns | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> queries (B, H, Q, D/H), keys and values (B, H, S, D/H)."""
        query = heads_of(self.query(x), self.heads)
        key, value = (heads_of(part, self.heads) for part in self.key_value(source).chunk(2, dim=-1))
        query = query if turns is None else turns.apply(query)
        return query, key if source_turns is None else source_turns.apply(key), value

    def shares(
        self,
        x: Tensor,
        source: Tensor,
        *,
        visible: Tensor | None = None,
        turns: Turns | None = None,
        source_turns: Turns | None = None,
    ) -> Tensor:
        """How much of each place of source (B, S, T) each of x (B, Q, D) reads: (B, H, Q, S), 1 in all over S.

        `forward` never holds these weights; asking for them costs what it spares.
        """
        query, key, _ = self.project(x, source, turns=turns, source_turns=source_turns)
        scores = query @ key.mT * query.shape[-1] ** -0.5                      # (B, H, Q, S)
        hidden = scores if visible is None else scores.masked_fill(~visible[:, None, None], -torch.inf)
        return hidden.softmax(dim=-1)

    def align(self, gain: float) -> None:
        align(self.query, self.key_value, self.out, gain=gain)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """x (B, S, D) -> (B, H, S, D/H)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@torch.no_grad()
def align(query: nn.Linear, key_value: nn.Linear, out: nn.Linear, *, gain: float) -> None:
    """Start an attention as a look-up: like attends to like, and what is read comes out as it went in.

    On the coordinates that both sides have, queries start as `gain` x keys and the output as the inverse of values.
    """
    shared = min(query.in_features, key_value.in_features)
    keys, values = key_value.weight.chunk(2)                                   # (D, T) each
    nn.init.orthogonal_(values)
    for start in (*query.parameters(), *out.parameters()):
        start.zero_()
    query.weight[:, :shared] = gain * keys[:, :shared]
    out.weight[:shared] = values[:, :shared].T


class GatedFeedForward(nn.Module):
    """GELU-gated feed-forward layer (arXiv:2002.05202)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(F.gelu(value) * gate)


class FeedForward(nn.Module):
    """Plain feed-forward layer with a GELU (arXiv:1606.08415)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


def same_start(linear: nn.Linear) -> nn.Linear:
    """`linear`, started to copy the coordinates that its input and output share."""
    nn.init.eye_(linear.weight)
    return linear
