"""What a display of a subspace shows: its loss on a triangle, on the plane of one, along a chain, and along a path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np

from skfusion.connect import Complex, Path, SimplicialComplex, Subspace
from skfusion.evaluate import PoolOnData
from skfusion.landscape import Losses, Plane, Surface, loss_at, loss_on
from skfusion.plots._on_planes import grids
from skfusion.state import distance


def names_of(subspace: Subspace) -> list[str]:
    """Return names of the control states: networks as they were trained, and what was trained with the subspace."""
    n = len(subspace.controls)
    kept = {k % n for k in subspace.networks}
    other = "connector" if kept else "corner"
    kinds = ["network" if k in kept else other for k in range(n)]
    return [f"{kind} {kinds[:k].count(kind)}" for k, kind in enumerate(kinds)]


class Evaluated:
    """A subspace on data; each method evaluates a part of it, and returns what a display of that takes."""

    def __init__(self, subspace: Subspace, names: list[str], data: PoolOnData, n_points: int, response: str):
        self.subspace, self.names, self.data = subspace, names, data
        self.n_points, self.response = max(n_points, 2), response

    def of(self, corners: Any, margin: float | None) -> dict[str, Any]:
        """Return a path, a triangle or its plane, or a chain."""
        subspace = self.subspace
        if isinstance(subspace, Path):
            return self._path()
        if not isinstance(subspace, SimplicialComplex):
            raise TypeError(
                f"{subspace!r} is neither a path nor made of simplexes, so it cannot be shown by its corners."
            )
        chosen = self._chosen(subspace.basis, corners)
        if len(chosen) == 3 and any({*chosen} <= {*simplex} for simplex in subspace.basis.simplexes):
            return self._triangle(chosen) if margin is None else self._plane(chosen, margin)
        return self._chain(chosen)

    def _chosen(self, basis: Complex, corners: Any) -> list[int]:
        """Return the positions of the control states that are asked for."""
        if corners is None:
            return [*basis.simplexes[0][:3]]
        asked = [self.names.index(c) if c in self.names else c for c in corners]
        if len(asked) < 2 or not all(isinstance(k, Integral) and 0 <= k < len(self.names) for k in asked):
            raise ValueError(f"corners must be two or more of {self.names}, or their positions; got {corners!r}.")
        return [int(k) for k in asked]

    def _triangle(self, chosen: list[int]) -> dict[str, Any]:
        """Evaluate a triangle on a grid in it."""
        inside = np.array(Complex([range(3)]).grid(self.n_points, 3))
        c = np.zeros((len(inside), len(self.names)))
        c[:, chosen] = inside
        at = self._places(self._spanned(chosen), chosen)
        return self._flat(inside @ at, loss_at(self.subspace, [*c], self.data.objective), at, chosen)

    def _plane(self, chosen: list[int], margin: float) -> dict[str, Any]:
        """Evaluate the plane of a triangle, beyond it too."""
        plane = self._spanned(chosen)
        at = self._places(plane, chosen)
        x, y = grids(at, margin, self.n_points)
        surface = loss_on(plane, self.data.objective, x=x, y=y)
        return self._flat(np.array([(p, q) for q in y for p in x]), surface, at, chosen)

    def _spanned(self, chosen: list[int]) -> Plane:
        networks = [i for i, k in enumerate(chosen) if k in self.subspace.networks]
        a, b, c = (self.subspace.controls[k] for k in chosen)
        return Plane.through(a, b, c, networks=networks)

    def _places(self, plane: Plane, chosen: list[int]) -> np.ndarray:
        return plane.coordinates([self.subspace.controls[k] for k in chosen])[:, :2]

    def _flat(self, places: np.ndarray, judged: Losses | Surface, at: np.ndarray, chosen: list[int]) -> dict[str, Any]:
        used = [self.names[k] for k in chosen]
        return {
            **self._values(places, judged),
            "corners": dict(zip(used, map(tuple, at), strict=True)),
            "edges": [(used[0], used[1]), (used[1], used[2]), (used[2], used[0])],
            "x_name": f"distance of weights from {used[0]} towards {used[1]}",
        }

    def _chain(self, chosen: list[int]) -> dict[str, Any]:
        """Evaluate the lines from each of some corners to the next, also where they are in no simplex."""
        n, steps, eye = len(self.names), np.linspace(0, 1, self.n_points)[1:], np.eye(len(self.names))
        places, c, ends = [0.0], [eye[chosen[0]]], [0.0]
        for a, b in pairwise(chosen):
            length = distance(self.subspace.controls[a], self.subspace.controls[b])
            places += (ends[-1] + steps * length).tolist()
            c += [(1 - s) * eye[a] + s * eye[b] for s in steps]
            ends.append(ends[-1] + length)
        every = self.subspace.replace(basis=Complex([range(n)]))
        judged = loss_at(every, c, self.data.objective)
        corners: Sequence[Any] = [(self.names[k], (end,)) for k, end in zip(chosen, ends, strict=True)]
        return {
            **self._values(np.array(places)[:, None], judged),
            "corners": dict(corners),
            "x_name": "distance of weights along the chain",
        }

    def _path(self) -> dict[str, Any]:
        """Evaluate a path at equally spaced positions."""
        t = np.linspace(0, 1, self.n_points)
        return {
            **self._values(t[:, None], loss_at(self.subspace, t.tolist(), self.data.objective)),
            "corners": {"start": (0.0,), "0.5": (0.5,), "end": (1.0,)},
            "x_name": "position t on the path",
        }

    def _values(self, places: np.ndarray, judged: Losses | Surface) -> dict[str, Any]:
        of_loss = self.response == "loss"
        return {
            "places": places,
            "z": (judged.loss if of_loss else judged.score).ravel(),
            "z_name": self.data.loss_name if of_loss else self.data.score_name,
            "higher_is_better": not of_loss,
        }
