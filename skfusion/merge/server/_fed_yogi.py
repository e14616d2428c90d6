"""FedYogi: an adaptive server whose rates rise slowly (Reddi et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skfusion.merge.server._base import ServerOptimizer


@dataclass(eq=False, repr=False)
class FedYogi(ServerOptimizer):
    r"""Let a server take the steps of Yogi along what clients learn in each round.

    .. math:: m_t = \beta_1 m_{t-1} + (1 - \beta_1) \Delta_t, \quad
        v_t = v_{t-1} - (1 - \beta_2) \Delta_t^2 \operatorname{sign}(v_{t-1} - \Delta_t^2), \quad
        \theta_{t+1} = \theta_t + \eta \frac{m_t}{\sqrt{v_t} + \tau}

    for each parameter, with :math:`\Delta_t = \bar\theta_t - \theta_t` the change by what the clients of round t are
    fused to.

    Parameters
    ----------
    lr : float, default=0.01
        The rate :math:`\eta`, about what a parameter moves in a round.
    beta1 : float, default=0.9
        How much of the former direction is kept.
    beta2 : float, default=0.99
        How much of the former squares is kept.
    tau : float, default=0.001
        What is added to the root. A larger one is less adaptive.

    Notes
    -----
    Keeps two states. Where changes become small, its rates rise by less than those of :class:`FedAdam`, which
    forgets large ones.

    References
    ----------
    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar and McMahan, "Adaptive federated optimization", ICLR 2021,
    arXiv:2003.00295.

    Examples
    --------
    >>> import torch
    >>> from skfusion.merge import FedYogi
    >>> step = FedYogi(lr=0.1, beta1=0.0, beta2=0.0, tau=1e-9).begin(["w"])
    >>> step({"w": torch.tensor([0.0])}, {"w": torch.tensor([5.0])})["w"].tolist()
    [0.1]
    """

    lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 0.001

    memory: ClassVar[tuple[str, ...]] = ("direction", "square")

    def update(self, delta: Tensor, memory: dict[str, Tensor]) -> Tensor:
        """Return the step of a tensor; see :meth:`ServerOptimizer.update`."""
        memory["direction"] = self.beta1 * memory["direction"] + (1 - self.beta1) * delta
        square = memory["square"]
        memory["square"] = square - (1 - self.beta2) * delta**2 * torch.sign(square - delta**2)
        return self.lr * memory["direction"] / (memory["square"].sqrt() + self.tau)
