import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cogito_ray.cli import main


@pytest.fixture
def evaluate(monkeypatch, capsys, tmp_path):
    """Calls `cogito-ray evaluate` with two tasks' data: (exit status, standard output, standard error)."""
    draw = np.random.default_rng(0)
    words = np.array(["concept", "token", "moment", "radius", "delta"])
    one, two = ([" ".join(draw.choice(words, size=4)) for _ in range(40)] for _ in range(2))
    columns = {"sentence_A": one, "sentence_B": two, "relatedness_score": draw.random(40), "label": [0, 1, 2, 1] * 10}
    (tmp_path / "sick").mkdir()
    for split in ("train", "test"):
        parquet.write_table(pa.table(columns), tmp_path / "sick" / f"{split}.parquet")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cogito-ray", "evaluate", *map(str, arguments), "--data", str(tmp_path)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


def test_a_table_shows_each_score_with_its_interval_beside_baselines(trained, evaluate):
    status, out, _ = evaluate(trained[1], "--tasks", "sick-entailment")
    assert status == 0
    head, *rows = out.splitlines()
    assert head.split() == ["task", "protocol", "vectors", "metric", "score", "95", "%", "interval", "examples"]
    assert [row.split()[:4] for row in rows] == [
        ["sick-entailment", "probe", vectors, "accuracy"]
        for vectors in ("mean", "token_means", "bag_of_words", "majority")
    ]
    assert rows[-1].split()[4] == "0.500"


def test_a_script_gets_one_object(trained, evaluate):
    run, folder, _ = trained
    status, out, _ = evaluate(folder, "--tasks", "sick-relatedness", "--json")
    told = json.loads(out)
    assert (status, told["run"], told["step"]) == (0, run.digest(), 20)
    first = told["results"][0]
    assert (first["task"], first["protocol"], first["vectors"]) == ("sick-relatedness", "zero-shot", "mean")
    assert first["score"]["low"] <= first["score"]["value"] <= first["score"]["high"]


def test_a_missing_file_ends_the_command_before_anything_is_computed(trained, evaluate):
    status, out, error = evaluate(trained[1], "--tasks", "sick-entailment,rte")
    assert (status, out) == (2, "")
    assert "glue/rte/train.parquet is missing" in error
