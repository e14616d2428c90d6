"""The scores of skorch's own callbacks after an epoch, without what each member would do over again.

scikit-learn looks through targets and predictions in many ways before it compares them, which for a small network takes
longer than a training step of all members. Class codes, which skorch's classifiers are trained on, need none of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score
from skorch.callbacks import EpochScoring, LRScheduler

from skfusion._vectorized import Members
from skfusion.nets._training_callback import Watch


def score_quickly(net: Any) -> None:
    """Let the callbacks of a net whose score is the accuracy compute it without checks, to the same number.

    As skorch's own replacement of ``forward_iter``, this is an attribute of the object that hides its method; it is
    taken away by :func:`score_as_before`.
    """
    for _, callback in net.callbacks_:
        if type(callback) is EpochScoring and callback.scoring == "accuracy" and is_classifier(net):
            callback._scoring = accuracy


def score_as_before(net: Any) -> None:
    """Undo :func:`score_quickly`."""
    for _, callback in net.callbacks_:
        vars(callback).pop("_scoring", None)


def accuracy(net: Any, X: Any, y: Any) -> float:
    """Return the accuracy of a classifier, as scikit-learn's scorer of that name does."""
    predicted = net.predict(X)
    if _are_codes(predicted) and _are_codes(y) and len(predicted) == len(y) > 0:
        return float(np.mean(predicted == y))
    return float(accuracy_score(y, predicted))


def _are_codes(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu"


def joined(batches: list[Any]) -> list[Any]:
    """Return the outputs or targets of all batches as one batch, where they are tensors."""
    if all(isinstance(batch, Members) and batch.dim() for batch in batches):
        return [Members(torch.cat([batch.value for batch in batches], 1))]
    return batches


def may_draw_from_numpy(net: Any, watch: Watch, has_user_callback: bool) -> bool:
    """Return whether a callback of a net might draw from the global generator of numpy at the end of an epoch.

    Code of skorch and of this library does not, but what it calls may: a module that is run again, the function that
    sets a learning rate, a recorder of the user's, and hooks.
    """
    foreign = watch.recorder is not None and not type(watch.recorder).__module__.startswith("skfusion.")
    if has_user_callback or foreign or watch.on_epoch is not None:
        return True
    callbacks = [c for _, c in net.callbacks_]
    scorings = [c for c in callbacks if isinstance(c, EpochScoring)]
    caching = [c.use_caching if net.use_caching == "auto" else net.use_caching for c in scorings]
    return not all(caching) or any(isinstance(c, LRScheduler) for c in callbacks)
