"""What is written on a figure and where, and displays of any number of members."""

from itertools import pairwise

import numpy as np
from plots.examples import BOWL, DECOMPOSITION, GRID, HILL, T, symmetric

from skfusion.landscape import Profile
from skfusion.plots import (
    BarrierDisplay,
    DiversityDisplay,
    LeaderboardDisplay,
    PlaneDisplay,
    SimilarityDisplay,
    SoupDisplay,
    SpanningTreeDisplay,
    SubspaceDisplay,
    TrajectoryDisplay,
)


def long_names(n):
    """Names of 40 characters that differ in the middle and at the end."""
    return [f"resnet50-cosine-lr0.003-wd{k:02d}-augment-s{k:03d}" for k in range(n)]


def short_names(n):
    return [f"seed-{k}" for k in range(n)]


def rng():
    return np.random.default_rng(0)


def matrix(n):
    return symmetric(rng().uniform(size=(n, n)))


def leaderboard(names):
    mean = np.linspace(0.9, 0.995, len(names))
    return LeaderboardDisplay(names, mean, mean - 0.02, mean + 0.02, "accuracy", reference=0.95)


def soup(names):
    n = len(names)
    weights = np.where(np.arange(n) < (n + 1) // 2, 2 / (n + 1), 0.0)
    after = np.where(weights > 0, np.linspace(0.95, 0.99, n), np.nan)
    return SoupDisplay(names, weights, rng().uniform(0.8, 1.0, n), 0.99, after, "accuracy")


def similarity(names):
    return SimilarityDisplay(matrix(len(names)), names)


def diversity(names):
    known = {"loss_name": "cross-entropy (nats)", **DECOMPOSITION}
    return DiversityDisplay(matrix(len(names)), names, "share of rows with unlike labels", known)


def spanning_tree(names):
    pairs = pairwise(names)
    return SpanningTreeDisplay({pair: Profile(T, HILL * (1 + k), T) for k, pair in enumerate(pairs)})


def trajectory(names):
    t = np.linspace(0, 1, len(names))
    return TrajectoryDisplay(np.column_stack([1.4 * t - 0.8, np.sin(4 * t) * (1 - t)]), names, (0.7, 0.2))


def plane(names):
    points = dict(zip(names, map(tuple, rng().uniform(-0.9, 0.9, (len(names), 2))), strict=True))
    return PlaneDisplay(GRID, GRID, BOWL, points, off=dict.fromkeys(names[::2], 0.2))


def chain(names):
    corners = {name: (x,) for name, x in zip(names, np.linspace(0, 1, len(names)), strict=True)}
    return SubspaceDisplay(T[:, None], HILL, corners)


def barrier(names):
    paths = {name: Profile(T, HILL / (1 + k), 1 - HILL / (4 + k)) for k, name in enumerate(names[:5])}
    return BarrierDisplay.from_profiles(paths, names=(names[0], names[-1]), score_name="accuracy")


OF_NAMES = {
    "barrier": barrier,
    "chain": chain,
    "diversity": diversity,
    "leaderboard": leaderboard,
    "plane": plane,
    "similarity": similarity,
    "soup": soup,
    "spanning_tree": spanning_tree,
    "trajectory": trajectory,
}
"""Each display as a function of the names of its members."""


def written(figure):
    """All that can be read on a figure, after it was drawn: texts that are not empty, and ticks in view."""
    figure.canvas.draw()
    found = list(figure.texts)
    bars = [bar for ax in figure.axes for bar in ax.child_axes]
    for ax in [*figure.axes, *bars]:
        found += [*ax.texts, ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label]
        found += ax.get_legend().get_texts() if ax.get_legend() else []
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    found += [label for label in (tick.label1, tick.label2) if label.get_visible()]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def overlapping(texts):
    """Pairs of texts that cover each other, or whose lines are closer than they are high where both are turned."""
    boxes = [(text, text.get_window_extent().padded(-1)) for text in texts]
    for k, (a, box) in enumerate(boxes):
        for b, other in boxes[:k]:
            if a.get_rotation() == b.get_rotation() not in (0, 90, 180, 270):
                apart = abs(box.x1 - other.x1) * np.sin(np.deg2rad(a.get_rotation()))
                if apart < 0.9 * a.get_size() * a.figure.dpi / 72:
                    yield a.get_text(), b.get_text()
            elif box.overlaps(other) and box.width > 0 and other.width > 0:
                yield a.get_text(), b.get_text()


def outside(figure, texts):
    """Texts that the edge of the figure cuts."""
    for text in texts:
        box = text.get_window_extent()
        if box.x0 < -2 or box.y0 < -2 or box.x1 > figure.bbox.x1 + 2 or box.y1 > figure.bbox.y1 + 2:
            yield text.get_text()
