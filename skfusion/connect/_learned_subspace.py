"""Subspaces of networks that are learned from scratch (Wortsman et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from skfusion.connect._base import Basis, Connector, Path, PathBasis, Subspace, check_states
from skfusion.connect._complex import Complex, SimplicialComplex
from skfusion.connect._descent import Descent, seeded
from skfusion.connect._line import Line
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import check_labelled
from skfusion.objective import Objective
from skfusion.state import State


@dataclass(eq=False, repr=False)
class LearnedSubspace(Connector):
    r"""Train a line, a curve or a simplex of networks from scratch, whose corners start as untrained networks.

    A step draws a point of the subspace and descends its loss, which moves all corners by their coefficients. Corners
    are kept apart by the cosine of the angle between two of them, drawn at random,

    .. math:: \min_{\theta_1 \dots \theta_m} \; \mathbb{E}_{p} \left[ L\Big(\sum_k c_k(p)\, \theta_k\Big) \right]
        + \beta\, \mathbb{E}_{j \ne k} \left[ \cos^2(\theta_j, \theta_k) \right]

    where points of a simplex are uniform: coefficients are drawn from Dirichlet(1).

    Parameters
    ----------
    basis : Basis, optional
        The kind of the subspace, as a connector whose points it takes: ``Line()`` of two states, ``Bezier()`` of three
        or more (a quadratic curve of three). A simplex with all states as its corners when omitted, of any number: with
        two it is a line, and with one this is ordinary training.
    beta : float, default=1.0
        What the squared cosine counts. More keep the corners further apart; it is that of weights with two axes or
        more, and not of biases.
    layerwise : bool, default=False
        Whether each layer draws a point of its own, so that points are mixed by layers, too.
    n_epochs : int, default=50
        Epochs of training. As many as an ordinary training takes.
    lr : float, default=0.03
        Learning rate of SGD, which rises for a short time and falls along a cosine to zero. Classifiers often take a
        larger one, such as 0.1.
    momentum : float, default=0.9
        Momentum of SGD.
    weight_decay : float, default=1e-4
        L2 penalty on the corners.
    random_state : int, default=0
        Seed of the points and of the order of the rows.

    Notes
    -----
    Costs one training, whatever the number of corners, but for O(m d) a step; memory is 2 m + 2 states (corners and
    their momentum, a point and its gradient). BatchNorm uses the statistics of the batch, and has none of its own
    anywhere on the subspace: recalibrate it at each point that is used, as ``SubspaceClassifier`` does.

    States should be independent initial weights, as ``Untrained(m)`` collects them. The paper trains for 160 epochs on
    CIFAR-10 with a learning rate of 0.1 and these settings, and takes the cosine of convolutions only, which are all
    weights but the last layer of its networks.

    References
    ----------
    Wortsman et al., "Learning neural network subspaces", ICML 2021, arXiv:2102.10472.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import LearnedSubspace
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> data = ModuleObjective(
    ...     torch.nn.Linear(1, 1),
    ...     lambda: [Batch(x, 2 * x)],
    ...     criterion=lambda out, batch: (out - batch.y).square().mean(),
    ... )
    >>> start = [{"weight": torch.tensor([[w]]), "bias": torch.zeros(1)} for w in (-1.0, 1.0)]
    >>> line = LearnedSubspace(beta=0.0, n_epochs=200, lr=0.1)(start, data)
    >>> [round(line.at(c)["weight"].item(), 1) for c in ([1, 0], [0.5, 0.5], [0, 1])]
    [2.0, 2.0, 2.0]
    """

    from_scratch: ClassVar[bool] = True
    n_states: ClassVar[int | None] = None

    basis: Any = None
    beta: float = 1.0
    layerwise: bool = False
    n_epochs: int = 50
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 1e-4
    random_state: int = 0

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"n_epochs": 8}
        yield {"basis": Line(), "layerwise": True, "n_epochs": 8}

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_epochs")
        check_steps(self, "weight_decay", "beta")
        if self.basis is not None and not isinstance(self.basis, PathBasis):
            raise TypeError(f"basis must be that of a path, such as Line() or Bezier(), or None; got {self.basis!r}.")

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Subspace:
        """Return the trained subspace; see :meth:`Connector.__call__`."""
        self.check()
        check_states(states)
        n = len(states)
        if self.basis is not None and (n < 2 or (isinstance(self.basis, Line) and n > 2)):
            raise ValueError(
                f"{self.basis!r} has {'two' if isinstance(self.basis, Line) else 'two or more'} control states; got "
                f"{n}. Give basis=None for a simplex of any number, or as many states."
            )
        data = check_labelled(self, objective)
        basis: Basis = Complex([range(n)]) if self.basis is None else self.basis
        with seeded(self, data, states[0]):
            descent = Descent(states, 0, (), data)
            history = descent.train(
                self, np.random.RandomState(self.random_state), self._draw(basis, descent), self._pull(descent)
            )
        controls = descent.controls()
        if isinstance(basis, PathBasis):
            return Path(controls, basis, history, own_ends=False)
        return SimplicialComplex(controls, Complex([range(n)]), history)

    def _draw(self, basis: Basis, descent: Descent) -> Any:
        """Return what draws the point of a step: its coefficients, or those of each number where layers differ."""
        n = len(descent.values)
        if not self.layerwise:
            return lambda rng, _: basis.weights(basis.sample(rng, n), n)[None]
        layer, n_layers = descent.columns_of_layers()
        index = layer.numpy()

        def draw(rng: np.random.RandomState, _: Tensor) -> np.ndarray:
            each = np.stack([basis.weights(basis.sample(rng, n), n) for _ in range(n_layers)], axis=1)
            of_numbers: np.ndarray = each[None, :, index]
            return of_numbers

        return draw

    def _pull(self, descent: Descent) -> Any:
        """Return what gives the gradient of the squared cosine of two corners, drawn at random."""
        n, width = len(descent.values), descent.n_weights
        if n < 2 or not self.beta or not width:
            return None

        def pull(rng: np.random.RandomState, values: Tensor, slope: Tensor) -> None:
            if n == 2:
                both, to = values[:, :width], slope[:, :width]
                to.addmm_(squared_cosine(both)[1], both, alpha=self.beta)
                return
            pair = rng.choice(n, 2, replace=False).tolist()
            both = values[pair, :width]
            slope[pair, :width] += self.beta * (squared_cosine(both)[1] @ both)

        return pull


def squared_cosine(pair: Tensor) -> tuple[float, Tensor]:  # shape: (2, n_numbers)
    """Return the squared cosine of the angle between two vectors, and the matrix that makes its gradient of them.

    Both are 0 where one of the vectors is.
    """
    (aa, ab), (_, bb) = (pair @ pair.T).tolist()
    if not (aa > 0 and bb > 0):
        return 0.0, pair.new_zeros(2, 2)
    square, across = ab * ab / (aa * bb), ab / (aa * bb)
    return square, pair.new_tensor([[-square / aa, across], [across, -square / bb]]).mul_(2)
