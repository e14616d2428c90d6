"""Members that are given as a list of (name, estimator): their parameters, and how they are made ready to be fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import ClassifierTags, get_tags

from skfusion import nets
from skfusion._readable import HasParts
from skfusion.collect import Seeds
from skfusion.data import seeded
from skfusion.estimators._base import BaseFusion
from skfusion.estimators._ensemble import EnsembleClassifier
from skfusion.estimators.students._one_network import OneNetwork
from skfusion.estimators.support._task_from_net import has_tags


class NamedMembers(HasParts, BaseEstimator):
    """Reach the parameters of ``estimators`` by their names, as in scikit-learn's stacking and pipelines."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, of members by their names too; see :meth:`sklearn.base.BaseEstimator.get_params`."""
        params = super().get_params(deep=deep)
        members = self._by_name() if deep else {}
        for name, member in ((n, m) for n, m in members.items() if n not in params):  # fit refuses the others
            params[name] = member
            if hasattr(member, "get_params") and not isinstance(member, type):
                params |= {f"{name}__{key}": value for key, value in member.get_params(deep=True).items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, or members by their names; see :meth:`sklearn.base.BaseEstimator.set_params`."""
        if "estimators" in params:
            self.estimators = params.pop("estimators")
        reserved = super().get_params(deep=False)
        replaced = {name: params.pop(name) for name in self._by_name() if name in params and name not in reserved}
        if replaced:
            self.estimators = [(name, replaced.get(name, member)) for name, member in self.estimators]
        return super().set_params(**params)

    def _check_names(self, names: list[str]) -> None:
        """Raise an error where ``set_params`` could not find the members by these names."""
        if len(set(names)) < len(names):
            raise ValueError(f"Names of members must be unique; got {names}.")
        if taken := sorted(set(names) & set(super().get_params(deep=False))):
            raise ValueError(
                f"Names of members must not be those of parameters of {type(self).__name__}: rename {taken}."
            )
        if split := [name for name in names if "__" in name]:
            raise ValueError(
                f"Names of members must not contain '__', which stands before their parameters: rename {split}."
            )

    def _by_name(self) -> dict[str, Any]:
        try:
            return dict(self.estimators or [])
        except (TypeError, ValueError):  # fit raises an error that explains it
            return {}


def check_members(members: Sequence[tuple[str, Any]]) -> None:
    """Raise an error that names what is wrong with a list of members."""
    pairs = isinstance(members, Sequence) and not isinstance(members, str)
    if not pairs or not all(isinstance(m, tuple) and len(m) == 2 and isinstance(m[0], str) for m in members):
        raise TypeError(f"estimators must be a list of (name, estimator) pairs, [('net', net), ...]; got {members!r}.")
    if not members:
        raise ValueError("estimators is empty: give at least one (name, estimator).")
    for name, member in members:
        if not hasattr(member, "fit") or isinstance(member, type):
            raise TypeError(
                f"Member {name!r} must be an estimator; got {member!r}. To drop it, leave it out of the list."
            )
    first = is_classifier(members[0][1])
    for name, member in members:
        if is_classifier(member) != first:
            kind, other = ("a regressor", "a classifier") if first else ("a classifier", "a regressor")
            raise ValueError(f"Member {name!r} is {kind}, but the first one is {other}; stack members of one task.")


def prepared(member: Any, seed: int, kind: Callable[..., Any]) -> Any:
    """Return an unfitted clone of an estimator of any library, whose unset seeds are set; None is the default network.

    A network, also at the end of a pipeline, becomes an ensemble of one, of the class ``kind``, which sizes it.
    """
    if member is None or nets.is_net(member):
        return kind(None if member is None else clone(member), collect=Seeds(1), random_state=seed)
    member = clone(member)
    if isinstance(member, Pipeline) and (nets.is_net(member.steps[-1][1]) or isinstance(member.steps[-1][1], Pipeline)):
        name, last = member.steps[-1]
        member.set_params(**{name: prepared(last, seed, kind)})
    return seeded(member, seed)


def member_tags(members: Sequence[Any]) -> tuple[bool, ClassifierTags]:
    """Return whether all members take sparse inputs, and what kinds of classes all of them take."""
    tags = [get_tags(m if has_tags(m) and not nets.is_net(m) else EnsembleClassifier(m)) for m in members]
    kinds = [t.classifier_tags for t in tags if t.classifier_tags]
    every = {kind: all(getattr(k, kind) for k in kinds) for kind in ("multi_class", "multi_label")}
    return all(t.input_tags.sparse for t in tags), ClassifierTags(**every)


def named_classes(members: Sequence[tuple[str, Any]]) -> np.ndarray | None:
    """Return the classes that networks among the members name, sorted; None where none does."""
    named = [np.asarray(net.classes) for _, net in (_naming(member) for _, member in members) if net is not None]
    return np.unique(np.concatenate(named)) if named else None


def with_codes(member: Any, classes: np.ndarray | None) -> Any:
    """Return a member that says of codes, the positions of sorted classes, what it says of the classes.

    These are the classes that a network names, and weights of classes, also of an estimator in a pipeline.
    """
    if classes is None or member is None:  # the default network, which names none
        return member
    place, net = _naming(member)
    codes = {label: code for code, label in enumerate(classes.tolist())}
    params: dict[str, Any] = {}
    for name, weights in member.get_params().items():
        if name.rpartition("__")[2] == "class_weight" and isinstance(weights, dict):
            if unknown := [label for label in weights if label not in codes]:
                raise ValueError(f"{name} names {unknown[0]!r}, which is no class; there are {list(codes)[:20]}.")
            params[name] = {codes[label]: weight for label, weight in weights.items()}
    if net is not None:
        params[f"{place}classes"] = np.searchsorted(classes, np.asarray(net.classes))
    return clone(member).set_params(**params) if params else member


def _naming(member: Any) -> tuple[str, Any]:
    """Return the network that names classes, of an estimator of this library too, and where its parameters are."""
    place = ""
    while isinstance(member, Pipeline):
        name, member = member.steps[-1]
        place += f"{name}__"
    if isinstance(member, (BaseFusion, OneNetwork)):
        place, member = f"{place}estimator__", member.estimator
    return place, member if nets.is_net(member) and getattr(member, "classes", None) is not None else None
