"""A process that stands still ends by itself and says where; one that moves, or was suspended, does not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cogito_ray.training.hang_watchdog import EXIT_STATUS, Stage

BEGIN = """
import ctypes, sys, threading, time
from cogito_ray.training.hang_watchdog import Stage, WorkerProgress, Watchdog
watch = WorkerProgress()
with Watchdog(watch, patience_s={patience}, rank=3, on_stall=lambda said: print(said, flush=True)):
    watch.enter(Stage.{stage}, step=17)
    print("begun", flush=True)
"""


def process(body, *, patience=0.5, stage=Stage.DATA):
    script = BEGIN.format(patience=patience, stage=stage.name) + "".join(f"    {line}\n" for line in body)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(body, **settings):
    """(exit status, what it said, its log)"""
    with process(body, **settings) as running:
        said, log = running.communicate(timeout=60)
    return running.returncode, said.removeprefix("begun\n").strip(), log


@pytest.mark.parametrize("stage", [Stage.DATA, Stage.STEP])
def test_a_feed_that_blocks_ends_the_process_which_names_worker_step_and_stage(stage):
    status, said, log = ended(["threading.Event().wait()"], stage=stage)
    assert status == EXIT_STATUS
    seconds = {Stage.DATA: "0.5", Stage.STEP: "0.625"}[stage]       # a quarter more where it may wait for others
    assert said == f"worker 3 made no progress for {seconds} s after step 17: {stage.text}"
    assert "Thread 0x" in log                                       # where every thread stood


def test_a_process_stuck_with_the_interpreter_locked_ends_too():
    status, _, log = ended(["ctypes.PyDLL(None).sleep(60)"], patience=0.3)
    assert status == 1
    assert "Timeout (0:00:00.75" in log


def test_last_words_that_cannot_be_written_do_not_keep_it_alive():
    body = ["import cogito_ray.training.hang_watchdog as dog", "dog.MESSAGE_TIMEOUT_S = 0.2",
            "Watchdog(WorkerProgress(), patience_s=1.0, rank=0, on_stall=lambda said: time.sleep(60)).__enter__()",
            "time.sleep(60)"]
    status, said, _ = ended(body, patience=30)
    assert (status, said) == (EXIT_STATUS, "")


def test_one_that_moves_is_left_alone():
    moving = ["for step in range(8):", "    time.sleep(0.1); watch.enter(Stage.STEP, step)"]
    assert ended(moving)[:2] == (0, "")


def test_a_process_that_was_suspended_is_not_blamed():
    with process(["time.sleep(0.4)"], patience=1.0) as running:
        assert running.stdout.readline() == "begun\n"
        os.kill(running.pid, signal.SIGSTOP)
        time.sleep(2.0)                                             # less than the timer of the C library, 2.5 s
        os.kill(running.pid, signal.SIGCONT)
        assert running.wait(timeout=60) == 0
