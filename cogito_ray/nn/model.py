"""The whole model: an encoder, an optional decoder with its vocabulary head."""

from typing import Self

from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from cogito_ray.nn.blocks.base import Sizes
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.decoders.base import Decoder, Stock
from cogito_ray.nn.embedding import Embedding, EmbeddingSpec
from cogito_ray.nn.encoder import Encoder, EncoderSpec
from cogito_ray.nn.positions import Positions, segment_centres
from cogito_ray.nn.start import AnchoredStartSpec, Places, StartSpec
from cogito_ray.nn.vocabulary_head import HeadSpec, VocabularyHead
from cogito_ray.spec import Spec
from cogito_ray.text.vocabulary import Vocabulary


class ModelSpec(Spec):
    width: PositiveInt = 128
    """Of concepts (D)."""
    token_width: PositiveInt | None = None
    """Of tokens (T); None = as wide as concepts."""
    heads: PositiveInt = 4
    concepts: PositiveInt = 16
    expansion: PositiveFloat = 2.0
    """Width inside feed-forward layers, over `width`."""
    embedding: EmbeddingSpec = EmbeddingSpec()
    start: StartSpec = AnchoredStartSpec()
    encoder: EncoderSpec = EncoderSpec()
    decoder: DecoderSpec | None = None
    head: HeadSpec = HeadSpec()

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        return self

    def build(self, vocabulary: Vocabulary, length: int, log_unigram: Tensor | None = None) -> "ConceptModel":
        """A model with random weights (torch's global generator) for rows of `length` tokens.

        log_unigram (V,): log frequency of each word, where the head's bias starts.
        """
        return ConceptModel(self, vocabulary, length, log_unigram=log_unigram)

    @property
    def hidden(self) -> int:
        return max(1, round(self.width * self.expansion))


class ConceptModel(nn.Module):
    decoder: Decoder | None
    head: VocabularyHead | None

    def __init__(self, spec: ModelSpec, vocabulary: Vocabulary, length: int, *, log_unigram: Tensor | None = None):
        super().__init__()
        token_width = spec.token_width or spec.width
        embedding = spec.embedding.build(vocabulary.size, length, token_width)
        self.encoder = _encoder(spec, embedding, length)
        self.decoder = self.head = None
        if spec.decoder is not None:
            stock = Stock(embedding, length, spec.concepts, spec.width, spec.heads, spec.hidden)
            self.decoder = spec.decoder.build(stock)
            self.head = spec.head.build(embedding.token, spec.width, log_unigram)
            for attention in self.decoder.reads():
                spec.start.align(attention)

    def resize(self, length: int) -> None:
        """Serve rows of `length` tokens from now on: positions are squeezed into the trained range."""
        for module in self.modules():
            if isinstance(module, Positions):
                module.resize(length)


def _encoder(spec: ModelSpec, embedding: Embedding, length: int) -> Encoder:
    token_width = embedding.token.embedding_dim
    blocks = spec.encoder.blocks(Sizes(spec.width, token_width, spec.heads, spec.hidden))
    for block in blocks:
        spec.start.align(block.read)
    places = Places(segment_centres(spec.concepts, length), embedding.positions)
    start = spec.start.build(spec.width, places)
    return Encoder(embedding, start, blocks=blocks, depth=spec.encoder.depth, width=spec.width)
