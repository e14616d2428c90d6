"""Curves whose bends are trained: the parameters that they share, and how they are made (Garipov et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from skfusion._docs import doc
from skfusion.connect._base import Connector, Path, PathBasis, check_ends
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import check_labelled, train, trained_names
from skfusion.objective import Objective
from skfusion.state import State, weighted_sum

TRAINING = """
n_epochs : int, default=50
    Epochs of training. More lower the loss along the curve.
lr : float, default=0.1
    Learning rate of SGD for half of the training; then it falls linearly to a hundredth at nine tenths of it.
momentum : float, default=0.9
    Momentum of SGD.
weight_decay : float, default=0.0
    L2 penalty λ on the point of the curve, not on the bends. That of the networks' own training is a good value.
train_ends : bool, default=False
    Whether the ends are trained too. Then the curve no longer starts and ends at the networks that were given.
random_state : int, default=0
    Seed of the positions and of the order of the rows.
"""
"""The parameters of the training."""

NOTES = """
Notes
-----
Bends start equally spaced on the line between the ends. A step draws one position t for its mini-batch, and costs a
step of ordinary training and O(m d) for m states of d numbers, which are also the memory. BatchNorm uses the
statistics of the batch; recalibrate it at each point that is used.

Tensors that are equal in both ends stay as they are, as nothing has trained them (such as a frozen part), unless
ends are trained too; where all are equal, nothing is trained. What the module itself does not train, such as frozen
parameters that differ, is at each point the same sum of the control states as all else.

The defaults are for small networks. The paper takes one bend too, and trains it like the networks: for 200 epochs
with a learning rate of 0.03 and a weight decay of 3e-4 or 5e-4 (ResNets), or for 600 with 0.015 and 5e-4 (VGG-16),
in batches of 128; its code has 200 epochs, 0.01 and 1e-4 when nothing is given. Positions are drawn uniformly in t,
as in the paper, which would rather have them uniform in length: equally spaced points of
:meth:`Path.by_length` are.

References
----------
Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS 2018, arXiv:1802.10026.
"""
"""How bends are trained, how the defaults differ from those of the paper, and the paper."""


@doc(training=TRAINING)
@dataclass(eq=False, repr=False)
class TrainedConnector(Connector, PathBasis):
    """Join two networks by a curve that is trained to have a low loss all along; subclasses are its basis.

    Parameters
    ----------
    n_bends : int, default=1
        Trained states. More can follow a more crooked valley.
    {training}
    """

    n_bends: int = 1
    n_epochs: int = 50
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    train_ends: bool = False
    random_state: int = 0
    _test_sets = ({"n_epochs": 20}, {"n_bends": 3, "n_epochs": 20, "weight_decay": 1e-3})

    def _start(self) -> np.ndarray:
        """Return where on the line between the ends each bend starts: equally spaced."""
        positions: np.ndarray = np.linspace(0, 1, self.n_bends + 2)[1:-1]
        return positions

    @final
    def check(self) -> None:
        """Raise an error where a setting makes no sense; see :meth:`Connector.check`."""
        check_whole(self, "n_bends", "n_epochs")
        check_steps(self, "weight_decay")

    @final
    def __call__(self, states: Sequence[State], objective: Objective | None = None) -> Path:
        """Return the trained curve; see :meth:`Connector.__call__`."""
        return self.trained(states, objective)

    def trained(self, states: Sequence[State], objective: Objective | None, attack: Any = None) -> Path:
        """Return the curve, trained on rows that an attack has changed, where there is one; see :meth:`__call__`."""
        check_ends(self, states)
        self.check()
        a, b = states
        controls = [a, *(weighted_sum([a, b], [1 - s, s]) for s in self._start()), b]
        objective = check_labelled(self, objective)
        free = range(len(controls)) if self.train_ends else range(1, len(controls) - 1)
        if not free or not trained_names(controls, states, free, objective.module):
            return Path(controls, self)
        attacked = None if attack is None else attack.prepared(objective)
        controls, history = train(self, self, controls, free, states, objective, attacked)
        return Path(controls, self, history, own_ends=not self.train_ends)
