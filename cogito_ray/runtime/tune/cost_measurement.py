"""Measures a sweep's cheapest and dearest corner for a few steps, each in a process of its own that ends. No Ray."""

import json
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train import train_worker
from cogito_ray.sweeps.statistics.cost_forecast import Corner, Forecast, Measured, micro
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import NotPrepared
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.pmi_collocations import with_collocations
from cogito_ray.text.preparation_plan import prepare_with, prepared, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.shard_builder import sample_documents
from cogito_ray.text.sources.text_files import FilesSpec
from cogito_ray.training.model_flops import step_flops
from cogito_ray.training.training_loop import Report

STEPS = 8
SAMPLE_CHARACTERS = 400_000
"""Of each source, where its text is not prepared yet."""
SAMPLE_HELD_OUT = 0.3


def forecast(sweep: SweepSpec, storage: Path) -> Forecast:
    """Nothing is left running, and nothing is written below `storage`. ValueError where the data cannot be read."""
    runs = [sweep.trial(corner) for corner in sweep.search_space.corners()]
    with tempfile.TemporaryDirectory() as folder:
        corpora = {run.data.digest(): run.data for run in runs}
        texts = {name: _text(data, storage.absolute(), Path(folder)) for name, data in corpora.items()}
        costs: dict[str, float] = {}
        for run in runs:
            if run.digest() not in costs:
                rows = run.training.batch * run.training.steps
                costs[run.digest()] = _flops(run, texts[run.data.digest()].corpus) * rows
        ends = [choose(runs, key=lambda run: costs[run.digest()]) for choose in (min, max)]
        cheapest, dearest = (
            Corner(run, _apart(run, texts[run.data.digest()], Path(folder) / f"end-{number}"))
            for number, run in enumerate(ends)
        )
        sampled = any(text.storage != storage.absolute() for text in texts.values())
    small = f"a sample of {SAMPLE_CHARACTERS:,} characters a source, because the text is not prepared yet"
    note = small if sampled else "the text as prepared"
    return Forecast(sweep, cheapest, dearest, _at_once(sweep, runs), note)


@dataclass(frozen=True)
class _Text:
    data: DataSpec
    storage: Path
    corpus: Corpus


def _text(data: DataSpec, storage: Path, folder: Path) -> _Text:
    """The text as it is now, as prepared in `storage`, or else a sample of it prepared below `folder`."""
    if faults := data.faults():
        raise ValueError("\n".join(faults))
    try:
        return _Text(data, storage, prepared(data, storage))
    except NotPrepared:
        return _sampled(data, folder / data.digest())


def _sampled(data: DataSpec, folder: Path) -> _Text:
    sources = {}
    for name, source in data.sources.items():
        scratch = folder / name
        scratch.mkdir(parents=True)
        source.gather(scratch)
        texts = sample_documents(source.parts(scratch), characters=SAMPLE_CHARACTERS, held_out=data.held_out)
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        sources[name] = FilesSpec(path=str(path), weight=source.weight)
    small = data.model_copy(update={"sources": sources, "held_out": SAMPLE_HELD_OUT})
    return _Text(small, folder, prepare_with(serially, small, folder))


def _flops(run: RunSpec, corpus: Corpus) -> float:
    """Of one row: what corners are compared by before any is measured."""
    needs = run.objective.needs | run.reference.needs
    vocabulary = with_collocations(corpus) if "collocations" in needs else corpus.vocabulary
    model = run.model.build(vocabulary, corpus.length, torch.from_numpy(corpus.log_unigram))
    return step_flops(run, TotalLoss(model, run.loss), vocabulary)


def _apart(run: RunSpec, text: _Text, folder: Path) -> Measured:
    """Measured in a fresh process, whose memory is the trial's alone; on as many held-out rows as a sample has."""
    rows = min(run.evaluation.rows, sum(text.corpus.held_out_available.values()))
    evaluation = run.evaluation.model_copy(update={"rows": rows})
    short = micro(run.model_copy(update={"data": text.data, "evaluation": evaluation}), steps=STEPS)
    job = train_worker.Job(short, text.storage, text.corpus.digests, folder)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, job).result()


def measure(job: train_worker.Job) -> Measured:
    """Train the few steps of `job` here and see what they take. The second half tells: the first one warms up."""
    began, at = time.perf_counter(), list[tuple[float, Report]]()
    train_worker.train(job, lambda report: at.append((time.perf_counter(), report)), train_worker.Place())
    (first, _), (second, report) = at
    half, training = job.run.training.report_every, job.run.training
    step_s = training.batch * job.run.data.length / report.metrics["time/tokens_per_s"]
    report_s = max(0.0, second - first - half * step_s)
    files = (path for path in job.checkpoints.rglob("*") if path.is_file())
    return Measured(
        start_s=max(0.0, first - began - half * step_s - report_s),
        step_s=step_s,
        report_s=report_s,
        checkpoint_bytes=sum(path.stat().st_size for path in files),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        gpu_peak_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        mfu=report.metrics["time/mfu"],
        data_wait_share=report.metrics["time/data_wait_share"],
    )


def _at_once(sweep: SweepSpec, runs: list[RunSpec]) -> int:
    """Trials that this machine holds at once."""
    cpus = max(run.sizes[-1] * run.cpus_per_worker for run in runs)
    gpus = max(run.sizes[-1] * run.gpus_per_worker for run in runs)
    fits = (os.cpu_count() or 1) / cpus
    if gpus and torch.cuda.is_available():
        fits = min(fits, torch.cuda.device_count() / gpus)
    return min(sweep.concurrency or max(1, int(fits)), sweep.budget.trials)
