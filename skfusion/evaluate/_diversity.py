"""How different the mistakes of members are (Kuncheva and Whitaker, 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from skfusion._rows import Task
from skfusion.data import check_targets, check_weight, encode_classes, encode_values, rows_to_judge
from skfusion.estimators import BaseFusion, EnsembleClassifier, EnsembleRegressor
from skfusion.estimators.support import all_networks, predicts_values, split_pipeline
from skfusion.evaluate._pairs import pair_index
from skfusion.evaluate._pool_on_data import net_for
from skfusion.pool import ModelPool


def diversity(predictor: Any, X: Any, y: Any, *, sample_weight: Any = None, estimator: Any = None) -> pd.DataFrame:
    r"""Compare the mistakes of each pair of members, and say what averaging gains by them.

    The loss of the average is the members' mean loss less their ambiguity, exactly, for values and for the Brier score:

    .. math:: \|\bar p - y\|^2 = \frac 1 K \sum_k \|p_k - y\|^2 - \frac 1 K \sum_k \|p_k - \bar p\|^2

    Parameters
    ----------
    predictor : ModelPool or fitted estimator
        Two members or more, of any kind and architecture; of an estimator those of its ``predict_members``, such as an
        ensemble or a curve, or of one at the end of a pipeline.
    X, y : array-like
        Rows that no member was trained on; a warning says where one was.
    sample_weight : array-like of shape (n_samples,), optional
        Non-negative weights of the rows.
    estimator : estimator of this library or skorch net, optional
        How to run the members of a pool; the nets that they carry when omitted.

    Returns
    -------
    DataFrame
        One row a pair, by the names of its members. For classes and labels, the columns are:

        - ``disagreement``: share of the rows for which the two predict different labels. 0 adds nothing to a vote.
        - ``double_fault``: share of the rows for which both are wrong, which no vote of the two can correct.
        - ``error_correlation``: of being wrong, from -1 to 1. 0 is the ideal of independent members; NaN where one of
          the two is always right, or always wrong.
        - ``q_statistic``: Yule's Q of being right, from -1 to 1, of the sign of the correlation. NaN where the table
          of the two leaves it undefined.
        - ``squared_difference``: of the probabilities, summed over classes and averaged over rows.

        Each label of a multi-label problem counts as a row does, and probabilities are averaged over labels. For values
        the columns are ``error_correlation``, of the residuals, averaged over outputs, and ``squared_difference``; the
        first is NaN where a residual of one of the two is the same for all rows, up to the rounding of the
        predictions.

        ``attrs`` of the frame has the decomposition, as means over rows: ``"ensemble_loss"`` of the plain average,
        ``"mean_loss"`` of the members and their ``"ambiguity"``, which is the first subtracted from the second; with
        ``"loss_name"``, ``"member_loss"`` by name, and ``"n_rows"``.

    Notes
    -----
    Costs K predictions and K (K - 1) / 2 comparisons of them for K members. The ambiguity is the sum of the squared
    differences of all pairs, divided by K squared.

    References
    ----------
    Kuncheva and Whitaker, "Measures of diversity in classifier ensembles and their relationship with the ensemble
    accuracy", Machine Learning 51, 2003, doi:10.1023/A:1022859003006. Krogh and Vedelsby, "Neural network ensembles,
    cross validation, and active learning", NeurIPS 1994 (ambiguity).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skfusion import EnsembleClassifier
    >>> from skfusion.collect import Bootstrap
    >>> from skfusion.diagnose import diversity
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> bagging = EnsembleClassifier(collect=Bootstrap(3), random_state=0).fit(X[::2], y[::2])
    >>> frame = diversity(bagging, X[1::2], y[1::2])
    >>> len(frame), [*frame.columns][:2]
    (3, ['disagreement', 'double_fault'])
    >>> abs(frame.attrs["mean_loss"] - frame.attrs["ambiguity"] - frame.attrs["ensemble_loss"]) < 1e-12
    True
    """
    predicted = _predicted(predictor, X, y, sample_weight, estimator)
    pairs = [*combinations(range(len(predicted.names)), 2)]
    measures = _of_values(predicted) if predicted.task == "regression" else _of_labels(predicted)
    measures["squared_difference"] = _squared_differences(predicted)
    frame = pd.DataFrame(
        {name: [float(matrix[i, j]) for i, j in pairs] for name, matrix in measures.items()},
        index=pair_index(predicted.names, pairs),
    )
    frame.attrs = _decomposed(predicted)
    return frame


@dataclass(frozen=True, eq=False)
class _Predicted:
    """What members predict, and what is true."""

    names: list[str]
    P: np.ndarray  # shape: (n_members, n_samples, n_outputs), float64
    truth: np.ndarray  # shape: (n_samples, n_outputs): indicators of classes or labels, or values
    weight: np.ndarray  # shape: (n_samples,), of sum 1
    task: Task
    rounding: float  # relative, of the dtype of the predictions

    def mean_of_rows(self, squares: np.ndarray) -> np.ndarray:
        """Return the mean over rows of squares of shape (..., n_samples, n_outputs)."""
        rows = squares.sum(axis=-1) if self.task == "classification" else squares.mean(axis=-1)
        return rows @ self.weight


def _predicted(predictor: Any, X: Any, y: Any, sample_weight: Any, estimator: Any) -> _Predicted:
    if isinstance(predictor, ModelPool):
        predictor = _fused(predictor, X, y, estimator)
    elif estimator is not None:
        raise ValueError(
            "estimator= says how to run the members of a pool; a fitted estimator runs its members itself."
        )
    head, predictor = split_pipeline(predictor)
    if not hasattr(predictor, "predict_members"):
        raise TypeError(
            f"{type(predictor).__name__} has no predict_members, by which each member predicts by itself: give a "
            "ModelPool or a fitted ensemble, such as EnsembleClassifier."
        )
    check_is_fitted(predictor)
    X = X if head is None else head.transform(X)
    predictions = predictor.predict_members(X)
    P = predictions.astype(np.float64)
    if len(P) < 2:
        raise ValueError(f"A pair needs two members; there are {len(P)}.{_dropped(predictor, len(P))}")
    task: Task = predictor._task
    y = check_targets(predictor, P[0], y, numeric=task == "regression")
    if task == "regression":
        truth, codes = y.reshape(len(y), -1), encode_values(y)
    else:
        codes, _, kind = encode_classes(y, None, predictor.classes_)
        if kind != task:
            raise ValueError(f"y is that of a {kind} problem, and the members were trained for {task}.")
        truth = np.eye(P.shape[2])[codes] if task == "classification" else codes.astype(np.float64)
    if truth.shape != P.shape[1:]:
        raise ValueError(f"y has {truth.shape[1]} outputs, and the members predict {P.shape[2]}.")
    if isinstance(pool := getattr(predictor, "pool_", None), ModelPool):
        rows = rows_to_judge(predictor._inputs(X), predictor._outputs.encoded(codes))
        pool.warn_of_leakage(rows, "to compare the mistakes of members")
    weight = check_weight(sample_weight, len(truth))
    weight = np.ones(len(truth)) if weight is None else weight
    names = [m.name for m in getattr(predictor, "members_", ())]
    if len(names) != len(P):  # such as the passes of one network with dropout
        names = [f"member-{k}" for k in range(len(P))]
    return _Predicted(names, P, truth, weight / weight.sum(), task, float(np.finfo(predictions.dtype).eps))


def _dropped(predictor: Any, n: int) -> str:
    """Return a remedy where an estimator has dropped some of its pool."""
    pool = getattr(predictor, "pool_", None)
    if not isinstance(pool, ModelPool) or len(pool) <= n:
        return ""
    return (
        f" The selector or combiner of {type(predictor).__name__} dropped the others of the {len(pool)} in its pool: "
        "to compare all, give its pool_, and itself as estimator=, which says how to run them."
    )


def _fused(pool: ModelPool, X: Any, y: Any, estimator: Any) -> Any:
    """Return an ensemble of all members of a pool."""
    net = estimator.estimator if isinstance(estimator, BaseFusion) else estimator
    classify = is_classifier(net_for(pool, net)) if all_networks(pool) else not predicts_values(pool)
    return (EnsembleClassifier if classify else EnsembleRegressor)(net).fuse(pool, X, y)


def _of_labels(predicted: _Predicted) -> dict[str, np.ndarray]:
    """Return measures of classes or labels, each of shape (n_members, n_members)."""
    if predicted.task == "multilabel":
        n_labels = predicted.truth.shape[1]
        labels = (predicted.P > 0.5).reshape(len(predicted.P), -1)
        truth, weight = (predicted.truth > 0.5).ravel(), np.repeat(predicted.weight / n_labels, n_labels)
    else:
        labels, truth, weight = predicted.P.argmax(axis=2), predicted.truth.argmax(axis=1), predicted.weight
    wrong = (labels != truth).astype(np.float64)
    right = 1 - wrong
    # Each share is summed by itself: as a difference of others, an empty one would not be exactly zero.
    both_wrong, both_right = (wrong * weight) @ wrong.T, (right * weight) @ right.T
    first_only = (right * weight) @ wrong.T
    error, success = wrong @ weight, right @ weight
    agreeing, opposing = both_right * both_wrong, first_only * first_only.T
    spread = np.sqrt(np.outer(error * success, error * success))
    return {
        "disagreement": np.array([[(a != b) @ weight for b in labels] for a in labels]),
        "double_fault": both_wrong,
        "error_correlation": _ratio(agreeing - opposing, spread),
        "q_statistic": _ratio(agreeing - opposing, agreeing + opposing),
    }


def _of_values(predicted: _Predicted) -> dict[str, np.ndarray]:
    """Return the correlation of residuals, of shape (n_members, n_members)."""
    error = predicted.P - predicted.truth
    centred = error - np.einsum("kno,n->ko", error, predicted.weight)[:, None]
    both = np.einsum("ino,jno,n->oij", centred, centred, predicted.weight)
    variance = np.einsum("okk->ok", both)
    size = np.sqrt(np.einsum("kno,n->ok", predicted.P**2, predicted.weight))
    variance = np.where(variance > (predicted.rounding * size) ** 2, variance, 0.0)  # else it is that of rounding
    spread = np.sqrt(variance[:, :, None] * variance[:, None, :])
    return {"error_correlation": _ratio(both, spread).mean(axis=0)}


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)


def _squared_differences(predicted: _Predicted) -> np.ndarray:
    n = len(predicted.P)
    out = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        out[i, j] = out[j, i] = predicted.mean_of_rows((predicted.P[i] - predicted.P[j]) ** 2)
    return out


def _decomposed(predicted: _Predicted) -> dict[str, Any]:
    mean = predicted.P.mean(axis=0)
    losses = np.array([predicted.mean_of_rows((p - predicted.truth) ** 2) for p in predicted.P])
    return {
        "loss_name": "squared error" if predicted.task == "regression" else "Brier score",
        "ensemble_loss": float(predicted.mean_of_rows((mean - predicted.truth) ** 2)),
        "mean_loss": float(losses.mean()),
        "ambiguity": float(np.mean([predicted.mean_of_rows((p - mean) ** 2) for p in predicted.P])),
        "member_loss": dict(zip(predicted.names, losses.tolist(), strict=True)),
        "n_rows": len(predicted.truth),
    }
