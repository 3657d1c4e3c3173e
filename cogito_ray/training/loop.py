"""The training loop. Knows torch; does not know who feeds it nor who listens.

Everything random is a pure function of (seed, step, micro-batch): a resumed run continues bit for bit, and runs on 1, 2
or 4 workers with equal micro-batches see the same corruptions of the same rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from cogito_ray.losses.total import TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.run import RunSpec
from cogito_ray.text.vocabulary import Vocabulary
from cogito_ray.training.checkpoint import Checkpoints
from cogito_ray.training.guards import check_finite
from cogito_ray.training.meter import Meter

Feed = Callable[[int], Iterator[Tensor]]
"""Steps done -> this worker's micro-batches from there on, each (micro_batch, N) int64 clean token ids."""
Report = Callable[[int, dict[str, float]], None]
"""Called on every worker with the step and, on the first worker, its metrics (empty on the others)."""
Evaluate = Callable[[ConceptModel], dict[str, float]]


@dataclass(frozen=True)
class Facts:
    """What a model must know of its corpus."""

    vocabulary: Vocabulary
    log_unigram: Tensor
    """(V,) log frequency of each token in the training rows."""


def fit(
    run: RunSpec,
    facts: Facts,
    *,
    feed: Feed,
    evaluate: Evaluate,
    report: Report,
    checkpoints: Checkpoints | None = None,
) -> ConceptModel:
    """Train `run` from its newest checkpoint, if any, to its last step. Raises RunDied when it cannot recover."""
    trainer = _Trainer(run, facts)
    done = checkpoints.resume(trainer.total, trainer.optimizer.optimizer) if checkpoints else 0
    batches = feed(done)
    for step in range(done + 1, run.training.steps + 1):
        trainer.step(step, batches)
        last = step == run.training.steps
        if last or step % run.training.report_every == 0:
            metrics = trainer.metrics(step)
            report(step, metrics | evaluate(trainer.total.model) if trainer.leads else {})
            trainer.meter.restart()
        if checkpoints and trainer.leads and (last or step % run.training.checkpoint_every == 0):
            checkpoints.save(step, trainer.total, trainer.optimizer.optimizer)
    return trainer.total.model


class _Trainer:
    """The state of one worker's training: model, losses, optimizer, device."""

    def __init__(self, run: RunSpec, facts: Facts):
        torch.manual_seed(run.seed)
        self.run, self.vocabulary = run, facts.vocabulary
        self.accelerator = _accelerator(run)
        self.leads = self.accelerator.is_main_process
        self.total = TotalLoss(run.model.build(facts.vocabulary, run.data.length, facts.log_unigram), run.loss)
        self.wrapped, self.optimizer = self.accelerator.prepare(self.total, run.training.optimizer.build(self.total))
        self.meter = Meter(tokens_per_step=run.training.batch * run.data.length)

    def step(self, step: int, batches: Iterator[Tensor]) -> None:
        """One optimizer step over this worker's micro-batches."""
        training = self.run.training
        for group in self.optimizer.param_groups:
            group["lr"] = training.optimizer.learning_rate * training.schedule.factor(step, training.steps)
        for micro in range(self.run.micro_batches_per_worker):
            with self.meter.waiting():
                ids = next(batches)
            with self.accelerator.accumulate(self.wrapped):
                self._forward_and_backward(ids.to(self.accelerator.device, non_blocking=True), self._seed(step, micro))
                if self.accelerator.sync_gradients:
                    norm = self.accelerator.clip_grad_norm_(self.wrapped.parameters(), training.optimizer.clip)
                    self.meter.stepped(norm)
                self.optimizer.step()
                self.optimizer.zero_grad()

    def metrics(self, step: int) -> dict[str, float]:
        """What happened since the last report; raises RunDied if it is not finite."""
        rate = {"optimizer/learning_rate": self.optimizer.param_groups[0]["lr"]}
        metrics = self.meter.read() | self.total.gradient_shares() | rate
        check_finite(step, metrics)
        return metrics

    def _forward_and_backward(self, ids: Tensor, seed: int) -> None:
        torch.manual_seed(seed)  # dropout, where a kind has it
        generator = torch.Generator().manual_seed(seed)
        losses = self.wrapped(*self.run.loss.views(self.run.objective, ids, self.vocabulary, generator))
        self.accelerator.backward(losses.total)
        self.meter.saw(losses.total, losses.terms)

    def _seed(self, step: int, micro: int) -> int:
        """Of one micro-batch of the whole batch, whichever worker has it."""
        index = self.accelerator.process_index * self.run.micro_batches_per_worker + micro
        return int(np.random.SeedSequence((self.run.seed, step, index)).generate_state(1, np.uint64)[0] >> 1)


def _accelerator(run: RunSpec) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)  # a reused trial process must not keep the last trial's
    mixed = {"float32": "no", "bfloat16": "bf16"}[run.training.precision]
    return Accelerator(
        mixed_precision=mixed, gradient_accumulation_steps=run.micro_batches_per_worker, cpu=run.gpus_per_worker == 0
    )
