"""Laws of combiners."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.base import clone

from skfusion.combine import Combiner
from skfusion.testing import _problems as problems
from skfusion.testing._laws_all import TASKS, assert_refused, tasks_of


def fitted(component: Combiner) -> Iterator[tuple[str, np.ndarray, np.ndarray, Combiner]]:
    """Iterate over tasks, with predictions, targets, and a combiner that is fitted on them."""
    for task in tasks_of(component):
        P, y = problems.predictions(task)
        yield task, P, y, clone(component).fit(P, y, task)


def answers(prediction: np.ndarray, task: str) -> np.ndarray:
    """Return what a prediction says: classes, labels, or values."""
    if task == "regression":
        return prediction
    return prediction > 0.5 if task == "multilabel" else prediction.argmax(axis=1)


def assert_obeys(component: Combiner, n_members: int) -> None:
    """Raise where what members say, who are equal and right, is not what comes out."""
    for task in tasks_of(component):
        P, y = problems.sure(task, n_members)
        result = clone(component).fit(P, y, task)(P)
        same = np.allclose(answers(result, task), answers(P[0], task), rtol=0, atol=1e-6)
        assert same, f"Members that agree are not obeyed ({task}): {result[:2].tolist()}, not {P[0, :2].tolist()}."


def check_one_member_gives_its_prediction(component: Combiner) -> None:
    """A single member that is right is followed: its classes, labels or values come out."""
    assert_obeys(component, 1)


def check_unanimous_members_are_obeyed(component: Combiner) -> None:
    """What all members say, and rightly, is what comes out."""
    assert_obeys(component, 3)


def check_probabilities_sum_to_one(component: Combiner) -> None:
    """Class probabilities are not negative and sum to one; label probabilities lie between 0 and 1."""
    for task, P, _, combine in fitted(component):
        if task == "regression":
            continue
        p = combine(P)
        assert ((p >= 0) & (p <= 1 + 1e-9)).all(), f"Probabilities leave [0, 1] ({task})."
        if task == "classification":
            gap = np.abs(p.sum(axis=1) - 1).max()
            assert gap < 1e-6, f"Class probabilities miss a sum of one by {gap:.3g}."


def check_a_class_that_a_member_does_not_know_leaves_probabilities(component: Combiner) -> None:
    """Where a member gives a class no probability, as one that was fitted on others, probabilities sum to one."""
    if "classification" not in tasks_of(component):
        return
    P, y = problems.predictions("classification")
    P[0, :, 2] = 0
    P[0] /= P[0].sum(axis=1, keepdims=True)
    p = clone(component).fit(P, y, "classification")(P)
    assert np.isfinite(p).all(), "Of a class that a member does not know, the probability is NaN or infinite."
    assert ((p >= 0) & (p <= 1 + 1e-9)).all(), "Of a class that a member does not know, probabilities leave [0, 1]."
    gap = np.abs(p.sum(axis=1) - 1).max()
    assert gap < 1e-6, f"With a class that a member does not know, probabilities miss a sum of one by {gap:.3g}."


def check_output_has_a_row_a_sample_and_a_column_an_output(component: Combiner) -> None:
    """The shape is (n_samples, n_outputs), for new rows and for classes that were missing in y too."""
    for task, P, y, combine in fitted(component):
        for n in (1, 7):
            shape = np.shape(combine(P[:, :n]))
            assert shape == (n, P.shape[2]), f"{n} rows give the shape {shape} ({task})."
        if task == "classification":
            kept = y != 1
            shape = np.shape(clone(component).fit(P[:, kept], y[kept], task)(P))
            assert shape == P.shape[1:], f"With a class missing in y the shape is {shape}."


def check_rows_are_combined_one_by_one(component: Combiner) -> None:
    """The prediction for a row does not depend on the rows beside it."""
    for task, P, _, combine in fitted(component):
        apart = np.concatenate([combine(P[:, i : i + 1]) for i in range(P.shape[1])])
        gap = np.abs(combine(P) - apart).max()
        assert gap < 1e-9, f"A row alone is combined differently, by {gap:.3g} ({task})."


def check_weights_count_as_repetitions(component: Combiner) -> None:
    """A weight of 2 in ``fit`` does what the same row twice does."""
    for task in tasks_of(component):
        P, y = problems.predictions(task)
        weight = np.arange(P.shape[1]) % 3
        index = np.repeat(np.arange(P.shape[1]), weight)
        weighted = clone(component).fit(P, y, task, weight.astype(np.float64))(P)
        repeated = clone(component).fit(P[:, index], y[index], task)(P)
        gap = np.abs(weighted - repeated).max()
        assert gap < 1e-3, f"Weights and repetitions differ by {gap:.3g} ({task})."  # solvers stop at about 1e-4


def check_refused_tasks_are_refused_in_fit(component: Combiner) -> None:
    """``fit`` raises ``ValueError`` for what ``check`` refuses, and there is a task that is not refused."""
    accepted = tasks_of(component)
    assert accepted, "No task is accepted."
    for task in TASKS:
        if task not in accepted:
            assert_refused(lambda task=task: clone(component).fit(*problems.predictions(task), task))
