"""An interrupted search is the same search: a driver is killed after every write of its ledger, and given again."""

import math
from collections import Counter
from pathlib import Path

import pytest
from corpora import unread_run

from cogito_ray.records.ledger import (
    NAME,
    GridPointExhausted,
    Ledger,
    SampleRejected,
    SweepOpened,
    TrialEnded,
    TrialProposed,
    events,
)
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.search.trial_state_machine import Phase
from cogito_ray.runtime.trial_recorder import TrialRecorder, paused, progress
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven, opening

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE = [{"metric": NATS, "mode": "min"}]
RATE, LEARNING = "objective.rate", "training.optimizer.learning_rate"
STEPS, EVERY = 80, 20
SPACE = {RATE: {"uniform": [0.3, 0.9]}, LEARNING: {"loguniform": [1e-4, 1e-2]}}


def sweep(**changed):
    run = unread_run(steps=STEPS, report_every=EVERY, batch=8, checkpoints={"milestone_every": EVERY})
    tree = {"name": "tiny", "run": run, "space": SPACE, "goals": ONE, "budget": {"trials": 6}}
    return SweepSpec.model_validate(tree | changed)


def curve(sample, step):
    """Curves that cross: a high rate falls faster."""
    rate, off = sample[RATE], abs(math.log10(sample[LEARNING]) + 3)
    return {NATS: 5 + rate * (1 - step / 40) + off / 9, RANK: 10 * rate}


class Machine:
    """A folder with a ledger, and the checkpoints of its trials."""

    def __init__(self, spec, folder, workers=1):
        self.spec, self.path, self.workers = spec, folder / NAME, workers
        self.checkpoints = set()
        self.before = []
        """Before each write: the length of the ledger, the checkpoints, and the line that was about to be written."""

    def drive(self):
        """One driver, to the end of the search."""
        with Ledger(self.path) as ledger:

            def append(event):
                line = event.model_dump_json().encode()
                self.before.append((self.path.stat().st_size, {*self.checkpoints}, line))
                ledger.append(event)

            append(opening(self.spec))
            history = events(self.path)
            recorder = TrialRecorder(append, self.path.parent / "trials", fold(history))
            self.work(Search(self.spec, recorder, history, written=lambda *place: place in self.checkpoints))

    def killed_after(self, writes, folder):
        """As if its only driver had been killed after so many writes, in the middle of the next where that is odd.

        What a process has written by then is no other than what one that lives on has.
        """
        folder.mkdir()
        other = Machine(self.spec, folder, self.workers)
        size, other.checkpoints, line = self.before[writes]
        truncated = line[: len(line) // 2] if writes % 2 else b""
        other.path.write_bytes(self.path.read_bytes()[:size] + truncated)
        return other

    def work(self, search):
        """Workers take turns, and write a checkpoint after each report."""
        running = []
        while True:
            while len(running) < self.workers and isinstance(config := search.suggest(), dict):
                search.started(config)
                begun = config["run"].get("branch", {"step": 0})["step"]
                written = [step for name, step in self.checkpoints if name == config["trial"]]
                running.append((config, max([begun, *written])))
            if not running:
                return
            config, step = running.pop(0)
            if step == STEPS:                                       # it came to its end before the kill
                search.ended(config, None)
                continue
            step += EVERY
            result = progress(step, curve(config["sample"], step))
            verdict = search.report(config, result)
            if verdict.keep or verdict.waits:
                self.checkpoints.add((config["trial"], step))
            if verdict.keep and step < STEPS:
                running.append((config, step))
            else:
                search.ended(config, paused(step) if verdict.waits else result)

    def told(self):
        return [event for event in events(self.path) if not isinstance(event, SweepOpened)]

    def members(self):
        """Proposals that are no copies."""
        return [event for event in self.told() if isinstance(event, TrialProposed) and event.copy_number is None]

    def trials(self):
        """What became of every trial, in the order of their proposal."""
        trials = fold(events(self.path)).trials
        return [(t.id, t.number, t.sample, t.status, t.step, t.cause, t.curve(NATS), t.branch) for t in trials.values()]


def undisturbed(spec, folder, workers):
    machine = Machine(spec, folder / "straight", workers)
    machine.drive()
    return machine


POLICIES = {
    "none": {"kind": "none"},
    "stop": {"kind": "asha", "first_rung": 20, "eta": 2, "mode": "stop"},
    "pause": {"kind": "asha", "first_rung": 20, "eta": 2, "mode": "pause"},
    "hyperband": {"kind": "hyperband", "first_rung": 20, "eta": 2, "mode": "pause"},
    "population": {"kind": "population", "every": 20},
}
START = [{RATE: 0.5}, {RATE: 0.6}, {RATE: 0.7}]


@pytest.mark.parametrize("policy", POLICIES)
def test_killed_after_any_write_a_search_of_one_trial_at_a_time_is_the_undisturbed_one(policy, tmp_path):
    spec = sweep(early_stopping=POLICIES[policy], search={"start_with": START[:2], "seed": 1}, budget={"trials": 4})
    straight = undisturbed(spec, tmp_path, workers=1)
    assert [event.sample[RATE] for event in straight.members()][:2] == [0.5, 0.6]
    assert len(straight.members()) == 4
    ends = {event.status for event in straight.told() if isinstance(event, TrialEnded)}
    copied = any(event.copy_number is not None for event in straight.told() if isinstance(event, TrialProposed))
    assert policy == "none" or copied or "stopped" in ends
    for writes in range(len(straight.told()) + 1):
        killed = straight.killed_after(writes, tmp_path / f"{writes}")
        killed.drive()
        assert killed.trials() == straight.trials(), writes


@pytest.mark.parametrize("policy", POLICIES)
def test_killed_after_any_write_with_two_trials_at_a_time_none_is_lost_and_none_is_run_twice(policy, tmp_path):
    spec = sweep(early_stopping=POLICIES[policy], search={"start_with": START, "seed": 1}, budget={"trials": 5})
    straight = undisturbed(spec, tmp_path, workers=2)
    curves = {trial[0]: dict(trial[6]) for trial in straight.trials()}
    for writes in range(0, len(straight.told()) + 1, 3):             # with and without a truncated line, at every kind
        killed = straight.killed_after(writes, tmp_path / f"{writes}")
        killed.drive()
        proposed = [event for event in killed.told() if isinstance(event, TrialProposed)]
        assert [event.number for event in proposed] == [*range(len(proposed))]
        assert len(killed.members()) == 5
        assert [event.sample[RATE] for event in killed.members()][:3] == [0.5, 0.6, 0.7]
        ends = Counter(event.trial for event in killed.told() if isinstance(event, TrialEnded))
        assert ends == Counter(event.trial for event in proposed)
        for name, *_, told, _ in killed.trials():
            both = dict(told).keys() & curves.get(name, {}).keys()
            assert all(dict(told)[step] == curves[name][step] for step in both)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("policy", ["pause", "hyperband", "population"])
def test_a_search_that_was_lived_through_stands_where_its_replayed_ledger_does(policy, seed):
    """Whoever is to wait takes three more turns to pause, while others report and may promote it."""
    spec = sweep(early_stopping=POLICIES[policy], budget={"trials": 12}, search={"seed": seed})
    log, running, steps = [opening(spec)], [], {}
    search = Search(spec, TrialRecorder(log.append, Path("nowhere")), list(log))
    while True:
        while len(running) < 4 and isinstance(config := search.suggest(), dict):
            search.started(config)
            steps.setdefault(config["trial"], config["run"].get("branch", {"step": 0})["step"])
            running.append((config, 0))
        if not running:
            assert all(phase is Phase.OVER for phase in search.phases.values())
            return
        config, pausing = running.pop(0)
        name = config["trial"]
        if pausing == 3:
            search.ended(config, paused(steps[name]))
        elif pausing:
            running.append((config, pausing + 1))
        else:
            steps[name] += EVERY
            result = progress(steps[name], curve(config["sample"], steps[name]))
            verdict = search.report(config, result)
            if verdict.waits or (verdict.keep and steps[name] < STEPS):
                running.append((config, int(verdict.waits)))
            else:
                search.ended(config, result)
        replayed = Search(spec, TrialRecorder(log.append, Path("nowhere")), list(log), written=lambda *place: False)
        lived = {name: Phase.DUE if phase is Phase.RUNNING else phase for name, phase in search.phases.items()}
        assert replayed.phases == lived


CONDITIONAL = {
    "model.latents": {"preset": {"plain": {"kind": "plain"}, "anchored": {"kind": "anchored"}}},
    RATE: {"uniform": [0.3, 0.9], "when": {"model.latents": "anchored"}},
    LEARNING: {"loguniform": [1e-4, 1e-2]},
}
FEW = {RATE: {"choice": [0.3, 0.5, 0.7]}, LEARNING: {"choice": [0.001, 0.002, 0.003]}}
VARIANTS = {
    "tpe, with a point to start with": {"search": {"start_with": START[:1]}},
    **{f"{kind}, few points": {"search": {"sampler": kind}, "space": FEW} for kind in ("tpe", "nsga2", "random")},
    **{f"{kind}, for long": {"search": {"sampler": kind, "start_with": START[:1]}, "budget": {"trials": 24}}
       for kind in ("nsga2", "cmaes")},
    "tpe, conditional, for long": {"space": CONDITIONAL, "budget": {"trials": 24}},
    "tpe, crossed": {"space": SPACE | {"model.concepts": {"grid": [4, 8]}}},
    "grid": {"search": {"sampler": "grid"}, "space": FEW, "budget": {"trials": 9}},
}
MADE = (TrialProposed, SampleRejected, GridPointExhausted)


def walked(spec):
    """The ledger of a search with three trials under way at a time, which end in another order than they began."""
    search, running = Driven(spec), []
    for number in range(60):
        if isinstance(config := search.suggest(f"t{number}"), dict):
            running.append((f"t{number}", config))
        if not running:
            return search.log
        if len(running) == 3 or not isinstance(config, dict):
            name, config = running.pop(number * 7 % len(running))
            stopped = config["number"] % 4 == 1
            for step in (EVERY, STEPS)[: 1 if stopped else 2]:
                metrics = curve({RATE: 0.5} | config["sample"], step)
                search.report(name, step, metrics)
            search.end(name, progress(step, metrics))
    raise AssertionError("60 turns did not end it")


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_proposed_next_follows_from_the_seed_and_the_ledger_alone(variant):
    spec = sweep(**{"budget": {"trials": 10}} | VARIANTS[variant])
    log = walked(spec)
    assert sum(isinstance(event, TrialProposed) for event in log) >= 9
    for index, event in enumerate(log):
        if isinstance(event, MADE):
            again = log[:index]
            search = Search(spec, TrialRecorder(again.append, Path("nowhere")), log[:index])
            while len(again) == index and isinstance(search.suggest(), dict):
                """Those under way come first."""
            assert again[index].model_copy(update={"at": event.at}) == event
