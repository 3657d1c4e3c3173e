"""What `import cogito_ray as cr` gives: to run sweeps, and to use what they found. The command line is written on this.

Settings are the path of a YAML file, a mapping of the same content, a SweepSpec or a RunSpec. What is wrong with them
is told all at once, in a ValueError, before anything starts. Importing this imports neither torch nor Ray: functions
import what they need, and Ray last, so that faults of settings are told within a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from cogito_ray.atomic_files import explain_os_error
from cogito_ray.display.console import err, out
from cogito_ray.experiment_result import AnalysisReport, Checked, Interrupted, Report, Result, Scores, TrialResult, load
from cogito_ray.object_storage.driver_lease import refresh, refresh_all
from cogito_ray.object_storage.storage_mirror import URL, local, upload, url_of
from cogito_ray.records.ledger import NAME, SweepClosed, SweepOpened, events
from cogito_ray.records.results.trial_ranking import figures
from cogito_ray.records.sweep_record import Record, fold

if TYPE_CHECKING:
    from cogito_ray.base_spec import TrackerName
    from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
    from cogito_ray.evaluation.mask_filling import FilledText
    from cogito_ray.records.monitoring.monitoring_folder import MonitoringFolder
    from cogito_ray.records.plan_record import PlanRecord
    from cogito_ray.records.results.measure_certificates import MeasureCertificate
    from cogito_ray.records.results.promotion_results import Promotion
    from cogito_ray.run_spec import RunSpec
    from cogito_ray.runtime.doctor.findings import Finding
    from cogito_ray.runtime.experiment_folder import ExperimentFolder
    from cogito_ray.runtime.jobs.submitted_job import SubmittedJob
    from cogito_ray.runtime.verification.resume_verification import Compared
    from cogito_ray.sweeps.statistics.cost_forecast import Forecast
    from cogito_ray.sweeps.sweep_spec import SweepSpec
    from cogito_ray.sweeps.yaml_io.yaml_loader import Document
    from cogito_ray.text.prepared_corpus import Corpus

NO_URL = "only sweeps and runs can have such a storage; give a folder that all machines see"
RUNS = "runs"
"""Folder of everything that is written, where none is given."""
Settings: TypeAlias = "str | Path | Mapping[str, object] | SweepSpec | RunSpec"
Overrides: TypeAlias = Mapping[str, object] | Sequence[str]
"""Values by dotted path, or `path=value` each."""
Checkpoints: TypeAlias = str | Path | Result | TrialResult
"""Folder of a checkpoint, a run, a trial or a sweep, or one of the latter as it was loaded. Of a sweep, its winner."""


def check(settings: Settings, *, overrides: Overrides = ()) -> Checked:
    """Validate a sweep or run, and start nothing. Every point of a search space is tried, of a large one corners and
    others.

        cr.check("search_spaces/quickstart.yaml").spec

    ValueError with all faults at once, each with its place, its line and a way out.
    """
    from cogito_ray.run_spec import RunSpec
    from cogito_ray.sweeps.space.valid_points import tried_in_all

    with _read(settings, overrides) as (document, spec):
        named = settings if isinstance(settings, str | Path) else "these settings"
        if isinstance(spec, RunSpec):
            return Checked(spec, f"{named}: a sound run ({', '.join(spec.terms())})")
        count, notes = tried_in_all(spec.search_space)
        trials, axes = spec.budget.trials, len(spec.space)
        text = f"{named}: a sound sweep of {trials} trials over {axes} axes ({count})"
        return Checked(spec, text, (*document.overridden(spec), *notes))


def prepare(
    settings: Settings, *, storage: str | Path = RUNS, overrides: Overrides = (), verbose: bool = True
) -> list[Corpus]:
    """Tokenise and pack every corpus that a sweep or run names, once; what stands from before is verified and kept.

    `sweep` and `train` do this by themselves. ValueError where text is missing.
    """
    from cogito_ray.display.live_view import watching
    from cogito_ray.run_spec import RunSpec

    storage = local(storage)
    with opened(settings, overrides) as spec:
        from cogito_ray.runtime.cluster import cluster
        from cogito_ray.runtime.data.ray_data_preparation import prepare as prepare_data
        from cogito_ray.runtime.experiment_folder import refuse_missing_text

        named = [spec.data] if isinstance(spec, RunSpec) else spec.search_space.corpora()
        refuse_missing_text(named, [])  # before Ray starts
        with cluster(), watching(None, quiet=not verbose) as stage:
            return [prepare_data(data, storage, stage.tell) for data in named]


def forecast(settings: Settings, *, storage: str | Path = RUNS, overrides: Overrides = ()) -> Forecast:
    """What a sweep would cost: hours, end, disk (bytes) and memory (bytes), from two short runs that are measured in
    processes of their own. Nothing is written below `storage`.

        cr.forecast("search_spaces/quickstart.yaml").wall_s

    In a script, call it below `if __name__ == "__main__":`, for those processes import the script.
    """
    storage = local(storage)
    with opened_sweep(settings, overrides, storage) as spec:
        from cogito_ray.runtime.tune.cost_measurement import forecast as measure

        return measure(spec, storage)


def sweep(
    settings: Settings,
    *,
    storage: str | Path = RUNS,
    name: str | None = None,
    overrides: Overrides = (),
    verbose: bool = True,
) -> Result:
    """Run a sweep in `<storage>/<name>/`, or what is left of it: the same call resumes after any interruption.

        result = cr.sweep("search_spaces/quickstart.yaml", overrides={"budget.trials": 6})
        result.best.params

    `name`: instead of the one that the settings say. `verbose`: show the trials while they run. Writes report.html, and
    winner.yaml where there is a winner. ValueError for faulty settings, and where the folder holds another sweep;
    OSError where it cannot be written to; Interrupted (a KeyboardInterrupt) where Ctrl-C ended it in order.
    """
    storage = local(storage)
    with opened_sweep(settings, _with(overrides, {"name": name} if name else {}), storage) as spec:
        from cogito_ray.runtime.experiment_folder import ExperimentFolder

        experiment = ExperimentFolder.of_sweep(spec, storage)
        known = experiment.recorded()
        before = known.closing if known else None
        finished = known if known and experiment.is_finished(known) else None
        record = finished or _swept(spec, experiment, known, verbose=verbose)
    _conclude(spec.conclusion, record, experiment.ledger)
    return _concluded(record, storage / spec.name, before, verbose=verbose)


def _swept(spec: SweepSpec, experiment: ExperimentFolder, known: Record | None, *, verbose: bool) -> Record:
    from cogito_ray.display.live_view import watching
    from cogito_ray.records.tracking.follower import tracked
    from cogito_ray.runtime.tune.sweep_driver import run_sweep
    from cogito_ray.sweeps.space.valid_points import tried_in_all

    for note in tried_in_all(spec.search_space)[1] if verbose else []:
        _say(f"note: {note}")
    _tell_other_code(experiment, known)
    with tracked(experiment.folder, spec.track), watching(experiment.record, quiet=not verbose) as stage:
        run_sweep(spec, experiment.folder.parent, stage.tell, experiment=experiment)
    return experiment.now


def train(
    settings: Settings,
    *,
    storage: str | Path = RUNS,
    name: str | None = None,
    overrides: Overrides = (),
    verbose: bool = True,
) -> Result:
    """Train one run in `<storage>/<name>/`, or what is left of it, from its newest checkpoint.

        cr.train("jobs/debug.yaml", overrides={"training.steps": 60}).metrics["loss/total"]

    `name`: the file's if not given, and the digest of settings that are no file. A run that failed says why in
    `trials[0].error`. Errors as for `sweep`.
    """
    storage = local(storage)
    with opened_run(settings, overrides) as run:
        from cogito_ray.runtime.experiment_folder import ExperimentFolder

        called = _folder_name(name or (Path(settings).stem if isinstance(settings, str | Path) else run.digest()))
        experiment = ExperimentFolder.of_run(run, called, storage)
        known = experiment.recorded()
        before = known.closing if known else None
        finished = known if known and known.is_complete else None
        record = finished or _trained(run, experiment, known, verbose=verbose)
    _conclude(run.conclusion, record, experiment.ledger)
    for note in (note for trial in record.trials.values() for note in trial.notes):
        _say(note, verbose=verbose)
    return _concluded(record, storage / called, before, verbose=verbose)


def _trained(run: RunSpec, experiment: ExperimentFolder, known: Record | None, *, verbose: bool) -> Record:
    from cogito_ray.display.live_view import watching
    from cogito_ray.records.tracking.follower import tracked
    from cogito_ray.runtime.train.pretraining_driver import pretrain

    _tell_other_code(experiment, known)
    with tracked(experiment.folder, run.track), watching(experiment.record, quiet=not verbose) as stage:
        pretrain(run, experiment.folder.name, experiment.folder.parent, stage.tell, experiment=experiment)
    return experiment.now


def promotions(settings: Settings, *, storage: str | Path = RUNS, overrides: Overrides = ()) -> list[Promotion]:
    """The full runs that a sweep's `promote` derives from its best trials, with how they differ; nothing is started.

    ValueError where the settings ask for none, or the sweep has not ended.
    """
    storage = local(storage)
    with opened_sweep(settings, overrides, storage) as spec:
        from cogito_ray.runtime.train.promotion_driver import planned

        return planned(spec, storage)


def promote(settings: Settings, *, storage: str | Path = RUNS, overrides: Overrides = ()) -> Result:
    """Train those full runs, or what is left of them, and certify how far the sweep foretold their order.

        [full.metrics for full in cr.promote("search_spaces/dimension_inversion.yaml").promoted]

    Gives the sweep's result. Errors as for `promotions`; Interrupted where Ctrl-C ended one of them.
    """
    storage = local(storage)
    with opened_sweep(settings, overrides, storage) as spec:
        from cogito_ray.records.tracking.follower import tracked
        from cogito_ray.runtime.train.promotion_driver import promote as train_full

        folder = storage / spec.name
        try:
            with tracked(folder, spec.track):
                train_full(spec, storage)
            result = load(folder)
        except KeyboardInterrupt as interrupted:
            raise Interrupted(load(folder)) from interrupted
    result.report()
    return result


def submit(
    command: Literal["sweep", "train", "plan", "doctor"],
    file: str | Path | None = None,
    *,
    address: str,
    storage: str | Path,
    name: str | None = None,
    overrides: Overrides = (),
    installed: bool = False,
    doctor: bool = True,
    as_json: bool = False,
) -> SubmittedJob:
    """Start `sweep`, `train` or `plan` of a file as a job of the cluster with this dashboard, or find its job there.

        cr.submit("train", "jobs/debug.yaml", address="http://127.0.0.1:8265", storage="/shared/runs").follow(print)

    The settings are checked here; what is sent is them, the code that they name and, unless it is `installed` there,
    this package. `doctor`: examine the machines first, and tell `as_json`. Its `id` follows from command, name and
    storage: the same call resumes. ValueError for faulty settings or without the cluster's token; ConnectionError.
    """
    url = URL.fullmatch(str(storage))
    shared = f"{url[1]}://{url[2].strip('/')}" if url else str(storage)
    if not url and not Path(shared).is_absolute():
        raise ValueError(f"--storage: {shared!r} is no whole path; name a folder that every machine sees, or a URL")
    if url and command == "plan":
        raise ValueError(f"--storage: {shared}: {NO_URL}")
    named, document = _to_submit(command, Path(file), overrides) if file is not None else (command, None)
    called = _folder_name(name or named)
    from cogito_ray.runtime.jobs import submitted_job
    from cogito_ray.runtime.jobs.job_files import gathered

    python, where = ["python", "-m", "cogito_ray"], ["--storage", shared]
    commands = [[*python, "doctor", *where, *["--json"] * as_json]] if (doctor and not url) or document is None else []
    if document is not None:
        commands.append([*python, command, document.file.name, *where, *["--name", called] * (command == "train")])
    with gathered(document, package=not installed) as files:
        job = submitted_job.submit(address, files, submitted_job.job_name(command, called, shared), commands)
        _say(f"{job.id}: {f'started, with {files}' if job.is_new else 'runs already'}", verbose=not as_json)
    return job


def _to_submit(command: str, file: Path, overrides: Overrides) -> tuple[str, Document]:
    """What a job is named after, and its sound settings. Raises SweepFault."""
    from cogito_ray.plans.plan_file import self_contained
    from cogito_ray.sweeps.yaml_io.yaml_loader import Document

    if command == "plan":
        return self_contained(file, overrides)
    document = Document.read(file, overrides)
    spec = document.either()
    if document.composed.is_sweep != (command == "sweep"):
        other = ("a sweep", "run it", "submit sweep") if command == "train" else ("a run", "train it", "submit train")
        raise ValueError(_of_the_other_sort(file, *other))
    return str(getattr(spec, "name", file.stem)), document


def doctor(address: str | None = None, *, storage: str | Path = RUNS) -> list[Finding]:
    """What is wrong with the machines of a cluster, and how it is mended: versions, GPUs, storage, locks, clocks, the
    network.

        [one.mend for one in cr.doctor() if one.level == "fault"]

    `address`: HOST:PORT of its head, from one of its machines; None: RAY_ADDRESS, else this machine alone. Of a cluster
    that is reached by its dashboard alone, `submit("doctor", ...)` prints the same.
    """
    from cogito_ray.runtime.cluster import cluster
    from cogito_ray.runtime.doctor.examination import examine
    from cogito_ray.runtime.doctor.findings import findings

    with cluster(address=address):
        return findings(examine(_shared(storage)))


def plan(
    settings: Settings, *, storage: str | Path = RUNS, overrides: Overrides = (), verbose: bool = True
) -> PlanRecord:
    """Run what is left of a research plan: each phase that is due, as a process of its own by its own command.

        cr.plan("plans/roadmap.yaml", overrides={"size": "smallest"}).figures("mlm")

    The same call resumes after any interruption, also where what is not complete has changed. ValueError with all
    faults of all phases. Ctrl-C leaves phases their checkpoints, and the record says so.
    """
    from cogito_ray.plans.plan_file import read
    from cogito_ray.records.plan_record import NAME
    from cogito_ray.runtime.plan.plan_driver import run_plan

    sound = read(settings, overrides)
    record = run_plan(sound, _shared(storage), lambda told: _say(told, verbose=verbose))
    _conclude(sound.spec.conclusion, record, Path(storage) / sound.spec.name / NAME)
    report(Path(storage) / sound.spec.name)
    notebook(storage)
    return record


def plan_forecast(
    settings: Settings, *, storage: str | Path = RUNS, overrides: Overrides = ()
) -> dict[str, dict[str, float]]:
    """What each phase of a plan that trains would cost at most, if every gate held, and `total`. See `forecast`."""
    from cogito_ray.plans.plan_file import read
    from cogito_ray.runtime.plan.plan_forecast import forecast_plan

    found = dict(forecast_plan(read(settings, overrides), _shared(storage)))
    units = ("wall_s", "cpu_hours", "gpu_hours")
    return found | {"total": {unit: sum(cost[unit] for cost in found.values()) for unit in units}}


def queue(
    files: Sequence[str | Path], *, storage: str | Path = RUNS, name: str = "queue", verbose: bool = True
) -> PlanRecord:
    """Run files of sweeps and runs one after the other, as a plan without gates; one that fails holds up none."""
    from cogito_ray.sweeps.yaml_io.yaml_loader import Document

    kinds = {Path(file).absolute(): "sweep" if Document.of(file).composed.is_sweep else "run" for file in files}
    phases = {file.stem: {"kind": kind, "file": str(file)} for file, kind in kinds.items()}
    return plan({"name": name, "phases": phases}, storage=storage, verbose=verbose)


def evaluate(
    checkpoints: Checkpoints | Iterable[Checkpoints],
    asked: LabelledEvaluationSpec | Mapping[str, object] | None = None,
    *,
    plugins: Sequence[str] = (),
    storage: str | Path = RUNS,
    verbose: bool = True,
) -> Scores:
    """Ask trained encoders labelled tasks, beside baselines. Answers are kept in their ledgers, and not asked again.

        cr.evaluate("runs/debug", {"tasks": ["stsb"], "data": "data"}).to_dataframe()

    Of a sweep, its `front` is asked: mostly the winner; of any other folder every run below it, at its newest
    checkpoint. Also an export, any AutoModel or sentence-transformers model, as folder or OWNER/NAME on the Hub, and
    checkpoints of the research group's earlier implementation: what these answer is kept below `storage`. So is what
    the encoders of the extra `baselines` answer, which are asked besides where they are installed.
    `asked`: as `evaluation.labelled` of a run, see LabelledEvaluationSpec; its folder may be relative. `plugins`:
    modules or files that register tasks. ValueError for names that are none, missing data, or no sound checkpoint.
    """
    from cogito_ray.evaluation.checkpoint_loader import newest_of_each, whole
    from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
    from cogito_ray.evaluation.pretrained_checkpoint import PretrainedCheckpoint, installed_baselines, is_pretrained
    from cogito_ray.evaluation.protocols.retrieval_and_choice import questions_of
    from cogito_ray.plugins import load as load_plugins
    from cogito_ray.records.results.evaluation_scores import scored
    from cogito_ray.runtime.evaluation.checkpoint_evaluation import evaluate as ask

    load_plugins([*plugins])
    if not isinstance(asked, LabelledEvaluationSpec):
        tree = dict(asked or {})
        tree |= {"data": str(Path(str(tree["data"])).absolute())} if tree.get("data") else {}
        asked = LabelledEvaluationSpec.model_validate(tree)
    questions = questions_of(asked)
    given = [checkpoints] if isinstance(checkpoints, str | Path | Result | TrialResult) else checkpoints
    others = [one for one in given if isinstance(one, str | Path) and is_pretrained(one)]
    store = local(storage).absolute()
    pretrained = [PretrainedCheckpoint.at(one, store) for one in others]
    folders = [folder for one in given if one not in others for folder in _folders(one, verbose=verbose)]
    found, torn = whole(folder for one in folders for folder in newest_of_each(one.absolute()))
    if not found and not pretrained:
        raise ValueError("\n".join(torn))
    answers = ask(
        [*found, *pretrained],
        questions,
        Path(asked.data) if asked.data else None,
        lambda told: _say(f"{told.done} of {told.total}: {told.unit}", verbose=verbose),
        [one for one in installed_baselines(store) if one.folder not in [named.folder for named in pretrained]],
    )
    rows, faults = tuple(scored(answers.known.values())), (*torn, *answers.faults)
    if not answers.computed and not faults:
        _say(f"nothing to do: all {len(answers.known)} answers are in the ledgers", verbose=verbose)
    return Scores(rows, answers.computed, len(answers.known) - answers.computed, faults)


def analyse(
    checkpoint: Checkpoints,
    other: Checkpoints | None = None,
    *,
    texts: int = 256,
    iterations: Sequence[int] = (),
    out: str | Path | None = None,
    verbose: bool = True,
) -> AnalysisReport:
    """Look at a checkpoint's concepts: geometry against targets, what linear probes read from them, what they read.

        cr.analyse("runs/debug").analyses[0].conclusion

    Of a sweep, its winner. `other`: a second one, shown beside it. `texts`: held-out rows to look at, at most.
    `iterations`: how often to apply a tied encoder's block besides. `out`: folder of analysis.html and analysis.json;
    None: the checkpoint's. ValueError where there is no winner, or the text has changed; FileNotFoundError where there
    is no checkpoint.
    """
    from cogito_ray.evaluation.checkpoint_loader import TrainedModel, newest
    from cogito_ray.evaluation.inspection.checkpoint_analysis import analyse as look_at
    from cogito_ray.records.pages.analysis_page import write

    given = [one for one in (checkpoint, other) if one is not None]
    folders = [newest(_folder(one, verbose=verbose).absolute()) for one in given]
    opened = [TrainedModel.open(folder) for folder in folders]
    analyses = [
        look_at(trained, name=name, texts=texts, times=iterations)
        for trained, name in zip(opened, names_of(folders), strict=True)
    ]
    page, data = write(analyses, Path(out) if out else folders[0])
    return AnalysisReport(Report(page), data, tuple(analyses))


def export(checkpoint: Checkpoints, folder: str | Path, *, license: str | None = None, verbose: bool = True) -> Path:
    """Write a checkpoint as a folder that AutoModel and SentenceTransformer load.

        cr.export(cr.load("runs/quickstart"), "build/encoder")

    Of a sweep, its winner. `license`: of the weights, as the Hub names it (apache-2.0, cc-by-sa-4.0), for the card.
    ValueError where the folder is neither new, nor empty, nor an earlier export.
    """
    from cogito_ray.evaluation.checkpoint_loader import TrainedModel
    from cogito_ray.evaluation.export_folder import refuse_foreign

    folder = Path(folder)
    refuse_foreign(folder)
    trained = TrainedModel.open(_folder(checkpoint, verbose=verbose))
    trained.export(folder, license=license)
    _say(f"{folder}: run {trained.run.digest()} at step {trained.step}", verbose=verbose)
    return folder


def fill(
    checkpoint: Checkpoints, texts: str | Sequence[str], *, steps: int = 1, words: int = 5, temperature: float = 0,
    seed: int = 0, like: str | None = None,
) -> list[FilledText]:  # fmt: skip
    """Write words where texts say [MASK], from the concepts of their other words, or of the text `like`.

        cr.fill("runs/debug", "The [MASK] of a list is its length.")[0].text

    `checkpoint`: also an export, as folder or OWNER/NAME on the Hub, and one of the research group's earlier
    implementation. `steps`: passes of a decoder that denoises. `words`: how many likely ones are told of each blank.
    `temperature`: 0 takes the likeliest. ValueError where a text has no blank, or the model cannot fill it.
    """
    from cogito_ray.evaluation import mask_filling
    from cogito_ray.evaluation.checkpoint_loader import TrainedModel
    from cogito_ray.evaluation.pretrained_checkpoint import PretrainedCheckpoint, is_pretrained, open_pretrained
    from cogito_ray.nn.generation import GenerationSpec

    if isinstance(checkpoint, str | Path) and is_pretrained(checkpoint):
        encoder = open_pretrained(PretrainedCheckpoint.at(checkpoint, local(RUNS)).folder)
    else:
        encoder = TrainedModel.open(_folder(checkpoint, verbose=False)).sentence_encoder
    spec = GenerationSpec(steps=steps, temperature=temperature, candidates=words)
    asked = [texts] if isinstance(texts, str) else texts
    return [mask_filling.fill(encoder, text, spec, like=like, seed=seed) for text in asked]


def push(checkpoint: Checkpoints, repo: str, *, public: bool = False, license: str | None = None) -> str:
    """Export a checkpoint to a repository of the Hugging Face Hub, owner/name -> the URL of the commit.

    It is made where there is none, private unless `public`. The token is that of HF_TOKEN, the server that of
    HF_ENDPOINT. ValueError without a token; OSError where the Hub refuses.
    """
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi

    from cogito_ray.evaluation.checkpoint_loader import TrainedModel

    if not (token := os.environ.get("HF_TOKEN")):
        raise ValueError("HF_TOKEN is not set; make a token that may write, and put it into the environment")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    with TemporaryDirectory() as place:
        trained, draft = TrainedModel.open(_folder(checkpoint, verbose=False)), Path(place) / "export"
        trained.export(draft, name=repo, license=license)
        api.create_repo(repo, private=not public, exist_ok=True)
        return str(api.upload_folder(repo_id=repo, folder_path=draft).commit_url)


def verify(
    check: Literal["resume", "order", "chaos"],
    settings: Settings,
    *,
    storage: str | Path = RUNS,
    overrides: Overrides = (),
    steps: int = 100,
    times: int = 2,
    seed: int = 0,
) -> list[Compared]:
    """Train a run, cut to `steps` steps, undisturbed and disturbed, and compare weights and rows.

        all(each.holds for each in cr.verify("resume", "jobs/debug.yaml"))

    resume: the driver is killed so many `times`, at steps drawn by `seed`, and its command given again; chaos: workers
    are killed; order: one worker and two, mapped and streamed, read the same rows. ValueError where the run has too few
    steps for that.
    """
    storage = _shared(storage)
    with opened_run(settings, overrides) as run:
        from cogito_ray.runtime.verification import resume_verification

        found = resume_verification.verify(check, run, storage, steps=steps, times=times, seed=seed)
        return list(found)


def report(folder: str | Path) -> Report:
    """Write report.html from the ledger of a sweep, run or plan, also while it works. A notebook shows it."""
    from cogito_ray.records.pages import plan_page, report_page
    from cogito_ray.records.plan_record import NAME as PLAN

    refresh((folder := local(folder)) / NAME)
    is_plan = not (folder / NAME).is_file() and (folder / PLAN).is_file()
    upload(page := (plan_page if is_plan else report_page).write(folder))
    return Report(page)


def certify(
    folder: str | Path,
    target: str,
    *,
    measures: Sequence[str] = (),
    steps: Sequence[int] = (),
    until: int | None = None,
) -> list[MeasureCertificate]:
    """How far measures tell which trials of a sweep have the best `target`: Kendall's tau, its interval, and regret.

        cr.certify("runs/meaning", "eval/stsb_spearman_mean", measures=["analysis/pooled_lidar"], steps=[120])

    At each of these steps (none: the rungs and the last), of these measures (none: all that were reported) with the
    target there, or at step `until`. ValueError for what no trial reported.
    """
    from cogito_ray.records.results.measure_certificates import measure_certificates

    record = load(folder).record
    return measure_certificates(record, target, measures=measures, steps=steps, until=until)


def notebook(
    *storages: str | Path, out: str | Path | None = None, table: str | Path | None = None, name: str | None = None
) -> list[Path]:
    """Write notebook.md, .html and .parquet: every sweep, run and plan of these storages (of `runs`) in one table.

        cr.notebook("runs", "s3://bucket/runs", out="build")

    `out`: their folder; None: the storage, or of several the folder where this is called. `table`: a Markdown file
    whose log is taken into the record of the (first) storage, the same rows once. `name`: what runs are called from now
    on, such as "{folder}_{date}". ValueError for what is no such table or name.
    """
    from cogito_ray.records.notebook import imported_table, notebook_page
    from cogito_ray.runtime.control_channel import whoami

    for folder in (folders := [local(one) for one in storages or (RUNS,)]):
        refresh_all(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; the storage is the one that sweeps were run in")
        if name is not None:
            imported_table.name_runs(folder, name)
    if table is not None:
        imported_table.import_table(folders[0], Path(table), whoami())
    for file in (files := notebook_page.write(folders, Path(out or (folders[0] if len(folders) == 1 else ".")))):
        upload(file)
    return files


def note(run: str | Path, text: str, *, storage: str | Path = RUNS) -> Path:
    """Keep what you make of a sweep, run, plan or trial in its ledger, with your name and the time, also while it runs.

        cr.note("runs/quickstart", "Deletion above 0.7 is too much.")

    `run`: its folder, or what the storage or the notebook calls it. Gives where it is kept. ValueError for none.
    """
    from cogito_ray.records.notebook.notebook_page import read
    from cogito_ray.records.plan_record import NAME as PLAN
    from cogito_ray.runtime.control_channel import comment

    if not text.strip():
        raise ValueError("note: is empty; write what is to be known")
    here = local(storage)
    refresh_all(here)
    for ledger in (folder / name for folder in (local(run), here / run) for name in (NAME, PLAN)):
        refresh(ledger)
        if ledger.is_file():
            return comment(ledger, text)
    found = [row for row in read([here])[0] if str(run) in (row.cells["run"], row.trial)]
    if len(found) != 1:
        why = f"{len(found)} rows of the notebook" if found else "no folder or name of a sweep, run, plan or trial"
        raise ValueError(f"{run}: {why} in {here}; give the folder of the one that is meant")
    return comment(found[0].ledger, text, found[0].trial)


def dashboard(folder: str | Path = "monitoring", *, ray_folder: str | Path | None = None) -> MonitoringFolder:
    """Write what Prometheus and Grafana need to show live metrics into `folder`, alerts and a dashboard included.

        print(*cr.dashboard().advice(), sep="\n")

    `ray_folder`: Ray's --temp-dir, where it was given one. OSError where `folder` cannot be written to.
    """
    from cogito_ray.records.monitoring import monitoring_folder
    from cogito_ray.records.monitoring.prometheus_files import DISCOVERY

    found = monitoring_folder.MonitoringFolder(Path(folder).absolute())
    found.write(Path(ray_folder or monitoring_folder.ray_folder()).absolute() / DISCOVERY)
    return found


def publish(
    folder: str | Path, *, to: TrackerName = "wandb", project: str = "cogito-ray", follow: bool = False
) -> Result:
    """Send a record to a tracker, also while it grows; what was sent is not sent again. `track` of a sweep or run does
    the same while it works.

    `to`: wandb, mlflow or tensorboard. `follow`: go on until it is closed. ValueError for what is no project's name, or
    without the tracker's library.
    """
    from cogito_ray.records.tracking import follower

    folder = local(folder)
    return Result(folder, follower.publish(folder, to, project, follow=follow))


@contextmanager
def opened(
    settings: Settings, overrides: Overrides = (), storage: str | Path | None = None
) -> Iterator[SweepSpec | RunSpec]:
    """What settings say. What turns out to be missing of it, now or in the block, is told with its line in the file.

    `storage`: where it may have begun.
    """
    with _read(settings, overrides, storage) as (_, spec):
        yield spec


@contextmanager
def _read(
    settings: Settings, overrides: Overrides, storage: str | Path | None = None
) -> Iterator[tuple[Document, SweepSpec | RunSpec]]:
    """The same, with where each of them stands."""
    from cogito_ray.runtime.preflight_checks import MissingInputs, refuse_missing_inputs
    from cogito_ray.sweeps.yaml_io.yaml_loader import Document

    document = Document.of(settings, overrides)
    try:
        spec = document.either()
        refuse_missing_inputs(spec, Path(storage) if storage else None)
        yield document, spec
    except MissingInputs as fault:
        raise document.refused(fault.faults) from None


@contextmanager
def opened_sweep(settings: Settings, overrides: Overrides, storage: str | Path) -> Iterator[SweepSpec]:
    """The same; ValueError for a single run."""
    from cogito_ray.run_spec import RunSpec

    with opened(settings, overrides, storage) as spec:
        if isinstance(spec, RunSpec):
            raise ValueError(_of_the_other_sort(settings, "a single run", "train it", "train"))
        yield spec


@contextmanager
def opened_run(settings: Settings, overrides: Overrides) -> Iterator[RunSpec]:
    """The same; ValueError for a sweep."""
    from cogito_ray.sweeps.sweep_spec import SweepSpec

    with opened(settings, overrides) as spec:
        if isinstance(spec, SweepSpec):
            raise ValueError(_of_the_other_sort(settings, "a sweep", "run it", "sweep"))
        yield spec


def _of_the_other_sort(settings: Settings, sort: str, way: str, command: str) -> str:
    if isinstance(settings, str | Path):
        return f"{settings} describes {sort}; {way}: cogito-ray {command} {settings}"
    return f"these settings describe {sort}; {way}: cogito_ray.{command}(...)"


def _shared(storage: str | Path) -> Path:
    """A folder. ValueError for a URL: of sweeps and runs alone can one be the storage."""
    if (url := url_of(folder := local(storage))) is not None:
        raise ValueError(f"{url}: {NO_URL}")
    return folder


def write_pages(record: Record, folder: Path) -> None:
    """What lies in a folder when a sweep or run ends: report.html, winner.yaml; and in the storage, the notebook."""
    from cogito_ray.records.pages import report_page, winner_file

    if not report_page.is_up_to_date(folder):
        report_page.write(folder)
    try:
        notebook(folder.parent)
    except OSError as fault:  # all users of a storage share this page: what was done here is none the worse
        err.print(f"the notebook was not written: {explain_os_error(fault)}")
    winner_file.write(record, folder)
    for file in (folder / report_page.FILE, folder / winner_file.FILE):
        upload(file)


def _conclude(said: str, record: Record | PlanRecord, ledger: Path) -> None:
    """Keeps what the settings conclude, unless that is known."""
    from cogito_ray.runtime.control_channel import comment

    if said and said.strip() not in [one.text for one in record.comments]:
        comment(ledger, said)


def _concluded(record: Record, folder: Path, before: SweepClosed | None, *, verbose: bool) -> Result:
    """`before`: how it had been left. Raises Interrupted."""
    write_pages(record, folder)
    if before is not None and before == record.closing:
        _say(f"{folder} is complete: nothing was left to do.", verbose=verbose)
    result = Result(folder, record)
    if record.is_interrupted:
        raise Interrupted(result)
    return result


def _say(text: str, *, verbose: bool = True) -> None:
    if verbose:
        out.print(text)


def _tell_other_code(experiment: ExperimentFolder, known: Record | None) -> None:
    if known is not None and (said := experiment.other_code(known)):
        err.print(said)


def _with(overrides: Overrides, more: Mapping[str, object]) -> Overrides:
    """`more` overrides in the form that these have."""
    if isinstance(overrides, Mapping):
        return {**overrides, **more}
    return [*overrides, *(f"{path}={value}" for path, value in more.items())]


def _folder_name(name: str) -> str:
    from cogito_ray.sweeps.experiment_names import folder_name

    try:
        return folder_name(name)
    except ValueError as fault:
        raise ValueError(f"name: {fault}") from None


def _folders(given: Checkpoints, *, verbose: bool) -> list[Path]:
    """Where the checkpoints lie; of a sweep those of its best trials, which are told. ValueError where it has none."""
    found = _sweep_of(given)
    if found is None:
        return [given.path if isinstance(given, Result | TrialResult) else local(given)]
    for trial in found.front or (found.best,):
        value = ", ".join(f"{metric} {figures(value)}" for metric, value in trial.values.items())
        _say(f"{found.path}: trial {trial.number} ({trial.name}), {found.ranking.standing}: {value}", verbose=verbose)
    return [trial.path for trial in found.front]


def _folder(given: Checkpoints, *, verbose: bool) -> Path:
    """The same, of a sweep that has one winner. ValueError where it has not."""
    if (found := _sweep_of(given)) is not None:
        given = found.best
        _folders(found, verbose=verbose)
    return given.path if isinstance(given, Result | TrialResult) else local(given)


def _sweep_of(given: Checkpoints) -> Result | None:
    """The sweep that is meant, if it is one."""
    if isinstance(given, TrialResult):
        return None
    if not isinstance(given, Result):
        refresh((folder := local(given)) / NAME)
        told = events(folder / NAME) if (folder / NAME).is_file() else []
        if not any(isinstance(event, SweepOpened) for event in told):
            return None
        given = Result(folder, fold(told, str(folder / NAME)))
    return given if given.is_sweep else None


def names_of(folders: list[Path]) -> list[str]:
    """What tells checkpoints .../<run or trial>/checkpoints/<step> apart, as short as that can be."""
    runs, steps = [folder.parents[1].name for folder in folders], [folder.name for folder in folders]
    if len(set(runs)) == len(runs):
        return runs
    return steps if len(set(steps)) == len(steps) else [str(folder) for folder in folders]
