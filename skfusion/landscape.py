r"""The loss along a path between two states, and its barrier.

For a path :math:`\phi` with :math:`\phi(0) = \theta_a` and :math:`\phi(1) = \theta_b`, the barrier is

.. math:: B = \sup_t \; L(\phi(t)) - \left[(1 - t)\,L(\theta_a) + t\,L(\theta_b)\right]

It is zero for equal ends, never negative, and does not depend on which end comes first.

References
----------
Frankle et al., "Linear mode connectivity and the lottery ticket hypothesis", ICML 2020, arXiv:1912.05671.
Entezari et al., "The role of permutation invariance in linear mode connectivity of neural networks", ICLR 2022,
arXiv:2110.06296.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skfusion.objective import Objective
from skfusion.repair import Recalibrate, Repairer
from skfusion.state import State, weighted_sum


@dataclass(frozen=True, eq=False)
class Profile:
    """Held-out loss and score along a path.

    Parameters
    ----------
    t : ndarray of shape (n_points,)
        Positions, from 0 to 1.
    loss : ndarray of shape (n_points,)
        Mean held-out loss at each position.
    score : ndarray of shape (n_points,)
        Held-out score at each position, higher is better.
    """

    t: np.ndarray
    loss: np.ndarray
    score: np.ndarray

    @property
    def barrier(self) -> float:
        """The loss barrier, in units of the loss."""
        return barrier(self.t, self.loss)

    @property
    def score_barrier(self) -> float:
        """The barrier of the negative score (of the error, where the score is accuracy)."""
        return barrier(self.t, -self.score)


def barrier(t: np.ndarray, loss: np.ndarray) -> float:
    """Return the largest excess of the loss over the straight line between its ends.

    Parameters
    ----------
    t : ndarray of shape (n_points,)
        Positions; the first is 0 and the last is 1.
    loss : ndarray of shape (n_points,)
        Loss at each position.

    Returns
    -------
    float
        The barrier, at least 0; NaN where a loss is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from skfusion.landscape import barrier
    >>> barrier(np.array([0.0, 0.5, 1.0]), np.array([1.0, 3.0, 2.0]))
    1.5
    """
    t, loss = np.asarray(t, np.float64), np.asarray(loss, np.float64)
    if t.ndim != 1 or t.shape != loss.shape or len(t) < 2 or t[0] != 0 or t[-1] != 1:
        raise ValueError(
            f"t and loss must be of one length, with t from 0 to 1; got shapes {t.shape} and {loss.shape}, t = {t}."
        )
    excess = loss - ((1 - t) * loss[0] + t * loss[-1])
    excess[[0, -1]] = 0.0
    return float(excess.max())


def segment(a: State, b: State) -> Callable[[float], State]:
    """Return the straight path ``t -> (1 - t) a + t b``; its ends are ``a`` and ``b`` themselves."""

    def path(t: float) -> State:
        return a if t == 0 else b if t == 1 else weighted_sum([a, b], [1 - t, t])

    return path


def loss_along(
    path: Callable[[float], State], objective: Objective, n_points: int = 25, repair: Repairer | None = None
) -> Profile:
    """Evaluate a path at equally spaced positions.

    Parameters
    ----------
    path : callable
        ``path(t)`` is a state, for t in [0, 1]; see :func:`segment`.
    objective : Objective
        Architecture and data.
    n_points : int, default=25
        Positions, both ends included. More find narrower barriers.
    repair : Repairer, optional
        Applied to every inner point; BatchNorm statistics are recalibrated when omitted.

    Returns
    -------
    Profile
        Loss and score at each position.
    """
    if n_points < 2:
        raise ValueError(f"A path needs at least its 2 ends; got n_points={n_points}.")
    repair = Recalibrate(max_passes=1) if repair is None else repair
    t = np.linspace(0.0, 1.0, n_points)
    ends = [path(0.0), path(1.0)]
    states = (ends[0] if s == 0 else ends[1] if s == 1 else repair(path(float(s)), ends, objective) for s in t)
    rows = np.array(objective.evaluate(states))
    return Profile(t, rows[:, 0], rows[:, 1])
