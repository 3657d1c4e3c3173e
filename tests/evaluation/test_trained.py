import shutil

import pytest
import torch

from cogito_ray.evaluation.encode import encode
from cogito_ray.evaluation.trained import Trained


def test_a_run_is_taken_up_from_its_newest_checkpoint(trained):
    run, folder, total = trained
    found = Trained.open(folder)
    assert (found.run, found.step) == (run, 20)
    ids = torch.from_numpy(found.corpus.held_out_rows(8))
    assert torch.equal(encode(found.model, ids, pad_id=0), encode(total.model, ids, pad_id=0))


def test_one_checkpoint_may_be_asked_for(trained):
    _, folder, _ = trained
    assert Trained.open(folder / "checkpoints" / "step-00000010").step == 10


def test_a_full_run_below_its_sweep_finds_the_text_of_the_storage(trained):
    _, folder, _ = trained
    promoted = shutil.copytree(folder, folder.parent / "sweep" / "promoted" / "full")
    assert Trained.open(promoted).step == 20


def test_a_folder_without_checkpoints_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint is there"):
        Trained.open(tmp_path)


def test_a_checkpoint_without_its_ledger_is_an_error(trained, tmp_path):
    shutil.copytree(trained[1] / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(FileNotFoundError, match=r"no ledger\.jsonl stands above it"):
        Trained.open(tmp_path)


def test_a_folder_of_several_trials_is_an_error_that_names_them(trained, tmp_path):
    for trial in ("aaa", "bbb"):
        shutil.copytree(trained[1] / "checkpoints", tmp_path / trial / "checkpoints")
    with pytest.raises(ValueError, match="checkpoints of 2 trials; give the folder of one: aaa, bbb"):
        Trained.open(tmp_path)
