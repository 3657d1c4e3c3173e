"""What one process does to train a run: open the corpus, read its own rows, fit, report."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from cogito_ray.atomic_files import open_to_append
from cogito_ray.evaluation.validation.validation_metrics import report_metrics
from cogito_ray.object_storage.storage_mirror import join
from cogito_ray.records.ledger import CHECKPOINTS, TRIALS
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.control_files import PAUSED, STALLED, STARVED, is_raised, stalls
from cogito_ray.runtime.data.ray_data_reader import StreamReader, TextReader
from cogito_ray.runtime.metrics_export import emit
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.pmi_collocations import with_collocations
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.streamed_text import StreamedText
from cogito_ray.training.checkpoints.checkpoint_store import BranchPoint, Checkpoints, folder_of
from cogito_ray.training.hang_watchdog import Watchdog, WorkerProgress
from cogito_ray.training.training_loop import CorpusFacts, Report, ReportCallback, Request, fit


@dataclass(frozen=True)
class Job:
    """A run and where its things are. Paths are absolute: workers start in folders of their own."""

    run: RunSpec
    storage: Path
    """Holds the token shards of every corpus."""
    data: DataDigests
    """What the run reads, and nothing else."""
    folder: Path
    """Holds this run's checkpoints."""
    preempt: Path | None = None
    """While this flag is raised, the run leaves a checkpoint after its next report, and ends."""
    label: str = "run"
    """By which its processes are known."""
    url: str | None = None
    """Of the object store that `storage` mirrors on each machine; None where that is a folder that all of them see."""

    @property
    def paused(self) -> Path:
        """A flag that asks the same of this run alone."""
        return self.folder / PAUSED

    @property
    def starved(self) -> Path:
        """A file that says that a worker ran out of memory."""
        return self.folder / STARVED

    @property
    def experiment(self) -> str:
        """The sweep or run that it belongs to, by its folder in the storage."""
        whole = self.folder.parents[1] if self.folder.parent.name == TRIALS else self.folder
        return str(whole.relative_to(self.storage)) if whole.is_relative_to(self.storage) else whole.name

    @property
    def checkpoints(self) -> Path:
        """Folder of one folder a checkpoint."""
        return self.folder / CHECKPOINTS

    @property
    def origin(self) -> BranchPoint | None:
        """Where it branches off: the folders of a sweep's trials stand side by side."""
        branch = self.run.branch
        if branch is None:
            return None
        return BranchPoint(folder_of(self.folder.parent / branch.run / CHECKPOINTS, branch.step), branch.run)

    def is_to_pause(self) -> bool:
        """Is the run, or are all, to leave a checkpoint and end?"""
        return is_raised(self.paused) or (self.preempt is not None and is_raised(self.preempt))


@dataclass(frozen=True)
class Place:
    """Where this process stands among the workers of its run."""

    rank: int = 0
    world: int = 1
    is_doomed: Callable[[], bool] = lambda: False
    """Will the machine of any worker soon be taken away? All workers ask together."""
    leaves: bool = False
    """Does the run end then, to go on elsewhere?"""


def train(job: Job, on_report: ReportCallback, place: Place) -> None:
    """Train `job` in this process, as one worker of its run, from its newest checkpoint to the end.

    A process that stands still for `training.stall_s` seconds ends.
    """
    join(job.storage, job.url)
    rank = place.rank
    progress, stalled = WorkerProgress(), job.folder / STALLED
    for line in stalls(job.folder) if rank == 0 else []:
        progress.note(f"started again: {line}")

    def report_all(report: Report) -> None:
        on_report(report)
        if rank == 0:
            stalled.unlink(missing_ok=True)

    with Watchdog(progress, patience_s=job.run.training.stall_s, rank=rank, on_stall=partial(_write_stall, stalled)):
        _fit(job, report_all, progress, place)


def _write_stall(path: Path, said: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(open_to_append(path), "a") as file:
        file.write(said + "\n")


def _fit(job: Job, on_report: ReportCallback, progress: WorkerProgress, place: Place) -> None:
    run = job.run
    torch.set_num_threads(max(1, int(run.cpus_per_worker)))
    corpus = _corpus(run.data.model_dump_json(), job.storage, job.data)
    needs = run.objective.needs | run.reference.needs
    vocabulary = with_collocations(corpus) if "collocations" in needs else corpus.vocabulary
    fit(
        run,
        CorpusFacts(vocabulary, torch.from_numpy(corpus.log_unigram), job.data),
        feed=lambda done: _micro_batches(run, corpus, done, place),
        evaluate=report_metrics(run, corpus, vocabulary),
        on_report=on_report,
        checkpoints=Checkpoints(
            job.checkpoints,
            run.digest(),
            run.training.checkpoints,
            progress.note,
            origin=job.origin,
            took=lambda seconds: emit("checkpoint_seconds", seconds, job.experiment),
        ),
        requested=lambda: _requested(job, place),
        progress=progress,
    )


def _requested(job: Job, place: Place) -> Request:
    doomed = place.is_doomed()      # asked in any case, because all workers ask it together
    if job.is_to_pause() or (doomed and place.leaves):
        return Request.PREEMPT
    return Request.CHECKPOINT if doomed else Request.CONTINUE


@lru_cache(maxsize=2)
def _corpus(data: str, storage: Path, digests: DataDigests) -> Corpus:
    """Of a DataSpec as JSON. A reused trial process keeps the last corpora open."""
    return Corpus.open(DataSpec.model_validate_json(data), storage, digests)


def _micro_batches(run: RunSpec, corpus: Corpus, done: int, place: Place) -> Iterator[Tensor]:
    """This worker's micro-batches (micro_batch, N) after `done` steps."""
    steps = range(done, run.training.steps)
    shares = _reader(run, corpus).batches(steps, batch=run.training.batch, rank=place.rank, world=place.world)
    for share in shares:
        yield from torch.from_numpy(share).split(run.micro_batch)


def _reader(run: RunSpec, corpus: Corpus) -> MappedReader | StreamReader | TextReader:
    if not run.data.keeping.rows:
        return TextReader(StreamedText(corpus, corpus.text_plan(run.seed)))
    mapped = MappedReader(corpus, corpus.plan(run.seed))
    readers: dict[str, MappedReader | StreamReader] = {"mapped": mapped, "streamed": StreamReader(mapped)}
    return readers[run.reader]
