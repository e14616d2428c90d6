"""The out-of-fold predictions of members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skfusion._rows import Rows, expansion
from skfusion.data import ALWAYS_SO, folds
from skfusion.nets import Predictors, on_devices, runners_of


def predict_out_of_fold(fusion: Any, rows: Rows, seed: int, shared: Any) -> tuple[list[str], np.ndarray, Rows]:
    """Return the members' names, what they predict for each fold, collected on the others, and the rows in that order.

    Predictions are of shape (n_members, n_samples, n_outputs); ``shared`` are pools that several fusions share, if any.
    """
    predictions, tested = [], []
    names: list[str] = []
    for i, (train, test) in enumerate(folds(rows, fusion.cv, fusion._task, ALWAYS_SO, fusion._labels())):
        fit_rows, part = rows.take(train).expanded(), rows.take(test)
        net = fusion._net(fit_rows)
        pool = fusion._pool(net, fit_rows, seed, shared=shared)
        names = names or pool.names
        check_same_members(names, pool.names, f"fold {i} of cv")
        # each row once: rounding depends on how many rows are computed together, and repetitions are weights
        _, first, inverse = np.unique(part.keys, return_index=True, return_inverse=True)
        runners = runners_of(pool, fusion._task, part, net)
        P = Predictors(runners, on_devices(pool, runners)).predict(part.take(first).X)
        predictions.append(P[:, inverse])
        tested.append(test)
    P, predicted = np.concatenate(predictions, axis=1), rows.take(np.concatenate(tested))
    index, weight = expansion(predicted.keys, predicted.weight)  # of all folds at once: their weights have one scale
    if index is None:
        return names, P, predicted
    return names, P[:, index], replace(predicted.take(index), weight=weight)


def check_same_members(first: list[str], others: list[str], where: str) -> None:
    """Raise where the members of the first fold differ from those of another one, or of all rows."""
    if first == others:
        return
    what = f"{len(first)} members in fold 0 of cv and {len(others)} in {where}"
    if len(first) == len(others):
        a, b = next((a, b) for a, b in zip(first, others, strict=True) if a != b)
        what = f"member {a!r} in fold 0 of cv where {where} has {b!r}"
    raise ValueError(
        f"The collector kept {what}, and out-of-fold predictions are those of the same members in every fold. How many "
        "members boosting or early stopping keeps depends on the rows: use BoostingFusion for boosted members, train "
        "without early stopping, or take a combiner that learns on held-out rows, such as WeightedAverage()."
    )
