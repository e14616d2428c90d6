"""Train the best network that was found further, on the labelled rows of a new task."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from torch import nn

from skfusion import nets
from skfusion._numbers import to_numpy, to_torch
from skfusion._random import seed_scope
from skfusion._rows import Rows
from skfusion.nets import Runner
from skfusion.reuse._base import Found
from skfusion.reuse._features import head_of
from skfusion.reuse._offer import Offer, as_network_inputs
from skfusion.reuse._reuser import Reuser
from skfusion.state import State


class FineTune(Reuser):
    """Train the first network among the models that were found further, on labelled rows.

    The output of a label that the network knows starts from its own weights, of several outputs of that label from the
    first one's; that of a new label is initialised anew.

    Parameters
    ----------
    max_epochs : int, default=20
        Epochs on the labelled rows.
    lr : float, optional
        Learning rate; that of the network's net when omitted. A smaller one stays closer to the model.

    Notes
    -----
    It needs a network among the models that were found. It predicts the labels that the estimator knows; no row of a
    label that is not in y is trained on. The statistics of BatchNorm go on from those of the model.
    As there are few rows, all are trained on: the net's own validation split and callbacks are left out.

    References
    ----------
    Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep neural networks?", NeurIPS 2014,
    arXiv:1411.1792.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skfusion.nets import mlp_classifier
    >>> from skfusion.reuse import FineTune, ReusePool
    >>> X, y = load_digits(return_X_y=True)
    >>> X, X_new, y, y_new = train_test_split(X.astype("float32") / 16, y, random_state=0)
    >>> low = mlp_classifier(max_epochs=30, module__n_in=64, module__n_out=5).fit(X[y < 5], y[y < 5])
    >>> pool = ReusePool().add(low, X[y < 5], name="low")
    >>> tuned = FineTune().fit(pool.search(X_new), X_new[:100], y_new[:100], classes=np.arange(10), seed=0)
    >>> float((tuned(X_new[100:]).argmax(axis=1) == y_new[100:]).mean()) > 0.7
    True
    """

    needs_labels = True

    def __init__(self, max_epochs: int = 20, lr: float | None = None):
        self.max_epochs = max_epochs
        self.lr = lr

    def fit(self, found: Found, X: Any, y: np.ndarray | None, classes: np.ndarray | None, seed: int) -> Self:
        """Train further; see :meth:`Reuser.fit`."""
        if y is None:
            raise ValueError("FineTune learns from labelled rows: give y.")
        networks = [offer for offer in found.chosen if offer.member.is_network]
        if not networks:
            raise ValueError(f"None of the models {found.names} is a network, and only networks are fine-tuned.")
        offer, task = networks[0], found.pool.task or "classification"
        self.scaling_ = nets.scaling_of(offer.member) if classes is None else None
        if self.scaling_ is not None:
            y = (y.reshape(len(y), -1) - self.scaling_[0]) / self.scaling_[1]
        targets = y.reshape(len(y), -1).astype(np.float32) if classes is None else y
        rows = Rows(as_network_inputs(X), targets, task=task)
        net = _further(offer, rows, targets.shape[1] if classes is None else classes, seed)
        net.set_params(max_epochs=self.max_epochs, **({} if self.lr is None else {"lr": self.lr}))
        self.net_, self.task_, self.name_ = net, task, offer.name
        self.state_ = to_numpy(nets.state_of(nets.fit(net, rows, seed)))
        return self

    def __call__(self, X: Any) -> np.ndarray:
        """Predict with the fine-tuned network; see :meth:`Reuser.__call__`."""
        X = as_network_inputs(X)
        runner = Runner(self.net_, self.task_, Rows(X, np.zeros(len(X))))
        P = runner.predict(to_torch(self.state_), X).astype(np.float64)
        return P if self.scaling_ is None else P * self.scaling_[1] + self.scaling_[0]


def _further(offer: Offer, rows: Rows, outputs: Any, seed: int) -> Any:
    """Return an unfitted net that starts from the weights of a model, with an output for each of the user's classes.

    ``outputs`` are these, or the number of values in regression.
    """
    runner, state = offer.runner(rows.X), offer.member.state
    net = _without_callbacks(runner.net)
    values = isinstance(outputs, int)
    n_outputs = outputs if values else len(outputs)
    if values or tuple(outputs.tolist()) == offer.labels:
        module = copy.deepcopy(runner.module)
        module.load_state_dict(state)
    else:
        if nets.two_classes(runner.net):
            raise ValueError(f"Model {offer.name!r} has one output for two classes, which cannot stand for others.")
        head = head_of(runner, state, rows.X)
        with seed_scope(seed):
            module = _resized(net, runner.module, head, n_outputs, rows)
        _copy(module, state, head, [*(offer.labels or ())], outputs.tolist())
    return nets.with_module(net, module).set_params(train_split=None, callbacks=None, verbose=0)


def _resized(net: Any, module: nn.Module, head: str, n_outputs: int, rows: Rows) -> nn.Module:
    """Return a module of so many outputs, made by its class where that takes ``n_out``."""
    if not isinstance(net.module, nn.Module) and "n_out" in inspect.signature(net.module).parameters:
        return Runner(clone(net).set_params(module__n_out=n_outputs), "classification", rows).module
    old = module.get_submodule(head)
    if not isinstance(old, nn.Linear):
        raise ValueError(
            f"The last layer is a {type(old).__name__}; only a Linear one is given other outputs. Use Probe() or "
            "StackFound()."
        )
    module = copy.deepcopy(module)
    module.set_submodule(head, nn.Linear(old.in_features, n_outputs, old.bias is not None, dtype=old.weight.dtype))
    return module


def _copy(module: nn.Module, state: State, head: str, own: list[Any], labels: list[Any]) -> None:
    """Copy a state into a module of other outputs: all that has the same shape, and the outputs of the same labels."""
    for key, tensor in module.state_dict().items():
        old, in_head = state.get(key), key.rpartition(".")[0] == head
        if old is None or (old.shape != tensor.shape and not in_head):
            continue
        if not in_head:
            tensor.copy_(old)
        elif old.shape[1:] == tensor.shape[1:] and len(old) == len(own):
            for place, label in enumerate(labels):
                if label in own:
                    tensor[place] = old[own.index(label)]


def _without_callbacks(net: Any) -> Any:
    """Return a net without its callbacks and their parameters."""
    params = {k: v for k, v in net.get_params(deep=False).items() if not k.startswith("callbacks__")}
    return type(net)(**{**params, "callbacks": None})
