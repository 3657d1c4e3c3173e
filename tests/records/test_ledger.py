"""The ledger: nothing that was appended is lost, a truncated line is passed over, damage is not."""

import errno
import json
import math
import os
import signal
import subprocess
import sys

import pytest

from cogito_ray.records.ledger import (
    FORMAT,
    Ledger,
    LedgerFault,
    LedgerReader,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
    TruncatedLine,
    events,
)
from cogito_ray.records.provenance import Provenance

ORIGIN = Provenance(commit=None, dirty=False, versions={"python": "3.11"}, host="here")
OPENED = SweepOpened(at=1.0, spec={"name": "s"}, sweep="abc", provenance=ORIGIN)
STARTED = TrialStarted(at=2.0, trial="t0", number=0, sample={"model.width": 8, "x": None}, spec={"seed": 0})
REPORTED = Reported(trial="t0", step=5, seconds=1.5, metrics={"eval/reconstruction_nats": 7.25})
ENDED = TrialEnded(at=4.0, trial="t0", status="stopped", step=5, cause="rung 5")
ALL = [OPENED, STARTED, REPORTED, ENDED, SweepClosed(at=5.0, cause="done")]


def test_events_come_back_as_they_were_appended(tmp_path):
    with Ledger(tmp_path / "deep" / "ledger.jsonl") as ledger:
        for event in ALL:
            ledger.append(event)
        assert events(ledger.path) == ALL


def test_an_event_is_one_line_whatever_it_says(tmp_path):
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(TrialEnded(at=0.0, trial="t", status="failed", step=0, cause="two\nlines\u2028and ünï"))
    assert (tmp_path / "ledger.jsonl").read_bytes().count(b"\n") == 1
    assert events(tmp_path / "ledger.jsonl")[0].cause == "two\nlines\u2028and ünï"


def test_what_is_not_finite_survives(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(Reported(trial="t", step=1, seconds=0.0, metrics={"a": math.nan, "b": math.inf, "c": -math.inf}))
    metrics = events(path)[0].metrics
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize("kept", [1, 7, 30])
def test_a_torn_last_line_is_passed_over_and_the_next_event_starts_a_line(tmp_path, kept):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(OPENED)
    whole = path.read_bytes()
    path.write_bytes(whole + STARTED.model_dump_json().encode()[:kept])
    assert events(path) == [OPENED]
    with Ledger(path) as ledger:
        ledger.append(STARTED)
    assert events(path) == [OPENED, TruncatedLine(), STARTED]
    assert path.read_bytes().startswith(whole)


def test_an_event_that_lacks_only_its_line_end_counts(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(OPENED.model_dump_json().encode())
    with Ledger(path) as ledger:
        ledger.append(STARTED)
    assert [event for event in events(path) if not isinstance(event, TruncatedLine)] == [OPENED, STARTED]


def test_a_repair_that_was_torn_itself_is_repaired(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(OPENED.model_dump_json().encode() + b'\n{"event":"rep\n{"event":"to')
    with Ledger(path):
        pass
    assert events(path) == [OPENED, TruncatedLine()]


def test_damage_in_the_middle_is_named_and_not_passed_over(tmp_path):
    path = tmp_path / "ledger.jsonl"
    lines = [event.model_dump_json() for event in ALL]
    lines[2] = lines[2][:20] + lines[2][25:]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LedgerFault, match=r"ledger\.jsonl: line 3 is damaged"):
        events(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"trial_teleported","at":3.0}',
        REPORTED.model_dump_json()[:-1] + ',"colour":"red"}',
        OPENED.model_copy(update={"format": FORMAT + 1}).model_dump_json(),
        OPENED.model_dump_json()[:-1].replace(f'"format":{FORMAT}', f'"format":{FORMAT + 1},"at":"noon"') + "}",
    ],
    ids=["event", "field", "format", "format and another type"],
)
def test_what_a_newer_version_wrote_is_not_called_damage(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    opened, started, ended = (event.model_dump_json() for event in (OPENED, STARTED, ENDED))
    path.write_text("\n".join([opened, started, line, ended]) + "\n")
    with pytest.raises(LedgerFault, match=r"line 3 was written by a newer version .* upgrade"):
        events(path)


def test_of_several_damaged_lines_the_first_is_named(tmp_path):
    path = tmp_path / "ledger.jsonl"
    lines = [event.model_dump_json() for event in ALL]
    path.write_text("\n".join([lines[0], "{", "{", *lines[1:]]) + "\n")
    with pytest.raises(LedgerFault, match="line 2 is damaged"):
        events(path)


def test_a_line_that_the_system_takes_in_pieces_is_written_whole(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:7]))
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(OPENED)
    assert events(tmp_path / "ledger.jsonl") == [OPENED]


def test_writers_side_by_side_lose_nothing_of_each_other(tmp_path):
    code = (
        "import sys; from cogito_ray.records.ledger import Ledger, SweepClosed\n"
        "with Ledger(sys.argv[1]) as ledger:\n"
        "    for n in range(50): ledger.append(SweepClosed(at=n, cause='x' * 9000))"
    )
    path, mine = tmp_path / "ledger.jsonl", 0
    with Ledger(path) as ledger:
        ledger.append(OPENED)
        other = subprocess.Popen([sys.executable, "-c", code, str(path)])
        while other.poll() is None:
            ledger.append(STARTED)
            mine += 1
            assert events(path)[0] == OPENED    # whatever is half written just now
    told = events(path)
    assert [event.at for event in told if isinstance(event, SweepClosed)] == list(range(50))
    assert (told.count(STARTED), len(told)) == (mine, mine + 51)


def test_a_line_that_another_writer_left_torn_does_not_damage_the_next_one(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(OPENED)
        with path.open("ab") as other:
            other.write(REPORTED.model_dump_json().encode()[:30])
        ledger.append(STARTED)
        ledger.append(ENDED)
    assert events(path) == [OPENED, TruncatedLine(), STARTED, ENDED]


def test_an_event_for_which_there_was_no_room_does_not_damage_the_next_one(tmp_path, monkeypatch):
    path, write = tmp_path / "ledger.jsonl", os.write

    def full(file, line):
        if len(line) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, line[:20])

    with Ledger(path) as ledger:
        ledger.append(OPENED)
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(OSError, match="No space left"):
                ledger.append(STARTED)
        ledger.append(ENDED)
    assert events(path) == [OPENED, TruncatedLine(), ENDED]


def test_a_killed_writer_loses_nothing_it_had_appended(tmp_path):
    path = tmp_path / "ledger.jsonl"
    code = (
        "import sys; from cogito_ray.records.ledger import Ledger, SweepClosed\n"
        "ledger = Ledger(sys.argv[1])\n"
        "for n in range(10**9): ledger.append(SweepClosed(at=n, cause='x')); print(n, flush=True)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    said = [int(writer.stdout.readline()) for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    said += [int(line) for line in writer.communicate()[0].split() if line]
    with Ledger(path) as ledger:
        written = [event.at for event in events(ledger.path) if isinstance(event, SweepClosed)]
    assert written[: len(said)] == said
    assert len(written) <= len(said) + 1


def test_a_reader_that_follows_reads_every_event_once_wherever_it_finds_the_end(tmp_path):
    with Ledger(tmp_path / "whole.jsonl") as ledger:
        ledger.append(OPENED)
        os.truncate(ledger.path, ledger.path.stat().st_size - 7)    # a crash
        for event in ALL:
            ledger.append(event)
    content = ledger.path.read_bytes()
    follower, found = LedgerReader(growing := tmp_path / "ledger.jsonl"), []
    for end in range(len(content) + 1):
        growing.write_bytes(content[:end])
        found += follower.read()
    assert found == events(ledger.path) == [TruncatedLine(), *ALL]
    assert follower.offset == len(content)
    assert follower.read() == []


def test_a_reader_that_follows_tells_of_damage_however_often_it_is_asked(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.append(OPENED)
        follower = LedgerReader(path)
        assert follower.read() == [OPENED]
        path.write_bytes(path.read_bytes() + b"{damaged}\n")
        assert follower.read() == []    # as long as a crash may have cut it short
        ledger.append(STARTED)
        for _ in range(2):
            with pytest.raises(LedgerFault, match="line 2 is damaged"):
                follower.read()
    path.write_bytes(b"")
    with pytest.raises(LedgerFault, match="has become shorter"):
        follower.read()


@pytest.mark.parametrize("written", [{"format": FORMAT - 1}, {}], ids=["said", "of 0.1"])
def test_what_an_earlier_version_wrote_is_refused_with_a_way_out(tmp_path, written):
    tree = OPENED.model_dump(mode="json", exclude={"format"}) | written
    (tmp_path / "ledger.jsonl").write_text(json.dumps(tree) + "\n")
    with pytest.raises(LedgerFault, match=r"line 1 was written by an earlier version .* under another name"):
        events(tmp_path / "ledger.jsonl")
