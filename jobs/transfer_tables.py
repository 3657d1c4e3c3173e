"""What the runs of jobs/bench_transfer.py show: tables in Markdown, and forecasts that are sealed before the full runs.

    python jobs/transfer_tables.py forecast ladder.jsonl --out sealed.json          from the rungs alone; needs scipy
    python jobs/transfer_tables.py tables FILE.jsonl ... [--sealed sealed.json]
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from bench_transfer import (
    CORE,
    RATE,
    SETTINGS,
    TINY,
    Cell,
    Done,
    Sizes,
    Task,
    best,
    hashed,
    intact,
    known,
    lines_of,
    spec,
)

NAMED = ["recipe", "parametrisation", "width", "depth"]
REACH, WORST = 4, 1.05
"""A parabola goes through runs at most so many notches from the best, and at most so many times its nats."""


def forecast(given: argparse.Namespace) -> None:
    """To a file with a hash over it. SystemExit where a file is there already."""
    if given.out.exists():
        raise SystemExit(f"{given.out}: is sealed already; a forecast is made once")
    ladders = dict[tuple[str, str], list[dict[str, Any]]]()
    for line in lines_of(given.files):
        if line["cell"]["axis"] == "ladder" and line["nats"] is not None:
            ladders.setdefault((line["cell"]["recipe"], line["cell"]["kind"]), []).append(line)
    sizes = TINY if given.tiny else CORE if given.core else Sizes()
    told = [foretold(Cell("full", *named, sizes.full[0], sizes.depths[0], sizes.full[1]), lines, sizes)
            for named, lines in ladders.items()]  # fmt: skip
    tree = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "forecasts": told}
    given.out.write_text(json.dumps(tree | {"sha256": hashed(tree)}, indent=1) + "\n")
    print(given.out.read_text())


def foretold(full: Cell, lines: list[dict[str, Any]], sizes: Sizes) -> dict[str, Any]:
    """Of a full run, from its ladder's runs."""
    from cogito_ray.sweeps.statistics.scaling_law import Rung, Unforecastable, forecast_loss  # and with it scipy

    length = lines[0]["length"]
    model = spec(Task(full, 0.0, 0), sizes.guess, replace(sizes, length=length), "cpu").model
    parameters, tokens = model.parameters(length), full.steps * lines[0]["tokens"] // lines[0]["cell"]["steps"]
    rungs = [Rung(line["parameters"], line["tokens"], line["nats"]) for line in lines]
    try:
        found: dict[str, Any] = asdict(forecast_loss(rungs, parameters, tokens))
    except Unforecastable as reason:
        found = {"refused": str(reason)}
    share = sum(rung.compute for rung in rungs) / (parameters * tokens)
    size = {"over_largest": parameters * tokens / max(rung.compute for rung in rungs), "ladder_share": share}
    return {"recipe": full.recipe, "kind": full.kind, "ladder": [asdict(rung) for rung in rungs]} | size | found


def vertex(cell: Cell, done: Done) -> tuple[float, float]:
    """(notch, standard error) where a parabola through the runs near the best is least, each seed at a height of its
    own; the best notch and NaN where they are too few, or do not bend upwards."""
    centre, least = best(cell, done), min(nats for task, nats in done.items() if task.cell == cell)
    assert centre is not None
    near = [
        (task.value - centre, task.seed, nats)
        for task, nats in done.items()
        if task.cell == cell and abs(task.value - centre) <= REACH and nats < WORST * least
    ]
    seeds = sorted({seed for _, seed, _ in near})
    design = np.array([[x * x, x, *(float(seed == one) for one in seeds)] for x, seed, _ in near])
    nats, freedom = np.array([each for *_, each in near]), len(near) - design.shape[1]
    (bend, slope, *_), *_ = np.linalg.lstsq(design, nats) if freedom > 0 else ((0.0, 0.0),)
    if bend <= 0:
        return centre, math.nan
    left = nats - design @ np.linalg.lstsq(design, nats)[0]
    spread = (left**2).sum() / freedom * np.linalg.pinv(design.T @ design)[:2, :2]
    by = np.array([slope / (2 * bend**2), -1 / (2 * bend)])         # of the vertex -slope / (2 bend), by both
    return float(centre - slope / (2 * bend)), float(np.sqrt(by @ spread @ by))


def regret(cell: Cell, value: float | None, done: Done) -> tuple[float, float]:
    """(nats, share) that `value` loses to the cell's best one, over the seeds that ran with both."""
    chosen = best(cell, done)
    assert chosen is not None
    seeds = [task.seed for task in done if (task.cell, task.value) == (cell, chosen)]
    both = [seed for seed in seeds if value is not None and Task(cell, value, seed) in done]
    if value is None or not both:
        return math.nan, math.nan
    reached = fmean(done[Task(cell, chosen, seed)] for seed in both)
    lost = fmean(done[Task(cell, value, seed)] for seed in both) - reached
    return lost, lost / reached


def nats_of(cell: Cell, value: float, done: Done) -> list[float]:
    """Under each seed."""
    return [nats for task, nats in done.items() if (task.cell, task.value) == (cell, value)]


def in_order(done: Done, *axes: str) -> list[Cell]:
    """Cells of these axes of which something is known."""
    cells = {task.cell for task in done if task.cell.axis in axes}
    return sorted(cells, key=lambda cell: (cell.axis, cell.recipe, cell.kind, cell.depth, cell.width, cell.steps))


def base_of(cell: Cell, cells: Iterable[Cell]) -> Cell:
    """The smallest size that it is compared with."""
    shallow = replace(cell, depth=min(one.depth for one in cells))
    return shallow if shallow != cell else replace(cell, width=min(one.width for one in cells))


def rate_tables(done: Done) -> Iterator[str]:
    """Where the best rate is at each size, and what it costs to keep the smallest size's; then all curves."""
    cells = in_order(done, RATE)
    notches = sorted({task.value for task in done if task.cell in cells})
    rows, curves = [], []
    for cell in cells:
        base, chosen = base_of(cell, cells), best(cell, done)
        assert chosen is not None
        (place, error), (first, _), reached = vertex(cell, done), vertex(base, done), nats_of(cell, chosen, done)
        lost, share = regret(cell, best(base, done), done)
        named = [cell.recipe, cell.kind, str(cell.width), str(cell.depth)]
        found = [f"{chosen:g}", f"{place:.1f} ± {error:.1f}", f"{2 ** (place / 2):.2g}", f"{place - first:+.1f}"]
        rows.append([*named, *found, f"{fmean(reached):.4f}", str(len(reached)), f"{lost:.4f}", f"{share:.2%}"])
        curve = (nats_of(cell, notch, done) for notch in notches)
        curves.append(named + [f"{fmean(nats):.3f}" if nats else "" for nats in curve])
    told = ["best notch", "fitted", "its rate", "moved", "nats", "seeds", "nats lost by the smallest's", "share"]
    yield table(NAMED + told, rows)
    yield table(NAMED + [f"2^{notch / 2:g}" for notch in notches], curves)


def setting_table(axis: str, done: Done) -> str:
    """Nats by value at each width, and what it costs to keep the smallest width's best."""
    cells, rows = in_order(done, axis), []
    values = sorted({task.value for task in done if task.cell in cells})
    for cell in cells:
        share = regret(cell, best(base_of(cell, cells), done), done)[1]
        means = [f"{fmean(nats):.4f}" if (nats := nats_of(cell, value, done)) else "" for value in values]
        rows.append([cell.recipe, cell.kind, str(cell.width), f"{best(cell, done):g}", f"{share:.2%}", *means])
    head = ["recipe", "parametrisation", "width", f"best {axis}", "lost by the smallest's"]
    return table([*head, *(f"{value:g}" for value in values)], rows)


def size_table(done: Done) -> str:
    """What each rung and each full run reached."""
    rows = [
        [cell.recipe, cell.kind, cell.axis, str(cell.width), str(cell.steps), f"{fmean(nats_of(cell, 0.0, done)):.4f}"]
        for cell in in_order(done, "ladder", "full")
    ]
    return table(["recipe", "parametrisation", "part", "width", "steps", "nats"], rows)


def forecast_table(done: Done, sealed: dict[str, Any]) -> str:
    """What was foretold of each full run, and what it reached."""
    rows = []
    for one in sealed["forecasts"]:
        named = ("full", one["recipe"], one["kind"])
        full = [nats for task, nats in done.items() if (task.cell.axis, task.cell.recipe, task.cell.kind) == named]
        row = [*named[1:], f"{one['over_largest']:.1f}x", f"{one['ladder_share']:.0%}"]
        row += [f"refused: {one['refused']}", ""] if "refused" in one else [
            f"{one['value']:.4f}", f"{one['low']:.4f} to {one['high']:.4f}"
        ]  # fmt: skip
        row.append(f"{fmean(full):.4f}" if full else "")
        if full and "value" in one:
            inside = one["low"] <= fmean(full) <= one["high"]
            row += [f"{one['value'] / fmean(full) - 1:+.2%}", "yes" if inside else "no"]
        rows.append(row + [""] * (9 - len(row)))
    head = ["recipe", "parametrisation", "compute over the largest rung", "ladder's compute", "forecast"]
    said = table([*head, "90 % interval", "reached", "off by", "inside"], rows)
    return f"Sealed {sealed['at']}, SHA-256 {sealed['sha256']}\n\n{said}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def tables(given: argparse.Namespace) -> None:
    """All that the files tell."""
    done = known(given.files)
    axes = {task.cell.axis for task in done}
    parts = [*rate_tables(done)] if RATE in axes else []
    parts += [setting_table(axis, done) for axis in SETTINGS if axis in axes]
    parts += [size_table(done)] if axes & {"ladder", "full"} else []
    print("\n\n".join(parts + ([forecast_table(done, intact(given.sealed))] if given.sealed else [])))


def main(arguments: list[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    seal, told = commands.add_parser("forecast"), commands.add_parser("tables")
    for command, call in ((seal, forecast), (told, tables)):
        command.set_defaults(call=call)
        command.add_argument("files", type=Path, nargs="+", help="of jobs/bench_transfer.py runs")
    seal.add_argument("--out", type=Path, required=True)
    seal.add_argument("--core", action="store_true", help="of runs --core")
    seal.add_argument("--tiny", action="store_true", help="of runs --tiny")
    told.add_argument("--sealed", type=Path)
    given = parser.parse_args(arguments)
    given.call(given)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
