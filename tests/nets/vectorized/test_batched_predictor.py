"""Predictions of many states: the same ones whether they are computed together or one after another."""

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import nn

from skfusion import EnsembleClassifier, nets
from skfusion._rows import Rows
from skfusion.collect import Seeds
from skfusion.nets import BatchedPredictor, Predictors, Runner, mlp_classifier
from skfusion.nets.vectorized import _batched_predictor as predictor_module

GENERATOR = np.random.RandomState(0)
X = GENERATOR.normal(size=(300, 6)).astype(np.float32)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, X):
        return self.layers(X)


class Gated(Plain):
    def forward(self, X):
        hidden = self.layers[:3](X)
        return self.layers[3](torch.cat([hidden[:, :4], hidden[:, 4:]], 1))  # in vmap, and in no program


class Reads(Plain):
    def forward(self, X):
        return self.layers(X) * (2.0 if X.sum().item() > 0 else 1.0)


class Draws(Plain):
    def forward(self, X):
        return self.layers(X) + torch.rand(len(X), 1)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 3)

    def forward(self, words):
        return self.table(words).mean(1)


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))

    def forward(self, X):
        return self.layers(X[:, None])


def pool_of(module, n=5):
    torch.manual_seed(0)
    modules = [module().eval() for _ in range(n)]
    for m in modules:
        for buffer in m.buffers():
            buffer.data = torch.rand_like(buffer) + 0.5 if buffer.is_floating_point() else buffer
    states = [{k: v.detach() for k, v in m.state_dict().items()} for m in modules]
    return modules, states, Runner(NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss), "classification")


def alone(modules, x):
    with torch.no_grad():
        return np.stack([m(torch.from_numpy(x)).double().softmax(1).numpy() for m in modules])


@pytest.mark.parametrize("n_rows", [1, 2, 16, 17, 200, 201, 300])
@pytest.mark.parametrize("module", [Plain, Gated, Picture, Reads])
def test_predictions_are_those_of_the_modules(module, n_rows):
    modules, states, runner = pool_of(module)
    predictor = BatchedPredictor(runner, states)
    for part in (X[:n_rows], X[-n_rows:]):  # the second time by what the first one made
        found = predictor.predict(part)
        assert found.shape == (5, n_rows, 3)
        np.testing.assert_allclose(found, alone(modules, part), rtol=0, atol=1e-6)


def kernels(monkeypatch):
    """Count what is computed together and one after another."""
    counts = {"together": 0, "alone": 0, "program": 0}

    def counting(owner, name, key):
        plain = getattr(owner, name)

        def counted(self, *args):
            counts[key] += 1
            return plain(self, *args)

        monkeypatch.setattr(owner, name, counted)

    counting(BatchedPredictor, "_computed", "together")
    counting(Runner, "outputs", "alone")
    counting(predictor_module.Program, "__call__", "program")
    return counts


def test_few_rows_are_computed_together_and_many_one_after_another(monkeypatch):
    _, states, runner = pool_of(Plain)
    counts = kernels(monkeypatch)
    predictor = BatchedPredictor(runner, states)
    predictor.predict(X[:150])
    before = dict(counts)
    predictor.predict(X[:150])
    assert (counts["together"] - before["together"], counts["alone"] - before["alone"]) == (1, 0)
    predictor.predict(X[:1])
    before = dict(counts)
    predictor.predict(X[:1])
    assert counts == {**before, "program": before["program"] + 1}
    predictor.predict(X)
    assert counts["alone"] == before["alone"] + 5


@pytest.mark.parametrize(("module", "expected"), [(Picture, {"alone": 0, "program": 5}), (Draws, {"alone": 1})])
def test_what_cannot_be_computed_together_is_recorded_for_each_state_where_it_can_be(module, expected, monkeypatch):
    _, states, runner = pool_of(module)
    predictor = BatchedPredictor(runner, states)
    predictor.predict(X[:2])
    predictor.predict(X[:2])  # records, as this number of rows comes again
    counts = kernels(monkeypatch)
    predictor.predict(X[:2])
    assert counts == {"together": 0, "alone": 0, "program": 0, **expected}
    predictor.predict(X[:17])
    assert counts["program"] == expected.get("program", 0)


class Pooled(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), pool, nn.Flatten())
        self.head = nn.LazyLinear(3)
        self.head(self.layers(torch.ones(2, 1, 6)))

    def forward(self, X):
        return self.head(self.layers(X[:, None]))


POOLS = [nn.MaxPool1d(2), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(2), nn.AdaptiveMaxPool1d(1)]


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: type(pool).__name__)
def test_recorded_convolutions_compute_other_inputs(pool):
    modules, states, runner = pool_of(lambda: Pooled(pool))
    predictor = BatchedPredictor(runner, states)
    for _ in range(2):
        predictor.predict(X[:3])
    for start in (3, 6, 9):
        part = X[start : start + 3]
        np.testing.assert_allclose(predictor.predict(part), alone(modules, part), rtol=0, atol=1e-6)


def test_recorded_states_do_not_follow_a_module_that_is_trained_on():
    _, states, runner = pool_of(Picture)
    predictor = BatchedPredictor(runner, states)
    expected = [predictor.predict(X[:2]) for _ in range(3)][-1]
    with torch.no_grad():
        for parameter in runner.module.parameters():
            parameter.add_(1)
    np.testing.assert_array_equal(predictor.predict(X[:2]), expected)


def test_large_states_are_not_copied(monkeypatch):
    modules, states, runner = pool_of(Plain)
    monkeypatch.setattr(predictor_module, "LARGEST_COPY", 100)
    counts = kernels(monkeypatch)
    np.testing.assert_allclose(
        BatchedPredictor(runner, states).predict(X[:1]), alone(modules, X[:1]), rtol=0, atol=1e-6
    )
    assert counts["together"] == 0


def test_words_out_of_range_are_an_error_in_a_batched_predictor_too():
    modules, states, runner = pool_of(Words)
    predictor = BatchedPredictor(runner, states)
    words = np.array([[1, 2], [3, 4]])
    np.testing.assert_allclose(predictor.predict({"words": words}), alone(modules, words), rtol=0, atol=1e-6)
    with pytest.raises(IndexError, match="Embedding 'table' has 10 rows, .* is given indices from 0 to 13"):
        predictor.predict({"words": words + 9})


def test_members_of_several_architectures_keep_their_order():
    first, second = pool_of(Plain, 2), pool_of(Gated, 2)
    runners = [first[2], second[2], first[2], second[2]]
    states = [first[1][0], second[1][0], first[1][1], second[1][1]]
    modules = [first[0][0], second[0][0], first[0][1], second[0][1]]
    for n in (1, 250):
        np.testing.assert_allclose(Predictors(runners, states).predict(X[:n]), alone(modules, X[:n]), rtol=0, atol=1e-6)


def test_a_batched_predictor_follows_neither_other_states_nor_training():
    modules, states, runner = pool_of(Plain)
    predictor, other = BatchedPredictor(runner, states), BatchedPredictor(runner, states[:2])
    first = predictor.predict(X[:1])
    other.predict(X[:1])
    assert np.array_equal(predictor.predict(X[:1]), first)
    assert not any(m.training for m in runner.module.modules())
    assert len(modules) == len(first)


def test_single_rows_of_an_ensemble_are_those_of_all_rows():
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
    fitted = EnsembleClassifier(mlp_classifier(max_epochs=2), collect=Seeds(4), random_state=0).fit(X, y)
    rows = np.concatenate([fitted.predict_proba(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(rows, fitted.predict_proba(X)[:20], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_rows", [50, 300])
def test_many_states_are_judged_like_single_ones(n_rows):
    _, states, runner = pool_of(Plain)
    rows = Rows(X[:n_rows], (X[:n_rows, 0] > 0).astype(np.int64))
    objective = nets.Judge(runner, rows, rows)
    single = [(objective.loss(s), objective.score(s)) for s in states]
    np.testing.assert_allclose(objective.evaluate(iter(states)), single, rtol=1e-6)
    assert objective.scores(iter(states)) == [score for _, score in single]
