"""The average family: which states of a run become one, while it trains, in a bounded number of copies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import ClassVar, Literal

import torch
from torch import Tensor

from skfusion._component import Component
from skfusion._numbers import is_summed
from skfusion.state import State, weighted_sum

Unit = Literal["step", "epoch"]


class Average(Component, ABC):
    """Make one state of those that a run goes through, while it goes or of a stored trajectory.

    States are numbered by the steps of the optimiser, or the epochs, that came before them. Those of steps begin with
    0, the state before the first step; those of epochs begin with 1.

    Attributes
    ----------
    unit : {"step", "epoch"}
        Whether it sees the state after every step, or after every epoch.
    """

    unit: Unit = "step"
    needs_validation: ClassVar[bool] = False
    """Whether it asks for the loss on validation rows after every epoch."""
    changes_run: ClassVar[bool] = False
    """Whether it changes the weights of the run after every step, by :meth:`Running.rewrite`."""

    @abstractmethod
    def begin(self, total: int) -> Running:
        """Return what sees the states of one run.

        Parameters
        ----------
        total : int
            Steps or epochs that the run takes if nothing ends it early.

        Returns
        -------
        Running
            New for each run.
        """

    @abstractmethod
    def coefficients(self, n: int) -> list[float]:
        """Return how much each of n states of a whole run counts.

        Parameters
        ----------
        n : int
            States, of a run of n epochs or of n - 1 steps.

        Returns
        -------
        list of float
            In the order of the states, with a sum of one.
        """

    def of(self, states: Sequence[State]) -> State:
        """Return the average of a stored trajectory, which is that of the run while it went.

        Parameters
        ----------
        states : sequence of State
            The states after all epochs, or that before the first step and those after all steps.

        Returns
        -------
        State
            Floating-point tensors are averaged in double precision; of others the largest is kept.
        """
        if not states:
            raise ValueError("No states to average: give those of a run, at least one.")
        return weighted_sum(states, self.coefficients(len(states)))

    def shortfall(self, n: int) -> str | None:
        """Return why the average of a run in which n states entered is not what was asked for; None where it is.

        Parameters
        ----------
        n : int
            States that entered; 1 too where none did, and the last state stands for the average, which
            :meth:`Running.shortfall` may have said.

        Returns
        -------
        str or None
            What was asked for and what there was, in numbers, and the remedy.
        """
        return None

    def _total(self, n: int) -> int:
        """Return the steps or epochs of a run of n states."""
        return n if self.unit == "epoch" else n - 1

    def _numbers(self, n: int) -> range:
        """Return the numbers of n states."""
        return range(1, n + 1) if self.unit == "epoch" else range(n)

    def _check_unit(self) -> None:
        if self.unit not in ("step", "epoch"):
            raise ValueError(f"unit must be 'step' or 'epoch'; got {self.unit!r}.")


class Running(ABC):
    """The average of the states of one run so far.

    Attributes
    ----------
    n : int
        States that have entered.
    """

    n: int = 0

    @abstractmethod
    def update(self, number: int, state: State) -> None:
        """See the state after so many steps or epochs.

        Parameters
        ----------
        number : int
            Of the step or the epoch; larger each time.
        state : State
            Tensors that the next step overwrites: what shall last is copied.
        """

    def validated(self, loss: float, state: State) -> None:  # noqa: B027  most do not ask for it
        """See the loss on validation rows after each epoch.

        Parameters
        ----------
        loss : float
            Of the state.
        state : State
            That after the last step: what shall last is copied.
        """

    def rewrite(self, weights: Sequence[Tensor]) -> None:  # noqa: B027  most leave the run as it is
        """Change the weights of the run in place, after a step and before the state is seen.

        Parameters
        ----------
        weights : sequence of Tensor
            The trained parameters, which the next step starts from.
        """

    def shortfall(self) -> str | None:
        """Return why this run has not left what was asked for, where the count of states does not say it.

        See :meth:`Average.shortfall` for what that count says.
        """
        return None

    @abstractmethod
    def result(self) -> State:
        """Return the average of all floating-point and complex tensors; at least one state must have entered.

        Returns
        -------
        State
            In double precision, or in that of the states; new tensors.
        """


class Accumulator:
    """A weighted mean of states that is updated in place.

    States are averaged in their own precision, at least single, by one operation each and without any conversion.
    Every few states this mean is added to one in double precision, before its rounding shows. What is the same in all
    states stays exactly as it is. A tensor with infinite numbers, as masks have, is that of the latest state.
    """

    every = 16
    """States whose mean is taken in their own precision, with a rounding error of about 1e-7."""

    def __init__(self) -> None:
        self.names: list[str] | None = None
        self.masks: State = {}
        self.means: list[Tensor] = []  # in double precision, with their weight
        self.weight = 0.0
        self.parts: list[Tensor] = []  # means of the latest states, with theirs
        self.part_weight, self.n_in_part = 0.0, 0

    def mix(self, keep: float, state: State, share: float) -> None:
        """Multiply all weights by ``keep``, and add a state with the weight ``share``."""
        names = self.names or self._begin(summed(state))
        tensors = [state[name] for name in names]
        if self.means and self.means[0].device != tensors[0].device:  # the net was moved, such as by unpickling
            self.means, self.parts = ([t.to(tensors[0].device) for t in kept] for kept in (self.means, self.parts))
        self.weight, self.part_weight = keep * self.weight, keep * self.part_weight + share
        if self.n_in_part == 0:
            torch._foreach_copy_(self.parts, tensors)
        else:
            tensors = [t.to(part.dtype) for t, part in zip(tensors, self.parts, strict=True)]  # of half precision
            torch._foreach_lerp_(self.parts, tensors, share / self.part_weight)
        self.masks = {name: state[name].clone() for name in self.masks}
        self.n_in_part += 1
        if self.n_in_part == self.every:
            self._add_part()

    def _begin(self, tensors: State) -> list[str]:
        self.masks = {name: t for name, t in tensors.items() if t.isinf().any()}
        self.names = [name for name in tensors if name not in self.masks]
        kept = [tensors[name] for name in self.names]
        self.means = [t.to(wide_dtype(t), copy=True) for t in kept]
        self.parts = [torch.empty_like(t, dtype=torch.promote_types(t.dtype, torch.float32)) for t in kept]
        return self.names

    def _add_part(self) -> None:
        """Add the mean of the latest states to that in double precision."""
        if self.n_in_part:
            self.weight += self.part_weight
            latest = [t.to(mean.dtype) for t, mean in zip(self.parts, self.means, strict=True)]
            torch._foreach_lerp_(self.means, latest, self.part_weight / self.weight)
        self.part_weight, self.n_in_part = 0.0, 0

    def mean(self) -> State:
        """Return the mean, as new tensors."""
        self._add_part()
        return {name: t.clone() for name, t in zip(self.names or [], self.means, strict=True)} | self.masks


def summed(state: State) -> State:
    """Return the tensors of a state that can be averaged: those of floating-point and complex numbers."""
    return {k: t for k, t in state.items() if is_summed(t)}


def check_every(every: int) -> None:
    """Raise where a number of steps or epochs between two states is none."""
    if not isinstance(every, Integral) or every < 1:
        raise ValueError(f"every is a whole number of steps or epochs, at least 1; got {every!r}.")


def wide_dtype(t: Tensor) -> torch.dtype:
    """Return the dtype that numbers of a tensor are added up in: of double precision where the device has it."""
    if t.device.type == "mps":  # has no float64
        return torch.promote_types(t.dtype, torch.float32)
    return torch.promote_types(t.dtype, torch.float64)
