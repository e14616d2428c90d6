"""The leaderboard of a comparison on a terminal of any width, and the page that it leaves behind."""

from __future__ import annotations

import base64
import io
import math
import platform
from collections.abc import Mapping, Sequence
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


def shown(table: pd.DataFrame, score: str) -> pd.DataFrame:
    """Return the result of ``compare_fusions`` as text under headings, from the best fusion to the worst."""
    rows = table.sort_values(f"{score}_mean", ascending=False, kind="stable")
    spread = rows[f"{score}_high"] - rows[f"{score}_mean"]
    middle = float(spread.median())
    digits = 3 if math.isnan(middle) else min(6, max(3, 1 - math.floor(math.log10(max(middle, 1e-9)))))

    def texts(values: Any, digits: int = 3, sign: bool = False) -> list[str]:
        shape = f"{'+' if sign else ''},.{digits}f"
        return [NONE if pd.isna(x) else format(x, shape).replace("-", "−") for x in values]

    means = zip(texts(rows[f"{score}_mean"], digits), texts(spread, digits), strict=True)
    columns = {
        score: [f"{mean} ± {half}" for mean, half in means],
        "vs best single": texts(rows["gain_over_best"], digits, sign=True),
        "vs mean single": texts(rows["gain_over_mean"], digits, sign=True),
    }
    if rows["log_loss"].notna().any():
        columns |= {"log loss": texts(rows["log_loss"]), "ECE": texts(rows["ece"])}
    columns |= {
        "train s": texts(rows["collect_seconds"], 2),
        "fuse s": texts(rows["fuse_seconds"], 2),
        "µs a row": texts(rows["predict_us_per_row"], 1),
        "parameters": texts(rows["n_parameters"], 0),
        "nets": texts(rows["n_members"], 0),
    }
    return pd.DataFrame(columns, index=rows.index.map(str))


CAN_WAIT = {"vs mean single", "fuse s", "parameters"}
"""Columns that come last where not all fit side by side."""


def show(console: Console, title: str, table: Any, score: str, best: str) -> None:
    """Print the table of ``compare_fusions`` by its score, with the best fusion in bold.

    Columns that do not fit beside the others follow in a table below.
    """
    rows = shown(table, score)
    for k, widths in enumerate(fitting([*rows.index], rows.to_dict("list"), console.width)):
        grid = Table(title=None if k else escaped(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        grid.add_column("fusion", no_wrap=True, overflow="fold")
        for heading, width in widths.items():
            grid.add_column(heading, justify="right", width=width)
        for name, *cells in rows[[*widths]].itertuples(name=None):
            grid.add_row(escaped(name), *cells, style="bold" if name == best else None)
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
    rows = shown(table, score)
    body = "".join(
        f"<tr{' class=best' if name == best else ''}><th>{escape(name)}</th>"
        f"{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
        for name, *cells in rows.itertuples(name=None)
    )
    template = files("skfusion.cli").joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        head="".join(f"<th>{escape(heading)}</th>" for heading in ["fusion", *rows]),
        body=body,
        leaderboard=leaderboard,
        barriers="".join(f"<figure><figcaption>{escape(h)}</figcaption>{i}</figure>" for h, i in barriers),
        says="".join(f"<dt>{escape(name)}</dt><dd>{escape(sentence)}</dd>" for name, sentence in says.items()),
        **{name: escape(text) for name, text in {**texts, "best": best, "versions": versions()}.items()},
    )
