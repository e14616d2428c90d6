"""Ranges that scores and losses have by definition, which no axis passes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_SHARES = ("accuracy", "f1", "precision", "recall", "roc auc", "jaccard", "agreement", "share")
_CORRELATIONS = ("matthews corrcoef", "kappa", "rand score", "cosine", "correlation", "cka", "yule")
_AT_MOST_ONE = ("r2", "explained variance", "d2")
_AT_MOST_ZERO = ("neg",)
_RANGES = ((_AT_MOST_ZERO, (-np.inf, 0.0)), (_AT_MOST_ONE, (-np.inf, 1.0)), (_CORRELATIONS, (-1.0, 1.0)))


def range_of(name: str) -> tuple[float, float]:
    """Return the least and the largest value that a score of this name can have; infinite where nothing is known.

    Names are those of scikit-learn's scorers, also within words that say more, such as ``held-out accuracy``.
    """
    words = f" {re.sub('[^a-z0-9]+', ' ', name.lower())} "
    for known, limits in (*_RANGES, (_SHARES, (0.0, 1.0))):
        if any(f" {word} " in words for word in known):
            return limits
    return -np.inf, np.inf


def loss_range(values: Any) -> tuple[float, float]:
    """Return the range of a loss: 0 is the least where none is below, as is so for all but likelihoods of densities."""
    known = np.ravel(values)[np.isfinite(np.ravel(values))]
    return (0.0 if (known >= 0).all() else -np.inf), np.inf


def keep_within(ax: Any, axis: str, limits: tuple[float, float], drawn: Sequence[Any] = ()) -> None:
    """Let an axis end where the range of its numbers ends, if all of them lie in it.

    Lines and markers at that end, which are ``drawn``, are shown whole.
    """
    from matplotlib.transforms import Bbox, TransformedBbox

    ends = ax.get_xlim() if axis == "x" else ax.get_ylim()
    kept = tuple(float(np.clip(end, *limits)) for end in ends)
    if kept == ends or kept[0] == kept[1]:
        return
    ax.set(**{f"{axis}lim": kept})
    frame = TransformedBbox(Bbox.from_extents(-0.03, -0.05, 1.03, 1.05), ax.transAxes)
    for artist in drawn:
        artist.set_clip_path(None)
        artist.set_clip_box(frame)


def within(values: Any, limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits as they are where all finite values lie in them, else none: the name has misled."""
    known = np.ravel(values)[np.isfinite(np.ravel(values))]
    slack = 1e-6
    inside = not known.size or (known.min() >= limits[0] - slack and known.max() <= limits[1] + slack)
    return limits if inside else (-np.inf, np.inf)
