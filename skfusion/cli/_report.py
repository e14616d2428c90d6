"""The page that a comparison leaves behind, and the files beside it."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import platform
import shlex
import warnings
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skfusion import __version__
from skfusion._rows import rows_at
from skfusion.cli._board import board, whole
from skfusion.cli._fusions import ENSEMBLE, FUSIONS, net_for, prepared
from skfusion.cli._leaderboard import legend, marks, shown
from skfusion.cli._sources import DataError
from skfusion.cli._table import Data
from skfusion.cli._verdict import Verdict
from skfusion.collect import Seeds, Tail
from skfusion.merge import OneMemberWarning
from skfusion.pool import LeakageWarning

DRAWN = (
    "The difference to the row of {}, fold by fold, with its own 95 % interval; those in the verdict are wider, since "
    "they hold together."
)
MEMBERS = """

from skfusion import ModelPool

pool = ModelPool.load("pool")  # the members by themselves; holds no code"""
LIBRARIES = ("torch", "skorch", "scikit-learn", "numpy", "pandas")


def check_folder(out: Path) -> None:
    """Make the folder of a report, or say why none can be written there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise DataError('The report of --out needs matplotlib: pip install "skfusion[plots]".')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder of --out cannot be made: {error}.") from error
    if not os.access(out, os.W_OK):
        raise DataError(f"The folder {out} of --out cannot be written to.")


def write(
    out: Path,
    dataset: Data,
    fusions: dict[str, Any],
    table: Any,
    best: str,
    verdict: Verdict,
    notes: list[str],
    options: dict[str, Any],
) -> None:
    """Fit the best fusion on all rows, and write it, its members, the table and the page to a folder.

    ``options`` are those of the command.
    """
    from skfusion.plots import LeaderboardDisplay

    score = table.attrs["scores"][0]
    table.to_csv(out / "leaderboard.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneMemberWarning)  # the notes say so
        model = clone(fusions[best]).fit(dataset.X, dataset.y)
    if (pool := (model[-1] if dataset.typed is not None else model).pool_) is not None:  # of networks alone
        pool.save(out / "pool")
    if dataset.typed is not None:
        model = Pipeline([("columns", dataset.typed), *model.steps])
    joblib.dump(model, out / "model.joblib.part")
    os.replace(out / "model.joblib.part", out / "model.joblib")
    ranking = LeaderboardDisplay.from_frame(table, score).plot()
    text = page(
        table,
        score,
        verdict,
        notes,
        baselines=[name for name in table.index if name not in fusions],
        title=f"Fusions compared on {dataset.name}",
        lead=f"{len(dataset.y)} rows, {dataset.task}, {table.attrs['n_folds']} folds. "
        f"Best mean {score} but for baselines: {best}, {table.loc[best, f'{score}_mean']:.3f}.",
        leaderboard=image(ranking.figure_, f"{score} of each fusion with its interval"),
        barriers=barriers(dataset, net_for(options["net"], dataset, options["epochs"]), options),
        members="" if pool is None else MEMBERS,
        says={name: FUSIONS[name].says for name in fusions},
        best=best,
        command=command_of(options),
        seed=str(options["seed"]),
        takes="an array" if dataset.typed is None else "a DataFrame with the columns of the file",
    )
    (out / "index.html").write_text(text, encoding="utf-8")


def barriers(dataset: Data, net: Any, options: dict[str, Any]) -> list[tuple[str, str]]:
    """Draw the line between two independent networks, and between two states of one training, on the same scales."""
    from skfusion.plots import BarrierDisplay

    classify, seed = dataset.task == "classification", options["seed"]
    A, B, y_A, y_B = split(dataset, seed)
    displays = {}
    for title, collect in [("Two independent networks", Seeds(2)), ("One training, two epochs of its end", Tail())]:
        ensemble = ENSEMBLE[not classify](net, collect=collect, random_state=seed)
        model = prepared(ensemble, dataset, options["net"]).fit(A, y_A)
        inputs = B if dataset.typed is None else model[:-1].transform(B)
        pool = (model if dataset.typed is None else model[-1]).pool_
        if len(pool) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LeakageWarning)  # about equal rows, which the table itself has
                displays[title] = BarrierDisplay.from_pool(pool, inputs, y_B, members=(0, -1)).plot()
    for axis in ("ax_", "score_ax_"):
        limits = np.array([getattr(d, axis).get_ylim() for d in displays.values()])
        for d in displays.values():
            getattr(d, axis).set_ylim(limits[:, 0].min(), limits[:, 1].max())
    return [(title, image(d.figure_, f"{title}: barrier {d.barrier:.3g}")) for title, d in displays.items()]


def split(dataset: Data, seed: int) -> list[Any]:
    """Return three quarters of the rows and the others, and the targets of both."""
    kept, strata = np.arange(len(dataset.y)), None
    if dataset.task == "classification":  # without classes of one row, which would be on one side alone
        _, code, counts = np.unique(dataset.y, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(counts[code] >= 2)
        strata = dataset.y[kept]
    parts = train_test_split(kept, random_state=seed, stratify=strata)
    return [rows_at(data, part) for data in (dataset.X, dataset.y) for part in parts]


def image(figure: Any, alt: str) -> str:
    """Return a figure as an HTML image that carries its own data."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">'


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {"skfusion": __version__, **libraries, "Python": platform.python_version()}


def command_of(options: dict[str, Any]) -> str:
    """Return the command with all of its options, but with a task only where there is a target."""
    words = ["skfusion", "compare"]
    for name, given in options.items():
        flag = name.replace("_", "-")
        if isinstance(given, bool):
            words += [] if name in ("as_json", "quiet") else [f"--{flag}" if given else f"--no-{flag}"]
        elif name != "task" or options["target"] is not None:
            values = given if isinstance(given, list | tuple) else [given]
            words += [w for value in values if value is not None for w in (f"--{flag}", str(value))]
    return shlex.join(words)


def page(
    table: pd.DataFrame,
    score: str,
    verdict: Verdict,
    notes: Sequence[str],
    baselines: Sequence[str],
    leaderboard: str,
    barriers: Sequence[tuple[str, str]],
    says: dict[str, str],
    best: str,
    **texts: str,
) -> str:
    """Return the page about a ``table`` of ``compare_fusions``, ranked by ``score``, with the verdict on top.

    ``leaderboard`` and the second parts of ``barriers`` are images, ``says`` has a sentence on each fusion, and
    ``texts`` are the other words of the template.
    """
    marked, reference = marks(table, score, baselines), table.attrs.get("reference")
    template = files("skfusion.cli").joinpath("report.html").read_text(encoding="utf-8")
    numbers = ", ".join(f"{name} {number}" for name, number in versions().items())
    more = {"best": best, "versions": numbers, "headline": verdict.headline, "drawn": DRAWN.format(reference or "best")}
    return Template(template).substitute(
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        kind="pays" if verdict.pays else "",
        details="".join(f"<li>{escape(sentence)}</li>" for sentence in verdict.details),
        board=board(table, score, baselines, best),
        whole=whole(shown(table, score), marked, best),
        legend="".join(f"{escape(line)}<br>" for line in legend(marked, score)),
        leaderboard=leaderboard,
        barriers="".join(f"<figure><figcaption>{escape(h)}</figcaption>{i}</figure>" for h, i in barriers),
        says="".join(f"<dt>{escape(name)}</dt><dd>{escape(sentence)}</dd>" for name, sentence in says.items()),
        **{name: escape(text) for name, text in {**texts, **more}.items()},
    )
