"""Parts of pages that notebooks show: a style that suits light and dark themes, and texts that nobody can break."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NONE = "–"
_WIDTH, _HEIGHT, _MARGIN = 320.0, 96.0, 14.0

STYLE = """<style>
.skf { --bar: #2f74c0; margin: .4rem 0 1rem; max-width: 62rem; overflow-x: auto; color: inherit;
  font: 13px/1.45 system-ui, sans-serif; }
.skf table { border-collapse: collapse; margin: .3rem 0; background: transparent; color: inherit; }
.skf tr { background: transparent !important; }
.skf th, .skf td { padding: .18rem .7rem .18rem 0; text-align: left; vertical-align: top; border: 0; font-size: 13px; }
.skf th { font-weight: 600; opacity: .72; white-space: nowrap; }
.skf thead th { border-bottom: 1px solid color-mix(in srgb, currentColor 30%, transparent); }
.skf tbody tr + tr > * { border-top: 1px solid color-mix(in srgb, currentColor 10%, transparent); }
.skf .n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.skf .name { overflow-wrap: anywhere; min-width: 9rem; max-width: 20rem; }
.skf .long { overflow-wrap: anywhere; max-width: 26rem; }
.skf .bar { display: inline-block; width: 5rem; height: .6rem; margin-left: .5rem; border-radius: 2px;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.skf .bar > i { display: block; height: 100%; border-radius: 2px; background: var(--bar); }
.skf .iv { position: relative; display: inline-block; width: 6rem; height: .8rem; margin-left: .7rem; }
.skf .iv > i { position: absolute; top: .45rem; height: 2px; background: var(--bar); opacity: .6; }
.skf .iv > b { position: absolute; top: .25rem; width: .45rem; height: .45rem; margin-left: -.2rem; border-radius: 50%;
  background: var(--bar); }
.skf .head { font-weight: 600; } .skf .more { opacity: .72; }
.skf summary { cursor: pointer; opacity: .85; }
.skf svg { display: block; max-width: 100%; height: auto; margin: .3rem 0; }
@media (max-width: 600px) { .skf .wide { display: none; } .skf .bar { width: 2.2rem; } .skf .iv { width: 3rem; }
  .skf .name { min-width: 6rem; max-width: 9rem; } }
</style>"""


def text(value: Any, longest: int = 200) -> str:
    """Return any value as text of a page: escaped, cut where it is long, and of its own direction of writing."""
    shown = str(value)
    shown = shown if len(shown) <= longest else f"{shown[:longest]}…"
    return f"<bdi>{html.escape(shown, quote=True)}</bdi>"


def number(value: float | int | None) -> str:
    """Return a number as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    return f"{value:,}" if isinstance(value, int) else html.escape(f"{value:.4g}")


def page(parts: Iterable[str]) -> str:
    """Return parts with their style as one."""
    return f'{STYLE}<div class="skf">{"".join(parts)}</div>'


def facts(of: Mapping[str, str]) -> str:
    """Return a table of two columns: what is known, which is escaped already, by its names, which are too."""
    rows = "".join(f'<tr><th>{name}</th><td class="long">{value}</td></tr>' for name, value in of.items())
    return f"<table><tbody>{rows}</tbody></table>"


def curves(lines: Mapping[str, Sequence[tuple[int, float]]], colours: Mapping[str, str], n_epochs: int) -> str:
    """Return numbers by epoch as a drawing, with a key that says where each line begins and ends; none where none are.

    Numbers that are not finite are left out, which the key says.
    """
    known = {name: [p for p in points if math.isfinite(p[1])] for name, points in lines.items()}
    n_absent = sum(len(points) - len(known[name]) for name, points in lines.items())
    known = {name: _thinned(points) for name, points in known.items() if len(points) > 1}
    values = [value for points in known.values() for _, value in points]
    if not values:
        return ""
    low, high = min(values), max(values)
    span = high - low or 1.0

    def place(i: int, value: float) -> str:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * i / (n_epochs - 1)
        return f"{x:.1f},{_MARGIN + (_HEIGHT - 2 * _MARGIN) * (1 - (value - low) / span):.1f}"

    drawn = "".join(
        f'<polyline fill="none" stroke="{colours[name]}" stroke-width="1.6" points="'
        + " ".join(place(*point) for point in points)
        + '"/>'
        for name, points in known.items()
    )
    ends = ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in known.items())
    key = " · ".join(
        f'<span style="color:{colours[name]}">●</span> {name}: {points[0][1]:.4g} → {points[-1][1]:.4g}'
        for name, points in known.items()
    )
    absent = f"; {n_absent:,} that are not finite are left out" if n_absent else ""
    base = _HEIGHT - _MARGIN / 2
    axis = f'<path d="M{_MARGIN} {base}H{_WIDTH - _MARGIN}" stroke="currentColor" stroke-opacity=".3" fill="none"/>'
    return (
        f'<svg role="img" aria-label="Losses of {n_epochs} epochs; at the end {ends}" width="{_WIDTH:g}" '
        f'height="{_HEIGHT:g}" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}">{axis}{drawn}</svg>'
        f'<div class="more">{key}, over {n_epochs:,} epochs{absent}</div>'
    )


def _thinned(points: list[tuple[int, float]], most: int = 200) -> list[tuple[int, float]]:
    """Return some of many points, the first and the last among them."""
    if len(points) <= most:
        return points
    places = sorted({round(i * (len(points) - 1) / (most - 1)) for i in range(most)})
    return [points[i] for i in places]
