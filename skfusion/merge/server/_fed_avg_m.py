"""FedAvgM: averaging with momentum on the server (Hsu et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from skfusion.merge.server._base import ServerOptimizer


@dataclass(eq=False, repr=False)
class FedAvgM(ServerOptimizer):
    r"""Let a server go on with momentum along what clients learn in each round.

    .. math:: m_t = \beta m_{t-1} + \Delta_t, \qquad \theta_{t+1} = \theta_t + \eta m_t,
        \qquad \Delta_t = \bar\theta_t - \theta_t

    where :math:`\bar\theta_t` is what the clients of round t are fused to. Without momentum and with a rate of 1 it is
    the fused state itself.

    Parameters
    ----------
    lr : float, default=1.0
        The rate :math:`\eta`. A larger one goes beyond the clients.
    momentum : float, default=0.9
        How much of the former direction is kept. More smooths the drawing of clients, and overshoots.

    Notes
    -----
    Keeps one state.

    References
    ----------
    Hsu, Qi and Brown, "Measuring the effects of non-identical data distribution for federated visual classification",
    2019, arXiv:1909.06335. Reddi et al., "Adaptive federated optimization", ICLR 2021, arXiv:2003.00295.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import FedAvgM
    >>> step = FedAvgM(momentum=0.5).begin(["w"])
    >>> server = step({"w": torch.tensor([0.0])}, {"w": torch.tensor([1.0])})
    >>> step(server, {"w": torch.tensor([1.0])})["w"].tolist()
    [1.5]
    """

    lr: float = 1.0
    momentum: float = 0.9

    memory: ClassVar[tuple[str, ...]] = ("direction",)

    def update(self, delta: Tensor, memory: dict[str, Tensor]) -> Tensor:
        """Return the step of a tensor; see :meth:`ServerOptimizer.update`."""
        memory["direction"] = self.momentum * memory["direction"] + delta
        return self.lr * memory["direction"]
