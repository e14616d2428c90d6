"""The connector family: paths and subspaces of low loss that join networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from skfusion._component import Component
from skfusion.connect._basis import Basis, ByLength, PathBasis
from skfusion.connect._projection import Projection
from skfusion.connect._view import subspace_html
from skfusion.geometry import inner
from skfusion.objective import Objective
from skfusion.state import State, check_compatible, weighted_sum


@dataclass(eq=False, repr=False)
class Subspace(ABC):
    r"""The states that are sums of a few control states.

    .. math:: \theta(p) = \sum_k c_k(p)\, \theta_k, \qquad \sum_k c_k(p) = 1

    Parameters
    ----------
    controls : sequence of State
        Of one architecture, m of them.
    basis : Basis
        What gives the coefficients, and the domain of the points p.
    history : sequence of float, optional
        Mean training loss of each epoch, where the controls were trained; empty where nothing was.
    """

    controls: Sequence[State]
    basis: Basis
    history: Sequence[float] = ()

    replace = replace  # a copy with some of its parameters changed

    def __post_init__(self) -> None:
        self.controls, self.history = tuple(self.controls), tuple(self.history)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.controls)} states, {self.basis!r})"

    def _repr_html_(self) -> str:
        return subspace_html(self)

    @property
    @abstractmethod
    def networks(self) -> tuple[int, ...]:
        """Positions of the control states that are networks as their own training left them.

        Their BatchNorm statistics are theirs, and are not estimated again.
        """

    def weights(self, point: Any) -> np.ndarray:
        """Return the coefficients of the control states.

        Parameters
        ----------
        point : float or array-like
            In the domain of the basis: of a path, a position from 0 to 1.

        Returns
        -------
        ndarray of shape (n_controls,)
            They sum to one.
        """
        return self.basis.weights(self.basis.within(point), len(self.controls))

    def at(self, point: Any) -> State:
        """Return the state at a point, the sum of the controls by its coefficients; see :meth:`Subspace.weights`.

        It is a control state itself where its coefficient is 1, as at the ends of a path, and new tensors elsewhere.
        Running statistics of BatchNorm are summed too, and are wrong until they are recalibrated on data.
        """
        return combined(self.controls, self.weights(point))

    __call__ = at

    def sample(self, rng: np.random.RandomState) -> State:
        """Return the state at a random point, uniform in the domain; see :meth:`at`."""
        return self.at(self.basis.sample(rng, len(self.controls)))

    def grid(self, n_points: int) -> list[Any]:
        """Return a list of points that are spread evenly over the domain; see :meth:`Subspace.weights`.

        There are ``n_points`` along each side, the corners included.
        """
        return self.basis.grid(n_points, len(self.controls))

    def spread(self, n_points: int, random_state: int = 0) -> list[Any]:
        """Return a list of points for an ensemble; see :meth:`Subspace.weights`.

        They are equally spaced on a path, and random elsewhere, where each simplex has its share of them.
        """
        return self.basis.spread(n_points, np.random.RandomState(random_state), len(self.controls))

    @property
    def midpoint(self) -> State:
        """The state in the middle: at 0.5 of a path, and of simplexes in the middle of the corners that all share."""
        return self.at(self.basis.center(len(self.controls)))

    def project(self, state: State) -> Projection:
        """Return the point that is nearest to a state.

        Parameters
        ----------
        state : State
            Of the same architecture.

        Returns
        -------
        Projection
            The point, its state, and the Euclidean distance, without integer tensors and BatchNorm statistics.
        """
        check_compatible([*self.controls, state])
        products = inner([state, *self.controls])[1:, 1:]
        point = self.basis.nearest(products)
        c = self.weights(point)
        return Projection(point, self.at(point), float(np.sqrt(max(float(c @ products @ c), 0.0))))


@dataclass(eq=False, repr=False)
class Path(Subspace):
    """A subspace of one dimension, whose positions are from 0 to 1; the first and the last control are its ends.

    Parameters
    ----------
    controls : sequence of State
        Of one architecture, m of them.
    basis : PathBasis
        What gives the coefficients.
    history : sequence of float, optional
        Mean training loss of each epoch, where the controls were trained; empty where nothing was.
    own_ends : bool, default=True
        Whether the ends are networks as their own training left them, and so have BatchNorm statistics of their own;
        not where they were trained along with the path. Other control states never have.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import Line
    >>> path = Line()([{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}])
    >>> path.weights(0.25).tolist(), path.at(0.25)["w"].item()
    ([0.75, 0.25], 1.0)
    """

    basis: PathBasis
    own_ends: bool = True

    @property
    def networks(self) -> tuple[int, ...]:
        """The positions of both ends, unless they were trained along with the path; see :meth:`Subspace.networks`."""
        return (0, -1) if self.own_ends else ()

    @property
    def ends(self) -> tuple[State, State]:
        """The first and the last control state."""
        return self.controls[0], self.controls[-1]

    def arc(self, positions: ArrayLike) -> np.ndarray:
        """Return the length of the path between the first of some positions and each of them.

        Parameters
        ----------
        positions : array-like of shape (n_points,)
            From 0 to 1, in order; the path is taken as straight between them.

        Returns
        -------
        ndarray of shape (n_points,)
            In units of the weights, without integer tensors and BatchNorm statistics.
        """
        return np.concatenate([[0.0], np.cumsum(self._steps(positions))])

    def length(self, n_points: int = 61) -> float:
        """Return the Euclidean length of the path, the distance of the ends for a line; see :meth:`Path.arc`.

        It is that of ``n_points - 1`` straight pieces: more give a longer, truer length.
        """
        return float(self._steps(self.grid(n_points)).sum())

    def by_length(self, n_points: int = 1001) -> Path:
        """Return the same path with positions that are shares of its length; see :meth:`Path.arc`.

        Equally spaced positions are then at equal distances along the path, which is taken as straight between
        ``n_points`` positions. The control states and the ends are the same; a path of no length stays as it is.
        """
        t = np.linspace(0, 1, n_points)
        arc = self.arc(t)
        return self.replace(basis=ByLength(self.basis, t, arc / arc[-1])) if arc[-1] > 0 else self

    def _steps(self, positions: ArrayLike) -> np.ndarray:
        """Return the distances between neighbours among some positions, shape (n_points - 1,)."""
        return steps(self.controls, np.array([self.weights(t) for t in np.asarray(positions)]))


class Connector(Component, ABC):
    """Find the path, or the subspace, that joins networks."""

    needs_objective: ClassVar[bool] = True
    n_states: ClassVar[int | None] = 2
    """How many networks it joins; None where it takes any number."""
    from_scratch: ClassVar[bool] = False
    """Whether it trains from the states that it is given, which then need no training of their own."""

    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` where a parameter makes no sense; estimators ask before they train."""

    @abstractmethod
    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Subspace:
        """Return a subspace that the states lie in.

        Parameters
        ----------
        states : sequence of State
            States of one architecture, of which curves take two; aligned, where units can change places.
        objective : Objective, optional
            Labelled data to train on.

        Returns
        -------
        Subspace
            A :class:`Path` between two states, whose ends are the very states that were given, unless ends are trained
            too.
        """


def check_ends(connector: Any, states: Sequence[State]) -> None:
    """Raise ``ValueError`` unless there are two finite states of one architecture.

    Parameters
    ----------
    connector : Connector
        Which is to join them, for the message.
    states : sequence of State
        The states to join.
    """
    name, n = type(connector).__name__, len(states)
    if n < 2:
        raise ValueError(f"{name} joins two networks; got {n}. Collect another one, such as by Seeds(2).")
    if n > 2:
        raise ValueError(
            f"{name} joins two networks; got {n}. CurveClassifier and CurveRegressor join more of them, along the "
            "minimum spanning tree of their barriers."
        )
    check_compatible(states, ["first", "second"])


def check_states(states: Sequence[State]) -> None:
    """Raise ``ValueError``, which names the state, unless there are finite states of one architecture."""
    some = ["first", "second", "third", "fourth", "fifth"]
    check_compatible(states, [*some, *(f"{k}th" for k in range(6, len(states) + 1))][: len(states)])


def combined(controls: Sequence[State], coefficients: ArrayLike) -> State:
    """Return a sum of control states; a control state itself where it is the only one."""
    c = np.asarray(coefficients, np.float64)
    kept: list[int] = np.flatnonzero(c).tolist()
    if len(kept) == 1 and c[kept[0]] == 1:
        return controls[kept[0]]
    return weighted_sum([controls[k] for k in kept], c[kept].tolist())


def steps(controls: Sequence[State], coefficients: np.ndarray) -> np.ndarray:
    """Return the distances between neighbours among points of a subspace, shape (n_points - 1,)."""
    gaps = np.diff(coefficients, axis=0)
    squares = np.einsum("pj,jk,pk->p", gaps, inner(controls), gaps)
    lengths: np.ndarray = np.sqrt(np.maximum(squares, 0.0))
    return lengths
