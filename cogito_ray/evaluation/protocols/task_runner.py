"""Runs labelled tasks on a trained model: every score with its interval, and beside it what useless models score."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from cogito_ray.base_spec import did_you_mean, digest, nearest
from cogito_ray.evaluation import bootstrap_metrics
from cogito_ray.evaluation.protocols.fine_tuning import FineTuneSpec
from cogito_ray.evaluation.protocols.linear_probe import ProbeSpec
from cogito_ray.evaluation.protocols.zero_shot_similarity import ZeroShotSpec
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import Task, check, content_id, read

Tree = dict[str, Any]
ProtocolSpec = ZeroShotSpec | ProbeSpec | FineTuneSpec
"""How a model is asked: `zero-shot` trains nothing, `probe` a linear map of frozen vectors, `fine-tune` everything."""
PROTOCOLS: dict[str, type[ZeroShotSpec] | type[ProbeSpec] | type[FineTuneSpec]] = {
    "zero-shot": ZeroShotSpec,
    "probe": ProbeSpec,
    "fine-tune": FineTuneSpec,
}
SOURCE = ("evaluation", "nn", "text")
"""Packages whose code decides what a checkpoint scores."""
BASELINES = frozenset(
    {"token_means", "token_means_whitened", "weighted_token_means", "bag_of_words", "majority", "tf_idf", "chance"}
    | {"lead", "oracle"}
)


@dataclass(frozen=True)
class Result:
    """One score of one checkpoint: a task, a protocol, a kind of vectors, a metric."""

    task: str
    protocol: str
    vectors: str
    """mean, max, all: the pooling of concepts; a head's kind; or one of BASELINES, which use no concepts."""
    metric: str
    score: bootstrap_metrics.Score
    examples: int
    """Scored ones."""
    truncated: int
    """Of these, how many hold a text that is longer than what is read of it."""
    rows: str
    """Digest of the scored examples: with equal ones, resamples are of the same rows."""

    @property
    def is_baseline(self) -> bool:
        """Whether no concepts were used."""
        return self.vectors in BASELINES


@dataclass(frozen=True)
class Question:
    """One task put in one way: the unit that is computed, recorded, and never computed again."""

    task: Task
    protocol: ProtocolSpec
    seed: int

    def pinned(self, data: Path | None) -> Self:
        """The same question to data that stay as they are now (see `Task.pinned`)."""
        return replace(self, task=self.task.pinned(data))

    def key(self, data: Path | None) -> str:
        """Digest of the question and of its data. FileNotFoundError names a file that is missing."""
        places = [content_id(self.task, split, data) for split in self.protocol.splits(self.task)]
        settings = {"task": self.task.name, "protocol": self.protocol.model_dump(mode="json"), "seed": self.seed}
        return digest(settings | {"data": places})

    def faults(self, data: Path | None) -> list[str]:
        """What is wrong with the data, found in moments: a file, a column or labels. The hub is trusted."""
        faults = []
        for split in self.protocol.splits(self.task):
            try:
                check(self.task, split, data)
            except (FileNotFoundError, ValueError) as fault:
                faults.append(str(fault))
        return faults

    def ask(self, encoder: SentenceEncoder, data: Path | None) -> list[Result]:
        """Every answer under every metric of the task."""
        encoder = encoder.as_asked(self.protocol.iterations, self.protocol.length)
        splits = {split: read(self.task, split, data) for split in self.protocol.splits(self.task)}
        predicted, scored = self.protocol.predictions(encoder, self.task, splits, self.seed), splits[self.task.scored]
        sides = [texts for texts in (scored.one, scored.two) if texts is not None]
        truncated = int(encoder.truncated(*sides, together=self.protocol.together).sum())
        rows = digest([scored.one, scored.two, scored.labels.tolist()])
        return [
            Result(
                task=self.task.name,
                protocol=self.protocol.kind,
                vectors=vectors,
                metric=metric,
                score=bootstrap_metrics.score(metric, scored.labels, predictions),
                examples=len(scored),
                truncated=truncated,
                rows=rows,
            )
            for vectors, predictions in predicted
            for metric in self.task.metrics
        ]


def protocols_of(asked: Iterable[str | Mapping[str, object]], limit: int | None = None) -> list[ProtocolSpec]:
    """Protocols, each once, given by name or as settings with their `kind`; those that train take `limit` examples, at
    most, where they do not say how many. ValueError for names that are none."""
    given = [{"kind": each} if isinstance(each, str) else dict(each) for each in asked]
    if unknown := [name for each in given if (name := each.get("kind", "")) not in PROTOCOLS]:
        known = list(PROTOCOLS)
        said = (f"no protocol is called {name!r}; {did_you_mean(nearest(str(name), known), known)}" for name in unknown)
        raise ValueError("\n".join(said))
    kinds = [PROTOCOLS[str(each["kind"])] for each in given]
    limited = [{"rows": limit} if limit and "rows" in kind.model_fields else {} for kind in kinds]
    specs = (kind.model_validate(rows | each) for kind, rows, each in zip(kinds, limited, given, strict=True))
    return list(dict.fromkeys(specs))


@cache
def code_version() -> str:
    """Twelve hex digits of the source that scores come from: a commit that changes something else leaves them."""
    root = Path(__file__).parents[2]
    files = sorted(file for part in SOURCE for file in (root / part).rglob("*.py"))
    return digest({str(file.relative_to(root)): file.read_text() for file in files})


def questions(tasks: Sequence[Task], protocols: Sequence[ProtocolSpec], seeds: int = 1) -> list[Question]:
    """Every task in every way that suits it, in the tasks' order; what no chance enters is asked once."""
    if seeds > 1 and not any(protocol.seeded for protocol in protocols):
        raise ValueError(f"{seeds} seeds are asked, but no chance enters these protocols; ask fine-tune, or one seed")
    return [
        Question(task, protocol, seed)
        for task in tasks
        for protocol in protocols
        if protocol.suits(task)
        for seed in range(seeds if protocol.seeded else 1)
    ]
