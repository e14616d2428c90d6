"""The connector family: a low-loss path between two networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import State, is_statistic, numbers_of, weighted_sum


class Subspace:
    r"""The states that are sums of a few control states.

    .. math:: \theta(t) = \sum_k c_k(t)\, \theta_k, \qquad \sum_k c_k(t) = 1

    Parameters
    ----------
    controls : sequence of State
        Of one architecture, m of them. Of a path, the first and the last are its ends.
    basis : Basis
        What gives the coefficients.
    history : sequence of float, optional
        Mean training loss of each epoch, where the controls were trained; empty where nothing was.
    own_ends : bool, default=True
        Whether the ends are networks as their own training left them, and so have BatchNorm statistics of their own;
        not where they were trained along with the path. Other control states never have.

    Attributes
    ----------
    controls : tuple of State
        The control states.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Line
    >>> path = Line()([{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}])
    >>> path.weights(0.25).tolist(), path.at(0.25)["w"].item()
    ([0.75, 0.25], 1.0)
    """

    def __init__(self, controls: Sequence[State], basis: Basis, history: Sequence[float] = (), own_ends: bool = True):
        self.controls = tuple(controls)
        self.basis = basis
        self.history = tuple(history)
        self.own_ends = own_ends

    def __repr__(self) -> str:
        return f"Subspace({len(self.controls)} states, {self.basis!r})"

    def weights(self, t: float) -> np.ndarray:
        """Return the coefficients of the control states.

        Parameters
        ----------
        t : float
            Position, from 0 to 1.

        Returns
        -------
        ndarray of shape (n_controls,)
            They sum to one.
        """
        return self.basis.weights(_within(t), len(self.controls))

    def at(self, t: float) -> State:
        """Return the state at a position.

        Parameters
        ----------
        t : float
            From 0 to 1.

        Returns
        -------
        State
            A control state itself where its coefficient is 1, as at both ends, and new tensors elsewhere. Running
            statistics of BatchNorm are summed too, and are wrong until they are recalibrated on data.
        """
        return combined(self.controls, self.weights(t))

    __call__ = at

    def sample(self, rng: np.random.RandomState) -> State:
        """Return the state at a random position.

        Parameters
        ----------
        rng : RandomState
            Drawn from once.

        Returns
        -------
        State
            At t uniform in [0, 1].
        """
        return self.at(float(rng.uniform()))

    def length(self, n_points: int = 61) -> float:
        """Return the Euclidean length of the path, without integer tensors and BatchNorm statistics.

        Parameters
        ----------
        n_points : int, default=61
            Positions between which it is taken as straight. More give a longer, truer length.

        Returns
        -------
        float
            In units of the weights; the distance of the ends for a line.
        """
        return float(self._lengths(np.linspace(0, 1, n_points)).sum())

    def by_length(self, n_points: int = 1001) -> Subspace:
        """Return the same path with positions that are shares of its length.

        Parameters
        ----------
        n_points : int, default=1001
            Positions between which it is taken as straight. More space points more evenly.

        Returns
        -------
        Subspace
            Equally spaced positions are points at equal distances along the path. Its control states and its ends are
            those of this one; a path of no length stays as it is.
        """
        t = np.linspace(0, 1, n_points)
        arc = np.concatenate([[0.0], np.cumsum(self._lengths(t))])
        if not arc[-1] > 0:
            return self
        return Subspace(self.controls, ByLength(self.basis, t, arc / arc[-1]), self.history, self.own_ends)

    def _lengths(self, t: np.ndarray) -> np.ndarray:
        """Return the distances between neighbours among some positions."""
        return steps(self.controls, np.array([self.weights(at) for at in t]))


class Basis(ABC):
    """What gives the coefficients of control states."""

    @abstractmethod
    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients of the control states.

        Parameters
        ----------
        t : float
            Position, from 0 to 1.
        n_controls : int
            Control states.

        Returns
        -------
        ndarray of shape (n_controls,)
            In float64; they sum to one.
        """


class ByLength(Basis):
    """Another basis, whose positions are found by the share of the length that lies before them.

    Parameters
    ----------
    basis : Basis
        Gives the coefficients.
    t, share : ndarray of shape (n_points,)
        Positions of it, and the share of the length before each; both from 0 to 1.
    """

    def __init__(self, basis: Basis, t: np.ndarray, share: np.ndarray):
        self.basis, self.t, self.share = basis, t, share

    def __repr__(self) -> str:
        return f"ByLength({self.basis!r})"

    def weights(self, t: float, n_controls: int) -> np.ndarray:
        """Return the coefficients; see :meth:`Basis.weights`."""
        return self.basis.weights(float(np.interp(t, self.share, self.t)), n_controls)


class Connector(Component, ABC):
    """Find the path, or the subspace, that joins networks."""

    needs_objective: ClassVar[bool] = True

    def check(self) -> None:
        """Raise an error where a parameter makes no sense; estimators ask before they train members.

        Raises
        ------
        ValueError or TypeError
            It names the parameter.
        """

    @abstractmethod
    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Subspace:
        """Return a subspace that the states lie in.

        Parameters
        ----------
        states : sequence of State
            Two states of one architecture, aligned or not.
        objective : Objective, optional
            Labelled data to train on.

        Returns
        -------
        Subspace
            Its ends are the very states that were given, unless ends are trained too.
        """


def combined(controls: Sequence[State], coefficients: ArrayLike) -> State:
    """Return a sum of control states; a control state itself where it is the only one."""
    c = np.asarray(coefficients, np.float64)
    kept: list[int] = np.flatnonzero(c).tolist()
    if len(kept) == 1 and c[kept[0]] == 1:
        return controls[kept[0]]
    return weighted_sum([controls[k] for k in kept], c[kept].tolist())


def inner(controls: Sequence[State]) -> np.ndarray:
    """Return the inner products of what states differ by from the first one, of shape (n_controls, n_controls).

    Integer tensors and BatchNorm statistics do not count; tensors that are tied in all states count once.
    """
    products = torch.zeros(len(controls), len(controls), dtype=torch.float64)
    for rows in differences(controls):
        products += rows @ rows.T
    found: np.ndarray = products.numpy()
    return found


def differences(states: Sequence[State]) -> Iterator[Tensor]:
    """Yield, tensor by tensor, what states differ by from the first, shape (n_states, n_numbers), in float64.

    Tensors are matched by name. Integer tensors and BatchNorm statistics do not count; tensors that are tied in all
    states count once.
    """
    for name, rows in numbers_of(states):
        if not is_statistic(name):
            yield rows - rows[0]


def steps(controls: Sequence[State], coefficients: np.ndarray) -> np.ndarray:
    """Return the distances between neighbours among points of a subspace, shape (n_points - 1,)."""
    gaps = np.diff(coefficients, axis=0)
    squares = np.einsum("pj,jk,pk->p", gaps, inner(controls), gaps)
    found: np.ndarray = np.sqrt(np.maximum(squares, 0.0))
    return found


def _within(t: float) -> float:
    if not 0 <= t <= 1:
        raise ValueError(f"A position on a path is from 0 to 1; got {t}.")
    return float(t)
