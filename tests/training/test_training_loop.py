import time

import pytest
import torch
from pydantic import TypeAdapter

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.losses.diversity_regularisers import SigregSpec
from cogito_ray.losses.total_loss import LossSpec
from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, run
from cogito_ray.training.checkpoints.checkpoint_store import BadCheckpoint, Checkpoints
from cogito_ray.training.checkpoints.initial_weights import StartFromSpec
from cogito_ray.training.guards import RunDied
from cogito_ray.training.hang_watchdog import Stage, WorkerProgress
from cogito_ray.training.training_loop import CorpusFacts, fit, seed_device

FACTS = CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size))


class Interrupted(Exception):
    """Stands for a kill at a report."""


def spec(**training):
    return run(
        objective={"kind": "tsdae"},
        training={"steps": 8, "batch": 4, "report_every": 2, "checkpoint_every": 2} | training,
    )


def feed_of(settings, read=None):
    """Rows in a fixed order; `read` collects what was consumed."""

    def feed(done):
        for step in range(done, settings.training.steps):
            start = step * settings.training.batch % len(ROWS)
            batch = torch.from_numpy(ROWS[start : start + settings.training.batch].copy())
            if read is not None:
                read.append(step)
            yield from batch.split(settings.micro_batch)

    return feed


def train(settings, *, stop_at=None, folder=None, read=None):
    """(weights, metrics by step) of a run that is interrupted at the report of step `stop_at`."""
    weights, told = train_and_tell(settings, stop_at=stop_at, folder=folder, read=read)
    return weights, {report.step: report.metrics for report in told}


def train_and_tell(settings, *, stop_at=None, folder=None, read=None):
    """(weights, reports) of the same."""
    told = []

    def tell(report):
        told.append(report)
        if report.step == stop_at:
            raise Interrupted

    held_out = HeldOutLoss(torch.from_numpy(ROWS[-4:].copy()), settings.reference, VOCABULARY)
    checkpoints = Checkpoints(folder, settings.digest()) if folder else None
    model = fit(
        settings, FACTS, feed=feed_of(settings, read), evaluate=held_out, on_report=tell, checkpoints=checkpoints
    )
    return model.state_dict(), told


@pytest.mark.parametrize("optimizer", [{"kind": "adamw"}, {"kind": "muon"}, {"kind": "muon", "ema": {"decay": 0.5}}])
def test_an_interrupted_run_ends_with_the_weights_and_metrics_of_an_undisturbed_one(tmp_path, optimizer):
    settings = spec(optimizer=optimizer)
    weights, seen = train(settings)
    with pytest.raises(Interrupted):
        train(settings, stop_at=6, folder=tmp_path)
    read = []
    resumed, seen_after = train(settings, folder=tmp_path, read=read)
    assert read[0] == 4  # the checkpoint before the interruption, at step 4
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    evaluated = [name for name in seen[8] if not name.startswith("time/")]
    assert {name: seen_after[8][name] for name in evaluated} == {name: seen[8][name] for name in evaluated}


def test_a_run_with_dropout_resumes_bit_for_bit_and_is_another_one_than_without(tmp_path):
    plain = spec()
    settings = plain.model_copy(update={"model": plain.model.model_copy(update={"dropout": 0.2})})
    weights, _ = train(settings)
    with pytest.raises(Interrupted):
        train(settings, stop_at=6, folder=tmp_path)
    resumed, _ = train(settings, folder=tmp_path)
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    without, _ = train(plain)
    assert not all(torch.equal(without[name], weights[name]) for name in weights)


def test_a_run_with_random_directions_resumes_bit_for_bit(tmp_path):
    settings = spec().model_copy(update={"loss": LossSpec(regularisers=(SigregSpec(),))})
    weights, _ = train(settings)
    with pytest.raises(Interrupted):
        train(settings, stop_at=6, folder=tmp_path)
    resumed, _ = train(settings, folder=tmp_path)
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


def test_rows_read_have_the_same_name_however_they_were_cut_and_interrupted(tmp_path):
    _, straight = train_and_tell(spec())
    with pytest.raises(Interrupted):
        train_and_tell(spec(), stop_at=6, folder=tmp_path)
    _, resumed = train_and_tell(spec(), folder=tmp_path)
    _, halved = train_and_tell(spec(micro_batch=2))
    names = {report.step: report.rows for report in straight}
    assert len(set(names.values())) == 4
    assert {report.step: report.rows for report in halved} == names
    assert {report.step: report.rows for report in resumed} == {step: names[step] for step in (6, 8)}
    assert [report.notes for report in resumed] == [("resumed at step 4",), ()]


def test_a_run_starts_from_a_checkpoint_and_resumes_only_while_that_stays_the_same(tmp_path):
    weights, _ = train(spec(), folder=tmp_path / "source")
    source = tmp_path / "source" / "step-00000008"
    begin = {"kind": "checkpoint", "folder": str(source), "parts": ["encoder", "decoder"]}
    settings = spec(steps=4, optimizer={"learning_rate": 1e-12, "weight_decay": 0.0})
    settings = settings.model_copy(update={"start_from": TypeAdapter(StartFromSpec).validate_python(begin)})
    with pytest.raises(Interrupted):
        train(settings, folder=tmp_path / "run", stop_at=4)
    resumed, [last] = train_and_tell(settings, folder=tmp_path / "run")
    assert last.notes == ("resumed at step 2",)                     # loaded once, not again
    for name in weights:
        torch.testing.assert_close(resumed[name], weights[name], rtol=0, atol=1e-9)
    with (source / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BadCheckpoint, match="put the old checkpoint back"):
        train(settings, folder=tmp_path / "run")


def test_a_finished_run_trains_no_further(tmp_path):
    settings = spec()
    weights, _ = train(settings, folder=tmp_path)
    read = []
    again, seen = train(settings, folder=tmp_path, read=read)
    assert read == []
    assert seen == {}
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_equal_seeds_give_equal_runs_and_another_seed_another():
    one, two = train(spec())[0], train(spec())[0]
    other = train(spec().model_copy(update={"seed": 1}))[0]
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_training_lowers_the_held_out_loss():
    settings = spec(steps=150, report_every=75, batch=8, optimizer={"learning_rate": 1e-2})
    _, seen = train(settings)
    assert seen[150]["eval/reconstruction_nats"] < seen[75]["eval/reconstruction_nats"]
    assert seen[150]["loss/reconstruction"] < 0.9 * torch.tensor(VOCABULARY.size).log()


def test_a_run_that_diverges_dies_with_its_step_and_numbers():
    settings = spec(optimizer={"learning_rate": 1e30, "clip": 1e30}, schedule={"kind": "wsd", "warmup_steps": 0})
    with pytest.raises(RunDied, match=r"non-finite at step \d+: .*=(nan|inf)") as dead:
        train(settings)
    assert dead.value.cause == "non-finite"
    assert dead.value.step % settings.training.report_every == 0


def test_a_step_whose_gradient_is_not_finite_is_skipped_and_counted():
    """Between the reports of steps 2 and 4 one gradient is NaN: only its step is lost."""
    settings, reports, spoilt = spec(guards={"skipped": {"share": 0.5}, "collapse": None}), [], []

    def spoil(model):
        if not reports:
            vectors = model.encoder.latents.vectors
            hook = vectors.register_hook(lambda gradient: spoilt.append(hook.remove()) or gradient * float("nan"))
        return {}

    model = fit(settings, FACTS, feed=feed_of(settings), evaluate=spoil, on_report=reports.append)
    assert spoilt == [None]
    assert [report.metrics["optimizer/skipped_share"] for report in reports] == [0.0, 0.5, 0.0, 0.0]
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_reports_measure_the_average_of_the_weights_where_asked_and_training_does_not_change():
    plain, beside, asked = (
        train(spec(steps=4, optimizer={"ema": ema}))
        for ema in (None, {"decay": 0.9, "evaluate": False}, {"decay": 0.9})
    )
    for weights, _ in (beside, asked):
        assert all(torch.equal(weights[name], value) for name, value in plain[0].items())
    nats = [metrics[4]["eval/reconstruction_nats"] for _, metrics in (plain, beside, asked)]
    assert nats[0] == nats[1] != nats[2]


def test_a_run_whose_gradients_are_never_finite_dies():
    heavy = {"weighting": {"kind": "fixed", "weights": {"reconstruction": 1e39}}}           # beyond float32
    settings = spec().model_copy(update={"loss": run(loss=heavy).loss})
    with pytest.raises(RunDied, match=r"non-finite at step 2: .*loss/total=nan"):
        train(settings)


def test_passes_over_the_same_rows_have_no_gradient_noise_and_others_have_some():
    exact = {"objective": {"kind": "tsdae", "rate": 1e-6, "target_rate": 1.0}}
    training = {"steps": 1, "batch": 4, "micro_batch": 2, "report_every": 1, "guards": {"collapse": None}}
    settings, scales = run(training=training, **exact), []
    for second in (ROWS[:2], ROWS[[0, 2]]):
        passes = [torch.from_numpy(rows.copy()) for rows in (ROWS[:2], second)]
        fit(settings, FACTS, feed=lambda done, passes=passes: iter(passes), evaluate=lambda model: {},
            on_report=lambda report: scales.append(report.metrics["gradient/noise_scale_rows"]))  # fmt: skip
    assert scales[0] == pytest.approx(0, abs=1e-4)
    assert scales[1] > 0.1


def test_reports_come_at_every_interval_and_at_the_last_step():
    _, seen = train(spec(steps=7, report_every=3))
    assert list(seen) == [3, 6, 7]


def test_a_report_names_loss_rank_speed_and_learning_rate():
    _, seen = train(spec(schedule={"kind": "wsd", "warmup_steps": 4, "decay": 0.0}, optimizer={"learning_rate": 0.01}))
    assert seen[2]["optimizer/learning_rate"] == pytest.approx(0.005)
    assert {
        "loss/total", "loss/reconstruction", "eval/reconstruction_nats", "concepts/effective_rank",
        "concepts/nuclear_rank", "time/tokens_per_s", "time/mfu", "time/data_wait_share", "optimizer/gradient_norm",
    } <= set(seen[2])  # fmt: skip
    assert seen[2]["loss/total"] == pytest.approx(seen[2]["loss/reconstruction"])
    assert 0 < seen[2]["time/mfu"] < 1


def test_bfloat16_stays_near_float32():
    full, _ = train(spec(steps=2))
    half, _ = train(spec(steps=2, precision="bfloat16"))
    for name, value in full.items():
        torch.testing.assert_close(half[name], value, rtol=0, atol=0.02)  # two AdamW steps of 2e-3, whatever the sign
    assert not all(torch.equal(half[name], full[name]) for name in full)


def test_gradients_of_micro_batches_are_averaged_over_the_batch():
    """With nothing left to chance (every token kept, every token asked), two halves make the step of the whole."""
    exact = {"kind": "tsdae", "rate": 1e-6, "target_rate": 1.0}
    training = {"steps": 3, "batch": 4, "report_every": 3}
    whole, halves = (run(objective=exact, training=training | {"micro_batch": rows}) for rows in (4, 2))
    one, two = train(whole)[0], train(halves)[0]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)  # order of float32 sums


def test_progress_says_at_any_time_what_is_being_done():
    settings, progress, at = spec(steps=2, guards={"collapse": None}), WorkerProgress(), {}

    def noting(stage, function):
        def noted(*given):
            at.setdefault(stage, set()).add((progress.stage, progress.step))
            return function(*given)

        return noted

    def slow(rows):
        """It has no rows to give before somebody waits for them."""
        while progress.stage is not Stage.DATA:
            time.sleep(1e-3)
        return rows

    rows = feed_of(settings)
    fit(
        settings,
        FACTS,
        feed=lambda done: map(noting("feed", torch.Tensor.clone), map(slow, rows(done))),
        evaluate=noting("evaluate", lambda model: {}),
        on_report=noting("tell", lambda report: None),
        progress=progress,
    )
    assert at == {
        "feed": {(Stage.DATA, 0), (Stage.DATA, 1)},
        "evaluate": {(Stage.EVALUATION, 1)},
        "tell": {(Stage.REPORT, 1)},
    }


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_micro_batch_draws_what_it_would_after_torch_manual_seed(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")

    def drawn():
        return [torch.rand(3), torch.rand(3, device=device).cpu(), torch.rand(3)]

    torch.manual_seed(2**63 - 1)
    expected = drawn()
    seed_device(torch.device(device), 2**63 - 1)
    torch.testing.assert_close(drawn(), expected, rtol=0, atol=0)
