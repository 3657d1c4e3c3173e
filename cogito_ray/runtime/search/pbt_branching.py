"""Copies that a population asks for: whom each branches off, and with which settings, once."""

import logging
from collections.abc import Callable, Container, Mapping

from cogito_ray.run_spec import BranchSpec, RunSpec
from cogito_ray.runtime.search.trial_state_machine import Phase, SearchTrial
from cogito_ray.sweeps.early_stopping.pbt_perturbation import explored, movable
from cogito_ray.sweeps.early_stopping.policy import Copy, Policy
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.sweep_spec import SweepSpec

log = logging.getLogger(__name__)
DRAWS = 100
"""Times that a copy's settings may turn out to be those of a trial there is, before its place stays empty."""


class PopulationBranching:
    """Keeps no state but whom it gave up: what is due follows from policy and trials."""

    def __init__(self, sweep: SweepSpec, policy: Policy, written: Callable[[str, int], bool]):
        """`written`: has the trial a checkpoint of this step?"""
        self._sweep, self._policy, self._written = sweep, policy, written
        self._given_up: set[int] = set()

    def due(self, trials: Mapping[str, SearchTrial]) -> list[Copy]:
        """Those to be made still. `trials`: all of the search, by name."""
        if not self._policy.copies:
            return []
        made = {trial.proposal.copy_number for trial in trials.values()} | self._given_up
        return [copy for copy in self._policy.copies if copy.number not in made]

    def sources(self, trials: Mapping[str, SearchTrial], started: Container[str]) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) from which the copies go on that have not `started`, made or not."""
        due = {(parent, copy.step) for copy in self.due(trials) if (parent := self._parent(copy, trials)) is not None}
        return due | {trial.branch for name, trial in trials.items() if trial.branch and name not in started}

    def next(self, trials: Mapping[str, SearchTrial]) -> tuple[Copy, Sample, RunSpec] | None:
        """A copy whose parent has left its checkpoint, if any, its sample and its run."""
        for copy in self.due(trials):
            parent = self._parent(copy, trials)
            if parent is not None and not self._written(parent, copy.step):
                continue                                               # it trains, and has reported the step just now
            made = None if parent is None else self._made(copy, parent, trials)
            if made is not None:
                return copy, *made
            self._given_up.add(copy.number)
            log.warning("no copy at step %d: none of %s can be copied", copy.step, ", ".join(copy.parents))
        return None

    def _parent(self, copy: Copy, trials: Mapping[str, SearchTrial]) -> str | None:
        """The first that can be copied, or is about to be: a trial reports before it writes its checkpoint."""
        for name in copy.parents:
            trial = trials[name]
            if trial.phase is not Phase.OVER or (not trial.failed and self._written(name, copy.step)):
                return name
        return None

    def _made(self, copy: Copy, parent: str, trials: Mapping[str, SearchTrial]) -> tuple[Sample, RunSpec] | None:
        space, first, draw = self._sweep.search_space, trials[parent].sample, copy.draw()
        branch = BranchSpec(run=parent, step=copy.step)
        for _ in range(DRAWS):
            sample = explored(first, movable(space), copy.resample, draw)
            if sample == first or space.excludes(sample):              # the parent again would learn the same
                continue
            try:
                run = space.trial(sample).model_copy(update={"branch": branch})
            except ValueError:                                         # settings that do not fit together
                continue
            if run.digest() not in trials:
                return sample, run
        return None
