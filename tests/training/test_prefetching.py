"""The next step's views are made while this one is computed, and nobody waits for the device on the way."""

import threading
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, run
from cogito_ray.training.hang_watchdog import Stage, WorkerProgress
from cogito_ray.training.prefetching import one_ahead
from cogito_ray.training.training_loop import CorpusFacts, fit

FACTS = CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size))
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "lift_fresh")
"""Operations whose result, or whose operand, is on the host: it waits for the device, or the device for it."""


class Refused(TorchDispatchMode):
    """Refuses, while `forbids`, what would wait for a device."""

    def __init__(self, forbids):
        super().__init__()
        self.forbids, self.seen = forbids, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            index is not None and index.dtype == torch.bool
            for given in args for index in (given if isinstance(given, list | tuple) else ())
        )  # fmt: skip
        if self.forbids():
            self.seen += 1
            assert not by_mask, f"{func} by a mask"
            assert name not in WAITING, f"{func} waits for the device"
        return func(*args, **kwargs or {})


def trained(settings, *, progress, device_waits=lambda: None):
    """Trains it on some rows; `device_waits` is called at each report."""
    fit(
        settings,
        FACTS,
        feed=lambda done: iter(torch.from_numpy(ROWS[:32].copy()).split(settings.micro_batch)),
        evaluate=lambda model: {},
        on_report=lambda report: device_waits(),
        progress=progress,
    )


RUNS = {
    "tsdae": {"objective": {"kind": "tsdae"}},
    "muon": {"objective": {"kind": "tsdae"}, "training": {"optimizer": {"kind": "muon"}}},
    "passes": {"objective": {"kind": "tsdae"}, "training": {"micro_batch": 2}},
    "diffusion": {"objective": {"kind": "diffusion"}, "model": {"decoder": {"kind": "diffusion"}}},
    "contrast": {"loss": {"contrast": {"kind": "dropout"}}},
    "capped": {
        "loss": {"regularisers": [{"kind": "vicreg", "layers": "every"}], "weighting": {"kind": "capped"}},
        "model": {"decoder": {"kind": "perceiver"}, "encoder": {"block": {"kind": "bixt"}}},
    },
    "documents": {"model": {"attention": "document"}},
    "spanning tree": {"loss": {"regularisers": [{"kind": "mst"}]}},
    "rotary": {"model": {"embedding": {"positions": {"kind": "rotary"}}, "encoder": {"tokens": {"kind": "funnel"}}}},
}


def short(over):
    """Three steps and one report, after the last of them."""
    training = {"steps": 3, "batch": 4, "report_every": 3, "guards": {"collapse": None}} | over.get("training", {})
    return run(**over | {"training": training})


@pytest.mark.parametrize("over", RUNS.values(), ids=RUNS)
def test_no_step_waits_for_the_device(over):
    progress = WorkerProgress()
    with Refused(lambda: progress.stage in (Stage.DATA, Stage.STEP) and progress.step < 2) as mode:
        trained(short(over), progress=progress)
    assert mode.seen > 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("over", RUNS.values(), ids=RUNS)
def test_no_step_waits_for_a_cuda_device(over):
    """torch itself refuses what would; the first step may, as it makes what the others use."""

    class Strict(WorkerProgress):
        def enter(self, stage, step=None):
            super().enter(stage, step)
            in_step = stage in (Stage.DATA, Stage.STEP) and self.step == 1
            torch.cuda.set_sync_debug_mode("error" if in_step else "default")

    trained(short(over).model_copy(update={"gpus_per_worker": 1.0}), progress=Strict())


def test_the_rows_of_a_step_are_read_while_the_one_before_is_computed():
    settings, read = short({}), threading.Semaphore(0)

    def feed(done):
        for rows in torch.from_numpy(ROWS[:12].copy()).split(4):
            read.release()
            yield rows

    def first_two(step):
        assert all(read.acquire(timeout=20) for _ in range(2))

    settings = settings.model_copy(update={"training": settings.training.model_copy(update={"report_every": 1})})
    waits = iter([partial(first_two, 1), lambda: None, lambda: None])
    fit(settings, FACTS, feed=feed, evaluate=lambda model: {}, on_report=lambda report: next(waits)())


def test_steps_are_made_in_order_one_ahead_and_none_too_many():
    made = []
    steps = one_ahead(lambda step: made.append(step) or step, range(3, 7))
    assert next(steps) == 3
    steps.close()
    assert made == [3, 4]
    assert list(one_ahead(lambda step: step, range(3, 7))) == [3, 4, 5, 6]
    assert list(one_ahead(lambda step: step, range(0))) == []


def test_what_the_feed_raises_is_raised_by_the_run_in_its_step():
    def feed(done):
        yield from torch.from_numpy(ROWS[:8].copy()).split(4)
        raise OSError("no disk")

    reported = []
    settings = short({"training": {"report_every": 1}})
    with pytest.raises(OSError, match="no disk"):
        fit(settings, FACTS, feed=feed, evaluate=lambda model: {}, on_report=reported.append)
    assert [report.step for report in reported] == [1, 2]
