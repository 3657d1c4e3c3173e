"""A sweep whose source changed between two starts is refused; under another name it reads the new text."""

import pytest
from corpora import prepared_run, texts

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.records.ledger import NAME
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import ChangedData

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_a_sweep_goes_on_with_the_text_it_began_with_or_not_at_all(tmp_path):
    tree = {
        "name": "tiny",
        "run": prepared_run(tmp_path),
        "space": {"objective.rate": {"uniform": [0.3, 0.6]}},
        "search": {"sampler": "random"},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 1},
    }
    run_sweep(SweepSpec.model_validate(tree), tmp_path)
    more = "".join(f'{{"text": "{text}"}}\n' for text in texts(100, seed=5)).replace("concept", "quartz")
    (tmp_path / "text" / "second" / "more.jsonl").write_text(more)
    before = (tmp_path / "tiny" / NAME).read_bytes()
    larger = {"budget": {"trials": 2}}
    with pytest.raises(ChangedData, match=r"with other text:\n  data\.sources\.second\.files that came: more\.jsonl\n"):
        run_sweep(SweepSpec.model_validate(tree | larger), tmp_path)
    assert (tmp_path / "tiny" / NAME).read_bytes() == before
    record = run_sweep(SweepSpec.model_validate(tree | larger | {"name": "other"}), tmp_path)
    folders = [tmp_path / "tiny", *sorted((tmp_path / "other" / "trials").glob("*"))]
    opened = [TrainedModel.open(folder) for folder in folders]
    old, *new = [one.data for one in opened if one.corpus.digests == one.data]
    assert len(new) == 2
    assert all(read == new[0] != old for read in new)
    assert [trial.data for trial in record.trials.values()] == new
