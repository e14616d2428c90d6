"""The merger family, many states to one state: its base classes, and what several mergers ask of their arguments."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, final

import torch
from torch import nn

from skfusion._component import Component
from skfusion.objective import Objective
from skfusion.state import Fused, State, check_compatible, owners, rest_of, weighted_sum, weighted_sums

GRID = tuple(k / 20 for k in range(21))
"""From 0 to 1 in steps of 0.05 (Ilharco et al., 2023)."""

Merge = Callable[[Sequence[State], State | None, Objective | None], State | Fused]
"""Makes one state of many, as :meth:`Merger.__call__` does."""


class Merger(Component, ABC):
    """Turn many states of one architecture into one."""

    order_dependent: ClassVar[bool] = False
    """Whether the result depends on the order of the members by design."""
    needs_base: ClassVar[bool] = False
    """Whether the common starting point of the members is needed."""
    takes_widths: ClassVar[bool] = False
    """Whether hidden layers of the members may have different numbers of units."""
    why_copies_change: ClassVar[str] = ""
    """Why equal members do not merge to what they are, where they do not."""

    @abstractmethod
    def __call__(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> State | Fused:
        """Return a new state with the names, shapes, dtypes and devices of ``states[0]``.

        Parameters
        ----------
        states : sequence of State
            K states, K >= 1.
        base : State, optional
            The common starting point of the members.
        objective : Objective, optional
            Data to judge states on.

        Returns
        -------
        State or Fused
            The merged state, with its module where the merger changes the architecture; the inputs are not written.
        """

    def for_members(self, metas: Sequence[Mapping[str, Any]]) -> Self:
        """Return the merger for members of which something is known; most mergers look at their states alone.

        Parameters
        ----------
        metas : sequence of mapping
            The ``meta`` of each member, in their order, such as its epoch.

        Returns
        -------
        Merger
            This merger, or one that knows of its members what it asks for.

        Raises
        ------
        ValueError
            If a member's ``meta`` lacks what the merger asks for.
        """
        return self

    def repeated(self, reported: Mapping[str, Any]) -> Merge:
        """Return what merges other members as these were, without the held-out rows that were chosen by.

        Parameters
        ----------
        reported : mapping of str
            What the method has reported; of a sum of members also its coefficients, as ``"weights"``.

        Returns
        -------
        callable
            Called as the merger is.

        Raises
        ------
        NotImplementedError
            If the method chooses by labels, and does not say how to do what it has chosen.
        """
        if self.needs_labels:
            raise NotImplementedError(f"{self!r} chooses by held-out rows, and has no method repeated().")
        return self

    @property
    def is_repeatable(self) -> bool:
        """Whether :meth:`repeated` knows what to do."""
        return not self.needs_labels or type(self).repeated is not Merger.repeated

    @classmethod
    def _test_skips(cls) -> dict[str, str]:
        checks = ("check_merge_of_copies_is_the_copy", "check_one_member_gives_that_member")
        return dict.fromkeys(checks, cls.why_copies_change) if cls.why_copies_change else {}


class LinearMerger(Merger):
    r"""A merger of the form :math:`\sum_k w_k \theta_k`.

    One that needs the base is of the form :math:`\theta_0 + \sum_k w_k (\theta_k - \theta_0)`.
    """

    @abstractmethod
    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return one coefficient for each of the K states, as a list of float; see :meth:`Merger.__call__`."""

    @final
    def __call__(self, states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
        """Return the sum of the states with their coefficients; see :meth:`Merger.__call__`."""
        check_states(self, states, base)
        found = self.coefficients(states, base, objective)
        return self.combine(states, found, base) if self.needs_base else weighted_sums(states)(found, apart=True)

    @final
    def combine(self, states: Sequence[State], coefficients: Sequence[float], base: State | None = None) -> State:
        """Return the sum of states by given coefficients; see :meth:`LinearMerger.coefficients`.

        What these lack to a sum of one is the share of the base, where the merger needs it.
        """
        rest = rest_of(coefficients)
        if not self.needs_base or base is None or rest == 0:
            return weighted_sum(states, coefficients)
        return weighted_sum([*states, base], [*coefficients, rest])

    def repeated(self, reported: Mapping[str, Any]) -> Merge:
        """Return the sum by the same coefficients; see :meth:`Merger.repeated`."""

        def merge(states: Sequence[State], base: State | None = None, objective: Objective | None = None) -> State:
            return self.combine(states, reported["weights"], base)

        return merge


class OnGrid(Merger):
    """A merger with one number that is chosen on held-out rows where it is None."""

    grid: Sequence[float]
    """The numbers that are tried."""
    on_grid: ClassVar[str] = "scale"
    """The parameter that may be None."""

    @property
    def needs_objective(self) -> bool:  # type: ignore[override]
        """Whether the number is chosen on data, which are held-out rows then."""
        return getattr(self, self.on_grid) is None

    needs_labels = needs_objective

    def chosen(self, merged: Callable[[Self], State], objective: Objective | None) -> Self:
        """Return this merger with its number, chosen by the score where it is None; see :meth:`TensorMerger.chosen`.

        ``merged(merger)`` is the state to which a copy with a number merges the members; states are made one at a time,
        while they are scored. Of equal scores the first counts, and one that is not a number never wins.
        """
        if not self.needs_objective:
            return self
        name, points = self.on_grid, [float(point) for point in self.grid]
        if objective is None:
            raise ValueError(
                f"{type(self).__name__}({name}=None) chooses by the held-out score: give it an objective with held-out "
                f"rows, or a number for {name}."
            )
        if not points or not all(map(math.isfinite, points)):
            raise ValueError(f"The grid for {name} must hold finite numbers, one at least; got {points}.")
        scores = objective.scores(merged(self._at(point)) for point in points)
        if all(map(math.isnan, scores)):
            raise ValueError(
                f"No {name} of the grid {points} has a held-out score that is a number; give {name} yourself."
            )
        ranked = [-math.inf if math.isnan(score) else score for score in scores]
        best = points[ranked.index(max(ranked))]
        objective.report(name, best)
        objective.report(f"{name}_scores", dict(zip(points, scores, strict=True)))
        return self._at(best)

    def repeated(self, reported: Mapping[str, Any]) -> Merge:
        """Return this merger with the number that it has chosen; see :meth:`Merger.repeated`."""
        return self._at(reported[self.on_grid]) if self.needs_objective else self

    def _at(self, value: float) -> Self:
        return type(self)(**{**self.get_params(deep=False), self.on_grid: value})

    def _number(self) -> Any:
        """Return the parameter, or raise ``ValueError`` where it is neither None nor a finite number."""
        value = getattr(self, self.on_grid)
        if value is not None and not math.isfinite(value):
            raise ValueError(
                f"The {self.on_grid} of {type(self).__name__} must be a finite number, or None; got {value}."
            )
        return value

    @classmethod
    def _test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {cls.on_grid: None, "grid": (0.2, 0.6)}


class LinearOnGrid(OnGrid, LinearMerger):
    """A sum of the base and the members whose coefficients follow from one number."""

    needs_base: ClassVar[bool] = True

    @abstractmethod
    def _at_value(self, value: float, n: int) -> list[float]:
        """Return the coefficients of n members for a value of the number."""

    def _check(self, n: int) -> None:
        """Raise ``ValueError`` where parameters do not fit n members."""
        self._at_value(0.0, n)

    @final
    def coefficients(
        self, states: Sequence[State], base: State | None = None, objective: Objective | None = None
    ) -> list[float]:
        """Return the coefficients, with the number that is given or chosen; see :meth:`LinearMerger.coefficients`."""
        self._check(len(states))
        if self._number() is None:
            check_states(self, states, base)
        chosen = self.chosen(lambda merge: merge.combine(states, merge.coefficients(states), base), objective)
        return self._at_value(float(chosen._number()), len(states))


def check_states(merger: Merger, states: Sequence[State], base: State | None) -> None:
    """Raise ``ValueError`` where states cannot be merged with each other, or with a base that is needed."""
    check_compatible(states)
    if not merger.needs_base:
        return
    if base is None:
        raise ValueError(
            f"{type(merger).__name__} needs the common start of the members, and the pool has no base. Collect members "
            "with FineTunes(), or give the start of networks that you have: ModelPool(members, base=state)."
        )
    check_compatible([states[0], base], ["0", "base"])


def shares(merger: str, weights: Sequence[float] | None, n: int) -> list[float]:
    """Return the weights of n members, which sum to one; equal where none are given."""
    numbers = [1.0] * n if weights is None else [float(w) for w in weights]
    total = math.fsum(numbers)
    if len(numbers) != n:
        raise ValueError(f"{merger} got {len(numbers)} weights for {n} members; give one weight a member.")
    if not all(math.isfinite(w) and w >= 0 for w in numbers) or total <= 0:
        raise ValueError(f"Weights must be finite, non-negative and not all zero; got {numbers}.")
    return [w / total for w in numbers]


def factors(merger: str, weights: float | Sequence[float] | None, n: int) -> list[float]:
    """Return the factors of the changes of n members, of any sign; all 1 where none are given."""
    numbers = one_each(merger, "finite weight", 1.0 if weights is None else weights, n)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{merger} needs a finite weight for each of {n} members; got {numbers}.")
    return numbers


def one_each(merger: str, name: str, values: float | Sequence[float], n: int) -> list[float]:
    """Return a number for each of n members, of which one for all may be given, or one for each."""
    numbers = [float(v) for v in values] if isinstance(values, Iterable) else [float(values)] * n
    if len(numbers) != n:
        raise ValueError(f"{merger} needs a {name} for each of {n} members; got {numbers}.")
    return numbers


def tied(states: Sequence[State], module: nn.Module) -> dict[str, str]:
    """Map each name to the first name of its tensor, which it shares in memory in all states, or in the module.

    The module counts where all states agree, as those that come from files have often lost what they share.
    """
    owner_of = owners(states)
    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if name in owner_of:
            owner = first.setdefault(id(parameter), owner_of[name])
            if owner != owner_of[name] and all(torch.equal(s[owner], s[name]) for s in states):
                owner_of = {key: owner if held == owner_of[name] else held for key, held in owner_of.items()}
    return owner_of


def key_of(layer: str, tensor: str) -> str:
    """Return the name in a state of a tensor that the module named ``layer`` holds."""
    return f"{layer}.{tensor}" if layer else tensor


def layer_of(name: str) -> str:
    """Return the name of the module that holds the tensor of this name."""
    return name.rpartition(".")[0]
