"""Sums of averages along a run whose weights over time are nearest to those of another average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skfusion._power_profile import shares_between

Profile = tuple[float, float]
"""The relative length of an average, and the time at which it was taken."""
_MOST_EDGES = 4096
"""Parts that the time is cut into where there are more steps."""


def nearest(profiles: Sequence[Profile], targets: Sequence[Profile]) -> tuple[np.ndarray, list[float]]:
    """Return the sums of profiles nearest to targets, shape (n_targets, n_profiles), and their relative errors."""
    edges = edges_of([time for _, time in (*profiles, *targets)])
    root = np.sqrt(np.diff(edges))
    made = np.stack([shares_between(edges, *profile) / root for profile in profiles], axis=1)
    wanted = np.stack([shares_between(edges, *target) / root for target in targets], axis=1)
    # The last coefficient is what the others lack to one. The design matrix is solved for, and not its square of inner
    # products, whose condition number would be the square, too.
    last = made[:, -1:]
    free = np.linalg.lstsq(made[:, :-1] - last, wanted - last, rcond=1e-10)[0]
    x = np.concatenate([free, 1 - free.sum(axis=0, keepdims=True)])
    errors = np.linalg.norm(made @ x - wanted, axis=0) / np.linalg.norm(wanted, axis=0)
    return x.T, errors.tolist()


def edges_of(times: Sequence[float]) -> np.ndarray:
    """Return where the time from 0 to the last one is cut: at each step, or, of many, at 4096 places and the times."""
    last = max(times)
    if last <= _MOST_EDGES and all(float(time).is_integer() for time in times):
        return np.arange(last + 1)
    return np.unique(np.concatenate([np.linspace(0, last, _MOST_EDGES + 1), times]))
