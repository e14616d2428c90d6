"""What was measured, as tables: a row a member, a row a pair that is looked at, and the scores of all together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from skfusion.combine import Average
from skfusion.diagnose.measure._families import Family, agreement, difference, statistics_apart
from skfusion.diagnose.measure._lines import key_of, soups_of
from skfusion.evaluate import WAYS, pair_index
from skfusion.geometry import geometry
from skfusion.landscape import Profile
from skfusion.pool import ModelPool
from skfusion.state import n_parameters

Pairs = Literal["all", "neighbours"] | int


class Basin(NamedTuple):
    """Members that are joined by lines on which the score does not fall by more than the tolerance."""

    members: tuple[str, ...]
    soup: float  # the score of their mean, BatchNorm statistics recalibrated; of a single one its score
    best: float  # the score of the best of them
    rows: np.ndarray | None = None  # what each row adds to the score of their mean, where it is a mean over rows


def chosen_pairs(
    pool: ModelPool, parts: list[list[int]], pairs: Pairs, random_state: int
) -> tuple[list[tuple[int, int]], str]:
    """Return the positions of the pairs that are looked at, in the order of the pool, and a note on which they are.

    ``parts`` are the members of each architecture. Neighbours are the pairs of a minimum spanning tree of distances.
    """
    every = [*combinations(range(len(pool)), 2)]
    if isinstance(pairs, int | np.integer) and not isinstance(pairs, bool) and pairs > 0:
        drawn = np.random.RandomState(random_state).permutation(len(every))[:pairs]
        some, which = [every[k] for k in np.sort(drawn)], "drawn at random"
    elif pairs == "neighbours":
        between = [(a[0], b[0]) for a, b in pairwise(parts)]
        some = sorted({*between, *(pair for part in parts for pair in _tree(pool, part))})
        which = "the least distances that join all"
    elif pairs == "all":
        return every, ""
    else:
        raise ValueError(f"pairs must be 'all', 'neighbours' or a positive number of pairs; got {pairs!r}.")
    if len(some) == len(every):
        return every, ""
    how_many = f"{len(some)} of the {len(every)} pairs of members were looked at"
    return some, f"{how_many}: {which}. What is said of pairs is of these."


def _tree(pool: ModelPool, part: list[int]) -> list[tuple[int, int]]:
    if len(part) < 2:
        return []
    distance = np.asarray(geometry([pool[k].state for k in part]).distance, np.float64)
    tree = minimum_spanning_tree(np.triu(distance + 1, 1))  # one more, as zero is no edge
    return [(part[i], part[j]) for i, j in zip(*(axis.tolist() for axis in tree.nonzero()), strict=True)]


def pairs_within(
    pool: ModelPool, part: list[int], chosen: list[tuple[int, int]]
) -> Iterator[tuple[int, int, tuple[str, str]]]:
    """Yield the chosen pairs of one part: the places of both members in it, and their names."""
    place = {k: i for i, k in enumerate(part)}
    for a, b in chosen:
        if a in place and b in place:
            yield place[a], place[b], (pool.names[a], pool.names[b])


def weights_of(pool: ModelPool, parts: list[list[int]], chosen: list[tuple[int, int]]) -> tuple[pd.DataFrame, str]:
    """Return what weights say of each pair, and how members differ that cannot be averaged, as a clause."""
    columns = ("distance", "cosine", "sign_conflict")
    table = pd.DataFrame(np.nan, index=pair_index(pool.names, chosen), columns=columns)
    for part in parts:
        base = pool.base if len(parts) == 1 else None
        compared = geometry([pool[k].state for k in part], base)
        for i, j, pair in pairs_within(pool, part, chosen):
            table.loc[pair, columns] = [float(getattr(compared, name)[i, j]) for name in columns]
    differences = [difference(pool, i, j) for i, j in chosen]
    table["reason"] = ["" if how is None else how.reason for how in differences]
    if len(parts) > 1:  # of which no pair may have been chosen
        differences.append(difference(pool, parts[0][0], parts[1][0]))
    return table, next((how.clause for how in differences if how is not None), "")


def statistics_of(pool: ModelPool, pairs: pd.DataFrame) -> pd.Series:
    """Return how far apart the statistics of each pair are."""
    apart = [
        math.nan if pairs["reason"][a, b] else statistics_apart(pool[a].state, pool[b].state) for a, b in pairs.index
    ]
    return pd.Series(apart, pairs.index, dtype=float)


def members_of(pool: ModelPool, measured: list[Family]) -> pd.DataFrame:
    """Return the size of each member and, with data, loss and score, and the score with recalibrated statistics."""
    table = pd.DataFrame(
        {
            "n_parameters": [n_parameters(m.state) for m in pool],
            "norm": [float(geometry([m.state]).norm[0]) for m in pool],
        },
        index=pd.Index(pool.names, name="member"),
    )
    for family in measured:
        table.loc[family.names, "loss"] = [member.loss for member in family.judged]
        table.loc[family.names, "score"] = family.scores
        table.loc[family.names, "score_recalibrated"] = [member.score for member in family.recalibrated]
    return table if measured else table.assign(score_recalibrated=math.nan)


def add_lines(pairs: pd.DataFrame, profiles: dict[tuple[str, str], dict[str, Profile]]) -> None:
    """Add what stands on the lines as columns, NaN where there is no line."""
    measures = {
        "barrier": lambda p: p.barrier,
        "fall": lambda p: p.score_barrier,
        "midpoint": lambda p: float(p.score[len(p.score) // 2]),
    }
    for what, value in measures.items():
        for way in WAYS:
            lines = (profiles.get(pair, {}).get(way) for pair in pairs.index)
            pairs[f"{what}_{way}"] = [math.nan if p is None else value(p) for p in lines]


def add_similarity(pairs: pd.DataFrame, layers: dict[Any, pd.Series], measured: list[Family]) -> None:
    """Add the similarity of what two members compute as columns."""
    by_layer = [layers.get(pair, pd.Series(dtype=float)) for pair in pairs.index]
    pairs["cka_mean"] = [float(s.mean()) for s in by_layer]
    pairs["cka_last"] = [float(s.iloc[-1]) if len(s) else math.nan for s in by_layer]
    predictions = {name: p for family in measured for name, p in zip(family.names, family.predictions, strict=True)}
    pairs["agreement"] = [agreement(predictions[a], predictions[b], measured[0].data.task) for a, b in pairs.index]


def basins_of(pool: ModelPool, measured: list[Family], pairs: pd.DataFrame, tolerance: float) -> list[Basin]:
    """Return the members that lines without a fall join, in the order of the pool."""
    basins: list[tuple[int, Basin]] = []
    for family in measured:
        names = family.names
        joined = [[_fall(pairs, a, b) <= tolerance for b in names] for a in names]
        n_basins, label = connected_components(np.array(joined), directed=False)
        for basin in (np.flatnonzero(label == k) for k in range(n_basins)):
            best = float(family.scores[basin].max())
            soup, rows = best, None
            if 1 < len(basin) < len(pool):
                states = [family.data.states[i] for i in basin]
                _, soup, rows = soups_of(states, family.data, None, 0, family.by_row)["line"]
            basins.append((family.index[basin[0]], Basin(tuple(names[i] for i in basin), soup, best, rows)))
    return [basin for _, basin in sorted(basins, key=lambda item: item[0])]


def _fall(pairs: pd.DataFrame, a: str, b: str) -> float:
    pair = (a, b) if (a, b) in pairs.index else (b, a)
    return float(pairs["fall_line"][pair]) if pair in pairs.index else math.inf  # it was not looked at


def scores_of(
    members: pd.DataFrame, measured: list[Family], random_state: int
) -> tuple[pd.Series, dict[tuple[str, str], np.ndarray | None]]:
    """Return the scores of what the pool gives as a whole, and what each row adds to these and to the members'."""
    if not measured:
        return pd.Series(dtype=float, name="score"), {}
    rows: dict[tuple[str, str], np.ndarray | None] = {}
    for family in measured:
        for name, member, recalibrated in zip(family.names, family.judged, family.recalibrated, strict=True):
            rows["members", name], rows["recalibrated", name] = member.rows, recalibrated.rows
    scores = {"best_member": members["score"].max(), "mean_member": members["score"].mean()}
    first = measured[0]
    if len(measured) == 1:
        soups = soups_of(first.data.states, first.data, first.units.symmetry, random_state, first.by_row)
        scores |= {key_of(way): soups[way].score if way in soups else math.nan for way in WAYS}
        rows |= {("pool", key_of(way)): soup.rows for way, soup in soups.items()}
    P = Average()(np.concatenate([family.predictions for family in measured]))
    scores["ensemble"] = first.data.score(P, first.data.rows)
    rows["pool", "ensemble"] = None if first.by_row is None else first.by_row(P, first.data.rows)
    return pd.Series(scores, dtype=float, name="score"), rows
