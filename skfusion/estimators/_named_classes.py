"""Networks that name their classes, among members whose targets are codes of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from skfusion import nets


def named_classes(members: Sequence[tuple[str, Any]]) -> np.ndarray | None:
    """Return the classes that networks among the members name, sorted; None where none does."""
    found = [np.asarray(member.classes) for _, member in members if _names(member)]
    return np.unique(np.concatenate(found)) if found else None


def with_codes(member: Any, classes: np.ndarray | None) -> Any:
    """Return a member that names, if it is a network that names classes, their positions among the sorted ones."""
    if classes is None or not _names(member):
        return member
    return clone(member).set_params(classes=np.searchsorted(classes, np.asarray(member.classes)))


def _names(member: Any) -> bool:
    return nets.is_net(member) and getattr(member, "classes", None) is not None
