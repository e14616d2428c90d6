"""Train one network against an attack (Madry et al., 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skfusion._docs import doc, paragraphs
from skfusion.connect._base import Basis
from skfusion.connect._parameters import check_steps, check_whole
from skfusion.connect._train import check_labelled, train
from skfusion.connect._trained import TRAINING
from skfusion.connect.robust._attack import Attack
from skfusion.objective import Objective
from skfusion.state import State, check_compatible


class _Still(Basis):
    """One point, which is the control state."""

    def weights(self, point: Any, n_controls: int) -> np.ndarray:
        return np.ones(1)

    def within(self, point: Any) -> Any:
        return point

    def sample(self, rng: np.random.RandomState, n_controls: int) -> None:
        return None

    def grid(self, n_points: int, n_controls: int) -> list[Any]:
        return [None]


@doc(paragraphs(TRAINING))
@dataclass(eq=False)
class AdversarialTraining:
    """Train a network on the rows as an attack changes them, from a state on, such as for an end of a robust path.

    Parameters
    ----------
    attack : Attack
        The balls in which rows are changed; without a radius this is ordinary training.
    n_epochs : int, default=10
        Epochs of training. A few are enough to fine-tune a network under another norm.
    {lr}
    {momentum}
    weight_decay : float, default=0.0
        L2 penalty on the weights.
    {random_state}

    Notes
    -----
    A step costs an ordinary one and the attack. BatchNorm uses the statistics of the batch, and those of the state that
    is returned are of before: recalibrate them.

    References
    ----------
    Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, arXiv:1706.06083.

    Examples
    --------
    >>> import torch
    >>> from skfusion.connect import AdversarialTraining, Attack
    >>> from skfusion.objective import Batch, ModuleObjective
    >>> net, x = torch.nn.Linear(1, 1, bias=False), torch.tensor([[-1.0], [1.0]])
    >>> data = ModuleObjective(
    ...     net, lambda: [Batch(x, x)] * 9, criterion=lambda out, batch: (out - batch.y).square().mean()
    ... )
    >>> start = {"weight": torch.zeros(1, 1)}
    >>> attacks = Attack(), Attack(l_inf=1.5, bounds=(-3, 3))
    >>> [AdversarialTraining(a)(start, data)["weight"].item() > 0.5 for a in attacks]
    [True, False]
    """

    attack: Attack
    n_epochs: int = 10
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    random_state: int = 0

    def __call__(self, state: State, objective: Objective) -> State:
        """Return the trained state.

        Parameters
        ----------
        state : State
            Where to start: a trained network, or initial weights.
        objective : Objective
            Labelled data to train on.

        Returns
        -------
        State
            New tensors.
        """
        check_whole(self, "n_epochs")
        check_steps(self, "weight_decay")
        check_compatible([state])
        data = check_labelled(self, objective)
        return train(self, _Still(), [state], [0], [state], data, self.attack.prepared(data))[0][0]
