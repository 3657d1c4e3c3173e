"""A log that was kept by hand becomes part of the record: once, in plain text, and with every conclusion."""

from multiprocessing import Process

import pytest

from cogito_ray.records.ledger import Commented, Ledger
from cogito_ray.records.notebook.imported_table import FILE, import_table, imported_rows, name_runs, template_of
from cogito_ray.records.notebook.notebook_page import read
from cogito_ray.records.notebook.notebook_rows import NAMED

HEADING = (
    "| Date | Run ID / Model Type | Architecture | Pretraining Data | Machine | Epochs | Concept Losses | Task Loss |"
    " Eff. Rank | Key GLUE Scores | Speed (Steps/s) | WandB Link | Git Tag | Conclusion / Takeaway |"
)
RULE = "|---" * 14 + "|"
FIRST = (
    "| 2031-01-02 | `made_up_H8L2C4_20310102_030405` | H8 **L2** C4 | Toy (1x) | A | **40** | None | MLM 2.5 |"
    " **3 / 4** (75%) | **MRPC:** 50.1% <br> **STS-B:** 0.25 | 2.5 | [run](https://w/1) | `abc` | Fine \\| good. |"
)
SECOND = "| 2031-01-03 | `made_up_diffusion` | H8 | Toy | B | 20 | None | CE 2.9 / 1.4 | TBD | -- | -- | — | — | Bad. |"


def table(folder, *rows, heading=HEADING, rule=RULE):
    file = folder / "log.md"
    file.write_text("\n".join(["# Log", "", "| a | b |", "|---|---|", "| 1 | 2 |", "", heading, rule, *rows, ""]))
    return file


def test_cells_are_plain_text_under_our_columns_and_numbers_where_there_is_one(tmp_path):
    import_table(tmp_path, table(tmp_path, FIRST, SECOND), "ada")
    first, second = imported_rows(tmp_path)
    assert first.cells == {
        "date": "2031-01-02", "run": "made_up_H8L2C4_20310102_030405", "architecture": "H8 L2 C4", "data": "Toy (1x)",
        "machine": "A", "epochs": "40", "losses": "None", "task_loss": "MLM 2.5", "nuclear_rank": "3 / 4 (75%)",
        "scores": "MRPC: 50.1%\nSTS-B: 0.25", "speed": "2.5 steps/s", "link": "run: https://w/1", "code": "abc",
        "conclusion": "Fine | good.", "state": "imported",
    }  # fmt: skip
    assert first.numbers == {"epochs": 40.0, "task_loss": 2.5, "nuclear_rank": 3.0}
    assert second.numbers == {"epochs": 20.0}
    assert "scores" not in second.cells


def test_history_is_one_list_sorted_by_date(tmp_path):
    import_table(tmp_path, table(tmp_path, FIRST, SECOND), "ada")
    assert [row.cells["date"] for row in read([tmp_path])[0]] == ["2031-01-03", "2031-01-02"]


def test_what_was_imported_before_is_imported_once(tmp_path):
    for _ in range(2):
        import_table(tmp_path, table(tmp_path, FIRST, SECOND), "ada")
    before = (tmp_path / FILE).read_bytes()
    import_table(tmp_path, table(tmp_path, SECOND), "ada")
    assert (tmp_path / FILE).read_bytes() == before
    assert len(imported_rows(tmp_path)) == 2


def test_a_row_that_was_changed_meanwhile_has_the_new_cells_and_keeps_both_conclusions(tmp_path):
    import_table(tmp_path, table(tmp_path, FIRST), "ada")
    import_table(tmp_path, table(tmp_path, FIRST.replace("50.1", "60.2").replace("Fine", "Not so fine")), "bob")
    [row] = imported_rows(tmp_path)
    assert row.cells["scores"].startswith("MRPC: 60.2%")
    assert row.cells["conclusion"] == "Fine | good.\nNot so fine | good."


def test_two_rows_of_one_date_and_name_stay_two(tmp_path):
    import_table(tmp_path, table(tmp_path, FIRST, FIRST.replace("2.5 |", "2.4 |")), "ada")
    assert [row.cells["task_loss"] for row in imported_rows(tmp_path)] == ["MLM 2.5", "MLM 2.4"]


def test_a_column_that_is_none_of_ours_goes_to_the_conclusion(tmp_path):
    heading, row = "| Date | Run | Weather | Conclusion |", "| 2031-01-02 | x | warm | ok |"
    import_table(tmp_path, table(tmp_path, row, heading=heading, rule="|-|-|-|-|"), "ada")
    [row] = imported_rows(tmp_path)
    assert row.cells["conclusion"] == "Weather: warm\nok"


def test_all_faults_of_a_table_are_told_with_their_lines_and_nothing_is_taken(tmp_path):
    with pytest.raises(ValueError, match=r"line 9: 13 cells, but 14 headings(.|\n)*line 11: 15 cells"):
        import_table(tmp_path, table(tmp_path, FIRST.replace("| A |", "|"), SECOND, SECOND + " more |"), "ada")
    with pytest.raises(ValueError, match="has no table with rows below headings Date and Run"):
        import_table(tmp_path, table(tmp_path, heading="| x |", rule="|-|"), "ada")
    assert not (tmp_path / FILE).exists()


def test_a_torn_write_loses_no_row_that_was_there(tmp_path):
    import_table(tmp_path, table(tmp_path, FIRST), "ada")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"event":"row_imp')
    import_table(tmp_path, table(tmp_path, FIRST, SECOND), "ada")
    assert len(imported_rows(tmp_path)) == 2


def test_a_note_on_an_imported_row_is_kept_beside_its_conclusion(tmp_path):
    import_table(tmp_path, table(tmp_path, SECOND), "ada")
    with Ledger(tmp_path / FILE) as ledger:
        ledger.append(Commented(at=0.0, by="bob", text="Too early.", trial="made_up_diffusion"))
    assert imported_rows(tmp_path)[0].cells["conclusion"] == "Bad.\nToo early. (bob, 1970-01-01)"


def test_several_may_import_at_a_time(tmp_path):
    file = table(tmp_path, FIRST, SECOND)
    both = [Process(target=import_table, args=(tmp_path, file, "ada")) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert len(imported_rows(tmp_path)) == 2


def test_the_template_of_names_stays_until_another_is_given(tmp_path):
    assert template_of(tmp_path) == NAMED
    name_runs(tmp_path, "{folder}")
    assert template_of(tmp_path) == "{folder}"
    with pytest.raises(ValueError, match="is no template of names"):
        name_runs(tmp_path, "{x}")
    assert template_of(tmp_path) == "{folder}"
