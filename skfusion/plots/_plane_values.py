"""Planes for displays, and what is shown on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skfusion.connect import Path
from skfusion.evaluate import PoolOnData
from skfusion.landscape import Plane, loss_on
from skfusion.plots._style import plain
from skfusion.state import State

_OFF = 1e-3
"""Distance from the plane, as a share of its size, from which a network is not on it."""


def plane_of(path: Path) -> Plane:
    """Return the plane of a curve, through its ends and its middle bend."""
    if len(path.controls) < 3:
        raise ValueError(
            f"{path!r} has no bend, so it spans no plane: give a curve such as Bezier(n_bends=1) trains, or three "
            "members."
        )
    bend = path.controls[len(path.controls) // 2]
    return Plane.through(path.controls[0], path.controls[-1], bend, networks=(0, 1) if path.own_ends else ())


def evaluated(
    plane: Plane,
    states: Mapping[str, State],
    path: Path | None,
    data: PoolOnData,
    n_points: int,
    margin: float,
    response: str,
) -> dict[str, Any]:
    """Evaluate a plane, and return what a display of it takes."""
    response_of(response)
    places = plane.coordinates([*states.values()])
    curve, bends = traced(plane, path)
    every = np.concatenate([places, curve, bends, plane.coordinates(plane.controls)])[:, :2]
    x, y = grids(every, margin, n_points)
    surface = loss_on(plane, data.objective, x=x, y=y)
    distances = {**dict(zip(states, places[:, 2], strict=True)), "path": curve[:, 2].max(initial=0.0)}
    far = _OFF * np.ptp(every, axis=0).max()
    return {
        "x": x,
        "y": y,
        "z": getattr(surface, response),
        "points": {name: (p[0], p[1]) for name, p in zip(states, places, strict=True)},
        "path": None if path is None else curve[:, :2],
        "bends": bends[:, :2],
        "off": {name: float(d) for name, d in distances.items() if d > far},
        **_axes([*states], places, far),
        **named(data, response),
    }


def _axes(names: list[str], places: np.ndarray, far: float) -> dict[str, str]:
    """Return labels of the axes that name the networks on the first one, where they lie there."""
    if len(names) < 2 or np.abs(places[0]).max() > far or np.abs(places[1, 1:]).max() > far:
        return {}
    return {
        "x_name": f"distance of weights from {plain(names[0], 20)} towards {plain(names[1], 20)}",
        "y_name": "distance of weights from that line",
    }


def traced(plane: Plane, path: Path | None, n_points: int = 49) -> tuple[np.ndarray, np.ndarray]:
    """Return where a curve and its bends are, seen from a plane: shapes (n_points, 3) and (n_bends, 3)."""
    if path is None:
        return np.zeros((0, 3)), np.zeros((0, 3))
    curve = [plane.coordinates([path.at(t)]) for t in np.linspace(0, 1, n_points)]
    return np.concatenate(curve), plane.coordinates(path.controls[1:-1])


def grids(places: np.ndarray, margin: float, n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions along both axes that go beyond some places by a share of their extent."""
    low, high = places.min(axis=0), places.max(axis=0)
    pad = margin * (high - low).max()
    x, y = (np.linspace(low[i] - pad, high[i] + pad, n_points) for i in range(2))
    return x, y


def response_of(name: str) -> str:
    """Return the name of what is shown, or raise ``ValueError``."""
    if name not in ("loss", "score"):
        raise ValueError(f"response must be 'loss' or 'score'; got {name!r}.")
    return name


def named(data: PoolOnData, response: str) -> dict[str, Any]:
    """Return the label of what is shown, and which way is better, for a display."""
    if response == "loss":
        return {"z_name": data.loss_name}
    return {"z_name": data.score_name, "higher_is_better": True}


def principal(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first two principal components of vectors, from their inner products."""
    n = len(gram)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(centre @ gram @ centre)
    values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
    total = float(np.trace(centre @ gram @ centre))
    if n < 3 or not values[1] > 1e-10 * total:
        raise ValueError(
            f"The {n} states lie on one line (or are equal), so they span no plane: give three or more, such as the "
            "members of Snapshots(5)."
        )
    shares = centre @ vectors / np.sqrt(values)
    shares *= np.where((gram @ shares)[0] > 0, -1.0, 1.0)  # the first vector is at the lower left
    return gram @ shares, shares, values / total
