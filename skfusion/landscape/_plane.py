"""Planes in the space of weights, and the loss on them (Garipov et al., 2018; Li et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from skfusion.connect import combined
from skfusion.geometry import differences, inner
from skfusion.landscape._evaluate import evaluate
from skfusion.objective import Objective
from skfusion.repair import Repairer
from skfusion.state import State, check_compatible, copy, is_statistic, owners

_CORNER = 1e-9
"""How far, as a share of a side, a point may be off a control state to count as that state itself."""


class Plane:
    r"""A plane in the space of weights; make it by :meth:`through` or :meth:`around`.

    One through three states has the orthonormal axes of Gram and Schmidt,

    .. math:: u = \frac{\theta_b - \theta_a}{\lVert \theta_b - \theta_a \rVert}, \qquad
        v \propto (\theta_c - \theta_a) - \langle \theta_c - \theta_a, u \rangle\, u, \qquad
        \theta(x, y) = \theta_a + x u + y v

    so that distances on it are those of the weights. One around a single state has two random directions, whose filters
    are as long as those of the state.

    Parameters
    ----------
    controls : sequence of three State
        The origin, and two states that span the plane with it.
    axes : array-like of shape (2, 2)
        Column j holds what the unit step along axis j takes of the differences of the two from the origin.
    networks : sequence of int, default=(0,)
        Which of the three are networks as their own training left them, with BatchNorm statistics of their own.

    References
    ----------
    Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026
    (planes through three networks). Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018,
    arXiv:1712.09913 (filter-normalised directions).
    """

    def __init__(self, controls: Sequence[State], axes: ArrayLike, networks: Sequence[int] = (0,)):
        self.controls = tuple(controls)
        self.axes = np.asarray(axes, np.float64)
        self.networks = tuple(networks)

    @classmethod
    def through(cls, a: State, b: State, c: State, networks: Sequence[int] = (0, 1, 2)) -> Plane:
        """Return the plane through three states, with orthonormal axes in units of the weights.

        Parameters
        ----------
        a, b, c : State
            Of one architecture, and not on one line. The first is the origin; the second lies on the x-axis.
        networks : sequence of int, default=(0, 1, 2)
            Which of the three are networks as their own training left them; the bend of a curve is none.

        Returns
        -------
        Plane
            Integer tensors and BatchNorm statistics do not count in its lengths.
        """
        controls = [a, b, c]
        check_compatible(controls, ["first", "second", "third"])
        products = inner(controls)[1:, 1:]
        width = np.sqrt(products[0, 0])
        shift = products[0, 1] / width if width else 0.0
        # of the part of c that is orthogonal to b; from products alone, it would lose half of its digits
        rest = (rows[2] - shift / width * rows[1] for rows in differences(controls)) if width else []
        height = np.sqrt(sum(float(part.square().sum()) for part in rest))
        if width <= 0 or height <= 1e-6 * np.sqrt(products[1, 1]):
            raise ValueError(
                "The three states lie on one line (or two of them are equal), so they span no plane: give another "
                "third state, such as the bend of a trained curve."
            )
        return cls(controls, [[1 / width, -shift / (width * height)], [0.0, 1 / height]], networks)

    @classmethod
    def around(cls, state: State, random_state: int = 0, module: nn.Module | None = None) -> Plane:
        """Return a plane around a state along two random directions, filter by filter as long as the state.

        Parameters
        ----------
        state : State
            The origin.
        random_state : int, default=0
            Seed of the directions.
        module : nn.Module, optional
            The architecture, of which only parameters are moved; all that looks like one when omitted.

        Returns
        -------
        Plane
            A step of length 1 changes each filter (the weights of one unit) by as much as it is long. Biases and the
            parameters of normalisation layers, which are vectors, stay as they are, and so do buffers, where the module
            is given. Tied tensors stay tied.
        """
        owner = owners([state]) if module is None else _parameters(module, state)
        generator = torch.Generator().manual_seed(random_state)
        return cls([state, *(_moved(state, owner, generator) for _ in range(2))], np.eye(2))

    def weights(self, x: float, y: float) -> np.ndarray:
        """Return the coefficients of the three control states at a point; see :meth:`Subspace.weights`.

        At the coordinates of a control state, and within rounding of them, its own is exactly one.
        """
        b, c = self.axes @ [x, y]
        coefficients = np.array([1.0 - b - c, b, c])
        corner = np.eye(3)[np.argmax(coefficients)]
        return corner if np.abs(coefficients - corner).max() < _CORNER else coefficients

    def at(self, x: float, y: float) -> State:
        """Return the state at a point; see :meth:`Subspace.at`."""
        return combined(self.controls, self.weights(x, y))

    def coordinates(self, states: Sequence[State]) -> np.ndarray:
        """Return where states are, seen from the plane.

        Parameters
        ----------
        states : sequence of State
            K states of the architecture.

        Returns
        -------
        ndarray of shape (K, 3)
            The nearest point of the plane, and the Euclidean distance from it.
        """
        every = [*self.controls, *states]
        check_compatible(every)
        places = torch.zeros(2, len(states), dtype=torch.float64)
        for _ in range(2):  # the second time takes back what was rounded the first time
            products, sight, _ = self._sight(every, places)
            places += torch.linalg.solve(products, sight)
        off = self._sight(every, places)[2]
        return np.column_stack([places.T.numpy(), off.sqrt().numpy()])

    def _sight(self, every: Sequence[State], places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return products of the axes with each other, and with what states are off places; and the squares of that."""
        axes = torch.from_numpy(self.axes)
        products, sight = torch.zeros(2, 2, dtype=torch.float64), torch.zeros_like(places)
        off = torch.zeros(places.shape[1], dtype=torch.float64)
        for rows in differences(every):
            steps = axes.T @ rows[1:3]
            rest = rows[3:] - places.T @ steps
            products += steps @ steps.T
            sight += steps @ rest.T
            off += rest.square().sum(dim=1)
        return products, sight, off


@dataclass(frozen=True, eq=False)
class Surface:
    """Held-out loss and score on a grid over a plane.

    Parameters
    ----------
    x : ndarray of shape (n_columns,)
        Positions along the first axis.
    y : ndarray of shape (n_rows,)
        Positions along the second axis.
    loss : ndarray of shape (n_rows, n_columns)
        Mean held-out loss at each point; NaN or infinite where the network overflows.
    score : ndarray of shape (n_rows, n_columns)
        Held-out score at each point, higher is better; it means nothing where the network overflows.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    score: np.ndarray


def loss_on(
    plane: Plane,
    objective: Objective,
    n_points: int = 21,
    margin: float = 0.3,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    repair: Repairer | None = None,
) -> Surface:
    """Evaluate a plane on a grid.

    Parameters
    ----------
    plane : Plane
        Where.
    objective : Objective
        Architecture and data.
    n_points : int, default=21
        Positions along each axis, where they are not given.
    margin : float, default=0.3
        How far the grid goes beyond the three states of the plane, as a share of their extent.
    x, y : array-like, optional
        Positions along the axes.
    repair : Repairer, optional
        Applied to every point but the networks of the plane; BatchNorm statistics are recalibrated when omitted.

    Returns
    -------
    Surface
        Loss and score at each point. A plane goes far from its networks, so losses that are not finite are no error.

    Notes
    -----
    Costs the square of ``n_points`` evaluations; see :func:`loss_along` for what is shared.
    """
    places = plane.coordinates(plane.controls)[:, :2]
    low, high = places.min(axis=0), places.max(axis=0)
    pad = margin * (high - low)
    grids = [np.linspace(low[i] - pad[i], high[i] + pad[i], n_points) for i in range(2)]
    xs, ys = (grids[i] if given is None else np.asarray(given, np.float64) for i, given in enumerate((x, y)))
    coefficients = np.array([plane.weights(p, q) for q in ys for p in xs])
    judged = evaluate(plane.controls, coefficients, objective, repair, plane.networks).reshape(len(ys), len(xs), 2)
    return Surface(xs, ys, judged[..., 0], judged[..., 1])


def _parameters(module: nn.Module, state: State) -> dict[str, str]:
    """Map the name of each parameter to the first name of its tensor."""
    first: dict[int, str] = {}
    owner = {name: first.setdefault(id(p), name) for name, p in module.named_parameters(remove_duplicate=False)}
    if missing := [name for name in owner if name not in state]:
        raise ValueError(f"The state lacks the parameter {missing[0]!r} of the {type(module).__name__}.")
    return owner


def _moved(state: State, owner: dict[str, str], generator: torch.Generator) -> State:
    """Return a state that is one step along a random direction, each filter as long as that of the state, away.

    Only what has an owner is moved.
    """
    moved = copy(state)
    for name, first in owner.items():
        value = state[name]
        if value.dim() < 2 or not value.is_floating_point() or is_statistic(name):
            continue
        if first != name:
            moved[name] = moved[first]
            continue
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)
        axes = tuple(range(1, value.dim()))
        lengths = [torch.linalg.vector_norm(v.detach().double(), dim=axes, keepdim=True) for v in (value, noise)]
        moved[name] = (value.detach().double() + noise * (lengths[0] / lengths[1])).to(value.dtype)
    return moved
