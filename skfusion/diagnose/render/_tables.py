"""What was measured, as tables: a row a member, and a row a pair of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from skfusion.diagnose.measure._chosen import places
from skfusion.diagnose.measure._families import Family, agreement, statistics_apart, unlike
from skfusion.evaluate import WAYS
from skfusion.geometry import geometry
from skfusion.landscape import Profile
from skfusion.pool import ModelPool
from skfusion.state import n_parameters


def weights_of(pool: ModelPool, parts: list[list[int]], index: list[tuple[int, int]]) -> tuple[pd.DataFrame, str]:
    """Return a row a pair with what weights tell, and how members differ that cannot be averaged."""
    names = pd.MultiIndex.from_tuples([(pool.names[i], pool.names[j]) for i, j in index], names=["member", "other"])
    columns = ("distance", "cosine", "sign_conflict")
    table = pd.DataFrame(np.nan, index=names, columns=columns)
    for part in parts:
        base = pool.base if len(parts) == 1 else None
        found = geometry([pool[k].state for k in part], base)
        for i, j in places(part, index):
            pair = (pool.names[part[i]], pool.names[part[j]])
            table.loc[pair, columns] = [float(getattr(found, name)[i, j]) for name in columns]
    differ = [unlike(pool, i, j) for i, j in index]
    table["reason"] = ["" if found is None else found.reason for found in differ]
    if len(parts) > 1:  # of which no pair may have been chosen
        differ.append(unlike(pool, parts[0][0], parts[1][0]))
    return table, next((found.clause for found in differ if found is not None), "")


def statistics_of(pool: ModelPool, pairs: pd.DataFrame) -> pd.Series:
    """Return how far apart the statistics of each pair are."""
    known = [
        math.nan if pairs["reason"][a, b] else statistics_apart(pool[a].state, pool[b].state) for a, b in pairs.index
    ]
    return pd.Series(known, pairs.index, dtype=float)


def members_of(pool: ModelPool, found: list[Family]) -> pd.DataFrame:
    """Return a row a member: its size and, with data, loss and score, and the score with recalibrated statistics."""
    table = pd.DataFrame(
        {
            "n_parameters": [n_parameters(m.state) for m in pool],
            "norm": [float(geometry([m.state]).norm[0]) for m in pool],
        },
        index=pd.Index(pool.names, name="member"),
    )
    for family in found:
        names = [pool.names[k] for k in family.index]
        table.loc[names, "loss"] = family.loss
        table.loc[names, "score"] = family.score
        table.loc[names, "score_recalibrated"] = family.score_recalibrated
    return table if found else table.assign(score_recalibrated=math.nan)


def add_lines(pairs: pd.DataFrame, profiles: dict[tuple[str, str], dict[str, Profile]]) -> None:
    """Add what stands on the lines as columns, NaN where there is no line."""
    asked = {
        "barrier": lambda p: p.barrier,
        "fall": lambda p: p.score_barrier,
        "midpoint": lambda p: float(p.score[len(p.score) // 2]),
    }
    for what, value in asked.items():
        for how in WAYS:
            known = (profiles.get(pair, {}).get(how) for pair in pairs.index)
            pairs[f"{what}_{how}"] = [math.nan if p is None else value(p) for p in known]


def add_similarity(pairs: pd.DataFrame, layers: dict[Any, pd.Series], predictions: dict[str, Any], task: str) -> None:
    """Add how alike two members compute as columns."""
    known = [layers.get(pair, pd.Series(dtype=float)) for pair in pairs.index]
    pairs["cka_mean"] = [float(s.mean()) for s in known]
    pairs["cka_last"] = [float(s.iloc[-1]) if len(s) else math.nan for s in known]
    pairs["agreement"] = [agreement(predictions[a], predictions[b], task) for a, b in pairs.index]
