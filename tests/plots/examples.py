"""Every display with names and numbers of one's choice, and which numbers of it are scores."""

import numpy as np

from skfusion.landscape import Profile
from skfusion.plots import (
    BarrierDisplay,
    CurveDisplay,
    DiversityDisplay,
    LeaderboardDisplay,
    PlaneDisplay,
    SimilarityDisplay,
    SoupDisplay,
    SpanningTreeDisplay,
    SubspaceDisplay,
    TrajectoryDisplay,
)

T = np.linspace(0, 1, 9)
HILL = np.array([1.0, 1.1, 1.6, 2.4, 2.9, 2.3, 1.5, 1.3, 1.2])
GRID = np.linspace(-1, 1, 9)
BOWL = 0.1 + GRID[:, None] ** 2 + 2 * GRID[None] ** 2
DECOMPOSITION = {"mean_loss": 0.31, "ambiguity": 0.04, "ensemble_loss": 0.27}


def with_bad(values, bad):
    """The numbers with a few in the middle and at the end replaced, or all of them where bad is a tuple of one."""
    found = np.array(values, np.float64)
    if isinstance(bad, tuple):
        return np.full_like(found, bad[0])
    if bad is not None:
        flat = found.reshape(-1)
        flat[[len(flat) // 2, -1]] = bad
    return found


def symmetric(matrix):
    return np.triu(matrix) + np.triu(matrix, 1).T


def barrier(names, labels, bad):
    loss, score = with_bad(HILL, bad), with_bad(1 - HILL / 4, bad)
    others = {names[2]: Profile(T, with_bad(HILL / 2, bad), score)}
    return BarrierDisplay(T, loss, score, names[:2], *labels[:2], label=names[3], others=others)


def lone_barrier(names, labels, bad):
    return BarrierDisplay(T, with_bad(HILL, bad), with_bad(1 - HILL / 4, bad), names[:2], *labels[:2])


def curve(names, labels, bad):
    curve, line = Profile(T, with_bad(HILL / 3, bad), with_bad(1 - HILL / 9, bad)), Profile(T, HILL, 1 - HILL / 3)
    ensemble = float(with_bad([0.1, 0.9], bad)[-1])
    return CurveDisplay.from_profiles(
        curve, line, ensemble_score=ensemble, names=names[:2], loss_name=labels[0], score_name=labels[1]
    )


def leaderboard(names, labels, bad):
    mean = with_bad([0.9, 0.95, 0.92, 0.91], bad)
    return LeaderboardDisplay(names, mean, mean - 0.01, mean + 0.02, labels[0], reference=0.94)


def similarity(names, labels, bad):
    return SimilarityDisplay(symmetric(with_bad(np.arange(16.0).reshape(4, 4) / 16, bad)), names, labels[0])


def diversity(names, labels, bad):
    known = {**DECOMPOSITION, "loss_name": labels[1]}
    if bad is not None:
        known["ambiguity"] = bad[0] if isinstance(bad, tuple) else bad
    return DiversityDisplay(symmetric(with_bad(np.arange(16.0).reshape(4, 4) / 16, bad)), names, labels[0], known)


def soup(names, labels, bad):
    after = [0.9, 0.92, np.nan, np.nan]
    scores = with_bad([0.9, 0.88, 0.86, 0.8], bad)
    found = float(with_bad([0.1, 0.92], bad)[-1])
    return SoupDisplay(names, with_bad([0.5, 0.5, 0, 0], bad), scores, found, with_bad(after, bad), labels[0])


def plane(names, labels, bad):
    points = {name: (x, y) for name, x, y in zip(names, (-0.8, 0.8, 0.1, 0.7), (-0.6, 0.2, 0.5, -0.7), strict=True)}
    path = np.column_stack([np.linspace(-0.8, 0.8, 9), np.linspace(-0.6, 0.2, 9) + 0.3 * np.sin(np.pi * T)])
    return PlaneDisplay(
        GRID,
        GRID,
        with_bad(BOWL, bad),
        points,
        path,
        [[0.0, 0.4]],
        off={names[3]: 0.2},
        z_name=labels[0],
        x_name=labels[1],
        y_name=labels[2],
    )


def triangle(names, labels, bad):
    places = np.array([(x, y) for y in GRID for x in GRID if x + y <= 0])
    corners = dict(zip(names, [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (-0.4, -0.4)], strict=True))
    z = with_bad(0.1 + (places**2).sum(1), bad)
    edges = [(names[0], names[1]), (names[1], names[2])]
    return SubspaceDisplay(places, z, corners, edges, x_name=labels[1], z_name=labels[0])


def chain(names, labels, bad):
    corners = dict(zip(names, [(0.0,), (0.3,), (0.5,), (1.0,)], strict=True))
    return SubspaceDisplay(T[:, None], with_bad(HILL, bad), corners, x_name=labels[1], z_name=labels[0])


def spanning_tree(names, labels, bad):
    heights = {(0, 1): 0.5, (0, 2): 1.0, (2, 3): 0.7}
    profiles = {(names[i], names[j]): Profile(T, with_bad(k * HILL, bad), HILL) for (i, j), k in heights.items()}
    return SpanningTreeDisplay(profiles, labels[0])


def cells(names, labels, bad):
    rows, columns = np.arange(9.0), np.arange(9.0)
    points = {name: (2.0 * k, 1.0 + 2 * k) for k, name in enumerate(names)}
    surface = {"x_name": labels[1], "y_name": labels[2], "z_name": labels[0]}
    return PlaneDisplay(columns, rows, with_bad(BOWL, bad), points, **surface, as_cells=True)


def trajectory(names, labels, bad):
    places = [[-0.8, 0.5], [-0.3, -0.4], [0.3, 0.2], [0.6, 0.0]]
    return TrajectoryDisplay(places, names, (0.7, 0.2), GRID, GRID, with_bad(BOWL, bad), z_name=labels[0])


EXAMPLES = {
    "barrier": barrier,
    "cells": cells,
    "lone_barrier": lone_barrier,
    "curve": curve,
    "diversity": diversity,
    "leaderboard": leaderboard,
    "plane": plane,
    "similarity": similarity,
    "soup": soup,
    "subspace": triangle,
    "chain": chain,
    "spanning_tree": spanning_tree,
    "trajectory": trajectory,
}
