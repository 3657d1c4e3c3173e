"""The training loop. Knows torch; does not know who feeds it nor who listens.

Everything random is a pure function of (seed, step, micro-batch): a resumed run continues bit for bit, and runs on 1, 2
or 4 workers with equal micro-batches see the same corruptions of the same rows. The first worker's guards judge each
report before anybody hears of it; checkpoints are written after reports only, so that none holds what they condemned.
"""

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, gather_object
from torch import Tensor
from torch.nn.utils import get_total_norm

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.run_spec import RunSpec, TrainingSpec
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, ChosenCheckpoint, Restored, State
from cogito_ray.training.checkpoints.initial_weights import InitialWeights, StartFromSpec, origin
from cogito_ray.training.checkpoints.manifest import BadCheckpoint, retry_within
from cogito_ray.training.distributed.strategies import STRATEGIES
from cogito_ray.training.distributed.worker_agreement import WorkerAgreement
from cogito_ray.training.guards import GuardedRun, Guards, RunDied, Verdict, not_finite
from cogito_ray.training.hang_watchdog import Stage, WorkerProgress
from cogito_ray.training.model_flops import matmul_rate, step_flops
from cogito_ray.training.optimizer import averaged
from cogito_ray.training.prefetching import Passes, StepViews, one_ahead, seed_of
from cogito_ray.training.row_fingerprint import NONE_READ, combined
from cogito_ray.training.step_metrics import PASS_SQUARE, STEP_SQUARE, StepMetrics, noise_scale

log = logging.getLogger(__name__)
SEEN_WITHIN_S = 90.0
"""A worker waits so long for files that the first one sees, but no longer than half of what its watchdog grants: NFS
clients believe for up to 60 s (acdirmax, nfs(5)) that what they did not find is not there."""

Feed = Callable[[int], Iterator[Tensor]]
"""Steps done -> this worker's micro-batches from there on, each (micro_batch, N) int64 clean token ids."""
Evaluate = Callable[[ConceptModel], dict[str, float]]


@dataclass(frozen=True)
class CorpusFacts:
    """What a model must know of its corpus."""

    vocabulary: Vocabulary
    log_unigram: Tensor
    """(V,) log frequency of each token in the training rows."""
    data: DataDigests | None = None
    """What the rows are; None where they are of no prepared corpus."""


class Request(Enum):
    """What is asked of a run from outside."""

    CONTINUE = "to go on"
    CHECKPOINT = "to write a checkpoint now, because a machine will soon be lost"
    PREEMPT = "to write a checkpoint and end"


class RunPreempted(Exception):
    """The run was asked to end before its last step, and left a checkpoint from which it can go on."""

    def __init__(self, step: int):
        super().__init__(f"left at step {step}")
        self.step = step


@dataclass(frozen=True)
class Report:
    """What a worker reports after `step` steps."""

    step: int
    metrics: dict[str, float]
    """Empty but on the first worker."""
    rows: str
    """Names the rows that all workers have read since the run began (see `training.row_fingerprint`)."""
    notes: tuple[str, ...] = ()
    """What happened besides: restarts, checkpoints that could not be written."""


ReportCallback = Callable[[Report], None]


def fit(
    run: RunSpec,
    facts: CorpusFacts,
    *,
    feed: Feed,
    evaluate: Evaluate,
    on_report: ReportCallback,
    checkpoints: Checkpoints | None = None,
    requested: Callable[[], Request] = lambda: Request.CONTINUE,
    progress: WorkerProgress | None = None,
) -> ConceptModel:
    """Train `run` from its newest checkpoint, if any, to its last step. Raises RunDied when it cannot recover.

    All workers ask what is `requested` after each report, and do what the first one was told. `progress` is kept
    informed of what is being done.
    """
    progress = progress or WorkerProgress()
    accelerator, agreement = _accelerator(run), WorkerAgreement(progress)
    chosen = agreement.decide_on_first(checkpoints.choose) if checkpoints else None
    total = _model(run, facts)
    if chosen is None and run.branch is None and run.start_from is not None:
        began_from = _load_initial_weights(total, run.start_from, agreement, progress, _patience_s(run.training))
    else:
        began_from = agreement.decide_on_first(lambda: origin(run.start_from))
    trainer = _Trainer(run, facts.vocabulary, total, accelerator, progress)
    state = State(origin=began_from, multipliers=run.model.multipliers, data=facts.data)
    keeper = _CheckpointKeeper(trainer, checkpoints, agreement, chosen, state)
    with keeper:
        while keeper.state.step < run.training.steps:
            with closing(trainer.steps(keeper.state, feed)) as steps:
                for step in steps:
                    metrics, verdict = trainer.measured(step, evaluate)
                    if verdict is not None:
                        keeper.roll_back(step, verdict)
                        break
                    progress.enter(Stage.REPORT)
                    on_report(Report(step, metrics, trainer.rows, progress.notes()))
                    progress.enter(Stage.AGREEMENT)
                    trainer.step_metrics.restart()
                    keeper.reported(step, metrics)
                    if step < run.training.steps:
                        keeper.handle(trainer.requested(requested), step, metrics)
    return trainer.total.model


class _Trainer:
    """One worker's training: model, losses, optimizer, device."""

    def __init__(
        self, run: RunSpec, vocabulary: Vocabulary, total: TotalLoss, accelerator: Accelerator, progress: WorkerProgress
    ):
        self.run, self.vocabulary, self.total = run, vocabulary, total
        self.accelerator, self.progress = accelerator, progress
        self.leads = accelerator.is_main_process
        self.micro_batches = run.micro_batches(accelerator.num_processes)
        self._parameters = float(sum(parameter.numel() for parameter in total.model.parameters()))
        needed, rate = step_flops(run, total, vocabulary), matmul_rate(accelerator.device, run.training.precision)
        ideal_step_s = needed * run.training.batch / (accelerator.num_processes * rate)
        self.strategy = STRATEGIES[run.training.parallel](self.accelerator, self.total, run.training.optimizer)
        self.step_metrics = StepMetrics(run.training.batch * run.data.length, ideal_step_s)
        self.guards = Guards(run.training.guards, _guarded(run))
        self._measures_noise = "gradient/noise_scale_rows" in run.metrics
        self.rows, self._own_rows, self._rate_factor = NONE_READ, 0, 1.0

    def steps(self, state: State, feed: Feed) -> Generator[int]:
        """Train on from `state`; stop after every step that is to be reported, and name it."""
        training = self.run.training
        slower = training.on_divergence.factor**state.rollbacks
        self.guards.remember(state.seen)
        self.rows, self._own_rows = state.rows, 0
        self.step_metrics.restart()
        first = int(self.accelerator.process_index) * self.micro_batches
        places, pinned = range(first, first + self.micro_batches), self.accelerator.device.type != "cpu"
        views = StepViews(self.run, self.vocabulary, feed(state.step), places, pinned)
        with closing(one_ahead(views.make, range(state.step + 1, training.steps + 1))) as prefetched:
            for step in range(state.step + 1, training.steps + 1):
                self._rate_factor = slower * training.schedule.factor(step, training.steps)
                passes = self._passes(step, prefetched)
                with deterministic(self.accelerator.device, training.deterministic):
                    self._step(step, passes, places)
                if step == training.steps or step % training.report_every == 0:
                    yield step

    def measured(self, step: int, evaluate: Evaluate) -> tuple[dict[str, float], Verdict | None]:
        """What happened since the last report (empty but on the first worker), and what its guards say to all."""
        losses = self.step_metrics.losses() | self.total.gradient_shares()
        self.progress.enter(Stage.AGREEMENT)
        rows, every = zip(*gather_object([(self._own_rows, losses)]), strict=True)
        self.rows, self._own_rows = combined(self.rows, *rows), 0
        whole = self.strategy.full_model()
        metrics, verdict = self._measured(step, whole, evaluate, _mean(every)) if self.leads else ({}, None)
        self.progress.enter(Stage.AGREEMENT)
        [verdict] = broadcast_object_list([verdict])
        return metrics, verdict

    def requested(self, requested: Callable[[], Request]) -> Request:
        """What the first worker is asked: the same on every worker."""
        [asked] = broadcast_object_list([requested()])
        return Request(asked)

    def _measured(
        self, step: int, whole: TotalLoss, evaluate: Evaluate, losses: dict[str, float]
    ) -> tuple[dict[str, float], Verdict | None]:
        metrics = self.step_metrics.read() | losses | {"model/parameters": self._parameters}
        squares = metrics.pop(STEP_SQUARE), metrics.pop(PASS_SQUARE)
        if self._measures_noise:
            rows = {"step_rows": self.run.training.batch, "pass_rows": self.run.micro_batch}
            metrics["gradient/noise_scale_rows"] = noise_scale(*squares, **rows)
        metrics["optimizer/learning_rate"] = self.run.training.optimizer.learning_rate * self._rate_factor
        metrics["optimizer/weight_norm"] = float(get_total_norm([p.detach() for p in whole.parameters()]))
        if broken := not_finite(metrics):
            return metrics, broken                      # what is not finite cannot be evaluated
        self.progress.enter(Stage.EVALUATION)
        average = self.run.training.optimizer.evaluates_average
        with averaged(self.strategy.optimizer) if average else nullcontext():
            metrics |= evaluate(whole.model)
        return metrics, self.guards.judge(step, metrics)

    def _passes(self, step: int, prefetched: Iterator[tuple[int, Passes]]) -> Passes:
        """What each forward pass of a step reads, on its way to the device."""
        self.progress.enter(Stage.DATA, step - 1)
        with self.step_metrics.waiting():
            hashes, passes = next(prefetched)
        self.progress.enter(Stage.STEP)
        self._own_rows += hashes
        device = self.accelerator.device
        return [(view.to(device), other and other.to(device)) for view, other in passes]

    def _step(self, step: int, passes: Passes, places: range) -> None:
        """One optimizer step over this worker's micro-batches."""
        for group in self.strategy.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate_factor
        divisors, pass_norm = self._divisors(passes), None
        for micro, views in enumerate(passes):
            last = micro == self.micro_batches - 1
            seed_device(self.accelerator.device, seed_of(self.run, step, places[micro]))    # for dropout
            with self.strategy.micro_batch(last=last):
                losses = self.strategy.forward(*views, divisors)
                self.accelerator.backward(losses.total)
                if micro == 0 and self._measures_noise:
                    pass_norm = self._pass_norm()
                norm = self.strategy.step(last=last)
            self.step_metrics.add_losses(losses.total, losses.terms)
            if norm is not None:
                self.step_metrics.add_step(norm, pass_norm)

    def _pass_norm(self) -> Tensor:
        """Norm of the gradient of this worker's first micro-batch, of which backward made the share of one of all."""
        grads = [parameter.grad for parameter in self.total.parameters() if parameter.grad is not None]
        return get_total_norm(grads) * self.micro_batches

    def _divisors(self, passes: Passes) -> Tensor:
        """(tasks,) the mean over the passes of all workers: a target counts alike in whichever pass it stands."""
        own = torch.stack([self.total.divisors(*views) for views in passes]).mean(dim=0)
        mean: Tensor = self.accelerator.reduce(own, reduction="mean")
        return mean


class _CheckpointKeeper:
    """Reads and writes the checkpoints of a run: what its newest one says, and when the next one is due."""

    def __init__(
        self,
        trainer: _Trainer,
        checkpoints: Checkpoints | None,
        agreement: WorkerAgreement,
        chosen: ChosenCheckpoint | None,
        state: State,
    ):
        self.trainer, self.checkpoints, self.agreement, self.chosen = trainer, checkpoints, agreement, chosen
        self.state = state
        self.training = trainer.run.training
        if checkpoints is None and self.training.on_divergence.times:
            raise ValueError(
                f"training.on_divergence '{self.training.on_divergence.kind}' goes back to checkpoints, but fit was "
                "given no folder for them; give it one, or use 'stop'"
            )
        if checkpoints is None and trainer.run.branch is not None:
            raise ValueError("branch: the run goes on from a checkpoint, but fit was given no folder of any")

    def __enter__(self) -> None:
        """Load what the first worker chose. A run that may go back starts with a checkpoint, so that there is one."""
        if self.chosen is not None:
            found = self._read(self.chosen)
            self._refuse_another_origin(found.state)
            self._refuse_other_data(found.state)
            found.load()
            self.state = found.state
            if found.state.step:
                self.trainer.progress.note(f"resumed at step {found.state.step}")
        elif self.checkpoints is not None and self.trainer.run.branch is not None:
            raise BadCheckpoint(f"{self.checkpoints.folder} has no checkpoint, nor was one told to branch off from")
        elif self.training.on_divergence.times:
            self._save(self.state)

    def _read(self, chosen: ChosenCheckpoint) -> Restored:
        """On all workers, or on none."""
        assert self.checkpoints is not None
        self.trainer.progress.enter(Stage.CHECKPOINT)
        read, patience = self.checkpoints.read, _patience_s(self.training)
        return self.agreement.run_on_all(lambda: read(chosen, self.trainer.strategy.read, within_s=patience))

    def _refuse_another_origin(self, found: State) -> None:
        """A source that is gone is no longer needed; one that was changed makes this another run."""
        if self.state.origin not in (found.origin, ""):
            raise BadCheckpoint(
                f"the run began from weights {found.origin}, but start_from now holds {self.state.origin}: "
                "put the old checkpoint back, or train under another name"
            )

    def _refuse_other_data(self, found: State) -> None:
        """Rows and tokens of other data would make this another run."""
        if found.data != self.state.data:
            read, given = (state.data.digest() if state.data else "unknown" for state in (found, self.state))
            raise BadCheckpoint(
                f"the run has read data {read} so far, but is given data {given}: put the old text back, or train "
                "under another name"
            )

    def __exit__(self, *reason: object) -> None:
        """Wait for what is being written. A run may end without a checkpoint on its way, but not without its last."""
        if self.checkpoints is None:
            return
        self.trainer.progress.enter(Stage.CHECKPOINT)
        written = self.checkpoints.settle()
        if not written and self.state.step == self.training.steps:
            self.checkpoints.retry_last()

    def reported(self, step: int, metrics: dict[str, float]) -> None:
        """Write a checkpoint if one is due, unless this may be the beginning of a divergence."""
        last, due = step == self.training.steps, step - self.state.step >= self.training.checkpoint_every
        due = due or self.training.checkpoints.is_milestone(step)
        if last or (due and not self._suspects()):
            self._save(self._now(step, metrics))

    def handle(self, request: Request, step: int, metrics: dict[str, float]) -> None:
        """Write a checkpoint of `step` if one is wanted, unless it may be the beginning of a divergence."""
        if request is Request.CONTINUE:
            return
        if step > self.state.step and not self._suspects():
            self._save(self._now(step, metrics))
        if self.checkpoints is not None:
            self.checkpoints.settle()
        if request is Request.PREEMPT:
            raise RunPreempted(step)

    def _suspects(self) -> bool:
        """May this be the beginning of a divergence? The first worker knows, and tells the others."""
        return self.agreement.decide_on_first(self.trainer.guards.suspect_divergence)

    def _score(self, metrics: dict[str, float]) -> float | None:
        """What the best checkpoints are chosen by. ValueError if no such thing is measured."""
        best = self.training.checkpoints.best
        if best is None:
            return None
        if best.metric not in metrics:
            raise ValueError(
                f"training.checkpoints.best: {best.metric!r} is not measured; this run has {', '.join(sorted(metrics))}"
            )
        return metrics[best.metric]

    def _now(self, step: int, metrics: dict[str, float]) -> State:
        score = self.agreement.decide_on_first(lambda: self._score(metrics))
        guards = self.trainer.guards
        return replace(self.state, step=step, seen=guards.seen, rows=self.trainer.rows, score=score)

    def roll_back(self, step: int, verdict: Verdict) -> None:
        """To the newest checkpoint, with a smaller learning rate. Raises RunDied where that would not help."""
        policy, rollbacks = self.training.on_divergence, self.state.rollbacks
        if not verdict.diverged or rollbacks >= policy.times or self.checkpoints is None:
            tried = {"rollbacks": rollbacks} if rollbacks else {}
            raise RunDied(verdict.cause, step, verdict.numbers | tried)
        chosen = self.agreement.decide_on_first(self.checkpoints.choose)
        if chosen is None:
            raise RunDied(verdict.cause, step, verdict.numbers | {"checkpoints": 0})
        found = self._read(chosen)                      # all have, before it is written anew
        found.load()
        log.warning("%s at step %d: back to step %d, rate x %g", verdict.cause, step, found.state.step, policy.factor)
        self._save(replace(found.state, rollbacks=rollbacks + 1))

    def _save(self, state: State) -> None:
        self.state = state
        if self.checkpoints is None:
            return
        self.trainer.progress.enter(Stage.CHECKPOINT)
        self.checkpoints.wait_written()                 # one copy of the run's state in memory is enough
        snapshot = self.trainer.strategy.snapshot(state)
        if snapshot is not None:
            self.checkpoints.save_in_background(snapshot)


def seed_device(device: torch.device, seed: int) -> None:
    """What torch.manual_seed does to the generators of the CPU and of this device. It would also queue the seed, with
    the call stack, for every kind of device that is not in use: a millisecond for each micro-batch."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


@contextmanager
def deterministic(device: torch.device, wanted: bool) -> Iterator[None]:
    """Where `wanted` of a CUDA device, refuses what does not give the same bits whenever it is run (sums by atomic
    additions, as in most attention's backward pass); torch then names it."""
    if not wanted or device.type != "cuda":
        yield
        return
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False     # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def _model(run: RunSpec, facts: CorpusFacts) -> TotalLoss:
    torch.manual_seed(run.seed)
    model = run.model.build(facts.vocabulary, run.data.length, facts.log_unigram)
    total = TotalLoss(model, run.loss, facts.log_unigram)
    total.model.encoder.activation_checkpointing = run.training.activation_checkpointing
    if run.training.compile:
        total.model.compile(layers=run.training.parallel == "fsdp")
    return total


def _load_initial_weights(
    total: TotalLoss, spec: StartFromSpec, agreement: WorkerAgreement, progress: WorkerProgress, patience_s: float
) -> str:
    """Load them on every worker; their name."""
    name = agreement.decide_on_first(spec.origin)

    def load() -> str:
        return retry_within(lambda: InitialWeights.read(spec, expected=name), patience_s).load(total)

    progress.note(agreement.run_on_all(load))
    return name


def _patience_s(training: TrainingSpec) -> float:
    return SEEN_WITHIN_S if training.stall_s is None else min(SEEN_WITHIN_S, training.stall_s / 2)


def _mean(reported: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of what each worker reports under the same names."""
    return {name: sum(each[name] for each in reported) / len(reported) for name in reported[0]}


def _guarded(run: RunSpec) -> GuardedRun:
    weights = run.loss.weighting.weights
    floors: dict[str, float] = {r.kind: r.floor for r in run.loss.regularisers}
    tasks = tuple(term for term in run.terms() if term not in floors and weights.get(term, 1.0) > 0)
    bound = run.loss.weighting.bound({term: floors.get(term, 0.0) for term in run.terms()})
    return GuardedRun(run.training.steps, tasks, bound, min(run.model.concepts, run.model.width))


def _accelerator(run: RunSpec) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)  # a reused trial process must not keep the last trial's
    on_cpu = run.gpus_per_worker == 0
    passes = run.micro_batches(PartialState(cpu=on_cpu).num_processes)
    if not on_cpu:
        torch.set_float32_matmul_precision("high" if run.training.tf32 else "highest")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")     # without which cuBLAS may add in any order
    mixed = {"float32": "no", "bfloat16": "bf16"}[run.training.precision]
    # In a static graph DDP learns from its first backward pass when a gradient is complete, which it cannot where that
    # pass is not the last one of the step.
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True, static_graph=passes == 1)
    return Accelerator(
        mixed_precision=mixed, gradient_accumulation_steps=passes, cpu=on_cpu, kwargs_handlers=[ddp]
    )
