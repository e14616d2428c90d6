"""A member as a part of a page: what is known of it, its learning curve, and its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skfusion.pool._about import About, about
from skfusion.pool._html import is_number, number, page, text

MOST_TENSORS = 200
_WIDTH, _HEIGHT, _MARGIN = 320.0, 96.0, 14.0
_LOSSES = (("valid_loss", "#d1720f"), ("train_loss", "#2f74c0"))


class ShownAsHtml:
    """Members that notebooks show."""

    def _repr_html_(self) -> str:
        return member_html(about(self))


def member_html(member: About) -> str:
    """Return a member as HTML; no weights are read."""
    parts = [f'<div class="head">{text(member.name)}</div>', _facts(member), _curve(member.meta.get("history"))]
    if member.tensors:
        parts.append(_tensors(member))
    return page(parts)


def _facts(member: About) -> str:
    facts: dict[str, str] = {"kind": text(member.kind), "score": number(member.score)}
    if member.n_numbers is not None:
        facts["numbers"] = number(member.n_numbers)
    if member.net is not None:
        facts["net"] = text(member.net)
    params = member.meta.get("params")
    settings = params if isinstance(params, Mapping) else {}
    others = {
        key: value for key, value in member.meta.items() if key != "history" and not (key == "params" and settings)
    }
    facts |= {text(key, 60): _value(value) for key, value in [*settings.items(), *others.items()]}
    rows = "".join(f'<tr><th>{key}</th><td class="long">{value}</td></tr>' for key, value in facts.items())
    return f"<table><tbody>{rows}</tbody></table>"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), 300)


def _tensors(member: About) -> str:
    tensors = member.tensors or {}
    rows = "".join(
        f'<tr><td class="long">{text(name)}</td><td class="n">{text(" × ".join(map(str, t.shape)) or "number")}</td>'
        f"<td>{text(t.dtype)}</td></tr>"
        for name, t in [*tensors.items()][:MOST_TENSORS]
    )
    more = f'<div class="more">and {len(tensors) - MOST_TENSORS:,} more</div>' if len(tensors) > MOST_TENSORS else ""
    head = '<thead><tr><th>tensor</th><th class="n">shape</th><th>dtype</th></tr></thead>'
    count = "1 tensor" if len(tensors) == 1 else f"{len(tensors):,} tensors"
    table = f"<table>{head}<tbody>{rows}</tbody></table>"
    return f"<details><summary>{count}, {number(member.n_numbers)} numbers</summary>{table}{more}</details>"


def _curve(history: Any) -> str:
    """Return the losses of a history as a drawing; nothing where there are none."""
    if not isinstance(history, Sequence) or isinstance(history, str) or len(history) < 2:
        return ""
    epochs = [epoch for epoch in history if isinstance(epoch, Mapping)]
    lines = {name: [(i, float(e[name])) for i, e in enumerate(epochs) if is_number(e.get(name))] for name, _ in _LOSSES}
    lines = {name: _thinned(points) for name, points in lines.items() if len(points) > 1}
    values = [value for points in lines.values() for _, value in points]
    if not values:
        return ""
    low, high = min(values), max(values)
    span = high - low or 1.0

    def place(i: int, value: float) -> str:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * i / (len(epochs) - 1)
        return f"{x:.1f},{_MARGIN + (_HEIGHT - 2 * _MARGIN) * (1 - (value - low) / span):.1f}"

    drawn = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="'
        + " ".join(place(*point) for point in lines[name])
        + '"/>'
        for name, colour in _LOSSES
        if name in lines
    )
    ends = ", ".join(f"{name} {lines[name][-1][1]:.4g}" for name, _ in _LOSSES if name in lines)
    key = " · ".join(
        f'<span style="color:{colour}">●</span> {name}: {lines[name][0][1]:.4g} → {lines[name][-1][1]:.4g}'
        for name, colour in _LOSSES
        if name in lines
    )
    base = _HEIGHT - _MARGIN / 2
    axis = f'<path d="M{_MARGIN} {base}H{_WIDTH - _MARGIN}" stroke="currentColor" stroke-opacity=".3" fill="none"/>'
    return (
        f'<svg role="img" aria-label="Losses of {len(epochs)} epochs; at the end {ends}" width="{_WIDTH:g}" '
        f'height="{_HEIGHT:g}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}">{axis}{drawn}</svg>'
        f'<div class="more">{key}, over {len(epochs):,} epochs</div>'
    )


def _thinned(points: list[tuple[int, float]], most: int = 200) -> list[tuple[int, float]]:
    """Return some of many points, the first and the last among them."""
    if len(points) <= most:
        return points
    places = sorted({round(i * (len(points) - 1) / (most - 1)) for i in range(most)})
    return [points[i] for i in places]
