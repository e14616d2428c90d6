"""What can predict, by its score, and how two of them compare."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from skfusion.diagnose._words import listed, number
from skfusion.diagnose.judge._facts import Facts, words_for
from skfusion.diagnose.measure._lines import key_of
from skfusion.diagnose.measure._paired import doubt

ALONE = "recalibrated"


class Option(NamedTuple):
    """Something that predicts."""

    words: str  # what it is, for a sentence
    score: float
    rows: np.ndarray | None  # what each row adds to the score, where it is a mean over rows
    how: str = ""  # of a soup, the way to average; ALONE for a member with recalibrated statistics
    members: tuple[str, ...] | None = None  # of a soup of some members, which ones; of such a member, its name


def best_member(f: Facts) -> Option:
    """Return the member of the highest score."""
    return Option(repr(f.best), f.top, f.rows.get(("members", f.best)))


def averaged(f: Facts) -> Option:
    """Return the averaged predictions of all members."""
    return of_pool(f, "ensemble", "the averaged predictions")


def of_pool(f: Facts, key: str, words: str, how: str = "") -> Option:
    """Return what all members give together, which ``f.pool`` has under ``key``."""
    return Option(words, float(f.pool[key]), f.rows.get(("pool", key)), how)


def best_network(f: Facts) -> Option:
    """Return the one network of the highest score; the best member where none is better."""
    options = [best_member(f)]
    if "soup" in f.pool:
        options.append(of_pool(f, key_of("line"), "the uniform soup", "line"))
        if (how := f.best_alignment()) is not None:
            options.append(of_pool(f, key_of(how), f"the uniform soup {words_for(how)}", how))
    for basin in f.good_basins:
        words = f"the soup of {listed(basin.members)}"
        options.append(Option(words, basin.soup, basin.rows, "line", basin.members))
    options += [after for _, after in lagging(f)]
    return max(options, key=lambda option: option.score)


def recalibrated(f: Facts) -> list[tuple[Option, Option]]:
    """Return each member as it is and with recalibrated statistics; nothing without BatchNorm or data."""
    if not (f.has_data and f.recipes.batch_norm):
        return []
    return [
        (
            Option(repr(name), float(row["score"]), f.rows.get(("members", name))),
            Option(
                f"{name!r} with recalibrated statistics",
                float(row["score_recalibrated"]),
                f.rows.get(("recalibrated", name)),
                ALONE,
                (str(name),),
            ),
        )
        for name, row in f.members.iterrows()
    ]


def lagging(f: Facts) -> list[tuple[Option, Option]]:
    """Return the members of :func:`recalibrated` that gain by it."""
    return [(before, after) for before, after in recalibrated(f) if is_beyond(f, after, before)]


def is_beyond(f: Facts, one: Option, other: Option) -> bool:
    """Return whether the score of one is higher, by more than the tolerance and by more than chance."""
    margin = doubt(one.rows, other.rows, f.tolerance)
    return math.isfinite(one.score) and one.score - other.score > max(f.tolerance, margin)


def is_apart(f: Facts, one: Option, other: Option) -> bool:
    """Return whether the scores of two differ by more than chance, or by more than the tolerance of other scores."""
    return abs(one.score - other.score) > doubt(one.rows, other.rows, f.tolerance)


def in_doubt(f: Facts, one: Option, other: Option) -> str:
    """Return why two may be equally good, as a sentence after another one."""
    if one.rows is None or other.rows is None:
        return f" They are within the tolerance, {f.tolerance:.3g}."
    return (
        f" On {f.n_rows} rows, they are not told apart: two standard errors of the difference are "
        f"{number(doubt(one.rows, other.rows, f.tolerance))}."
    )
