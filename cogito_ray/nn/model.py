"""The whole model: an encoder, an optional decoder with its vocabulary head."""

from itertools import chain
from typing import Annotated, Any, Literal, Protocol, Self, runtime_checkable

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.attention import ResidualOutput, document_starts
from cogito_ray.nn.blocks.block_interface import Sizes
from cogito_ray.nn.concept_latents import AnchoredLatentsSpec, LatentsSpec, Segments
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.decoders.decoder_interface import Decoder, DecoderContext
from cogito_ray.nn.encoder import Encoder, EncoderSpec
from cogito_ray.nn.parametrisation import Growth, ParametrisationSpec, StandardSpec, parametrise
from cogito_ray.nn.position_encodings import segment_centres
from cogito_ray.nn.token_embedding import Embedding, EmbeddingSpec
from cogito_ray.nn.token_stages.projection import RawSpec
from cogito_ray.nn.vocabulary_head import HeadSpec, VocabularyHead
from cogito_ray.text.vocabulary_info import Vocabulary


class ModelSpec(Spec):
    """Widths, and the kinds of the model's parts. ValueError, all faults at once, where they do not fit together."""

    width: PositiveInt = 128
    """Of concepts (D)."""
    token_width: PositiveInt | None = None
    """Of tokens (T); None = as wide as concepts."""
    heads: PositiveInt = 4
    concepts: PositiveInt = 16
    attention: Literal["row", "document"] = "row"
    """What is read. row: all of a row. document: where documents share rows, a concept reads only the one in which the
    middle of its segment stands, a decoded position only that one's concepts, and positions restart with each. A
    document too short to hold the middle of a segment is rebuilt from nothing."""
    expansion: PositiveFloat = 2.0
    """Width inside feed-forward layers, over `width`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the numbers that are left out, in training, of token vectors and of what each attention and MLP adds."""
    embedding: EmbeddingSpec = EmbeddingSpec()
    latents: LatentsSpec = AnchoredLatentsSpec()
    encoder: EncoderSpec = EncoderSpec()
    decoder: DecoderSpec | None = None
    head: HeadSpec = HeadSpec()
    parametrisation: ParametrisationSpec = StandardSpec()
    """How initial weights, multipliers and learning rates follow the sizes of the model."""

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        faults = [*self._head_faults(), *self._position_faults(), *self._document_faults(), *self._base_faults()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _head_faults(self) -> list[str]:
        attend = self.encoder.block.tokens_attend or self.encoder.tokens.tokens_attend
        read_width = self.encoder.tokens.width_out(self.token_width or self.width, self.width)
        widths = {"width": self.width} | ({"token_width": read_width} if attend else {})
        rotary = self.latents.rotates_concepts or self.embedding.positions.rotates_queries
        suffix = " of an even width, as rotary positions need" if rotary else ""
        return [
            f"{name} {width} is not divisible by {self.heads} heads{suffix}"
            for name, width in widths.items()
            if width % (self.heads * (2 if rotary else 1))
        ]

    def _position_faults(self) -> list[str]:
        faults, decoder, positions = [], self.decoder, self.embedding.positions
        if self.latents.orders_concepts and not self.encoder.block.concepts_attend:
            faults.append(
                f"latents '{self.latents.kind}' tells concepts apart when they read one another, which block "
                f"'{self.encoder.block.kind}' never lets them do; use other latents"
            )
        values = getattr(self.encoder.block, "values", "tokens")
        if values == "contents" and not isinstance(self.encoder.tokens, RawSpec):
            faults.append(
                "encoder.block.values 'contents' are tokens as the embedding made them, which encoder.tokens "
                f"'{self.encoder.tokens.kind}' changes; use tokens 'raw', or values 'tokens'"
            )
        fits = positions.fits_any_width or self.token_width in (None, self.width)
        if decoder is not None and decoder.shares_positions and not fits:
            faults.append(
                f"decoder '{decoder.kind}' of width {self.width} cannot use '{positions.kind}' positions of tokens of "
                f"width {self.token_width}; give it positions of its own, or use sinusoidal ones"
            )
        return faults

    @property
    def reads_documents(self) -> bool:
        """Whether the documents of a row are read one by one."""
        return self.attention == "document"

    def _document_faults(self) -> list[str]:
        parts = {
            "latents": self.latents,
            "encoder.block": self.encoder.block,
            "encoder.tokens": self.encoder.tokens,
            "decoder": self.decoder,
        }
        return [
            f"attention 'document': {place} '{part.kind}' cannot tell the documents of a row apart; use another kind"
            for place, part in parts.items()
            if self.reads_documents and part is not None and not part.respects_documents
        ]

    def _base_faults(self) -> list[str]:
        """Of what the model would be at its base sizes, besides its own."""
        sizes, base = self.parametrisation.base, self.base
        if sizes is None or base is None:
            return []
        own = [*self._head_faults(), *self._position_faults()]
        found = [fault for fault in [*base._head_faults(), *base._position_faults()] if fault not in own]
        faults = [f"parametrisation: of the base sizes, {fault}" for fault in found]
        if sizes.base_decoder_depth and getattr(self.decoder, "depth", None) is None:
            faults.append("parametrisation.base_decoder_depth: there is no decoder of several layers; leave it out")
        return faults

    def build(self, vocabulary: Vocabulary, length: int, log_unigram: Tensor | None = None) -> "ConceptModel":
        """A model with random weights (torch's global generator) for rows of `length` tokens.

        log_unigram (V,): log frequency of each word, where the head's bias starts.
        """
        model = ConceptModel(self, vocabulary, length, log_unigram=log_unigram)
        if self.base is not None:
            with torch.random.fork_rng(devices=()):
                base = ConceptModel(self.base, vocabulary, length)
            model.growth = parametrise(model, base, self._width_ratios(self.base), self._depth_ratios())
        return model

    @property
    def base(self) -> Self | None:
        """The model at the sizes at which its settings were searched; None under the standard parametrisation."""
        sizes = self.parametrisation.base
        if sizes is None:
            return None
        there = {"width": sizes.base_width, "token_width": sizes.base_token_width, "heads": sizes.base_heads}
        return self.model_copy(update=there | {"parametrisation": StandardSpec()})

    @property
    def multipliers(self) -> str:
        """Names the parametrisation with whose multipliers weights mean what they do; empty where there are none."""
        if self.base is None:
            return ""
        widths = [self._token_width / self.base._token_width, self.width / self.base.width]
        ratios = {*widths, self.heads / self.base.heads, *self._depth_ratios().values()}
        return self.parametrisation.digest() if ratios != {1.0} else ""

    @property
    def _token_width(self) -> int:
        return self.token_width or self.width

    def _width_ratios(self, base: Self) -> dict[int, float]:
        return {self.width: self.width / base.width, self._token_width: self._token_width / base._token_width}

    def _depth_ratios(self) -> dict[str, float]:
        """Of each stack of residual layers, by its path."""
        sizes = self.parametrisation.base
        assert sizes is not None
        depth = getattr(self.decoder, "depth", 1)
        decoder = depth / (sizes.base_decoder_depth or depth)
        return {"encoder.blocks": self.encoder.depth / sizes.base_depth, "decoder.layers": decoder}

    def parameters(self, length: int) -> int:
        """How many there are, those of token tables and of what else grows with the vocabulary left out."""
        with torch.random.fork_rng(devices=()):
            fewer, more = (
                sum(p.numel() for p in self.build(Vocabulary(size, 0, 1, 2, (0, 1, 2)), length).parameters())
                for size in (8, 16)
            )
        return 2 * fewer - more    # the line through both, at no words

    @property
    def hidden(self) -> int:
        """Width inside the feed-forward layers."""
        return max(1, round(self.width * self.expansion))


class ConceptModel(nn.Module):
    """Encoder, decoder and vocabulary head. It has no forward pass of its own: losses, evaluation and heads call the
    parts that they need (`losses.total_loss.TotalLoss` is the module that training calls)."""

    decoder: Decoder | None
    head: VocabularyHead | None

    def __init__(self, spec: ModelSpec, vocabulary: Vocabulary, length: int, *, log_unigram: Tensor | None = None):
        super().__init__()
        self.width, self.heads = spec.width, spec.heads
        self.growth: dict[str, Growth] = {}         # over the base model; none where it is its own base
        self.separated_by = vocabulary if spec.reads_documents else None
        token_width = spec.token_width or spec.width
        embedding = spec.embedding.build(vocabulary.size, length, token_width, log_unigram)
        self.encoder = _encoder(spec, embedding, length)
        self.decoder = self.head = None
        if spec.decoder is not None:
            self.decoder = spec.decoder.build(_decoder_context(spec, self.encoder, length))
            self.head = spec.head.build(embedding.token, spec.width, log_unigram)
            for attention in self.decoder.attentions_to_init():
                spec.latents.init_attention(attention)
        for part in self.modules():
            if isinstance(part, Embedding | ResidualOutput):
                part.dropout = spec.dropout

    @property
    def token_table(self) -> Tensor:
        """(V, T), what each word is before anything read it."""
        return self.encoder.embedding.token.weight

    def document_starts(self, ids: Tensor) -> Tensor | None:
        """Clean rows (B, N) -> (B, N) where the document at each place begins; None where rows are read whole."""
        return None if self.separated_by is None else document_starts(ids, self.separated_by)

    def compile(self, *args: Any, layers: bool = False, **kwargs: Any) -> None:
        """Encoder and decoder, in place, by torch.compile with these arguments: names of weights stay what they are.
        With `layers` each of their layers by itself, between which FSDP gathers weights."""
        lists = (each for each in self.modules() if isinstance(each, nn.ModuleList))
        for part in chain.from_iterable(lists) if layers else (self.encoder, self.decoder):
            if isinstance(part, nn.Module):
                part.compile(*args, **kwargs)

    def set_depth(self, depth: int) -> None:
        """Apply the one block of a tied encoder so often from now on; see `Encoder.set_depth`."""
        self.encoder.set_depth(depth)

    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens from now on: positions are squeezed into the trained range."""
        for module in self.modules():
            if module is not self and isinstance(module, Resizable):
                module.resize(length)


@runtime_checkable
class Resizable(Protocol):
    """A part of a model that knows how long rows are."""

    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens from now on."""


def _encoder(spec: ModelSpec, embedding: Embedding, length: int) -> Encoder:
    token_width, stage = embedding.token.embedding_dim, spec.encoder.tokens
    read_width = stage.width_out(token_width, spec.width)
    blocks = spec.encoder.blocks(Sizes(spec.width, read_width, spec.heads, spec.hidden))
    for block in blocks:
        spec.latents.init_attention(block.attention_to_init())
    segments = Segments(segment_centres(spec.concepts, length), embedding.positions, length, read_width)
    return Encoder(
        embedding,
        stage.build(
            token_width=token_width,
            width=spec.width,
            heads=spec.heads,
            vocabulary_size=embedding.token.num_embeddings,
        ),
        spec.latents.build(spec.width, segments),
        blocks=blocks,
        depth=spec.encoder.depth,
        width=spec.width,
    )


def _decoder_context(spec: ModelSpec, encoder: Encoder, length: int) -> DecoderContext:
    centres = encoder.latents.centres
    return DecoderContext(
        embedding=encoder.embedding,
        length=length,
        concepts=spec.concepts,
        centres=None if centres is None else centres.clone(),
        width=spec.width,
        heads=spec.heads,
        hidden=spec.hidden,
    )
