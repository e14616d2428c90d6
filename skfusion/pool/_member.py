"""One trained network as a value, and the check of what a pool is made of."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from skfusion import state as states_of
from skfusion._arrays import to_numpy, to_torch
from skfusion.state import State


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network: its state and what is known about it.

    Parameters
    ----------
    name : str
        Unique in its pool.
    state : State
        Parameters and buffers by name.
    score : float, default=nan
        Held-out score, higher is better; NaN when unknown.
    meta : dict, optional
        What else is known: seed, epoch, history. Must be writable as JSON.
    rows : ndarray of shape (n_rows,), optional
        64-bit marks of the training rows, see :attr:`skfusion._rows.Rows.marks`; None when unknown.
    net : object, optional
        The unfitted net that the state belongs to; kept in memory only, never in a file.
    predictions : ndarray of shape (n_held_out, n_outputs), optional
        Probabilities or values for the held-out rows, where there were some.
    """

    name: str
    state: State
    score: float = math.nan
    meta: Mapping[str, Any] = field(default_factory=dict)
    rows: np.ndarray | None = None
    net: Any = None
    predictions: np.ndarray | None = None

    def __repr__(self) -> str:
        score = "" if math.isnan(self.score) else f", score={self.score:.4g}"
        return f"Member({self.name!r}, {states_of.n_parameters(self.state)} numbers{score})"

    def replace(self, **changes: Any) -> Member:
        """Return a copy with some fields changed.

        Parameters
        ----------
        **changes : dict
            New values by field.

        Returns
        -------
        Member
            The copy.
        """
        return dataclasses.replace(self, **changes)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "state": to_numpy(self.state)}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        self.__dict__.update({**stored, "state": to_torch(stored["state"])})


def members_in(argument: Any) -> tuple[Member, ...]:
    """Return members as a tuple, or raise an error that says how the argument becomes a pool."""
    if isinstance(argument, str | os.PathLike):
        raise TypeError(
            f"A pool is made of members; got the path {os.fspath(argument)!r}. Read the folder of a pool by "
            "ModelPool.load(path), and checkpoints by ModelPool.from_files({name: path, ...})."
        )
    if isinstance(argument, Mapping):
        if any(isinstance(value, Tensor) for value in argument.values()):
            raise TypeError(
                "A pool is made of members; got one state dict. Give it a name: ModelPool([Member('a', state)])."
            )
        raise TypeError(
            f"A pool is made of a list of members; got a {type(argument).__name__}. States by name become one by "
            "ModelPool([Member(name, s) for name, s in states.items()]), paths by name by ModelPool.from_files(paths)."
        )
    try:
        members = tuple(argument)
    except TypeError:
        raise TypeError(
            f"A pool is made of a list of members; got a {type(argument).__name__}. Give [member, ...]."
        ) from None
    for place, item in enumerate(members):
        if not isinstance(item, Member):
            raise TypeError(f"Item {place} of a pool must be a Member; got {_remedy(item)}")
    if not members:
        raise ValueError("A pool needs at least one member; got none.")
    if twice := sorted(name for name, n in Counter(m.name for m in members).items() if n > 1):
        raise ValueError(f"Member names must be unique in a pool; these occur more than once: {twice}.")
    return members


def _remedy(item: Any) -> str:
    """Return what an item is that is no member, and how a member is made of it."""
    if isinstance(item, str | os.PathLike):
        return f"the path {os.fspath(item)!r}. Read checkpoints by ModelPool.from_files({{name: path, ...}})."
    if isinstance(item, Mapping):
        return f"a {type(item).__name__}. Give a state dict a name: Member('a', state)."
    if hasattr(item, "module_"):
        return f"a fitted {type(item).__name__}. Fitted nets become a pool by ModelPool.from_estimators(nets)."
    if isinstance(item, nn.Module):
        return f"a module, {type(item).__name__}. Give its state a name: Member('a', module.state_dict())."
    return f"a {type(item).__name__}. Members are made by Member(name, state)."
