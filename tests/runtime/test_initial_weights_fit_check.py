"""What a run starts from is looked at before anything is spent: whole, fitting, and of the same words."""

import pytest
from checkpoints import save, untrained

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.preflight_checks import MissingInputs
from cogito_ray.runtime.train.initial_weights_fit_check import refuse_damaged_weights, refuse_misfits
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation_plan import prepare_with, serially


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """(a run, its storage, the folder of its checkpoint)"""
    run, storage = untrained(tmp_path_factory.mktemp("source"))
    save(run, storage, storage / "mine", ledger=storage / "mine" / "ledger.jsonl", steps=(10,))
    return run, storage, storage / "mine" / "checkpoints" / "step-00000010"


def corpora_of(run, storage):
    return {corpus_key(run.data): prepare_with(serially, run.data, storage)}


def begun(run, folder, **changed):
    start = {"kind": "checkpoint", "folder": str(folder), "parts": ["encoder"]}
    return RunSpec.model_validate(run.model_dump() | {"start_from": start} | changed)


def test_a_run_that_fits_passes(source):
    run, storage, folder = source
    refuse_damaged_weights([begun(run, folder)])
    refuse_misfits([begun(run, folder)], corpora_of(run, storage))


def test_every_misfit_of_every_run_is_listed_once(source):
    run, storage, folder = source
    narrow = begun(run, folder, model=run.model.model_dump() | {"concepts": 3})
    deep = begun(run, folder, model=run.model.model_dump() | {"encoder": {"depth": 3}})
    with pytest.raises(ValueError, match="start_from: ") as refused:
        refuse_misfits([narrow, deep, narrow], corpora_of(run, storage))
    lines = str(refused.value).splitlines()
    assert sum("latents.vectors: 4x16 there, 3x16 here" in line for line in lines) == 1
    assert any("missing: model.encoder.blocks.2." in line for line in lines)


def test_a_checkpoint_that_is_not_there_is_refused_before_the_text_is_prepared(source, tmp_path):
    run, _, _ = source
    with pytest.raises(MissingInputs, match=rf"start_from.folder: .*{tmp_path}"):
        refuse_damaged_weights([begun(run, tmp_path)])


def test_a_checkpoint_of_another_tokenizer_is_refused_though_its_shapes_fit(source):
    run, storage, folder = source
    tokenizer = run.data.tokenizer.model_dump() | {"sample": 10_000}
    other = begun(run, folder, data=run.data.model_dump() | {"tokenizer": tokenizer})
    with pytest.raises(ValueError, match=r"was trained with tokenizer \w+, this run has \w+"):
        refuse_misfits([other], corpora_of(other, storage))


def test_a_checkpoint_of_a_model_with_other_multipliers_is_refused_though_its_shapes_fit(source):
    run, storage, folder = source
    sizes = {"base_width": run.model.width, "base_depth": run.model.encoder.depth, "base_heads": run.model.heads}
    base, grown = (
        begun(run, folder, model=run.model.model_dump() | {"parametrisation": {"kind": "mup"} | sizes | over})
        for over in ({}, {"base_width": 8})
    )
    refuse_misfits([base], corpora_of(run, storage))
    with pytest.raises(ValueError, match=r"was trained under another model\.parametrisation, so its weights"):
        refuse_misfits([grown], corpora_of(run, storage))
