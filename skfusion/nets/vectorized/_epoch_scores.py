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
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring, LRScheduler
from skorch.utils import to_numpy
from torch import nn

from skfusion._vectorized import Members
from skfusion.nets._training_callback import Watch

_APART = 1e-3
"""How far apart the largest two outputs of a row are where their softmax cannot be a tie."""


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
    predicted = _softmax_free(net, X) if _takes_softmax(net) else net.predict(X)
    if _are_codes(predicted) and _are_codes(y) and len(predicted) == len(y) > 0:
        return float(np.mean(predicted == y))
    return float(accuracy_score(y, predicted))


def _takes_softmax(net: Any) -> bool:
    """Return whether a net predicts the largest softmax of its output, by skorch's own methods."""
    names = ("predict", "predict_proba", "_get_predict_nonlinearity", "forward_iter")
    own = all(getattr(type(net), name, None) is getattr(NeuralNetClassifier, name) for name in names)
    plain = own and net.predict_nonlinearity == "auto" and not vars(net).keys() & {*names[:3]}
    return plain and len(net._criteria) == 1 and isinstance(net.criterion_, nn.CrossEntropyLoss)


def _softmax_free(net: Any, X: Any) -> np.ndarray:
    """Return what such a net predicts, with a softmax only of the rows of which two outputs are close.

    The softmax of a row keeps the order of numbers that differ by a thousandth, and may round closer ones to a tie.
    """
    codes = []
    for batch in net.forward_iter(X, training=False):
        out = batch[0] if isinstance(batch, tuple) else batch
        if out.dim() != 2 or out.dtype not in (torch.float32, torch.float64):
            codes.append(to_numpy(torch.softmax(out, -1)).argmax(axis=1))
            continue
        of_batch = to_numpy(out).argmax(axis=1)
        close = (out > out.amax(1, keepdim=True) - _APART).sum(1) != 1
        if close.any():  # also where a number is not finite
            of_batch[to_numpy(close)] = to_numpy(torch.softmax(out[close], -1)).argmax(axis=1)
        codes.append(of_batch)
    return np.concatenate(codes)


def _are_codes(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu"


def joined(predicted: list[Any], targets: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the outputs and the targets of all batches as one batch, where both are tensors with a row each."""
    if any(not isinstance(part, Members) or not part.dim() for part in (*predicted, *targets)):
        return predicted, targets
    if any({part.shape[1:] for part in parts} != {parts[0].shape[1:]} for parts in (predicted, targets)):
        return predicted, targets
    one, other = (Members(torch.cat([part.value for part in parts], 1)) for parts in (predicted, targets))
    return [one], [other]


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
