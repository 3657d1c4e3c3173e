"""The ways in which runs have died, replayed on tiny models: each ends by name, and would go on without its guard."""

import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.objectives.token_masking import MlmSpec
from cogito_ray.testing.tiny_runs import LENGTH, VOCABULARY, run
from cogito_ray.text.shards.row_packing import PACKERS
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State
from cogito_ray.training.guards import RunDied
from cogito_ray.training.training_loop import CorpusFacts, fit

UNIFORM = torch.zeros(VOCABULARY.size)
NATS = {"eval/unigram_nats": float(np.log(60))}


class Interrupted(Exception):
    """Stands for a kill at a report."""


def language():
    """(64, LENGTH) rows in which each word is followed by one of three, so that there is much to learn."""
    draw = np.random.default_rng(0)
    followers = draw.integers(4, VOCABULARY.size, (VOCABULARY.size, 3))
    words = np.empty((64, LENGTH), dtype=np.int64)
    words[:, 0] = draw.integers(4, VOCABULARY.size, 64)
    for place in range(1, LENGTH):
        words[:, place] = followers[words[:, place - 1], draw.integers(0, 3, 64)]
    return torch.from_numpy(words)


ROWS = language()


def spec(*, model=None, loss=None, **training):
    steps = {"steps": 60, "batch": 8, "report_every": 5, "checkpoint_every": 5, "optimizer": {"learning_rate": 1e-2}}
    return run(
        objective={"kind": "tsdae"},
        model=model or {},
        loss=loss or {},
        training=steps | training,
    )


def train(settings, *, folder=None, stop_at_report=None, rows=ROWS):
    """(weights, [(step, metrics)]) of a run, which may be interrupted at its n-th report."""
    seen, held_out = [], HeldOutLoss(rows[-8:], settings.reference, VOCABULARY)

    def feed(done):
        for step in range(done, settings.training.steps):
            yield rows[torch.from_numpy(np.random.default_rng(step).integers(0, 56, settings.training.batch))]

    def tell(report):
        seen.append((report.step, report.metrics))
        if len(seen) == stop_at_report:
            raise Interrupted

    model = fit(
        settings,
        CorpusFacts(VOCABULARY, UNIFORM),
        feed=feed,
        evaluate=lambda model: held_out(model) | NATS,
        on_report=tell,
        checkpoints=Checkpoints(folder, settings.digest(), settings.training.checkpoints) if folder else None,
    )
    return model.state_dict(), seen


def saved(folder):
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


WILD = {"optimizer": {"learning_rate": 1.0, "clip": 1e9}}
"""A hundred times the rate that suits this model."""
TAMED = {
    "on_divergence": {"kind": "rollback", "times": 2, "factor": 0.1},
    "guards": {"collapse": None},
    "checkpoints": {"keep": 1, "best": {"metric": "loss/reconstruction", "mode": "max"}},  # an early one
}
PLAIN = {"latents": {"kind": "plain"}}
OFF = {"divergence": None, "explosion": None, "collapse": None}


def test_a_healthy_run_passes_all_guards_to_its_end():
    pressed = {"regularisers": [{"kind": "variance"}], "weighting": {"kind": "fixed", "weights": {"variance": 0.01}}}
    _, seen = train(spec(loss=pressed, steps=100))
    assert seen[-1][0] == 100
    assert seen[-1][1]["eval/reconstruction_nats"] < 0.8 * NATS["eval/unigram_nats"]


class Leaking(MlmSpec):
    """The decoder reads what it is to predict."""

    provides: ClassVar[frozenset[str]] = MlmSpec.provides

    def corrupt(self, ids, vocabulary, generator):
        view = super().corrupt(ids, vocabulary, generator)
        return replace(view, query_ids=view.targets)


def test_a_run_whose_decoder_sees_the_answer_dies_of_the_leak_and_one_that_hides_it_does_not():
    training = {"steps": 50, "batch": 8, "report_every": 10, "optimizer": {"learning_rate": 4e-2}}
    training |= {"schedule": {"kind": "wsd", "warmup_steps": 5}, "guards": {"collapse": None, "divergence": None}}
    hidden = run(objective={"kind": "mlm", "rate": 0.5}, model={"decoder": {"kind": "perceiver"}}, training=training)
    with pytest.raises(RunDied, match=r"leak at step \d+: eval/shuffled_reconstruction_nats=0\.0"):
        train(hidden.model_copy(update={"objective": Leaking(rate=0.5)}))
    _, seen = train(hidden)
    assert seen[-1][1]["eval/shuffled_reconstruction_nats"] > 0.5 * NATS["eval/unigram_nats"]


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    """(what was raised, folder of checkpoints) of a run that diverged."""
    folder = tmp_path_factory.mktemp("diverged")
    with pytest.raises(RunDied) as died:
        train(spec(**WILD), folder=folder)
    return died.value, folder


def test_a_run_with_too_high_a_learning_rate_dies_of_divergence(diverged):
    died, _ = diverged
    assert re.match(r"divergence at step 40: loss/reconstruction=\d.*, loss/reconstruction_held=4", str(died))
    _, seen = train(spec(**WILD, guards=OFF))
    assert seen[-1][1]["loss/reconstruction"] > 2 * NATS["eval/unigram_nats"]


def test_a_run_whose_regulariser_drowns_its_task_dies_muted():
    drowned = {"regularisers": [{"kind": "combined"}], "weighting": {"kind": "fixed", "weights": {"combined": 1e4}}}
    with pytest.raises(RunDied, match=r"muted-task at step 25: loss/reconstruction_gradient_share=0\.000"):
        train(spec(loss=drowned, steps=30))
    assert train(spec(loss=drowned, steps=30, guards={"muted": None}))[1][-1][0] == 30


def test_a_run_that_never_leaves_the_plateau_dies_collapsed():
    with pytest.raises(RunDied, match=r"rank-collapse at step 25: concepts/effective_rank=1\.\d+, floor=1\.5"):
        train(spec(model=PLAIN, steps=30))
    _, seen = train(spec(model=PLAIN, steps=30, guards={"collapse": None}))
    assert seen[-1][1]["concepts/effective_rank"] < 1.5


def test_a_diverged_run_rolls_back_and_recovers(tmp_path):
    slower = {"on_divergence": {"kind": "rollback", "times": 2, "factor": 0.01}}
    _, seen = train(spec(**WILD, **slower, checkpoint_every=100), folder=tmp_path)
    assert [step for step, _ in seen] == [*range(5, 40, 5), *range(5, 65, 5)]   # back to the beginning
    assert [metrics["optimizer/learning_rate"] for step, metrics in seen if step == 30] == pytest.approx([1.0, 0.01])
    assert seen[-1][1]["eval/reconstruction_nats"] < 0.9 * NATS["eval/unigram_nats"]


def test_a_run_goes_back_to_its_newest_checkpoint(undisturbed):
    _, seen, _ = undisturbed
    assert [step for step, _ in seen] == [*range(5, 40, 5), *range(25, 65, 5)]  # what came after 20 was suspect
    assert seen[-1][1]["loss/reconstruction"] < NATS["eval/unigram_nats"] + 0.5


@pytest.mark.parametrize("stop_at_report", [7, 8])
def test_a_run_interrupted_around_its_rollback_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path, undisturbed, stop_at_report
):
    settings = spec(**WILD, **TAMED)
    with pytest.raises(Interrupted):
        train(settings, folder=tmp_path, stop_at_report=stop_at_report)
    weights, seen = train(settings, folder=tmp_path)
    expected, *_ = undisturbed
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert (seen[0][0], len(seen)) == RESUMED[stop_at_report]


RESUMED = {7: (25, 3 + 8), 8: (25, 8)}
"""Interrupted at report n -> the first step reported after it, and how many reports came. The 7th is the last one
before the run goes back, which it then does again; after the 8th it remembers that it has."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Weights, reports and folder of a run that rolled back once and was not interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return *train(spec(**WILD, **TAMED), folder=folder), folder


def test_a_run_that_diverges_again_and_again_dies_after_so_many_rollbacks(tmp_path):
    barely = {"on_divergence": {"kind": "rollback", "times": 2, "factor": 0.999}}
    with pytest.raises(RunDied, match=r"divergence at step \d+: .*, rollbacks=2"):
        train(spec(**WILD, **barely, checkpoint_every=100), folder=tmp_path)


def test_what_smaller_steps_do_not_cure_is_not_rolled_back(tmp_path):
    with pytest.raises(RunDied, match="rank-collapse at step 25") as died:
        train(spec(model=PLAIN, steps=30, on_divergence={"kind": "rollback"}), folder=tmp_path)
    assert "rollbacks" not in died.value.numbers


def test_weights_that_are_not_finite_are_never_saved_and_a_run_may_go_back_to_its_beginning(tmp_path):
    absurd = {"optimizer": {"learning_rate": 1e30, "clip": 1e30}, "report_every": 1, "checkpoint_every": 1}
    with pytest.raises(RunDied, match="non-finite at step 1: optimizer/weight_norm=inf"):
        train(spec(**absurd), folder=tmp_path / "stopped")
    assert saved(tmp_path / "stopped") == []
    back = {"on_divergence": {"kind": "rollback", "times": 1, "factor": 1e-32}, "steps": 4}
    weights, seen = train(spec(**absurd, **back), folder=tmp_path / "back")
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    slow, _ = train(spec(**absurd | {"optimizer": {"learning_rate": 1e30 * 1e-32, "clip": 1e30}}, steps=4))
    assert all(torch.equal(weights[name], slow[name]) for name in weights)


def test_a_model_that_is_not_finite_is_not_evaluated():
    settings = spec(optimizer={"learning_rate": 1e30, "clip": 1e30}, report_every=1)
    with pytest.raises(RunDied, match="non-finite at step 1: optimizer/weight_norm=inf"):
        fit(
            settings,
            CorpusFacts(VOCABULARY, UNIFORM),
            feed=lambda done: iter(ROWS.split(settings.training.batch)),
            evaluate=lambda model: pytest.fail("it was evaluated"),
            on_report=lambda report: None,
        )


def test_weights_so_large_that_concepts_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(RunDied, match=r"non-finite at step 1: .*concepts/effective_rank=nan"):
        train(spec(optimizer={"learning_rate": 1e16, "clip": 1e30}, report_every=1), folder=tmp_path)
    assert saved(tmp_path) == []


def test_no_checkpoint_is_written_while_divergence_is_suspected(diverged):
    _, folder = diverged
    assert saved(folder) == [15, 20]                              # from step 25 on the loss is a nat above its best


def test_checkpoints_are_written_at_reports_only(tmp_path):
    train(spec(steps=20, report_every=4, checkpoint_every=6), folder=tmp_path)
    assert saved(tmp_path) == [16, 20]                              # 8, 16, and the last step


def test_a_rollback_without_a_place_for_checkpoints_is_refused():
    with pytest.raises(ValueError, match="on_divergence 'rollback' goes back to checkpoints"):
        train(spec(**TAMED))


def test_the_best_checkpoint_stays_the_best_when_a_run_has_gone_back_to_it(undisturbed):
    _, seen, folder = undisturbed
    assert saved(folder) == [20, 60]                                # it went back to step 20
    first = next(metrics["loss/reconstruction"] for step, metrics in seen if step == 20)
    assert State.read(folder / "step-00000020").score == first


def test_a_run_that_reads_documents_of_shared_rows_apart_resumes_as_if_nothing_had_happened(tmp_path):
    packer = PACKERS["best_fit"](LENGTH, VOCABULARY, np.dtype("<u2"))
    documents = [row[: 3 + number % 11].numpy().astype("<u2") for number, row in enumerate(ROWS.repeat(2, 1))]
    rows = torch.from_numpy(np.concatenate([packer.add(documents), packer.close()]).astype(np.int64))
    settings = spec(model={"attention": "document", "encoder": {"block": {"kind": "bixt"}}}, steps=20)
    straight, told = train(settings, folder=tmp_path / "straight", rows=rows)
    with pytest.raises(Interrupted):
        train(settings, folder=tmp_path / "struck", stop_at_report=3, rows=rows)
    resumed, rest = train(settings, folder=tmp_path / "struck", rows=rows)
    assert all(torch.equal(resumed[name], weight) for name, weight in straight.items())
    assert rest[-1][1]["eval/reconstruction_nats"] == told[-1][1]["eval/reconstruction_nats"]
    assert rest[0][0] > 5
