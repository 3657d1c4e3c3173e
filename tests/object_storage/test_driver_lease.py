"""One driver at a time, whatever becomes of it, of its machine and of the store."""

import json
import subprocess
import threading

import pytest

from cogito_ray.object_storage import driver_lease, object_store
from cogito_ray.object_storage.driver_lease import _process, lease_of
from cogito_ray.object_storage.storage_mirror import join, mirror_of
from cogito_ray.records.file_locks import Busy
from cogito_ray.records.ledger import NAME, Ledger, Noted, events


@pytest.fixture
def machine(s3, tmp_path, monkeypatch):
    """Makes the ledger of one more machine's mirror of the same storage."""
    monkeypatch.setattr(driver_lease, "LEASE_S", 6.0)

    def ledger(name):
        join(tmp_path / name, f"s3://bucket/{tmp_path.name}")
        (tmp_path / name / "run").mkdir(exist_ok=True)
        return tmp_path / name / "run" / NAME

    return ledger


@pytest.fixture
def strangers(monkeypatch):
    """Nobody knows whether a process of another one lives."""
    monkeypatch.setattr(driver_lease, "_lives", lambda process: None)


def held(ledger, who="a driver", lost=lambda: None):
    return lease_of(ledger).held(who, lost)


def note(text):
    return Noted(trial="t", step=0, note=text)


@pytest.mark.usefixtures("strangers")
def test_a_second_driver_is_refused_with_the_name_of_the_first_while_that_renews(machine):
    with held(machine("a"), "the first"):
        assert lease_of(machine("b")).holder() == "the first"
        with pytest.raises(Busy, match="the first"), held(machine("b")):
            pass
    assert lease_of(machine("b")).holder() == ""


def test_a_living_driver_of_this_machine_is_refused_at_once(machine, monkeypatch):
    monkeypatch.setattr(driver_lease, "LEASE_S", 1000.0)
    with held(machine("a")), pytest.raises(Busy), held(machine("b")):
        pass


def test_one_that_ended_makes_room_at_once(machine, monkeypatch):
    monkeypatch.setattr(driver_lease, "LEASE_S", 1000.0)
    for name in "aba":
        with held(machine(name)), Ledger(machine(name)) as ledger:
            ledger.append(note(name))
    assert [event.note for event in events(machine("c"))] == list("aba")


def test_of_several_that_start_at_once_one_drives(machine):
    together, outcomes = threading.Barrier(4), []

    def drive(ledger):
        together.wait()
        try:
            with held(ledger):
                outcomes.append("drives")
                together.wait()
        except Busy:
            outcomes.append("refused")
            together.wait()

    threads = [threading.Thread(target=drive, args=[machine(name)]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["drives", "refused", "refused", "refused"]


def test_one_that_was_killed_on_this_machine_makes_room_at_once(machine, monkeypatch):
    monkeypatch.setattr(driver_lease, "LEASE_S", 1000.0)
    store, name = mirror_of(machine("a")).store, "run/drivers/00000001/taken"
    with subprocess.Popen(["sleep", "60"]) as process, held(machine("a")):
        store.write(name, json.dumps({**json.loads(store.read(name)), "process": _process(process.pid)}).encode())
        with pytest.raises(Busy), held(machine("b")):
            pass
        process.kill()
        process.wait()
        with held(machine("b")):
            pass


@pytest.mark.usefixtures("strangers")
def test_one_that_stood_still_is_taken_over_from_and_appends_nothing_more(machine, monkeypatch):
    monkeypatch.setattr(driver_lease, "LEASE_S", 0.5)
    monkeypatch.setattr(driver_lease.DriverLease, "_renew", lambda *given: None)     # stands still
    old = machine("a")
    with held(old), Ledger(old) as ledger:
        ledger.append(note("old"))
        with held(machine("b")), Ledger(machine("b")) as other:
            with pytest.raises(Busy, match="another driver took over"):
                ledger.append(note("too late"))
            other.append(note("new"))
    assert [event.note for event in events(machine("c"))] == ["old", "new"]


@pytest.mark.usefixtures("strangers")
def test_one_that_was_taken_over_from_is_told(machine, monkeypatch):
    lost = threading.Event()
    monkeypatch.setattr(driver_lease.DriverLease, "_is_renewed", lambda *given: False)
    monkeypatch.setattr(driver_lease, "LEASE_S", 0.5)
    with held(machine("a"), lost=lost.set), held(machine("b")):
        assert lost.wait(60)


@pytest.mark.usefixtures("strangers")
def test_a_store_that_is_gone_for_longer_than_a_lease_takes_it_from_nobody(machine, s3, monkeypatch):
    monkeypatch.setattr(driver_lease, "LEASE_S", 0.5)
    lost = threading.Event()
    with held(machine("a"), lost=lost.set), Ledger(machine("a")) as ledger:
        with s3.gone(0.8):
            ledger.append(note("meanwhile"))
        monkeypatch.setattr(driver_lease, "LEASE_S", 6.0)
        assert not lost.is_set()
        with pytest.raises(Busy), held(machine("b")):
            pass


def test_a_store_that_overwrites_what_was_to_be_created_is_refused(machine, monkeypatch):
    def overwrite(self, name, content):
        self.write(name, content)
        return True

    monkeypatch.setattr(object_store.ObjectStore, "create", overwrite)
    with pytest.raises(ValueError, match="a second driver could not be kept out"), held(machine("a")):
        pass
