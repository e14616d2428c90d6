"""The report as HTML: tables with coloured cells, and drawings of the lines, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from itertools import islice
from string import Template
from typing import Any

import numpy as np

from skfusion.diagnose.render._tables import Column, Table, cell, layers, members, pairs, together
from skfusion.evaluate import WAYS
from skfusion.landscape import Profile

MOST_ROWS = 20
"""Rows of a table in a notebook."""
_STROKES = {
    "raw": ("#d55e00", "dotted"),
    "line": ("#d55e00", "solid"),
    "weights": ("#0072b2", "solid"),
    "activations": ("#0072b2", "dashed"),
}
"""Colour of each line, as in the displays of ``skfusion.plots``: as trained, or aligned; and its stroke."""
_DASHES = {"solid": "none", "dashed": "6 3", "dotted": "2 3"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 300, 170, 46, 10, 22


def page(report: Any) -> str:
    """Return the report as a whole page."""
    return Template(_text("report.html")).substitute(style=_text("report.css"), body=_body(report, "h1"))


def fragment(report: Any) -> str:
    """Return the report as a part of another page, such as a notebook."""
    return f"<style>{_text('report.css')}</style>{_body(report, 'h3', MOST_ROWS)}"


def _text(name: str) -> str:
    return files("skfusion.diagnose.render").joinpath(name).read_text(encoding="utf-8")


def _body(report: Any, top: str, most: int | None = None) -> str:
    """Return all sections; with ``most``, only so many rows of a table and half as many drawings."""
    n = len(report.members)
    rows = f", judged on {report.n_rows:,} rows" if report.n_rows else ", by their weights alone"
    parts = [
        f"<{top}>Can these networks be merged?</{top}>",
        f"<p class='sf-small'>{n} networks{rows}.</p>",
        *(f"<p class='sf-do'>{escape(sentence)}</p>" for sentence in report.recommendation),
        _section("What to do", _advice(report)),
        f"<ul class='sf-small'>{''.join(map(_note, report.notes[:most]))}</ul>",
        _more(len(report.notes) - most, "notes") if most else "",
        _section("Members", _table(members(report), most)),
    ]
    if len(report.pool):
        parts.append(_section("All together", _table(together(report))))
    parts.append(_section("Pairs", _pairs(report, most)))
    if report.profiles:
        parts.append(_section("The lines between them", _lines(report, most and most // 2)))
    if any(len(layers) for layers in report.similarity.values()):
        parts.append(_section("How alike their layers are", _layers(report, most and most // 2)))
    return f"<div class='sf-report'>{''.join(parts)}</div>"


def _note(note: str) -> str:
    words, _, code = note.partition("\n")
    return f"<li>{escape(words)}{f'<pre>{escape(code)}</pre>' if code else ''}</li>"


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}"


def _table(table: Table, most: int | None = None) -> str:
    rows, columns, n = table.rows[:most], table.columns, len(table.rows)
    if most is not None:
        columns = [column._replace(values=column.values[:most]) for column in columns]
    return _cells_of(Table(table.first, rows, columns)) + _more(n - len(rows), f"{table.first}s")


def _more(n: int, what: str) -> str:
    """Return a sentence on what is left out of a notebook."""
    return f"<p class='sf-small'>And {n:,} more {what}, which the page of to_html() has.</p>" if n > 0 else ""


def _cells_of(table: Table) -> str:
    names = (f"<th>{escape(' – '.join(row))}</th>" for row in table.rows)
    columns = [_cells(column) for column in table.columns]
    return _framed([table.first, *(column.head for column in table.columns)], zip(names, *columns, strict=True))


def _framed(heads: list[str], rows: Iterable[Iterable[str]]) -> str:
    cells = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<div class='sf-wide'><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"


def _cells(column: Column) -> list[str]:
    colours = ["" if column.scale is None else _colour(float(x), *column.scale) for x in column.values]
    styles = [f" style='background:{colour}'" if colour else "" for colour in colours]
    return [f"<td{style}>{escape(text)}</td>" for style, text in zip(styles, column.cells, strict=True)]


def _colour(x: float, worst: float, white: float, best: float) -> str:
    """Return a colour from orange at the worst number over none to blue at the best one, on any background."""
    good = (x - white) * (best - white) >= 0
    end, colour = (best, (0, 114, 178)) if good else (worst, (213, 94, 0))
    if math.isnan(x) or not (math.isfinite(end) and math.isfinite(white)) or end == white:
        return ""
    strength = 0.45 * min(1.0, (x - white) / (end - white))
    return f"rgb({' '.join(map(str, colour))} / {strength:.3f})"


def _advice(report: Any) -> str:
    rows = []
    for way, (verdict, networks, training, why) in zip(report.advice.index, report.advice.to_numpy(), strict=True):
        cells = f"<th>{escape(way)}</th><td class='sf-{verdict}'>{verdict}</td><td>{escape(networks)}</td>"
        rows.append([cells, f"<td>{escape(training)}</td><td class='sf-text'>{escape(why)}</td>"])
    return f"<div class='sf-advice'>{_framed([report.advice.index.name, *report.advice.columns], rows)}</div>"


def _pairs(report: Any, most: int | None = None) -> str:
    table = pairs(report)
    text = _table(table, most)
    reasons = [f"<li>{escape(' – '.join(p))}: {escape(r)}</li>" for p, r in report.pairs["reason"].items() if r]
    if any(column.name.startswith("fall_") for column in table.columns):
        text += (
            f"<p class='sf-small'>A fall is the most that the {escape(report.score_name)} loses on the straight line "
            f"between two networks, against the line between their own; up to {report.tolerance:g} counts as none.</p>"
        )
    text += f"<ul class='sf-small'>{''.join(reasons[:most])}</ul>" if reasons else ""
    return text + (_more(len(reasons) - most, "reasons") if most else "")


def _lines(report: Any, most: int | None = None) -> str:
    drawn = {pair: _drawn(profiles) for pair, profiles in report.profiles.items()}
    used = {how for some in drawn.values() for how in some}
    names = {how: WAYS[how] for how in _STROKES if how in used}
    if "raw" not in used:
        names["line"] = WAYS["raw"]
    key = "".join(
        f"<span><i style='border-top:3px {_STROKES[how][1]} {_STROKES[how][0]}'></i>{words}</span>"
        for how, words in names.items()
    )
    losses = np.concatenate([p.loss for some in drawn.values() for p in some.values()])
    known = losses[np.isfinite(losses)]
    low, high = known.min(initial=0.0), known.max(initial=-np.inf if known.size else 1.0)
    figures = "".join(
        f"<figure><figcaption>{escape(' – '.join(pair))}{_absent(some)}</figcaption>"
        f"{_drawing(pair, some, float(low), float(high))}</figure>"
        for pair, some in islice(drawn.items(), most)
    )
    figures += _more(len(drawn) - most, "pairs") if most else ""
    text = f"The {report.loss_name} along each line; matched ones by the better of recalibration and Repair."
    return f"<p class='sf-small'>{escape(text)}</p><p class='sf-key'>{key}</p><div class='sf-figures'>{figures}</div>"


def _drawn(profiles: dict[str, Profile]) -> dict[str, Profile]:
    """Return the lines to draw, each once: two ways to average may have the same one."""
    lines = {}
    if profiles["raw"] is not profiles["line"]:
        lines["raw"] = profiles["raw"]
    lines["line"] = profiles["line"]
    for how in ("weights", "activations"):
        if how in profiles:
            lines[how] = min(profiles[how], profiles[f"{how}_repair"], key=lambda p: p.barrier)
    return lines


def _absent(profiles: dict[str, Profile]) -> str:
    """Return what the drawing of a pair does not show, as the loss is not finite there."""
    losses = np.concatenate([profile.loss for profile in profiles.values()])
    missing = int((~np.isfinite(losses)).sum())
    return f" (no finite loss at {missing} of {len(losses)} points, which are left out)" if missing else ""


def _runs(profile: Profile) -> list[np.ndarray]:
    """Return the positions of each stretch of a line on which the loss is finite."""
    known = np.flatnonzero(np.isfinite(profile.loss))
    return np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if known.size else []


def _drawing(pair: tuple[str, str], profiles: dict[str, Profile], low: float, high: float) -> str:
    size = (high - low) or 1.0

    def place(t: float, loss: float) -> str:
        x = _LEFT + t * (_WIDTH - _LEFT - 8)
        y = _TOP + (high - loss) / size * (_HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    lines = "".join(
        f"<polyline points='{' '.join(place(p.t[k], p.loss[k]) for k in (*run, run[-1]))}' fill='none' "
        f"stroke='{_STROKES[how][0]}' stroke-dasharray='{_DASHES[_STROKES[how][1]]}' stroke-width='2' "
        "stroke-linecap='round'/>"
        for how, p in profiles.items()
        for run in _runs(p)
    )
    bottom, middle, right = _HEIGHT - _BOTTOM, (_LEFT + _WIDTH - 8) / 2, _WIDTH - 8
    first, last = (name if len(name) <= 14 else f"{name[:13]}…" for name in pair)
    labels = [
        (_LEFT - 5, _TOP + 8, "end", cell(high, 2)),
        (_LEFT - 5, bottom, "end", cell(low, 2)),
        (_LEFT, _HEIGHT - 6, "start", first),
        (middle, _HEIGHT - 6, "middle", "middle"),
        (right, _HEIGHT - 6, "end", last),
    ]
    texts = "".join(f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='{a}'>{escape(w)}</text>" for x, y, a, w in labels)
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{escape(' – '.join(pair), quote=True)}'>"
        f"<path d='M{_LEFT},{_TOP} V{bottom} H{right}' fill='none' stroke='currentColor' opacity='.35'/>"
        f"{lines}{texts}</svg>"
    )


def _layers(report: Any, most: int | None = None) -> str:
    table = layers(report)
    shown = _table(table._replace(columns=table.columns[:most]))
    shown += _more(len(table.columns) - most, "pairs") if most else ""
    return f"{shown}<p class='sf-small'>CKA: 1 is alike up to rotation and scale, 0 is unrelated.</p>"
