"""Models that read the documents of a row apart train alike by DDP and by FSDP, layers of which are compiled."""

import multiprocessing
import os
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from cogito_ray.testing.tiny_runs import VOCABULARY, run, two_documents
from cogito_ray.training.training_loop import CorpusFacts, fit

STEPS, LAYERS = 2, 3

inductor = torch.compile


def trained(rank, parallel, compiled):
    """(weights, runs of each graph) after a few steps over rows of two documents, of which one ends early."""
    runs = []

    def backend(graph, examples):
        runs.append(0)
        number = len(runs) - 1

        def counted(*given):
            runs[number] += 1
            return graph(*given)

        return counted

    torch._dynamo.reset()
    torch.compile = partial(inductor, backend=backend)      # torch 2.11 cannot be told otherwise
    training = {"steps": STEPS, "batch": 4, "report_every": STEPS, "parallel": parallel, "compile": compiled}
    settings = run(
        model={"attention": "document", "encoder": {"block": {"kind": "bixt"}}},
        objective={"kind": "tsdae"},
        training=training | {"optimizer": {"learning_rate": 1e-3, "epsilon": 1.0}},     # no sign of a rounding error
        workers=2,
    )
    model = fit(
        settings,
        CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=lambda done: iter(two_documents()[2 * rank + 2 : 2 * rank + 4] for _ in range(done, STEPS)),
        evaluate=lambda model: {"concepts/effective_rank": 4.0},
        on_report=lambda report: None,
    )
    from torch.distributed.tensor import DTensor  # seconds

    whole = {name: w.full_tensor() if isinstance(w, DTensor) else w for name, w in model.state_dict().items()}
    return whole, runs


def worker(rank, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {"ddp": trained(rank, "ddp", compiled=False), "fsdp": trained(rank, "fsdp", compiled=True)}
    if rank == 0:
        torch.save(found, folder / "found")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """kind -> (weights, runs of each graph)"""
    folder = tmp_path_factory.mktemp("documents")
    slow_imports = ["cogito_ray.training.training_loop", "cogito_ray.training.distributed.fsdp", "pytest"]
    multiprocessing.set_forkserver_preload(slow_imports)
    mp.start_processes(worker, args=(folder,), nprocs=2, start_method="forkserver")
    return torch.load(folder / "found", weights_only=True)


def test_the_weights_are_those_of_ddp(found):
    for name, expected in found["ddp"][0].items():
        torch.testing.assert_close(found["fsdp"][0][name], expected, rtol=0, atol=1e-6)     # sums in another order


def test_under_fsdp_each_layer_of_encoder_and_decoder_is_compiled_in_one_graph_that_every_step_runs(found):
    assert found["ddp"][1] == []
    assert found["fsdp"][1] == [STEPS] * LAYERS
