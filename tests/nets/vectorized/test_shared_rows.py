"""Batches of all members are gathered for several steps at a time, and are those of single gathers."""

import pytest
import torch
from skorch.dataset import Dataset

from skfusion.nets._tensor_loader import TensorLoader
from skfusion.nets.vectorized import _member
from skfusion.nets.vectorized._member import SharedRows

N = 53
X = torch.randn(N, 3, generator=torch.Generator().manual_seed(0))


def shared(x, **params):
    loader = TensorLoader(Dataset(x, torch.arange(N)), **params)
    return SharedRows([loader], torch.device("cpu")), loader.cuts


def tensors(batch):
    x, y, weight = batch
    parts = [*x.values(), y] if isinstance(x, dict) else [x, y]
    return [part.value for part in (parts if weight is None else [*parts, weight])]


@pytest.mark.parametrize("in_cache", [0, 500, 2**20])
@pytest.mark.parametrize("batch_size", [1, 8, 26, 53])
@pytest.mark.parametrize("x", [X, {"a": X, "b": X[:, 0].double()}], ids=["tensor", "dict"])
def test_batches_are_those_of_single_gathers(monkeypatch, x, batch_size, in_cache):
    monkeypatch.setattr(_member, "_IN_CACHE", in_cache)
    rows, cuts = shared(x, batch_size=batch_size, weight=torch.rand(N), join_single=True)
    order = torch.stack([torch.randperm(N) for _ in range(3)])
    batches = list(rows.batches(order, cuts))
    assert len(batches) == len(cuts)
    for (start, stop), batch in zip(cuts, batches, strict=True):
        for found, expected in zip(tensors(batch), tensors(rows.batch(order[:, start:stop])), strict=True):
            assert torch.equal(found, expected)
            assert found.is_contiguous()


def test_rows_are_gathered_for_several_batches(monkeypatch):
    gathered = []
    taken = _member._taken
    monkeypatch.setattr(_member, "_taken", lambda data, index: (gathered.append(index.shape), taken(data, index))[1])
    rows, cuts = shared(X, batch_size=8)
    list(rows.batches(torch.arange(N).repeat(4, 1), cuts))
    assert set(gathered) == {(6, 4, 8), (1, 4, 5)}  # the ragged last batch is by itself
    gathered.clear()
    monkeypatch.setattr(_member, "_IN_CACHE", 2 * 4 * 8 * (3 * 4 + 8))
    list(rows.batches(torch.arange(N).repeat(4, 1), cuts))
    assert set(gathered) == {(2, 4, 8), (1, 4, 5)}
