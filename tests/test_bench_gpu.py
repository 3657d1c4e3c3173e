"""The benchmark of GPUs, on whatever there is: nothing is left out without saying why."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

JOB = Path(__file__).parents[1] / "jobs" / "bench_gpu.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_gpu", JOB)
    sys.modules["bench_gpu"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tree(bench, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "gpu"
    assert bench.main(["--tiny", "--out", str(out)]) == 0
    return json.loads(out.with_suffix(".json").read_text()), out.with_suffix(".md").read_text()


def test_every_check_passes_or_names_what_it_needs(bench, tree):
    outcomes = {name: (outcome, why) for name, outcome, why in tree[0]["checks"]}
    for check in bench.CHECKS:
        outcome, why = outcomes[check.name]
        lacks_cuda = bench.CUDA in check.needs and not torch.cuda.is_available()
        assert outcome == ("skipped" if lacks_cuda else "passed")
        assert why.startswith("needs a CUDA GPU") == lacks_cuda


def test_every_planned_run_has_figures_or_names_what_it_needs(tree):
    for row in tree[0]["speeds"]:
        assert (row["note"] == "") == (row["tokens_per_s"] is not None) == (row["mfu"] is not None)
        assert row["note"] == "" or row["note"].startswith("skipped: needs ")
    assert any(row["mfu"] for row in tree[0]["speeds"])


def test_the_table_holds_what_the_file_holds(tree):
    data, said = tree
    assert all(f"| {name} | {outcome} | {why} |" in said for name, outcome, why in data["checks"])
    assert said.count("\n| tsdae/position |") + said.count("\n| mlm/perceiver |") == len(data["speeds"])


def test_a_check_that_is_off_by_more_than_is_allowed_fails(bench):
    settings = bench.Settings("cpu", {}, 64, (16,), 4, 2)
    found = bench.Check("off", (), lambda settings: 0.2, 0.1).told(settings)
    assert found == ("off", "failed", "2.0e-01, allowed 1.0e-01")
