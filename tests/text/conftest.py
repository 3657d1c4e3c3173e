"""A corpus prepared in the test's own process."""

from pathlib import Path

import pytest
from corpora import data_spec, two_sources

from cogito_ray.text.corpus import Corpus
from cogito_ray.text.preparation import prepare_with, serially


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return prepare_with(serially, data_spec(two_sources(tmp_path)), tmp_path / "storage")
