"""The tasks of a run: reconstruction of the targets, the same words from the mean concept alone, and contrast between
two views of a text."""

from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import Field, PositiveFloat
from torch import Generator, Tensor
from torch.autograd.function import FunctionCtx

from cogito_ray.base_spec import Spec
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.position_sampling import uniform
from cogito_ray.spec_registry import OpenUnion
from cogito_ray.text.vocabulary_info import Vocabulary


def reconstruction(model: ConceptModel, concepts: Tensor, view: View, divisor: Tensor) -> Tensor:
    """Weighted sum of the cross-entropies of targets over `divisor`, a scalar: with the sum of all weights, their mean
    in nats per target. concepts (B, C, D) -> scalar; 0 when nothing is asked.
    """
    assert model.decoder is not None
    assert model.head is not None
    query_ids = view.queries(whole=model.decoder.reads_rows)
    hidden = model.decoder(concepts, view.target_positions, query_ids, view.noise, view.starts)   # (B, M, D)
    return model.head.weighted_mean(hidden, view.targets, view.weights, view.label_smoothing, divisor=divisor)


class BagOfWordsSpec(Spec):
    """The bag-of-words loss (arXiv:1703.10960): the head also scores the targets' words by the mean of a text's
    concepts alone, wherever they stand. What reconstruction leaves to places, the mean then holds: what the text is
    about, also of the words that the encoder was not shown."""

    frequency_weight: PositiveFloat | None = 1.0e-2
    """a of the weight a / (a + frequency) that each word counts with (https://openreview.net/forum?id=SyK00v5xx); null
    = 1 for all."""

    def weights(self, log_unigram: Tensor) -> Tensor:
        """Log frequencies (V,) -> (V,)."""
        a, frequency = self.frequency_weight, log_unigram.exp()
        return torch.ones_like(frequency) if a is None else a / (a + frequency)


def bag_of_words(model: ConceptModel, concepts: Tensor, view: View, weights: Tensor, divisor: Tensor) -> Tensor:
    """Weighted sum of the cross-entropies of targets, told from mean concepts, over `divisor`, a scalar. concepts (B,
    C, D), weights (B, M) -> scalar.
    """
    assert model.head is not None
    hidden = concepts.mean(dim=1, keepdim=True).expand(-1, view.targets.shape[1], -1)                   # (B, M, D)
    return model.head.weighted_mean(hidden, view.targets, weights, view.label_smoothing, divisor=divisor)


def comparable(one: View, two: View) -> Tensor:
    """(B,) bool: rows that contrast compares. False where one of the views asks for nothing, because it is empty."""
    return (one.weights.sum(dim=1) > 0) & (two.weights.sum(dim=1) > 0)


def contrast(
    one: Tensor, two: Tensor, kept: Tensor, temperature: float, divisor: Tensor, *, across_workers: bool = False
) -> Tensor:
    """InfoNCE (arXiv:1807.03748), both ways, between the mean concepts of two views of the same texts.

    one, two (B, C, D); kept (B,) as of `comparable` -> their sum over `divisor`, a scalar: with the number of texts
    kept, the mean in nats per text. Negatives are the other texts of the same forward pass, so the loss of a text
    depends on how a batch is cut: of `micro_batch` rows, at most log(micro_batch) can be learned. `across_workers`:
    those of the passes that all W workers do at a time, W times as many.
    """
    a, b = (F.normalize(view.mean(dim=1), dim=-1) for view in (one, two))                   # (B, D)
    first, of_all = 0, (a, b, kept)
    if across_workers and dist.is_initialized() and torch.is_grad_enabled():
        told = torch.cat([a, b, kept[:, None].to(a.dtype)], dim=1)
        told = _OfAllWorkers.apply(told)  # type: ignore[no-untyped-call]                   # (W B, 2 D + 1)
        all_a, all_b, all_kept = told.split([a.shape[1], a.shape[1], 1], dim=1)
        first, of_all = dist.get_rank() * len(a), (all_a, all_b, all_kept[:, 0] > 0)
    unequal = ~(kept[:, None] & of_all[2])                                                  # (B, W B)
    there = (a @ of_all[1].T / temperature).masked_fill(unequal, -1e9)  # not -inf: a row of nothing else would be NaN
    back = there.T if of_all[0] is a else (b @ of_all[0].T / temperature).masked_fill(unequal, -1e9)
    own = torch.arange(len(a), device=a.device) + first             # row i's positive is row i of the other view
    nats = F.cross_entropy(there, own, reduction="none") + F.cross_entropy(back, own, reduction="none")
    return (nats * kept).sum() / (2 * divisor).clamp_min(1e-8)


class _OfAllWorkers(torch.autograd.Function):
    """own (B, ...) of each of W workers -> (W B, ...) in their order. Each has the gradient of the losses of all."""

    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous()
        dist.all_reduce(summed)
        return summed.chunk(dist.get_world_size())[dist.get_rank()]


class _ContrastSpec(Spec):
    temperature: PositiveFloat = 0.05
    across_workers: bool = False
    """Negatives are the texts of all workers' forward passes at a time, instead of one's: the loss depends on how many
    workers there are."""


class HalvesSpec(_ContrastSpec):
    """The first and the second half of a row are views of one text: right where rows hold one document each."""

    kind: Literal["halves"] = "halves"
    cut: Literal["middle", "random"] = "middle"
    """random: each row is cut in two at another place, no nearer to its ends than an eighth, and views are as long as
    rows, padded behind: encoders see texts of many lengths, and decoders all places (cf. DeCLUTR, arXiv:2006.03659)."""

    def views(
        self, objective: ObjectiveSpec, ids: Tensor, vocabulary: Vocabulary, generator: Generator
    ) -> tuple[View, View]:
        """ids (B, N) -> two views of N // 2 tokens; cut at random, of N."""
        half = ids.shape[1] // 2
        first, second = ids[:, :half], ids[:, half : 2 * half]
        if self.cut == "random":
            first, second = self._cut_at_random(ids, vocabulary.pad_id, generator)
        return objective.corrupt(first, vocabulary, generator), objective.corrupt(second, vocabulary, generator)

    def _cut_at_random(self, ids: Tensor, pad_id: int, generator: Generator) -> tuple[Tensor, Tensor]:
        rows, length = ids.shape
        least = max(1, length // 8)
        drawn = uniform((rows, 1), generator, ids.device)
        cuts = least + (drawn * (length - 2 * least + 1)).long()                    # (B, 1), least to N - least
        at = torch.arange(length, device=ids.device)
        behind = ids.gather(1, (at + cuts).clamp_max(length - 1))                   # (B, N)
        return ids.masked_fill(at >= cuts, pad_id), behind.masked_fill(at + cuts >= length, pad_id)


class CorruptionsSpec(_ContrastSpec):
    """Two corruptions of the same text are its views (deletion as augmentation: DeCLUTR, SimCSE section 2)."""

    kind: Literal["corruptions"] = "corruptions"

    def views(
        self, objective: ObjectiveSpec, ids: Tensor, vocabulary: Vocabulary, generator: Generator
    ) -> tuple[View, View]:
        """ids (B, N) -> two corruptions of each row, drawn one after the other."""
        return objective.corrupt(ids, vocabulary, generator), objective.corrupt(ids, vocabulary, generator)


class DropoutSpec(_ContrastSpec):
    """One corruption seen twice, each time with other tokens dropped (SimCSE, arXiv:2104.08821).

    Whole visible tokens are dropped (the token cut-off of arXiv:2105.11741) instead of activations, so that models need
    no `model.dropout`, which rebuilding would suffer from.
    """

    kind: Literal["dropout"] = "dropout"
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Chance of each visible token to be hidden from the encoder; a row always keeps one."""

    def views(
        self, objective: ObjectiveSpec, ids: Tensor, vocabulary: Vocabulary, generator: Generator
    ) -> tuple[View, View]:
        """ids (B, N) -> one corruption of each row, with tokens dropped twice."""
        view = objective.corrupt(ids, vocabulary, generator)
        return self._drop_tokens(view, generator), self._drop_tokens(view, generator)

    def _drop_tokens(self, view: View, generator: Generator) -> View:
        chance = uniform(tuple(view.visible.shape), generator, view.visible.device).masked_fill(~view.visible, -1.0)
        kept_anyway = chance == chance.amax(dim=1, keepdim=True)
        return replace(view, visible=view.visible & ((chance >= self.rate) | kept_anyway))


ContrastSpec = Annotated[HalvesSpec | CorruptionsSpec | DropoutSpec, OpenUnion("contrast")]
