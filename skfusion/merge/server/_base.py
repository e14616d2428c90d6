"""What an optimiser of the server is: a step from the former state towards the one that clients were fused to."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import ClassVar

import torch
from torch import Tensor

from skfusion._component import Component
from skfusion.state import State, check_compatible, owners

ServerStep = Callable[[State, State], State]
"""``step(start, fused)`` is the state after a round that began with ``start`` and whose clients were fused."""


class ServerOptimizer(Component, ABC):
    r"""Take the change of a round, :math:`\Delta_t = \bar\theta_t - \theta_t`, for a gradient, and go along it."""

    memory: ClassVar[tuple[str, ...]] = ()
    """What is kept of each tensor from round to round."""

    @abstractmethod
    def update(self, delta: Tensor, memory: dict[str, Tensor]) -> Tensor:
        """Return what is added to a tensor.

        Parameters
        ----------
        delta : Tensor
            The change of the round, in float64.
        memory : dict of Tensor
            What is kept of the tensor, zeros at first; entries are replaced.

        Returns
        -------
        Tensor
            In float64.
        """

    def check(self) -> None:
        """Raise ``ValueError`` where a parameter is not what it can be."""
        for name, value in self.get_params().items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} of {self!r} must be a number of at least 0.")
        for name in ("momentum", "beta1", "beta2"):
            if getattr(self, name, 0) >= 1:
                raise ValueError(f"{name} of {self!r} must be below 1, or nothing new is learned.")
        if getattr(self, "tau", 1) == 0:
            raise ValueError(f"tau of {self!r} must be above 0: a parameter that has never moved would become NaN.")

    def begin(self, parameters: Collection[str]) -> ServerStep:
        """Return what takes the steps of a federation.

        Parameters
        ----------
        parameters : collection of str
            Tensors that are optimised, tied ones by each of their names; others, such as the statistics of BatchNorm,
            are those of the fused state.

        Returns
        -------
        callable
            ``step(start, fused)`` returns the next state of the server; it remembers the rounds before.
        """
        self.check()
        kept: dict[str, dict[str, Tensor]] = {}

        def moved(name: str, start: Tensor, fused: Tensor) -> Tensor:
            if name not in parameters or not start.is_floating_point():
                return fused.clone()
            before = start.detach().to(torch.float64)
            zeros = {key: torch.zeros_like(before) for key in self.memory}
            step = self.update(fused.detach().to(before) - before, kept.setdefault(name, zeros))
            return (before + step).to(fused)

        def step(start: State, fused: State) -> State:
            if any(fused[name].shape != tensor.shape for name, tensor in start.items() if name in fused):
                raise ValueError(
                    f"{self!r} goes from one state of a server to the next, and a merger has changed the widths of its "
                    "network. Leave one of the two out."
                )
            check_compatible([start, fused], ["of the server", "of the clients"])
            moved_by_owner = {n: moved(n, start[n], fused[n]) for n in {*owners([start, fused]).values()}}
            return {n: moved_by_owner[owner] for n, owner in owners([start, fused]).items()}

        return step
