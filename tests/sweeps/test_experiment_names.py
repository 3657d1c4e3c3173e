"""Names of sweeps and runs: what may be one, and that none is a part of the storage itself."""

import pytest
from corpora import prepared_run

from cogito_ray.records.notebook import notebook_page
from cogito_ray.sweeps.experiment_names import RESERVED, folder_name


@pytest.mark.parametrize("name", ["a", "2026-11.b_c", "x" * 64, "tokens2"])
def test_letters_digits_and_three_signs_make_a_name(name):
    assert folder_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "-a", ".hidden", "a b", "x" * 65, "é", "a\n"])
def test_what_is_no_folder_of_ones_own_is_refused_in_words(name):
    with pytest.raises(ValueError, match="a name has 1 to 64 letters, digits") as refused:
        folder_name(name)
    assert "^" not in str(refused.value)


@pytest.mark.parametrize("name", [*sorted(RESERVED), "TOKENS"])
def test_what_the_storage_itself_has_is_refused(name):
    with pytest.raises(ValueError, match="choose another name"):
        folder_name(name)


def test_all_that_is_written_at_the_top_of_a_storage_is_reserved(tmp_path):
    prepared_run(tmp_path, tmp_path / "storage")
    notebook_page.write([tmp_path / "storage"], tmp_path / "storage")
    written = {path.name for path in (tmp_path / "storage").iterdir()}
    assert {"tokens", "tokenizers", "corpora", "notebook.md"} <= written
    assert written <= RESERVED
