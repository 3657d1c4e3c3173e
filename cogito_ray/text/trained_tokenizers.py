"""Tokenizers trained on a sample of the train documents: the same sample gives the same tokenizer, in every process.

All cut a text into words as GPT-2 does and each word into pieces of its UTF-8 bytes, so that no text is unknown and
every text is given back; kinds differ in which pieces they choose. One process trains: the sample bounds its memory.
"""

from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from cogito_ray.base_spec import Spec
from cogito_ray.text.tokenizer import MASK, PAD, SEPARATOR, PretrainedTokenizerSpec, TextTokenizer

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
"""The 256 letters that stand for bytes."""
WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False)
CONTINUED = "##"
"""Begins those pieces of a WordPiece vocabulary that begin no word."""
LONGEST_WORD = 64
"""Bytes of which WordPiece looks for the longest piece: that takes the square of them."""


class _TrainedSpec(Spec):
    least: ClassVar[int] = len(BYTES)
    """Pieces of a byte each, which every vocabulary holds."""
    vocabulary: int = Field(default=8192, ge=300, le=2**20)
    """Entries, special tokens included."""
    sample: PositiveInt = 20_000_000
    """Characters of the corpus it is trained on, shared equally among the sources; before cleaning."""
    normalization: Literal["NFC", "NFKC"] | None = None
    """Unicode normal form (https://unicode.org/reports/tr15) in which texts are read; null = as they are."""
    lowercase: bool = False
    """Whether capitals are read as small letters."""
    special_tokens: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Further ones, for uses of your own: spelled out in a text they are ordinary text."""

    @field_validator("special_tokens")
    @classmethod
    def _no_words(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        if words := [token for token in tokens if len(WORDS.pre_tokenize_str(token)) == 1]:
            raise ValueError(f"{words[0]!r} may be a word of a text; put it in brackets, such as [{words[0]}]")
        return tokens

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.vocabulary <= (least := self.least + len(self._special_tokens)):
            raise ValueError(f"vocabulary {self.vocabulary} has no room for more than bytes; make it more than {least}")
        return self

    def faults(self) -> list[str]:
        """Nothing can be said before it is trained."""
        return []

    def train(self, texts: Iterable[str]) -> TextTokenizer:
        """ValueError when the texts are too few for the vocabulary."""
        tokenizer = self._trained(texts)
        tokenizer.add_special_tokens([AddedToken(token, special=True) for token in self._special_tokens])
        if (size := tokenizer.get_vocab_size()) < self.vocabulary:
            raise ValueError(
                f"data.tokenizer.vocabulary: {self.vocabulary} entries asked, but the corpus yields only {size}; "
                "ask for fewer or add text"
            )
        return TextTokenizer.of(tokenizer, {})

    def _trained(self, texts: Iterable[str]) -> Tokenizer:
        """One that has so many entries together with the special tokens, or all that the texts yield."""
        raise NotImplementedError

    def _reading(self, model: models.Model, words: pre_tokenizers.PreTokenizer = WORDS) -> Tokenizer:
        """The model behind what all kinds do to a text before it."""
        tokenizer = Tokenizer(model)
        normal = [getattr(normalizers, self.normalization)()] if self.normalization else []
        normal += [normalizers.Lowercase()] if self.lowercase else []
        if normal:
            tokenizer.normalizer = normalizers.Sequence(normal) if len(normal) > 1 else normal[0]
        tokenizer.pre_tokenizer, tokenizer.decoder = words, decoders.ByteLevel()
        return tokenizer

    @property
    def _special_tokens(self) -> list[str]:
        return list(dict.fromkeys([PAD, MASK, SEPARATOR, *self.special_tokens]))


class BpeSpec(_TrainedSpec):
    """Byte-pair encoding (arXiv:1508.07909): pieces that stand side by side most often are joined, again and again."""

    kind: Literal["bpe"] = "bpe"

    def _trained(self, texts: Iterable[str]) -> Tokenizer:
        tokenizer = self._reading(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            special_tokens=self._special_tokens,
            initial_alphabet=BYTES,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer


class WordPieceSpec(_TrainedSpec):
    """WordPiece (doi:10.1109/ICASSP.2012.6289079) as BERT has it: pieces found as by bpe, but those within a word are
    others than those that begin one, and a word is cut by taking the longest piece that fits."""

    kind: Literal["wordpiece"] = "wordpiece"
    least: ClassVar[int] = 2 * len(BYTES)

    def _trained(self, texts: Iterable[str]) -> Tokenizer:
        # a number sign is a word of its own, so that no word begins with `##`; long words are cut
        alone = pre_tokenizers.Split("#", "isolated")
        words = pre_tokenizers.Sequence([alone, WORDS, pre_tokenizers.Split(Regex(f".{{{LONGEST_WORD}}}"), "isolated")])
        training = self._reading(models.WordPiece(), words)
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocabulary - len(self._special_tokens),
            # the trainer would number these as it meets them, in an order that changes, and break ties by number
            special_tokens=[CONTINUED + letter for letter in BYTES],
            initial_alphabet=BYTES,
            show_progress=False,
        )
        training.train_from_iterator(texts, trainer)
        pieces = training.get_vocab()
        trained = self._reading(models.WordPiece(pieces, max_input_chars_per_word=LONGEST_WORD), words)
        trained.decoder = decoders.Sequence([decoders.Replace(Regex(f"^{CONTINUED}"), ""), decoders.ByteLevel()])
        return trained


class UnigramSpec(_TrainedSpec):
    """The pieces of a unigram language model (arXiv:1804.10959), which cuts a word in the most probable way.

    SentencePiece trains it: the trainer of `tokenizers` adds in an order that changes, so that no two runs agree.
    """

    kind: Literal["unigram"] = "unigram"

    def _trained(self, texts: Iterable[str]) -> Tokenizer:
        from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

        words = Counter(BYTES)  # so that each is among the pieces
        normalizer = self._reading(models.Unigram()).normalizer
        for text in texts:
            read = normalizer.normalize_str(text) if normalizer else text
            words.update(word for word, _ in WORDS.pre_tokenize_str(read))
        SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{count}" for word, count in sorted(words.items())),
            input_format="tsv",
            model_writer=(written := BytesIO()),
            vocab_size=self.vocabulary - len(self._special_tokens) + 1,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            split_by_number=False,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # sums differ with their number
            minloglevel=2,
        )
        model = SentencePieceProcessor(model_proto=written.getvalue())
        numbers = range(1, model.get_piece_size())  # 0 is for what is unknown
        # a tokenizer.json with more decimals is read with another last bit than it was written with
        return self._reading(models.Unigram([(model.id_to_piece(n), round(model.get_score(n), 6)) for n in numbers]))


TrainedTokenizerSpec = BpeSpec | UnigramSpec | WordPieceSpec
TokenizerSpec = Annotated[PretrainedTokenizerSpec | TrainedTokenizerSpec, Field(discriminator="kind")]
