"""scikit-learn's scorers as functions of predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import get_scorer

from skfusion._rows import Rows, Task
from skfusion.combine._scorer import KnownClassifier, KnownRegressor, score_by, takes_weights
from skfusion.nets import default_score


def score_function(scoring: Any, task: Task) -> Any:
    """Return ``score(prediction, rows)``, higher is better.

    Parameters
    ----------
    scoring : str, callable or None
        Name of a scikit-learn scorer, or ``scorer(estimator, X, y)``; accuracy or R2 when None. Classes are their
        codes, 0 to n_classes - 1.
    task : {"classification", "multilabel", "regression"}
        What the predictions are.

    Returns
    -------
    callable
        Takes a prediction of shape (n_samples, n_outputs) and the rows that were predicted.
    """
    if scoring is None:
        return default_score(task)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    kind = KnownRegressor if task == "regression" else KnownClassifier

    def score(prediction: np.ndarray, rows: Rows) -> float:
        weights = {} if rows.weight is None else {"sample_weight": rows.weight}
        if weights and not takes_weights(scorer):
            raise ValueError(
                f"scoring={scoring!r} takes no sample_weight, but the rows are weighted: give it that parameter, or "
                "make it with sklearn.metrics.make_scorer."
            )
        try:
            return score_by(scorer, kind(prediction, task), rows.X, rows.y, **weights)
        except ValueError as error:
            raise ValueError(
                f"scoring={scoring!r} cannot judge the {len(rows)} held-out rows: {error} Where they lack a class, use "
                "a larger validation_fraction, more rows, or another score."
            ) from error
        except AttributeError as error:
            told = str(error).replace(kind.__name__, "what is scored")
            raise ValueError(
                f"scoring={scoring!r} asks for more than there is ({task}): {told.rstrip('.')}. Scores see predictions "
                f"{'and probabilities ' if task != 'regression' else ''}only; give another one."
            ) from error

    return score
