"""Parts of pages that notebooks show: a style that suits light and dark themes, and texts that nobody can break."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

NONE = "–"

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
.skf .name { overflow-wrap: anywhere; min-width: 6rem; max-width: 20rem; }
.skf .long { overflow-wrap: anywhere; max-width: 26rem; }
.skf .bar { display: inline-block; width: 5rem; height: .6rem; margin-left: .5rem; border-radius: 2px;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.skf .bar > i { display: block; height: 100%; border-radius: 2px; background: var(--bar); }
.skf .head { font-weight: 600; } .skf .more { opacity: .72; }
.skf summary { cursor: pointer; opacity: .85; }
.skf svg { display: block; max-width: 100%; height: auto; margin: .3rem 0; }
@media (max-width: 600px) { .skf .wide { display: none; } .skf .bar { width: 2.2rem; } .skf .name { max-width: 9rem; } }
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


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
