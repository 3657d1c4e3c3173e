"""Files are whole or not there, also on a full disk and in a folder that others can write to."""

from pathlib import Path

import pytest

from cogito_ray.atomic_files import atomic_write, atomic_write_text, open_to_append
from cogito_ray.records.ledger import Ledger, SweepClosed


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_file_is_replaced_at_once_and_nothing_else_is_left(tmp_path):
    (tmp_path / "page.html").write_text("old")
    assert atomic_write_text(tmp_path / "page.html", "new").read_text() == "new"
    assert names(tmp_path) == {"page.html"}


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_leads_to_stays(tmp_path):
    (victim := tmp_path / "victim").write_text("mine")
    (link := tmp_path / "winner.yaml").symlink_to(victim)
    atomic_write_text(link, "theirs")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("mine", "theirs", False)


def test_a_file_that_cannot_be_written_whole_is_named_stays_as_it_was_and_leaves_nothing_else(tmp_path, little_room):
    (page := tmp_path / "report.html").write_text("old")
    with pytest.raises(OSError, match=r"File too large: '.*/report\.html'"):
        atomic_write_text(page, "new" * 100)
    assert (page.read_text(), names(tmp_path)) == ("old", {"report.html"})


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path):
    (page := tmp_path / "page").write_text("old")
    with pytest.raises(TypeError), atomic_write(page) as stream:
        stream.writelines([b"half", None])
    assert (page.read_text(), names(tmp_path)) == ("old", {"page"})


def test_a_draft_has_a_name_that_cannot_be_foreseen_and_the_mode_of_the_umask(tmp_path):
    drafts = []
    for _ in range(2):
        with atomic_write(tmp_path / "page") as stream:
            drafts.append(stream.name)
    assert drafts[0] != drafts[1]
    (plain := tmp_path / "plain").write_text("")
    assert (tmp_path / "page").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_is_missing_is_told_by_the_name_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/none/page'"):
        atomic_write_text(tmp_path / "none" / "page", "")


def test_nothing_is_appended_through_a_link(tmp_path):
    (victim := tmp_path / "victim").write_text("mine\n")
    (tmp_path / "ledger.jsonl").symlink_to(victim)
    for opened in (open_to_append, Ledger):
        with pytest.raises(OSError, match="symbolic links"):
            opened(tmp_path / "ledger.jsonl")
    assert victim.read_text() == "mine\n"


def test_a_ledger_on_a_full_disk_is_named(tmp_path, little_room):
    with Ledger(tmp_path / "ledger.jsonl") as ledger, pytest.raises(OSError, match=r"ledger\.jsonl"):
        ledger.append(SweepClosed(at=0.0, cause="x" * 100))
