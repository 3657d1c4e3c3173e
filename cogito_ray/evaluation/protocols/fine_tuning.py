"""Fine-tuning: encoder and head trained together on a task's training split (GLUE's protocol, arXiv:1804.07461).

A part of the training split is held back. Training ends when its loss has not fallen for a while, and the weights of
the best epoch answer, so that the scored split is never looked at. Grades are one column of standardised numbers.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.evaluation.protocols.linear_probe import baselines
from cogito_ray.evaluation.sentence_encoder import TextReader
from cogito_ray.evaluation.tasks.sentence_tasks import Examples, Task
from cogito_ray.nn.downstream_heads import Classifier, EncoderInput, PairClassifier, PoolSpec, ViaDecoderPoolSpec
from cogito_ray.nn.model import ModelSpec

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls to 0 in a line."""
CLIP = 1.0
"""Largest norm of a gradient."""
ROWS_AT_ONCE = 128
"""Scored at once."""


class FineTuneSpec(Spec):
    kind: Literal["fine-tune"] = "fine-tune"
    seeded: ClassVar[bool] = True
    head: PoolSpec = ViaDecoderPoolSpec()
    """How a text's concepts become one vector, before a linear layer; pairs are compared as in nn.heads."""
    rows: PositiveInt = 2000
    """Training examples, at most, drawn by the seed; those held back are among them."""
    epochs: PositiveInt = 6
    """At most."""
    patience: PositiveInt = 2
    """Epochs without a lower loss on what is held back, after which training ends."""
    held_back: float = Field(default=0.1, gt=0, lt=1)
    batch: PositiveInt = 16
    learning_rate: PositiveFloat = 1e-3
    """Its largest. Suits encoders of a few million weights; 2e-5 to 5e-5 suits those of a hundred million."""

    def suits(self, task: Task) -> bool:
        return True

    def faults(self, model: ModelSpec) -> list[str]:
        """Why this model cannot be asked."""
        return [f"head '{self.head.kind}' needs a model with a decoder; use another"] * (
            isinstance(self.head, ViaDecoderPoolSpec) and model.decoder is None
        )

    def splits(self, task: Task) -> tuple[str, ...]:
        return (task.train, task.scored)

    def answers(
        self, reader: TextReader, task: Task, splits: Mapping[str, Examples], seed: int
    ) -> Iterator[tuple[str, NDArray[Any]]]:
        """(head, a prediction for each scored example), and those of baselines that read the same training examples."""
        train, scored = splits[task.train], splits[task.scored]
        known = train.some(self.rows, seed)
        answer = answer_of(task, train)
        yield self.head.kind, fine_tune(reader, self, answer=answer, train=known, scored=scored, seed=seed)
        yield from baselines(task, train=known, scored=scored)


class Answer(Protocol):
    """What a head's columns mean."""

    @property
    def columns(self) -> int: ...
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor: ...
    def told(self, logits: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Classes:
    columns: int
    """One a class."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, columns), labels (B,) int64 -> nats."""
        return F.cross_entropy(logits, labels)

    def told(self, logits: Tensor) -> Tensor:
        return logits.argmax(dim=1)                                         # (B,)


@dataclass(frozen=True)
class Grades:
    mean: float
    spread: float
    """Standard deviation of the training grades."""
    columns: int = 1

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, 1), labels (B,) -> mean squared error, in spreads."""
        return F.mse_loss(logits.squeeze(1), ((labels - self.mean) / self.spread).float())

    def told(self, logits: Tensor) -> Tensor:
        return logits.squeeze(1) * self.spread + self.mean                  # (B,)


def answer_of(task: Task, train: Examples) -> Answer:
    """From the whole training split: a small draw of it says less of its grades."""
    if task.graded:
        return Grades(float(train.labels.mean()), float(train.labels.std()) or 1.0)
    return Classes(len(task.classes))


def fine_tune(
    reader: TextReader, spec: FineTuneSpec, *, answer: Answer, train: Examples, scored: Examples, seed: int
) -> NDArray[Any]:
    """-> (m,) classes or grades of the scored examples. The reader's own model stays as it is; equal seeds, equal
    answers on equal machines."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    held = min(max(1, round(spec.held_back * len(train))), len(train) - 1)
    known, asked = _Rows.of(reader, train), _Rows.of(reader, scored)
    with torch.random.fork_rng(_devices(reader.model)):                        # the head's start, and dropout
        torch.manual_seed(seed)
        tuner = _Tuner(_head(reader, spec, answer=answer, rows=known), answer, spec)
        tuner.train(known, order[held:], order[:held], generator)
    return tuner.told(asked)


@dataclass
class Best:
    """The lowest loss so far, and how long ago."""

    patience: int
    loss: float = math.inf
    since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def hear(self, loss: float, module: nn.Module) -> bool:
        """Remember the weights of a lower loss. Is it time to end?"""
        self.since += 1
        if loss < self.loss or not self.weights:
            self.loss, self.since, self.weights = loss, 0, copy.deepcopy(module.state_dict())
        return self.since >= self.patience


@dataclass(frozen=True)
class _Rows:
    """Examples as token ids."""

    sides: tuple[Tensor, ...]
    """(n, K) ids of the one or two texts of each."""
    labels: Tensor
    """(n,)"""
    pad_id: int

    @classmethod
    def of(cls, reader: TextReader, examples: Examples) -> "_Rows":
        sides = tuple(reader.ids(texts) for texts in (examples.one, examples.two) if texts is not None)
        return cls(sides, torch.from_numpy(examples.labels), reader.tokenizer.vocabulary.pad_id)

    def batch(self, rows: Tensor, device: torch.device) -> tuple[list[EncoderInput], Tensor]:
        """These examples' texts (B, K), cut at the longest, and labels (B,)."""
        return [self._text(side[rows].to(device)) for side in self.sides], self.labels[rows].to(device)

    def _text(self, ids: Tensor) -> EncoderInput:
        ids = ids[:, : int((ids != self.pad_id).sum(dim=1).max())]          # (B, K)
        return EncoderInput(ids, torch.arange(ids.shape[1], device=ids.device).expand_as(ids), ids != self.pad_id)


class _Tuner:
    """A head with its own copy of the encoder, and how it is trained."""

    def __init__(self, head: nn.Module, answer: Answer, spec: FineTuneSpec):
        self.head, self.answer, self.spec = head, answer, spec
        self.device = _device(head)

    def train(self, rows: _Rows, known: Tensor, held: Tensor, generator: torch.Generator) -> None:
        """Until the loss on `held` falls no more; leaves the weights of the best epoch."""
        optimizer = torch.optim.AdamW(self.head.parameters(), lr=self.spec.learning_rate)
        steps = self.spec.epochs * math.ceil(len(known) / self.spec.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps))
        best = Best(self.spec.patience)
        for _ in range(self.spec.epochs):
            shuffled = known[torch.randperm(len(known), generator=generator)]
            self.head.train()
            for part in shuffled.split(self.spec.batch):
                texts, labels = rows.batch(part, self.device)
                optimizer.zero_grad()
                self.answer.loss(self.head(*texts), labels).backward()
                nn.utils.clip_grad_norm_(self.head.parameters(), CLIP)
                optimizer.step()
                schedule.step()
            if best.hear(self._loss(rows, held), self.head):
                break
        self.head.load_state_dict(best.weights)

    def told(self, rows: _Rows) -> NDArray[Any]:
        logits, _ = self._logits(rows, torch.arange(len(rows.labels)))
        return self.answer.told(logits).cpu().numpy()

    def _loss(self, rows: _Rows, held: Tensor) -> float:
        return float(self.answer.loss(*self._logits(rows, held)))

    @torch.no_grad()
    def _logits(self, rows: _Rows, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(m, columns), and the labels (m,)."""
        self.head.eval()
        parts = [rows.batch(part, self.device) for part in chosen.split(ROWS_AT_ONCE)]
        return torch.cat([self.head(*texts) for texts, _ in parts]), torch.cat([labels for _, labels in parts])


def _head(reader: TextReader, spec: FineTuneSpec, *, answer: Answer, rows: _Rows) -> nn.Module:
    model = copy.deepcopy(reader.model)
    head = (Classifier, PairClassifier)[len(rows.sides) - 1]
    return head(model, spec.head.build(model.width, model.heads), answer.columns).to(_device(model))


def _factor(step: int, steps: int) -> float:
    """Of the learning rate: up, then down in a line."""
    return min((step + 1) / max(1.0, WARM_UP * steps), (steps - step) / steps)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _devices(model: nn.Module) -> list[torch.device]:
    """Those with random states of their own."""
    return [device for device in (_device(model),) if device.type == "cuda"]
