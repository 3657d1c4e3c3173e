"""What became of a sweep's winners at full size: which runs are due, and whether the proxy had foretold their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from cogito_ray.records.ledger import Promoted
from cogito_ray.records.results.trial_ranking import Row, rank
from cogito_ray.records.sweep_record import Record
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.follow_ups.horizon_rules import RULES
from cogito_ray.sweeps.statistics.rank_agreement import Certificate, certify
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import diff

LENGTHENS = ("training.steps:", "training.batch:")
FOLLOWS = ("training.optimizer", "training.schedule")
"""Settings of a run, and those that should follow from them."""


@dataclass(frozen=True)
class Promotion:
    """A full run that is to be trained."""

    trial: str
    """The one it is derived from."""
    number: int
    run: RunSpec
    changes: tuple[str, ...]
    """How it differs from that trial: `place: old -> new` each, with the rules by which it follows, if any."""

    @property
    def advice(self) -> str:
        """What stays as in the trial though it should not; empty where nothing does."""
        is_longer = any(line.startswith(LENGTHENS) for line in self.changes)
        if not is_longer or any(line.startswith(FOLLOWS) for line in self.changes):
            return ""
        return (
            "learning rate, weight decay and warm-up stay those of the shorter trial; set them under promote.with, or "
            f"let rules derive them: promote: {{rules: [{', '.join(RULES)}]}}"
        )


def promotions(sweep: SweepSpec, record: Record) -> list[Promotion]:
    """Of the best trials, best first. ValueError where there are none, or where more would differ than is declared."""
    assert sweep.promote is not None
    if not (ranked := winners(sweep, record)):
        raise ValueError("no trial of this sweep has a rank, so there is none to promote; run it to its end first")
    found = []
    for row in ranked:
        trial = record.trials[row.trial]
        rules = sweep.promote.reasons(sweep.search_space, trial.sample)
        for tree in sweep.promote.trees(sweep.search_space, trial.sample):
            run = RunSpec.model_validate(tree)
            changes = diff(trial.spec, run.model_dump(mode="json"))
            if undeclared := sweep.promote.undeclared(changes, sweep.search_space):
                raise ValueError(
                    f"promote: a full run would differ from trial {row.number} in what promote does not declare: "
                    f"{'; '.join(undeclared)}. Declare it there, or run the sweep again with this version"
                )
            told = (_with_rules(line, rules) for line in changes)
            found.append(Promotion(row.trial, row.number, run, tuple(told)))
    return found


def _with_rules(line: str, rules: Mapping[str, list[str]]) -> str:
    names = rules.get(line.partition(":")[0])
    return f"{line} (by {' and '.join(names)})" if names else line


def winners(sweep: SweepSpec, record: Record) -> list[Row]:
    """The trials that `promote` takes, best first; none where it is not there, or nothing has a rank."""
    top = sweep.promote.top if sweep.promote else 0
    return [row for row in rank(record).rows if row.rank is not None][:top]


def certificates(record: Record) -> dict[str, Certificate]:
    """For each goal, whether the trials' order foretold that of their full runs (means over seeds)."""
    rows = {row.trial: row for row in rank(record).rows}
    done: dict[str, list[Promoted]] = {}
    for promoted in record.promoted.values():
        if promoted.complete and promoted.trial in rows:
            done.setdefault(promoted.trial, []).append(promoted)
    found = {}
    for goal in record.goals:
        proxy = {name: goal.cost(_known(rows[name].values)) for name in done}
        full = {name: fmean(goal.cost(promoted.metrics) for promoted in runs) for name, runs in done.items()}
        found[goal.metric] = certify(proxy, full)
    return found


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
