"""Combiners in tensors give what they give in NumPy."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB

from skfusion.combine import (
    Average,
    Calibrated,
    Cascade,
    Combiner,
    DynamicSelection,
    EnsembleSelection,
    GeometricAverage,
    Median,
    Stack,
    Vote,
    WeightedAverage,
)
from skfusion.estimators.serving._combined import combined

RNG = np.random.RandomState(0)
ANY = [
    Average(),
    Average(weights=[3, 0, 1, 0.5]),
    Median(),
    WeightedAverage(),
    EnsembleSelection(),
    EnsembleSelection(n_bags=3, random_state=0),
    Stack(),
]
CLASSES = [
    Calibrated(),
    Calibrated(of="ensemble"),
    Calibrated(GeometricAverage()),
    Calibrated(Calibrated(Median()), of="ensemble"),
    GeometricAverage(),
    GeometricAverage(weights=[3, 0, 1, 0.5]),
]


def problem(task, n_outputs, n_members=4, n=60):
    """Return targets, and predictions that know something of them."""
    if task == "regression":
        y = RNG.normal(size=(n, n_outputs))
        return y, y + RNG.normal(size=(n_members, n, n_outputs))
    shape = (n,) if task == "classification" else (n, n_outputs)
    y = RNG.randint(n_outputs if task == "classification" else 2, size=shape)
    truth = np.eye(n_outputs)[y] if task == "classification" else y
    z = 2 * truth + 2 * RNG.normal(size=(n_members, n, n_outputs))
    P = np.exp(z) / np.exp(z).sum(2, keepdims=True) if task == "classification" else 1 / (1 + np.exp(-z))
    return y, P.astype(np.float32)


def compare(combine, task, n_outputs, n_members=4):
    y, P = problem(task, n_outputs, n_members)
    fitted = combine.fit(P, y, task)
    given = P.astype(np.float64)
    if combine.by_logs:
        given = np.log(given) - (np.log1p(-given) if task == "multilabel" else 0)
        P = given
    found = combined(fitted, task, n_members)(torch.from_numpy(P)).numpy()
    np.testing.assert_allclose(found, fitted(problem_again(fitted, P, task)), rtol=1e-6, atol=1e-6)


def problem_again(fitted, P, task):
    """Return probabilities of what a combiner of logarithms was given."""
    if not fitted.by_logs:
        return P
    return np.exp(P) if task == "classification" else 1 / (1 + np.exp(-P))


@pytest.mark.parametrize("combine", [*ANY, *CLASSES], ids=repr)
@pytest.mark.parametrize(("task", "n_outputs"), [("classification", 2), ("classification", 4), ("multilabel", 3)])
def test_probabilities(combine, task, n_outputs):
    compare(combine, task, n_outputs)


@pytest.mark.parametrize("combine", ANY, ids=repr)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_values(combine, n_outputs):
    compare(combine, "regression", n_outputs)


def test_medians_of_members_that_are_certain_of_different_classes():
    P = np.array([[[1.0, 0, 0]], [[0, 1, 0]], [[0, 0, 1]]])
    fitted = Median().fit(P, np.array([0]), "classification")
    np.testing.assert_allclose(combined(fitted, "classification", 3)(torch.from_numpy(P)).numpy(), fitted(P))


def test_stacks_of_classes_that_are_missing_and_labels_that_never_vary():
    y, P = problem("classification", 4)
    fitted = Stack().fit(P, np.where(y == 2, 1, y), "classification")
    np.testing.assert_allclose(
        combined(fitted, "classification", 4)(torch.from_numpy(P)).numpy(), fitted(P), rtol=1e-6, atol=1e-9
    )
    fitted = Stack().fit(P, np.full(len(y), 3), "classification")
    np.testing.assert_array_equal(combined(fitted, "classification", 4)(torch.from_numpy(P)).numpy(), fitted(P))
    y, P = problem("multilabel", 3)
    y[:, 1] = 1
    fitted = Stack().fit(P, y, "multilabel")
    np.testing.assert_allclose(
        combined(fitted, "multilabel", 4)(torch.from_numpy(P)).numpy(), fitted(P), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(
    "meta", [LogisticRegression(C=0.1), LogisticRegression(solver="liblinear"), LinearRegression()]
)
def test_linear_meta_learners(meta):
    if isinstance(meta, LinearRegression):
        compare(Stack(meta), "regression", 2)
    else:
        compare(Stack(meta), "classification", 2)


@pytest.mark.parametrize("meta", [GaussianNB(), Lasso()])
def test_other_meta_learners_are_refused_by_name(meta):
    task = "regression" if isinstance(meta, Lasso) else "classification"
    y, P = problem(task, 2)
    fitted = Stack(meta).fit(P, y, task)
    with pytest.raises(ValueError, match=f"meta-learner {type(meta).__name__}"):
        combined(fitted, task, 4)


class Own(Combiner):
    def __call__(self, P):
        return P.max(axis=0)


@pytest.mark.parametrize(
    ("combine", "why"),
    [
        (Vote(), "votes jump"),
        (Cascade(costs=[1, 1, 1, 1]), "only for the rows that need them"),
        (DynamicSelection(), "looks up the rows"),
        (Calibrated(Vote()), "votes jump"),
        (Own(), "not known"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_module_computes_is_refused_with_the_reason(combine, why):
    y, P = problem("classification", 3)
    with pytest.raises(ValueError, match=why):
        combined(combine.fit(P, y, "classification"), "classification", 4)
