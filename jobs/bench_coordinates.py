"""Does what models compute and learn depend on their size? The coordinate check of arXiv:2203.03466, for every kind.

    python jobs/bench_coordinates.py                             widths 32 to 512, AdamW, mup and standard: half an hour
    python jobs/bench_coordinates.py --optimizer muon --sizes 32 64 128
    python jobs/bench_coordinates.py --axis depth --sizes 2 4 8 16
    python jobs/bench_coordinates.py --only latents decoder

Each choice of a kind is one tiny model, the rest by default. A line tells the steepest slope, on log-log axes, of what
is measured after 1, 5 and 10 steps, the mean of the seeds, and names all that are steeper than 0.1. `--json` has all
of them. One thread.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from coordinate_check import coordinates, slopes  # type: ignore[import-not-found]
from model_choices import MODELS, fitting  # type: ignore[import-not-found]

from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import merged

STEPS = (1, 5, 10)
STEEP = 0.1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", choices=["width", "depth", "decoder-depth"], default="width")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128, 256, 512], help="the first is the base")
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw")
    parser.add_argument("--parametrisations", choices=["mup", "standard"], nargs="+", default=["mup", "standard"])
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--head-width", type=int, default=16, help="0 = 2 heads at every width")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of kinds")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def model_of(given: argparse.Namespace, size: int, parametrisation: str) -> dict[str, Any]:
    """Settings of a model of this size."""
    base = given.sizes[0]
    scaled: dict[str, Any] = {"kind": "mup", "base_width": 64, "base_depth": 2, "base_heads": 2}
    model: dict[str, Any] = {"width": 64, "heads": 2}
    if given.axis == "width":
        model |= {"width": size, "heads": size // given.head_width if given.head_width else 2}
        scaled |= {"base_width": base, "base_heads": base // given.head_width if given.head_width else 2}
    elif given.axis == "depth":
        model |= {"encoder": {"depth": size}}
        scaled |= {"base_depth": base}
    else:
        model |= {"decoder": {"depth": size}}
        scaled |= {"base_decoder_depth": base}
    return model | ({"parametrisation": scaled} if parametrisation == "mup" else {})


def slopes_of(given: argparse.Namespace, kind: RunSpec, parametrisation: str) -> dict[str, float]:
    """The mean of the seeds."""
    each = []
    for seed in range(given.seeds):
        found = {}
        for size in given.sizes:
            training = {"optimizer": {"kind": given.optimizer, "learning_rate": given.rate}}
            over = {"model": model_of(given, size, parametrisation), "training": training, "seed": seed}
            found[size] = coordinates(RunSpec.model_validate(merged(kind.model_dump(mode="json"), over)), STEPS)
        each.append(slopes(found))
    return {name: mean(one[name] for one in each) for name in each[0]}


def kinds(given: argparse.Namespace) -> Iterator[tuple[str, RunSpec]]:
    """A run for each choice that has what is varied."""
    for place, kind in MODELS:
        name = f"{'.'.join(place)}={kind}"
        layered = given.axis != "decoder-depth" or kind in ("position", "perceiver", "diffusion")
        if layered and place != ("parametrisation",) and any(part in name for part in given.only):
            yield name, fitting(place, kind)


def main() -> None:
    given, table = arguments(), dict[str, dict[str, float]]()
    torch.set_num_threads(1)
    for name, kind in kinds(given):
        for parametrisation in given.parametrisations:
            found = table[f"{parametrisation} {name}"] = slopes_of(given, kind, parametrisation)
            steep = {measure: round(slope, 2) for measure, slope in found.items() if not abs(slope) <= STEEP}
            steepest = max(found.values(), key=abs)
            print(f"{parametrisation:9} {name:34} {steepest:+.2f}  {steep or ''}", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
