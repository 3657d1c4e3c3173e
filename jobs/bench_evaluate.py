"""CPU-seconds a task and checkpoints an hour of one core, by protocol; beside what others take for the same work.

    python jobs/bench_evaluate.py runs/quickstart/trials/0123456789ab --data data [--tasks stsb,mrpc] [--limit 1000]

Yardsticks: sentence-transformers encodes the same texts with the exported model; scikit-learn fits the same ridge
regressions to vectors that are already there.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch

import cogito_ray.nn.interop.transformers_model  # noqa: F401  (registers the classes that are exported)
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.protocols.linear_probe import features, predict
from cogito_ray.evaluation.protocols.task_runner import protocols_of, questions
from cogito_ray.evaluation.tasks.sentence_tasks import Task, read, tasks_of

PROTOCOLS = ("zero-shot", "probe", "fine-tune")


def seconds(work: Callable[[], object]) -> float:
    """Of one core: on a shared machine the wall tells of the others."""
    began = time.process_time()
    work()
    return time.process_time() - began


def protocols(trained: TrainedModel, tasks: list[Task], data: Path, limit: int) -> None:
    """One line a task and protocol, then one a protocol."""
    spent: dict[str, list[float]] = defaultdict(list)
    for question in questions(tasks, protocols_of(PROTOCOLS, limit)):
        took = seconds(lambda asked=question: asked.ask(trained.sentence_encoder, data))  # type: ignore[misc]
        spent[question.protocol.kind].append(took)
        print(f"{question.task.name:18} {question.protocol.kind:10} {took:7.1f} s")
    for protocol, each in spent.items():
        hour = 3600 / sum(each)
        mean = sum(each) / len(each)
        print(f"{protocol:10} {mean:7.1f} s a task, {hour:6.0f} checkpoints an hour of {len(each)} tasks")


def yardsticks(trained: TrainedModel, task: Task, data: Path, limit: int) -> None:
    """Our encoding beside sentence-transformers', our probe beside scikit-learn's part of it."""
    from sentence_transformers import SentenceTransformer

    train, scored = read(task, task.train, data).some(limit), read(task, task.scored, data)
    texts = [*scored.one, *(scored.two or [])]
    with tempfile.TemporaryDirectory() as folder:
        trained.export(Path(folder))
        theirs = SentenceTransformer(folder, device="cpu")
        encode = {
            "cogito-ray": lambda: trained.sentence_encoder.pooled(texts, "mean"),
            "sentence-transformers": lambda: theirs.encode(texts, batch_size=64, show_progress_bar=False),
        }
        rates = {name: len(texts) / seconds(work) for name, work in encode.items()}
    for name, rate in rates.items():
        print(f"{name:22} {rate:7.0f} texts/s, {rate / rates['sentence-transformers']:.2f} x sentence-transformers")
    encoder = trained.sentence_encoder
    known, asked = (features(part, lambda texts: encoder.pooled(texts, "mean")) for part in (train, scored))
    alone = seconds(lambda: predict(known, train.labels, asked, graded=task.graded))
    print(f"scikit-learn's ridge on ready vectors of {task.name} {known.shape}: {alone:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", default="stsb,mrpc,sst2")
    parser.add_argument("--limit", type=int, default=1000, help="training examples")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    trained, tasks = TrainedModel.open(asked.checkpoint), tasks_of(asked.tasks.split(","))
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    size = f"{parameters / 1e6:.1f} M parameters, rows of {trained.run.data.length} tokens"
    print(f"{size}, {asked.limit} training examples, 1 thread")
    protocols(trained, tasks, asked.data, asked.limit)
    yardsticks(trained, tasks[0], asked.data, asked.limit)


if __name__ == "__main__":
    main()
