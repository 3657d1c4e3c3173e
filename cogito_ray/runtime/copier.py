"""Copies that a population asks for, as trials of the study: whom each branches off, and with which settings, once."""

import logging
from collections.abc import Callable, Container, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from cogito_ray.run import BranchSpec
from cogito_ray.sweeps.domains import Sample
from cogito_ray.sweeps.explore import explored, movable
from cogito_ray.sweeps.population import Copy
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.sweeps.stopping import Policy

log = logging.getLogger(__name__)
DRAWS = 100
"""Times that a copy's settings may turn out to be those of a trial there is, before its place stays empty."""


class Copier:
    def __init__(self, sweep: SweepSpec, policy: Policy, written: Callable[[str, int], bool]):
        """`written`: has the trial a checkpoint of this step?"""
        self._sweep, self._policy, self._written = sweep, policy, written
        self._given_up: set[int] = set()

    def due(self, told: Sequence[FrozenTrial]) -> list[Copy]:
        """Those to be made still. `told`: every trial of the study that was handed out."""
        made = {trial.user_attrs.get("copy") for trial in told} | self._given_up
        return [copy for copy in self._policy.copies if copy.number not in made]

    def sources(self, told: Sequence[FrozenTrial], started: Container[str]) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) from which the copies go on that have not `started`, made or not."""
        named = {trial.user_attrs["trial"]: trial for trial in told}
        due = {(parent, copy.step) for copy in self.due(told) if (parent := self._parent(copy, named)) is not None}
        fresh = (trial.user_attrs.get("branch") for name, trial in named.items() if name not in started)
        return due | {(branch["run"], branch["step"]) for branch in fresh if branch}

    def next(self, told: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """A copy whose parent has left its checkpoint, if any: a trial for the study that runs."""
        named = {trial.user_attrs["trial"]: trial for trial in told}
        for copy in self.due(told):
            parent = self._parent(copy, named)
            if parent is not None and not self._written(parent, copy.step):
                continue                                               # it trains, and has reported the step just now
            made = None if parent is None else self._made(copy, parent, named)
            if made is not None:
                return made
            self._given_up.add(copy.number)
            log.warning("no copy at step %d: none of %s can be copied", copy.step, ", ".join(copy.parents))
        return None

    def _parent(self, copy: Copy, named: Mapping[str, FrozenTrial]) -> str | None:
        """The first that can be copied, or is about to be: a trial reports before it writes its checkpoint."""
        for name in copy.parents:
            state = named[name].state
            if state is TrialState.RUNNING or (state is not TrialState.FAIL and self._written(name, copy.step)):
                return name
        return None

    def _made(self, copy: Copy, parent: str, named: Mapping[str, FrozenTrial]) -> FrozenTrial | None:
        first, axes, draw = sample_of(named[parent]), movable(self._sweep), copy.draw()
        branch = BranchSpec(run=parent, step=copy.step)
        distributions = {path: drawn for path, drawn in self._sweep.distributions().items() if path in first}
        for _ in range(DRAWS):
            sample = explored(first, axes, copy.resample, draw)
            if sample == first or self._sweep.leaves_out(sample):      # the parent again would learn the same
                continue
            name = self._sweep.trial(sample).model_copy(update={"branch": branch}).digest()
            if name not in named:
                crossed = {path: value for path, value in sample.items() if path not in distributions}
                told = {"place": len(named), "crossed": crossed, "copy": copy.number, "branch": branch.model_dump()}
                return optuna.create_trial(
                    state=TrialState.RUNNING,
                    params={path: sample[path] for path in distributions},
                    distributions=distributions,
                    user_attrs=told | {"trial": name},
                )
        return None


def sample_of(trial: Trial | FrozenTrial) -> Sample:
    """What the sampler drew for a trial that was handed out, and the values of its crossed axes."""
    sample: Sample = trial.params | trial.user_attrs["crossed"]
    return sample
