"""Attention and feed-forward layers shared by every block and decoder. Norms and residuals are the caller's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cogito_ray.nn.position_encodings import ContextualPositions, Rotary
from cogito_ray.text.vocabulary_info import Vocabulary


class ResidualOutput(nn.Linear):
    """The last layer of a residual branch, of which a share is added (see `nn.parametrisation`), and in training some
    numbers not (dropout, as in arXiv:1706.03762, section 5.4)."""

    share = 1.0
    dropout = 0.0

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        out = out if self.share == 1 else out * self.share
        return F.dropout(out, self.dropout, self.training) if self.dropout else out


class Attention(nn.Module):
    """Multi-head attention from one sequence to another (arXiv:1706.03762).

    Keys and values have no bias: softmax cancels a key's, and a value's is the output's bias by another name.
    """

    def __init__(self, width: int, source_width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(source_width, 2 * width, bias=False)
        self.out = ResidualOutput(width, width)

    def forward(
        self,
        x: Tensor,
        source: Tensor,
        *,
        contents: Tensor | None = None,
        visible: Tensor | None = None,
        rotary: Rotary | None = None,
        source_rotary: Rotary | None = None,
        contextual: ContextualPositions | None = None,
    ) -> Tensor:
        """x (B, Q, D) reads source (B, S, T), where visible, (B, S) or (B, Q, S), is True -> (B, Q, D).

        contents (B, S, T): what is read at each place of source, which then only says where to look; None = source
        itself. What sees nothing reads 0. `contextual` is for a sequence that reads itself.
        """
        query, key, value = self.project(x, source, contents=contents, rotary=rotary, source_rotary=source_rotary)
        mask = None if visible is None else for_every_head(visible)            # (B, 1, 1 or Q, S)
        if contextual is not None:
            bias = contextual(query, query @ key.mT * self.scale, self.scale, mask)            # (B, H, Q, Q)
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)
        return self.out(read.transpose(1, 2).flatten(2))

    def project(
        self,
        x: Tensor,
        source: Tensor,
        *,
        contents: Tensor | None = None,
        rotary: Rotary | None = None,
        source_rotary: Rotary | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> queries (B, H, Q, D/H), keys and values (B, H, S, D/H)."""
        query = heads_of(self.query(x), self.heads)
        if contents is None:
            parts = self.key_value(source).chunk(2, dim=-1)
        else:
            keys, values = self.key_value.weight.chunk(2)                      # (D, T) each
            parts = F.linear(source, keys), F.linear(contents, values)
        key, value = (heads_of(part, self.heads) for part in parts)
        query = query if rotary is None else rotary.apply(query)
        return query, key if source_rotary is None else source_rotary.apply(key), value

    def attention_weights(
        self,
        x: Tensor,
        source: Tensor,
        *,
        visible: Tensor | None = None,
        rotary: Rotary | None = None,
        source_rotary: Rotary | None = None,
    ) -> Tensor:
        """How much of each position of source (B, S, T) each of x (B, Q, D) reads: (B, H, Q, S), 1 in all over S, or 0
        where x sees nothing.

        `forward` never holds these weights (torch's fused kernels do not); asking for them costs O(Q S) memory.
        """
        query, key, _ = self.project(x, source, rotary=rotary, source_rotary=source_rotary)
        scores = query @ key.mT * self.scale                                   # (B, H, Q, S)
        return scores.softmax(dim=-1) if visible is None else masked_softmax(scores, for_every_head(visible), dim=-1)

    def init_as_lookup(self, gain: float) -> None:
        """See the function of this name."""
        init_as_lookup(self.query, self.key_value, self.out, gain=gain)


def attend_nearby(
    attention: Attention, x: Tensor, window: int, *, starts: Tensor | None = None, rotary: Rotary | None = None
) -> Tensor:
    """x (B, N, D), each of which reads those at most `window` away, of its own document where starts (B, N) are given
    -> (B, N, D). O(N window): blocks of that length read themselves and their two neighbours."""
    length = x.shape[1]
    blocks = -(-length // window)
    spare = blocks * window - length
    query, *read = attention.project(x, x, rotary=rotary, source_rotary=rotary)                # (B, H, N, D/H) each
    query = F.pad(query, (0, 0, 0, spare)).unflatten(2, (blocks, window))      # (B, H, blocks, window, D/H)
    padded = (F.pad(each, (0, 0, window, window + spare)).unflatten(2, (blocks + 2, window)) for each in read)
    key, value = (torch.cat([each[:, :, :-2], each[:, :, 1:-1], each[:, :, 2:]], dim=3) for each in padded)
    mask = _nearby(length, window, x.device, starts)
    mask = mask.expand(len(x), -1, -1, -1).flatten(0, 1)[:, None]              # (B * blocks, 1, window, 3 * window)
    query, key, value = (part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=attention.scale)
    rows = found.unflatten(0, (-1, blocks)).transpose(2, 3).flatten(1, 2)      # (B, N + spare, H, D/H)
    return attention.out(rows[:, :length].flatten(2))


def _nearby(length: int, window: int, device: torch.device, starts: Tensor | None) -> Tensor:
    """(B or 1, blocks, window, 3 * window) whether a place of a block reads one of it or its neighbours."""
    at = torch.arange(-(-length // window) * window, device=device).view(1, -1, window)        # (1, blocks, window)
    of = at[..., :1] - window + torch.arange(3 * window, device=device)        # (1, blocks, 3 * window)
    near = ((of[:, :, None] - at[..., None]).abs() <= window) & ((of >= 0) & (of < length))[:, :, None]
    if starts is None:
        return near
    begins, read = (starts[:, places.clamp(0, length - 1)].squeeze(1) for places in (at, of))
    return near & (begins[..., None] == read[:, :, None])


def for_every_head(visible: Tensor) -> Tensor:
    """visible (B, S), the same for all that read, or (B, Q, S) -> (B, 1, 1 or Q, S)."""
    return visible[:, None, None] if visible.dim() == 2 else visible[:, None]


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax of scores over `dim` where mask is True; 0 elsewhere, also where it is nowhere True."""
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=dim) * mask


def document_starts(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Clean rows (B, N) -> (B, N) where in the row the document at each place begins: after the separator before it.

    A separator belongs to the document before it, and so does what follows if it is no text.
    """
    text = (ids != vocabulary.pad_id) & (ids != vocabulary.separator_id)
    text_follows = text.flip(1).long().cummax(dim=1).values.flip(1) > 0             # (B, N) here or later
    after_separator = (ids == vocabulary.separator_id).roll(1, dims=1)
    at = torch.arange(ids.shape[1], device=ids.device)
    begins = after_separator & text_follows & (at > 0)                              # a roll wraps
    return torch.where(begins, at, 0).cummax(dim=1).values


def places_of(starts: Tensor, centres: Tensor) -> Tensor:
    """starts (B, N) of the document at each place of a row, centres (C,) in tokens -> (B, C) starts of the documents in
    which these stand. What stands behind the last place does so in the last document."""
    return starts[:, (centres + 0.5).long().clamp(max=starts.shape[1] - 1)]


def same(one: Tensor, other: Tensor) -> Tensor:
    """one (B, Q), other (B, S): starts of documents -> (B, Q, S) whether they are those of the same one."""
    return one[:, :, None] == other[:, None]


def heads_of(x: Tensor, heads: int) -> Tensor:
    """x (B, S, D) -> (B, H, S, D/H)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@torch.no_grad()
def init_as_lookup(query: nn.Linear, key_value: nn.Linear, out: nn.Linear, *, gain: float) -> None:
    """Initialise an attention as a look-up: like attends to like, and what is read comes out as it went in.

    With query weights gain x K, the score of x and y is gain x (K x) . (K y), which is large where x and y are alike,
    as the vectors of one position are. With orthogonal value weights V and the output V^T, what is read is y itself.
    Both hold on the coordinates that the two sides share where their widths differ; all else starts at 0.
    """
    shared = min(query.in_features, key_value.in_features)
    keys, values = key_value.weight.chunk(2)                                   # (D, T) each
    nn.init.orthogonal_(values)
    for parameter in (*query.parameters(), *out.parameters()):
        parameter.zero_()
    query.weight[:, :shared] = gain * keys[:, :shared]
    out.weight[:shared] = values[:, :shared].T


class GatedFeedForward(nn.Module):
    """GELU-gated feed-forward layer (GEGLU, arXiv:2002.05202): (..., D) -> (..., D)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * hidden), ResidualOutput(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(F.gelu(value) * gate)


class FeedForward(nn.Module):
    """Plain feed-forward layer with a GELU (arXiv:1606.08415): (..., D) -> (..., D)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), ResidualOutput(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


def init_identity(linear: nn.Linear) -> nn.Linear:
    """`linear`, initialised to copy the coordinates that its input and output share (its bias is left as it is)."""
    nn.init.eye_(linear.weight)
    return linear
