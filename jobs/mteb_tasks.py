"""MTEB's tasks (arXiv:2210.07316), by name: python jobs/mteb_tasks.py runs/quickstart STSBenchmark STS12

Of any folder that `cogito-ray export` takes, an export, or a model of sentence-transformers. Results go to `--out` in
MTEB's own JSON; main scores are printed. Data come from the Hub or, where `--data` has a folder of a data set's name
there, such as mteb/stsbenchmark-sts/test.parquet, from that. Needs `pip install cogito-ray[mteb]`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mteb
from sentence_transformers import SentenceTransformer

import cogito_ray as cr
from cogito_ray.evaluation.pretrained_checkpoint import is_pretrained


def evaluate(checkpoint: str, names: Sequence[str], *, data: Path | None = None, out: Path) -> dict[str, float]:
    """Main score by task. KeyError where MTEB knows no task of a name; OSError where data cannot be had."""
    tasks: list[Any] = [mteb.get_task(name) for name in names]
    for task in tasks:
        if data is not None and (folder := data / task.metadata.dataset["path"]).is_dir():
            task.metadata = task.metadata.model_copy(update={"dataset": {"path": str(folder), "revision": "local"}})
    with TemporaryDirectory() as scratch:
        folder = checkpoint if is_pretrained(checkpoint) else str(cr.export(checkpoint, Path(scratch) / "encoder"))
        model = SentenceTransformer(folder, trust_remote_code=True)
        found = mteb.evaluate(model, tasks, cache=None, show_progress_bar=False)
    out.mkdir(parents=True, exist_ok=True)
    for result in found.task_results:
        result.to_disk(out / f"{result.task_name}.json")
    return {result.task_name: float(result.get_score()) for result in found.task_results}


def main() -> None:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("build/mteb"))
    given = parser.parse_args()
    for name, score in evaluate(given.checkpoint, given.tasks, data=given.data, out=given.out).items():
        print(f"{name:<32}{score:.4f}")


if __name__ == "__main__":
    main()
