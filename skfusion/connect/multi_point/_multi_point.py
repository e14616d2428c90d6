"""A plane of networks in three vectors (Skorokhodov and Burtsev, 2019; Czarnecki et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from skfusion.connect._base import Connector
from skfusion.connect._members import check_members
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._together import Together
from skfusion.connect._train import check_labelled, trained_names
from skfusion.connect.multi_point._cells import CellPlane, Cells, checked_mask
from skfusion.connect.multi_point._plane_training import drawn_axes, orthogonalised, train_plane
from skfusion.objective import Objective
from skfusion.state import State


@dataclass(eq=False, repr=False)
class MultiPoint(Connector):
    r"""Train a plane of networks, one for each cell of a mask, of which some are to be good and some bad.

    All of them are stored in three vectors, an origin and two axes (multi-point optimisation),

    .. math:: \theta_{ij} = o + i\,u + j\,v, \qquad u \perp v, \quad \lVert u \rVert = \lVert v \rVert, \qquad
        \min_{o, u, v} \; \mathbb{E}_{ij \text{ good}}\, L(\theta_{ij})
        - c\; \mathbb{E}_{ij \text{ bad}}\, \min(L(\theta_{ij}), L_{\max})

    with rows i and columns j counted from the middle. A mask of good cells alone gives a plane of low loss; one with
    bad cells draws any picture in the loss.

    Parameters
    ----------
    mask : array-like of shape (n_rows, n_columns), optional
        1 for good cells, -1 for bad ones, and 0 for cells that may be either; five rows and columns of good ones when
        omitted.
    spacing : float, default=0.1
        How far apart neighbours are at the start, as a share of the length of what gives the axes. Their distance is
        trained then.
    n_cells : int, default=16
        Good cells in a step, and as many bad ones. More make its gradient less noisy at their cost.
    bad_weight : float, default=1.0
        What the loss of bad cells counts, c above.
    ceiling : float, default=2.5
        The loss from which a bad cell is bad enough. Choose one above that of guessing, which is log(n_classes).
    n_epochs : int, default=100
        Epochs of training. More make the picture sharper.
    lr : float, default=1e-3
        Learning rate of Adam for half of the training; then it falls linearly to a hundredth at nine tenths of it.
    max_norm : float, default=100.0
        Length at which the gradient is cut off.
    random_state : int, default=0
        Seed of the cells, of axes that are drawn, and of the order of the rows.

    Notes
    -----
    The first state is where the origin starts, and the second and the third, as they are and not their differences from
    the first, give the axes, which are drawn at random where there are none. All three vectors are trained: the states,
    which may be untrained, are not on the plane afterwards. What the module does not train is that of the first.

    Memory is three vectors, twice these for Adam, and 16 points and their gradients (one where points cannot be
    computed together), whatever the number of cells; a step costs ``2 * n_cells`` ordinary ones. After each step, the
    axes are replaced by the nearest ones that are orthogonal and equally long. The papers draw 50 cells of each kind,
    Adam with a learning rate of 1e-4, and the spacing as one more number that is trained. BatchNorm uses the statistics
    of the batch; recalibrate it at each point that is used.

    This is not a matrix product operator, which shares the name MPO.

    References
    ----------
    Skorokhodov and Burtsev, "Loss landscape sightseeing with multi-point optimization", 2019, arXiv:1910.03867.
    Czarnecki et al., "A deep neural network's loss surface contains every low-dimensional pattern", 2019,
    arXiv:1912.07559.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import MultiPoint
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, x = torch.nn.Linear(2, 1), torch.eye(2)
    >>> data = ModuleObjective(
    ...     net, lambda: [Batch(x, x[:, :1])], criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> start = {"weight": torch.tensor([[0.5, -0.5]]), "bias": torch.ones(1)}
    >>> plane = MultiPoint([[1, 1, 1], [1, -1, 1]], n_epochs=100, lr=0.03)([start], data)
    >>> good, bad = (plane.at(cell) for cell in ((0, 2), (1, 1)))
    >>> [bool(((x @ s["weight"].T + s["bias"] - x[:, :1]) ** 2).mean() < 0.5) for s in (good, bad)]
    [True, False]
    """

    n_states: ClassVar[int | None] = None
    from_scratch: ClassVar[bool] = True

    mask: Any = None
    spacing: float = 0.1
    n_cells: int = 16
    bad_weight: float = 1.0
    ceiling: float = 2.5
    n_epochs: int = 100
    lr: float = 1e-3
    max_norm: float = 100.0
    random_state: int = 0
    momentum: ClassVar[float] = 0.0  # which Adam has of its own; settings are checked for it
    _test_sets = (
        {"mask": ((1, -1, 1), (-1, 1, -1)), "n_epochs": 20, "n_cells": 4, "lr": 0.01},
        {"mask": ((1, 0, -1), (1, 1, -1)), "n_epochs": 20, "n_cells": 4, "lr": 0.01},
    )

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        return {
            "check_path_is_never_worse_than_the_segment": "the plane has bad networks, and none of the states",
        }

    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_epochs")
        check_whole(self, "n_cells", least=1)
        check_steps(self, "spacing", "bad_weight", "ceiling", "max_norm")
        for name in ("spacing", "max_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)!r}.")
        checked_mask(self.mask)

    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> CellPlane:
        """Return the trained plane; see :meth:`Connector.__call__`.

        Parameters
        ----------
        states : sequence of State
            One to three, where the origin and the axes start.
        objective : Objective
            Labelled data to train on.

        Returns
        -------
        CellPlane
            With control states of its own.
        """
        check_members(self, states, 1, 3)
        self.check()
        data, cells = check_labelled(self, objective), Cells(checked_mask(self.mask))
        names = trained_names(states, states, range(len(states)), data.module)
        together = Together(names, states[0], data)
        start = self._start(together.rows(states), [states[0][k].numel() for k in names])
        vectors, history = train_plane(self, cells, start, together, data)
        rows = vectors.clone()
        rows[1:] += vectors[0]
        return CellPlane([together.state(row.clone(), states[0]) for row in rows], cells, history)

    def _start(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the origin and the axes of the beginning, shape (3, n_numbers)."""
        drawn = drawn_axes(rows[0], sizes, 3 - len(rows), int(self.random_state))
        axes = self.spacing * torch.cat([rows[1:], drawn])
        return torch.cat([rows[:1], orthogonalised(axes)])
