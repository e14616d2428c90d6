"""The improved tangent of the nudged elastic band, pivot by pivot (Henkelman and Jónsson, 2000, equations 8 to 11)."""

import numpy as np


def unit(v):
    size = np.sqrt((v * v).sum())
    return v / size if size > 0 else v


def tangent(before, here, after, losses):
    """The unit tangent at a pivot between two neighbours; ``losses`` are those of the three."""
    ahead, back = unit(after - here), unit(here - before)
    low, mid, high = losses
    if low < mid < high:
        return ahead
    if low > mid > high:
        return back
    most, least = max(abs(high - mid), abs(low - mid)), min(abs(high - mid), abs(low - mid))
    if high > low:
        return unit(ahead * most + back * least)
    if high < low:
        return unit(ahead * least + back * most)
    return unit(ahead + back)


def spring(before, here, after, rest, stiffness, direction):
    """The gradient of the springs to both neighbours, along a direction; ``rest`` are their lengths at rest."""
    behind = np.linalg.norm(here - before) - rest[0]
    in_front = np.linalg.norm(after - here) - rest[1]
    return stiffness * (behind - in_front) * direction


def minimax(heights, first, second):
    """The lowest highest edge on any way between two nodes, by trying all ways without a circle."""
    best = np.inf

    def walk(node, seen, highest):
        nonlocal best
        if node == second:
            best = min(best, highest)
            return
        for edge, height in heights.items():
            if node in edge and not {*edge} <= seen:
                other = edge[0] if edge[1] == node else edge[1]
                walk(other, seen | {other}, max(highest, height))

    walk(first, {first}, -np.inf)
    return best
