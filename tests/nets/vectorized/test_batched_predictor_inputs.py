"""Batched predictors on inputs that differ from the first ones, are wrong, written to, large, or of several threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import nets
from skfusion._rows import Rows
from skfusion.merge import Greedy
from skfusion.nets import BatchedPredictor, Runner
from skfusion.nets.vectorized import _batched_predictor as predictor_module

X = np.random.RandomState(0).normal(size=(300, 6)).astype(np.float32)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))

    def forward(self, X):
        return self.layers(X)


class OneColumn(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, X):
        return self.layer(self.summed(X))


def pool_of(module, n=5):
    torch.manual_seed(0)
    modules = [module().eval() for _ in range(n)]
    states = [{k: v.detach() for k, v in m.state_dict().items()} for m in modules]
    return modules, states, Runner(NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss), "classification")


def alone(modules, x):
    with torch.no_grad():
        return np.stack([m(torch.from_numpy(x.copy())).double().softmax(1).numpy() for m in modules])


def check(predictor, modules, *inputs):
    for x in inputs:
        np.testing.assert_allclose(predictor.predict(x.copy()), alone(modules, x), rtol=0, atol=1e-6)


# ---- values ------------------------------------------------------------------------------------------------------


def padded(*lengths, seed=0):
    x = np.zeros((len(lengths), 8), np.float32)
    for i, n in enumerate(lengths):
        x[i, :n] = np.random.RandomState(seed).uniform(0.5, 2, size=n)
    return x


SUMS = {
    "a mean over what is not zero": lambda self, X: X.sum(1, keepdim=True) / X.nonzero().shape[0],
    "up to the longest row": lambda self, X: X[:, : (X != 0).sum(1).max()].sum(1, keepdim=True) * 2,
    "a count": lambda self, X: X.sum(1, keepdim=True) / max(1, len(X[X > 1])),
    "distinct values": lambda self, X: X.sum(1, keepdim=True) * X.unique().numel(),
    "sums in place": lambda self, X: add_to(torch.zeros(len(X), 1), X),
    "the largest": lambda self, X: X[:, int(X.abs().sum(0).argmax()), None],
}


def add_to(sums, X):
    sums += X.sum(1, keepdim=True)
    return sums


@pytest.mark.parametrize("name", SUMS)
def test_later_inputs_are_computed_by_their_own_values(name):
    modules, states, runner = pool_of(type("Sums", (OneColumn,), {"summed": SUMS[name]}))
    inputs = padded(3, 3), padded(8, 6, seed=1), padded(2, 1, seed=2), padded(0, 1), padded(8, 8, seed=3)
    check(BatchedPredictor(runner, states), modules, *inputs)


def test_a_program_that_computes_something_else_is_not_run(monkeypatch):
    modules, states, runner = pool_of(Plain)
    monkeypatch.setattr(predictor_module.Program, "__call__", lambda self, x: torch.zeros(5, len(x), 3))
    check(BatchedPredictor(runner, states), modules, X[:2], X[2:4])


def test_layers_that_work_in_place_are_recorded():
    modules, states, runner = pool_of(Plain)
    predictor = BatchedPredictor(runner, states)
    check(predictor, modules, X[:2], X[2:4], X[4:6])
    assert [program is not None for program in predictor._programs.values()] == [True]


class LastOnly(Plain):
    """Where all are computed at once, all members but the last would be right."""

    def forward(self, X):
        out = super().forward(X)
        if type(out) is not torch.Tensor:
            out.value[-1] *= 2
        return out


def test_the_last_member_is_compared_too():
    modules, states, runner = pool_of(LastOnly)
    check(BatchedPredictor(runner, states), modules, X[:2], X[2:4])


def test_a_number_without_axes_of_another_dtype():
    class Scaled(Plain):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.tensor(2.5, dtype=torch.float64))

        def forward(self, X):
            return super().forward(X) * self.scale

    modules, states, runner = pool_of(Scaled)
    check(BatchedPredictor(runner, states), modules, X[:1], X[:50], X)


# ---- states that are no numbers, and attributes that hold tensors ------------------------------------------------


@pytest.mark.parametrize("n_rows", [50, 300])
def test_states_that_are_not_finite_are_judged_alike_for_few_rows_and_many(n_rows):
    _, states, runner = pool_of(Plain)
    states[1] = {k: v * np.nan for k, v in states[1].items()}
    rows = Rows(X[:n_rows], (X[:n_rows, 0] > 0).astype(np.int64))
    objective = nets.Judge(runner, rows, rows)
    losses = [loss for loss, _ in objective.evaluate(states)]
    assert [np.isnan(loss) for loss in losses] == [False, True, False, False, False]
    finite = Greedy()([states[0], *states[2:]], objective=objective)
    assert all(bool(v.isfinite().all()) for v in finite.values())


@pytest.mark.parametrize("n_rows", [1, 50, 300])
def test_attributes_that_hold_parameters_follow_the_state(n_rows):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)
            self.held = [self.layer.weight]

        def forward(self, X):
            return self.head(X @ self.held[0])

    modules, states, runner = pool_of(Tied)
    check(BatchedPredictor(runner, states), modules, X[:n_rows], X[-n_rows:])


# ---- inputs that are wrong, or written to ------------------------------------------------------------------------


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 3)

    def forward(self, words):
        return self.table(words).mean(1)


@pytest.mark.parametrize("first", [True, False])
def test_a_wrong_request_is_told_and_costs_the_others_nothing(first):
    modules, states, runner = pool_of(Words)
    predictor = BatchedPredictor(runner, states)
    right, wrong = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 11]])
    if not first:
        predictor.predict({"words": right})
    with pytest.raises(IndexError):
        predictor.predict({"words": wrong})
    assert np.abs(predictor.predict({"words": right}) - alone(modules, right)).max() < 1e-6
    assert [*predictor._limits.values()] == [200]


@pytest.mark.parametrize("n_rows", [1, 50, 300])
@pytest.mark.parametrize("named", [False, True])
def test_a_module_that_writes_to_its_input_writes_to_a_copy(n_rows, named):
    class Shifts(Plain):
        def forward(self, X):
            X -= 1
            return super().forward(X)

    modules, states, runner = pool_of(Shifts)
    x = X[:n_rows].copy()
    for _ in range(2):
        found = BatchedPredictor(runner, states).predict({"X": x} if named else x)
        assert np.array_equal(x, X[:n_rows])
        np.testing.assert_allclose(found, alone(modules, x), rtol=0, atol=1e-6)


# ---- memory ------------------------------------------------------------------------------------------------------


class Wide(nn.Module):
    """Makes a thousand numbers of each."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1000, 3)

    def forward(self, X):
        return self.layer(X.sum(1, keepdim=True).expand(-1, 1000) * self.layer.weight[0])


def test_large_activations_are_computed_for_few_rows_only(monkeypatch):
    modules, states, runner = pool_of(Wide)
    monkeypatch.setattr(predictor_module, "LARGEST_ACTIVATION", 10 * 5 * 4 * 1000)  # of ten rows
    predictor = BatchedPredictor(runner, states)
    check(predictor, modules, X[:1], X[:10], X[:11], X[:200])
    assert [*predictor._limits.values()] == [10]
    rows = []
    plain = BatchedPredictor._computed
    monkeypatch.setattr(BatchedPredictor, "_computed", lambda self, x: rows.append(len(x)) or plain(self, x))
    for n in (10, 11, 200):
        predictor.predict(X[:n])
    assert max(rows, default=0) <= 10


def test_shapes_are_forgotten_when_there_are_many(monkeypatch):
    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 3)

        def forward(self, X):
            return self.layer(X.sum(1, keepdim=True))

    monkeypatch.setattr(predictor_module, "_SHAPES", 4)
    modules, states, runner = pool_of(Any, 2)
    predictor = BatchedPredictor(runner, states)
    check(predictor, modules, *(X[:2, :n] for n in (1, 2, 3, 4, 5, 6, 1)))
    assert max(len(predictor._limits), len(predictor._programs)) <= 4


# ---- threads -----------------------------------------------------------------------------------------------------


class Other(Plain):
    """Gives other outputs where all members are computed at once, which the first prediction finds out."""

    def forward(self, X):
        out = super().forward(X)
        return out * (1 if type(out) is torch.Tensor else 3)


@pytest.mark.parametrize("module", [Plain, Other])
def test_threads_may_predict_at_once(module, monkeypatch):
    modules, states, runner = pool_of(module)
    calls, plain = [], BatchedPredictor._limit
    monkeypatch.setattr(BatchedPredictor, "_limit", lambda self, x: calls.append(1) or plain(self, x))
    expected = alone(modules, X[:2])
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            predictor, barrier = BatchedPredictor(runner, states), threading.Barrier(4)

            def predict(_, predictor=predictor, barrier=barrier):
                barrier.wait()
                return predictor.predict(X[:2])

            for found in threads.map(predict, range(4)):
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert len(calls) == 20  # each predictor is set up once


class Slow(Plain):
    """Lets other threads run in the middle of its forward pass."""

    def forward(self, X):
        hidden = self.layers[0](X)
        threading.Event().wait(0.002)
        return self.layers[2](hidden.relu())


def test_threads_do_not_see_the_states_of_each_other():
    modules, states, runner = pool_of(Slow, 4)
    expected = alone(modules, X[:250])
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            found = threads.map(lambda k: runner.predict(states[k], X[:250]), range(4))
            np.testing.assert_allclose(np.stack([*found]), expected, rtol=0, atol=1e-6)
