"""Ensembles of members of any kind: networks, and fitted estimators of any library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.validation import check_is_fitted

from skfusion import nets
from skfusion._caller import warn_caller
from skfusion._rows import Rows, Task, unlabelled
from skfusion.combine import Combiner, Stack
from skfusion.data import check_both_inputs, class_columns, for_networks, rows_for_networks
from skfusion.estimators.support._uncertainty import ManyStates
from skfusion.nets import AnyMembers
from skfusion.pool import Member, ModelPool
from skfusion.state import State

FEW = 20
"""Rows on which members are tried whose predictions nothing is learned from."""


def all_networks(members: Iterable[Member]) -> bool:
    """Return whether no member is an estimator of another kind."""
    return all(m.is_network for m in members)


def predicts_values(pool: ModelPool) -> bool:
    """Return whether members predict values and no classes, as far as the pool or its first member says."""
    if pool.classes is not None:
        return False
    first = pool[0].net if pool[0].is_network else pool[0].estimator
    return is_regressor(first) if hasattr(first, "__sklearn_tags__") else not hasattr(first, "predict_proba")


class ManyMembers(ManyStates):
    """Predict with each of ``members_``, networks or estimators, and combine what they predict by ``combine_``.

    Where the pool has estimators, inputs travel as they came beside the arrays that networks take.
    """

    def _validated(self, X: Any, y: Any, pool: ModelPool | None) -> tuple[Any, Any, Any]:
        if pool is None or all_networks(pool):
            validated: tuple[Any, Any, Any] = super()._validated(X, y, pool)
            return validated
        networks = any(m.is_network for m in pool)
        return check_both_inputs(self, X, y, reset=True, networks=networks, numeric=not is_classifier(self))

    def _inputs(self, X: Any) -> Any:
        check_is_fitted(self)
        if self._all_networks:
            return super()._inputs(X)
        networks = any(m.is_network for m in self.pool_)
        return check_both_inputs(self, X, reset=False, networks=networks, numeric=not is_classifier(self))[0]

    def _net(self, rows: Rows, pool: ModelPool | None = None) -> Any:
        if pool is None or all_networks(pool):
            return super()._net(rows, pool)
        networks = [m for m in pool if m.is_network]
        return super()._net(rows_for_networks(rows), pool.replace(networks)) if networks else None

    @property
    def _all_networks(self) -> bool:
        return all_networks(getattr(self, "pool_", ()))

    def _ready(self, members: Sequence[Member], rows: Rows) -> AnyMembers:
        """Return members that predict for the classes in the order of the pool, or in the units of y."""
        labels = self._labels()
        n_outputs = rows.y.shape[1] if labels is None else len(labels)
        networks = any(m.is_network for m in members)
        return AnyMembers(members, self._task, n_outputs, labels, rows_for_networks(rows) if networks else None)

    def _networks(self) -> Sequence[tuple[Any, State]]:
        for member in self.members_:
            if not member.is_network:
                raise ValueError(
                    f"Member {member.name!r} is no network but {type(member.estimator).__name__}, which is no part of "
                    "a module. Fuse the networks of the pool alone: pool.replace([m for m in pool if m.is_network])."
                )
        return super()._networks()

    def _made_again(self, X: Any) -> Any:
        if self._all_networks:
            return super()._made_again(X)
        rows = unlabelled(for_networks(X) if any(m.is_network for m in self.members_) else np.empty((0, 1)))
        return self._ready(self.members_, Rows(rows.X, np.zeros((len(rows), self._n_outputs))))

    def _member_predictions(self, X: Any, logs: bool = False) -> np.ndarray:
        if self._all_networks:
            return super()._member_predictions(X, logs)
        if getattr(self, "_runner", None) is None:  # as after unpickling
            self._runner = self._made_again(X)
        return self._outputs.predictions(self._runner.predict(X))

    def _predict_logs(self, X: Any) -> np.ndarray | None:
        return super()._predict_logs(X) if self._all_networks else None

    @property
    def estimators_(self) -> list[Any]:
        """Fitted copies of the net, one for each network that predicts, and the other estimators themselves."""
        check_is_fitted(self)
        return [m.estimator if not m.is_network else self._restored(m) for m in self.members_]

    def _restored(self, member: Member) -> Any:
        scaling = self._outputs.scaling if self._all_networks else nets.scaling_of(member)
        return nets.restored(member.net, member.state, self._labels(), scaling)


def check_gives_probabilities(combine: Combiner, members: Iterable[tuple[str, Any]], task: Task) -> None:
    """Raise where a combiner needs probabilities, and an estimator among the members has none."""
    if isinstance(combine, Stack) or task == "regression":
        return
    for name, member in members:
        if not hasattr(member, "predict_proba"):
            raise ValueError(
                f"Member {name!r} has no predict_proba, and {type(combine).__name__} combines probabilities; wrap "
                "it in CalibratedClassifierCV, or use combine=Stack(), which also takes scores."
            )


def check_fitted_members(combine: Combiner, members: Iterable[tuple[str, Any]], task: Task, labels: Any) -> None:
    """Raise where fitted estimators cannot be combined, or know classes that are none of the labels."""
    listed = list(members)
    check_gives_probabilities(combine, listed, task)
    for name, fitted in listed if task == "classification" else ():
        class_columns(fitted, labels, f"Member {name!r}")


def tried(ready: AnyMembers, X: Any) -> tuple[list[int], np.ndarray, dict[str, str]]:
    """Return which members predict, what they do, and why others are left out, by name; a warning names these."""
    kept, predictions, errors = [], [], {}
    for k, predicted in ready.each(X):
        if isinstance(predicted, Exception):
            errors[ready.members[k].name] = predicted
        else:
            kept.append(k)
            predictions.append(predicted)
    if not kept:
        raise next(iter(errors.values()))
    left_out = {name: str(error) for name, error in errors.items()}
    if left_out:
        warn_caller(f"Members failed and are left out. {'; '.join(left_out.values())}")
    return kept, np.stack(predictions), left_out
