import pytest
import torch
from corpora import prepared_run
from safetensors.torch import load_file

from cogito_ray.records.ledger import NAME
from cogito_ray.records.sweep_record import read
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.experiment_folder import OtherSettings
from cogito_ray.runtime.train.pretraining_driver import pretrain

pytestmark = [pytest.mark.usefixtures("ray_cluster")]
RANK = "concepts/nuclear_rank"
GATES = [{"if": f"{RANK} < 100", "then": "more concepts"}, {"if": f"{RANK} > 100", "then": "fewer"}]


def run_spec(folder, **changed):
    tree = prepared_run(folder)
    tree["training"]["micro_batch"] = 4
    return RunSpec.model_validate(tree | changed)


def weights(folder):
    return load_file(folder / "checkpoints" / "step-00000006" / "model.safetensors")


@pytest.fixture(scope="module")
def alone(tmp_path_factory, ray_cluster):
    """One worker's run: (spec, storage, its trial)."""
    storage = tmp_path_factory.mktemp("alone")
    spec = run_spec(storage, gates=GATES)
    [trial] = pretrain(spec, "one", storage).trials.values()
    return spec, storage, trial


def test_a_run_is_recorded_like_a_trial(alone):
    spec, _, trial = alone
    assert trial.id == spec.digest()
    assert trial.status == "completed"
    assert [step for step, _ in trial.curve("eval/reconstruction_nats")] == [2, 4, 6]


def test_gates_of_a_run_are_judged_at_its_end(alone):
    _, storage, trial = alone
    verdicts = read(storage / "one" / NAME).gates
    assert [(told.then, told.holds) for told in verdicts] == [("more concepts", True), ("fewer", False)]
    assert verdicts[0].seen == {trial.id: {RANK: trial.known[RANK]}}


@pytest.fixture(scope="module")
def shared(alone):
    """The same run by two workers whose rows Ray Data streams: its trial."""
    spec, storage, _ = alone
    [trial] = pretrain(spec.model_copy(update={"workers": 2, "reader": "streamed"}), "two", storage).trials.values()
    return trial


def test_two_workers_with_streamed_rows_compute_what_one_does_with_mapped_ones(alone, shared):
    _, storage, _ = alone
    assert shared.status == "completed"
    one, two = weights(storage / "one"), weights(storage / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)  # sums in another order


def test_they_read_the_rows_that_one_does(alone, shared):
    _, _, one = alone
    names = {step: report.rows for step, report in one.reports.items()}
    assert {step: report.rows for step, report in shared.reports.items()} == names
    assert len(set(names.values()) - {None}) == 3


def test_a_complete_run_is_not_trained_again_and_a_changed_one_is_refused(alone):
    spec, storage, trial = alone
    assert pretrain(spec, "one", storage).trials[trial.id].seconds == trial.seconds
    with pytest.raises(OtherSettings, match="seed: 0 -> 5"):
        pretrain(spec.model_copy(update={"seed": 5}), "one", storage)


def test_a_run_starts_from_the_checkpoint_of_another_and_its_record_says_so(alone):
    spec, storage, _ = alone
    source = storage / "one" / "checkpoints" / "step-00000006"
    begin = {"kind": "checkpoint", "folder": str(source), "parts": ["encoder"]}
    [trial] = pretrain(spec.model_validate(spec.model_dump() | {"start_from": begin}), "warm", storage).trials.values()
    [note] = trial.notes
    assert note.startswith(f"step 2: started from {begin['folder']} (sha256 ")
    narrow = spec.model_dump() | {"start_from": begin, "model": spec.model.model_dump() | {"concepts": 3}}
    with pytest.raises(ValueError, match=r"start_from: model\.encoder\.latents\.vectors: 4x16 there, 3x16 here"):
        pretrain(spec.model_validate(narrow), "misfit", storage)
    assert not (storage / "misfit" / NAME).exists()
