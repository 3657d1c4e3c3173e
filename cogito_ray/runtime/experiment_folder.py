"""The folder of one sweep or one run: what was done there, and whether it is still the same one."""

import os
import socket
import time
from _thread import interrupt_main
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from pydantic import JsonValue, ValidationError

from cogito_ray.base_spec import Spec, digest
from cogito_ray.evaluation.protocols.zero_shot_similarity import read_stsb
from cogito_ray.object_storage.driver_lease import lease_of, refresh
from cogito_ray.records.file_locks import Busy, hold
from cogito_ray.records.ledger import COMPLETE, FORMAT, NAME, LedgerFault, SweepClosed, SweepOpened
from cogito_ray.records.provenance import Provenance, collect
from cogito_ray.records.sweep_record import Record, SharedRecord, Trial
from cogito_ray.run_spec import APART, RunSpec
from cogito_ray.runtime.control_channel import DRIVER, said_by
from cogito_ray.runtime.preflight_checks import MissingInputs
from cogito_ray.sweeps.space.dotted_paths import Tree, get
from cogito_ray.sweeps.space.validation_messages import explain
from cogito_ray.sweeps.sweep_spec import ELASTIC, SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import diff
from cogito_ray.text.data_digests import ChangedData, DataDigests
from cogito_ray.text.data_spec import DataSpec, corpus_key
from cogito_ray.text.preparation_plan import Listener
from cogito_ray.text.prepared_corpus import Corpus

ANEW = "give this one another name, or delete that folder"
"""The way out where something cannot be taken up again."""
LEFT = ("trials", "checkpoints", "study.journal")
"""What a sweep or a run leaves in its folder besides its ledger, and never before it."""
GROWS = ("budget.trials", "seeds")
"""Numbers of a sweep that say how much is to be done: a larger one asks more of a sweep that was complete."""
FORETELLS = ("scale", "promote")
"""What a sweep with a ladder does more of where one of these became another."""
Corpora = Mapping[str, Corpus]
"""What trials read, by its `corpus_key`."""


class OtherSettings(ValueError):
    """The folder holds something of this name that was started with other settings, or with some that nobody reads."""


@dataclass
class ExperimentFolder:
    """Where one sweep or one run is written, and what is to be done there."""

    folder: Path
    spec: Tree
    """What is to be done there, as the ledger's opening says it."""
    elastic: frozenset[str] = frozenset()
    """Dotted places that may hold something else when it is taken up again."""
    kinds: Mapping[str, type[Spec]] = field(default_factory=dict)
    """What the part of `spec` under a name is; all of it, under no name."""
    record: SharedRecord = field(init=False)
    """What the ledger tells, for everybody in this process."""
    _checked: tuple[int, int] = (0, 0)
    """Openings and trials of the record that were found to be what is to be done here."""

    def __post_init__(self) -> None:
        self.record = SharedRecord(self.ledger)

    @classmethod
    def of_sweep(cls, sweep: SweepSpec, storage: Path) -> Self:
        """`<storage>/<its name>`, absolute."""
        return cls(storage.absolute() / sweep.name, sweep.model_dump(mode="json"), ELASTIC, {"": SweepSpec})

    @classmethod
    def of_run(cls, run: RunSpec, name: str, storage: Path) -> Self:
        """Of a run on its own, recorded like a sweep of one trial."""
        goal = "eval/reconstruction_nats" if run.model.decoder else "loss/total"
        goals: list[JsonValue] = [{"metric": goal, "mode": "min"}]
        spec: Tree = {"name": name, "run": run.model_dump(mode="json"), "space": {}, "goals": goals}
        apart = frozenset({f"run.{place}" for place in APART})
        return cls(storage.absolute() / name, spec, apart, {"run": RunSpec})

    @property
    def ledger(self) -> Path:
        """Its file, there or not."""
        return self.folder / NAME

    @property
    def now(self) -> Record:
        """What was done by now, for who is its only driver. Raises LedgerFault where nothing was."""
        with self.record.now() as record:
            if not record.openings:
                raise record.unopened()
            return record

    def recorded(self) -> Record | None:
        """What was done so far, and goes on growing; None if nothing. Raises OtherSettings, with the difference, and
        LedgerFault where the ledger is lost, but not its trials. What was found in order is not checked again."""
        refresh(self.ledger)
        if not self.ledger.exists():
            self._refuse_lost_ledger()
            return None
        with self.record.now() as record:
            if not record.openings:    # killed in the very first write
                self._refuse_lost_ledger()
                return None
            openings, trials = self._checked
            if len(record.openings) > openings:
                self._refuse_other_settings(record)
            self._refuse_renamed(record, list(record.trials.values())[trials:])
            self._checked = len(record.openings), len(record.trials)
            return record

    def _refuse_other_settings(self, record: Record) -> None:
        changes = diff(self._as_of_now(record), self.spec)
        if changes := [line for line in changes if not self._may_change(line.partition(":")[0])]:
            listed = [f"  {change}" for change in changes]
            raise OtherSettings("\n".join([f"{self.folder} was started with other settings:", *listed, ANEW]))

    def is_finished(self, before: Record) -> bool:
        """Was everything done that is asked for now? To find that out takes no Ray."""
        then = before.opened.spec
        more = any(_number(self.spec, place) > _number(then, place) for place in GROWS)
        if get(self.spec, "scale") is not None:
            more = more or any(get(self.spec, place) != get(then, place) for place in FORETELLS)
        if get(self.spec, "simplify") is not None:
            more = more or get(self.spec, "simplify") != get(then, "simplify")
        return before.is_complete and not more

    def _refuse_renamed(self, record: Record, trials: Iterable[Trial]) -> None:
        """A run's name leaves out what is at its default, so it would stay where a default became another one."""
        for trial in trials:
            if (now := RunSpec.model_validate(trial.spec).digest()) != trial.id:
                raise OtherSettings(
                    f"{self.folder} was started by other code ({record.opened.provenance.code}), which had other "
                    f"defaults: trial {trial.number} was run {trial.id}, and is {now} by those of this version; go on "
                    "with the version that started it, or give this one another name"
                )

    def _refuse_lost_ledger(self) -> None:
        if left := [name for name in LEFT if (self.folder / name).exists()]:
            raise LedgerFault(
                f"{self.ledger} is missing or empty, but {', '.join(left)} beside it tell of trials; put the ledger "
                f"back, or move {self.folder} away, or delete it, to start anew"
            )

    def other_code(self, before: Record) -> str:
        """How code and packages differ from those of the last driver, for a reader; empty where they do not."""
        changes = before.opened.provenance.changes(self._provenance())
        if not changes:
            return ""
        return (
            f"{self.folder} was worked on before by other code or packages ({'; '.join(changes)}): differences between "
            "what was done then and now may be theirs; the report says which made which trial"
        )

    def _provenance(self, gpus: tuple[str, ...] | None = None) -> Provenance:
        """By what this process works here, on these kinds of GPUs."""
        named = [get(self.spec, path) for path in ("plugins", "run.plugins")]
        plugins = [str(one) for part in named if isinstance(part, list) for one in part]
        return collect(host=socket.gethostname(), plugins=plugins, gpus=gpus)

    def _as_of_now(self, record: Record) -> Tree:
        """What was recorded, with every setting that came since at its default. Raises OtherSettings."""
        tree = record.opened.spec
        for name, kind in self.kinds.items():
            given = tree.get(name) if name else tree
            try:
                full = kind.model_validate(given).model_dump(mode="json")
            except ValidationError as error:
                by = f"{self.folder} was started by other code ({record.opened.provenance.code})"
                faults = [f"  {f'{name}.' if name else ''}{fault}" for fault in explain(error, given, kind)]
                way_out = "go on with the version that started it, or give this one another name"
                said = [f"{by}, with settings that this version does not read:", *faults, way_out]
                raise OtherSettings("\n".join(said)) from error
            tree = tree | {name: full} if name else full
        return tree

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Be the only driver of what is done here. Raises Busy, with who it is, while there is another one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock, lease = self.folder / DRIVER, lease_of(self.ledger)
        who = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with ExitStack() as held:
            try:
                held.enter_context(hold(lock, lost=interrupt_main))
            except Busy as busy:
                raise self._driven(said_by(lock)) from busy
            _say(lock, who)
            if lease is not None:
                try:
                    held.enter_context(lease.held(who, interrupt_main))
                except Busy as busy:
                    raise self._driven(str(busy)) from busy
            yield

    def _driven(self, by: str) -> Busy:
        return Busy(f"{self.folder} has a driver already ({by}); wait until it ends, or end it")

    def _may_change(self, place: str) -> bool:
        return any(f"{place}.".startswith(f"{path}.") for path in self.elastic)

    def prepare(
        self,
        corpora: Iterable[DataSpec],
        storage: Path,
        listener: Listener,
        *,
        bound: Mapping[str, DataDigests] | None = None,
    ) -> Corpora:
        """What is read here, and must be what was read here before, if anything was. ChangedData, with the difference.

        `bound`: what else it must be, by `corpus_key`.
        """
        from cogito_ray.runtime.data.ray_data_preparation import prepare

        before = self.recorded()
        expected = {**(bound or {}), **(before.data if before else {})}
        if before is not None and before.trials and not before.data:
            raise ChangedData(f"{self.ledger} does not say what was read (version 0.1 wrote it); {ANEW}")
        found, changes = dict[str, Corpus](), list[str]()
        for data in corpora:
            key = corpus_key(data)
            try:
                found[key] = prepare(data, storage, listener, expected=expected.get(key))
            except ChangedData as changed:
                changes += str(changed).splitlines()
            else:
                if before is not None and before.data and found[key].digests not in before.data.values():
                    changes.append(f"data {found[key].digests.digest()} of {', '.join(data.sources)}: never read here")
        if changes:
            listed = [f"  {change}" for change in dict.fromkeys(changes)]
            said = [f"{self.folder} was started with other text:", *listed, f"put the old text back, {ANEW}"]
            raise ChangedData("\n".join(said))
        return found

    def opening(
        self,
        data: Mapping[str, DataDigests] | None = None,
        corpora: Corpora | None = None,
        *,
        gpus: tuple[str, ...] | None = None,
    ) -> SweepOpened:
        """The event that starts, or takes up again, what is to be done here. `data`: what is read, by `corpus_key`, in
        these `corpora`; `gpus`: kinds of those in the cluster."""
        left_out = {key: found for key, corpus in (corpora or {}).items() if (found := corpus.left_out)}
        return SweepOpened(
            at=time.time(),
            spec=self.spec,
            sweep=digest(self.spec),
            provenance=self._provenance(gpus),
            format=FORMAT,
            data=dict(data or {}),
            left_out=left_out,
            rows={corpus.digests.digest(): corpus.train_rows for corpus in (corpora or {}).values()},
        )


def _number(tree: Tree, place: str) -> int:
    found = get(tree, place)
    return found if isinstance(found, int) else 0


def _say(lock: Path, who: str) -> None:
    """Into the file itself, for the lock is its inode's; never through a link that somebody put there."""
    file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(file, "w") as opened:
        opened.write(who + "\n")


def closing(cause: str = COMPLETE) -> SweepClosed:
    """The event that ends a driver in order."""
    return SweepClosed(at=time.time(), cause=cause)


def refuse_few_rows(runs: Sequence[RunSpec], corpora: Corpora, judged_by: Iterable[tuple[str, str]] = ()) -> None:
    """ValueError where fewer held-out rows are there than a run is to be measured on.

    Also where their words are too few for a metric that something depends on: `judged_by` has each with its place.
    """
    wanted = {(corpus_key(run.data), run.evaluation.rows) for run in runs}
    faults = [fault for key, rows in sorted(wanted) if (fault := corpora[key].shortfall(rows))]
    if not faults:
        named = list(judged_by)
        unlike = {(corpus_key(run.data), run.evaluation, run.training.checkpoints.best): run for run in runs}
        faults = [fault for run in unlike.values() for fault in _word_faults(run, corpora, named)]
    if faults:
        raise ValueError("\n".join(dict.fromkeys(faults)))


def _word_faults(run: RunSpec, corpora: Corpora, judged_by: Sequence[tuple[str, str]]) -> list[str]:
    words, best = run.evaluation.word_probes, run.training.checkpoints.best
    named = [*judged_by, *([("training.checkpoints.best.metric", best.metric)] if best else [])]
    wanted = [(place, metric) for place, metric in named if words is not None and metric in words.metrics]
    if words is None or not wanted:
        return []
    corpus = corpora[corpus_key(run.data)]
    rows = torch.from_numpy(corpus.held_out_rows(run.evaluation.rows))      # (R, N)
    if words.build(rows, corpus.vocabulary).enough:
        return []
    share = f"evaluation.word_probes.min_share {words.min_share:g}"
    why = f"{len(rows)} held-out rows are too few, or their words all too rare ({share})"
    out = "raise evaluation.rows or data.held_out, or use another metric"
    return [f"{place}: {metric} would not be measured, because {why}; {out}" for place, metric in wanted]


def refuse_missing_text(corpora: Iterable[DataSpec], runs: Iterable[RunSpec]) -> None:
    """Raises MissingInputs with all that is missing of what these runs read (a file, column, tokenizer).

    `corpora`: all that they train on.
    """
    faults = [fault for data in corpora for fault in data.faults()]
    for folder in dict.fromkeys(run.evaluation.stsb for run in runs if run.evaluation.stsb is not None):
        try:
            read_stsb(folder)
        except (OSError, ValueError) as fault:
            faults.append(f"evaluation.stsb: {fault}")
    if faults:
        raise MissingInputs(faults)
