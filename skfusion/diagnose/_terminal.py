"""The report as tables of rich."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from skfusion.diagnose._lines import HOWS

if TYPE_CHECKING:
    from skfusion.diagnose._report import FusionReport

_COLOURS = {"yes": "bold green", "no": "dim", "maybe": "yellow"}
_HEADS = {
    "distance": "dist.",
    "cosine": "cosine",
    "sign_conflict": "sign conflict",
    "fall_raw": "as is",
    "fall_line": "recal.",
    "fall_weights": "weights",
    "fall_activations": "activ.",
    "midpoint_line": "middle",
    "agreement": "agree",
    "cka_mean": "CKA mean",
    "cka_last": "CKA last",
}
NONE = "–"


def number(x: float, digits: int = 3) -> str:
    """Return a number for a table; a dash where there is none."""
    x = float(x)  # numpy rounds in another way
    if math.isnan(x):
        return NONE
    return f"{round(x, digits) + 0.0:,.{digits}f}".replace("-", "−") if abs(x) < 1e5 else f"{x:.3g}"


def tables(report: FusionReport) -> Group:
    """Return the report as something that rich prints."""
    parts: list[Any] = [_members(report)]
    parts += [_pairs(report)]
    if len(report.pool):
        parts += [_pool(report)]
    parts += [_advice(report)]
    parts += [Text.from_markup(f"[bold]•[/] {escape(sentence)}") for sentence in report.recommendation]
    if report.notes:
        parts += ["", *(Text(f"Note: {note}", style="dim") for note in report.notes)]
    return Group(*parts)


def _grid(title: str, first: str, *columns: str) -> Table:
    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column(first, overflow="fold")
    for name in columns:
        grid.add_column(name, justify="right", min_width=max(map(len, name.split())))
    return grid


def _members(report: FusionReport) -> Table:
    shown = {"parameters": lambda r: f"{int(r['n_parameters']):,}", "norm": lambda r: number(r["norm"], 2)}
    if len(report.pool):
        shown |= {report.loss_name: lambda r: number(r["loss"]), report.score_name: lambda r: number(r["score"])}
    grid = _grid(f"Members{f', on {report.n_rows} rows' if report.n_rows else ''}", "member", *shown)
    for name, row in report.members.iterrows():
        grid.add_row(escape(str(name)), *(show(row) for show in shown.values()))
    return grid


def pair_columns(report: FusionReport) -> list[str]:
    """Return which columns of the pairs to show: those that hold a number, each way to average once."""
    wanted = ["distance", "cosine", "sign_conflict", *(f"fall_{how}" for how in HOWS)]
    wanted += ["midpoint_line", "agreement", "cka_mean", "cka_last"]
    table = report.pairs
    found = [name for name in wanted if name in table and table[name].notna().any()]
    twins = {"fall_line": "fall_raw"} | {f"{name}_repair": name for name in ("fall_weights", "fall_activations")}
    return [name for name in found if twins.get(name) not in found or not table[name].equals(table[twins[name]])]


def _pairs(report: FusionReport) -> Table:
    shown = [name for name in pair_columns(report) if not name.endswith("_repair")]
    title = "Pairs"
    if len(report.pool):
        title += (
            f": fall of the {report.score_name} on the line between two, as they are, recalibrated, or with weights or "
            f"activations matched; up to {report.tolerance:g} is none"
        )
    grid = _grid(title, "pair", *(_HEADS[name] for name in shown))
    for pair, row in report.pairs.iterrows():
        # of recalibration and Repair, the better one
        values = {name: row[[c for c in (name, f"{name}_repair") if c in row]].astype(float).min() for name in shown}
        grid.add_row(escape(" – ".join(pair)), *(_coloured(name, x, report.tolerance) for name, x in values.items()))
    return grid


def _coloured(column: str, x: float, tolerance: float) -> Text:
    style = ""
    if column.startswith("fall_") and not math.isnan(x):
        style = "green" if x <= tolerance else "red"
    return Text(number(x), style=style)


def pool_rows(report: FusionReport) -> list[tuple[str, float]]:
    """Return the scores of the pool with words for them, each way once."""
    pool = report.pool
    found = [("best member", pool["best_member"]), ("mean of the members", pool["mean_member"])]
    for how, words in HOWS.items():
        key = "soup" if how == "line" else f"soup_{how}"
        twin = {"raw": "soup", "weights_repair": "soup_weights", "activations_repair": "soup_activations"}.get(how)
        if key not in pool or math.isnan(pool[key]) or (twin and pool[key] == pool[twin]):
            continue
        plain = how == "line" and pool["soup"] == pool.get("soup_raw")
        found.append((f"uniform soup, {HOWS['raw'] if plain else words}", pool[key]))
    return [*found, ("averaged predictions", pool["ensemble"])]


def _pool(report: FusionReport) -> Table:
    grid = _grid("All together", "what", report.score_name)
    for words, score in pool_rows(report):
        grid.add_row(words, number(score))
    return grid


def _advice(report: FusionReport) -> Group:
    parts: list[Any] = [Text("What to do", style="italic"), ""]
    for way, row in report.advice.iterrows():
        price = f" (networks: {row['networks']}; training: {row['training']})"
        parts.append(
            Text.assemble((str(way), "bold"), ": ", (row["verdict"], _COLOURS[row["verdict"]]), (price, "dim"))
        )
        parts.append(Padding(Text(row["why"]), (0, 0, 0, 4)))
    return Group(*parts, "")
