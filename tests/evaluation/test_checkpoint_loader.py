import json
import shutil

import numpy as np
import pytest
import torch
from checkpoints import save, untrained
from corpora import texts
from tokenizers import Tokenizer

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.frozen_concepts import encode
from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import merged
from cogito_ray.text.data_digests import NotPrepared
from cogito_ray.text.preparation_plan import prepare_with, prepared, serially
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State
from cogito_ray.training.checkpoints.manifest import seal
from cogito_ray.training.optimizer import averaged


def test_a_run_is_taken_up_from_its_newest_checkpoint(trained):
    run, folder, total = trained
    found = TrainedModel.open(folder)
    assert (found.run, found.step) == (run, 20)
    ids = torch.from_numpy(found.corpus.held_out_rows(8))
    assert torch.equal(encode(found.model, ids, pad_id=0), encode(total.model, ids, pad_id=0))


def test_one_checkpoint_may_be_asked_for(trained):
    _, folder, _ = trained
    assert TrainedModel.open(folder / "checkpoints" / "step-00000010").step == 10


def test_a_run_that_averages_its_weights_is_taken_up_with_the_average(tmp_path):
    run, storage = untrained(tmp_path)
    run = RunSpec.model_validate(merged(run.model_dump(mode="json"), {"training": {"optimizer": {"ema": {}}}}))
    total = save(run, storage, storage / "mine", ledger=storage / "mine" / "ledger.jsonl")
    optimizer = run.training.optimizer.build(total)
    for factor in (1.0, 2.0):
        for parameter in total.parameters():
            parameter.grad = torch.full_like(parameter, factor)
        optimizer.step()
    state = State(step=30, data=prepared(run.data, storage).digests)
    Checkpoints(storage / "mine" / "checkpoints", run.digest()).save(state, total, optimizer)
    found = TrainedModel.open(storage / "mine").model.state_dict()
    last = {name: weight.clone() for name, weight in total.model.state_dict().items()}
    with averaged(optimizer):
        assert all(torch.equal(found[name], weight) for name, weight in total.model.state_dict().items())
    assert not all(torch.equal(found[name], weight) for name, weight in last.items())


def test_a_full_run_below_its_sweep_finds_the_text_of_the_storage(trained):
    _, folder, _ = trained
    promoted = shutil.copytree(folder, folder.parent / "sweep" / "promoted" / "full")
    assert TrainedModel.open(promoted).step == 20


def test_a_folder_without_checkpoints_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint is there"):
        TrainedModel.open(tmp_path)


def test_a_checkpoint_without_its_ledger_is_an_error(trained, tmp_path):
    shutil.copytree(trained[1] / "checkpoints", tmp_path / "checkpoints")
    with pytest.raises(FileNotFoundError, match=r"no ledger\.jsonl stands above it"):
        TrainedModel.open(tmp_path)


def test_a_folder_of_several_trials_is_an_error_that_names_them(trained, tmp_path):
    for trial in ("aaa", "bbb"):
        shutil.copytree(trained[1] / "checkpoints", tmp_path / trial / "checkpoints")
    with pytest.raises(ValueError, match="checkpoints of 2 trials; give the folder of one: aaa, bbb"):
        TrainedModel.open(tmp_path)


@pytest.fixture
def changed(tmp_path):
    """(a checkpoint's folder, its vectors of a text before) with a file added to its source, and that text prepared."""
    run, storage = untrained(tmp_path)
    save(run, storage, storage / "mine", ledger=storage / "mine" / "ledger.jsonl")
    before = TrainedModel.open(storage / "mine")
    vectors = before.sentence_encoder.pooled([TEXT], "mean")
    lines = "".join(f'{{"text": "{text}"}}\n' for text in texts(200, seed=5))
    (tmp_path / "text" / "second" / "more.jsonl").write_text(lines.replace("concept", "quartz"))
    assert prepare_with(serially, run.data, storage).digests.tokenizer != before.data.tokenizer
    return storage / "mine", vectors


TEXT = "concept moment quartz zebra radius delta"


def test_a_checkpoint_keeps_its_tokenizer_and_its_rows_when_its_source_changes(changed):
    folder, vectors = changed
    found = TrainedModel.open(folder)
    np.testing.assert_array_equal(found.sentence_encoder.pooled([TEXT], "mean"), vectors)
    assert found.corpus.digests == found.data


def test_an_export_names_what_the_model_was_trained_on(changed, tmp_path):
    found = TrainedModel.open(changed[0])
    found.export(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    rows = {f"rows of {name}": digest for name, digest in found.data.sources.items()}
    for name, digest in {"data": found.data.digest(), "tokenizer": found.data.tokenizer, **rows}.items():
        assert f"- {name}: {digest}\n" in card
    theirs = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert theirs.encode(TEXT, add_special_tokens=False).ids[:16] == found.sentence_encoder.ids([TEXT])[0].tolist()


def test_a_checkpoint_whose_rows_were_deleted_is_read_and_exported_but_not_measured_on_others(changed, tmp_path):
    folder, vectors = changed
    shutil.rmtree(folder.parent / "tokens")
    found = TrainedModel.open(folder)
    np.testing.assert_array_equal(found.sentence_encoder.pooled([TEXT], "mean"), vectors)
    found.export(tmp_path / "out")
    said = r"rows \w+ are not there.*prepare.*\n  since then: data\.sources\.second\.files that came: more\.jsonl"
    with pytest.raises(NotPrepared, match=said):
        _ = found.corpus


def test_a_checkpoint_whose_tokenizer_was_deleted_is_refused_with_what_changed_since(changed):
    folder, _ = changed
    shutil.rmtree(folder.parent / "tokenizers")
    with pytest.raises(NotPrepared, match=r"the tokenizer is not there.*\n  since then: .* came: more\.jsonl"):
        TrainedModel.open(folder)


def test_a_checkpoint_that_does_not_say_what_it_read_is_refused(changed):
    folder, _ = changed
    newest = folder / "checkpoints" / "step-00000020"
    told = json.loads((newest / "state.json").read_text())
    (newest / "manifest.json").unlink()
    (newest / "state.json").write_text(json.dumps(told | {"data": None}))
    seal(newest)
    with pytest.raises(ValueError, match="does not say on what text"):
        TrainedModel.open(folder)
