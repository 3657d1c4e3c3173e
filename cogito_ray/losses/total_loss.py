"""The loss of one step: all terms of a run, weighed into one scalar. This is the module that training wraps."""

from typing import NamedTuple, Self

import torch
from pydantic import model_validator
from torch import Generator, Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.losses.diversity_regularisers import RegulariserSpec
from cogito_ray.losses.gradient_cap import Branches, branch_gradients
from cogito_ray.losses.loss_weighting import FixedSpec, WeightingSpec
from cogito_ray.losses.reconstruction_and_contrast import (
    BagOfWordsSpec,
    ContrastSpec,
    bag_of_words,
    comparable,
    contrast,
    reconstruction,
)
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.text.vocabulary_info import Vocabulary

TASKS = ("reconstruction", "contrast", "bag_of_words")
"""Terms that train an encoder by themselves, in order; regularisers do not."""


class LossSpec(Spec):
    """Which terms there are beside reconstruction, and how all are weighed."""

    contrast: ContrastSpec | None = None
    """Which two views of a text must recognise each other among those of the other texts of one forward pass, of which
    there are `training.micro_batch`; None = no such term."""
    bag_of_words: BagOfWordsSpec | None = None
    """Also predicts the targets' words from the mean concept alone; it needs a decoder's head. None = no such term."""
    regularisers: tuple[RegulariserSpec, ...] = ()
    weighting: WeightingSpec = FixedSpec()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        kinds = [regulariser.kind for regulariser in self.regularisers]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"regularisers names {twice} more than once; keep one of each and set its weight instead")
        return self

    def faults(self, terms: list[str]) -> list[str]:
        """What does not fit a run with these terms, one message each."""
        faults = []
        if unknown := sorted(set(self.weighting.weights) - set(terms)):
            faults.append(f"loss.weighting.weights names {unknown}, but the terms of this run are {terms}")
        tasks = [term for term in terms if term in TASKS]
        if tasks and not any(self.weighting.weights.get(task, 1.0) for task in tasks):
            faults.append(
                f"loss.weighting.weights: {tasks} weigh 0, so that no task trains the encoder; give one of them weight"
            )
        negative = [r.kind for r in self.regularisers if r.floor < 0]
        if negative and self.weighting.needs_nonnegative:
            faults.append(
                f"loss.weighting '{self.weighting.kind}' would give {negative} the largest weight there is, because "
                "these terms can be negative; use 'fixed' or 'capped'"
            )
        if self.weighting.needs_regularisers and not self.regularisers:
            faults.append(
                f"loss.weighting '{self.weighting.kind}' limits regularisers, but loss.regularisers names none; use "
                "'fixed'"
            )
        return faults

    def shape_faults(self, *, concepts: int, width: int, rows: int) -> list[str]:
        """What does not fit a model of so many concepts of this width, or passes of so many rows, one message each."""
        faults = [
            f"loss.regularisers: '{r.kind}' cannot be met by {concepts} concepts of width {width}; use at most {width} "
            "concepts or 'soft_orthogonality'"
            for r in self.regularisers
            if concepts > width and not r.fits_in_width
        ]
        faults += [
            f"loss.regularisers: '{r.kind}' compares the concepts of a text with one another, but model.concepts is "
            f"{concepts}; make it {r.least_concepts} or more, or leave '{r.kind}' out"
            for r in self.regularisers
            if concepts < r.least_concepts
        ]
        if rows != 1:
            return faults
        if self.contrast is not None:
            faults.append(
                f"loss.contrast '{self.contrast.kind}' tells a text from the others of its forward pass, but a pass "
                "has one row; make training.micro_batch 2 or more"
            )
        return faults + [
            f"loss.regularisers: '{r.kind}' is a statistic over the concepts of a forward pass, but a pass has one; "
            "make training.micro_batch 2 or more"
            for r in self.regularisers
            if concepts == 1 and r.over_texts and r.least_concepts == 1
        ]

    def views(
        self, objective: ObjectiveSpec, ids: Tensor, vocabulary: Vocabulary, generator: Generator
    ) -> tuple[View, View | None]:
        """ids (B, N) clean -> what `TotalLoss.forward` reads: one view, and a second one if there is contrast."""
        if self.contrast is None:
            return objective.corrupt(ids, vocabulary, generator), None
        return self.contrast.views(objective, ids, vocabulary, generator)


class Losses(NamedTuple):
    """What one forward pass comes to. A tuple, for DistributedDataParallel finds no tensors in dataclasses."""

    total: Tensor
    """Scalar to descend."""
    terms: dict[str, Tensor]
    """Detached scalar per term, before weighting."""
    concepts: Tensor
    """(B, C, D), detached, of the first view."""


class TotalLoss(nn.Module):
    """Model and losses in one module, which DistributedDataParallel, FSDP and torch.compile may wrap: its forward pass
    maps views to the scalar that training descends."""

    word_weights: Tensor | None

    def __init__(self, model: ConceptModel, spec: LossSpec, log_unigram: Tensor | None = None):
        """log_unigram (V,): log frequencies of words, by which a bag of words weighs them; None = all alike."""
        super().__init__()
        self.model, self.spec = model, spec
        self.tasks: list[str] = []
        if model.decoder is not None:
            self.tasks.append("reconstruction")
        if spec.contrast is not None:
            self.tasks.append("contrast")
        weights = None
        if spec.bag_of_words is not None:
            if model.head is None:
                raise ValueError("loss.bag_of_words needs the head of a decoder; set model.decoder, or leave it out")
            self.tasks.append("bag_of_words")
            known = torch.zeros(len(model.token_table)) if log_unigram is None else log_unigram
            weights = spec.bag_of_words.weights(known)
        self.register_buffer("word_weights", weights, persistent=False)      # of the text, not of what is learned
        regularisers: list[str] = [regulariser.kind for regulariser in spec.regularisers]
        self.terms = self.tasks + regularisers
        self.weighting = spec.weighting.build(self.tasks, regularisers)
        self.on_every_layer = {regulariser.kind for regulariser in spec.regularisers if regulariser.layers == "every"}
        self._share_accumulator: Tensor | None = None

    def divisors(self, view: View, other: View | None = None) -> Tensor:
        """(tasks,) what the sum of each task is divided by, so that it is a mean: the weight of all targets for
        reconstruction, the number of texts for contrast, the weight of all words for bags."""
        views = (view,) if other is None else (view, other)
        weight = torch.stack([each.weights.sum() for each in views]).sum()
        words = weight
        if self.word_weights is not None:
            words = torch.stack([self._word_weights(each).sum() for each in views]).sum()
        texts = weight if other is None else comparable(view, other).sum().float()
        by_task = {"reconstruction": weight, "contrast": texts, "bag_of_words": words}
        return torch.stack([by_task[task] for task in self.tasks])

    def forward(self, view: View, other: View | None = None, divisors: Tensor | None = None) -> Losses:
        """`other` is the second view of the same texts, required by contrast; it is reconstructed and regularised too.

        The loss of a batch that is cut into P passes is the mean of the losses of its passes, where `divisors` is the
        mean of theirs: mean_p(sum_p / d) with d = mean_p(weight_p) is the sum of all sums over the sum of all weights.
        So each target counts alike, in whichever pass it stands. None = the batch is this pass.
        """
        whole = view if other is None else _joined(view, other)
        shared = self.divisors(view, other) if divisors is None else divisors
        divisor = dict(zip(self.tasks, shared, strict=True))
        layers = self._encode(whole)                                            # each (B or 2B, C, D)
        copies = self._copies(layers)
        terms = {}
        if self.model.decoder is not None:
            terms["reconstruction"] = reconstruction(
                self.model, copies["reconstruction"][0], whole, divisor["reconstruction"]
            )
        if self.spec.contrast is not None:
            terms["contrast"] = self._contrast(copies["contrast"][0], view, other, divisor["contrast"])
        if self.spec.bag_of_words is not None:
            terms["bag_of_words"] = bag_of_words(
                self.model, copies["bag_of_words"][0], whole, self._word_weights(whole), divisor["bag_of_words"]
            )
        for regulariser in self.spec.regularisers:
            regularised = copies[regulariser.kind]
            with torch.autocast(layers[-1].device.type, enabled=False):         # small differences need float32
                terms[regulariser.kind] = torch.stack([regulariser(layer.float()) for layer in regularised]).mean()
        total: Tensor = self.weighting(terms)
        detached = {name: value.detach() for name, value in terms.items()}
        return Losses(total, detached, layers[-1][: len(view.targets)].detach())

    def gradient_shares(self) -> dict[str, float]:
        """`loss/<term>_gradient_share`: of the gradient norms on the concepts, caps applied; the mean over the backward
        passes since this was asked last. They add up to 1; empty without such a pass. Asking waits for the device.
        """
        accumulator = self._share_accumulator
        if accumulator is None or accumulator.grad is None:
            return {}
        summed, accumulator.grad = accumulator.grad, None
        shares = (summed / summed.sum().clamp_min(torch.finfo(summed.dtype).tiny)).tolist()
        return {f"loss/{term}_gradient_share": share for term, share in zip(self.terms, shares, strict=True)}

    def _word_weights(self, view: View) -> Tensor:
        assert self.word_weights is not None
        return view.weights * self.word_weights[view.targets]               # (B, M)

    def _encode(self, view: View) -> list[Tensor]:
        seen = (view.visible_ids, view.visible_positions, view.mask, view.starts)
        return self.model.encoder.every_layer(*seen) if self.on_every_layer else [self.model.encoder(*seen)]

    def _contrast(self, concepts: Tensor, view: View, other: View | None, texts: Tensor) -> Tensor:
        if other is None or self.spec.contrast is None:
            raise ValueError("loss.contrast compares two views of each text, but one was given; use LossSpec.views")
        with torch.autocast(concepts.device.type, enabled=False):
            one, two = concepts.float().chunk(2)
            spec, kept = self.spec.contrast, comparable(view, other)
            across_workers = getattr(spec, "across_workers", False)     # which kinds of plugins need not know
            return contrast(one, two, kept, spec.temperature, texts, across_workers=across_workers)

    def _copies(self, layers: list[Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """One copy of the last layer per term, of every layer for the regularisers that want them (see
        `losses.gradient_cap`)."""
        if not torch.is_grad_enabled():
            return {term: tuple(layers[i] for i in self._layers_of(term, len(layers))) for term in self.terms}
        device = layers[-1].device
        if self._share_accumulator is None or self._share_accumulator.device != device:     # once, where the model is
            self._share_accumulator = torch.zeros(len(self.terms), device=device, requires_grad=True)
        wanted = [(t, layer) for t, term in enumerate(self.terms) for layer in self._layers_of(term, len(layers))]
        caps = tuple(None if term in self.tasks else self.weighting.caps.get(term, torch.inf) for term in self.terms)
        branches = Branches(tuple(t for t, _ in wanted), tuple(layer for _, layer in wanted), caps)
        copies = branch_gradients(branches, self._share_accumulator, layers)
        return {
            term: tuple(copy for copy, (owner, _) in zip(copies, wanted, strict=True) if owner == t)
            for t, term in enumerate(self.terms)
        }

    def _layers_of(self, term: str, depth: int) -> range:
        return range(depth) if term in self.on_every_layer else range(depth - 1, depth)


def _joined(one: View, two: View) -> View:
    """Two views of (B, ...) -> one of (2B, ...)."""

    def rows(name: str) -> Tensor:
        return torch.cat([getattr(one, name), getattr(two, name)])

    return View(
        visible_ids=rows("visible_ids"),
        visible_positions=rows("visible_positions"),
        visible=rows("visible"),
        target_positions=rows("target_positions"),
        targets=rows("targets"),
        weights=rows("weights"),
        query_ids=None if one.query_ids is None else rows("query_ids"),
        noisy_ids=None if one.noisy_ids is None else rows("noisy_ids"),
        noise=None if one.noise is None else rows("noise"),
        label_smoothing=one.label_smoothing,
        all_visible=one.all_visible and two.all_visible,
    )
