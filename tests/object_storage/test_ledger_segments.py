"""Ledgers of which every line is an object, under several writers, faults and kills."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cogito_ray.object_storage.driver_lease import refresh_all
from cogito_ray.object_storage.object_store import ObjectStore
from cogito_ray.object_storage.storage_mirror import MARKER, join, mirror_of, upload
from cogito_ray.records.ledger import NAME, Ledger, LedgerReader, Noted, events


@pytest.fixture
def machine(s3, tmp_path):
    """Makes the ledger of one more machine's mirror of the same storage."""

    def ledger(name):
        join(tmp_path / name, f"s3://bucket/{tmp_path.name}")
        (tmp_path / name / "run").mkdir(exist_ok=True)
        return tmp_path / name / "run" / NAME

    return ledger


def note(text):
    return Noted(trial="t", step=0, note=text)


def notes(path):
    return [event.note for event in events(path)]


def test_what_was_appended_on_one_machine_is_read_on_another(machine):
    with Ledger(machine("a")) as ledger:
        ledger.append(note("one"))
        assert notes(machine("b")) == ["one"]
        ledger.append(note("two"))
    assert notes(machine("b")) == notes(machine("a")) == ["one", "two"]


def test_a_reader_follows_a_ledger_of_another_machine(machine):
    with Ledger(machine("a")) as ledger:
        ledger.append(note("one"))
        reader = LedgerReader(machine("b"))
        assert reader.read() == [note("one")]
        ledger.append(note("two"))
        assert reader.read() == [note("two")]


def test_appends_of_several_machines_at_once_come_in_one_order_for_all(machine):
    def append(name):
        with Ledger(machine(name)) as ledger:
            for number in range(8):
                ledger.append(note(f"{name}{number}"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, "abc"))
    found = notes(machine("a"))
    assert found == notes(machine("b")) == notes(machine("c")) == notes(machine("d"))
    assert sorted(found) == sorted(f"{name}{number}" for name in "abc" for number in range(8))
    assert [one for one in found if one[0] == "b"] == [f"b{number}" for number in range(8)]


def test_a_kill_between_the_object_and_the_file_loses_and_doubles_nothing(machine):
    file = machine("a")
    with Ledger(file) as ledger:
        ledger.append(note("one"))
        whole = file.read_bytes()
        ledger.append(note("two"))
    for torn in (whole, file.read_bytes()[:-7]):
        file.write_bytes(torn)
        with Ledger(file) as ledger:
            ledger.append(note("three"))
    assert notes(file) == ["one", "two", "three", "three"]


def test_a_mirror_that_was_deleted_comes_back_whole(machine):
    with Ledger(machine("a")) as ledger:
        for number in range(5):
            ledger.append(note(str(number)))
    shutil.rmtree(machine("a").parent)
    with Ledger(machine("a")) as ledger:
        ledger.append(note("5"))
    assert notes(machine("a")) == list("012345")


def test_a_mirror_that_is_ahead_of_its_storage_is_refused(machine):
    file = machine("a")
    with Ledger(file) as ledger:
        ledger.append(note("one"))
    mirror = mirror_of(file)
    [name] = mirror.store.sizes("run")
    mirror.store.remove(name)
    with Ledger(machine("b")) as other:
        other.append(note("2"))
    with pytest.raises(ValueError, match="is ahead of"):
        events(file)


@pytest.mark.parametrize("fault", ["slow_s", "fails_every", "resets_every"])
def test_faults_of_the_store_cost_time_alone(machine, s3, fault):
    setattr(s3, fault, 0.02 if fault == "slow_s" else 3)
    with Ledger(machine("a")) as ledger:
        for number in range(4):
            ledger.append(note(str(number)))
    assert notes(machine("b")) == list("0123")


def test_a_store_that_is_gone_for_a_while_is_waited_for(machine, s3):
    with Ledger(machine("a")) as ledger:
        ledger.append(note("one"))
        with s3.gone(1.0):
            ledger.append(note("two"))
    assert notes(machine("b")) == ["one", "two"]


def test_a_store_that_stays_away_is_named_with_a_way_out(s3):
    s3.resets_every = 1
    with pytest.raises(OSError, match=r"s3://bucket/x: could not be reached for 0 s: .*give the same command again"):
        ObjectStore("s3://bucket/x", patience_s=0.0).read("y")


@pytest.mark.parametrize("url", ["hf://datasets/us/runs", "ftp://host/runs", "http://host/runs"])
def test_a_store_that_no_driver_can_hold_alone_is_refused(url):
    with pytest.raises(ValueError, match="no storage that a driver could hold alone; use s3, gs, gcs"):
        ObjectStore(url).read("x")


def test_every_ledger_of_a_storage_is_found_from_an_empty_mirror_beside_its_pages(machine):
    with Ledger(machine("a")) as ledger:
        ledger.append(note("one"))
    (page := machine("a").parents[1] / "notebook.md").write_text("a page")
    upload(page)
    storage = machine("b").parents[1]
    refresh_all(storage)
    assert [file.relative_to(storage) for file in storage.glob("*/*.jsonl")] == [Path("run", NAME)]


def test_a_plain_folder_has_no_store(tmp_path):
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(note("one"))
    assert mirror_of(tmp_path) is None
    assert not (tmp_path / MARKER).exists()
