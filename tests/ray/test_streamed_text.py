"""Text tokenised by Ray Data while it is read: the rows one process would read, whoever shares them."""

from pathlib import Path

import numpy as np
import pytest
from corpora import data_spec, tiny_run, two_sources

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.data.ray_data_preparation import prepare
from cogito_ray.runtime.data.ray_data_reader import TextReader
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.text.streamed_text import StreamedText

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> StreamedText:
    """Prepared by Ray Data as well, in parts of a few dozen documents."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cogito_ray.text.sources.documents.SMALLEST_PART", 8000)
        patched.setattr("cogito_ray.text.sources.documents.PARTS", 1000)
        corpus = prepare(data_spec(two_sources(folder), keep="text"), folder / "storage")
    return StreamedText(corpus, corpus.text_plan(seed=1))


@pytest.fixture(scope="module")
def whole(text: StreamedText) -> np.ndarray:
    """(150, 8, 16) the steps of a run, tokenised in this process."""
    calls = (call() for call in text.calls(0, 1200))
    return np.concatenate(list(text.rows(0, 1200, calls))).reshape(150, 8, 16)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_workers_together_read_what_one_process_reads(
    text: StreamedText, whole: np.ndarray, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogito_ray.runtime.data.ray_data_reader.MOST_TOKENS", 7 * 8 * 16)  # pieces of 7 steps
    shares = [TextReader(text).batches(range(150), batch=8, rank=rank, world=world) for rank in range(world)]
    together = [np.concatenate(step) for step in zip(*shares, strict=True)]
    np.testing.assert_array_equal(together, whole)


def test_a_worker_may_be_far_ahead_of_another(text: StreamedText, whole: np.ndarray) -> None:
    ahead, behind = (TextReader(text).batches(range(150), batch=8, rank=rank, world=2) for rank in (1, 0))
    np.testing.assert_array_equal(list(ahead), whole[:, 4:])
    np.testing.assert_array_equal(list(behind), whole[:, :4])


@pytest.mark.parametrize("world", [1, 2])
def test_resuming_in_mid_epoch_gives_the_tail(text: StreamedText, whole: np.ndarray, world: int) -> None:
    shares = [TextReader(text).batches(range(93, 150), batch=8, rank=rank, world=world) for rank in range(world)]
    together = [np.concatenate(step) for step in zip(*shares, strict=True)]
    np.testing.assert_array_equal(together, whole[93:])


def test_a_long_run_is_read_in_several_datasets(
    text: StreamedText, whole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogito_ray.runtime.data.ray_data_reader.BLOCKS", 9)
    np.testing.assert_array_equal(list(TextReader(text).batches(range(150), batch=8)), whole)


def test_a_batch_that_workers_cannot_share_is_refused(text: StreamedText) -> None:
    with pytest.raises(ValueError, match="10 rows cannot be split evenly over 3 workers"):
        next(TextReader(text).batches(range(5), batch=10, world=3))


@pytest.mark.chaos
def test_a_run_trains_on_text_of_which_no_tokens_are_kept(tmp_path: Path) -> None:
    """Two workers under Ray Train take their shares of one stream."""
    tree = tiny_run(tmp_path)
    tree["data"]["keep"] = "text"  # type: ignore[index]
    run = RunSpec.model_validate(tree | {"reader": "streamed", "workers": 2})
    record = pretrain(run, "text", tmp_path / "s")
    assert record.is_complete
    assert record.trials[run.digest()].step == 6
