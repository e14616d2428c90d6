"""Run states through their architecture: predictions, and objectives for the methods that ask for data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from torch import Tensor, nn

from skfusion.nets._size import (
    criterion_type,
    dtype_of,
    initialised,
    match_shapes,
    seeded,
    targets,
    tensors,
    two_classes,
)
from skfusion.objective import Batch, Objective, call
from skfusion.rows import Inputs, Rows, Task, one_of
from skfusion.state import State

Score = Callable[[np.ndarray, Rows], float]
"""``score(prediction, rows)``, higher is better; prediction of shape (n_samples, n_outputs)."""


class Runner:
    """An architecture that predicts with any state of it.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    task : {"classification", "multilabel", "regression"}
        What the outputs are.
    example : Rows or None
        Rows to materialise lazy layers with; needed only where there are some.
    """

    def __init__(self, net: Any, task: Task, example: Rows | None = None):
        self.task = task
        self.net = clone(net).set_params(verbose=0)
        with seeded(0, net.device):
            nothing = Rows(np.zeros((0, 1), np.float32), np.zeros(0))
            self.module: nn.Module = initialised(self.net, example or nothing, keep_net=True).eval()
        if task == "classification" and two_classes(net):
            match_shapes(self.net)
        self.dtype, self.device = dtype_of(self.module), self.net.device or "cpu"
        self.link = _link(self.net, task)
        self.lock = threading.Lock()

    def place(self, state: State) -> State:
        """Return the state on the device of the net, checked against the architecture.

        Parameters
        ----------
        state : State
            Of any architecture.

        Returns
        -------
        State
            The same values.

        Raises
        ------
        ValueError
            If a tensor is missing, unknown or of another shape; it names the tensor and both shapes.
        """
        own = self.module.state_dict()
        for key in [*own, *(k for k in state if k not in own)]:
            found = tuple(state[key].shape) if key in state else "missing"
            asked = "unknown" if key not in own else found if nn.parameter.is_lazy(own[key]) else tuple(own[key].shape)
            if found != asked:
                raise ValueError(
                    f"Tensor {key!r} is {found} in the state and {asked} in the net given as estimator: the member was "
                    "trained with another architecture. Give the net that it was trained with."
                )
        return {k: v.to(self.device) for k, v in state.items()}

    def chunks(self, X: Inputs) -> Iterator[Any]:
        """Iterate over inputs as tensors, some thousand rows at a time, fewer of images.

        Parameters
        ----------
        X : ndarray or dict of ndarray
            Inputs.

        Yields
        ------
        Tensor or dict of Tensor
            Some rows, on the device of the net.
        """
        first = one_of(X)
        size = 8192 if first.ndim == 2 else 512
        for i in range(0, len(first), size):
            part = {k: v[i : i + size] for k, v in X.items()} if isinstance(X, dict) else X[i : i + size]
            yield tensors(part, self.dtype, self.device)

    def raw(self, state: State, X: Inputs) -> Tensor:
        """Return the module's output for all rows.

        Parameters
        ----------
        state : State
            The weights.
        X : ndarray or dict of ndarray
            Inputs.

        Returns
        -------
        Tensor of shape (n_samples, ...)
            Logits or values.
        """
        state = {k: v.to(self.device) for k, v in state.items()}
        with self.lock, torch.inference_mode():  # functional_call puts the state into the module while it runs
            return torch.cat([call(self.module, state, x) for x in self.chunks(X)])

    def predict(self, state: State, X: Inputs) -> np.ndarray:
        """Return probabilities or values.

        Parameters
        ----------
        state : State
            The weights.
        X : ndarray or dict of ndarray
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            In the dtype of the net, usually float32.
        """
        return self.link(self.raw(state, X)).cpu().numpy()


def predictions(runners: Sequence[Runner], states: Sequence[State], X: Inputs) -> np.ndarray:
    """Return the predictions of many states.

    Parameters
    ----------
    runners : sequence of Runner
        The architecture of each state.
    states : sequence of State
        The weights.
    X : ndarray or dict of ndarray
        Inputs.

    Returns
    -------
    ndarray of shape (n_members, n_samples, n_outputs)
        Probabilities or values.
    """
    return np.stack([runner.predict(state, X) for runner, state in zip(runners, states, strict=True)])


def objective(runner: Runner, fit_rows: Rows, held_out: Rows, score: Score | None = None) -> Objective:
    """Return what data-dependent methods may ask of a net and its data.

    Parameters
    ----------
    runner : Runner
        The architecture.
    fit_rows : Rows
        Rows to estimate statistics on; labels are not needed.
    held_out : Rows
        Rows that no member was trained on.
    score : callable, optional
        ``score(prediction, rows)``; accuracy, or R2 in regression, when omitted.

    Returns
    -------
    Objective
        In torch terms.
    """
    judge = score or default_score(runner.task)
    y = tensors(targets(runner.net, held_out.y, runner.task), runner.dtype, runner.device)
    weight = None if held_out.weight is None else torch.from_numpy(held_out.weight).to(runner.device)
    if weight is not None and hasattr(runner.net.criterion_, "reduction"):
        runner.net.criterion_.reduction = "none"

    def batches() -> Iterator[Batch]:
        start = 0
        target = tensors(targets(runner.net, fit_rows.y, runner.task), runner.dtype, runner.device)
        for x in runner.chunks(fit_rows.X):
            here = slice(start, start + len(one_of(x)))
            w = None if fit_rows.weight is None else torch.from_numpy(fit_rows.weight[here]).to(runner.device)
            yield Batch(x, target[here], w)
            start = here.stop

    def loss(state: State) -> float:
        out = runner.raw(state, held_out.X)
        with torch.no_grad():
            found = runner.net.get_loss(out, y, training=False)
        if weight is None or found.ndim == 0:
            return float(found)
        rows = found.reshape(len(found), -1).mean(1)
        return float((rows * weight).sum() / weight.sum())

    def score_of(state: State) -> float:
        return judge(runner.predict(state, held_out.X), held_out)

    return Objective(runner.module, batches, loss, score_of)


def default_score(task: Task) -> Score:
    """Return accuracy (of whole label sets, in multi-label problems) or R2, as scikit-learn's ``score`` does.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
        What the predictions are.

    Returns
    -------
    callable
        ``score(prediction, rows)``, higher is better.
    """

    def accuracy(p: np.ndarray, rows: Rows) -> float:
        labels = p > 0.5 if task == "multilabel" else p.argmax(axis=1)
        return float(accuracy_score(rows.y, labels, sample_weight=rows.weight))

    def r2(p: np.ndarray, rows: Rows) -> float:
        if not np.isfinite(p).all():
            return -np.inf
        if len(rows) < 2:  # undefined for a single row
            return -float(np.mean((p - rows.y) ** 2))
        return float(r2_score(rows.y, p, sample_weight=rows.weight))

    return r2 if task == "regression" else accuracy


def _link(net: Any, task: Task) -> Callable[[Tensor], Tensor]:
    """Return the map from the module's output to probabilities, as skorch's ``predict_nonlinearity`` asks."""

    def narrow(p: Tensor) -> Tensor:
        return p.reshape(len(p), -1)

    if task == "regression":
        return narrow
    asked = net.predict_nonlinearity
    kind = criterion_type(net)
    logits = issubclass(kind, (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)) if asked == "auto" else False
    one = issubclass(kind, (nn.BCEWithLogitsLoss, nn.BCELoss)) and task == "classification"

    def link(z: Tensor) -> Tensor:
        wide = z.double()
        if one:
            p = (wide.sigmoid() if logits else wide).reshape(len(z), 1)
            p = torch.cat([1 - p, p], 1)
        elif callable(asked):
            p = asked(wide)
        elif logits:
            p = wide.softmax(1) if task == "classification" else wide.sigmoid()
        else:
            p = wide
            if len(p) and bool((p < -1e-6).any() or (p > 1 + 1e-6).any()):
                raise ValueError(
                    f"The module's outputs are no probabilities, and nothing is known of how {kind.__name__} reads "
                    "them: give the net predict_nonlinearity, such as torch.nn.Softmax(dim=-1)."
                )
        return narrow(p).to(z.dtype)

    return link


def restored(net: Any, state: State, classes: Any = None) -> Any:
    """Return a fitted skorch net with the weights of ``state``.

    Parameters
    ----------
    net : skorch net
        Sized to the data; not changed.
    state : State
        The weights.
    classes : array-like, optional
        What the net's outputs stand for.

    Returns
    -------
    skorch net
        Initialised; its module holds copies of the weights.
    """
    runner = Runner(net, "regression")
    runner.module.load_state_dict(runner.place(state))
    if classes is not None:
        runner.net.classes_inferred_ = np.asarray(classes)
    return runner.net
