"""A run: the whole of what one trial needs, validated before anything is spent on it."""

import math
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Generator, Tensor

from cogito_ray.analysis.thresholds import REPORTED
from cogito_ray.base_spec import Spec, TrackerName, Worded, did_you_mean, digest, nearest
from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
from cogito_ray.evaluation.score_names import STSB, AbsoluteFolder
from cogito_ray.evaluation.validation.word_probes import FEWEST_ROWS, WordProbesSpec
from cogito_ray.gate_spec import GateSpec
from cogito_ray.losses.total_loss import TASKS, LossSpec
from cogito_ray.nn.attention import document_starts
from cogito_ray.nn.model import ModelSpec
from cogito_ray.nn.vocabulary_head import HeadSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.position_sampling import cropped
from cogito_ray.plugins import Reference, importing, undeclared
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.checkpoints.checkpoint_retention import CheckpointsSpec
from cogito_ray.training.checkpoints.initial_weights import StartFromSpec
from cogito_ray.training.guards import GuardsSpec, OnDivergence, StopSpec
from cogito_ray.training.learning_rate_schedule import ScheduleSpec, Share, StableDecaySpec
from cogito_ray.training.optimizer import AdamWSpec, OptimizerSpec

Label = Annotated[
    str,
    Worded(
        "[A-Za-z0-9]([-_./A-Za-z0-9]*[A-Za-z0-9])?",
        "a label has letters, digits, '-', '_', '.' and '/', and begins and ends with a letter or digit",
    ),
]
MANY = 32
"""Numbers of workers: what all of them divide soon has more digits than a batch."""
APART = ("evaluation.labelled", "plugins", "track", "question", "conclusion")
"""Dotted places that make it no other run."""
MAPS_SHARDS = {"mapped": True, "streamed": False}


class TrainingSpec(Spec):
    """How long, how fast and by whom a model is trained, and what is kept of it."""

    steps: PositiveInt = 1000
    """Optimizer steps."""
    batch: PositiveInt = 64
    """Rows per optimizer step, over all workers."""
    micro_batch: PositiveInt | None = None
    """Rows per forward pass. The unit of randomness: with it set, 1, 2 or 4 workers compute the same thing. Losses and
    gradients are those of the whole batch, however it is cut, with three exceptions that see one pass only: the
    negatives of loss.contrast, statistics over texts (variance, covariance, vicreg, combined), and the cap of
    loss.weighting 'capped'. None = as many as a worker's share of the batch."""
    optimizer: OptimizerSpec = AdamWSpec()
    schedule: ScheduleSpec = StableDecaySpec()
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How workers hold the model. ddp: a whole copy each; fsdp: a shard of every weight each (FSDP2), for
    models whose optimizer does not fit one device."""
    activation_checkpointing: bool = False
    """Compute each encoder block again on the way back instead of keeping its activations (arXiv:1604.06174): memory of
    one block instead of all, for a third more time; the numbers stay the same."""
    compile: bool = False
    """Compile encoder and decoder (torch.compile): the first steps take minutes, later ones less time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 = autocast of the forward pass; weights and optimizer stay float32."""
    tf32: bool = True
    """On CUDA, float32 matrices are multiplied in TF32, 10 bits of mantissa instead of 23 and several times as fast."""
    deterministic: bool = True
    """On CUDA, training takes kernels that give the same bits whenever they are run, without which a resumed run is
    near to, but not the same as, one that was never stopped. A CPU's always do."""
    cropped: Share = 0.0
    """Share of a step's rows that end early, after a tenth of their places or anywhere later: packed rows are always
    full, and so a model without this never reads a text as short as those that it is asked about."""
    report_every: PositiveInt = 50
    """Steps between two reports; each report evaluates the held-out rows."""
    checkpoint_every: PositiveInt = 500
    """Steps between two checkpoints, each written at the report that follows; the last step always leaves one."""
    checkpoints: CheckpointsSpec = CheckpointsSpec()
    """Which of them stay, and where copies go."""
    stall_s: PositiveFloat | None = 600.0
    """Seconds without progress after which a worker ends itself, and is started again. Longer than the first step, or
    one evaluation, may take. null = never."""
    guards: GuardsSpec = GuardsSpec()
    on_divergence: OnDivergence = StopSpec()
    """What to do when a loss or gradient explodes, rises for good or is not finite."""


class EvaluationSpec(Spec):
    """What each report measures on held-out rows, and what checkpoints are asked besides."""

    rows: PositiveInt = 256
    """Held-out rows, the same for every trial, in equal shares from every source; what one lacks, others give."""
    reference: ObjectiveSpec | None = None
    """The corruption under which every trial is measured, with fixed masks. None = the objective's kind with its
    default settings, so that a trial which corrupts less is not measured on an easier task."""
    word_probes: WordProbesSpec | None = WordProbesSpec()
    """Asks the concepts which words they hold and in which order: measures that compare across decoders and objectives.
    None = not asked."""
    stsb: AbsoluteFolder | None = None
    """Folder that holds STS-B's validation.parquet in the hub's columns; as an absolute path, because workers start in
    folders of their own. Reports eval/stsb_spearman_mean: zero-shot, by the cosine of mean concepts; the same of the
    model's token means; and both whitened (arXiv:2103.15316), by the set's own texts, and by pieces of held-out rows,
    as one whose own texts are not known beforehand would."""
    labelled: LabelledEvaluationSpec | None = None
    """Labelled tasks that the checkpoints of a run on its own are asked beside training, which never waits for the
    answers. null = none; a sweep's trials are not asked."""

    analysis: bool = False
    """Also reports, as analysis/cosine_mean and so on, what `cogito-ray analyse` holds against thresholds, for goals,
    constraints and gates."""

    @property
    def metrics(self) -> list[str]:
        """Names of what is asked of the concepts of clean texts."""
        words = self.word_probes.metrics if self.word_probes and self.rows >= FEWEST_ROWS else ()
        return [*words, *(STSB if self.stsb else []), *(REPORTED if self.analysis else [])]


class ElasticSpec(Spec):
    """As many workers as there is room for, from `min` to `max`. The numbers do not depend on how many they are."""

    min: PositiveInt
    max: int = Field(ge=2, le=1024)
    check_every_s: PositiveFloat = 60.0
    """Seconds between two looks at whether there is room for more. Growing costs the steps since a checkpoint."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"min {self.min} is not below max {self.max}; for a fixed number write: workers: N")
        return self


class BranchSpec(Spec):
    """Where a run branches off another one, whose past is its own up to there. A sweep's population settles it."""

    run: str
    """Digest of the other run, a trial of the same sweep."""
    step: PositiveInt
    """At which that one left a checkpoint: weights, optimizer, and the place in the rows are taken from it."""


class RunSpec(Spec):
    """Two runs with equal digests are the same run."""

    question: str = Field(default="", exclude_if=lambda text: not text)
    """What it asks, in a sentence, for the notebook. Of a sweep, write it beside `run`, and so the next one."""
    conclusion: str = Field(default="", exclude_if=lambda text: not text)
    """What people make of its result: kept in its ledger, with author and time, whenever its command is given."""
    data: DataSpec
    model: ModelSpec
    objective: ObjectiveSpec
    loss: LossSpec = LossSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    start_from: StartFromSpec | None = None
    """A checkpoint that gives the first weights; None = all at random."""
    branch: BranchSpec | None = Field(default=None, exclude_if=lambda branch: branch is None)
    """Where it branches off another run; None = nowhere, it is trained from its first step."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    plugins: tuple[Reference, ...] = Field(default=(), exclude_if=lambda plugins: not plugins)
    """Modules that define kinds of your own, by name, or as files of Python by their paths from the folder of this
    file. Every process that reads the run imports them."""
    workers: PositiveInt | ElasticSpec = 1
    """Processes that share each batch (Ray Train workers), wherever they are: a machine with 4 GPUs and one with 3 are
    7 workers, and the batch a multiple of 7. {min: 2, max: 4} = as many as there is room for."""
    cpus_per_worker: PositiveFloat = 1.0
    """CPUs reserved for each worker; also its torch threads."""
    reader: Literal["mapped", "streamed"] = "mapped"
    """Who reads the rows, which are the same. mapped: each worker, by memory map of the shards. streamed: Ray Data,
    with the cluster's spare CPUs, a little slower; where data.keep is text, it tokenises as well."""
    gpus_per_worker: NonNegativeFloat = 0.0
    """GPUs reserved for each worker; a fraction lets one-worker trials share a GPU."""
    track: tuple[TrackerName, ...] = Field(default=(), exclude_if=lambda track: not track)
    """Trackers that are told of a run on its own while it trains: wandb, mlflow, tensorboard. Of a sweep, write it
    beside `run`."""
    gates: tuple[GateSpec, ...] = Field(default=(), exclude_if=lambda gates: not gates)
    """What to conclude when a run on its own ends. Of a sweep, write it beside `run`."""
    labels: dict[Label, Label] = Field(default={}, exclude_if=lambda labels: not labels)
    """Labels of the machines that may hold workers, where not all are alike: {gpu: a5000} = those whose Ray was started
    with `--labels gpu=a5000`. {} = all machines."""

    def digest(self) -> str:
        """As of every Spec; but what is asked and told of it besides makes it no other run."""
        measured = self.evaluation.model_copy(update={"labelled": None})
        told = {"plugins": (), "track": (), "gates": (), "question": "", "conclusion": ""}
        return digest(self.model_copy(update={"evaluation": measured, **told}).settled())

    def __reduce__(self) -> tuple[object, ...]:
        """Between processes, a run is its settings: whoever reads them imports its plugins first."""
        return type(self).model_validate, (self.model_dump(mode="json"),)

    @property
    def reference(self) -> ObjectiveSpec:
        """The corruption under which this run is evaluated."""
        return self.evaluation.reference or type(self.objective)()

    @property
    def sizes(self) -> range:
        """Numbers of workers that may train it."""
        if isinstance(self.workers, ElasticSpec):
            return range(self.workers.min, self.workers.max + 1)
        return range(self.workers, self.workers + 1)

    @property
    def micro_batch(self) -> int:
        """Rows per forward pass."""
        return self.training.micro_batch or self.training.batch // self.sizes[-1]

    def micro_batches(self, workers: int) -> int:
        """Forward passes of each of so many workers per optimizer step."""
        return self.training.batch // (self.micro_batch * workers)

    def views(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> tuple[View, View | None]:
        """ids (B, N) clean -> what `TotalLoss.forward` reads in training."""
        if self.training.cropped:
            ids = cropped(ids, self.training.cropped, vocabulary.pad_id, generator)
        view, other = self.loss.views(self.objective, ids, vocabulary, generator)
        if self.model.reads_documents:
            view = replace(view, starts=document_starts(ids, vocabulary))
        return view.on_host(), other and other.on_host()

    def terms(self) -> list[str]:
        """Names of this run's loss terms, in order."""
        tasks = (self.model.decoder, self.loss.contrast, self.loss.bag_of_words)
        asked = [name for name, part in zip(TASKS, tasks, strict=True) if part is not None]
        return asked + [r.kind for r in self.loss.regularisers]

    @property
    def metrics(self) -> list[str]:
        """Names of what each of its reports measures."""
        rebuilt = ["eval/reconstruction_nats"] if self.model.decoder is not None else []
        if rebuilt and self.evaluation.rows > 1:
            rebuilt.append("eval/shuffled_reconstruction_nats")
        ranks = ["concepts/effective_rank", "concepts/nuclear_rank"]
        losses = [f"loss/{term}" for term in ("total", *self.terms())]
        shares = [f"loss/{term}_gradient_share" for term in self.terms()]
        steps = [f"optimizer/{name}" for name in ("learning_rate", "gradient_norm", "weight_norm", "skipped_share")]
        if self.training.parallel == "ddp" and self.micro_batches(self.sizes[-1]) > 1:
            steps.append("gradient/noise_scale_rows")
        times = ["time/tokens_per_s", "time/mfu", "time/data_wait_share", "model/parameters"]
        return [*rebuilt, *self.evaluation.metrics, *ranks, *losses, *times, *shares, *steps, "eval/unigram_nats"]

    _with_plugins = model_validator(mode="wrap")(importing)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        faults = [*self._training_faults(), *self._decoder_faults(), *self._batch_faults(), *self._data_faults()]
        faults += self._document_faults()
        faults += [*self._shard_faults(), *self._gpu_faults(), *undeclared(self, self.plugins)]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _training_faults(self) -> list[str]:
        if self.model.decoder is None and self.loss.contrast is None:
            return ["model.decoder: nothing trains the encoder; set it, loss.contrast, or both"]
        guards = self.training.guards.faults(
            terms=len(self.terms()),
            rebuilds=self.model.decoder is not None,
            rank=min(self.model.concepts, self.model.width),
            steps=self.training.steps,
            report_every=self.training.report_every,
        )
        concepts, width = self.model.concepts, self.model.width
        shape = self.loss.shape_faults(concepts=concepts, width=width, rows=self.micro_batch)
        return [*guards, *self.loss.faults(self.terms()), *shape, *self._best_faults(), *self._idle_faults()]

    def _idle_faults(self) -> list[str]:
        """Settings without effect."""
        model, every = self.model, [r.kind for r in self.loss.regularisers if r.layers == "every"]
        idle = {
            "model.head: without model.decoder nothing is rebuilt; leave it out": (
                model.decoder is None and model.head != HeadSpec()
            ),
            "evaluation.analysis: one concept has no other to be compared with; leave it out": (
                model.concepts == 1 and self.evaluation.analysis
            ),
            "model.encoder.tied: with model.encoder.depth 1 there is one block only; leave it out": (
                model.encoder.depth == 1 and model.encoder.tied
            ),
            "loss.contrast.across_workers: as many negatives as workers, whose number must be fixed, and 2 or more; "
            "set workers, or leave it out": (
                getattr(self.loss.contrast, "across_workers", False) and (len(self.sizes) > 1 or self.sizes[-1] == 1)
            ),
            f"loss.regularisers: with model.encoder.depth 1, layers 'every' of {', '.join(every)} is the last one; "
            "leave it out": bool(model.encoder.depth == 1 and every),
        }
        return [fault for fault, found in idle.items() if found]

    def _best_faults(self) -> list[str]:
        best, known = self.training.checkpoints.best, self.metrics
        if best is None or best.metric in known:
            return []
        way_out = did_you_mean(nearest(best.metric, known), known)
        return [f"training.checkpoints.best.metric: no report of this run has {best.metric!r}; {way_out}"]

    def _decoder_faults(self) -> list[str]:
        decoder = self.model.decoder
        if decoder is None:
            head = "loss.bag_of_words: it scores words by the head of a decoder; set model.decoder, or leave it out"
            return [head] if self.loss.bag_of_words else []
        corruptions = {"objective": self.objective}
        corruptions |= {"evaluation.reference": self.reference} if self.evaluation.reference else {}
        return [
            f"model.decoder '{decoder.kind}' reads {sorted(missing)}, which {place} '{corruption.kind}' does not give"
            for place, corruption in corruptions.items()
            if (missing := decoder.needs - corruption.provides)
        ]

    def _document_faults(self) -> list[str]:
        if not self.model.reads_documents:
            return []
        corruptions = {"objective": self.objective}
        corruptions |= {"evaluation.reference": self.reference} if self.evaluation.reference else {}
        faults = [
            f"model.attention 'document': {place} '{corruption.kind}' does not treat the documents of a row "
            "alike; use another kind"
            for place, corruption in corruptions.items()
            if not corruption.respects_documents
        ]
        if self.loss.contrast is not None:
            faults.append(
                f"model.attention 'document': loss.contrast '{self.loss.contrast.kind}' compares whole rows, not "
                "the documents in them; leave it out"
            )
        if self.loss.bag_of_words is not None:
            faults.append("model.attention 'document': loss.bag_of_words asks a row's mean concept; leave it out")
        if self.data.packing == "document":
            faults.append(
                "model.attention 'document': under data.packing 'document' each row holds one document already; leave "
                "it out"
            )
        return faults

    def _data_faults(self) -> list[str]:
        faults = self._contamination_faults()
        if self.data.keeping.rows:
            return faults
        if MAPS_SHARDS[self.reader]:
            faults.append(f"reader '{self.reader}' maps shards, but data.keep 'text' leaves none: set reader: streamed")
        if "collocations" in self.objective.needs | self.reference.needs:
            faults.append(
                "objective counts collocations in kept rows, but data.keep 'text' leaves none: set data.keep: tokens"
            )
        return faults

    def _contamination_faults(self) -> list[str]:
        """Where text is cleaned of evaluation sets, it is cleaned of all that this run will be asked."""
        looked_for = self.data.clean.decontaminate if self.data.clean else None
        if looked_for is None:
            return []
        asked = {"evaluation.labelled.tasks": self.evaluation.labelled.tasks if self.evaluation.labelled else ()}
        asked["evaluation.stsb"] = ("stsb",) if self.evaluation.stsb else ()
        return [
            f"{place} asks {task}, which data.clean.decontaminate.tasks does not name; add it there"
            for place, tasks in asked.items()
            for task in tasks
            if task not in looked_for.tasks
        ]

    def _gpu_faults(self) -> list[str]:
        """Ray shares one GPU among workers, or gives a worker whole ones."""
        asked = self.gpus_per_worker
        if asked <= 1 or asked.is_integer():
            return []
        return [f"gpus_per_worker: {asked} is neither a share of one GPU nor a whole number; write {math.ceil(asked)}"]

    def _shard_faults(self) -> list[str]:
        """What sharded weights do not go with."""
        if self.training.parallel == "ddp":
            return []
        at_odds = {
            "one worker has nothing to share; set workers": self.sizes[-1] == 1,
            f"training.optimizer '{self.training.optimizer.kind}' is for ddp": not self.training.optimizer.shards,
            "training.optimizer.ema is for ddp": self.training.optimizer.ema is not None,
            "training.on_divergence 'rollback' is for ddp": self.training.on_divergence.times > 0,
        }
        return [f"training.parallel '{self.training.parallel}': {why}" for why, found in at_odds.items() if found]

    def _batch_faults(self) -> list[str]:
        rows, whole = self.micro_batch, self.training.batch
        odd = next((size for size in self.sizes if rows == 0 or whole % (rows * size)), None)
        if odd is None:
            return []
        multiple = f"make it a multiple of {max(rows, 1) * math.lcm(*self.sizes)}" if len(self.sizes) <= MANY else (
            "name fewer numbers of workers"
        )
        return [
            f"training.batch {whole} cannot be shared by {odd} workers in forward passes of {rows} rows: "
            f"{multiple}, or set training.micro_batch"
        ]
