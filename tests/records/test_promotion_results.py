"""Promoted runs: derived from the ranking, and compared with what the proxy had foretold."""

import pytest

from cogito_ray.records.ledger import (
    NAME,
    Ledger,
    Promoted,
    PromotionCertified,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
    events,
)
from cogito_ray.records.pages.report_page import write
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.promotion_results import certificates, promotions
from cogito_ray.records.sweep_record import fold, read
from cogito_ray.sweeps.sweep_spec import SweepSpec

NATS = "eval/reconstruction_nats"
SWEEP = SweepSpec.model_validate(
    {
        "name": "tiny",
        "run": {
            "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 32},
            "model": {"width": 64, "heads": 4, "decoder": {"kind": "position"}},
            "objective": {"kind": "tsdae"},
        },
        "space": {"model.concepts": {"randint": [4, 30]}},
        "goals": [{"metric": NATS, "mode": "min"}],
        "promote": {"top": 2, "with": {"training.steps": 5000}, "seeds": 2},
        "budget": {"trials": 6},
    }
)


def story(values, full=(), status="completed"):
    """Trials with these values, and full runs (number of the trial, value)."""
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    told = [SweepOpened(at=0.0, spec=SWEEP.model_dump(mode="json"), sweep="s", provenance=origin)]
    for number, value in enumerate(values):
        name, sample = f"t{number}", {"model.concepts": 4 + 2 * number}
        tree = SWEEP.trial(sample).model_dump(mode="json")
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample=sample, spec=tree))
        told.append(Reported(trial=name, step=1000, seconds=1.0, metrics={NATS: value}))
        told.append(TrialEnded(at=1.0, trial=name, status=status, step=1000))
    told.append(SweepClosed(at=2.0, cause="complete"))
    for count, (number, value) in enumerate(full):
        told.append(
            Promoted(
                at=9.0, trial=f"t{number}", run=f"f{count}", folder="there", changes=("training.steps: 1000 -> 5000",),
                complete=True, metrics={NATS: value},
            )
        )  # fmt: skip
    return told


def test_the_best_trials_are_due_each_under_every_seed():
    due = promotions(SWEEP, fold(story([5.0, 4.0, 6.0])))
    assert [one.number for one in due] == [1, 1, 0, 0]
    assert {one.run.training.steps for one in due} == {5000}
    assert due[0].changes == ("training.steps: 1000 -> 5000",)
    assert len({one.run.digest() for one in due}) == 4


def test_what_follows_by_a_rule_is_told_with_it():
    rules = SWEEP.promote.model_copy(update={"rules": ("rate_by_tokens", "decay_by_time_scale")})
    due = promotions(SWEEP.model_copy(update={"promote": rules}), fold(story([5.0])))
    assert due[0].changes == (
        "training.steps: 1000 -> 5000",
        "training.optimizer.learning_rate: 0.002 -> 0.001195 (by rate_by_tokens)",
        "training.optimizer.weight_decay: 0.01 -> 0.003347 (by decay_by_time_scale)",
    )
    assert due[0].advice == ""


def test_longer_runs_whose_rate_stays_are_advised_of_the_rules():
    [due, *_] = promotions(SWEEP, fold(story([5.0])))
    assert "let rules derive them: promote: {rules: [rate_by_batch, rate_by_tokens," in due.advice


def test_a_setting_that_has_come_since_the_sweep_ran_is_no_silent_difference():
    told = story([5.0])
    del told[1].spec["training"]["guards"]
    with pytest.raises(ValueError, match=r"promote does not declare: training\.guards"):
        promotions(SWEEP, fold(told))


def test_a_full_run_of_a_copy_starts_at_its_first_step_and_says_so():
    told = story([5.0, 4.0])
    told[4].spec["branch"] = {"run": "t0", "step": 200}
    copied = promotions(SWEEP, fold(told))[0]
    assert (copied.number, copied.run.branch) == (1, None)
    assert set(copied.changes) == {"branch: {run: t0, step: 200} -> (absent)", "training.steps: 1000 -> 5000"}


def test_without_a_ranked_trial_there_is_none_to_promote():
    with pytest.raises(ValueError, match="no trial of this sweep has a rank"):
        promotions(SWEEP, fold(story([5.0], status="stopped")))


def test_the_proxy_is_certified_by_means_over_seeds():
    values = [4.0 + n / 10 for n in range(6)]
    agreed = certificates(fold(story(values, [(n, 2 + n + noise) for n in range(6) for noise in (-0.1, 0.1)])))[NATS]
    assert (agreed.trials, agreed.tau, agreed.weak, agreed.regret) == (6, pytest.approx(1), False, 0)
    reversed_order = certificates(fold(story(values, [(n, 9.0 - n) for n in range(6)])))[NATS]
    assert reversed_order.weak
    assert reversed_order.regret == pytest.approx(5)


def test_too_few_full_runs_are_flagged_in_ledger_and_report(tmp_path):
    told = story([5.0, 4.0], [(1, 3.0), (0, 3.5)])
    [(goal, found)] = certificates(fold(told)).items()
    with Ledger(tmp_path / NAME) as ledger:
        for event in [*told, PromotionCertified.of(goal, found)]:
            ledger.append(event)
    [judged] = [event for event in events(tmp_path / NAME) if isinstance(event, PromotionCertified)]
    assert judged.weak
    assert "too few to tell" in judged.verdict
    assert read(tmp_path / NAME).is_complete
    page = write(tmp_path).read_text()
    assert "Promoted to full size" in page
    assert "too few to tell" in page
