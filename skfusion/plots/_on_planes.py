"""What displays of planes show: networks and curves seen from a plane, and filled contours of loss or score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skfusion.connect import Path
from skfusion.evaluate import PoolOnData
from skfusion.landscape import Plane, loss_on
from skfusion.plots._labels import AROUND, write_beside
from skfusion.plots._levels import FAR, is_constant, levels_of
from skfusion.plots._style import AS_TRAINED, CURVE, UNKNOWN, beside, colour_bar, explain, legend_above
from skfusion.plots._text import distinct, plain
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
    check_response(response)
    places = plane.coordinates([*states.values()])
    curve = bends = np.zeros((0, 3))  # where they are, seen from the plane
    if path is not None:
        curve = np.concatenate([plane.coordinates([path.at(t)]) for t in np.linspace(0, 1, 49)])
        bends = plane.coordinates(path.controls[1:-1])
    every = np.concatenate([places, curve, bends, plane.coordinates(plane.controls)])[:, :2]
    x, y = grids(every, margin, n_points)
    surface = loss_on(plane, data.objective, x=x, y=y)
    distances = {**dict(zip(states, places[:, 2], strict=True)), "path": curve[:, 2].max(initial=0.0)}
    far = _OFF * np.ptp(every, axis=0).max()
    return {
        "x": x,
        "y": y,
        "points": {name: (p[0], p[1]) for name, p in zip(states, places, strict=True)},
        "path": None if path is None else curve[:, :2],
        "bends": bends[:, :2],
        "off": {name: float(d) for name, d in distances.items() if d > far},
        **_axes([*states], places, far),
        **shown(surface, data, response),
    }


def _axes(names: list[str], places: np.ndarray, far: float) -> dict[str, str]:
    """Return labels of the axes that name the networks on the first one, where they lie there."""
    if len(names) < 2 or np.abs(places[0]).max() > far or np.abs(places[1, 1:]).max() > far:
        return {}
    return {
        "x_name": f"distance of weights from {plain(names[0], 20)} towards {plain(names[1], 20)}",
        "y_name": "distance of weights from that line",
    }


def grids(places: np.ndarray, margin: float, n_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions along both axes that go beyond some places by a share of their extent."""
    low, high = places.min(axis=0), places.max(axis=0)
    pad = margin * (high - low).max()
    x, y = (np.linspace(low[i] - pad, high[i] + pad, n_points) for i in range(2))
    return x, y


def check_response(response: str) -> None:
    """Raise ``ValueError`` where neither loss nor score is to be shown."""
    if response not in ("loss", "score"):
        raise ValueError(f"response must be 'loss' or 'score'; got {response!r}.")


def shown(surface: Any, data: PoolOnData, response: str) -> dict[str, Any]:
    """Return the loss or score on a plane, its label, and which way is better, for a display."""
    name = data.loss_name if response == "loss" else data.score_name
    return {"z": getattr(surface, response), "z_name": name, "higher_is_better": response == "score"}


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


def draw_contours(ax: Any, x: Any, y: Any, z: Any, name: str, higher_is_better: bool = False) -> Any:
    """Draw filled contours with their colour bar, good places dark; return the contours."""
    look, lines, known = _colours(z, higher_is_better), {"colors": "white", "linewidths": 0.5}, np.ma.masked_invalid(z)
    drawn = ax.contourf(x, y, known, **look)
    if len(look["levels"]) > 2:
        ax.contour(x, y, known, levels=look["levels"], alpha=0.5, **lines)
    _show_unknown(ax, z)
    _explain(ax, drawn, look["levels"], name, z)
    return drawn


def draw_regions(ax: Any, places: np.ndarray, z: np.ndarray, name: str, higher_is_better: bool = False) -> Any:
    """Draw filled contours between scattered places, without those that are not finite; see :func:`draw_contours`."""
    known = np.isfinite(z)
    look, lines = _colours(z, higher_is_better), {"colors": "white", "linewidths": 0.5}
    drawn = ax.tricontourf(*places[known].T, z[known], **look)
    if len(look["levels"]) > 2:
        ax.tricontour(*places[known].T, z[known], levels=look["levels"], alpha=0.5, **lines)
    ax.grid(visible=False)
    if not known.all():
        explain(ax, "left out: not finite")
    _explain(ax, drawn, look["levels"], name, z)
    return drawn


def _colours(z: Any, higher_is_better: bool) -> dict[str, Any]:
    """Return levels of contours, and how they are coloured."""
    from matplotlib.colors import BoundaryNorm

    levels = levels_of(np.asarray(z), higher_is_better)
    if is_constant(z):
        levels = np.nanmean(levels[:1]) + 1e-6 * max(1.0, abs(levels[0])) * np.array([-1.0, 1.0])  # one colour
    beyond = (np.nanmin(z) < levels[0], np.nanmax(np.where(np.isfinite(z), z, np.nan)) > levels[-1])
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    norm = BoundaryNorm(levels, 256, extend=extend)
    return {"levels": levels, "norm": norm, "cmap": "viridis_r" if higher_is_better else "viridis", "extend": extend}


def _show_unknown(ax: Any, z: Any) -> None:
    """Let the ground be grey, which is seen where a network overflows, and say so."""
    ax.grid(visible=False)
    if not np.isfinite(z).all():
        explain(ax, "grey: not finite", "s", color=UNKNOWN, markersize=9)
    ax.set_facecolor(UNKNOWN)


def _explain(ax: Any, drawn: Any, levels: np.ndarray, name: str, z: Any) -> None:
    """Draw the colour bar of contours, of one number where all are equal."""
    from matplotlib.ticker import FuncFormatter

    ticks = levels if len(levels) <= 10 else levels[::2]
    if is_constant(z):
        ticks = [float(np.nanmin(z))]
    bar = colour_bar(ax, drawn, name, ticks=ticks, spacing="uniform")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    bar.ax.minorticks_off()


def draw_cells(ax: Any, x: Any, y: Any, z: Any, name: str, higher_is_better: bool = False) -> Any:
    """Draw a square for each value with their colour bar, good ones dark, rows downwards; return the squares.

    Colours of losses are spaced by factors.
    """
    from matplotlib.colors import LogNorm, Normalize

    known = np.asarray(z)[np.isfinite(z)]
    if not known.size:
        raise ValueError("No value on the plane is finite: the networks overflow everywhere on it.")
    low, high = np.quantile(known, [1 - FAR, 1] if higher_is_better else [0, FAR])
    colours = "viridis_r" if higher_is_better else "viridis"
    norm = LogNorm(low, high) if 0 < low < high and not higher_is_better else Normalize(low, high)
    drawn = ax.pcolormesh(x, y, np.ma.masked_invalid(z), cmap=colours, norm=norm, shading="nearest")
    _show_unknown(ax, z)
    ax.invert_yaxis()
    ax.locator_params(integer=True)  # rows and columns have whole numbers
    beyond = (known.min() < low, known.max() > high)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    one_value = {"ticks": [low], "format": "%.4g"} if is_constant(z) else {}
    colour_bar(ax, drawn, name, extend=extend, **one_value)
    return drawn


def draw_points(
    ax: Any, points: Mapping[str, tuple[float, float]], off: Mapping[str, float], path: np.ndarray | None = None
) -> None:
    """Mark networks by their names; those off the plane are hollow, and the legend says how far they are from it.

    No name covers a path or the straight line between its ends.
    """
    known = {name: at for name, at in points.items() if np.isfinite(at).all()}
    hollow = {name: off[name] for name in known if name in off}
    labels = {name: f"{plain(name, 16)}: {d:.3g} off the plane" for name, d in hollow.items()}
    if len(hollow) > 3:
        low, high = min(hollow.values()), max(hollow.values())
        labels = {next(iter(hollow)): f"{len(hollow)} networks off the plane, by {low:.3g} to {high:.3g}"}
    for name, at in known.items():
        inner, edge = ("none", "white") if name in hollow else ("white", "black")
        look = {"color": inner, "markeredgecolor": edge, "markersize": 8.5, "markeredgewidth": 1.6, "zorder": 5}
        (drawn,) = ax.plot(*at, "o", label=labels.get(name), **look)
        if name in hollow:
            _outline(drawn, 3.4)
    if absent := [plain(name, 20) for name in points if name not in known]:
        explain(ax, f"at no finite place: {', '.join(absent[:3])}{' …' * (len(absent) > 3)}")
    legend_above(ax, 3)
    _write_names(ax, known, path)


def _write_names(ax: Any, points: Mapping[str, tuple[float, float]], path: np.ndarray | None) -> None:
    """Write names beside their points; the legend says how many have none, for want of room."""
    at, others = np.array([*points.values()]).reshape(-1, 2), len(ax.texts)
    names, look, below, avoid = distinct([*points], 20), beside(ax), path is not None, at
    if path is not None:
        avoid = np.concatenate([at, path, np.linspace(path[0], path[-1], len(path))])
    left = write_beside(ax, names, at, [_places(ax, p, below) for p in at], look, avoid)
    if left:
        explain(ax, f"{len(left)} of {len(points)} not named, for want of room")
        legend_above(ax, 3)
        for text in [*ax.texts][others:]:
            text.remove()
        write_beside(ax, names, at, [_places(ax, p, below) for p in at], look, avoid)


def _places(ax: Any, at: Any, below: bool) -> Sequence[tuple[float, float]]:
    """Return the places of the name of a point, those towards the middle of the axes first."""
    x, y = ax.transAxes.inverted().transform(ax.transData.transform(at))
    right, up = x > 0.7, (y <= 0.12 if below else y <= 0.88)
    return sorted(AROUND, key=lambda shift: (abs(shift[1]) > 20, (shift[0] > 0) == right, (shift[1] > 0) != up))


def draw_path(ax: Any, path: Any, bends: np.ndarray, ends: Sequence[Any], off: float | None = None) -> None:
    """Draw a curve, and dashed what bends it."""
    if path is None:
        return
    label = "trained curve" if off is None else f"trained curve, up to {off:.3g} off the plane"
    (drawn,) = ax.plot(*path.T, color=CURVE, linewidth=3.2, zorder=4, label=label)
    _outline(drawn, 5.0)
    look = {"color": AS_TRAINED, "linewidth": 2.2, "linestyle": "--", "zorder": 3, "label": "straight line"}
    _outline(ax.plot(*path[[0, -1]].T, **look)[0], 3.6)
    if len(bends):
        corners = np.concatenate([path[:1], bends, path[-1:]])
        ax.plot(*corners.T, color="white", linewidth=1.2, linestyle=(0, (5, 3)), zorder=3)
        ax.plot(
            *bends.T, "D", color=CURVE, markeredgecolor="black", markersize=7, zorder=5, linestyle="none",
            label="bend" if len(bends) == 1 else "bends",
        )  # fmt: skip
    for end in path[[0, -1]]:
        if not any(np.allclose(end, known) for known in ends):
            ax.plot(*end, "s", color=CURVE, markeredgecolor="black", markersize=6, zorder=5)


def _outline(line: Any, width: float) -> None:
    from matplotlib.patheffects import Normal, Stroke

    line.set_path_effects([Stroke(linewidth=width, foreground="black"), Normal()])
