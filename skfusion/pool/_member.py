"""One trained network as a value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
