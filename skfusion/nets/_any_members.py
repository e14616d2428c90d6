"""Members of any kind, ready to predict: networks, each in its net, and fitted estimators of any library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from skfusion._rows import Rows, Task, n_rows_of, unlabelled
from skfusion.data import for_estimator, for_networks, outputs_of
from skfusion.nets._prepare import sized
from skfusion.nets._restored import with_columns_of
from skfusion.nets._runner import Runner
from skfusion.nets.vectorized._batched_predictor import BatchedPredictor, Predictors
from skfusion.pool import Member
from skfusion.state import State, check_has_numbers


def predict_members(
    members: Iterable[Member], X: Any, task: Task, n_outputs: int, classes: Any = None, net: Any = None
) -> np.ndarray:
    """Return what members of any kind predict, shape (n_members, n_samples, n_outputs), as users read it.

    Parameters
    ----------
    members : iterable of Member
        Networks, and estimators.
    X : array-like, frame, sparse array or dict of array-like
        Inputs as users have them: estimators get them so, and networks as arrays of numbers.
    task : {"classification", "multilabel", "regression"}
        What the outputs are.
    n_outputs : int
        Classes, labels or values a row.
    classes : array-like of shape (n_outputs,), optional
        The classes of the pool, which are those of the columns. Without them, the ``classes_`` of estimators are codes.
    net : skorch net, optional
        What networks run in that carry none.

    Returns
    -------
    ndarray of shape (n_members, n_samples, n_outputs)
        Probabilities, scores of estimators without them, or values in the units of the targets.
    """
    members = list(members)
    if any(m.is_network for m in members):
        rows = unlabelled(for_networks(X))
        members = [m if m.estimator is not None else m.replace(net=_fitting(m, net, rows, n_outputs)) for m in members]
    return AnyMembers(members, task, n_outputs, classes).predict(X)


def _fitting(member: Member, net: Any, rows: Rows, n_outputs: int) -> Any:
    used = member.net or net
    if used is None:
        raise ValueError(f"Member {member.name!r} has no net to run in: give net=, the one that it was trained with.")
    return with_columns_of(sized(used, rows, n_outputs), member.state)


def runners_of(members: Iterable[Member], task: Task, rows: Rows, net: Any = None) -> list[Runner]:
    """Return the runner of each network, one for each net; members that carry none run in ``net``."""
    by_net: dict[int, Runner] = {}
    runners = []
    for member in members:
        used = member.net or net
        if id(used) not in by_net:
            by_net[id(used)] = Runner(used, task, rows)
        check_has_numbers(member.state, repr(member.name))
        by_net[id(used)].place(member.state)  # raises where they do not fit
        runners.append(by_net[id(used)])
    return runners


def on_devices(members: Iterable[Member], runners: Sequence[Runner]) -> list[State]:
    """Return the states of networks, each where its runner computes."""
    return [runner.on_device(member.state) for runner, member in zip(runners, members, strict=True)]


class AnyMembers:
    """Networks and estimators, ready to predict, together or one by one; see :func:`predict_members`.

    Networks carry the net that they run in, sized to the data; where it has lazy layers, ``example`` has some rows.
    """

    def __init__(
        self, members: Sequence[Member], task: Task, n_outputs: int, classes: Any = None, example: Rows | None = None
    ):
        self.members, self.task, self.n_outputs = tuple(members), task, n_outputs
        self.classes = None if classes is None or task != "classification" else np.asarray(classes)
        places = [k for k, m in enumerate(self.members) if m.is_network]
        networks = [self.members[k] for k in places]
        nothing = Rows(np.zeros((0, 1), np.float32), np.zeros(0))
        self._runners = runners_of(networks, task, nothing if example is None else example)
        self._states = on_devices(networks, self._runners)
        self._together = Predictors(self._runners, self._states) if networks else None
        self._place = {k: i for i, k in enumerate(places)}
        self._alone: dict[int, BatchedPredictor] = {}

    def predict(self, X: Any, which: Sequence[int] | None = None) -> np.ndarray:
        """Return predictions of all members or those at some positions, shape (n_members, n_samples, n_outputs).

        A member that fails, or predicts NaN, is an error that names it.
        """
        predictions = []
        for _, predicted in self.each(X, which):
            if isinstance(predicted, Exception):
                raise predicted
            predictions.append(predicted)
        return np.stack(predictions)

    def each(self, X: Any, which: Sequence[int] | None = None) -> Iterator[tuple[int, np.ndarray | Exception]]:
        """Iterate over positions of members, with what each predicts or why it does not.

        Yields
        ------
        position : int
            Of the member.
        predicted : ndarray of shape (n_samples, n_outputs) or Exception
            What it predicts, or the error.
        """
        asked = range(len(self.members)) if which is None else which
        inputs = for_networks(X) if any(k in self._place for k in asked) else None
        networks = None if which is not None or self._together is None else self._together.predict(inputs)
        for k in asked:
            if k not in self._place:
                yield k, self._of_estimator(self.members[k], X)
                continue
            i = self._place[k]
            values = self._one(i).predict(inputs)[0] if networks is None else networks[i]
            yield k, in_units(self.members[k], values)

    def _one(self, i: int) -> BatchedPredictor:
        if i not in self._alone:
            self._alone[i] = BatchedPredictor(self._runners[i], [self._states[i]])
        return self._alone[i]

    def _of_estimator(self, member: Member, X: Any) -> np.ndarray | Exception:
        who, fitted = f"Member {member.name!r}", member.estimator
        try:
            values = outputs_of(fitted, for_estimator(fitted, X), self.task, self.n_outputs, member.name, self.classes)
        except Exception as error:  # whatever libraries raise
            if isinstance(error, ValueError) and str(error).startswith(who):
                return error
            failure = ValueError(f"{who} fails to predict, by {type(error).__name__}: {error}")
            failure.__cause__ = error
            return failure
        n_rows = n_rows_of(X)
        if len(values) != n_rows:
            return ValueError(f"{who} predicts {len(values)} rows for {n_rows}. Leave it out.")
        if values.ndim != 2 or values.shape[1] != self.n_outputs:  # as of labels, of which a row has several
            n = values.size // max(1, n_rows)
            return ValueError(f"{who} predicts {n} outputs, and there are {self.n_outputs}. Leave it out.")
        if bad := int((~np.isfinite(values)).any(axis=1).sum()):
            return ValueError(f"{who} predicts NaN or infinity for {bad} of {n_rows} rows. Leave it out.")
        return values


def in_units(member: Member, values: np.ndarray) -> np.ndarray:
    """Return values in the units of the targets, which the network may have learned standardised."""
    scaling = scaling_of(member)
    return values if scaling is None else values.astype(np.float64) * scaling[1] + scaling[0]


def scaling_of(member: Member) -> tuple[Any, Any] | None:
    """Return shift and scale of the targets that a network has learned standardised; None for others."""
    scale = member.meta.get("target_scale")
    return None if scale is None else (np.asarray(scale["shift"], float), np.asarray(scale["scale"], float))
