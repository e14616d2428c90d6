"""A member as a part of a page: what is known of it, its learning curve, and its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skfusion._html import curves, facts, number, page, text
from skfusion.pool._about import About, about

MOST_TENSORS = 200
_LOSSES = {"valid_loss": "#d1720f", "train_loss": "#2f74c0"}


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
    known: dict[str, str] = {"kind": text(member.kind), "score": number(member.score)}
    if member.n_numbers is not None:
        known["numbers"] = number(member.n_numbers)
    if member.net is not None:
        known["net"] = text(member.net)
    params = member.meta.get("params")
    settings = params if isinstance(params, Mapping) else {}
    others = {
        key: value for key, value in member.meta.items() if key != "history" and not (key == "params" and settings)
    }
    known |= {text(key, 60): _value(value) for key, value in [*settings.items(), *others.items()]}
    return facts(known)


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
    lines = {name: [(i, float(e[name])) for i, e in enumerate(epochs) if _is_real(e.get(name))] for name in _LOSSES}
    return curves(lines, _LOSSES, len(epochs))


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
