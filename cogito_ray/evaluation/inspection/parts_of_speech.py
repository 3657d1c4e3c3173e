"""Parts of speech of words in their text, by an English tagger whose weights its package holds (extra `pos`): an
averaged perceptron over the tags of Universal Dependencies, right on 0.93 of UD English-EWT, as it says."""

from collections.abc import Sequence
from importlib.util import find_spec

PARTS = ("noun", "verb", "adjective", "adverb", "function word", "no part of speech")
OF_TAGS = {"NOUN": "noun", "PROPN": "noun", "VERB": "verb", "ADJ": "adjective", "ADV": "adverb"}
OF_TAGS |= dict.fromkeys(("ADP", "AUX", "CCONJ", "DET", "PART", "PRON", "SCONJ"), "function word")
INSTALLED = find_spec("denckring_en_pos") is not None


def parts_of_speech(pieces: Sequence[str], begins: Sequence[bool], goes_on: Sequence[bool]) -> list[int]:
    """Of a text's tokens, which begin a word or go on with one, if any -> the number in PARTS of each token's word."""
    from denckring_en_pos import tagger

    words, of_tokens = list[str](), list[int]()
    for piece, first, more in zip(pieces, begins, goes_on, strict=True):
        if first or (more and (not of_tokens or of_tokens[-1] < 0)):
            words.append(piece.strip())
        elif more:
            words[-1] += piece.removeprefix("##")
        of_tokens.append(len(words) - 1 if first or more else -1)
    tags = [tag.partition("|")[0] for tag in tagger().tag(words)]
    numbers = [*(PARTS.index(OF_TAGS.get(tag, PARTS[-1])) for tag in tags), len(PARTS) - 1]
    return [numbers[word] for word in of_tokens]
