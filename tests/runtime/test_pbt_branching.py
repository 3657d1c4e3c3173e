"""Copies of a population: made once each by the searcher, by a real study, from trials that can be copied."""

import random

import pytest
from corpora import unread_run
from optuna.trial import TrialState
from sweep_simulator import simulate

from cogito_ray.records.pages.report_page import render, saved
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.searcher import FINISHED
from cogito_ray.runtime.trial_recorder import death, progress
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven

NATS = "eval/reconstruction_nats"
RATE = "training.optimizer.learning_rate"
STEPS, EVERY = 100, 50


def sweep(**changed):
    tree = {
        "name": "tiny",
        "run": unread_run(steps=STEPS, batch=8, checkpoints={"milestone_every": EVERY}),
        "space": {RATE: {"loguniform": [1e-4, 1e-2]}, "model.concepts": {"grid": [4, 8]}},
        "goals": [{"metric": NATS, "mode": "min"}],
        "search": {"sampler": "random"},
        "early_stopping": {"kind": "population", "every": EVERY},
        "budget": {"trials": 4},
    }
    return SweepSpec.model_validate(tree | changed)


class Played(Driven):
    def __init__(self, spec=None, log=(), written=lambda trial, step: True):
        super().__init__(spec or sweep(), log, written=written)

    def start(self, number):
        return self.suggest(f"t{number}")

    def report(self, number, config, value, step=EVERY):
        """May it go on? If not, or at its last step, it ends."""
        verdict = super().report(f"t{number}", step, {NATS: value})
        if step == STEPS or not verdict.keep:
            self.end(f"t{number}", progress(step, {NATS: value}))
        return verdict.keep


def two(played):
    """A good trial, and a worse one that is stopped: a copy is due."""
    good, bad = played.start(0), played.start(1)
    assert played.report(0, good, 1.0)
    assert not played.report(1, bad, 2.0)
    return good, bad


def test_a_copy_takes_the_place_of_a_stopped_trial_before_any_new_one():
    played = Played()
    good, bad = two(played)
    made = played.start(2)
    assert made["run"]["branch"] == {"run": good["trial"], "step": EVERY}
    assert made["sample"]["model.concepts"] == good["sample"]["model.concepts"]  # a crossed axis is inherited
    assert made["sample"][RATE] != good["sample"][RATE]
    assert 1e-4 <= made["sample"][RATE] <= 1e-2
    assert made["run"]["training"]["optimizer"]["learning_rate"] == made["sample"][RATE]
    assert len({good["trial"], bad["trial"], made["trial"]}) == 3
    assert [config["number"] for config in (good, bad, made)] == [0, 1, 2]


def test_the_study_knows_a_copy_with_its_settings_and_its_parent():
    played = Played()
    good, _ = two(played)
    made = played.start(2)
    played.report(2, made, 0.5, STEPS)
    told = played.trials[2]
    assert (told.state, told.value, told.params) == (TrialState.COMPLETE, 0.5, {RATE: made["sample"][RATE]})
    assert told.user_attrs["branch"] == {"run": good["trial"], "step": EVERY}
    assert told.intermediate_values == {STEPS: 0.5}


def test_copies_use_up_no_budget_and_grids_go_round_without_them():
    played = Played()
    good, _ = two(played)
    others = [played.start(n) for n in (2, 3, 4)]
    assert played.suggest("t5") is None                     # all are under way
    assert [config["sample"]["model.concepts"] for config in others[1:]] == [4, 8]
    assert ["branch" in config["run"] for config in others] == [True, False, False]
    for number, config in enumerate([good, None, *others]):
        if config:
            played.report(number, config, 1.0 - number / 10, STEPS)
    assert played.exhausted
    assert played.suggest("t6") == FINISHED


def test_a_sweep_that_is_taken_up_again_makes_the_copies_that_are_due_and_none_twice():
    straight = Played()
    two(straight)
    expected = straight.start(2)
    killed = Played()
    two(killed)
    assert not killed.exhausted
    second = Played(log=killed.log)                                # before the copy was made
    assert not second.exhausted
    assert second.start(0)["run"].get("branch") is None            # the good trial goes on first
    made = second.start(2)
    assert made == expected
    third = Played(log=second.log)                                 # while the copy was under way
    again = [third.start(n) for n in range(4)]
    assert again[1] == expected
    assert ["branch" in config["run"] for config in again] == [False, True, False, False]


def test_a_copy_waits_for_the_checkpoint_that_its_parent_writes_after_its_report():
    there = set()
    played = Played(written=lambda trial, step: (trial, step) in there)
    good, _ = two(played)
    assert "branch" not in played.start(2)["run"]                  # a new one meanwhile
    there.add((good["trial"], EVERY))
    assert played.start(3)["run"]["branch"]["run"] == good["trial"]


def test_a_trial_that_died_is_not_copied_but_the_next_best_is():
    played = Played()
    configs = [played.start(n) for n in range(3)]
    second, best, worst = configs
    assert played.report(0, second, 2.0)
    assert played.report(1, best, 1.0)
    assert not played.report(2, worst, 3.0)
    played.end("t1", death(60, "gradient norm 947 at step 60"))
    assert played.start(3)["run"]["branch"]["run"] == second["trial"]


def test_where_nobody_is_left_to_copy_the_place_stays_empty():
    played = Played(sweep(budget={"trials": 2}))
    two(played)
    played.end("t0", death(60, "gradient norm 947 at step 60"))
    assert played.start(2) == FINISHED
    assert played.exhausted


def test_copies_of_few_settings_never_repeat_a_trial_nor_their_parent():
    space = {"objective.rate": {"choice": [0.3, 0.6, 0.9]}, "model.concepts": {"choice": [4, 8]}}
    played = Played(sweep(space=space, early_stopping={"kind": "population", "every": EVERY, "resample": 1.0}))
    first = played.start(0)
    assert played.report(0, first, 0.0)
    others = [played.start(n) for n in (1, 2, 3)]
    assert [played.report(n, config, float(n)) for n, config in enumerate(others, start=1)] == [False] * 3
    copies = [config for n in (4, 5, 6) if isinstance(config := played.start(n), dict)]
    assert len(copies) == 2                                        # three rates, one of them the parent's
    assert {config["sample"]["objective.rate"] for config in copies} == {0.3, 0.6, 0.9} - {
        first["sample"]["objective.rate"]
    }
    assert {config["run"]["branch"]["run"] for config in copies} == {first["trial"]}


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_every_line_of_descent_takes_all_its_steps_and_no_more(workers):
    spec = sweep(budget={"trials": 8})
    ended = simulate(spec, lambda sample, step: {NATS: sample[RATE] + 1 / step}, workers=workers, limit=10**9)
    assert sum(trial.completed for trial in ended) == 8
    assert ended[-1].spent == 8 * STEPS
    assert any(not trial.completed for trial in ended)


def test_ranking_and_report_say_who_is_a_copy_and_no_step_counts_as_spared(tmp_path):
    played = Played(sweep(budget={"trials": 2}))
    good, _ = two(played)
    made = played.start(2)
    played.report(0, good, 0.9, STEPS)
    played.report(2, made, 0.5, STEPS)
    record = fold(played.log)
    ranking = rank(record)
    assert {row.trial: row.copied for row in ranking.rows if row.copied} == {made["trial"]: (0, EVERY)}
    assert saved(ranking) == (0, 2 * STEPS)
    assert f"copy of 0 at {EVERY}" in render(record, tmp_path)


def test_a_population_in_step_holds_no_more_checkpoints_than_it_says_and_none_that_nobody_will_copy():
    """Sixteen trials side by side, nineteen comparisons: copies by the dozen, and never many checkpoints held."""
    every = 5
    run = unread_run(steps=STEPS, report_every=every, batch=8, checkpoints={"milestone_every": every})
    spec = sweep(run=run, early_stopping={"kind": "population", "every": every}, budget={"trials": 16})
    played, draw = Played(spec), random.Random(0)
    under = {number: played.start(number) for number in range(16)}
    started, held = set(under), []
    for step in range(every, STEPS, every):
        for number, config in sorted(under.items()):
            if not played.report(number, config, draw.random(), step):
                del under[number]
        held.append(played.search.sources(fold(played.log)))
        for number in range(len(started), len(started) + 16 - len(under)):
            under[number] = played.start(number)
            started.add(number)
            assert (under[number]["run"]["branch"]["run"], step) in held[-1]
    promised = spec.early_stopping.held(STEPS, trials=16, at_once=16)
    assert len(started) > 60
    assert max(len(sources) for sources in held) <= promised
    assert len(played.search.sources(fold(played.log))) == 0        # all have passed the last comparison


def test_while_a_trial_has_not_come_to_a_step_the_best_there_stay():
    played = Played()
    good, bad = played.start(0), played.start(1)
    assert played.report(0, good, 1.0)
    assert played.search.sources(fold(played.log)) == {(good["trial"], EVERY)}
    assert not played.report(1, bad, 2.0)
    made = played.start(2)
    played.log.pop()                                                 # handed out, but not in the ledger yet
    assert played.search.sources(fold(played.log)) == {(made["run"]["branch"]["run"], EVERY)}
