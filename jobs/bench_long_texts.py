"""What long rows cost and how well they are rebuilt, beside full attention.

    python jobs/bench_long_texts.py                           cost at 512 ... 16384 tokens a row, random weights
    python jobs/bench_long_texts.py --train-seconds 60        held-out nats in each quarter of rows of these lengths

Cost: encoding 16384 tokens, in rows of each length; a process of its own measures each. The BERT beside ours has about
as many parameters. It is left out where shorter rows say that it would take more than --patience seconds. MiB is what a
pass adds to what its process holds; on a CPU, memory that a pass before gave back is not seen.
Quality: ours (masked tokens, read back by position and token) and a BERT of equal width and depth learn the same
objective on Python's documentation, in rows of --length and for as many seconds of CPU each; then both fill in the same
masked tokens of longer rows. Positions of both are squeezed into the trained range. A constant prediction is what no
reading at all can reach.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_step import Settings, encode_rate
from length_extrapolation import PARTS, nats_by_position, summed_by_position
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from cogito_ray.evaluation.validation.held_out_loss import MASK_SEED, HeldOutLoss
from cogito_ray.losses.total_loss import LossSpec, TotalLoss
from cogito_ray.nn.model import ModelSpec
from cogito_ray.nn.position_encodings import interpolated
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.token_masking import MlmSpec
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.preparation_plan import prepare_with, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.token_shards import Split

TOKENS = 16_384
"""Of one measurement, whatever the length of its rows."""
DATA = {
    "sources": {
        "library": {"kind": "python-docs", "part": "library", "weight": 2},
        "packages": {"kind": "python-docs", "part": "packages", "weight": 1},
    },
    "tokenizer": {"kind": "bpe", "vocabulary": 8192},
    "length": 64,
    "held_out": 0.05,
}
OBJECTIVE = MlmSpec(rate=0.3)


def costs(options: argparse.Namespace) -> None:
    """A line for each length."""
    print(f"{'':>12} {'ours':>16} {'':>7} {'full attention':>16}\n"
          f"{'tokens a row':>12} {'tokens/s':>16} {'MiB':>7} {'tokens/s':>16} {'MiB':>7} {'ours x':>7}")
    seconds = 0.0                                                           # that full attention should take
    for length, longer in zip(options.lengths, [*options.lengths[1:], 0], strict=True):
        settings = _settings(options, length)
        ours, peak, _ = _alone(settings, transformer=False)
        told = f"{length:>12} {ours:>16,.0f} {peak:>7.0f}"
        if seconds > options.patience:
            print(f"{told} {f'over {seconds:.0f} s a pass':>16}", flush=True)
        else:
            full, peak, _ = _alone(settings, transformer=True)
            seconds = TOKENS / full
            print(f"{told} {full:>16,.0f} {peak:>7.0f} {ours / full:>7.1f}", flush=True)
        seconds *= longer / length


def _settings(options: argparse.Namespace, length: int) -> Settings:
    return Settings(
        recipe="mlm/perceiver", variant="ours", width=options.width, depth=options.depth, concepts=options.concepts,
        length=length, vocabulary=8192, batch=TOKENS // length, steps=2, threads=options.threads, device="cpu",
        precision="float32", compile=False,
    )  # fmt: skip


def _alone(settings: Settings, *, transformer: bool) -> tuple[float, float, int]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(encode_rate, settings, transformer).result()


class FullAttention(nn.Module):
    """A BERT whose vocabulary head sees the targets alone."""

    def __init__(self, options: argparse.Namespace, corpus: Corpus):
        super().__init__()
        config = BertConfig(
            vocab_size=corpus.vocabulary.size, hidden_size=options.width, num_hidden_layers=options.depth,
            num_attention_heads=max(1, options.width // 64), intermediate_size=4 * options.width,
            max_position_embeddings=options.length, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.net = BertForMaskedLM(config)
        self.net.cls.predictions.bias.data.copy_(torch.from_numpy(corpus.log_unigram))

    def nats(self, view: View) -> Tensor:
        """(B, M)"""
        places = torch.arange(view.visible_ids.shape[1])[None]
        kinds = torch.zeros_like(view.visible_ids)                          # else BERT looks for as many as in training
        read = self.net.bert(view.visible_ids, position_ids=places, token_type_ids=kinds)
        hidden = read.last_hidden_state                                     # (B, N, D)
        asked = hidden.gather(1, view.target_positions[..., None].expand(-1, -1, hidden.shape[-1]))
        return F.cross_entropy(self.net.cls(asked).mT, view.targets, reduction="none")

    def forward(self, view: View) -> Tensor:
        return (self.nats(view) * view.weights).sum() / view.weights.sum()

    def resize(self, length: int) -> None:
        table = self.net.bert.embeddings.position_embeddings
        self.net.bert.embeddings.position_embeddings = nn.Embedding.from_pretrained(interpolated(table.weight, length))


def quality(options: argparse.Namespace) -> None:
    """Held-out nats of both at every length, quarter by quarter."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    corpus = prepare_with(serially, DataSpec.model_validate(DATA), options.storage)
    model = ModelSpec.model_validate({
        "width": options.width, "heads": max(1, options.width // 64), "concepts": options.concepts,
        "encoder": {"depth": options.depth}, "decoder": {"kind": "perceiver"},
    })  # fmt: skip
    total = TotalLoss(model.build(corpus.vocabulary, options.length, torch.from_numpy(corpus.log_unigram)), LossSpec())
    full = FullAttention(options, corpus)
    rows = _rows(corpus, options.length, "train")
    steps = [
        _train(options, rows, corpus, module, loss)
        for module, loss in ((total, lambda view: total(view).total), (full, full))
    ]
    print(f"trained on rows of {options.length} for {options.train_seconds:g} s of CPU each, {steps[0]} and "
          f"{steps[1]} steps; a constant prediction {_constant_nats(corpus, options.length):.3f} nats")
    print(f"{'tokens a row':>12} {'rows':>5}  {'ours, by quarter':<30} full attention, by quarter")
    for length in options.lengths:
        asked = _rows(corpus, length, "held_out")[: max(1, 32_768 // length)]
        ours = nats_by_position(total.model, asked, OBJECTIVE, corpus.vocabulary)
        theirs = _full_nats(full, asked, corpus) if length <= options.longest_full else []
        told = ["  ".join(f"{nats:.3f}" for nats in each) or "left out" for each in (ours, theirs)]
        print(f"{length:>12} {len(asked):>5}  {told[0]:<30} {told[1]}", flush=True)


def _constant_nats(corpus: Corpus, length: int) -> float:
    """Of predicting the training text's token frequencies everywhere."""
    views = HeldOutLoss(_rows(corpus, length, "held_out"), OBJECTIVE, corpus.vocabulary)
    return views.unigram_nats(torch.from_numpy(corpus.log_unigram))


def _rows(corpus: Corpus, length: int, side: Split) -> Tensor:
    """(R, length): neighbouring rows of each source, joined."""
    joined = []
    for source in corpus.sources:
        count = source.shards.manifest.rows(side) * corpus.length // length
        read = {"train": source.shards.train, "held_out": source.shards.held_out}[side]
        ids = torch.from_numpy(read(torch.arange(count * length // corpus.length).numpy()).astype("int64"))
        joined.append(ids.reshape(count, length))
    return torch.cat(joined)


def _train(
    options: argparse.Namespace, rows: Tensor, corpus: Corpus, module: nn.Module, loss: Callable[[View], Tensor]
) -> int:
    """For so many seconds of CPU -> steps."""
    draw, steps, began = torch.Generator().manual_seed(0), 0, time.process_time()
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    while (spent := time.process_time() - began) < options.train_seconds:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (steps + 1) / 20, 2 * (1 - spent / options.train_seconds))
        batch = rows[torch.randint(len(rows), (8,), generator=draw)]
        loss(OBJECTIVE.corrupt(batch, corpus.vocabulary, draw)).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    return steps


@torch.no_grad()
def _full_nats(full: FullAttention, rows: Tensor, corpus: Corpus) -> list[float]:
    trained = full.net.bert.embeddings.position_embeddings
    full.resize(rows.shape[1])
    draw, sums = torch.Generator().manual_seed(MASK_SEED), torch.zeros(2, PARTS, dtype=torch.float64)
    for row in rows:
        view = OBJECTIVE.corrupt(row[None], corpus.vocabulary, draw)
        sums += summed_by_position(full.nats(view), view, rows.shape[1])
    full.net.bert.embeddings.position_embeddings = trained
    return (sums[0] / sums[1]).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=[512, 1024, 2048, 4096, 16384])
    for name, default in {"width": 64, "depth": 2, "concepts": 64, "length": 512, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--patience", type=float, default=20.0, help="seconds of one pass of full attention, at most")
    parser.add_argument("--longest-full", type=int, default=4096, help="longest rows that full attention fills in")
    parser.add_argument("--train-seconds", type=float, default=0.0, help="of CPU, each; 0 = measure cost instead")
    parser.add_argument("--storage", type=Path, default=Path("runs"), help="where the text is prepared")
    options = parser.parse_args()
    (quality if options.train_seconds else costs)(options)


if __name__ == "__main__":
    main()
