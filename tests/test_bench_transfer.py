"""The benchmark of transfer across sizes: how it looks for best rates, and that forecasts come before full runs."""

import json
import time

import bench_transfer as bench
import pytest
import transfer_tables

CELLS = [bench.Cell("rate", "tsdae", "standard", width, 2, 10) for width in (32, 256)]
SIZES = bench.Sizes()


def searched(optima, seeds=1):
    """What is run, one after the other, where each cell's nats are a parabola around its optimum."""
    done = {}
    while task := next(bench.upcoming(CELLS, done, [], seeds, SIZES), None):
        done[task] = 3 + 0.01 * (task.value - optima[task.cell.width]) ** 2 + 0.1 * task.seed
    return done


@pytest.mark.parametrize("optimum", [-21, -17, -12, -6, -5])
def test_the_best_rate_is_found_and_bracketed_wherever_it_is(optimum):
    done = searched({32: -12, 256: optimum})
    values = {task.value for task in done if task.cell == CELLS[1]}
    assert bench.best(CELLS[1], done) == optimum
    assert {optimum - 1, optimum + 1} <= values
    assert transfer_tables.vertex(CELLS[1], done)[0] == pytest.approx(optimum)


def test_the_largest_is_run_with_the_best_rate_of_the_smallest_and_the_regret_is_that():
    done = searched({32: -12, 256: -19}, seeds=2)
    lost, share = transfer_tables.regret(CELLS[1], bench.best(CELLS[0], done), done)
    assert lost == pytest.approx(0.01 * 7**2)
    assert share == pytest.approx(lost / 3.05)          # the mean of both seeds at the best


def test_further_seeds_run_near_the_best_alone():
    done = searched({32: -12, 256: -15}, seeds=2)
    assert {task.value for task in done if task.seed == 1 and task.cell == CELLS[1]} == {-12, *range(-17, -12)}


def test_cells_take_turns():
    done = {}
    for _ in range(8):
        task = next(bench.upcoming(CELLS, done, [], 1, SIZES))
        done[task] = abs(task.value)
        widths = [task.cell.width for task in done]
        assert abs(widths.count(32) - widths.count(256)) <= 1


def test_what_would_not_end_in_time_is_not_begun():
    clock, task = bench.Clock(minutes=1), bench.Task(CELLS[0], -13, 0)
    assert clock.allows(task)
    clock.ended(task, 100.0)
    assert not clock.allows(task)
    assert not clock.allows(bench.Task(CELLS[1], -13, 0))        # of which nothing is known
    assert clock.end <= time.perf_counter() + 60


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    run(folder, "ladder")
    return folder


def run(folder, part, *arguments):
    out = folder / f"{part}.jsonl"
    kind = ["--parametrisations", "mup"]
    bench.main(["runs", "--part", part, "--tiny", "--processes", "0", "--out", str(out), *kind, *map(str, arguments)])
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_a_rung_is_a_line_and_is_not_run_again(ladder):
    lines = [json.loads(line) for line in (ladder / "ladder.jsonl").read_text().splitlines()]
    widths, steps = bench.TINY.ladder
    assert {(line["cell"]["width"], line["cell"]["steps"]) for line in lines} == {(w, s) for w in widths for s in steps}
    assert all(line["nats"] > 0 and line["seconds"] > 0 for line in lines)
    assert len(run(ladder, "ladder", "--known", ladder / "ladder.jsonl")) == len(lines)


def test_a_full_run_waits_for_a_forecast_that_nobody_changed(ladder, capsys):
    sealed = ladder / "sealed.json"
    with pytest.raises(SystemExit, match="full runs wait for their forecast"):
        run(ladder, "full")
    transfer_tables.main(["forecast", "--tiny", str(ladder / "ladder.jsonl"), "--out", str(sealed)])
    with pytest.raises(SystemExit, match="sealed already"):
        transfer_tables.main(["forecast", "--tiny", str(ladder / "ladder.jsonl"), "--out", str(sealed)])
    [line] = run(ladder, "full", "--sealed", sealed)
    tree = json.loads(sealed.read_text())
    assert line["seal"] == tree["sha256"]
    capsys.readouterr()
    transfer_tables.main(["tables", str(ladder / "ladder.jsonl"), str(ladder / "full.jsonl"), "--sealed", str(sealed)])
    assert f"{line['nats']:.4f}" in capsys.readouterr().out.splitlines()[-1]
    sealed.write_text(json.dumps(tree | {"at": "2020-01-01T00:00:00Z"}))
    with pytest.raises(SystemExit, match="was changed after it was sealed"):
        run(ladder, "full", "--sealed", sealed)


@pytest.mark.parametrize("recipe", bench.RECIPES)
@pytest.mark.parametrize("part", ["rate", "settings", "ladder", "full"])
def test_every_run_of_every_part_is_valid(part, recipe, tmp_path):
    given = bench.parsed(["runs", "--part", part, "--recipes", recipe, "--out", str(tmp_path / "out")])
    for cell in bench.cells_of(part, given, SIZES):
        for value, seed in bench.wanted(cell, {}, 1, SIZES):
            bench.spec(bench.Task(cell, value, seed), -13, SIZES, "cpu")
