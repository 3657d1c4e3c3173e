"""Words and runs of words as hashes."""

import numpy as np
import pytest

from cogito_ray.text.cleaning.word_hashes import ngram_hashes, word_hashes, words_of


def test_case_punctuation_and_spaces_do_not_count() -> None:
    assert words_of("It's  a GOOD\nidea.") == words_of("it s a good idea")


def test_equal_runs_have_equal_hashes_wherever_they_stand() -> None:
    text, other = words_of("a b c d e"), words_of("x c d e y")
    np.testing.assert_array_equal(ngram_hashes(word_hashes(text), 3)[2], ngram_hashes(word_hashes(other), 3)[1])


def test_the_order_of_words_counts() -> None:
    assert len({int(ngram_hashes(word_hashes(list(words)), 3)[0]) for words in ("abc", "cba", "bac")}) == 3


@pytest.mark.parametrize("words", [0, 1, 2])
def test_fewer_words_than_a_run_has_are_no_run(words: int) -> None:
    assert ngram_hashes(word_hashes(["word"] * words), 3).shape == (0,)


def test_hashes_are_the_same_in_every_process_and_version() -> None:
    hashes = word_hashes(["concept", "encoders"])
    assert [int(each) for each in (*hashes, *ngram_hashes(hashes, 2))] == [
        0x5b264df4c0066fd3, 0x463b10250ce0f8fd, 0x51fb400c8d8f186e,
    ]  # fmt: skip
