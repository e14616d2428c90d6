"""Networks that name their classes, among members whose targets are codes of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skfusion import nets
from skfusion.estimators._base import BaseFusion
from skfusion.estimators.students._one_network import OneNetwork


def named_classes(members: Sequence[tuple[str, Any]]) -> np.ndarray | None:
    """Return the classes that networks among the members name, sorted; None where none does."""
    found = [np.asarray(net.classes) for _, net in (_naming(member) for _, member in members) if net is not None]
    return np.unique(np.concatenate(found)) if found else None


def with_codes(member: Any, classes: np.ndarray | None) -> Any:
    """Return a member whose network, if it names classes, names their positions among the sorted ones."""
    place, net = _naming(member)
    if classes is None or net is None:
        return member
    return clone(member).set_params(**{f"{place}classes": np.searchsorted(classes, np.asarray(net.classes))})


def _naming(member: Any) -> tuple[str, Any]:
    """Return the network that names classes, and where its parameters are.

    It is the member, or at the end of a pipeline, or what an estimator of this library fuses.
    """
    place = ""
    while isinstance(member, Pipeline):
        name, member = member.steps[-1]
        place += f"{name}__"
    if isinstance(member, (BaseFusion, OneNetwork)):
        place, member = f"{place}estimator__", member.estimator
    return place, member if nets.is_net(member) and getattr(member, "classes", None) is not None else None
