"""The page that a comparison leaves behind: one file, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import io
import math
import platform
from collections.abc import Callable, Sequence
from html import escape
from importlib.metadata import version
from string import Template
from typing import Any

import pandas as pd

from skfusion import __version__

NONE = "–"


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
    *,
    title: str,
    lead: str,
    notes: Sequence[str],
    table: pd.DataFrame,
    score: str,
    leaderboard: str,
    barriers: Sequence[tuple[str, str]],
    says: dict[str, str],
    best: str,
    command: str,
    seed: int,
    takes: str,
) -> str:
    """Return the page about a ``table`` of ``compare_fusions``, ranked by ``score``.

    ``leaderboard`` and the second parts of ``barriers`` are images, ``says`` has a sentence on each fusion, ``command``
    makes this page again, and ``takes`` says what the saved model predicts from.
    """
    shown = columns(table, score)
    head = "".join(f"<th>{escape(name)}</th>" for name in ["fusion", *shown])
    body = "".join(
        f"<tr{' class=best' if name == best else ''}><th>{escape(str(name))}</th>"
        + "".join(f"<td>{escape(show(row))}</td>" for show in shown.values())
        + "</tr>\n"
        for name, row in ranked(table, score).iterrows()
    )
    return Template(PAGE).substitute(
        title=escape(title),
        lead=escape(lead),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        head=head,
        body=body,
        leaderboard=leaderboard,
        barriers="".join(f"<figure><figcaption>{escape(h)}</figcaption>{i}</figure>" for h, i in barriers),
        says="".join(f"<dt>{escape(name)}</dt><dd>{escape(says[name])}</dd>" for name in says),
        best=escape(best),
        command=escape(command),
        seed=seed,
        versions=escape(versions()),
        takes=escape(takes),
    )


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { max-width: 1080px; margin: 0 auto; padding: 1em; }
h1 { font-size: 1.6em; line-height: 1.2; } h2 { font-size: 1.2em; margin-top: 2em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85em; font-variant-numeric: tabular-nums; }
th, td { padding: .35em .6em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; min-width: 3.5em; }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
.best th:first-child, .best td { background: #e8f2f9; font-weight: 600; }
img { max-width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1em; }
figure { margin: 0; flex: 1 1 360px; } figcaption { font-weight: 600; }
dt { font-weight: 600; } dd { margin: 0 0 .6em 0; }
pre { background: #f4f4f4; padding: .8em; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85em; }
.small { font-size: .85em; color: #555; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$lead</p>
<ul class="small">$notes</ul>

<h2>Scores</h2>
$leaderboard
<div class="wide"><table>
<thead><tr>$head</tr></thead>
<tbody>
$body</tbody>
</table></div>
<p class="small">Means over the folds, with a 95 % interval: Student's, with the variance corrected for training sets
that overlap (Nadeau and Bengio, 2003); it may reach beyond the range of the score. “vs” is the score less that of the
best and of the mean single member of the same pool on the same test rows; the best one is known only in hindsight.
ECE is the expected calibration error in 15 bins. Times are medians over the folds; fusions that share members each
count their whole training. Microseconds a row, parameters and nets are those of a prediction.</p>

<h2>Why averaging weights works, or not</h2>
<p>The loss and the score on a quarter of the rows, along the straight line between the weights of two networks that
were trained on the others. The middle is their mean: where the loss is higher there than at both ends, averaging harms;
where it is lower, averaging helps.</p>
<div class="pair">$barriers</div>

<h2>What each fusion is</h2>
<dl>$says</dl>

<h2>The model</h2>
<p>The best fusion by its mean score, <b>$best</b>, was fitted again on all rows. Its score above is the best of
several on the same folds, so expect a little less.</p>
<pre>import joblib
from skfusion import ModelPool

model = joblib.load("model.joblib")  # runs code from the file: load only what you trust
model.predict(X)  # $takes
pool = ModelPool.load("pool")  # the members by themselves; holds no code</pre>

<h2>Again</h2>
<pre>$command</pre>
<p class="small">Seed $seed. $versions.</p>
</body>
</html>
"""
