"""How alike representations are: by a literal restatement, and by what the measure must not see."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetRegressor
from torch import nn

from skfusion import ModelPool
from skfusion.diagnose import cka, diagnose
from skfusion.diagnose.measure import _cka as own
from skfusion.evaluate import pool_on_data
from skfusion.pool import Member


def hsic(K, L):
    """The unbiased estimator of Song et al. (2012) as Nguyen et al. (2021) state it, by loops."""
    n = len(K)
    K, L = K.copy(), L.copy()
    for i in range(n):
        K[i, i] = L[i, i] = 0
    trace = sums_k = sums_l = product = 0.0
    for i in range(n):
        for j in range(n):
            trace += K[i, j] * L[j, i]
            sums_k += K[i, j]
            sums_l += L[i, j]
            for k in range(n):
                product += K[i, j] * L[j, k]
    return (trace + sums_k * sums_l / ((n - 1) * (n - 2)) - 2 * product / (n - 2)) / (n * (n - 3))


def literal(A, B):
    K, L = A @ A.T, B @ B.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


rng = np.random.default_rng(0)
A = rng.normal(size=(12, 5)) + 3
B = np.tanh(A[:, :3] - 3) + 0.3 * rng.normal(size=(12, 3)) - 2


def test_it_is_the_literal_formula():
    assert cka(A, B) == pytest.approx(literal(A, B), abs=1e-9)
    assert 0.05 < cka(A, B) < 0.95
    assert cka(A, B) == cka(B, A)


def test_what_it_does_not_see():
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    order = rng.permutation(5)
    for changed in (A @ rotation, A[:, order], 7 * A, -A, A + rng.normal(size=5)):
        assert cka(A, changed) == pytest.approx(1, abs=1e-12)
        assert cka(changed, B) == pytest.approx(cka(A, B), abs=1e-12)
    assert cka(A * [1, 5, 1, 1, 1], A) < 0.99  # the scale of single units is seen


def test_unrelated_representations_are_not_alike_even_where_wide():
    X, Y = (rng.normal(size=(60, 2000)) for _ in range(2))
    assert abs(cka(X, Y)) < 0.05
    K, L = (Z - Z.mean(0) for Z in (X, Y))
    biased = np.sum((K @ K.T) * (L @ L.T)) / np.linalg.norm(K @ K.T) / np.linalg.norm(L @ L.T)
    assert biased > 0.9  # what leaving the diagonals out cures


def test_a_constant_representation_has_none():
    assert np.isnan(cka(A, np.ones((12, 3))))
    with pytest.raises(ValueError, match="at least 4; got 12 and 3"):
        cka(A, A[:3])
    with pytest.raises(ValueError, match="at least 4; got 3 and 3"):
        cka(A[:3], A[:3])


# ---- layers ------------------------------------------------------------------------------------------------------

X = rng.normal(size=(30, 6)).astype(np.float32)
y = X.sum(1)


def pool_of(make, n=2):
    module = make()
    net = NeuralNetRegressor(module, train_split=None, verbose=0)
    states = []
    for seed in range(n):
        torch.manual_seed(seed)
        states.append({k: v.clone() for k, v in make().state_dict().items()})
    return ModelPool([Member(f"m{k}", s, net=net) for k, s in enumerate(states)])


def test_layers_are_those_that_hold_weights_in_their_order():
    def make():
        return nn.Sequential(nn.Linear(6, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 1))

    pool = pool_of(make)
    report = diagnose(pool, X, y)
    layers = report.similarity[("m0", "m1")]
    assert [*layers.index] == ["0", "3"]  # a LayerNorm has vectors only
    outputs = []
    for member in pool:
        module = make()
        module.load_state_dict(member.state)
        with torch.no_grad():
            outputs.append((module[0](torch.from_numpy(X)).numpy(), module(torch.from_numpy(X)).numpy()))
    expected = [cka(a, b) for a, b in zip(*outputs, strict=True)]
    np.testing.assert_allclose(layers, expected, atol=1e-6)
    assert report.pairs["cka_mean"].iloc[0] == pytest.approx(np.mean(expected), abs=1e-6)
    assert report.pairs["cka_last"].iloc[0] == pytest.approx(expected[-1], abs=1e-6)


class Odd(nn.Module):
    """Runs one layer twice, gives a recurrent layer time first, and leaves a layer unused."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Linear(6, 6)
        self.time = nn.GRU(6, 3)
        self.rows = nn.GRU(6, 4, batch_first=True)
        self.unused = nn.Linear(6, 6)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(7, 1))

    def forward(self, X):
        h = self.twice(self.twice(X)[:, None])  # shape: (n_rows, 1, 6)
        time = self.time(h.transpose(0, 1))[0][0]
        return self.head(torch.cat([time, self.rows(h)[0][:, 0]], 1))


def test_layers_without_an_axis_of_rows_are_left_out():
    pool = pool_of(Odd)
    layers = diagnose(pool, X, y).similarity[("m0", "m1")]
    assert [*layers.index] == ["twice", "rows", "head"]
    first = [X @ m.state["twice.weight"].numpy().T for m in pool]
    assert layers["twice"] == pytest.approx(cka(*first), abs=1e-6)  # of its first run


def test_runs_of_layers_chunks_of_rows_and_a_choice_of_rows(monkeypatch):
    def make():
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))

    pool = pool_of(make, 3)
    whole, n = own.similarity(pool_on_data(pool, X, y), 0)
    assert n == 30
    monkeypatch.setattr(own, "_NUMBERS", 300)  # one layer at a time
    data = pool_on_data(pool, X, y)
    chunks = data.runner.chunks
    monkeypatch.setattr(data.runner, "chunks", lambda X: (c for x in chunks(X) for c in torch.split(x, 7)))
    parts, n = own.similarity(data, 0)
    assert n == 30
    assert [*whole] == [*parts] == ["0", "2", "4"]
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-6)
        np.testing.assert_allclose(np.diag(whole[name]), 1)
    monkeypatch.setattr(own, "MAX_ROWS", 20)
    some, n = own.similarity(data, 0)
    again, _ = own.similarity(data, 0)
    other, _ = own.similarity(data, 1)
    assert n == 20
    assert all(np.array_equal(some[k], again[k]) for k in some)
    assert any(not np.allclose(some[k], other[k]) for k in some)
    assert "CKA was taken on 20 of the 30 rows" in " ".join(diagnose(pool, X, y).notes)
