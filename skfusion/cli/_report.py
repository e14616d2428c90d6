"""The leaderboard of a comparison on a terminal of any width, and the page that it leaves behind."""

from __future__ import annotations

import base64
import io
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape as escaped
from rich.table import Table

from skfusion import __version__

NONE = "–"
_BETWEEN = 3
"""Columns of the terminal between two columns of a table, which has one more at each end."""


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """Return a number for people to read; a dash where there is none."""
    if pd.isna(value):
        return NONE
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "−")


def columns(table: pd.DataFrame, score: str) -> dict[str, Callable[[Any], str]]:
    """Return, by heading, how to show a row of ``compare_fusions``' result."""
    spread = float((table[f"{score}_high"] - table[f"{score}_mean"]).median())
    digits = 3 if math.isnan(spread) else min(6, max(3, 1 - math.floor(math.log10(max(spread, 1e-9)))))
    shown: dict[str, Callable[[Any], str]] = {
        score: lambda r: (
            f"{number(r[f'{score}_mean'], digits)} ± {number(r[f'{score}_high'] - r[f'{score}_mean'], digits)}"
        ),
        "vs best single": lambda r: number(r["gain_over_best"], digits, sign=True),
        "vs mean single": lambda r: number(r["gain_over_mean"], digits, sign=True),
    }
    if table["log_loss"].notna().any():
        shown["log loss"] = lambda r: number(r["log_loss"])
        shown["ECE"] = lambda r: number(r["ece"])
    return shown | {
        "train s": lambda r: number(r["collect_seconds"], 2),
        "fuse s": lambda r: number(r["fuse_seconds"], 2),
        "µs a row": lambda r: number(r["predict_us_per_row"], 1),
        "parameters": lambda r: number(r["n_parameters"], 0),
        "nets": lambda r: number(r["n_members"], 0),
    }


CAN_WAIT = {"vs mean single", "fuse s", "parameters"}
"""Columns that come last where not all fit side by side."""


def ranked(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the rows from the best to the worst."""
    return table.sort_values(f"{score}_mean", ascending=False, kind="stable")


def show(console: Console, title: str, table: Any, score: str, best: str) -> None:
    """Print the table of ``compare_fusions`` by its score, with the best fusion in bold.

    Columns that do not fit beside the others follow in a table below.
    """
    rows = ranked(table, score)
    names = [str(name) for name in rows.index]
    cells = {h: [text(row) for _, row in rows.iterrows()] for h, text in columns(table, score).items()}
    for k, widths in enumerate(fitting(names, cells, console.width)):
        grid = Table(title=None if k else escaped(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        grid.add_column("fusion", no_wrap=True, overflow="fold")
        for heading, width in widths.items():
            grid.add_column(heading, justify="right", width=width)
        for row, name in enumerate(names):
            grid.add_row(escaped(name), *(cells[h][row] for h in widths), style="bold" if name == best else None)
        console.print(grid)


def fitting(names: Sequence[str], cells: Mapping[str, Sequence[str]], width: int) -> list[dict[str, int]]:
    """Return the widths of columns by their headings, for as many tables as the width of a terminal needs.

    ``cells`` are the columns by their headings, and ``names`` those of the rows of each table. Where they do not fit
    into one table, headings are broken between words, and what can wait comes last.
    """
    start = max(map(len, ("fusion", *names))) + 2
    whole = {heading: max(map(len, (heading, *column))) for heading, column in cells.items()}
    broken = {heading: max(map(len, (*heading.split(), *column))) for heading, column in cells.items()}
    for widths in (whole, broken):
        if start + sum(_BETWEEN + w for w in widths.values()) <= width:
            return [widths]
    tables: list[dict[str, int]] = []
    for waits in (False, True):
        room = 0
        for heading in (h for h in cells if (h in CAN_WAIT) == waits):
            if (room := room - _BETWEEN - broken[heading]) < 0:
                tables.append({})
                room = width - start - _BETWEEN - broken[heading]
            tables[-1][heading] = broken[heading]
    return tables


def image(figure: Any, alt: str) -> str:
    """Return a figure as an HTML image that carries its own data."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">'


def versions() -> str:
    """Return the versions that a result depends on."""
    names = ["torch", "skorch", "scikit-learn", "numpy", "pandas"]
    libraries = [f"skfusion {__version__}", *(f"{name} {version(name)}" for name in names)]
    return ", ".join([*libraries, f"Python {platform.python_version()}"])


def page(
    table: pd.DataFrame,
    score: str,
    notes: Sequence[str],
    leaderboard: str,
    barriers: Sequence[tuple[str, str]],
    says: dict[str, str],
    best: str,
    **texts: str,
) -> str:
    """Return the page about a ``table`` of ``compare_fusions``, ranked by ``score``.

    ``leaderboard`` and the second parts of ``barriers`` are images, ``says`` has a sentence on each fusion, and
    ``texts`` are the other words of the template.
    """
    shown = columns(table, score)
    head = "".join(f"<th>{escape(name)}</th>" for name in ["fusion", *shown])
    body = "".join(
        f"<tr{' class=best' if name == best else ''}><th>{escape(str(name))}</th>"
        + "".join(f"<td>{escape(show(row))}</td>" for show in shown.values())
        + "</tr>\n"
        for name, row in ranked(table, score).iterrows()
    )
    template = files("skfusion.cli").joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        head=head,
        body=body,
        leaderboard=leaderboard,
        barriers="".join(f"<figure><figcaption>{escape(h)}</figcaption>{i}</figure>" for h, i in barriers),
        says="".join(f"<dt>{escape(name)}</dt><dd>{escape(says[name])}</dd>" for name in says),
        **{name: escape(text) for name, text in {**texts, "best": best, "versions": versions()}.items()},
    )
