"""What longer training or a larger batch asks of learning rate, weight decay and warm-up, by rules with names. Pure.

What was best in a short trial is not in a long run. Each rule derives settings of the one from those of the other, in
the order in which they stand here. What width and depth ask is the parametrisation's.
"""

import math
from collections.abc import Collection, Mapping
from typing import Literal

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.dotted_paths import Tree, get, overlap
from cogito_ray.sweeps.space.search_space import write

RuleName = Literal["rate_by_batch", "rate_by_tokens", "decay_by_time_scale", "warmup_by_steps"]
OPTIMIZER, SCHEDULE = "training.optimizer", "training.schedule"
WRITTEN = (f"{OPTIMIZER}.learning_rate", f"{OPTIMIZER}.weight_decay", f"{OPTIMIZER}.groups", SCHEDULE)
"""What rules may set."""
TOKENS_EXPONENT = -0.32
"""Of the best rate over the tokens read (arXiv:2409.19913)."""


def rate_by_batch(trial: RunSpec, full: RunSpec) -> Tree:
    """The learning rate grows with the root of the batch, as Adam's noise asks (arXiv:2205.10287)."""
    return _rate(full, math.sqrt(full.training.batch / trial.training.batch))


def rate_by_tokens(trial: RunSpec, full: RunSpec) -> Tree:
    """The learning rate falls as tokens^-0.32 (arXiv:2409.19913)."""
    return _rate(full, (_tokens(full) / _tokens(trial)) ** TOKENS_EXPONENT)


def decay_by_time_scale(trial: RunSpec, full: RunSpec) -> Tree:
    """AdamW's weights are an average over the last 1 / (rate x decay) steps: that stays the same share of all steps
    (arXiv:2405.13698; arXiv:2505.13738, where it is right for the batch, and an optimum in tokens per parameter)."""
    then, now = (run.training.optimizer.learning_rate * run.training.steps for run in (trial, full))
    factor, optimizer = then / now, trial.training.optimizer
    if factor == 1:
        return {}
    found: Tree = {f"{OPTIMIZER}.weight_decay": _rounded(optimizer.weight_decay * factor)}
    for role, group in optimizer.groups:
        if group.weight_decay is not None:
            found[f"{OPTIMIZER}.groups.{role}.weight_decay"] = _rounded(group.weight_decay * factor)
    return found


def warmup_by_steps(trial: RunSpec, full: RunSpec) -> Tree:
    """A warm-up that is counted in steps stays the same share of them."""
    schedule = full.training.schedule.lengthened(full.training.steps / trial.training.steps)
    return {f"{SCHEDULE}.{name}": value for name, value in schedule.model_dump(mode="json").items()}


RULES = {rule.__name__: rule for rule in (rate_by_batch, rate_by_tokens, decay_by_time_scale, warmup_by_steps)}


def follow(rules: Collection[str], trial: RunSpec, tree: Tree, kept: Collection[str]) -> Mapping[str, list[str]]:
    """Writes into `tree`, a run that is made of `trial`, what rules derive, but nothing of the paths that are `kept`.

    Which rules changed what, by dotted path. ValidationError where the tree is no run.
    """
    found: dict[str, list[str]] = {}
    for name, rule in RULES.items():
        if name in rules:
            full = RunSpec.model_validate(tree)
            before = full.model_dump(mode="json")
            for path, value in rule(trial, full).items():
                if value != get(before, path) and not any(overlap(path, own) for own in kept):
                    write(tree, path, value)
                    found.setdefault(path, []).append(name)
    return found


def _rate(full: RunSpec, factor: float) -> Tree:
    rate = full.training.optimizer.learning_rate
    return {} if factor == 1 else {f"{OPTIMIZER}.learning_rate": _rounded(rate * factor)}


def _tokens(run: RunSpec) -> int:
    return run.training.steps * run.training.batch * run.data.length


def _rounded(value: float) -> float:
    """To what a reader can take in."""
    return float(f"{value:.4g}")
