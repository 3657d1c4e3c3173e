"""The command line: it alone prints and exits. 0 = done, 1 = a run failed, 2 = a file or a request is at fault."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from cogito_ray import screen
from cogito_ray.evaluation.tasks import DEFAULT, tasks_of
from cogito_ray.records.ledger import LedgerFault
from cogito_ray.records.ranking import rank
from cogito_ray.records.record import Record, read
from cogito_ray.run import RunSpec
from cogito_ray.spec import explain
from cogito_ray.sweeps.files import SweepFault, dump, load_either
from cogito_ray.sweeps.schema import run_schema, sweep_schema
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.text.corpus import Corpus
from cogito_ray.text.prepare import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sweeps and pretraining of concept encoders on Ray.\n\n"
    "Start with: [bold]cogito-ray sweep search_spaces/quickstart.yaml[/bold]",
)
File = Annotated[Path, typer.Argument(help="YAML of a sweep or of a run.", show_default=False)]
Storage = Annotated[Path, typer.Option(help="Folder for everything that is written: token shards, trials, records.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
RUNS = Path("runs")
WINNER = "winner.yaml"
"""The winner's run, in its sweep's folder: a file for `cogito-ray train`."""
PIPED = None if sys.stdout.isatty() else 160
"""Columns where no terminal says how many it has."""
out, err = (Console(stderr=where, highlight=False, soft_wrap=True, width=PIPED) for where in (False, True))


@app.command(epilog="Example: cogito-ray check search_spaces/*.yaml")
def check(
    files: Annotated[list[Path], typer.Argument(help="YAML files of sweeps or runs.", show_default=False)],
    schema: Annotated[
        Path | None, typer.Option(help="Also write JSON Schemas into this folder, for editors that complete YAML.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate files: every corner of a sweep's space is tried as a run. Nothing is started."""
    if schema is not None:
        schema.mkdir(parents=True, exist_ok=True)
        for name, content in {"sweep": sweep_schema(), "run": run_schema()}.items():
            (schema / f"{name}.schema.json").write_text(json.dumps(content, indent=1) + "\n")
    verdicts = [_verdict(file) for file in files]
    if as_json:
        print(json.dumps(verdicts))
    else:
        for verdict in verdicts:
            (err if verdict["faults"] else out).print(verdict["text"], markup=False)
    if any(verdict["faults"] for verdict in verdicts):
        raise typer.Exit(2)


@app.command(epilog="Example: cogito-ray prepare search_spaces/quickstart.yaml")
def prepare(file: File, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Tokenise and pack every corpus the file names, once; what stands from before is verified and kept."""
    from cogito_ray.runtime.cluster import cluster
    from cogito_ray.runtime.prepare import prepare as prepare_data

    spec = load_either(file)
    corpora = []
    with cluster():
        for data in [spec.data] if isinstance(spec, RunSpec) else spec.corpora():
            corpus = prepare_data(data, storage, lambda told: None if as_json else out.print(_stage(told)))
            corpora.append(_counts(corpus))
    if as_json:
        print(json.dumps(corpora))
        return
    for number, sources in enumerate(corpora):
        for name, counts in sources.items():
            out.print(f"corpus {number}, {name}: " + ", ".join(f"{value:,} {what}" for what, value in counts.items()))


@app.command(epilog="Example: cogito-ray sweep search_spaces/quickstart.yaml")
def sweep(file: File, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Run a sweep, or what is left of it: the same command resumes after any interruption."""
    from cogito_ray.runtime.sweep import home_of, run_sweep

    spec = load_either(file)
    if isinstance(spec, RunSpec):
        raise ValueError(f"{file} describes a single run; train it: cogito-ray train {file}")
    home = home_of(spec, storage)
    known = home.recorded()
    with _watching(home.ledger, quiet=as_json) as stage:
        record = run_sweep(spec, storage, stage.tell)
    _conclude(record, home.folder, again=known is not None and known.closing == record.closing, as_json=as_json)


@app.command(epilog="Example: cogito-ray train jobs/debug.yaml --workers 2")
def train(
    file: File,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that share each batch.")] = None,
    name: Annotated[str | None, typer.Option(help="Folder in the storage; the file's name if not given.")] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train one run under Ray Train, or what is left of it, from its newest checkpoint."""
    from cogito_ray.runtime.pretrain import home_of, pretrain

    spec = load_either(file)
    if isinstance(spec, SweepSpec):
        raise ValueError(f"{file} describes a sweep; run it: cogito-ray sweep {file}")
    run = RunSpec.model_validate(spec.model_dump() | ({"workers": workers} if workers else {}))
    home = home_of(run, name or file.stem, storage)
    known = home.recorded()
    with _watching(home.ledger, quiet=as_json) as stage:
        record = pretrain(run, name or file.stem, storage, stage.tell)
    _conclude(record, home.folder, again=known is not None and known.closing == record.closing, as_json=as_json)


@app.command(epilog="Example: cogito-ray evaluate runs/debug --tasks stsb,sick-relatedness --data data")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's or trial's folder, or a checkpoint.", show_default=False)],
    tasks: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(DEFAULT),
    data: Annotated[
        Path | None, typer.Option(help="Folder of Parquet files such as glue/stsb/train.parquet; none: from the hub.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a trained encoder, frozen, labelled questions: zero-shot similarity and linear probes, beside baselines."""
    from cogito_ray.evaluation import labelled
    from cogito_ray.evaluation.trained import Trained

    asked = tasks_of(tasks.split(","))
    trained = Trained.open(checkpoint)
    results = list(labelled.evaluate(trained.reader, asked, data))
    if as_json:
        told = {"run": trained.run.digest(), "step": trained.step, "results": [asdict(result) for result in results]}
        print(json.dumps(told))
    else:
        out.print(screen.scores(results))


@app.command(epilog="Example: cogito-ray report runs/quickstart")
def report(folder: Annotated[Path, typer.Argument(help="A sweep's folder.", show_default=False)]) -> None:
    """Write report.html from a sweep's ledger; works while the sweep runs, too."""
    from cogito_ray.records.report import write

    out.print(str(write(folder)), markup=False)


def main() -> None:
    """Run the command line; faults of the user's are said in full and without a traceback."""
    try:
        app()
    except ValidationError as fault:
        err.print("\n".join(explain(fault)), markup=False)
        sys.exit(2)
    except (ValueError, FileNotFoundError) as fault:
        err.print(str(fault), markup=False)
        sys.exit(2)


@dataclass
class _Stage:
    """What a command is doing before its first trial reports."""

    text: str = "starting ..."

    def tell(self, told: Progress) -> None:
        self.text = _stage(told)


def _stage(told: Progress) -> str:
    tokens = f", {told.tokens:,} tokens" if told.tokens else ""
    return f"{told.stage} ({told.done} of {told.total}{tokens})"


def _counts(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Per source, what was made of it."""
    manifests = {source.name: source.shards.manifest for source in corpus.sources}
    return {
        name: {
            "train rows": made.rows("train"),
            "held-out rows": made.rows("held_out"),
            "tokens": sum(made.tokens.values()),
            "bad documents": made.bad_documents,
        }
        for name, made in manifests.items()
    }


def _verdict(file: Path) -> dict[str, Any]:
    try:
        spec = load_either(file)
    except SweepFault as fault:
        return {"file": str(file), "faults": fault.faults, "text": str(fault)}
    if isinstance(spec, RunSpec):
        facts = {"kind": "run", "digest": spec.digest(), "terms": spec.terms()}
        return {"file": str(file), "faults": [], "text": f"{file}: a sound run ({', '.join(spec.terms())})", **facts}
    corners = sum(1 for _ in spec.corners())
    text = f"{file}: a sound sweep of {spec.budget.trials} trials over {len(spec.space)} axes ({corners} corners tried)"
    counted = {"trials": spec.budget.trials, "corners": corners}
    return {"file": str(file), "faults": [], "text": text, "kind": "sweep", "digest": spec.digest(), **counted}


@contextmanager
def _watching(ledger: Path, *, quiet: bool) -> Iterator[_Stage]:
    """Show what the ledger tells: one live table on a terminal, one line per ended trial elsewhere."""
    stage = _Stage()
    if quiet:
        yield stage
    elif out.is_terminal:
        with Live(get_renderable=lambda: screen.live(_known(ledger), stage.text), console=out, transient=True):
            yield stage
    else:
        over = threading.Event()
        teller = threading.Thread(target=_tell_ends, args=(ledger, stage, over), daemon=True)
        teller.start()
        yield stage
        over.set()
        teller.join()


def _tell_ends(ledger: Path, stage: _Stage, over: threading.Event) -> None:
    told, said = set(_ends(_known(ledger))), ""
    while True:
        last = over.wait(1.0)
        ends = _ends(_known(ledger))
        if stage.text != said and not ends:
            out.print(said := stage.text, markup=False)
        for trial, line in ends.items():
            if trial not in told:
                told.add(trial)
                out.print(line, markup=False)
        if last:
            return


def _ends(record: Record | None) -> dict[str, str]:
    if record is None:
        return {}
    ranking = rank(record)
    return {row.trial: screen.ended(row) for row in ranking.rows if row.status != "unfinished"}


def _known(ledger: Path) -> Record | None:
    """The record so far; None while there is none to read yet."""
    try:
        return read(ledger)
    except (FileNotFoundError, LedgerFault):
        return None


def _conclude(record: Record, folder: Path, *, again: bool, as_json: bool) -> None:
    """The ranked result, where the report lies, what to type next; exit 1 if interrupted or if nothing came of it."""
    from cogito_ray.records.report import write

    page, ranking = write(folder), rank(record)
    winner = ranking.winner
    if winner is not None:
        (folder / WINNER).write_text(dump(record.trials[winner.trial].spec))
    if as_json:
        state = record.closing.cause if record.closing else "failed"
        rows = [asdict(row) for row in ranking.rows]
        told = {"folder": str(folder), "state": state, "report": str(page), "winner": winner and asdict(winner)}
        print(json.dumps(told | {"trials": rows}))
    else:
        if again:
            out.print(f"{folder} is complete: nothing was left to do.", markup=False)
        out.print(screen.final(record))
        out.print(f"Report: {page}\nNext:   {_advice(record, folder)}", markup=False)
    if not ranking.best or not record.is_complete:
        raise typer.Exit(1)


def _advice(record: Record, folder: Path) -> str:
    """What to type next."""
    if not record.is_complete:
        return f"{record.closing.cause if record.closing else 'it failed'}; the same command goes on from here"
    if record.axes and len(record.goals) > 1:
        return "open the report, weigh the front's goals, and take the run you prefer from it for cogito-ray train"
    if record.axes:
        return f"cogito-ray train {folder / WINNER} --name {folder.name}-winner"
    return f"cogito-ray report {folder}"


if __name__ == "__main__":
    main()
