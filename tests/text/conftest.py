"""A corpus prepared in the test's own process."""

from pathlib import Path

import pytest
from corpora import data_spec, two_sources

from cogito_ray.text.preparation_plan import prepare_with, serially
from cogito_ray.text.prepared_corpus import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return prepare_with(serially, data_spec(two_sources(tmp_path)), tmp_path / "storage")
