"""A run reads what it was started with, whatever its sources hold by now, or is refused with the difference."""

from pathlib import Path

import pytest
from corpora import prepared_run, texts

from cogito_ray.evaluation.validation.word_probes import WordProbesSpec
from cogito_ray.records.ledger import Ledger, TrialStarted
from cogito_ray.run_spec import EvaluationSpec, RunSpec
from cogito_ray.runtime.experiment_folder import ExperimentFolder, refuse_few_rows
from cogito_ray.runtime.train.initial_weights_fit_check import refuse_misfits
from cogito_ray.runtime.train.train_worker import Job, Place, train
from cogito_ray.runtime.tune.disk_quota_enforcement import most_within_quota
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.sweep_validation import judged_by
from cogito_ray.text.data_digests import ChangedData
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation_plan import prepare_with, prepared, serially
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.training.checkpoints.checkpoint_store import BadCheckpoint, State


def silent(told: object) -> None:
    """How far the text is prepared is of no interest."""


@pytest.fixture
def run(tmp_path: Path) -> RunSpec:
    """Its text is prepared in `tmp_path`."""
    return RunSpec.model_validate(prepared_run(tmp_path))


def started(run: RunSpec, storage: Path) -> tuple[ExperimentFolder, Corpus]:
    """The experiment of this run, of which the ledger tells that it was started, and what it reads."""
    experiment = ExperimentFolder.of_run(run, "mine", storage)
    corpora = experiment.prepare([run.data], storage, silent)
    [corpus] = corpora.values()
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening({key: corpus.digests for key, corpus in corpora.items()}))
        asked = {"trial": run.digest(), "number": 0, "sample": {}, "spec": run.model_dump(mode="json")}
        ledger.append(TrialStarted(at=0.0, data=corpus.digests, **asked))
    return experiment, corpus


def add_a_file(storage: Path) -> None:
    lines = "".join(f'{{"text": "{text}"}}\n' for text in texts(100, seed=5))
    (storage / "text" / "second" / "more.jsonl").write_text(lines.replace("concept", "quartz"))


def test_a_run_whose_source_has_changed_is_refused_with_the_difference_and_a_way_out(run, tmp_path):
    experiment, _ = started(run, tmp_path)
    before = experiment.ledger.read_bytes()
    add_a_file(tmp_path)
    with pytest.raises(ChangedData) as refused:
        experiment.prepare([run.data], tmp_path, silent)
    assert str(refused.value).splitlines() == [
        f"{experiment.folder} was started with other text:",
        "  data.sources.second.files that came: more.jsonl",
        "put the old text back, give this one another name, or delete that folder",
    ]
    assert experiment.ledger.read_bytes() == before


def test_under_another_name_it_reads_the_new_text_and_the_old_run_keeps_its_own(run, tmp_path):
    _, old = started(run, tmp_path)
    add_a_file(tmp_path)
    new = prepare_with(serially, run.data, tmp_path)
    [found] = ExperimentFolder.of_run(run, "other", tmp_path).prepare([run.data], tmp_path, silent).values()
    assert found.digests == new.digests != old.digests
    assert Corpus.open(run.data, tmp_path, old.digests).tokenizer.digest() == old.digests.tokenizer


def test_what_is_bound_to_other_data_is_refused_though_nothing_was_started(run, tmp_path):
    _, old = started(run, tmp_path)
    add_a_file(tmp_path)
    prepare_with(serially, run.data, tmp_path)
    promoted = ExperimentFolder.of_run(run, "mine/promoted/full", tmp_path)
    with pytest.raises(ChangedData, match=r"second\.files that came: more\.jsonl"):
        promoted.prepare([run.data], tmp_path, silent, bound={corpus_key(run.data): old.digests})


def test_a_ledger_that_does_not_say_what_was_read_is_refused(run, tmp_path):
    experiment = ExperimentFolder.of_run(run, "mine", tmp_path)
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
        asked = {"trial": run.digest(), "number": 0, "sample": {}, "spec": run.model_dump(mode="json")}
        ledger.append(TrialStarted(at=0.0, **asked))
    with pytest.raises(ChangedData, match="does not say what was read"):
        experiment.prepare([run.data], tmp_path, silent)


def test_a_ledger_of_a_version_with_fewer_settings_is_bound_as_well(run, tmp_path):
    """The keys of its corpora are others, for they are of all settings."""
    experiment = ExperimentFolder.of_run(run, "mine", tmp_path)
    old = prepared(run.data, tmp_path).digests
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening({"another key": old}))
    assert [corpus.digests for corpus in experiment.prepare([run.data], tmp_path, silent).values()] == [old]
    add_a_file(tmp_path)
    prepare_with(serially, run.data, tmp_path)
    with pytest.raises(ChangedData, match=r"data \w+ of first, second: never read here"):
        experiment.prepare([run.data], tmp_path, silent)


def test_a_worker_reads_the_data_of_its_run_and_not_what_was_prepared_last(run, tmp_path):
    old = prepared(run.data, tmp_path).digests
    names = []
    for attempt in ("before", "after"):
        told = []
        train(Job(run, tmp_path, old, tmp_path / attempt), told.append, Place())
        names.append((told[-1].rows, told[-1].metrics["eval/reconstruction_nats"]))
        add_a_file(tmp_path)
        assert prepare_with(serially, run.data, tmp_path).digests != old
    assert names[0] == names[1]
    assert State.read(next((tmp_path / "after" / "checkpoints").glob("step-*"))).data == old


def test_a_run_does_not_go_on_from_a_checkpoint_that_read_other_data(run, tmp_path):
    old = prepared(run.data, tmp_path).digests
    train(Job(run, tmp_path, old, tmp_path / "run"), silent, Place())
    add_a_file(tmp_path)
    new = prepare_with(serially, run.data, tmp_path).digests
    with pytest.raises(BadCheckpoint, match=f"has read data {old.digest()} so far, but is given data {new.digest()}"):
        train(Job(run, tmp_path, new, tmp_path / "run"), silent, Place())


def test_too_few_held_out_rows_are_refused_before_anything_is_trained(run, tmp_path):
    corpora = {corpus_key(run.data): prepared(run.data, tmp_path)}
    refuse_few_rows([run], corpora)
    many = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"rows": 10_000})})
    with pytest.raises(ValueError, match=r"evaluation\.rows: 10000 held-out rows .* of first, .* of second\)"):
        refuse_few_rows([run, many], corpora)


def test_a_metric_that_the_words_of_these_rows_cannot_give_is_refused_before_anything_is_trained(run, tmp_path):
    corpora = {corpus_key(run.data): prepared(run.data, tmp_path)}
    judged = [("goals.0.metric", "eval/reconstruction_nats"), ("constraints.x", "eval/word_order_accuracy")]
    common = run.model_copy(update={"evaluation": EvaluationSpec(rows=40)})
    refuse_few_rows([common], corpora, judged)
    rare = run.model_copy(update={"evaluation": EvaluationSpec(rows=40, word_probes=WordProbesSpec(min_share=0.49))})
    refuse_few_rows([rare], corpora, judged[:1])
    with pytest.raises(ValueError, match=r"^constraints\.x: eval/word_order_accuracy would not be measured, because"):
        refuse_few_rows([common, rare], corpora, judged)


def test_digests_are_equal_in_ledger_state_and_corpus(run, tmp_path):
    experiment, corpus = started(run, tmp_path)
    record = experiment.recorded()
    assert record is not None
    assert record.trials[run.digest()].data == record.data[corpus_key(run.data)] == corpus.digests


def test_a_corpus_is_opened_once_and_handed_to_whatever_is_checked_before_a_sweep_starts(tmp_path, monkeypatch):
    tree = {"name": "tiny", "run": prepared_run(tmp_path), "space": {"model.concepts": {"choice": [4, 8]}}}
    goals = [{"metric": "eval/reconstruction_nats", "mode": "min"}]
    sweep = SweepSpec.model_validate(tree | {"goals": goals, "budget": {"trials": 2, "disk": "1GB"}})
    runs, opened, read_bytes = [sweep.trial(corner) for corner in sweep.search_space.corners()], [], Path.read_bytes

    def noting(path):
        opened.append(path.relative_to(tmp_path).parts[0])
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noting)
    corpora = ExperimentFolder.of_sweep(sweep, tmp_path).prepare(sweep.search_space.corpora(), tmp_path, silent)
    assert len(corpora) == 1
    assert opened.count("tokens") <= 2 * len(sweep.trial({"model.concepts": 4}).data.sources)  # verified, and read
    opened.clear()
    refuse_few_rows(runs, corpora, judged_by(sweep.aim, sweep.judged_gates))
    refuse_misfits(runs, corpora)
    most_within_quota(sweep, runs, corpora, at_once=2)
    assert not {"tokens", "corpora"} & set(opened)
