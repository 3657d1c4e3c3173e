"""Fine-tuning: encoder and head trained together on a task's training split (GLUE's protocol, arXiv:1804.07461).

A part of the training split is held back. Training ends when its loss has not fallen for a while, and the weights of
the best epoch answer, so that the scored split is never looked at. Grades are one column of standardised numbers.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cogito_ray.evaluation.labelled_evaluation_spec import FineTuneSettings
from cogito_ray.evaluation.protocols.linear_probe import baselines
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import Examples, Task
from cogito_ray.nn.concept_pooling import Classifier, CosineClassifier, EncoderInput, PairClassifier, ViaDecoderPoolSpec

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls to 0 in a line."""
CLIP = 1.0
"""Largest norm of a gradient."""
ROWS_AT_ONCE = 128
"""Scored at once."""


class FineTuneSpec(FineTuneSettings):
    """How long and how fast, and how concepts become the vector that is classified."""

    seeded: ClassVar[bool] = True

    @property
    def together(self) -> bool:
        """Do two texts share a row?"""
        return self.pairs == "concatenated"

    def suits(self, task: Task) -> bool:
        """Any labelled task with a training split; a cosine is of two texts."""
        return bool(task.train) and (self.pairs != "cosine" or len(task.texts) == 2)

    def faults(self, *, decodes: bool) -> list[str]:
        """Why a model, with or without a decoder, cannot be asked."""
        if isinstance(self.head, ViaDecoderPoolSpec) and not decodes:
            return [f"head '{self.head.kind}' needs a model with a decoder; use another, such as {{kind: mean}}"]
        return []

    def splits(self, task: Task) -> tuple[str, ...]:
        """Names of the splits that are read."""
        return (task.train, task.scored)

    def predictions(
        self, encoder: SentenceEncoder, task: Task, splits: Mapping[str, Examples], seed: int
    ) -> Iterator[tuple[str, NDArray[Any]]]:
        """(head, a prediction for each scored example), and those of baselines that read the same training examples."""
        train, scored = splits[task.train], splits[task.scored]
        known = train.some(self.rows, seed)
        label_type = label_type_of(task, train)
        yield self.head.kind, fine_tune(encoder, self, label_type=label_type, train=known, scored=scored, seed=seed)
        yield from baselines(task, train=known, scored=scored)


class LabelType(Protocol):
    """What the columns of a head mean: how they are trained, and what they predict."""

    @property
    def columns(self) -> int:
        """Of the head's logits."""
        ...

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, columns), labels (B,) -> scalar to descend."""
        ...

    def predict(self, logits: Tensor) -> Tensor:
        """logits (B, columns) -> classes or grades (B,)."""
        ...


@dataclass(frozen=True)
class Classes:
    """One logit a class; cross-entropy."""

    columns: int
    """One a class."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, columns), labels (B,) int64 -> nats."""
        return F.cross_entropy(logits, labels)

    def predict(self, logits: Tensor) -> Tensor:
        """logits (B, columns) -> the likeliest classes (B,) int64."""
        return logits.argmax(dim=1)


@dataclass(frozen=True)
class Grades:
    """Numbers on a scale, standardised by those of the training split; squared error."""

    mean: float
    std: float
    """Standard deviation of the training grades."""
    columns: int = 1

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits (B, 1), labels (B,) -> mean squared error, in standard deviations."""
        return F.mse_loss(logits.squeeze(1), ((labels - self.mean) / self.std).float())

    def predict(self, logits: Tensor) -> Tensor:
        """logits (B, 1) -> grades (B,) on the task's own scale."""
        return logits.squeeze(1) * self.std + self.mean


def label_type_of(task: Task, train: Examples) -> LabelType:
    """From the whole training split: a small draw of it says less of its grades."""
    if task.graded:
        return Grades(float(train.labels.mean()), float(train.labels.std()) or 1.0)
    return Classes(len(task.classes))


def fine_tune(
    encoder: SentenceEncoder, spec: FineTuneSpec, *, label_type: LabelType, train: Examples, scored: Examples, seed: int
) -> NDArray[Any]:
    """-> (m,) classes or grades of the scored examples. The encoder's own model stays as it is; equal seeds, equal
    answers on equal machines."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    held = min(max(1, round(spec.held_back * len(train))), len(train) - 1)
    known, unseen = (_TokenizedExamples.of(encoder, each, together=spec.together) for each in (train, scored))
    state, best, lowest = generator.get_state(), None, math.inf
    for rate in (spec.learning_rate, *spec.further_learning_rates):
        with torch.random.fork_rng(_devices(encoder.model)):                    # the head's start, and dropout
            torch.manual_seed(seed)
            tuner = _FineTuner(_head(encoder, spec, label_type=label_type, rows=known), label_type, spec)
            loss = tuner.train(known, order[held:], order[:held], generator.set_state(state), rate=rate)
        if best is None or loss < lowest:
            best, lowest = tuner, loss
    assert best is not None
    return best.predict(unseen)


@dataclass
class EarlyStopping:
    """Stops when the loss has not fallen for `patience` epochs, and keeps the weights of the best one."""

    patience: int
    loss: float = math.inf
    epochs_since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, loss: float, module: nn.Module) -> bool:
        """One more epoch's loss; keeps the weights if it is the lowest. Is it time to stop?"""
        self.epochs_since += 1
        if loss < self.loss or not self.weights:
            self.loss, self.epochs_since, self.weights = loss, 0, copy.deepcopy(module.state_dict())
        return self.epochs_since >= self.patience


@dataclass(frozen=True)
class _TokenizedExamples:
    """Examples as token ids."""

    sides: tuple[Tensor, ...]
    """(n, K) ids of the one or two texts of each."""
    labels: Tensor
    """(n,)"""
    pad_id: int

    @classmethod
    def of(cls, encoder: SentenceEncoder, examples: Examples, *, together: bool) -> "_TokenizedExamples":
        if together and examples.two is not None:
            sides: tuple[Tensor, ...] = (encoder.pair_ids(examples.one, examples.two),)
        else:
            sides = tuple(encoder.ids(texts) for texts in (examples.one, examples.two) if texts is not None)
        return cls(sides, torch.from_numpy(examples.labels), encoder.tokenizer.vocabulary.pad_id)

    def batch(self, rows: Tensor, device: torch.device) -> tuple[list[EncoderInput], Tensor]:
        """These examples' texts (B, K), cut at the longest, and labels (B,)."""
        return [self._text(side[rows].to(device)) for side in self.sides], self.labels[rows].to(device)

    def _text(self, ids: Tensor) -> EncoderInput:
        ids = ids[:, : int((ids != self.pad_id).sum(dim=1).max())]          # (B, K)
        return EncoderInput(ids, torch.arange(ids.shape[1], device=ids.device).expand_as(ids), ids != self.pad_id)


class _FineTuner:
    """A head with its own copy of the encoder, and how it is trained."""

    def __init__(self, head: nn.Module, label_type: LabelType, spec: FineTuneSpec):
        self.head, self.label_type, self.spec = head, label_type, spec
        self.device = _device(head)

    def train(
        self, rows: _TokenizedExamples, known: Tensor, held: Tensor, generator: torch.Generator, *, rate: float
    ) -> float:
        """Until the loss on `held` falls no more; leaves the weights of the best epoch, whose loss is returned."""
        optimizer = torch.optim.AdamW(self.head.parameters(), lr=rate)
        steps = self.spec.epochs * math.ceil(len(known) / self.spec.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps))
        best = EarlyStopping(self.spec.patience)
        for _ in range(self.spec.epochs):
            shuffled = known[torch.randperm(len(known), generator=generator)]
            self.head.train()
            for part in shuffled.split(self.spec.batch):
                texts, labels = rows.batch(part, self.device)
                optimizer.zero_grad()
                self.label_type.loss(self.head(*texts), labels).backward()
                nn.utils.clip_grad_norm_(self.head.parameters(), CLIP)
                optimizer.step()
                schedule.step()
            if best.update(self._loss(rows, held), self.head):
                break
        self.head.load_state_dict(best.weights)
        return best.loss

    def predict(self, rows: _TokenizedExamples) -> NDArray[Any]:
        logits, _ = self._logits(rows, torch.arange(len(rows.labels)))
        return self.label_type.predict(logits).cpu().numpy()

    def _loss(self, rows: _TokenizedExamples, held: Tensor) -> float:
        return float(self.label_type.loss(*self._logits(rows, held)))

    @torch.no_grad()
    def _logits(self, rows: _TokenizedExamples, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(m, columns), and the labels (m,)."""
        self.head.eval()
        parts = [rows.batch(part, self.device) for part in chosen.split(ROWS_AT_ONCE)]
        return torch.cat([self.head(*texts) for texts, _ in parts]), torch.cat([labels for _, labels in parts])


def _head(
    encoder: SentenceEncoder, spec: FineTuneSpec, *, label_type: LabelType, rows: _TokenizedExamples
) -> nn.Module:
    model = copy.deepcopy(encoder.model)
    apart = CosineClassifier if spec.pairs == "cosine" else PairClassifier
    head = Classifier if len(rows.sides) == 1 else apart
    return head(model, spec.head.build(model.width, model.heads), label_type.columns, spec.dropout).to(_device(model))


def _factor(step: int, steps: int) -> float:
    """Of the learning rate: up, then down in a line."""
    return min((step + 1) / max(1.0, WARM_UP * steps), (steps - step) / steps)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _devices(model: nn.Module) -> list[torch.device]:
    """Those with random states of their own."""
    return [device for device in (_device(model),) if device.type == "cuda"]
