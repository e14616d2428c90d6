"""The tables of a report, described once: columns with their names, numbers, digits and colours.

A terminal (``_terminal``) and a page (``_page``) show them, each in its way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from skfusion.diagnose._words import number
from skfusion.evaluate import WAYS

NONE = "–"
_PAIR_HEADS = {
    "distance": ("distance", "dist."),
    "cosine": ("cosine", "cosine"),
    "sign_conflict": ("sign conflict", "sign conflict"),
    "fall_raw": (f"fall: {WAYS['raw']}", "as is"),
    "fall_line": (f"fall: {WAYS['line']}", "recal."),
    "fall_weights": (f"fall: {WAYS['weights']}", "weights"),
    "fall_weights_repair": (f"fall: {WAYS['weights_repair']}", ""),
    "fall_activations": (f"fall: {WAYS['activations']}", "activ."),
    "fall_activations_repair": (f"fall: {WAYS['activations_repair']}", ""),
    "midpoint_line": ("score of the middle", "middle"),
    "agreement": ("agreement", "agree"),
    "cka_mean": ("CKA, mean", "CKA mean"),
    "cka_last": ("CKA, last", "CKA last"),
}
"""Columns of the pairs in their order, with their names on a page and in a terminal, where Repair has no column."""
_TWINS = {
    "fall_line": "fall_raw",
    "fall_weights_repair": "fall_weights",
    "fall_activations_repair": "fall_activations",
}
"""Columns that are left out where they are equal to another one."""


class Column(NamedTuple):
    """One column of numbers."""

    name: str
    head: str
    values: Sequence[float]
    digits: int = 3
    scale: tuple[float, float, float] | None = None  # the worst number, the one without a colour, and the best one

    @property
    def cells(self) -> list[str]:
        """The numbers as text."""
        return [cell(x, self.digits) for x in self.values]


class Table(NamedTuple):
    """Rows by their names, which are one or two members, or words."""

    first: str
    rows: list[tuple[str, ...]]
    columns: list[Column]


def cell(x: float, digits: int = 3) -> str:
    """Return a number for a table or a drawing; a dash for NaN."""
    return NONE if math.isnan(x) else number(x, digits).replace("-", "−")


def members(report: Any, brief: bool = False) -> Table:
    """Return a row a member; with ``brief``, under short names for a terminal."""
    table, tolerance = report.members, report.tolerance
    columns = [
        Column("n_parameters", "parameters", table["n_parameters"].tolist(), 0),
        Column("norm", "norm", table["norm"].tolist(), 2),
    ]
    if len(report.pool):
        scores = ["score", "score_recalibrated"]
        if table["score_recalibrated"].equals(table["score"].rename("score_recalibrated")):
            scores.pop()
        high = float(table[scores].max(axis=None))
        low = min(float(table["score"].min()), high - 2 * tolerance)
        heads = [report.score_name, "recal." if brief else f"{report.score_name}, recalibrated"]
        columns.append(Column("loss", report.loss_name, table["loss"].tolist()))
        for name, head in zip(scores, heads, strict=False):
            columns.append(Column(name, head, table[name].tolist(), scale=(low, (low + high) / 2, high)))
    return Table("member", [(str(name),) for name in table.index], columns)


def pairs(report: Any, brief: bool = False) -> Table:
    """Return a row a pair with the columns that hold a number; with ``brief``, of Repair and none the better one."""
    table, tolerance = report.pairs, max(report.tolerance, 1e-9)
    shown = [name for name in _PAIR_HEADS if name in table and table[name].notna().any()]
    shown = [name for name in shown if _TWINS.get(name) not in shown or not table[name].equals(table[_TWINS[name]])]
    columns = []
    for name in shown:
        head, values = _PAIR_HEADS[name][brief], table[name]
        if brief and (repair := f"{name}_repair") in table:
            values = table[[name, repair]].astype(float).min(axis=1)
        scale = (5 * tolerance, tolerance, -3 * tolerance) if name.startswith("fall_") else None
        if head:
            columns.append(Column(name, head, values.tolist(), scale=scale))
    return Table("pair", [tuple(map(str, pair)) for pair in table.index], columns)


def together(report: Any) -> Table:
    """Return the scores of the pool, each way to average once."""
    pool, top, tolerance = report.pool, float(report.pool["best_member"]), max(report.tolerance, 1e-9)
    rows = {"best member": top, "mean of the members": pool["mean_member"]}
    twins = {"raw": "soup", "weights_repair": "soup_weights", "activations_repair": "soup_activations"}
    for way, words in WAYS.items():
        key = "soup" if way == "line" else f"soup_{way}"
        if key not in pool or math.isnan(pool[key]) or (way in twins and pool[key] == pool[twins[way]]):
            continue
        plain = way == "line" and pool["soup"] == pool.get("soup_raw")
        rows[f"uniform soup, {WAYS['raw'] if plain else words}"] = pool[key]
    rows["averaged predictions"] = pool["ensemble"]
    scale = (top - 5 * tolerance, top, top + 5 * tolerance)
    scores = Column("score", report.score_name, [*rows.values()], scale=scale)
    return Table("what", [(words,) for words in rows], [scores])


def layers(report: Any) -> Table:
    """Return the similarity of the representations, a row a layer and a column a pair."""
    similar = {pair: layers for pair, layers in report.similarity.items() if len(layers)}
    names = list(dict.fromkeys(name for layers in similar.values() for name in layers.index))
    columns = [
        Column("cka", " – ".join(pair), [float(layers.get(name, math.nan)) for name in names], scale=(0.0, 0.0, 1.0))
        for pair, layers in similar.items()
    ]
    return Table("layer", [(name or NONE,) for name in names], columns)
