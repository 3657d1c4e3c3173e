"""The look-up of compiled models on CUDA is that of eager ones, and its gradient, too."""

import torch
import torch.nn.functional as F

from cogito_ray.nn.token_embedding import compiled_lookup


def gradients(lookup):
    torch.manual_seed(0)
    table, ids = torch.randn(10, 4, requires_grad=True), torch.randint(10, (3, 50))
    vectors = lookup(table, ids)
    return vectors, torch.autograd.grad(vectors.sin().sum(), table)[0]


def test_eager_and_in_one_graph_it_gives_the_vectors_and_gradients_of_an_embedding():
    expected = gradients(lambda table, ids: F.embedding(ids, table))
    graph = torch.compile(lambda table, ids: compiled_lookup(table, ids), backend="aot_eager", fullgraph=True)
    for lookup in (compiled_lookup, graph):
        assert all(map(torch.equal, gradients(lookup), expected))
