"""Weights of the least held-out loss."""

from itertools import product

import numpy as np
import pytest
from combine.guesses import guesses
from sklearn.exceptions import ConvergenceWarning

from skfusion.combine import Average, WeightedAverage, _weighted_average

TASKS = ["classification", "multilabel", "regression"]


def loss_by_rows(p, y, task):
    """The loss of each row: log-loss, its mean over labels, or squared error over variance."""
    if task == "classification":
        return -np.log(p[np.arange(len(y)), y])
    if task == "multilabel":
        return -np.log(np.where(y == 1, p, 1 - p)).mean(axis=1)
    return ((p - y) ** 2).mean(axis=1)


def mean_loss(weights, P, y, task, sample_weight=None):
    if task == "regression":
        mean = np.average(y, axis=0, weights=sample_weight)
        spread = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=sample_weight))
        P, y = P / spread, y / spread
    return np.average(loss_by_rows(np.tensordot(weights, P, axes=1), y, task), weights=sample_weight)


def simplex(n, steps):
    """All weights that are multiples of 1 / steps."""
    for some in product(range(steps + 1), repeat=n - 1):
        if sum(some) <= steps:
            yield np.array([*some, steps - sum(some)]) / steps


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("n_members", "steps"), [(2, 500), (3, 50)])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_weights_of_a_fine_grid_are_better(task, n_members, steps, weighted):
    P, y = guesses(task, n_members)
    weight = np.random.RandomState(1).uniform(size=len(y)) if weighted else None
    fitted = WeightedAverage().fit(P, y, task, weight)
    losses = {tuple(w): mean_loss(w, P, y, task, weight) for w in simplex(n_members, steps)}
    found = mean_loss(fitted.weights_, P, y, task, weight)
    assert found == pytest.approx(fitted.loss_, rel=1e-12)
    assert found <= min(losses.values()) + 1e-9
    best = min(losses, key=losses.get)
    assert np.abs(fitted.weights_ - best).max() < 2 / steps


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n_members", [5, 40])
def test_the_weights_meet_the_conditions_of_optimality(task, n_members):
    P, y = guesses(task, n_members, n=300)
    fitted = WeightedAverage().fit(P, y, task)
    w, h = fitted.weights_, 1e-6
    slopes = []
    for k in range(n_members):  # of the loss when weight moves to one member
        moved = [(1 - t) * w + t * np.eye(n_members)[k] for t in (h, 0)]
        slopes.append((mean_loss(moved[0], P, y, task) - mean_loss(moved[1], P, y, task)) / h)
    slopes = np.array(slopes)
    assert slopes.min() > -1e-4
    assert np.abs(slopes[w > 1e-3]).max() < 1e-4
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("task", TASKS)
def test_it_is_no_worse_than_the_average_and_the_best_member(task):
    P, y = guesses(task, 6)
    found = WeightedAverage().fit(P, y, task).loss_
    assert found <= mean_loss(np.full(6, 1 / 6), P, y, task) + 1e-9
    assert found <= min(mean_loss(np.eye(6)[k], P, y, task) for k in range(6)) + 1e-9


def test_a_perfect_member_gets_all_the_weight():
    P, y = guesses("regression")
    P[2] = y
    fitted = WeightedAverage().fit(P, y, "regression")
    assert np.allclose(fitted.weights_, [0, 0, 1, 0], atol=1e-6)
    P, y = guesses("classification")
    P[1] = np.eye(3)[y]
    assert WeightedAverage().fit(P, y, "classification").weights_[1] == pytest.approx(1, abs=1e-6)


def test_perfect_members_and_twins_are_no_trouble():
    y = np.arange(8.0)[:, None]
    fitted = WeightedAverage().fit(np.stack([y, y, y]), y, "regression")
    assert fitted.loss_ == 0
    assert np.allclose(fitted(np.stack([y, y, y])), y)
    P, labels = guesses("classification", 2)
    twice = WeightedAverage().fit(P[[0, 1, 1]], labels, "classification")
    assert twice.loss_ == pytest.approx(WeightedAverage().fit(P, labels, "classification").loss_, abs=1e-9)


def test_a_constant_member_and_a_constant_value_are_no_trouble():
    P, y = guesses("regression")
    y[:, 1], P[3] = 5.0, 1.0
    found = WeightedAverage().fit(P, y, "regression")
    assert np.isfinite(found.loss_)
    assert found.weights_.sum() == pytest.approx(1)
    P, y = guesses("classification")
    P[0] = [1, 0, 0]  # gives nothing to two classes
    assert np.isfinite(WeightedAverage().fit(P, y, "classification").loss_)


def test_units_of_values_do_not_matter():
    P, y = guesses("regression")
    units = np.array([1e-3, 1.0, 1e4])
    a, b = (WeightedAverage().fit(P * u, y * u, "regression").weights_ for u in (1.0, units))
    assert np.allclose(a, b, atol=1e-5)


def test_it_predicts_the_weighted_mean():
    P, y = guesses("classification")
    fitted = WeightedAverage().fit(P, y, "classification")
    assert np.allclose(fitted(P), Average(fitted.weights_)(P), rtol=0, atol=1e-12)
    assert fitted(P.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6, 1e12, 1e30])
def test_a_member_that_is_far_off_hides_nothing(scale):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 1))
    others = [y + s * rng.normal(size=(200, 1)) for s in (0.1, 0.4)]
    P = np.stack([y + scale * rng.normal(size=(200, 1)), *others])
    best = min(mean_loss([1 - w, w], np.stack(others), y, "regression") for w in np.linspace(0, 1, 10_001))
    fitted = WeightedAverage().fit(P, y, "regression")
    assert fitted.loss_ <= best * (1 + 1e-9)
    assert fitted.weights_[1:].sum() > 0.999
    assert fitted.loss_ == pytest.approx(mean_loss(fitted.weights_, P, y, "regression"), rel=1e-9)
    apart = np.stack(others * 2) + np.array([0, 0, 50, -50])[:, None, None]  # two that are good if they join
    assert WeightedAverage().fit(apart, y, "regression").loss_ <= best * (1 + 1e-9)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n_members", [3, 100])
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_the_gap_of_the_conditions_is_as_small_as_stated(task, n_members, spread):
    P, y = guesses(task, n_members, n=400, skills=(0.3, 0.3 + spread))
    w = WeightedAverage().fit(P, y, task).weights_
    units = P
    if task == "regression":
        residual = (np.tensordot(w, units, 1) - y) / y.var(axis=0) / y.size
        slope = np.array([2 * (residual * p).sum() for p in units])
        allowed = 1e-6 * mean_loss(w, P, y, task)
    else:
        truth = (
            P[:, np.arange(len(y)), y] if task == "classification" else np.where(y == 1, P, 1 - P).reshape(len(P), -1)
        )
        slope = -(truth / (w @ truth)).mean(axis=1)
        allowed = 1e-6
    assert w @ slope - slope.min() <= allowed


def test_a_hundred_members_take_a_few_passes(monkeypatch):
    passes, solve = [], _weighted_average.nearest_to_origin

    def counted(points):
        passes.append(points.shape)
        return solve(points)

    monkeypatch.setattr(_weighted_average, "nearest_to_origin", counted)
    rng = np.random.RandomState(0)
    y = rng.randint(10, size=5000)
    for sharp in (0.5, 8.0):
        z = rng.normal(size=(100, 5000, 10)) * rng.uniform(0.5, sharp, size=(100, 1, 1))
        z[:, np.arange(5000), y] += rng.uniform(0, 3, size=(100, 1))
        P = np.exp(z - z.max(axis=2, keepdims=True))
        P = (P / P.sum(axis=2, keepdims=True)).astype(np.float32)
        passes.clear()
        fitted = WeightedAverage().fit(P, y, "classification")
        assert passes.count((5000, 100)) == len(passes) <= 15
        truth = np.maximum(P[:, np.arange(5000), y].astype(np.float64), np.finfo(np.float32).eps)
        assert (truth / (fitted.weights_ @ truth)).mean(axis=1).max() - 1 < 1e-6


@pytest.mark.parametrize("seed", range(40))
def test_few_rows_and_sure_members_are_solved_too(seed):
    rng = np.random.RandomState(seed)
    n_members, n = rng.randint(1, 40), rng.randint(1, 60)
    right = np.maximum(rng.uniform(size=(n_members, n)) ** rng.randint(1, 12), 1e-15)
    P = np.stack([right, 1 - right], axis=2)
    w = WeightedAverage().fit(P, np.zeros(n, int), "classification").weights_
    assert (right / (w @ right)).mean(axis=1).max() - 1 < 1e-6
    em = np.full(n_members, 1 / n_members)
    for _ in range(300):  # each step lowers the loss, towards the same minimum
        em *= (right / (em @ right)).mean(axis=1)
    assert np.log(w @ right).mean() >= np.log(em @ right).mean() - 1e-9


def test_a_solver_that_stops_early_is_told_of(monkeypatch):
    monkeypatch.setattr(_weighted_average, "STEPS", 1)
    with pytest.warns(ConvergenceWarning, match="weights of 4 members may be off"):
        WeightedAverage().fit(*guesses("classification"), "classification")

    def in_circles(*given, **options):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr(_weighted_average, "nnls", in_circles)
    with pytest.warns(ConvergenceWarning, match="weights of 4 members may be off"):
        fitted = WeightedAverage().fit(*guesses("regression"), "regression")
    assert sorted(fitted.weights_) == [0, 0, 0, 1]


def test_errors():
    P, y = guesses("classification")
    with pytest.raises(ValueError, match="WeightedAverage must be fitted"):
        WeightedAverage()(P)
    with pytest.raises(ValueError, match="fitted on 4 members and is given 2"):
        WeightedAverage().fit(P, y, "classification")(P[:2])
    with pytest.raises(ValueError, match=r"shape \(n_members, n_samples, n_outputs\)"):
        WeightedAverage().fit(P[:, :5], y, "classification")
    with pytest.raises(ValueError, match="sample_weight"):
        WeightedAverage().fit(P, y, "classification", -np.ones(len(y)))
    P[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match=r"members \[2\] predict NaN"):
        WeightedAverage().fit(P, y, "classification")
