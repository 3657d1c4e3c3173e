"""What one training step costs, against plainer ways to write the same step, and against a plain transformer.

    python jobs/bench_step.py                                         the full size: H512 L6 C128 N512 V50368
    python jobs/bench_step.py --width 128 --depth 2 --concepts 16 --length 128 --vocabulary 8192 --batch 16
    python jobs/bench_step.py --device cuda --precision bfloat16 --compile --batch 64
    python jobs/bench_step.py --recipes --peers 512 4096              training, beside BERT and ModernBERT of equal size
    python jobs/bench_step.py --recipes --transformer-lengths 512 1024 2048 4096
    python jobs/bench_step.py --recipes --target-rates 1 0.5 0.25     held-out loss against seconds, on embedded text

A recipe is OBJECTIVE[@TARGET_RATE]/DECODER. Each row is measured in a process of its own: "ours" as training does it;
"dense" decodes every position, masks instead of drops and makes all logits; "sparse" is dense with logits only at
targets. Times include corruption, forward, backward and the optimizer; of several steps the fastest counts, because
other processes can only slow one down. With --threads 1 on a CPU it is CPU time, which they cannot. FLOPs are
counted, those of attention and of sums of products included; "share" is what they come to of the rate of square
matrices, measured between the steps.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.losses.total_loss import LossSpec, TotalLoss
from cogito_ray.nn.model import ModelSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.preparation_plan import prepare_with, serially
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.model_flops import FORMULAS, product_s
from cogito_ray.training.training_loop import CorpusFacts, Report, fit

CPU = torch.device("cpu")
Part = TypeVar("Part")
Step = Callable[[TotalLoss, Tensor, View, Vocabulary], Tensor]


@dataclass(frozen=True)
class Settings:
    """One row of the table."""

    recipe: str
    variant: str
    width: int
    depth: int
    concepts: int
    length: int
    vocabulary: int
    batch: int
    steps: int
    threads: int
    device: str
    precision: str
    compile: bool

    @property
    def words(self) -> Vocabulary:
        return Vocabulary(self.vocabulary, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2))

    @property
    def run_parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the model, of the objective."""
        objective, decoder = self.recipe.split("/")
        kind, _, rate = objective.partition("@")
        heads = max(1, self.width // 64)
        model = {"width": self.width, "heads": heads, "concepts": self.concepts, "decoder": {"kind": decoder}}
        model["encoder"] = {"depth": self.depth}
        return model, {"kind": kind} | ({"target_rate": float(rate)} if rate else {})


@dataclass(frozen=True)
class Cost:
    tokens_per_s: float
    peak_mib: float
    """Above what weights and optimizer hold."""
    flops_per_token: float
    share: float
    """Of the machine's matrix rate."""
    largest: int
    """Entries of the largest tensor of a step."""
    targets: int
    parameters: int


def ours(total: TotalLoss, ids: Tensor, view: View, vocabulary: Vocabulary) -> Tensor:
    loss: Tensor = total(view).total
    return loss


def dense(total: TotalLoss, ids: Tensor, view: View, vocabulary: Vocabulary) -> Tensor:
    hidden, labels = _every_position(total, ids, view, vocabulary)
    logits = _there(total.model.head).logits(hidden).float()                    # (B, N, V)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=view.label_smoothing)


def sparse(total: TotalLoss, ids: Tensor, view: View, vocabulary: Vocabulary) -> Tensor:
    hidden, labels = _every_position(total, ids, view, vocabulary)
    asked = labels >= 0
    logits = _there(total.model.head).logits(hidden[asked]).float()             # (targets, V)
    return F.cross_entropy(logits, labels[asked], label_smoothing=view.label_smoothing)


def _every_position(total: TotalLoss, ids: Tensor, view: View, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """Hidden (B, N, D) of all positions, where the encoder masks what is not visible; labels (B, N), -100 = none."""
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    shown = torch.full_like(ids, vocabulary.pad_id).scatter(1, view.visible_positions, view.visible_ids)
    visible = torch.zeros_like(ids, dtype=torch.bool).scatter(1, view.visible_positions, view.visible)
    labels = torch.full_like(ids, -100).scatter(1, view.target_positions, view.targets)
    queries = torch.where(labels >= 0, vocabulary.mask_id, ids)
    concepts = total.model.encoder(shown, places, visible)
    return _there(total.model.decoder)(concepts, places, queries, view.noise), labels


def _there(part: Part | None) -> Part:
    if part is None:
        raise ValueError("what is measured here has a decoder and a head")
    return part


VARIANTS: dict[str, Step] = {"ours": ours, "dense": dense, "sparse": sparse}


def cost(settings: Settings) -> Cost:
    """Measures one row; runs in a process of its own."""
    torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    model, objective = settings.run_parts
    device, words, vary = torch.device(settings.device), settings.words, VARIANTS[settings.variant]
    total = TotalLoss(ModelSpec.model_validate(model).build(words, settings.length), LossSpec()).to(device)
    corrupt = TypeAdapter(ObjectiveSpec).validate_python(objective).corrupt
    optimizer = torch.optim.AdamW(total.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(3, settings.vocabulary, (settings.batch, settings.length), device=device)
    if settings.compile:
        total.model.encoder.compile()
        _there(total.model.decoder).compile()

    def step() -> None:
        view = corrupt(ids, words, torch.Generator().manual_seed(0))
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = vary(total, ids, view, words)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    peak = _peak_mib(step, device)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        flops = _flops(step)
    seconds, rate = _best(step, settings)
    tokens, targets = ids.numel(), corrupt(ids, words, torch.Generator()).targets.numel()
    parameters = sum(parameter.numel() for parameter in total.parameters())
    share = flops / seconds / rate
    return Cost(tokens / seconds, peak, flops / tokens, share, largest.entries, targets, parameters)


def _flops(step: Callable[[], None]) -> int:
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        step()
    return int(counter.get_total_flops())


def _best(step: Callable[[], None], settings: Settings) -> tuple[float, float]:
    """Seconds of the fastest step, and FLOP/s of the fastest product of square matrices; one after the other, so that
    both meet the same machine."""
    side = 8192 if settings.device == "cuda" else 1024
    square = torch.ones(side, side, device=settings.device, dtype=getattr(torch, settings.precision))
    steps, products = [], []
    for _ in range(settings.steps):
        steps.append(_seconds(step, torch.device(settings.device)))
        products += [product_s(square) for _ in range(3)]
    return min(steps), 2 * side**3 / min(products)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf.untyped_storage().nbytes() // leaf.element_size() for leaf in tree_leaves(result) if _real(leaf)]
        self.entries = max([self.entries, *made])
        return result


def _real(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type != "meta"


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    start = _clock(device)
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return _clock(device) - start


def _clock(device: torch.device) -> float:
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def _peak_mib(step: Callable[[], None], device: torch.device) -> float:
    """MiB that a step takes above what is held before it; on Linux, of the process's resident memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")                       # resets VmHWM
    before = _status_kib("VmRSS")
    step()
    return (_status_kib("VmHWM") - before) / 2**10


def _status_kib(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def encode_rate(settings: Settings, transformer: bool) -> tuple[float, float, int]:
    """Tokens/s and peak MiB of encoding alone, and parameters besides embeddings; of a BERT of equal size, or ours."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    device = torch.device(settings.device)
    ids = torch.randint(3, settings.vocabulary, (settings.batch, settings.length), device=device)
    model, _ = settings.run_parts
    net: nn.Module = ModelSpec.model_validate(model).build(settings.words, settings.length).encoder
    seen: tuple[Tensor, ...] = (ids, torch.arange(settings.length, device=device).expand_as(ids), ids >= 0)
    size = _size(net, "embedding")
    if transformer:
        net, size = _bert(settings, size)
        seen = seen[:1]
    net = net.to(device).eval()

    def encode() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, settings.precision == "bfloat16"):
            net(*seen)

    encode()
    peak = _peak_mib(encode, device)
    return ids.numel() / min(_seconds(encode, device) for _ in range(settings.steps)), peak, size


def peer_cost(settings: Settings, peer: str, parameters: int) -> Cost:
    """Of a training step of masked language modelling by a transformer of the library, with about as many parameters
    besides embeddings, AdamW and the same share of masked tokens; logits as its own code makes them."""
    torch.set_num_threads(settings.threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    device, words = torch.device(settings.device), settings.words
    net = _of_size(PEERS[peer], settings, parameters).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(3, settings.vocabulary, (settings.batch, settings.length), device=device)
    view = TypeAdapter(ObjectiveSpec).validate_python({"kind": "mlm"}).corrupt(ids, words, torch.Generator())
    masked = ids.scatter(1, view.target_positions, words.mask_id)
    labels = torch.full_like(ids, -100).scatter(1, view.target_positions, view.targets)
    if settings.compile:
        net.compile()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss = net(input_ids=masked, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    peak = _peak_mib(step, device)
    with Largest() as largest:  # type: ignore[no-untyped-call]
        flops = _flops(step)
    seconds, rate = _best(step, settings)
    tokens, sized = ids.numel(), _inside(net)
    share = flops / seconds / rate
    return Cost(tokens / seconds, peak, flops / tokens, share, largest.entries, view.targets.numel(), sized)


def _bert_for_mlm(settings: Settings, layers: int) -> nn.Module:
    from transformers import BertForMaskedLM

    return BertForMaskedLM(_bert_config(settings, layers))


def _modernbert_for_mlm(settings: Settings, layers: int) -> nn.Module:
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    config = ModernBertConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, settings.width // 64),
        intermediate_size=4 * settings.width * 2 // 3,      # gated: as many weights as a plain layer of 4 x width
        max_position_embeddings=settings.length,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=2,
        cls_token_id=2,
        sep_token_id=2,
        sparse_prediction=True,                             # logits of masked tokens alone
    )
    return ModernBertForMaskedLM(config)


PEERS: dict[str, Callable[[Settings, int], nn.Module]] = {"BERT": _bert_for_mlm, "ModernBERT": _modernbert_for_mlm}


def _of_size(build: Callable[[Settings, int], nn.Module], settings: Settings, parameters: int) -> nn.Module:
    """With as many layers as come nearest to so many parameters besides embeddings and vocabulary head."""
    one, two = (_inside(build(settings, layers)) for layers in (1, 2))
    return build(settings, max(1, round((parameters - one) / (two - one)) + 1))


def _inside(net: Any) -> int:
    inner = net.base_model.named_parameters()
    return sum(p.numel() for name, p in inner if not name.startswith("embeddings"))


def _bert(settings: Settings, parameters: int) -> tuple[nn.Module, int]:
    """As many layers of this width as have about as many parameters."""
    from transformers import BertModel

    def build(layers: int) -> nn.Module:
        return BertModel(_bert_config(settings, layers), add_pooling_layer=False)

    layers = max(1, round(parameters / _size(build(1), "embeddings")))
    model = build(layers)
    return model, _size(model, "embeddings")


def _bert_config(settings: Settings, layers: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, settings.width // 64),
        intermediate_size=4 * settings.width,
        max_position_embeddings=settings.length,
    )


def _size(module: nn.Module, without: str) -> int:
    return sum(p.numel() for name, p in module.named_parameters() if not name.startswith(without))


def curves(options: argparse.Namespace) -> None:
    """Held-out loss against seconds of training for each target rate, on the embedded corpus."""
    torch.set_num_threads(options.threads)
    print(f"\nheld-out nats on library documentation; {options.curve_steps} steps, one run each")
    print(f"{'target_rate':>12} {'step':>6} {'seconds':>8} {'held-out nats':>14}")
    with tempfile.TemporaryDirectory() as storage:
        for rate in options.target_rates:
            _curve(_curve_run(options, rate), Path(storage), rate)


def _curve_run(options: argparse.Namespace, rate: float) -> RunSpec:
    source = {"kind": "python-docs", "part": "library"}
    every = max(1, options.curve_steps // 6)
    return RunSpec.model_validate({
        "data": {"sources": {"library": source}, "tokenizer": {"kind": "bpe", "vocabulary": 8192}, "length": 64},
        "model": {"width": 128, "concepts": 16, "encoder": {"depth": 2}, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae", "target_rate": rate},
        "evaluation": {"reference": {"kind": "tsdae", "target_rate": 1.0}},
        "training": {
            "steps": options.curve_steps, "batch": 32, "report_every": every, "optimizer": {"learning_rate": 3e-3},
        },
    })


def _curve(run: RunSpec, storage: Path, rate: float) -> None:
    corpus = prepare_with(serially, run.data, storage)
    held_out = HeldOutLoss(torch.from_numpy(corpus.held_out_rows(128)), run.reference, corpus.vocabulary)
    batches = MappedReader(corpus, corpus.plan(run.seed)).batches(range(run.training.steps), batch=run.training.batch)
    start, apart = _clock(CPU), 0.0

    def evaluate(model: Any) -> dict[str, float]:
        nonlocal apart
        before = _clock(CPU)
        scores = held_out(model)
        apart += _clock(CPU) - before
        return scores

    def tell(report: Report) -> None:
        seconds = _clock(CPU) - start - apart
        nats = report.metrics["eval/reconstruction_nats"]
        print(f"{rate:>12g} {report.step:>6} {seconds:>8.1f} {nats:>14.3f}", flush=True)

    fit(
        run,
        CorpusFacts(corpus.vocabulary, torch.from_numpy(corpus.log_unigram)),
        feed=lambda done: (torch.from_numpy(rows) for rows in batches),
        evaluate=evaluate,
        on_report=tell,
    )


def steps(options: argparse.Namespace) -> None:
    """The table of training steps."""
    print(f"{'recipe':<26} {'variant':<8} {'tokens/s':>10} {'x':>6} {'peak MiB':>9} {'x':>6} {'MFLOP/token':>12} "
          f"{'share':>6} {'largest/(targets x V)':>22}")
    for recipe in options.recipes:
        base: Cost | None = None
        for variant in options.variants:
            row = _apart(cost, _settings(options, recipe, variant))
            base = base or row
            print(
                f"{recipe:<26} {variant:<8} {row.tokens_per_s:>10.0f} {base.tokens_per_s / row.tokens_per_s:>6.2f} "
                f"{row.peak_mib:>9.0f} {row.peak_mib / base.peak_mib:>6.2f} {row.flops_per_token / 1e6:>12.2f} "
                f"{row.share:>6.1%} {row.largest / (row.targets * options.vocabulary):>22.3f}",
                flush=True,
            )
    print("x: tokens/s of the first variant over the row's; memory of the row over the first's")


def peers(options: argparse.Namespace) -> None:
    """Training steps of masked language modelling, beside transformers of equal parameters."""
    print(f"\n{'mlm, N':>8} {'model':<11} {'M params':>9} {'tokens/s':>10} {'x':>6} {'peak MiB':>9} {'x':>6} "
          f"{'MFLOP/token':>12} {'share':>6}")
    for length in options.peers:
        batch = max(1, options.batch * options.length // length)
        settings = _settings(options, "mlm/perceiver", "ours", length=length, batch=batch)
        ours, inside = _apart(cost, settings), _apart(inner_parameters, settings)
        rows = {"ours": ours} | {peer: _apart(peer_cost, settings, peer, inside) for peer in PEERS}
        for name, row in rows.items():
            parameters = inside if name == "ours" else row.parameters
            print(f"{length:>8} {name:<11} {parameters / 1e6:>9.2f} {row.tokens_per_s:>10.0f} "
                  f"{ours.tokens_per_s / row.tokens_per_s:>6.2f} {row.peak_mib:>9.0f} "
                  f"{ours.peak_mib / row.peak_mib:>6.2f} {row.flops_per_token / 1e6:>12.2f} {row.share:>6.1%}",
                  flush=True)
    print("parameters besides embeddings and vocabulary; x: ours over the row's")


def inner_parameters(settings: Settings) -> int:
    """Of our model of these settings, without the table of tokens and what is as long as the vocabulary."""
    model = ModelSpec.model_validate(settings.run_parts[0]).build(settings.words, settings.length)
    return sum(p.numel() for p in model.parameters() if len(p) != settings.vocabulary)


def transformers(options: argparse.Namespace) -> None:
    """Encoding alone, beside a BERT of equal parameters."""
    print(f"\n{'encode, N':>10} {'ours tokens/s':>14} {'BERT tokens/s':>14} {'x':>6} {'ours MiB':>9} {'BERT MiB':>9}")
    for length in options.transformer_lengths:
        batch = max(1, options.batch * options.length // length)
        settings = _settings(options, "mlm/perceiver", "ours", length=length, batch=batch)
        mine, my_peak, my_size = _apart(encode_rate, settings, False)
        theirs, their_peak, their_size = _apart(encode_rate, settings, True)
        print(f"{length:>10} {mine:>14.0f} {theirs:>14.0f} {mine / theirs:>6.2f} {my_peak:>9.0f} {their_peak:>9.0f}"
              f"   parameters {my_size / 1e6:.2f} M, {their_size / 1e6:.2f} M", flush=True)


def _apart(work: Callable[..., Any], *given: object) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def _settings(options: argparse.Namespace, recipe: str, variant: str, **other: int) -> Settings:
    taken = {name: getattr(options, name) for name in Settings.__dataclass_fields__ if hasattr(options, name)}
    return Settings(**taken | {"recipe": recipe, "variant": variant} | other)


def parse(arguments: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", default=["mlm/perceiver", "tsdae@1/position", "tsdae@0.5/position"])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    sizes = {"width": 512, "depth": 6, "concepts": 128, "length": 512, "vocabulary": 50368, "batch": 8}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps", type=int, default=5, help="timed steps; the fastest counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peers", nargs="*", type=int, default=[], help="lengths of rows")
    parser.add_argument("--transformer-lengths", nargs="*", type=int, default=[])
    parser.add_argument("--target-rates", nargs="*", type=float, default=[])
    parser.add_argument("--curve-steps", type=int, default=600)
    return parser.parse_args(list(arguments))


def main() -> None:
    options = parse(sys.argv[1:])
    if options.recipes:
        steps(options)
    if options.peers:
        peers(options)
    if options.transformer_lengths:
        transformers(options)
    if options.target_rates:
        curves(options)


if __name__ == "__main__":
    main()
